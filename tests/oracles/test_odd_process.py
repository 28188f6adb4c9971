"""The process on odd parts against definitions: values of covariances by enumeration, finite differences."""

from math import factorial

import numpy as np
import pytest

from pellucid.methods.coalition_design import drawn_pairs
from pellucid.methods.odd_fit import Hyper, Prior
from pellucid.methods.odd_process import Fitter, OddLikelihood, Process, covariance

N = 5
EVERY = ((np.arange(2**N)[:, None] >> np.arange(N)) & 1).astype(float)


def shapley(v):
    """Values ``[N, …]`` of games ``v [2^N, …]``, from the definition."""
    found = np.zeros((N, *v.shape[1:]))
    for i in range(N):
        for place in range(2**N):
            if not place >> i & 1:
                size = int(EVERY[place].sum())
                weight = factorial(size) * factorial(N - size - 1) / factorial(N)
                found[i] += weight * (v[place | 1 << i] - v[place])
    return found


def signs_of(pairs, seed=0):
    first = np.random.default_rng(seed).random((pairs, N)) < 0.5
    return np.vstack([np.ones(N), 2.0 * first - 1])


HYPER = Hyper(np.array([0.5, 0.1, 1.2, 0.03, 0.4]), 2.0, 1e-3)


def test_the_readout_is_the_values_of_the_covariance():
    signs = signs_of(7)
    games = covariance(2 * EVERY - 1, signs, HYPER)
    np.testing.assert_allclose(Process(signs, HYPER).readout, shapley(games).T, atol=1e-12)


def test_the_variance_is_that_of_values_of_games_drawn_from_the_process():
    signs = signs_of(7)
    prior = shapley(shapley(covariance(2 * EVERY - 1, 2 * EVERY - 1, HYPER)).T)
    process = Process(signs, HYPER)
    explained = process.map @ process.readout
    np.testing.assert_allclose(process.variances, np.diag(prior - explained), atol=1e-11)


def test_the_covariance_is_odd_and_holds_the_products_of_odd_sets_alone():
    every = 2 * EVERY - 1
    k = covariance(every, every, HYPER)
    np.testing.assert_allclose(k, -covariance(every, -every, HYPER), atol=1e-12)
    products = np.array([every[:, EVERY[place] > 0].prod(1) for place in range(2**N)])
    spectrum = products @ k @ products.T / 4**N
    even = EVERY.sum(1) % 2 == 0
    assert np.abs(spectrum[even]).max() < 1e-12
    assert (np.diag(spectrum)[~even] > 0).all()


def moved(likelihood, x, data, i, step=1e-6):
    """∂F/∂xᵢ by differences."""
    ends = [likelihood.at(x + sign * step * np.eye(len(x))[i], data).value for sign in (1, -1)]
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_likelihood(seed):
    rng = np.random.default_rng(seed)
    signs, data = signs_of(9, seed), rng.normal(size=(10, 3))
    x = np.concatenate([[rng.normal() * 0.5], rng.normal(size=N) * 0.5, [0.3, -3.0]])
    likelihood = OddLikelihood(signs)
    gradient = likelihood.at(x, data).gradient
    for i in range(len(x)):
        assert moved(likelihood, x, data, i) == pytest.approx(gradient[i], abs=1e-5)


def test_the_curvature_is_what_games_of_the_process_show_on_average():
    """To terms of one over the number of data, which profiling the scale brings."""
    signs = signs_of(11)
    likelihood, x = OddLikelihood(signs), Prior(N, 1).centre
    M = covariance(signs, signs, Hyper.of(x, N)) + np.exp(x[-1]) * np.diag(np.append(1e-3, np.ones(11)))
    data = np.linalg.cholesky(M) @ np.random.default_rng(0).normal(size=(12, 20_000))

    def curved(i, step=1e-3):
        return (
            sum(k * likelihood.at(x + s * step * np.eye(len(x))[i], data).value for s, k in ((1, 1), (0, -2), (-1, 1)))
            / step**2
        )

    told = likelihood.at(x, data).information
    np.testing.assert_allclose(told[0, 0], curved(0), rtol=0.2)
    np.testing.assert_allclose(told[1, 1], curved(N + 1), rtol=0.2)
    own = np.mean([curved(1 + i) for i in (0, N - 1)])
    np.testing.assert_allclose(likelihood.curvature, own, rtol=0.25)


