"""Measures of classification beside scikit-learn, by hand, and at the edges of what is defined."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.measures import classification as c
from pellucid.measures import regression as r
from pellucid.measures.weights import weights_for
from pellucid.records.errors import InputError


def data(seed: int, classes: int, rows: int = 60):
    """Labels, answers and probabilities with many ties; the last class may be absent."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, rows)
    scores = rng.integers(1, 4, (rows, classes)) + 2.0 * (truth[:, None] == np.arange(classes))
    chances = scores / scores.sum(axis=1, keepdims=True)
    weights = rng.integers(0, 4, rows).astype(float)
    return truth, chances.argmax(axis=1), chances, weights


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_answers_agree_with_sklearn(seed: int, classes: int):
    m = pytest.importorskip("sklearn.metrics")
    truth, predicted, _, weights = data(seed, classes)
    for w in (None, weights):
        given = {"sample_weight": w}
        assert c.accuracy(truth, predicted, w) == pytest.approx(m.accuracy_score(truth, predicted, **given))
        assert c.balanced_accuracy(truth, predicted, w) == pytest.approx(
            m.balanced_accuracy_score(truth, predicted, **given)
        )
        np.testing.assert_allclose(
            c.confusion(truth, predicted, classes, w),
            m.confusion_matrix(truth, predicted, labels=range(classes), **given),
        )
        for average in ("macro", "micro", "weighted"):
            for ours, theirs in ((c.precision, m.precision_score), (c.recall, m.recall_score), (c.f1, m.f1_score)):
                expected = theirs(truth, predicted, average=average, zero_division=0, **given)
                assert ours(truth, predicted, average, w) == pytest.approx(expected)
    expected = m.precision_recall_fscore_support(truth, predicted, labels=range(classes), zero_division=np.nan)
    found = c.tally(truth, predicted, classes)
    for ours, theirs in zip((found.precision, found.recall, found.f1, found.truths), expected, strict=True):
        np.testing.assert_allclose(ours, theirs)


def test_a_class_never_said_counts_zero_in_the_macro_and_an_absent_one_not_at_all():
    truth, predicted = np.array([0, 0, 1, 2]), np.array([0, 0, 1, 1])
    found = c.tally(truth, predicted, classes=4)
    np.testing.assert_allclose(found.precision, [1, 0.5, np.nan, np.nan])
    np.testing.assert_allclose(found.recall, [1, 1, 0, np.nan])
    np.testing.assert_allclose(found.f1, [1, 2 / 3, 0, np.nan])
    assert found.average("precision", "macro") == pytest.approx(0.5)
    assert found.average("recall", "weighted") == pytest.approx(0.75)
    assert found.balanced_accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(8))
def test_rankings_agree_with_sklearn(seed: int):
    m = pytest.importorskip("sklearn.metrics")
    truth, _, chances, weights = data(seed, 2)
    scores = chances[:, 1]
    for w in (None, weights):
        given = {"sample_weight": w}
        assert c.roc_auc(truth, scores, w) == pytest.approx(m.roc_auc_score(truth, scores, **given))
        assert c.average_precision(truth, scores, w) == pytest.approx(m.average_precision_score(truth, scores, **given))
    wrong, right, _ = m.roc_curve(truth, scores, drop_intermediate=False)
    np.testing.assert_allclose(c.roc_curve(truth, scores), np.stack([wrong, right], axis=1))
    precision, recall, _ = m.precision_recall_curve(truth, scores)
    np.testing.assert_allclose(c.precision_recall_curve(truth, scores), np.stack([recall, precision], axis=1)[::-1])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_agree_with_sklearn(seed: int, classes: int):
    m = pytest.importorskip("sklearn.metrics")
    truth, _, chances, weights = data(seed, classes, rows=80)
    labels = list(range(classes))
    for w in (None, weights):
        assert c.log_loss(truth, chances, w) == pytest.approx(
            m.log_loss(truth, chances, labels=labels, sample_weight=w)
        )
    hot = np.eye(classes)[truth]
    expected = ((chances - hot) ** 2).sum(axis=1).mean() / (2 if classes == 2 else 1)
    assert c.brier(truth, chances) == pytest.approx(expected)
    if classes > 2:
        expected = m.roc_auc_score(truth, chances, multi_class="ovr", average="macro")
        assert c.roc_auc(truth, chances) == pytest.approx(expected)
        expected = m.average_precision_score(hot, chances, average="macro")
        assert c.average_precision(truth, chances) == pytest.approx(expected)
    else:
        assert c.brier(truth, chances) == pytest.approx(m.brier_score_loss(truth, chances[:, 1]))
        assert c.roc_auc(truth, chances) == pytest.approx(m.roc_auc_score(truth, chances[:, 1]))


