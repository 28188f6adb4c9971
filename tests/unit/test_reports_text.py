"""Texts in reports: the marked paragraph, its figure, the words that matter over all texts, and the sentences."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import records_factory as make
from nasty_names import nasty_names

from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.records.players import Players
from pellucid.reports import html
from pellucid.reports.figures import word_weights
from pellucid.reports.marked_text import MOST, pieces_of

pytest.importorskip("altair")

FILM = "A wonderful film, though  the ending is <b>not</b> as good.\nTruly moving, truly!"
CHINESE = "这部电影非常精彩，但是结尾令人失望。"


def record(texts, values=None, errors=None, kept=True, names=("positive",)) -> Explanation:
    """An explanation of texts, every run of letters (every Chinese character) a player, in sentences."""
    spans = [tuple(m.span() for m in re.finditer(r"[\u4e00-\u9fff]|[^\s\u4e00-\u9fff]+", text)) for text in texts]
    most = max(map(len, spans))
    labels, levels = np.full((len(texts), most), -1), np.full((len(texts), 1, most), -1)
    attributions = np.full((len(texts), most, 1), np.nan)
    for row, (text, own) in enumerate(zip(texts, spans, strict=True)):
        labels[row, : len(own)] = np.arange(len(own))
        levels[row, 0, : len(own)] = [len(re.findall(r"[.!?。]", text[:start])) for start, _ in own]
        attributions[row, : len(own), 0] = np.linspace(1, -1, len(own)) if values is None else values[row]
    called = tuple(
        tuple(text[start:stop].strip(".,!?，。") or text[start:stop] for start, stop in own)
        for text, own in zip(texts, spans, strict=True)
    )
    full = np.nansum(attributions, 1)
    stderr = None if errors is None else np.where(np.isfinite(attributions), errors, np.nan)
    return Explanation(
        attributions=attributions, players=Players(labels, called, kind="word", spans=tuple(spans), hierarchy=levels),
        base=np.zeros_like(full), full=full, outputs=tuple((names[i % len(names)],) for i in range(len(texts))),
        method="shapley", errors=stderr, rows=list(texts) if kept else None,
        ids=tuple(map(str, range(len(texts)))),
    )  # fmt: skip


def test_the_pieces_make_the_text() -> None:
    for text in (FILM, CHINESE, "one", "  led by blanks", "trailing words \n"):
        assert "".join(piece.text for piece in pieces_of(record([text]))) == text


def test_shades_follow_size_and_sign_and_say_what_is_unclear() -> None:
    e = record(["a b c d e"], [[1.0, -0.5, 0.2, 0.05, -0.9]], errors=0.2)
    shown = {piece.text: piece for piece in pieces_of(e) if piece.amount}
    assert [shown[name].shade for name in "abcde"] == ["u3", "d2", "u1 q", "", "d3"]
    assert [shown[name].step for name in "abcde"] == [3, -2, 1, 0, -3]
    assert shown["a"].amount == "+1.00 ± 0.392" and shown["b"].amount.startswith("−0.500")


def with_entity(e: Explanation, start: int, stop: int, kind: str = "place") -> Explanation:
    return replace(e, notes={"entities": [[0, start, stop, kind]] * len(e)})


def test_the_words_of_an_entity_are_marked_and_named() -> None:
    text = "we left New York in May"
    e = with_entity(record([text], [[0.1, 0.2, 1.0, 0.9, -0.8, 0.0]]), 8, 16)
    assert [piece.text for piece in pieces_of(e) if piece.asked] == ["New", "York"]
    assert [piece.shade for piece in pieces_of(e) if piece.asked] == ["u3 e", "u3 e"]
    assert "for “New York” in this text the output “positive” is" in e.text()
    assert "“New York”" in e.text(language="zh", audience="person")
    assert [row["text"] for row in drawn(e.plot()) if row["asked"]] == ["New", "York"]
    assert "frame: the entity" in str(e.plot().to_dict()) and "frame: the" not in str(record([text]).plot().to_dict())
    assert not any(piece.asked for piece in pieces_of(record([text])))


def test_an_entity_stands_in_what_is_shown_of_a_long_text() -> None:
    text = " ".join([*["Much was said."] * 200, "Oslo was not.", *["More followed."] * 200])
    start = text.index("Oslo")
    carried = [0.0 if word == "Oslo" else 1.0 for word in text.split()]
    assert any(piece.text == "Oslo" for piece in pieces_of(with_entity(record([text], [carried]), start, start + 4)))


def test_a_text_that_was_not_kept_is_told_by_its_players() -> None:
    shown = [piece.text for piece in pieces_of(record([FILM], kept=False))]
    assert "".join(shown).startswith("A wonderful film though the")


def test_a_long_text_is_folded_to_the_sentences_that_carry_most() -> None:
    sentences = [
        f"Sentence {i} says of the film that it is {'superb' if i in (7, 300) else 'long'}." for i in range(500)
    ]
    text = " ".join(sentences)
    values = [1.0 if word == "superb." else 0.001 for word in text.split()]
    pieces = pieces_of(record([text], [values]))
    told = "".join(piece.text for piece in pieces)
    assert "Sentence 7 says of the film that it is superb." in told and "Sentence 300 says" in told
    players = sum(bool(piece.amount) for piece in pieces)
    assert players <= MOST and players + sum(piece.left_out for piece in pieces) == len(values) == 5000
    endless = " ".join(f"word{i}" for i in range(1000))
    carried = [5.0 if i == 777 else 0.0 for i in range(1000)]
    assert any(piece.text == "word777" for piece in pieces_of(record([endless], [carried])))


def drawn(chart) -> list[dict]:
    spec = chart.to_dict()
    return spec["datasets"][spec["layer"][-1]["data"]["name"]]


def test_the_figure_sets_the_words_in_lines() -> None:
    e = record([FILM, CHINESE])
    chart = e.plot()  # a text is drawn as one, by itself
    rows = drawn(chart)
    assert [row["text"] for row in rows][:4] == ["A", "wonderful", "film,", "though"]
    lines = {row["top"] for row in rows}
    assert len(lines) == 2 and max(row["x2"] for row in rows) <= 480 + 2
    for top in lines:
        line = sorted((row["x"], row["x2"]) for row in rows if row["top"] == top)
        assert all(b[0] - a[1] > -4 for a, b in pairwise(line)), "words lie on each other"
    assert "What speaks for and against positive" in str(chart.to_dict())
    assert "支持与反对" in str(e.plot("text", 1, language="zh").to_dict())
    with pytest.raises(InputError, match="row 2 of"):
        e.plot("text", 2)
    with pytest.raises(NotApplicable, match="no parts of texts"):
        make.table().plot("text", 0)


def test_right_to_left_text_begins_on_the_right_and_keeps_the_order_of_what_is_not() -> None:
    rows = {row["text"]: row for row in drawn(record(["فيلم رائع مع Tom Hanks وممثلون"]).plot())}
    x = {word: row["x"] for word, row in rows.items()}
    assert x["فيلم"] > x["رائع"] > x["Tom"] > x["وممثلون"] and x["Tom"] < x["Hanks"] < x["رائع"]


def test_every_word_an_enemy_chose_is_data() -> None:
    names = [name for name in nasty_names() if name.split()]
    texts = [" ".join(names[i : i + 12]) for i in range(0, len(names), 12)]
    e = record(texts)
    for row in range(len(texts)):
        e.plot("text", row).to_dict()
    study = make.study("text")
    page = html.render(type(study)(**{**vars(study), "explanations": {"shapley": e}, "predictions": ()}))
    assert "&lt;script&gt;window.__pwned" in page
    assert not re.search(r"<(script>window|img src=x|svg onload|b>bold|iframe|base href|plaintext)", page)


def test_the_report_marks_the_text_and_tells_the_words_overall() -> None:
    e = record([FILM, "A dull film."], [[0.5] * 13, [0.1, -0.9, 0.2]], errors=0.01, names=("positive", "negative"))
    study = make.study("text")
    page = html.render(type(study)(**{**vars(study), "explanations": {"shapley": e}, "predictions": ()}))
    assert '<p class="words" dir="auto">' in page and '<span class="d3" title="−0.900 ± 0.0196">dull</span>' in page
    assert "&lt;b&gt;not&lt;/b&gt;" in page and "The words that carry most over all explained texts" in page
    assert "mean for positive" in page and "mean for negative" in page


def test_words_over_all_texts() -> None:
    values = [[1.0, 0.5, 2.0, -0.5], [0.25, -1.0]]
    e = record(["Good film, good plot", "film bad!"], values, names=("pos", "neg"))
    found = {weight.word: weight for weight in word_weights(e)}
    assert found["good"].times == 2 and found["good"].texts == 1 and found["good"].size == 1.5
    assert found["good"].means == {"pos": 1.5} and found["film"].means == {"pos": 0.5, "neg": 0.25}
    assert found["film"].error == pytest.approx(np.std([0.5, 0.25], ddof=1) / np.sqrt(2))
    assert [weight.word for weight in word_weights(e)] == ["good", "bad", "film", "plot"]
    chart = e.plot("bar").to_dict()
    assert "good (2×)" in str(chart) and "|contribution| per text" in str(chart)


def test_the_sentences_speak_of_words_for_and_against() -> None:
    e = record(["good film good plot but dull"], [[1.0, 0.001, 0.5, 0.3, -0.1, -2.0]], errors=0.05)
    told = e.text(0)
    assert "for this text the output “positive” is −0.299" in told
    assert "The words that speak for “positive” most: “good”, at 2 places (+1.50); “plot” (+0.300 ± 0.0980)." in told
    assert "The words that speak against “positive” most: “dull” (−2.00 ± 0.0980); “but” (−0.100 ± 0.0980)." in told
    person = e.text(0, audience="person")
    assert "A computer model read what was written." in person and "+1.50" not in person
    chinese = e.text(0, language="zh")
    assert "最支持 “positive” 的词：“good”（2 处）（+1.50）" in chinese
    alone = record(["good film"], [[1.0, 0.5]]).text(0)
    assert "None of the words clearly speaks against “positive”." in alone
