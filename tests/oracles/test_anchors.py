"""Anchors against rules known in closed form and against an exhaustive search, and the cover of their intervals."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

import pellucid
from pellucid.removals import Constant, Marginal

RNG = np.random.default_rng(0)
CENTRED = np.sort(RNG.normal(size=(2000, 4)), axis=0)
CENTRED = RNG.permuted(CENTRED - CENTRED[len(CENTRED) // 2 - 1], axis=0)  # the median of each column is exactly 0


def both_positive(rows):
    x = np.asarray(rows)
    inside = ((x[:, 0] > 0) & (x[:, 1] > 0)).astype(float)
    return np.stack([1 - inside, inside], axis=1)


def test_both_positive_is_the_rule_of_both_positive():
    row = np.array([[0.1, 0.2, -0.3, 0.1]])
    found = pellucid.explain(both_positive, row, "anchors", background=CENTRED)
    assert found.rule(0) == ("x0", "x1")
    assert found.conditions(0) == ("x0 > 0", "x1 > 0")
    assert found.precision[0, 0] == 1.0 and found.upper[0, 0] == 1.0 and found.met[0, 0]
    truth = np.mean((CENTRED[:, 0] > 0) & (CENTRED[:, 1] > 0))  # about P(x0 > 0) · P(x1 > 0) = 1/4
    assert found.coverage[0, 0] == pytest.approx(truth) and abs(truth - 0.25) < 0.03


def test_one_negative_is_enough_for_the_other_class():
    found = pellucid.explain(both_positive, np.array([[-0.1, 0.2, 0.3, 0.1]]), "anchors", background=CENTRED)
    assert found.conditions(0) == ("x0 ≤ 0",) and found.coverage[0, 0] == pytest.approx(0.5, abs=0.001)


# A slow twin: every rule, its precision by enumeration ------------------------------------


LEVELS = np.array(list(product((0, 1, 2), (0, 1), (0, 1), (0, 1))), dtype=float)


def exact_precision(function, background, row, rule):
    """Over all background rows and, for each column in the rule that differs, the row's own value (categories)."""
    held = background.copy()
    held[:, list(rule)] = row[list(rule)]
    return float(np.mean(function(held).argmax(1) == function(row[None]).argmax(1)[0]))


def widest(function, background, row, threshold):
    """The largest coverage of any rule that is precise enough, by trying all of them."""
    best = 0.0
    for size in range(len(row) + 1):
        for rule in combinations(range(len(row)), size):
            if exact_precision(function, background, row, rule) >= threshold:
                columns = list(rule)
                best = max(best, float((background[:, columns] == row[columns]).all(1).mean()))
    return best


@pytest.mark.parametrize("seed", range(6))
def test_no_rule_covers_more_than_the_one_found(seed):
    rng = np.random.default_rng(seed)
    background = LEVELS[rng.integers(len(LEVELS), size=400)]
    weights = rng.normal(size=(4, 2)) * 2

    def function(x):
        return np.stack([np.zeros(len(x)), (np.asarray(x) - 0.6) @ weights[:, 0] + x[:, 0] * x[:, 1]], axis=1)

    row = LEVELS[rng.integers(len(LEVELS))]
    players = pellucid.players.Columns(("a", "b", "c", "d"))
    problem = _categorical(function, row[None], background, players)
    found = pellucid.methods.Anchors().explain(problem, seed=seed)
    rule = np.flatnonzero(found.members[0, :, 0])
    truth = exact_precision(function, background, row, rule)
    assert found.lower[0, 0] <= truth <= found.upper[0, 0]
    wanted = widest(function, background, row, 0.95)
    # A rule within the search's slack of the threshold may be taken for precise enough, and then covers more.
    assert found.coverage[0, 0] >= wanted - 1e-9 or widest(function, background, row, 0.96) <= found.coverage[0, 0]


def _categorical(function, rows, background, units):
    from pellucid.doors.question import as_problem
    from pellucid.records.players import Players

    names = units.names
    players = Players.shared(np.arange(len(names)), names, kind="column", types=("categorical",) * len(names))
    return as_problem(function, rows, background=background, players=players, most=2000)


# Intervals -----------------------------------------------------------------------------------


def test_the_interval_contains_the_precision_that_a_fresh_measurement_gives():
    """At 90 % at least 82 of 100 runs (the nominal 90 less two and a half standard deviations of a count)."""
    background = RNG.normal(size=(500, 3))

    def function(x):
        score = np.asarray(x) @ np.array([1.0, 0.7, 0.4]) + 0.5
        return np.stack([-score, score], axis=1)

    row, held = np.array([[0.8, 0.3, 0.1]]), 0
    for seed in range(100):
        found = pellucid.explain(function, row, "anchors", background=background, seed=seed, level=0.9, fresh=300)
        truth = _measured(function, background, row[0], found, np.random.default_rng(seed))
        held += found.lower[0, 0] <= truth <= found.upper[0, 0]
    assert held >= 82


def _measured(function, background, row, found, rng, draws=20_000):
    """The precision of a rule, its draws made from the definition."""
    drawn = background[rng.integers(len(background), size=draws)].copy()
    for player in np.flatnonzero(found.members[0, :, 0]):
        low, high = found.above[0, player, 0], found.upto[0, player, 0]
        low, high = (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)
        own = background[(background[:, player] > low) & (background[:, player] <= high), player]
        outside = ~((drawn[:, player] > low) & (drawn[:, player] <= high))
        drawn[outside, player] = own[rng.integers(len(own), size=int(outside.sum()))]
    return float(np.mean(function(drawn).argmax(1) == function(row[None]).argmax(1)[0]))


# Players on and off ----------------------------------------------------------------------------


def test_words_that_are_enough_are_the_rule():
    def counts(rows):
        good = np.array([float("good" in row and "very" in row) for row in rows])
        return np.stack([0.5 - good, good - 0.5], axis=1)

    found = pellucid.explain(counts, [["a", "very", "good", "day", "today"]], "anchors")
    assert found.rule(0) == ("very", "good") and found.precision[0, 0] == 1.0
    assert found.coverage[0, 0] == found.coverage_lower[0, 0] == 0.25  # each other word is there by a fair coin
    assert found.conditions(0) == ("“very” is present", "“good” is present")


def test_a_single_reference_row_makes_players_on_and_off():
    def first_alone(x):
        return np.stack([0.5 - np.asarray(x)[:, 0], np.asarray(x)[:, 0] - 0.5], axis=1)

    for removal in (Constant(0.0), Marginal(np.zeros((1, 3)))):
        found = pellucid.explain(first_alone, np.ones((1, 3)), "anchors", removal=removal)
        assert found.rule(0) == ("x0",) and "rule_without_bins" in [caution.code for caution in found.warnings]
