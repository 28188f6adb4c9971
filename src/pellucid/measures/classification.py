"""How well classes are told apart: counts of right and wrong answers, rankings, and stated probabilities.

Classes are numbers 0 … K−1. Rows may carry weights (see ``weights.py``); a figure without a
denominator is NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..records.errors import InputError
from .weights import Figures, mean, ratio, sums_by_group, weights_for

Average = Literal["macro", "micro", "weighted"]
Measure = Callable[[np.ndarray, np.ndarray, np.ndarray | None], Figures]


# Answers: one class a row ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tally:
    """Per class, ``Float64[..., K]``: rows answered rightly, rows that are of it, rows that were said to be."""

    hits: np.ndarray
    truths: np.ndarray
    guesses: np.ndarray

    @property
    def precision(self) -> np.ndarray:
        """``[..., K]``: of the rows said to be of a class, the share that are. NaN for a class never said."""
        return ratio(self.hits, self.guesses)

    @property
    def recall(self) -> np.ndarray:
        """``[..., K]``: of the rows of a class, the share said to be. NaN for a class without rows."""
        return ratio(self.hits, self.truths)

    @property
    def f1(self) -> np.ndarray:
        """``[..., K]``: the harmonic mean of precision and recall. NaN for a class neither present nor said."""
        return ratio(2 * self.hits, self.truths + self.guesses)

    @property
    def accuracy(self) -> Figures:
        return ratio(self.hits.sum(axis=-1), self.truths.sum(axis=-1))

    @property
    def balanced_accuracy(self) -> Figures:
        """The mean recall of the classes that have rows."""
        recall = self.recall
        return ratio(np.nan_to_num(recall).sum(axis=-1), (~np.isnan(recall)).sum(axis=-1))

    def average(self, figure: Literal["precision", "recall", "f1"], how: Average) -> Figures:
        """One figure for all classes.

        ``macro``: the plain mean over the classes that occur among truths or guesses, where an
        undefined class counts as 0 (what scikit-learn does with ``zero_division=0``); ``weighted``:
        the same weighted by the rows of each class; ``micro``: of all rows together, which is the
        accuracy when each row has one class.
        """
        if how == "micro":
            together = Tally(*(counts.sum(axis=-1) for counts in (self.hits, self.truths, self.guesses)))
            return getattr(together, figure)
        values = np.nan_to_num(getattr(self, figure))
        shares = self.truths if how == "weighted" else ((self.truths + self.guesses) > 0).astype(np.float64)
        return ratio((values * shares).sum(axis=-1), shares.sum(axis=-1))


def tally(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, weights: np.ndarray | None = None
) -> Tally:
    """Count once what precision, recall, F1 and accuracy are all made of."""
    truth, predicted, classes = _answers(truth, predicted, classes)
    weights = weights_for(len(truth), weights)
    cells, counts = sums_by_group(weights, truth * classes + predicted)
    is_truth = (cells[:, None] // classes == np.arange(classes)).astype(np.float64)
    is_guess = (cells[:, None] % classes == np.arange(classes)).astype(np.float64)
    return Tally(counts @ (is_truth * is_guess), counts @ is_truth, counts @ is_guess)


def confusion(
    truth: np.ndarray, predicted: np.ndarray, classes: int | None = None, weights: np.ndarray | None = None
) -> np.ndarray:
    """The confusion matrix ``Float64[..., K, K]``: rows are true classes, columns predicted ones."""
    truth, predicted, classes = _answers(truth, predicted, classes)
    weights = weights_for(len(truth), weights)
    cells, counts = sums_by_group(weights, truth * classes + predicted)
    matrix = np.zeros((*counts.shape[:-1], classes * classes))
    matrix[..., cells] = counts
    return matrix.reshape(*counts.shape[:-1], classes, classes)


def accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The share of rows answered rightly."""
    truth, predicted, _ = _answers(truth, predicted, None)
    return mean(truth == predicted, weights)


