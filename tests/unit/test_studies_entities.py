"""Networks that tag words: what they find, which of it an audit explains, and what its folder and report then hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.data.dataset import Dataset
from pellucid.data.text_encoding import Vocabulary
from pellucid.measures.entities import are_tags
from pellucid.records.errors import InputError, ModelError, NotApplicable
from pellucid.records.study import Study
from pellucid.studies.checking import checked
from pellucid.studies.entities import entity_rows, found_entities, predicted_tags, tag_case, tagged
from pellucid.studies.plan import Choices, planned

TAGS = ("O", "B-per", "I-per", "B-loc", "I-loc")
SENTENCES = (
    ("Ann lives in New York", "B-per O O B-loc I-loc"),
    ("Oslo is cold", "B-loc O O"),
    ("we met Ben Cole there", "O O B-per I-per O"),
    ("nobody came", "O O"),
)
KNOWN = {"Ann": 1, "Ben": 1, "Cole": 2, "New": 3, "cold": 1}
"""What the network takes words for: it misses York and Oslo, and invents a person called cold."""


class Lookup(nn.Module):
    """Tags each word by itself; what stands beside a word adds a little."""

    def __init__(self, words: Vocabulary):
        super().__init__()
        self.table = nn.Embedding(len(words), len(TAGS))
        weights = torch.full((len(words), len(TAGS)), -1.0)
        weights[:, 0] = 1.0
        for word, tag in KNOWN.items():
            weights[words.words[word], tag] = 5.0
        self.table.weight = nn.Parameter(weights)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.table(ids) * attention_mask[..., None]
        return found + 0.1 * found.mean(1, keepdim=True)


@pytest.fixture(scope="module")
def model() -> Any:
    words = Vocabulary.of([text for text, _ in SENTENCES], lower=False)
    return pellucid.wrap(Lookup(words).eval(), encoding=words, outputs=TAGS, name="lookup")


def written(folder: Path, times: int = 10) -> Path:
    path = folder / "data.conll"
    texts = ["\n".join(map(" ".join, zip(text.split(), tags.split(), strict=True))) for text, tags in SENTENCES * times]
    path.write_text("\n\n".join(texts) + "\n")
    return path


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return pellucid.read(written(tmp_path), split=(0.5, 0, 0.5))


def test_names_of_tags_say_that_a_module_tags_words(model: Any):
    assert model.labels == ("O", "per", "loc")
    assert predicted_tags(model, ["Ann lives in New York"]) == [("B-per", "O", "O", "B-loc", "O")]
    assert are_tags(TAGS) and not are_tags(("O", "A", "B", "AB")) and not are_tags(("O",)) and not are_tags(TAGS[1:])


def test_texts_tagged_together_are_tagged_as_alone(model: Any, monkeypatch: pytest.MonkeyPatch):
    texts = [text.split() for text, _ in SENTENCES]
    alone = [predicted_tags(model, [text])[0] for text in texts]
    assert predicted_tags(model, texts) == alone
    monkeypatch.setattr("pellucid.studies.entities.TAGGED", 3)
    assert predicted_tags(model, texts) == alone and predicted_tags(model, []) == []


def test_words_beyond_what_the_network_reads_are_counted(model: Any):
    short = Vocabulary(model.encoding.words, lower=False, most=3)
    cut = pellucid.wrap(model.user, encoding=short, outputs=TAGS)
    found = tagged(cut, ["Ann lives in New York", "Oslo is cold"])
    assert found.tags[0] == ("B-per", "O", "O", "O", "O") and found.unread.tolist() == [2, 0]
    assert tagged(cut, [["", "Ann"]]).tags == (("O", "B-per"),)


def test_a_network_of_other_outputs_than_tags_is_told(model: Any):
    wrong = pellucid.wrap(model.user, encoding=model.encoding, outputs=TAGS[:3])
    with pytest.raises(ModelError, match=r"shape \(1, 5, 5\), and 3 tags are named"):
        predicted_tags(wrong, ["Ann lives in New York"])
    whole = pellucid.wrap(model.user, encoding=model.encoding)
    with pytest.raises(NotApplicable, match="a module says that it does by its outputs="):
        predicted_tags(whole, ["Ann"])


def test_rows_of_an_audit_are_entities_that_were_found_and_some_that_were_missed(model: Any, data: Dataset):
    rows = entity_rows(model, data.test, most=100, seed=0)
    told = {(row.words, row.said, row.truth, row.wrong) for row in rows}
    assert told == {
        ("Ann", "per", "per", ""), ("Ben Cole", "per", "per", ""), ("New", "loc", "loc", "border"),
        ("cold", "per", "O", "invented"), ("Oslo", "O", "loc", "missed"),
    }  # fmt: skip
    few = entity_rows(model, data.test, most=6, seed=0)
    assert len(few) == 6 and sum(row.wrong == "missed" for row in few) == 2
    assert few == entity_rows(model, data.test, most=6, seed=0) != entity_rows(model, data.test, most=6, seed=1)
    assert [(row.text, row.place) for row in few] == sorted((row.text, row.place) for row in few)
    assert len(found_entities(model, data.test.words or ())) == sum(row.wrong != "missed" for row in rows)


def test_the_check_of_the_test_texts(model: Any, data: Dataset):
    main, *rest = checked(model, data, seed=0)
    assert (main.check, main.code) == ("entities", "entities")
    lines = {line["type"]: line for line in main.tables["types"]}
    assert lines["per"]["recall"] == 1 and lines["per"]["precision"] == pytest.approx(2 / 3, abs=0.15)
    assert lines["loc"]["recall"] == 0 and {line["mistake"] for line in main.tables["mistakes"]} == {
        "missed", "border", "invented",
    }  # fmt: skip
    assert "slices" in main.tables and {one.check for one in rest} <= {"entities"}
    case = tag_case(model, data, {}, 0)
    assert case.kinds == ("per", "loc") and case.known is not None and ("New", "York") in case.known


def test_types_named_otherwise_are_refused_before_anything_is_spent(model: Any, tmp_path: Path):
    path = tmp_path / "other.conll"
    path.write_text("Ann B-PERSON\ncame O\n\n" * 10)
    with pytest.raises(InputError, match=r"\(PERSON\) are none of those that the network names \(per, loc\)"):
        pellucid.audit(model, path, out=tmp_path / "run")
    numbered = tmp_path / "data.jsonl"
    numbered.write_text('{"tokens": ["Ann", "came"], "ner_tags": [1, 0]}\n' * 10)
    with pytest.raises(InputError, match="the tags are numbers"):
        pellucid.audit(model, numbered, out=tmp_path / "run")


@pytest.fixture(scope="module")
def study(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("tagger")
    how: dict[str, Any] = {"methods": ["occlusion", "shapley"], "metrics": ["sparseness"], "workers": 1}
    return pellucid.audit(model, written(folder), label="tags", out=folder / "run", rows=8, **how)


def test_an_audit_of_a_tagger_explains_entities(study: Study):
    assert not study.failed and study.findings[0].check == "entities"
    for record in study.explanations.values():
        where = record.notes["entities"]
        assert len(where) == len(record) == len(study.predictions) == 8
        for (_, start, stop, said), line, text, outputs in zip(
            where, study.predictions, record.rows, record.outputs, strict=True
        ):
            assert text[start:stop] == line["entity"] and outputs == (said,) and said == line["prediction"]
    assert any(line["mistake"] == "missed" and line["prediction"] == "O" for line in study.predictions)


def test_what_a_word_is_taken_for_rests_on_that_word(study: Study):
    record = study.explanations["shapley"]
    for row, line in enumerate(study.predictions):
        if line["mistake"] != "missed":
            assert record.top(1, row)[0][0] in line["entity"].split()


def test_the_same_audit_goes_on(study: Study, model: Any):
    assert study.folder is not None
    path = study.folder.parent / "data.conll"
    how: dict[str, Any] = {"methods": ["occlusion", "shapley"], "metrics": ["sparseness"], "workers": 1, "rows": 8}
    again = pellucid.audit(model, path, out=study.folder, **how)
    assert pellucid.diff(study, again).identical


def test_another_target_is_asked_of_every_entity(model: Any, data: Dataset):
    plan = planned(model, data, None, Choices(methods=["occlusion"], target=("per", "loc"), rows=4))
    record = plan.methods["occlusion"].explain(plan.problem)
    assert len(record) == len(plan.entities) == 4 and len(set(record.outputs)) == 1
    assert "per" in record.outputs[0][0] and "loc" in record.outputs[0][0]


def test_the_report_names_the_entities_and_marks_their_words(study: Study):
    assert study.report is not None
    page = study.report.read_text(encoding="utf-8")
    line = next(line for line in study.predictions if line["mistake"] != "missed")
    assert f"Text {line['row']}, “{line['entity']}”: {line['prediction']}" in page
    word = line["entity"].split()[0]
    assert 'e" title="' in page and f">{word}</span>" in page and ">the entity</span>" in page
    assert "By type of entity" in page and "missed" in page and "F1, micro" in page
    assert "The model gives “" in page and "” in this text the value" in page


def test_a_study_read_from_its_folder_has_its_tables_in_the_same_order(study: Study):
    from pellucid.reports import html

    assert study.folder is not None
    page = html.render([pellucid.open(study.folder)])
    told = page[page.index("By type of entity") :]
    assert told.index("<bdi>type</bdi>") < told.index("<bdi>entities</bdi>") < told.index("<bdi>precision</bdi>")
    assert told.index("<bdi>mistake</bdi>") < told.index("<bdi>example</bdi>")


def test_numbered_tags_of_a_folder_are_given_names(tmp_path: Path):
    pytest.importorskip("transformers")
    from language_models import built

    network, words = built("distilbert_tags")
    network.config.id2label = {place: f"LABEL_{place}" for place in range(5)}
    network.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    assert pellucid.load(tmp_path).labels == tuple(f"LABEL_{place}" for place in range(5))
    model = pellucid.load(tmp_path, outputs=TAGS)
    assert model.labels == ("O", "per", "loc") and set(predicted_tags(model, ["Ann came"])[0]) <= set(TAGS)
    with pytest.raises(InputError, match="3 tags are named, and the network has 5"):
        pellucid.load(tmp_path, outputs=TAGS[:3])
    with pytest.raises(InputError, match="already has names for its tags"):
        pellucid.wrap(model, outputs=TAGS)


def test_nothing_to_explain_is_said(model: Any, tmp_path: Path):
    path = tmp_path / "empty.conll"
    path.write_text("nobody O\ncame O\n\n" * 10)
    with pytest.raises(InputError, match="no text of the test split holds an entity"):
        pellucid.audit(model, path, out=tmp_path / "run")


def test_the_model_is_left_as_it_was(model: Any, data: Dataset):
    before = {name: tensor.clone() for name, tensor in model.user.state_dict().items()}
    tagged(model, data.words or ())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.user.state_dict().items())
    assert not model.user.training and np.isfinite(model.user.table.weight.detach().numpy()).all()
