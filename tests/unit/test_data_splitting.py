"""Splitting: exact shares per class, one seed one split, groups never divided."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data.splitting import quotas, split_rows
from pellucid.records.errors import InputError


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 200),
    classes=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    parts=st.tuples(st.integers(1, 10), st.integers(0, 10), st.integers(0, 10)),
)
def test_shares_are_exact_to_rounding_in_every_class(n, classes, seed, parts):
    labels = np.random.default_rng(seed).integers(0, classes, n)
    shares = np.array(parts) / sum(parts)
    split = split_rows(n, tuple(shares), seed, labels, "classification")
    assert split.dtype == np.int8 and set(split.tolist()) <= {0, 1, 2}
    for label in set(labels.tolist()):
        counts = np.bincount(split[labels == label], minlength=3)
        assert (np.abs(counts - shares * (labels == label).sum()) < 1).all()


def test_one_seed_is_one_split_for_good():
    labels = np.arange(12) % 2
    assert split_rows(12, seed=3, labels=labels, task="classification").tolist() == FROZEN
    assert split_rows(12, seed=4, labels=labels, task="classification").tolist() != FROZEN


FROZEN = [0, 0, 2, 2, 0, 0, 0, 0, 1, 0, 0, 1]


def test_regression_is_stratified_by_quantiles():
    values = np.sort(np.random.default_rng(0).lognormal(size=1000))
    split = split_rows(1000, (0.6, 0.2, 0.2), 0, values, "regression")
    for tenth in range(10):
        assert np.bincount(split[tenth * 100 : (tenth + 1) * 100], minlength=3).tolist() == [60, 20, 20]


def test_groups_are_never_divided_and_shares_stay_near():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 120, 1000)
    labels = (groups % 3 == 0).astype(int)
    split = split_rows(1000, (0.6, 0.2, 0.2), 7, labels, "classification", groups)
    assert all(len(set(split[groups == group])) == 1 for group in set(groups.tolist()))
    for label in (0, 1):
        shares = np.bincount(split[labels == label], minlength=3) / (labels == label).sum()
        assert np.abs(shares - [0.6, 0.2, 0.2]).max() < 0.03
    alone = split_rows(50, (0.6, 0.2, 0.2), 7, groups=np.arange(50))
    assert np.bincount(alone).tolist() == [30, 10, 10]


def test_quotas():
    assert quotas(10, np.array([0.6, 0.2, 0.2])).tolist() == [6, 2, 2]
    assert quotas(1, np.array([0.6, 0.2, 0.2])).tolist() == [1, 0, 0]
    assert quotas(7, np.array([0.5, 0.25, 0.25])).tolist() == [3, 2, 2]


@pytest.mark.parametrize("split", [(1,), (0.5, 0.5, 0.5), (1.2, -0.1, -0.1), (0, 0.5, 0.5), (np.nan, 0.5, 0.5)])
def test_bad_shares(split):
    with pytest.raises(InputError, match="split"):
        split_rows(10, split)
