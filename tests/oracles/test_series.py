"""Series: a linear network of windows in closed form, removals and change points against slow twins."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.opening import opened
from pellucid.measures.change_points import change_points, noise_of
from pellucid.players import ChangePoints, Players, Steps, Windows
from pellucid.removals import Interpolated, Marginal, OtherSegment, SegmentMean, SeriesNoise

C, T, WINDOW = 2, 12, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(3, C, T))
WEIGHTS = RNG.normal(size=(C, T))


def linear(x):
    return (np.asarray(x, dtype=np.float64) * WEIGHTS).sum((1, 2))


def asked(removal, players=None, rows=X, function=linear, **declared):
    return as_problem(function, pellucid.Series(rows, **declared), removal=removal, players=players or Windows(WINDOW))


def rows_without(problem, coalitions):
    """The rows that the engine makes of the first item at coalitions ``[b, n]``, as ``[b, draws, D]``."""
    seen = []
    spy = as_problem(
        lambda x: seen.append(np.array(x)) or np.zeros(len(x)), pellucid.Series.of(
            problem.inputs.raw, problem.inputs.axes, problem.inputs.lengths
        ), removal=problem.removal, players=problem.players,
    )  # fmt: skip
    with opened(spy.take([0]), "spy") as run:
        session = run.parts[0][1]
        seen.clear()
        session.values(np.asarray(coalitions, dtype=bool))
    return np.concatenate(seen).reshape(len(coalitions), -1, problem.inputs.width)


# Closed forms ------------------------------------------------------------------------------


def by_window(values):
    """``[…, C, T]`` summed over windows, as players stand: channel by channel."""
    return values.reshape(*values.shape[:-1], T // WINDOW, WINDOW).sum(-1).reshape(*values.shape[:-2], -1)


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shapley", "occlusion", "integrated_gradients"])
def test_a_linear_network_of_windows_is_told_exactly(method):
    """φ of a window = Σ w (x − the channel's mean), whatever the method, where what stands in depends on nobody."""
    level = X.mean(2, keepdims=True)
    net = nn.Sequential(nn.Flatten(), nn.Linear(C * T, 1, bias=False)).double()
    net[1].weight.data = torch.from_numpy(WEIGHTS.reshape(1, -1))
    e = pellucid.explain(net, pellucid.Series(X), method, players=Windows(WINDOW), removal=SegmentMean())
    assert np.allclose(e.values, by_window((X - level) * WEIGHTS), atol=1e-9)
    assert e.players.names[0][5] == "channel 1, steps 3–5"


def test_a_background_of_series_is_drawn_from_as_it_is():
    background = RNG.normal(size=(4, C, T))
    e = pellucid.explain(
        linear, pellucid.Series(X), "exact_shapley", players=Windows(WINDOW), background=pellucid.Series(background)
    )
    assert np.allclose(e.values, by_window((X - background.mean(0)) * WEIGHTS))


def test_the_mean_of_a_segment_leaves_its_level():
    e = pellucid.explain(
        linear, pellucid.Series(X), "occlusion", players=Windows(WINDOW), removal=SegmentMean("segment")
    )
    windows = X.reshape(3, C, -1, WINDOW)
    away = (windows - windows.mean(-1, keepdims=True)).reshape(X.shape)
    assert np.allclose(e.values, by_window(away * WEIGHTS))


def test_shapley_values_of_interpolated_windows_are_those_of_the_definition():
    """Interpolation depends on who is present: no additive game, and every coalition is filled by a slow twin."""
    rows = X[:, :1]
    weights = WEIGHTS[:1]
    e = pellucid.explain(
        lambda x: (x * weights).sum((1, 2)), pellucid.Series(rows), "exact_shapley",
        players=Windows(WINDOW), removal=Interpolated(),
    )  # fmt: skip
    n = T // WINDOW
    for row in range(3):
        worth = {
            S: (interpolated(rows[row], np.repeat([i in S for i in range(n)], WINDOW)[None]) * weights).sum()
            for size in range(n + 1)
            for S in combinations(range(n), size)
        }
        expected = [shapley_of(worth, player, n) for player in range(n)]
        assert np.allclose(e.values[row], expected)


def shapley_of(worth, player, n):
    from math import factorial

    others = [other for other in range(n) if other != player]
    total = 0.0
    for size in range(n):
        for S in combinations(others, size):
            gained = worth[tuple(sorted((*S, player)))] - worth[S]
            total += factorial(size) * factorial(n - size - 1) / factorial(n) * gained
    return total


# Slow twins of removals --------------------------------------------------------------------


def interpolated(series, present, times=None):
    """Step by step: the nearest present neighbours on either side, a straight line between them."""
    filled = series.copy()
    when = np.arange(series.shape[1]) if times is None else np.asarray(times)
    for channel in range(len(series)):
        there = np.flatnonzero(present[channel])
        for step in np.flatnonzero(~present[channel]):
            if not len(there):
                filled[channel, step] = series[channel].mean()
            else:
                filled[channel, step] = np.interp(when[step], when[there], series[channel, there])
    return filled


@pytest.mark.parametrize("times", [None, np.cumsum(RNG.uniform(0.1, 3.0, size=T))])
@pytest.mark.parametrize("time", ["last", "first"])
def test_interpolation_is_the_line_between_present_neighbours(times, time):
    rows = X if time == "last" else X.swapaxes(1, 2)
    problem = asked(Interpolated(), Steps(), rows, times=times, time=time)
    coalitions = RNG.random((40, C * T)) < 0.6
    coalitions[0], coalitions[1] = False, np.arange(C * T) % C == 0
    found = rows_without(problem, coalitions)
    for present, row in zip(coalitions, found, strict=True):
        laid = present.reshape(rows.shape[1:])
        expected = interpolated(X[0], laid if time == "last" else laid.T, times)
        shown = row[0].reshape(rows.shape[1:])
        assert np.allclose(shown if time == "last" else shown.T, expected)


def test_what_lies_behind_the_end_of_a_short_series_is_no_neighbour():
    short = pellucid.Series([X[0, :, :8], X[1]], fill=99.0)
    problem = as_problem(linear, short, removal=Interpolated(), players=Windows(4))
    found = rows_without(problem, [[True, False, True, False]])[0, 0].reshape(C, T)
    assert np.allclose(found[:, :4], X[0, :, :4]), "present"
    assert np.allclose(found[:, 4:8], X[0, :, 3:4]), "held, not drawn towards what fills up"
    assert (found[:, 8:] == 99.0).all()


def test_the_own_colour_of_noise_is_the_channels_spectrum():
    problem = asked(SeriesNoise(draws=50, colour="own"), Windows(T))
    made = problem.removal.references(problem.inputs, problem.players, 0).numpy().reshape(3, 50, C, T)
    own = np.abs(np.fft.rfft(X))
    assert np.allclose(np.abs(np.fft.rfft(made)), own[:, None].repeat(50, 1), atol=1e-9)
    turned = np.angle(np.fft.rfft(made) / np.fft.rfft(X)[:, None])[..., 1:-1]
    assert np.allclose(np.exp(1j * turned[:, :, 0]), np.exp(1j * turned[:, :, 1])), "channels keep their relation"


def test_white_noise_has_the_channels_level_and_spread():
    problem = asked(SeriesNoise(spread=2.0, draws=4000), Windows(T))
    made = problem.removal.references(problem.inputs, problem.players, 0).numpy().reshape(3, 4000, C, T)
    assert np.allclose(made.mean((1, 3)), X.mean(2), atol=0.06)
    assert np.allclose(made.std((1, 3)), 2 * X.std(2), rtol=0.03)


def test_another_segment_is_the_same_series_turned_in_time():
    problem = asked(OtherSegment(draws=30), Windows(T))
    made = problem.removal.references(problem.inputs, problem.players, 0).numpy().reshape(3, 30, C, T)
    turned = [np.roll(X[0], steps, -1) for steps in range(1, T)]
    which = [[np.allclose(draw, one) for one in turned] for draw in made[0]]
    assert all(sum(one) == 1 for one in which), "each draw is one turn, all channels together, never none"
    assert len({tuple(one) for one in which}) > 5
    other = RNG.normal(size=(2, C, T))
    problem = asked(OtherSegment(pellucid.Series(other), draws=5), Windows(T))
    made = problem.removal.references(problem.inputs, problem.players, 0).numpy().reshape(3, 5, C, T)
    turned = np.array([np.roll(one, steps, -1) for one in other for steps in range(T)])
    assert all(np.isclose(draw, turned).all((1, 2)).any() for draw in made.reshape(-1, C, T))


@pytest.mark.parametrize(
    "removal", [SegmentMean(), SegmentMean("segment"), Interpolated(), SeriesNoise(), OtherSegment(), Marginal(X)]
)
@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_present_steps_are_the_rows_own_bit_for_bit(removal, dtype):
    rows = (X * 50).astype(dtype)
    if isinstance(removal, Marginal):
        removal = Marginal(rows)
    problem = asked(removal, Windows(WINDOW), rows)
    coalitions = RNG.random((20, problem.players.most)) < 0.5
    coalitions[0] = True
    found = rows_without(problem, coalitions)
    own = rows[0].reshape(-1)
    for present, made in zip(coalitions, found, strict=True):
        there = present[problem.players.labels[0]]
        assert (made[:, there] == own[there]).all()


# Change points -----------------------------------------------------------------------------


def brute_force(series, penalty, most, shortest):
    """Every division into at most ``most`` segments, the cost of each written out."""
    steps, best = series.shape[1], (np.inf, ())
    for count in range(most):
        for edges in combinations(range(1, steps), count):
            whole = [0, *edges, steps]
            parts = [series[:, a:b] for a, b in pairwise(whole)]
            if min(part.shape[1] for part in parts) < shortest:
                continue
            cost = sum(((part - part.mean(1, keepdims=True)) ** 2).sum() for part in parts) + penalty * count
            best = min(best, (cost, edges))
    return list(best[1])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("penalty", "most", "shortest"), [(None, 5, 1), (None, 4, 2), (0.0, 3, 3), (1.0, 5, 2)])
