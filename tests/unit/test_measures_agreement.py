"""Agreement of explanations: hand-computed cases and a slow twin for every function."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pellucid.measures import agreement
from pellucid.records.errors import InputError

nan = float("nan")


def slow_ranks(values: list[float]) -> list[float]:
    return [sum(w < v for w in values) + (sum(w == v for w in values) + 1) / 2 for v in values]


def slow_pearson(a: list[float], b: list[float]) -> float:
    if len(a) < 2 or len(set(a)) == 1 or len(set(b)) == 1:
        return nan
    ma, mb = math.fsum(a) / len(a), math.fsum(b) / len(b)
    top = math.fsum((x - ma) * (y - mb) for x, y in zip(a, b, strict=True))
    return top / math.sqrt(math.fsum((x - ma) ** 2 for x in a) * math.fsum((y - mb) ** 2 for y in b))


def slow_top(a: list[float], k: int) -> list[int]:
    return sorted(range(len(a)), key=lambda i: (-abs(a[i]), i))[:k]


def slow_agreements(a: list[float], b: list[float], k: int) -> dict[str, float]:
    """Krishna et al. 2022, section 3, written over sets."""
    k = min(k, len(a))
    ta, tb = slow_top(a, k), slow_top(b, k)
    both = set(ta) & set(tb)

    def sign(x: float) -> int:
        return (x > 0) - (x < 0)

    same_sign = {i for i in both if sign(a[i]) == sign(b[i])}
    same_place = {i for i in both if ta.index(i) == tb.index(i)}
    found = {
        "top_overlap": both,
        "sign_agreement": same_sign,
        "rank_agreement": same_place,
        "signed_rank_agreement": same_sign & same_place,
    }
    return {name: len(kept) / k for name, kept in found.items()}


def present(a: np.ndarray, b: np.ndarray) -> tuple[list[float], list[float]]:
    keep = np.isfinite(a) & np.isfinite(b)
    return a[keep].tolist(), b[keep].tolist()


@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 6))
def test_every_function_equals_its_slow_twin(seed: int, n: int, k: int):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(-3, 4, (2, 6, n)).astype(float)  # many ties and zeros
    a[rng.random(a.shape) < 0.15] = nan
    b[rng.random(b.shape) < 0.15] = nan
    ranks, plain = agreement.rank_correlation(a, b), agreement.pearson(a, b)
    for row in range(len(a)):
        x, y = present(a[row], b[row])
        np.testing.assert_allclose(ranks[row], slow_pearson(slow_ranks(x), slow_ranks(y)), atol=1e-12)
        np.testing.assert_allclose(plain[row], slow_pearson(x, y), atol=1e-12)
        for name in ("top_overlap", "sign_agreement", "rank_agreement", "signed_rank_agreement"):
            value = getattr(agreement, name)(a, b, k)[row]
            assert np.isnan(value) if not x else value == pytest.approx(slow_agreements(x, y, k)[name])


def test_spearman_by_hand():
    a = np.array([[1.0, 2.0, 2.0, 4.0]])
    b = np.array([[1.0, 3.0, 2.0, 4.0]])
    # ranks (1, 2.5, 2.5, 4) and (1, 3, 2, 4): 4.5 / sqrt(4.5 · 5)
    np.testing.assert_allclose(agreement.rank_correlation(a, b), [4.5 / np.sqrt(22.5)])
    np.testing.assert_allclose(agreement.rank_correlation(a, -a), [-1.0])
    np.testing.assert_allclose(agreement.rank_correlation(a, np.exp(a)), [1.0])


def test_overlaps_by_hand():
    a = np.array([[3.0, -2.0, 1.0, 0.0]])
    b = np.array([[3.0, 1.0, 2.0, 0.0]])
    assert agreement.top_overlap(a, b, 2) == 0.5
    assert agreement.top_overlap(a, b, 3) == 1.0
    assert agreement.sign_agreement(a, b, 3) == pytest.approx(2 / 3)
    assert agreement.rank_agreement(a, b, 3) == pytest.approx(1 / 3)
    assert agreement.signed_rank_agreement(a, -b, 3) == 0.0
    assert agreement.sign_agreement(a, -b, 3) == pytest.approx(1 / 3)


def test_ties_are_broken_by_index():
    flat, late = np.ones((1, 4)), np.array([[0.0, 0.0, 1.0, 1.0]])
    assert agreement.top_overlap(flat, late, 2) == 0.0
    assert agreement.top_overlap(flat, flat, 2) == 1.0


@pytest.mark.parametrize("measure", [agreement.rank_correlation, agreement.pearson])
def test_correlations_are_undefined_for_one_player_or_a_constant_side(measure):
    assert np.isnan(measure(np.array([[2.0]]), np.array([[1.0]]))).all()
    assert np.isnan(measure(np.full((1, 3), 0.1), np.array([[1.0, 2.0, 3.0]]))).all()
    assert np.isnan(measure(np.array([[1.0, nan, nan]]), np.array([[1.0, 2.0, 3.0]]))).all()
    assert measure(np.zeros((0, 3)), np.zeros((0, 3))).shape == (0,)
    assert np.isnan(measure(np.zeros((2, 0)), np.zeros((2, 0)))).all()


def test_pearson_survives_extreme_scales():
    a = np.array([[1.0, 2.0, 4.0]])
    for scale in (1e-300, 1e300):
        np.testing.assert_allclose(agreement.pearson(a * scale, a), [1.0])
    huge = np.array([[-1e308, 1e308, 0.0]])
    np.testing.assert_allclose(agreement.pearson(huge, np.array([[-1.0, 1.0, 0.0]])), [1.0])


def test_absent_players_take_no_place():
    a = np.array([[nan, 5.0, 1.0]])
    b = np.array([[9.0, 1.0, 5.0]])
    assert agreement.rank_correlation(a, b) == -1.0
    assert agreement.top_overlap(a, b, 2) == 1.0
    assert np.isnan(agreement.top_overlap(np.full((1, 2), nan), np.ones((1, 2)), 1)).all()


def test_shapes_must_agree_and_k_be_positive():
    with pytest.raises(InputError, match="one shape"):
        agreement.pearson(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(InputError, match="k ≥ 1"):
        agreement.top_overlap(np.ones((1, 3)), np.ones((1, 3)), 0)
