"""Texts: where words and sentences lie, what is left when some are absent, networks of tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.data.boundaries import home, sentences_of, words_of
from pellucid.data.text_encoding import NOTHING, Vocabulary
from pellucid.doors.question import as_problem
from pellucid.doors.wrap import wrap
from pellucid.modalities.text import Replace
from pellucid.players import Characters, Sentences, Tokens, Words
from pellucid.records.errors import InputError, ModelError, NotApplicable, RemovalError
from pellucid.records.explanation import Explanation
from pellucid.removals import Hide

TEXTS = ["A good film. I liked it!", "Not good, not bad.", "bad"]
POINTS = {"good": 2.0, "bad": -1.5, "liked": 1.0, "not": -0.5}


def cut(text: str, spans: tuple[tuple[int, int], ...]) -> list[str]:
    return [text[slice(*span)] for span in spans]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a well-made film, isn't it?", ["It's", "a", "well-made", "film,", "isn't", "it?"]),
        ("很好的电影,我喜欢。", ["很", "好", "的", "电", "影,", "我", "喜", "欢。"]),
        ("東京 is 大きい", ["東", "京", "is", "大", "き", "い"]),
        ("  two\n\nlines  ", ["two", "lines"]),
        ("مرحبا بالعالم", ["مرحبا", "بالعالم"]),
        ("naïve café 😀 ok", ["naïve", "café", "😀", "ok"]),
    ],
)
def test_words_lie_where_a_reader_sees_them(text: str, words: list[str]) -> None:
    assert cut(text, words_of(text)) == words


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith paid 3.50 to J. Doe. Then he left.", ["Dr. Smith paid 3.50 to J. Doe.", "Then he left."]),
        ('He said "no." She went', ['He said "no."', "She went"]),
        ("第一句。第二句！", ["第一句。", "第二句！"]),
        ("a title\n\nthe text", ["a title", "the text"]),
        ("no end", ["no end"]),
    ],
)
def test_sentences_end_where_a_reader_stops(text: str, sentences: list[str]) -> None:
    assert cut(text, sentences_of(text)) == sentences


def test_spans_find_their_homes() -> None:
    assert home([(0, 0), (0, 2), (2, 3), (4, 6), (9, 9)], [(0, 3), (4, 8)]) == [-1, 0, 0, 1, -1]


@pytest.mark.parametrize(
    ("mask", "absent", "left"),
    [
        (None, {1}, "A film. I liked it!"),
        (None, {0, 5}, "good film. I liked"),
        (None, {1, 2}, "A I liked it!"),
        ("[MASK]", {1, 2}, "A [MASK] [MASK] I liked it!"),
        (None, {0, 1, 2, 3, 4, 5}, ""),
    ],
)
def test_words_of_a_string_are_cut_out(mask: str | None, absent: set[int], left: str) -> None:
    seen: list[str] = []

    def model(rows: list[str]) -> np.ndarray:
        seen.extend(rows)
        return np.zeros(len(rows))

    problem = as_problem(model, TEXTS[:1], removal=Replace(mask))
    labels = problem.players.labels[0]
    owners = np.where(np.isin(labels, list(absent)), labels, -1)
    assert isinstance(problem.removal, Replace)
    assert problem.removal.fill(TEXTS[0], owners) == left


def count(rows: list[str]) -> np.ndarray:
    """An additive black box of words."""
    return np.array([sum(POINTS.get(word.strip(".,!").lower(), 0.0) for word in row.split()) for row in rows])


def test_shapley_of_an_additive_black_box_is_each_words_own_points() -> None:
    found = pellucid.explain(count, TEXTS, "shapley")
    for row, text in enumerate(TEXTS):
        own = [POINTS.get(word.strip(".,!").lower(), 0.0) for word in text.split()]
        np.testing.assert_allclose(found.attributions[row, : len(own), 0], own, atol=1e-9)
        assert cut(text, found.players.spans[row]) == text.split()
    assert found.rows == TEXTS


def test_text_records_come_back_from_their_file(tmp_path) -> None:
    found = pellucid.explain(count, TEXTS, "shapley")
    found.save(tmp_path / "e.npz")
    again = Explanation.load(tmp_path / "e.npz")
    assert again.players.spans == found.players.spans
    assert again.rows == TEXTS
    scores = pellucid.evaluate(count, TEXTS, again, metrics=["completeness_gap"])
    assert np.isfinite(scores.to_frame()["value"]).any()


def test_sentences_and_characters_are_players_too() -> None:
    sentences = pellucid.explain(count, TEXTS[:1], "shapley", players=Sentences())
    assert sentences.players.of(0) == ("A good film.", "I liked it!")
    np.testing.assert_allclose(sentences.attributions[0, :, 0], [2.0, 1.0], atol=1e-9)
    problem = as_problem(count, ["ab c"], players=Characters())
    assert problem.players.of(0) == ("a", "b", "c")
    with pytest.raises(NotApplicable, match="shows no tokens"):
        as_problem(count, TEXTS, players=Tokens())


def test_an_empty_text_is_refused_by_its_row() -> None:
    with pytest.raises(InputError, match="an empty text has nothing to explain") as caught:
        pellucid.explain(count, ["fine", " \n"], "occlusion")
    assert caught.value.where == "row 1"


class Reader(nn.Module):
    """Tokens → vectors → a recurrent layer → two outputs; tokens behind the end are passed over."""

    def __init__(self, size: int) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.table = nn.Embedding(size, 6)
        self.mix, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = torch.tanh(self.mix(self.table(ids))) * attention_mask[..., None]
        places = torch.arange(ids.shape[1], device=ids.device) * attention_mask
        return self.head((hidden * (1 + 0.1 * places[..., None])).sum(1))


@pytest.fixture
def reader() -> tuple[Reader, Vocabulary]:
    vocabulary = Vocabulary.of(TEXTS)
    return Reader(len(vocabulary)).eval(), vocabulary


def test_tokens_are_asked_without_what_stands_behind_them(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    model = wrap(net, encoding=vocabulary)
    together = pellucid.explain(model, TEXTS, "exact_shapley")
    for row, text in enumerate(TEXTS):
        alone = pellucid.explain(model, [text], "exact_shapley")
        np.testing.assert_allclose(together.attributions[row, : alone.players.most], alone.attributions[0], atol=1e-6)
        assert together.ids[row] == alone.ids[0]


def test_deleted_tokens_close_up_and_hidden_ones_keep_their_place(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    model = wrap(net, encoding=vocabulary)
    tokens = torch.tensor(vocabulary.encode(["good film it"]).tokens)
    gap = tokens.clone()
    gap[0, 1] = NOTHING
    closed = net(tokens[:, [0, 2]], torch.ones(1, 2, dtype=torch.long))
    torch.testing.assert_close(model.outputs({"tokens": gap}), closed)
    hidden = tokens.clone()
    hidden[0, 1] = -2
    kept = net(torch.tensor([[tokens[0, 0], 0, tokens[0, 2]]]), torch.tensor([[1, 0, 1]]))
    torch.testing.assert_close(model.outputs({"tokens": hidden}), kept)


def test_rows_of_many_lengths_are_answered_in_their_order(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    model = wrap(net, encoding=vocabulary)
    texts = [" ".join(["good", "bad", "it"] * (1 + place % 11)) for place in range(60)]
    tokens = torch.tensor(vocabulary.encode(texts).tokens)
    found = model.outputs({"tokens": tokens})
    for row in (0, 7, 31, 59):
        own = tokens[row : row + 1]
        torch.testing.assert_close(found[row : row + 1], model.outputs({"tokens": own}))


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency", "deeplift", "shapley", "lime"])
@pytest.mark.parametrize("removal", [Hide(), Replace(), Replace("film")])
def test_methods_of_every_kind_explain_tokens(reader: tuple[Reader, Vocabulary], method: str, removal) -> None:
    net, vocabulary = reader
    found = pellucid.explain(wrap(net, encoding=vocabulary), TEXTS, method, removal=removal, target=1)
    assert found.players.kind == "word"
    assert [len(names) for names in found.players.names] == [6, 4, 1]
    assert np.isfinite(found.attributions[0, :6]).all()


def test_integrated_gradients_adds_up_from_a_masked_text(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    model = wrap(net, encoding=vocabulary)
    masked = pellucid.explain(model, TEXTS, "integrated_gradients", removal=Replace("film"))
    assert (masked.gap < 1e-3).all()
    occluded = pellucid.explain(model, TEXTS, "occlusion", removal=Replace("film"))
    np.testing.assert_allclose(masked.base, occluded.base, atol=1e-6)


def test_a_text_too_long_is_told_and_its_rest_is_no_player() -> None:
    vocabulary = Vocabulary.of(TEXTS, most=3)
    found = pellucid.explain(wrap(Reader(len(vocabulary)).eval(), encoding=vocabulary), TEXTS[:1], "occlusion")
    assert found.players.of(0) == ("A", "good", "film")
    said = next(caution for caution in found.warnings if caution.code == "truncated")
    assert said.values["cut"] == 5


def test_unknown_words_alone_are_told(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    found = pellucid.explain(wrap(net, encoding=vocabulary), ["xyzzy plugh", "good"], "occlusion")
    said = next(caution for caution in found.warnings if caution.code == "only_unknown")
    assert said.values["rows"] == 1


def test_what_is_wrong_is_said(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    with pytest.raises(ModelError, match="how a text becomes its tokens is not known"):
        pellucid.explain(net, TEXTS, "occlusion")
    with pytest.raises(RemovalError, match="'dragon' is no token"):
        pellucid.explain(wrap(net, encoding=vocabulary), TEXTS, "occlusion", removal=Replace("dragon"))
    with pytest.raises(RemovalError, match="no background rows"):
        pellucid.explain(count, TEXTS, "occlusion", background=TEXTS)
    with pytest.raises(InputError, match="is taken"):
        Vocabulary({"a": 2, "b": 2})


def test_words_stand_in_their_sentences() -> None:
    assert as_problem(count, TEXTS[:1]).players.hierarchy is None
    problem = as_problem(count, TEXTS[:1], players=Words(nested=True))
    levels = problem.players.levels_of(0)
    assert levels is not None
    assert levels.tolist() == [[0, 0, 0, 1, 1, 1]]


def test_masks_that_say_what_the_text_says_are_told() -> None:
    def masked(rows: list[str]) -> np.ndarray:
        return np.array([5.0 - 4.0 * ("bad" in row) for row in rows])

    found = pellucid.explain(masked, ["a good film", "a bad film"], "occlusion")
    said = next(caution for caution in found.warnings if caution.code in ("hardly_changes", "flat_output"))
    assert said.values["rows"] == 1

    def nearly(rows: list[str]) -> np.ndarray:
        return masked(rows) + np.array([0.001 * len(row) for row in rows])

    found = pellucid.explain(nearly, ["a good film", "a bad film"], "occlusion")
    assert {"hardly_changes"} == {c.code for c in found.warnings if c.code in ("hardly_changes", "flat_output")}


@pytest.mark.parametrize(
    ("word", "meant"),
    [("hide", {"name": "Hide"}), ("padding", {"name": "Hide"}), ("delete", {"name": "Replace", "mask": None}),
     ("replace:film", {"name": "Replace", "mask": "film"})],
)  # fmt: skip
def test_a_word_says_what_absent_means_in_texts(reader: tuple[Reader, Vocabulary], word: str, meant: dict) -> None:
    net, vocabulary = reader
    found = pellucid.explain(wrap(net, encoding=vocabulary), TEXTS, "occlusion", removal=word, target=1)
    assert found.removal == meant


def test_a_word_that_does_not_fit_texts_is_refused(reader: tuple[Reader, Vocabulary]) -> None:
    net, vocabulary = reader
    model = wrap(net, encoding=vocabulary)
    with pytest.raises(
        RemovalError, match=r"tokenizer has no mask of its own\. say 'delete' or 'hide', or name a token"
    ):
        pellucid.explain(model, TEXTS, "occlusion", removal="mask")
    with pytest.raises(RemovalError, match="a function of texts has no mask of its own"):
        pellucid.explain(count, TEXTS, "occlusion", removal="mask")
    with pytest.raises(RemovalError, match=r"'hide' is for networks of tokens, and this function is given the texts"):
        pellucid.explain(count, TEXTS, "occlusion", removal="hide")
    with pytest.raises(RemovalError, match=r"'Hide' is for networks of tokens, .*for texts: delete, replace\."):
        pellucid.explain(count, TEXTS, "occlusion", removal=Hide())
    with pytest.raises(RemovalError, match=r"'blur' is for images, and these rows are texts\. for texts: .*mask"):
        pellucid.explain(model, TEXTS, "occlusion", removal="blur")
    with pytest.raises(RemovalError, match=r"'zeros' puts numbers in the place of what is absent"):
        pellucid.explain(model, TEXTS, "occlusion", removal="zeros")
    with pytest.raises(RemovalError, match="'proposed' asks another network"):
        pellucid.explain(model, TEXTS, "occlusion", removal="proposed")