def balanced_accuracy(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The mean over classes of the share answered rightly; 1/K for an answer that knows nothing."""
    return tally(truth, predicted, weights=weights).balanced_accuracy


def precision(
    truth: np.ndarray, predicted: np.ndarray, average: Average = "macro", weights: np.ndarray | None = None
) -> Figures:
    """See :meth:`Tally.average`; per class: ``tally(...).precision``."""
    return tally(truth, predicted, weights=weights).average("precision", average)


def recall(
    truth: np.ndarray, predicted: np.ndarray, average: Average = "macro", weights: np.ndarray | None = None
) -> Figures:
    """See :meth:`Tally.average`; per class: ``tally(...).recall``."""
    return tally(truth, predicted, weights=weights).average("recall", average)


def f1(
    truth: np.ndarray, predicted: np.ndarray, average: Average = "macro", weights: np.ndarray | None = None
) -> Figures:
    """See :meth:`Tally.average`; per class: ``tally(...).f1``."""
    return tally(truth, predicted, weights=weights).average("f1", average)


# Rankings: a score a row -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Ranking:
    """What lies at or above each distinct score, the highest first.

    ``positives`` and ``others`` are ``Float64[..., thresholds]``, cumulative weights;
    ``thresholds`` the distinct scores. All ranking figures are read off it.
    """

    positives: np.ndarray
    others: np.ndarray
    thresholds: np.ndarray

    @property
    def auc(self) -> Figures:
        """The area under the ROC curve, ties counting one half; NaN where one side has no rows."""
        right, wrong = _from_zero(self.positives), _from_zero(self.others)
        area = (np.diff(wrong) * (right[..., 1:] + right[..., :-1])).sum(axis=-1) / 2
        return ratio(area, right[..., -1] * wrong[..., -1])

    @property
    def average_precision(self) -> Figures:
        """Σ (Rₜ − Rₜ₋₁) · Pₜ over the distinct scores, without interpolation; NaN without positive rows."""
        right = _from_zero(self.positives)
        precision = np.nan_to_num(ratio(self.positives, self.positives + self.others))
        return ratio((np.diff(right) * precision).sum(axis=-1), right[..., -1])


def ranking(positive: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Ranking:
    """Rank rows by ``scores [N]``; ``positive [N]`` (true or 1) says which should come first."""
    positive, scores = np.asarray(positive).astype(bool), np.asarray(scores, dtype=np.float64)
    if positive.ndim != 1 or positive.shape != scores.shape:
        raise InputError(f"a ranking needs labels and scores [N] alike, not {positive.shape} and {scores.shape}")
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], len(ordered) > 0))
    weights = weights_for(len(scores), weights)[..., order]
    right = np.cumsum(weights * positive[order], axis=-1)[..., ends]
    return Ranking(right, np.cumsum(weights, axis=-1)[..., ends] - right, ordered[ends])


def roc_auc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The area under the ROC curve.

    ``scores [N]``: of class 1 among classes 0 and 1. ``scores [N, K]``: each class against the rest,
    the plain mean over the classes for which it is defined (K = 2: of class 1).
    """
    return _over_classes(truth, scores, weights, lambda *row: ranking(*row).auc)


def average_precision(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The step-wise area under the precision–recall curve; classes as in :func:`roc_auc`.

    An answer that knows nothing has the share of positive rows, not one half.
    """
    return _over_classes(truth, scores, weights, lambda *row: ranking(*row).average_precision)


def roc_curve(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """``Float64[points, 2]`` from (0, 0) to (1, 1): false-positive rate, true-positive rate, at falling thresholds."""
    found = ranking(positive, scores)
    right, wrong = _from_zero(found.positives), _from_zero(found.others)
    return np.stack([ratio(wrong, wrong[-1]), ratio(right, right[-1])], axis=1)


def precision_recall_curve(positive: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """``Float64[points, 2]``: recall, precision, at falling thresholds; begins at (0, 1) by convention."""
    found = ranking(positive, scores)
    right = _from_zero(found.positives)
    precision = np.append(1.0, ratio(found.positives, found.positives + found.others))
    return np.stack([ratio(right, right[-1]), precision], axis=1)


# Probabilities -----------------------------------------------------------------------------


def log_loss(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The mean of −log(probability of the true class), in nats, for ``probabilities [N, K]``.

    Probabilities are kept off zero by the float64 epsilon, so that one sure mistake costs 36 and not everything.
    """
    chosen = _of_truth(truth, probabilities)
    epsilon = np.finfo(np.float64).eps
    return mean(-np.log(np.clip(chosen, epsilon, 1 - epsilon)), weights)


def brier(truth: np.ndarray, probabilities: np.ndarray, weights: np.ndarray | None = None) -> Figures:
    """The mean squared error of the stated probabilities (Brier 1950).

    With two classes that of class 1 (0 … 1); with more the sum over classes (0 … 2), like scikit-learn.
    """
    _of_truth(truth, probabilities)
    errors = (probabilities - (np.asarray(truth)[:, None] == np.arange(probabilities.shape[1]))) ** 2
    return mean(errors[:, 1] if probabilities.shape[1] == 2 else errors.sum(axis=1), weights)


# -------------------------------------------------------------------------------------------


def _answers(truth: np.ndarray, predicted: np.ndarray, classes: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    truth, predicted = np.asarray(truth, dtype=np.int64), np.asarray(predicted, dtype=np.int64)
    if truth.ndim != 1 or truth.shape != predicted.shape:
        raise InputError(f"true and predicted classes must be [N] alike, not {truth.shape} and {predicted.shape}")
    low = int(min(truth.min(initial=0), predicted.min(initial=0)))
    high = int(max(truth.max(initial=0), predicted.max(initial=0)))
    if low < 0 or (classes is not None and high >= classes):
        raise InputError(f"class {low if low < 0 else high} met, known are 0 … {(classes or high + 1) - 1}")
    return truth, predicted, classes or high + 1


def _of_truth(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    truth = np.asarray(truth, dtype=np.int64)
    if probabilities.ndim != 2 or len(truth) != len(probabilities):
        raise InputError(f"probabilities must be [N, K] beside {truth.shape} labels, not {probabilities.shape}")
    return probabilities[np.arange(len(truth)), truth]


def _from_zero(cumulative: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((*cumulative.shape[:-1], 1)), cumulative], axis=-1)


def _over_classes(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray | None, measure: Measure) -> Figures:
    truth, scores = np.asarray(truth), np.asarray(scores)
    if scores.ndim == 1 or scores.shape[1] == 2:
        return measure(truth == 1, scores if scores.ndim == 1 else scores[:, 1], weights)
    each = np.stack([measure(truth == k, scores[:, k], weights) for k in range(scores.shape[1])], axis=-1)
    return ratio(np.nan_to_num(each).sum(axis=-1), (~np.isnan(each)).sum(axis=-1))