def test_ranking_by_hand():
    positive, scores = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.8, 0.1])
    # pairs: (0.9 beats both) 2, (0.8 ties one, beats one) 1.5 → 3.5 of 4
    assert c.roc_auc(positive, scores) == pytest.approx(3.5 / 4)
    # thresholds 0.9: P=1, R=.5; 0.8: P=2/3, R=1
    assert c.average_precision(positive, scores) == pytest.approx(0.5 + 0.5 * 2 / 3)
    np.testing.assert_allclose(c.roc_curve(positive, scores), [[0, 0], [0, 0.5], [0.5, 1], [1, 1]])


def test_the_undefined_is_nan():
    one, scores = np.ones(5, dtype=int), np.linspace(0, 1, 5)
    assert np.isnan(c.roc_auc(one, scores))
    assert np.isnan(c.roc_auc(1 - one, scores))
    assert np.isnan(c.average_precision(1 - one, scores))
    assert c.average_precision(one, scores) == 1.0
    assert c.roc_auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    empty = np.zeros(0, dtype=int)
    assert np.isnan(c.accuracy(empty, empty))
    assert np.isnan(c.f1(empty, empty))
    assert np.isnan(c.roc_auc(empty, np.zeros(0)))


def test_a_sure_mistake_costs_36_and_not_everything():
    assert c.log_loss(np.array([1]), np.array([[1.0, 0.0]])) == pytest.approx(36.04, abs=0.01)
    assert c.log_loss(np.array([0]), np.array([[1.0, 0.0]])) == pytest.approx(0.0, abs=1e-12)


def test_weights_are_repetitions_for_every_measure():
    """``weights [draws, N]`` give what the rows themselves give when they are repeated."""
    truth, predicted, chances, _ = data(11, 3)
    weights = np.random.default_rng(1).integers(0, 3, (5, len(truth))).astype(float)
    numbers = np.random.default_rng(2).normal(size=(2, len(truth)))
    cases = [(f, (truth, predicted)) for f in (c.accuracy, c.balanced_accuracy, c.precision, c.recall, c.f1)]
    cases += [(f, (truth, chances)) for f in (c.roc_auc, c.average_precision, c.log_loss, c.brier)]
    cases += [(f, tuple(numbers)) for f in (r.mae, r.rmse, r.r2)]
    for measure, arrays in cases:
        fast = measure(*arrays, weights=weights)
        assert fast.shape == (5,)
        for draw, value in zip(weights, fast, strict=True):
            rows = np.repeat(np.arange(len(truth)), draw.astype(int))
            assert value == pytest.approx(measure(*(array[rows] for array in arrays))), measure.__name__


def test_shapes_and_classes_are_checked():
    with pytest.raises(InputError, match="alike"):
        c.accuracy(np.zeros(3), np.zeros(4))
    with pytest.raises(InputError, match="class 3"):
        c.tally(np.array([3]), np.array([0]), classes=3)
    with pytest.raises(InputError, match="class -1"):
        c.tally(np.array([-1]), np.array([0]))
    with pytest.raises(InputError, match="one weight per row"):
        weights_for(3, np.ones((2, 4)))
