"""Lime's text tutorial with the import changed, and that words are taken away as lime takes them away."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid.compat.lime import lime_text
from pellucid.compat.lime.lime_text import LimeTextExplainer
from pellucid.records.errors import InputError, NotApplicable, TargetError

pytest.importorskip("altair")
pytest.importorskip("sklearn")
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline

FAITH = ["the church and the priest pray to god", "god and jesus in the church", "a priest reads the holy book"]
DOUBT = ["there is no proof of that claim", "the argument lacks proof and reason", "reason and doubt, not the claim"]
NAMES = ["atheism", "christian"]


@pytest.fixture(scope="module")
def pipeline():
    forest = RandomForestClassifier(40, random_state=0)
    return make_pipeline(TfidfVectorizer(lowercase=False), forest).fit(DOUBT * 4 + FAITH * 4, [0] * 12 + [1] * 12)


def test_the_text_example(pipeline, tmp_path):
    explainer = lime_text.LimeTextExplainer(class_names=NAMES)
    text = "god has no proof, god and the church"
    exp = explainer.explain_instance(text, pipeline.predict_proba, num_features=6, num_samples=300)
    listed = exp.as_list()
    assert len(listed) == 6 and {word for word, _ in listed} <= {"god", "has", "no", "proof", "and", "the", "church"}
    weights = dict(listed)
    assert weights["god"] > 0 > weights["proof"]
    assert exp.available_labels() == [1] and exp.as_map()[1][0][1] == listed[0][1]
    assert exp.record.outputs[0] == tuple(NAMES) and 0 < exp.score <= 1
    assert exp.predict_proba.tolist() == pytest.approx(pipeline.predict_proba([text])[0].tolist())
    assert all(error >= 0 for error in exp.stderr[1].values())  # 0: all 128 subsets of seven words were asked
    assert exp.as_pyplot_figure().to_dict()["layer"]
    exp.save_to_file(tmp_path / "text.html", text=text)
    assert "christian" in (tmp_path / "text.html").read_text(encoding="utf-8") and exp.as_html(text=False)
    assert [word.split("_")[0] for word, _ in exp.as_list(positions=True)] == [word for word, _ in listed]
    assert any(word == "god_0-18" for word, _ in exp.as_list(positions=True))
    with pytest.raises(TargetError, match="explained"):
        exp.as_list(0)


def test_labels_and_top_labels(pipeline):
    explainer = LimeTextExplainer(class_names=NAMES, random_state=3)
    both = explainer.explain_instance("god has no proof", pipeline.predict_proba, labels=[0, 1], num_samples=200)
    assert both.available_labels() == [0, 1]
    assert dict(both.as_list(0))["god"] == pytest.approx(-dict(both.as_list(1))["god"])
    top = explainer.explain_instance("god has no proof", pipeline.predict_proba, top_labels=1, num_samples=200)
    assert top.available_labels() == [int(np.argmax(pipeline.predict_proba(["god has no proof"])[0]))]


def asked_of(explainer, text, **how):
    """All texts that the model was asked about."""
    seen = []

    def model(texts):
        seen.extend(texts)
        return np.tile([0.4, 0.6], (len(texts), 1)) + 0.01 * np.array([[len(t), -len(t)] for t in texts])

    exp = explainer.explain_instance(text, model, num_samples=64, **how)
    return exp, set(seen)


def test_a_word_is_taken_away_wherever_it_stands():
    exp, seen = asked_of(LimeTextExplainer(), "no, no: yes!")
    assert sorted(exp.names) == ["no", "yes"] and exp.spans == [[(0, 2), (4, 6)], [(8, 11)]]
    assert {"".join(text.split()) for text in seen} == {"no,no:yes!", ",:yes!", "no,no:!", ",:!"}


def test_places_and_masks():
    exp, seen = asked_of(LimeTextExplainer(bow=False), "no no")
    assert exp.names == ["no", "no"] and seen == {"no no", "UNKWORDZ no", "no UNKWORDZ", "UNKWORDZ UNKWORDZ"}
    _, seen = asked_of(LimeTextExplainer(bow=False, mask_string="[MASK]"), "no no")
    assert "[MASK] no" in seen
    exp, seen = asked_of(LimeTextExplainer(char_level=True), "ab")
    assert exp.names == ["a", "b"] and seen == {"ab", "\x00b", "a\x00", "\x00\x00"}


def test_splitting_by_an_expression_or_a_function():
    assert asked_of(LimeTextExplainer(split_expression=r"\s+"), "well-made, it is")[0].names == [
        "well-made,",
        "it",
        "is",
    ]
    chinese = LimeTextExplainer(split_expression=list)
    assert asked_of(chinese, "很好看")[0].names == ["很", "好", "看"]
    with pytest.raises(InputError, match="'other', which does not stand in the text"):
        asked_of(LimeTextExplainer(split_expression=lambda text: ["other"]), "a text")
    with pytest.raises(InputError, match="no words were found"):
        asked_of(LimeTextExplainer(), "?! …")


def test_weights_are_those_of_explain_and_repeat(pipeline):
    text = "god has no proof"
    explainer = LimeTextExplainer(random_state=5)
    exp = explainer.explain_instance(text, pipeline.predict_proba, num_samples=300)
    ours = pellucid.explain(pipeline.predict_proba, [text], "lime", target=1, samples=300, seed=5, intercept=True)
    assert dict(exp.local_exp[1]) == pytest.approx(dict(enumerate(ours.values[0])))
    assert explainer.explain_instance(text, pipeline.predict_proba, num_samples=300).local_exp == exp.local_exp


def test_what_is_not_offered_is_refused(pipeline):
    with pytest.raises(NotApplicable, match="kernel="):
        LimeTextExplainer(kernel=lambda d: d)
    with pytest.raises(NotApplicable, match="regressor"):
        LimeTextExplainer().explain_instance("a b", pipeline.predict_proba, model_regressor=object())
    with pytest.raises(InputError, match="a list is no text"):
        LimeTextExplainer().explain_instance(["a", "b"], pipeline.predict_proba)
    with pytest.raises(InputError, match="a number for each class"):
        LimeTextExplainer().explain_instance("a b", lambda texts: np.ones(len(texts)))


def test_a_hostile_text_stays_text(pipeline):
    text = "<script>alert(1)</script> god"
    exp = LimeTextExplainer(split_expression=r"\s+").explain_instance(text, pipeline.predict_proba, num_samples=50)
    assert "<script>alert" not in exp.as_html() + exp.as_html(text=False)