@pytest.mark.parametrize("pairs", [30, 90])
def test_the_steps_come_near_to_the_greatest_posterior(pairs):
    """To 3 % of what a line search gains that goes on to the end, or to half a unit of the log posterior."""
    from scipy.optimize import minimize

    n, rng = 12, np.random.default_rng(pairs)
    first = drawn_pairs(rng, n, pairs).first.astype(float)
    signs = np.vstack([np.ones(n), 2 * first - 1])
    prior, likelihood = Prior(n, 1), OddLikelihood(signs)
    for _ in range(4):
        data = np.tanh(signs @ rng.normal(size=(n, 3)) * 0.6) @ rng.normal(size=(3, 1))
        data /= np.sqrt(np.square(data).mean())

        def posterior(x, data=data):
            here, away = likelihood.at(x, data), x - prior.centre
            return here.value + (prior.precision * away**2).sum() / 2, here.gradient + prior.precision * away

        best = minimize(
            posterior, prior.centre, jac=True, bounds=list(zip(*prior.bounds, strict=True)), method="L-BFGS-B"
        )
        found = Fitter(signs)(data)
        logs = np.log(found.relevance)
        x = np.concatenate([[np.log(found.tau)], logs - logs.mean(), [np.log(found.height), np.log(found.noise)]])
        assert posterior(x)[0] - best.fun < max(0.5, 0.03 * (posterior(prior.centre)[0] - best.fun))


def test_the_spread_is_told_by_pairs_predicted_from_the_others():
    rng = np.random.default_rng(1)
    signs, data = signs_of(8, 1), rng.normal(size=(9, 2))
    process, squares, weights = Process(signs, HYPER), [], []
    for out in range(1, 9):
        kept = np.arange(9) != out
        M = covariance(signs[kept], signs[kept], HYPER) + HYPER.noise * np.diag(np.append(1e-3, np.ones(7)))
        cross = np.linalg.solve(M, covariance(signs[kept], signs[[out]], HYPER))[:, 0]
        own = covariance(signs[[out]], signs[[out]], HYPER)[0, 0] + HYPER.noise
        variance = own - cross @ covariance(signs[kept], signs[[out]], HYPER)[:, 0]
        squares.append((data[out] - cross @ data[kept]) ** 2 / variance)
        weights.append((process.map[:, out] ** 2).sum() * variance)
    likelihood = (data * np.linalg.solve(process.lower @ process.lower.T, data)).mean(0)
    told = [likelihood, np.mean(squares, 0), np.average(squares, 0, weights)]
    np.testing.assert_allclose(process.spread(data), np.max(told, 0), rtol=1e-6)


def test_variances_survive_a_height_that_swamps_the_noise():
    steep = Hyper(np.full(N, 0.01), 8000.0, 1e-10)
    every = np.vstack([np.ones(N), 2 * EVERY[1 : 2 ** (N - 1)] - 1])
    assert (Process(every, steep).variances < 1e-8).all()
    assert (Process(every[:8], steep).variances > 1e-4).all()


def test_the_relevant_players_are_found():
    weights = np.array([0.0, 1.5, 0.0, 2.0, 1.0])
    first = drawn_pairs(np.random.default_rng(3), 12, 60).first.astype(float)
    signs = np.vstack([np.ones(12), 2 * first - 1])
    data = np.tanh(signs[:, :5] @ weights)
    relevance = Fitter(signs)(data[:, None]).relevance
    assert set(np.argsort(-relevance)[:3]) == {1, 3, 4}
    assert np.delete(relevance, [1, 3, 4]).max() < 0.3 * relevance[[1, 3, 4]].min()


@pytest.mark.parametrize(("n", "pairs"), [(2, 1), (5, 4), (5, 9), (8, 30), (30, 29), (30, 60), (30, 200), (101, 300)])
@pytest.mark.parametrize("tilt", [False, True])
def test_designs_hold_distinct_pairs_that_tell_all_players_apart(n, pairs, tilt):
    for seed in range(5):
        drawn = drawn_pairs(np.random.default_rng(seed), n, pairs, tilt)
        assert (drawn.first.shape == (pairs, n) and not drawn.exact) or pairs >= 2 ** (n - 1) - 1
        keys = {min(row.tobytes(), (~row).tobytes()) for row in drawn.first}
        if pairs >= 1.25 * n:
            assert len(keys) == pairs
        assert not (drawn.first.all(1) | ~drawn.first.any(1)).any()
        if pairs >= n - 1:
            assert np.linalg.matrix_rank(np.vstack([np.ones(n), 2.0 * drawn.first - 1])) == n
