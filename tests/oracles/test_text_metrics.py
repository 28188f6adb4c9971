"""Metrics of texts against loops written from the papers, the controls of texts, and evidence given as passages."""

from __future__ import annotations

from math import ceil, log

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

import pellucid
from pellucid.doors.question import as_problem
from pellucid.doors.regions import as_regions
from pellucid.methods.controls import Frequency
from pellucid.records.errors import InputError
from pellucid.records.regions import Spans

WORDS = [
    ["the", "acting", "is", "fine", "but", "the", "plot", "is", "a", "dull", "mess"],
    ["fine", "film"],
    ["a", "dull", "film", "with", "a", "fine", "ending", "that", "saves", "it", "all", "in", "the", "last", "act"],
]
WEIGHT = {"fine": 2.0, "dull": -1.5, "mess": -1.0, "plot": 0.25, "ending": 0.5}


def score(rows: list[list[str]]) -> np.ndarray:
    return np.array([np.tanh(sum(WEIGHT.get(word, 0.0) for word in row)) + 0.01 * len(row) for row in rows])


def some_values(seed: int) -> np.ndarray:
    values = np.full((3, max(map(len, WORDS))), np.nan)
    for row, words in enumerate(WORDS):
        values[row, : len(words)] = np.random.default_rng(seed).normal(size=len(words)).round(1)  # with ties
    return values


def slow_erasure(values: np.ndarray, keep: bool) -> list[float]:
    found = []
    for words, own in zip(WORDS, values, strict=True):
        n, full, losses = len(words), score([words])[0], []
        order = sorted(range(n), key=lambda i: (-own[i], i))
        for percent in (1, 5, 10, 20, 50):
            first = set(order[: ceil(percent * n / 100)])
            left = [word for i, word in enumerate(words) if (i in first) == keep]
            losses.append(full - score([left])[0])
        found.append(float(np.mean(losses)))
    return found


@pytest.mark.parametrize(("metric", "keep"), [("comprehensiveness", False), ("sufficiency", True)])
@pytest.mark.parametrize("seed", [0, 1])
def test_erasure_equals_its_slow_twin(metric: str, keep: bool, seed: int) -> None:
    values = some_values(seed)
    found = pellucid.evaluate(score, WORDS, values, metrics=metric, target=0)[0]
    np.testing.assert_allclose(found.values, slow_erasure(values, keep), atol=1e-12)
    assert set(found.controls) == {"random", "word_length", "frequency"}
    assert found.better == ("lower" if keep else "higher") and found.evaluations > 0


def test_a_right_explanation_is_more_comprehensive_and_more_sufficient_than_its_opposite() -> None:
    right = np.full((3, 15), np.nan)
    for row, words in enumerate(WORDS):
        right[row, : len(words)] = [WEIGHT.get(word, 0.0) for word in words]
    for metric, sign in (("comprehensiveness", 1), ("sufficiency", -1)):
        good, bad = (pellucid.evaluate(score, WORDS, v, metrics=metric, target=0)[0].value for v in (right, -right))
        assert sign * (good - bad) > 0.5


def test_values_made_elsewhere_may_have_other_lengths() -> None:
    values = some_values(4)
    listed = [row[: len(words)].tolist() for row, words in zip(values, WORDS, strict=True)]
    objects = np.array([np.array(row) for row in listed], dtype=object)
    zeros = np.nan_to_num(values)
    found = [
        pellucid.evaluate(score, WORDS, given, metrics="comprehensiveness", target=0)[0].values
        for given in (values, listed, objects, zeros)
    ]
    assert all((one == found[0]).all() for one in found)
    values[0, 3] = np.nan
    with pytest.raises(InputError, match="row 0: the attributions hold NaN"):
        pellucid.evaluate(score, WORDS, values, metrics="comprehensiveness", target=0)


