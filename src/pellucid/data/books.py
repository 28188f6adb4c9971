"""Data that come with the house: a loan book made by a known rule, and the sets that scikit-learn ships."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..records.errors import EncodingError
from ..records.files import digest_array
from ..records.schema import Column, Schema
from .arrays import from_arrays
from .dataset import Dataset, Source
from .encoding import frame_of
from .reading import read

if TYPE_CHECKING:
    import pandas as pd

LOAN_COLUMNS = (
    "income",
    "debt",
    "age",
    "employment_years",
    "savings",
    "late_payments",
    "loan_amount",
    "owns_home",
)
LOAN_SCHEMA = Schema(
    (
        Column("income", "numeric", unit="thousand a year", description="gross yearly income"),
        Column("debt", "numeric", unit="thousand", description="what is owed already"),
        Column("age", "numeric", unit="years", protected=True, immutable=True, description="does not matter"),
        Column("employment_years", "numeric", unit="years", description="time in the present job"),
        Column("savings", "numeric", unit="thousand", description="money in the bank"),
        Column("late_payments", "numeric", description="payments that came late in the last two years"),
        Column("loan_amount", "numeric", unit="thousand", description="the loan that is asked for"),
        Column("owns_home", "boolean", categories=("False", "True"), description="does not matter"),
        Column("approved", "boolean", role="label", categories=("no", "yes")),
    )
)


@dataclass(frozen=True)
class LoanRule:
    r"""The rule behind the loan book: the log-odds of approval.

    With ``u = (value - center) / scale`` per column,

    .. math:: \text{logit}(x) = b + \sum_i w_i u_i + w_\times u_{income} u_{loan\_amount}

    where the numbers stand in the order of ``columns``. ``age`` and ``owns_home`` have weight 0 and
    take no part in the product, so they do not matter.
    """

    intercept: float = 0.4
    weights: tuple[float, ...] = (1.2, -1.0, 0.0, 0.5, 0.8, -1.1, -0.7, 0.0)
    centers: tuple[float, ...] = (50.0, 15.0, 42.0, 8.0, 12.0, 1.0, 20.0, 0.5)
    scales: tuple[float, ...] = (20.0, 10.0, 12.0, 6.0, 10.0, 1.2, 10.0, 0.5)
    pair: tuple[str, str] = ("income", "loan_amount")
    pair_weight: float = 0.6

    @property
    def columns(self) -> tuple[str, ...]:
        return LOAN_COLUMNS

    @property
    def irrelevant(self) -> tuple[str, ...]:
        """The columns that the rule does not look at."""
        weights = dict(zip(self.columns, self.weights, strict=True))
        return tuple(name for name in self.columns if weights[name] == 0 and name not in self.pair)

    def log_odds(self, frame: Any) -> np.ndarray:
        """The log-odds of "yes" for raw rows, ``Float64[N]``."""
        units = self._units(frame)
        first, second = (self.columns.index(name) for name in self.pair)
        return self.intercept + units @ np.array(self.weights) + self.pair_weight * units[:, first] * units[:, second]

    def probability(self, frame: Any) -> np.ndarray:
        """The chance of "yes", ``Float64[N]``."""
        return 1 / (1 + np.exp(-self.log_odds(frame)))

    def contributions(self, frame: Any, reference: Any) -> np.ndarray:
        """Exact Shapley values of the log-odds against one reference row, ``Float64[N, 8]``.

        A sum gives ``w (u - r)`` to each column; the product ``u v`` against ``r s`` gives
        ``(u - r)(v + s)/2`` to the one and ``(v - s)(u + r)/2`` to the other, which add up to
        ``u v - r s``. Raises EncodingError for missing columns or more than one reference row.
        """
        units, other = self._units(frame), self._units(reference)
        if len(other) != 1:
            raise EncodingError(f"one reference row is needed, not {len(other)}")
        out = np.array(self.weights) * (units - other)
        first, second = (self.columns.index(name) for name in self.pair)
        for mine, its in ((first, second), (second, first)):
            change = (units[:, mine] - other[:, mine]) * (units[:, its] + other[:, its]) / 2
            out[:, mine] += self.pair_weight * change
        return out

    def _units(self, frame: Any) -> np.ndarray:
        if hasattr(frame, "to_frame") and getattr(frame, "ndim", 0) == 1:  # one row of a DataFrame
            frame = frame.to_dict()
        cells = frame_of(frame, self.columns)[list(self.columns)]
        raw = cells.replace({"False": 0, "True": 1}).to_numpy(dtype=np.float64)  # as a CSV file writes booleans
        return (raw - np.array(self.centers)) / np.array(self.scales)


def loan_book(n: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, LoanRule]:
    """``n`` made-up loan applications with the label ``approved`` ("no", "yes"), and the rule that drew it.

    Income and savings are log-normal, debt and loan amount gamma, late payments Poisson; who is older
    has been employed longer and owns a home more often, so the two columns that do not matter are
    not independent of those that do. The label is a coin with the rule's probability.
    """
    import pandas as pd

    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(42, 12, n), 18, 80).round()
    frame = pd.DataFrame(
        {
            "income": np.exp(rng.normal(np.log(46), 0.4, n)).round(1),
            "debt": rng.gamma(2.2, 6.8, n).round(1),
            "age": age.astype(np.int64),
            "employment_years": np.clip((age - 18) * rng.beta(1.5, 3.0, n), 0, None).round(1),
            "savings": np.exp(rng.normal(np.log(9), 0.8, n)).round(1),
            "late_payments": rng.poisson(1.0, n),
            "loan_amount": (2 + rng.gamma(3.0, 6.0, n)).round(1),
            "owns_home": rng.random(n) < np.clip((age - 15) / 60, 0.05, 0.95),
        }
    )
    rule = LoanRule()
    frame["approved"] = np.where(rng.random(n) < rule.probability(frame), "yes", "no")
    return frame, rule


def loan_data(n: int = 2000, seed: int = 0) -> Dataset:
    """The loan book as a Dataset with units and descriptions."""
    return read(loan_book(n, seed)[0], label="approved", schema=LOAN_SCHEMA, seed=seed)


def breast_cancer(seed: int = 0, split: Sequence[float] = (0.6, 0.2, 0.2)) -> Dataset:
    """Breast Cancer Wisconsin (diagnostic), 569 rows, 30 numeric columns; label ``diagnosis``: benign, malignant.

    Texture is a standard deviation of grey levels; lengths and areas are in pixels of the original
    images, whose size in millimetres was never published, so they carry no unit here.
    """
    from sklearn.datasets import load_breast_cancer

    shipped: Any = load_breast_cancer(as_frame=True)
    frame = shipped.data.copy()
    texture = [name for name in frame.columns if name.endswith("texture")]
    frame["diagnosis"] = np.where(shipped.target == 1, "benign", "malignant")
    described = Schema(
        tuple(Column(name, "numeric", unit="grey levels" if name in texture else "") for name in shipped.data.columns)
    )
    return read(frame, label="diagnosis", schema=described, seed=seed, split=split)


def digits(seed: int = 0, split: Sequence[float] = (0.6, 0.2, 0.2)) -> Dataset:
    """Handwritten digits: ``UInt8[1797, 8, 8]`` with values 0 to 16; label ``digit``, "0" to "9"."""
    from sklearn.datasets import load_digits

    shipped: Any = load_digits()
    images = shipped.images.astype(np.uint8)
    return from_arrays(
        images,
        labels=shipped.target.astype(np.int64),
        label="digit",
        source=Source("", digest_array(images)),
        fractions=split,
        seed=seed,
    )