def test_change_points_are_the_best_of_all_divisions(seed, penalty, most, shortest):
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(2, 11)) * 0.3 + np.repeat(rng.normal(size=(2, 4)), [2, 4, 3, 2], axis=1)
    centred = series - series.mean(1, keepdims=True)
    scaled = centred / np.maximum(noise_of(centred), 1e-6 * centred.std(1))[:, None]
    due = 4 * np.log(11) if penalty is None else penalty
    found = change_points(series, penalty, most, shortest)
    assert found.tolist() == brute_force(scaled, due, most, shortest)


def test_change_points_lie_where_the_level_changes_and_nowhere_in_noise():
    rng = np.random.default_rng(3)
    missed, false = 0, 0
    for _ in range(50):
        noise = rng.normal(size=(1, 200))
        false += len(change_points(noise)) > 0
        stepped = noise + np.repeat([0.0, 3.0, -1.0], [60, 80, 60])
        found = change_points(stepped)
        missed += len(found) != 2 or np.abs(found - [60, 140]).max() > 2
    assert false <= 4, f"{false} of 50 series of noise were divided"
    assert missed <= 5, f"{missed} of 50 series were divided elsewhere"


def test_a_constant_and_a_single_step_have_no_change_point():
    assert change_points(np.ones((2, 30))).tolist() == []
    assert change_points(np.ones((1, 1)), shortest=2).tolist() == []
    assert change_points(np.array([[0.0, 0.0, 0.0, 5.0, 5.0, 5.0]])).tolist() == [3]