@pytest.mark.parametrize("counts", ["raising", "size"])
def test_ranking_equals_scikit_learns(counts: str) -> None:
    rng = np.random.default_rng(3)
    values, truth = rng.normal(size=(6, 12)).round(1), rng.random((6, 12)) < 0.3
    truth[:, 0], truth[:, 1] = True, False
    ask = {"truth": truth, "background": np.zeros((1, 12)), "controls": False}
    for metric, slow in (("EvidenceAuroc", roc_auc_score), ("EvidenceAuprc", average_precision_score)):
        made = getattr(pellucid.metrics, metric)(counts=counts)
        found = pellucid.evaluate(lambda x: x.sum(1), np.ones((6, 12)), values, metrics=made, **ask)[0].values
        expected = [slow(t, v if counts == "raising" else abs(v)) for t, v in zip(truth, values, strict=True)]
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_row_without_evidence_or_with_nothing_else_is_undefined() -> None:
    truth = np.array([[True, True], [False, False], [True, False]])
    ask = {"truth": truth, "background": np.zeros((1, 2)), "controls": False}
    values = np.array([[1.0, 2.0]] * 3)
    auroc, auprc = pellucid.evaluate(lambda x: x.sum(1), np.ones((3, 2)), values,
                                     metrics=["evidence_auroc", "evidence_auprc"], **ask)  # fmt: skip
    assert np.isnan(auroc.values).tolist() == [True, True, False] and auroc.values[2] == 0
    assert np.isnan(auprc.values).tolist() == [False, True, False] and auprc.values[2] == 0.5


def test_passages_become_shares_of_words() -> None:
    problem = as_problem(score, WORDS)
    text = " ".join(WORDS[0])
    spans = Spans.of([" ".join(words) for words in WORDS], [[[text.index("dull"), len(text)]], [], [[0, 4]]])
    black_box = as_problem(lambda texts: np.array([len(text) for text in texts]), ["dull, or - not?"])
    marked = Spans.of(["dull, or - not?"], [[[0, 4], [9, 12]]])
    assert as_regions(black_box, marked).inside[0].round(2).tolist() == [1, 0, 1, 0.33]
    inside = as_regions(problem, spans).inside
    assert inside[0, :11].tolist() == [0] * 9 + [1, 1] and np.isnan(inside[0, 11])
    assert inside[1, :2].tolist() == [0, 0] and inside[2, :3].tolist() == [1, 0.5, 0]
    with pytest.raises(InputError, match="of 2 rows, but 3 rows"):
        as_regions(problem, spans[[0, 1]])
    table = as_problem(lambda x: x.sum(1), np.ones((3, 2)), background=np.zeros((1, 2)))
    with pytest.raises(InputError, match="spans are of texts"):
        as_regions(table, spans)


def test_evidence_is_graded_with_the_controls_beside_it() -> None:
    texts = [" ".join(words) for words in WORDS]
    spans = Spans.of_words(texts, [[[2, 4]], [[0, 1]], [[5, 6]]])
    e = pellucid.explain(score, WORDS, "shapley", target=0)
    found = {s.metric: s for s in pellucid.evaluate(score, WORDS, e, truth=spans)}
    assert {"evidence_auroc", "evidence_auprc", "pointing_game", "comprehensiveness", "sufficiency"} <= set(found)
    assert found["evidence_auroc"].value > 0.9 > found["evidence_auroc"].controls["frequency"]
    assert abs(found["evidence_auroc"].controls["random"] - 0.5) < 0.25


def test_rarity_is_counted_in_the_given_texts_else_in_the_explained_one() -> None:
    texts = ("a fine film", "a film", "the FILM!", "twenty-one films")
    e = pellucid.explain(score, [["film", "Fine", ",", "new"]], Frequency(texts=texts), target=0)
    np.testing.assert_allclose(e.values[0], [log(5 / 3), log(5), 0, log(10)])
    e = pellucid.explain(score, [["film", "Film", "other", "word"]], "frequency", target=0)
    np.testing.assert_allclose(e.values[0], [log(5 / 2)] * 2 + [log(5)] * 2)
