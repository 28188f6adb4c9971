"""Minimal sufficient and necessary sets against exhaustive search, duality, and games with known answers."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

import pellucid
from pellucid.records.errors import BudgetError
from pellucid.records.sets import Sets
from pellucid.removals import Constant


def game(n, worth):
    """A game v(set) as a black box over rows of ones and zeros, and its only row."""

    def function(rows):
        return np.array([float(worth(frozenset(np.flatnonzero(row > 0.5).tolist()))) for row in np.asarray(rows)])

    return function, np.ones((1, n))


def solved(n, worth, method, **settings):
    function, row = game(n, worth)
    return pellucid.explain(function, row, method, removal=Constant(0.0), **settings)


def holding(n, worth, share, absent):
    """All smallest sets, by trying every set (the definition)."""
    everyone = frozenset(range(n))
    cut = worth(frozenset()) + share * (worth(everyone) - worth(frozenset()))
    rise = worth(everyone) - worth(frozenset())
    for size in range(n + 1):
        held = []
        for members in map(frozenset, combinations(range(n), size)):
            kept = (worth(everyone - members if absent else members) - cut) * rise >= 0
            if kept != absent:
                held.append(members)
        if held:
            return held
    return []


METHODS = {"minimal_sufficient": False, "minimal_necessary": True}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(8))
def test_it_is_one_of_the_smallest_by_definition(method, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 8))
    weights, pairs = rng.normal(size=n) + 0.7, rng.normal(size=(n, n)) * 0.5

    def worth(members):
        inside = [i in members for i in range(n)]
        return float(weights @ inside + np.array(inside) @ pairs @ np.array(inside))

    wanted = holding(n, worth, 0.75, METHODS[method])
    found = solved(n, worth, method, share=0.75)
    chosen = frozenset(np.flatnonzero(found.members[0, :, 0]).tolist())
    assert chosen in wanted and found.smallest[0, 0] and found.others[0, 0] == len(wanted) - 1
    kept = worth(frozenset(range(n)) - chosen if METHODS[method] else chosen)
    assert found.reached[0, 0] == pytest.approx(kept, rel=1e-6)


def test_a_decision_by_two_has_both_as_sufficient_and_either_as_necessary():
    def both(members):
        return float({0, 2} <= members)

    sufficient = solved(4, both, "minimal_sufficient")
    assert sufficient.set_of(0) == ("x0", "x2") and sufficient.others[0, 0] == 0
    necessary = solved(4, both, "minimal_necessary")
    assert necessary.set_of(0) == ("x0",) and necessary.others[0, 0] == 1  # or x2


def test_substitutes_are_each_sufficient_and_only_together_necessary():
    def either(members):
        return float(bool({1, 3} & members))

    assert solved(5, either, "minimal_sufficient").sizes.tolist() == [[1]]
    assert solved(5, either, "minimal_necessary").set_of(0) == ("x1", "x3")


@pytest.mark.parametrize("method", METHODS)
def test_many_players_are_searched_greedily_and_none_can_be_left_out(method):
    rng = np.random.default_rng(5)
    weights = np.abs(rng.normal(size=40))

    def worth(members):
        return float(sum(weights[i] for i in members))

    found = solved(40, worth, method, share=0.6)
    chosen = np.flatnonzero(found.members[0, :, 0])
    assert found.irreducible[0, 0] and not found.smallest[0, 0] and np.isnan(found.others[0, 0])
    # Of an additive game the heaviest players are the smallest set, whoever looks for it.
    heaviest = np.cumsum(np.sort(weights)[::-1])
    goal = 0.6 * weights.sum() if method == "minimal_sufficient" else 0.4 * weights.sum()
    assert len(chosen) == int(np.searchsorted(heaviest, goal)) + 1
    for player in chosen:
        rest = [i for i in chosen if i != player]
        assert (weights[rest].sum() < goal) if method == "minimal_sufficient" else (weights[rest].sum() <= goal + 1e-9)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("edge", [np.inf, -np.inf])
def test_a_boundary_without_end_is_never_crossed_and_still_drawn(edge):
    necessary, sufficient = (
        solved(3, len, method, boundary=edge) for method in ("minimal_necessary", "minimal_sufficient")
    )
    assert not necessary.found.any() and sufficient.found.all() and not sufficient.sizes.any()
    for answer in (necessary, sufficient):
        assert (answer.cut == edge).all() and "data:image/svg" in answer._repr_html_()


def test_a_boundary_may_never_be_crossed():
    def worth(members):
        return 5.0 + len(members)

    found = solved(3, worth, "minimal_necessary", boundary=1.0)
    assert not found.found[0, 0] and "set_lacking" in [caution.code for caution in found.warnings]
    assert "No set of players was found" in found.text(0)
    kept = solved(3, worth, "minimal_sufficient", boundary=1.0)
    assert kept.found[0, 0] and kept.sizes[0, 0] == 0 and "nobody is needed" in kept.text(0)
    assert solved(3, worth, "minimal_sufficient", boundary=6.5).sizes[0, 0] == 2


@pytest.mark.parametrize("method", METHODS)
def test_a_constant_model_and_a_single_player(method):
    constant = solved(3, lambda members: 0.25, method)
    assert constant.sizes[0, 0] == 0 and constant.found[0, 0] == (method == "minimal_sufficient")
    assert solved(1, lambda members: float(len(members)), method).set_of(0) == ("x0",)


def test_budgets_are_kept_and_too_small_ones_refused():
    rng = np.random.default_rng(2)
    weights = rng.normal(size=20) + 1

    def worth(members):
        return float(sum(weights[i] for i in members))

    for budget in (64, 100, 400, 3000):
        found = solved(20, worth, "minimal_sufficient", budget=budget)
        assert found.cost.evaluations <= budget and found.found[0, 0]
        assert found.reached[0, 0] >= found.cut[0, 0] - 1e-6
    with pytest.raises(BudgetError, match="at least 64"):
        solved(20, worth, "minimal_sufficient", budget=63)


@pytest.mark.parametrize("method", METHODS)
def test_the_record_reads_draws_and_keeps_itself(method, tmp_path):
    found = solved(4, lambda members: float({0, 2} <= members), method)
    back = Sets.load(found.save(tmp_path / "sets"))
    assert back.sentences() == found.sentences() and back.to_frame().equals(found.to_frame())
    assert repr(found).startswith("Sets for 1 rows by") and "x0" in repr(found)
    assert found.text(0, language="zh") and "<img" in found._repr_html_()
    assert found.plot(0).to_dict()["description"].startswith("The set for")