def test_rows_divided_at_their_own_change_points_are_explained_side_by_side():
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(6, 1, 60)) * 0.1
    for row, edges in enumerate([(20,), (10, 40), (30,), (), (15, 30, 45), (20,)]):
        for edge in edges:
            rows[row, :, edge:] += rng.choice([-3.0, 3.0])
    weights = rng.normal(size=(1, 60))
    e = pellucid.explain(
        lambda x: (x * weights).sum((1, 2)), pellucid.Series(rows), "exact_shapley", removal=SegmentMean(),
        players=ChangePoints(shortest=5, penalty=25.0),
    )  # fmt: skip
    assert e.players.counts.tolist() == [2, 3, 2, 1, 4, 2]
    parts = (rows - rows.mean(2, keepdims=True)) * weights
    for row in range(6):
        labels = e.players.labels[row]
        assert np.allclose(e.values[row, : labels.max() + 1], np.bincount(labels, parts[row, 0]))
        assert np.isnan(e.values[row, labels.max() + 1 :]).all()


def test_own_players_may_be_given_for_series():
    halves = Players.shared(np.tile(np.arange(T) // 6, C), ("morning", "afternoon"), kind="half")
    e = pellucid.explain(linear, pellucid.Series(X), "exact_shapley", players=halves, removal=SegmentMean())
    level = X.mean(2, keepdims=True)
    assert np.allclose(e.values, ((X - level) * WEIGHTS).sum(1).reshape(3, 2, 6).sum(2))
