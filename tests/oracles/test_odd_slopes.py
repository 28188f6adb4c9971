"""The process with slopes against definitions: differences of the kernel and of values; and as an estimator."""

import numpy as np
import pytest
import torch

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.budget import Budget
from pellucid.engine.opening import opened
from pellucid.methods import OddGpShapley
from pellucid.methods.odd_fit import Hyper
from pellucid.methods.odd_process import covariance
from pellucid.methods.odd_slopes import SlopeLikelihood, SlopeProcess, noise
from pellucid.records.errors import BudgetError, NotApplicable, NotFiniteError
from pellucid.removals import ConditionalGaussian, Constant

N, SLOPED = 5, 3
HYPER = Hyper(np.array([0.5, 0.1, 1.2, 0.03, 0.4]), 2.0, 1e-3, 1e-2)
ZERO = Constant(0.0)


def signs_of(rows, seed=0):
    first = np.random.default_rng(seed).random((rows - 1, N)) < 0.5
    return np.vstack([np.ones(N), 2.0 * first - 1])


def moved(function, at, step=1e-5):
    """The derivatives of a function of signs ``[N]`` by central differences, the new axis first."""
    return np.array([(function(at + step * e) - function(at - step * e)) / (2 * step) for e in np.eye(N)])


def test_the_covariances_are_derivatives_of_the_kernel():
    signs = signs_of(6)
    process = SlopeProcess(signs, HYPER, SLOPED)
    found = process._covariance() - np.diag(noise(6, SLOPED * N, HYPER))

    def kernel(s, t):
        return covariance(s[None], t[None], HYPER)[0, 0]

    for b in range(SLOPED):
        for a in range(6):
            of_odd = moved(lambda t, a=a: kernel(signs[a], t), signs[b])
            np.testing.assert_allclose(found[a, 6 + N * b : 6 + N * (b + 1)], of_odd, atol=1e-8)
        for a in range(SLOPED):
            both = moved(lambda t, a=a: moved(lambda s: kernel(s, t), signs[a], 1e-4), signs[b], 1e-4).T
            block = found[6 + N * a : 6 + N * (a + 1), 6 + N * b : 6 + N * (b + 1)]
            np.testing.assert_allclose(block, both, atol=1e-5)


def test_the_readout_of_slopes_is_the_derivative_of_the_values_of_the_covariance():
    signs, every = signs_of(6), ((np.arange(2**N)[:, None] >> np.arange(N)) & 1).astype(float)
    found = SlopeProcess(signs, HYPER, SLOPED).readout[6:].reshape(SLOPED, N, N)

    def values(at):
        game = covariance(2 * every - 1, at[None], HYPER)[:, 0]
        return pellucid.explain(
            lambda x: game[(np.asarray(x) > 0.5) @ (1 << np.arange(N))], np.ones((1, N)), "exact_shapley", removal=ZERO
        ).values[0]

    for a in range(SLOPED):
        np.testing.assert_allclose(found[a], moved(values, signs[a]), atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_the_gradient_is_that_of_the_likelihood(seed):
    rng = np.random.default_rng(seed)
    likelihood = SlopeLikelihood(signs_of(7, seed), SLOPED)
    data = rng.normal(size=(7 + SLOPED * N, 3))
    x = rng.normal(size=N + 4) * 0.5
    gradient = likelihood.at(x, data).gradient
    for i, e in enumerate(np.eye(len(x))):
        ends = [likelihood.at(x + sign * 1e-6 * e, data).value for sign in (1, -1)]
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(gradient[i], abs=1e-5)


def test_data_left_out_are_predicted_from_the_others():
    signs, rng = signs_of(6), np.random.default_rng(1)
    process, data = SlopeProcess(signs, HYPER, SLOPED), rng.normal(size=(6 + SLOPED * N, 2))
    M, out = process._covariance(), np.array([4, 5])
    kept = np.setdiff1d(np.arange(len(M)), out)
    wanted = data[out] - M[np.ix_(out, kept)] @ np.linalg.solve(M[np.ix_(kept, kept)], data[kept])
    np.testing.assert_allclose(process.left_out(data, out), wanted, rtol=1e-6)
    alone = np.delete(np.arange(len(M)), 4)
    wanted = data[4] - M[4, alone] @ np.linalg.solve(M[np.ix_(alone, alone)], data[alone])
    np.testing.assert_allclose(process.each_left_out(data)[4], wanted, rtol=1e-6)


# Derivatives in the players' shares ----------------------------------------------------------


def network(columns, outputs=2, seed=0, dtype=torch.float64):
    torch.manual_seed(seed)
    hidden = torch.nn.Linear(columns, 24, dtype=dtype), torch.nn.GELU()
    return torch.nn.Sequential(*hidden, torch.nn.Linear(24, outputs, dtype=dtype))


def rows_of(count, columns, seed=1, dtype=torch.float64):
    return torch.randn(count, columns, dtype=dtype, generator=torch.Generator().manual_seed(seed))


GROUPS = pellucid.players.Players.shared(np.array([0, 0, 1, 2, -1, 3, 3, 1]), ["a", "b", "c", "d"])


@pytest.mark.parametrize("players", [None, GROUPS])
@pytest.mark.parametrize("background", [None, rows_of(5, 8, 7)])
def test_derivatives_in_shares_are_differences_of_blends(players, background):
    x = rows_of(3, 8)
    removal = {"background": background} if background is not None else {"removal": ZERO}
    problem = as_problem(network(8), x, target="all", players=players, **removal)
    with opened(problem, "test") as run:
        session = run.parts[0][1]
        n = session.n
        coalitions = np.random.default_rng(2).random((4, n)) < 0.5
        asked = np.array([4, 1, 3])
        values, slopes = session.share_slopes(coalitions, asked)
        np.testing.assert_allclose(values, session.values(coalitions)[asked], atol=1e-12)
        for i in range(n):
            ends = []
            for step in (1e-5, -1e-5):
                shares = torch.from_numpy(coalitions.astype(float))
                shares[:, i] += step
                ends.append(session.blends(shares)[asked])
            np.testing.assert_allclose(slopes[:, :, i], (ends[0] - ends[1]) / 2e-5, atol=1e-8)


# As an estimator -----------------------------------------------------------------------------


def errors(found, truth):
    return np.square(found.values - truth).sum(1) / np.square(truth).sum(1)


@pytest.fixture(scope="module")
def wide():
    """A network of 24 columns, twelve rows, and their values from many evaluations."""
    net, x = network(24, 1), rows_of(12, 24)
    return net, x, pellucid.explain(net, x, "kernel_shapley", removal=ZERO, budget=20_000).values


@pytest.mark.parametrize("times", [2, 3, 5])
def test_slopes_pay_on_a_smooth_network_of_many_columns(wide, times):
    net, x, truth = wide
    found = pellucid.explain(net, x, "odd_gp_shapley", removal=ZERO, budget=24 * times)
    without = pellucid.explain(net, x, OddGpShapley(gradients=False), removal=ZERO, budget=24 * times)
    assert np.median(errors(found, truth)) < 0.6 * np.median(errors(without, truth))
    assert all(found.notes["gradients"]) and max(found.notes["pilot"]) < 0.5
    assert "gradients" not in without.notes
    assert found.cost.evaluations <= 24 * times
    assert 0.75 <= np.mean(np.abs(found.values - truth) <= 1.645 * found.stderr) <= 0.99


def test_the_dispatcher_takes_them_at_few_evaluations(wide):
    net, x, _ = wide
    found = pellucid.explain(net, x, "shapley", removal=ZERO, budget=60)
    assert found.notes["estimator"] == "odd_gp_shapley" and all(found.notes["gradients"])
    black = pellucid.explain(
        lambda rows: net(torch.as_tensor(rows)).detach().numpy(), x.numpy(), "shapley", removal=ZERO, budget=55
    )
    assert black.notes["estimator"] == "permutation_shapley"


def test_the_pilot_drops_slopes_that_tell_nothing():
    """Ripples on every column change the slope at a point a lot, and the values little."""

    class Ripples(torch.nn.Module):
        def forward(self, x):
            inner = x @ self.weight
            return (torch.tanh(inner) + 0.2 * torch.sin(40 * x).mean(1, keepdim=True) * x.shape[1] ** 0.5).sum(
                1, keepdim=True
            )

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(rows_of(20, 6, 3) / 3)

    net, x = Ripples(), rows_of(6, 20)
    truth = pellucid.explain(net, x, "kernel_shapley", removal=ZERO, budget=20_000).values
    found = pellucid.explain(net, x, "odd_gp_shapley", removal=ZERO, budget=120)
    forced = pellucid.explain(net, x, OddGpShapley(gradients=True), removal=ZERO, budget=120)
    without = pellucid.explain(net, x, OddGpShapley(gradients=False), removal=ZERO, budget=120)
    assert np.mean(found.notes["gradients"]) < 0.4
    assert all("pilot" in why for why in found.notes["because"])
    assert np.median(errors(forced, truth)) > 3 * np.median(errors(without, truth))
    assert np.median(errors(found, truth)) < 2 * np.median(errors(without, truth))


@pytest.mark.parametrize("columns", [4, 9, 20])
@pytest.mark.parametrize("times", [2, 5, 9])
def test_an_additive_network_is_exact_with_slopes(columns, times):
    net = torch.nn.Linear(columns, 1, dtype=torch.float64)
    x = rows_of(2, columns)
    budget = max(times * columns, min(16, 2**columns))
    found = pellucid.explain(net, x, OddGpShapley(gradients=True), removal=ZERO, budget=budget)
    np.testing.assert_allclose(found.values, (net.weight * x).detach().numpy(), atol=1e-12)
    assert (found.stderr < 1e-9).all()


def test_a_constant_network_has_no_contributions():
    net = torch.nn.Linear(20, 1, dtype=torch.float64)
    torch.nn.init.zeros_(net.weight)
    found = pellucid.explain(net, rows_of(2, 20), "odd_gp_shapley", removal=ZERO, budget=60)
    assert not found.values.any() and not found.stderr.any()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("target", "gradients"), [(1, None), ("all", True)])
def test_rows_with_slopes_do_not_see_each_other(dtype, target, gradients):
    net, x, method = network(20, 3, dtype=dtype), rows_of(5, 20, dtype=dtype), OddGpShapley(gradients=gradients)
    batch = pellucid.explain(net, x, method, target=target, removal=ZERO, budget=70)
    for row in (0, 3):
        alone = pellucid.explain(net, x[row : row + 1], method, target=target, removal=ZERO, budget=70)
        np.testing.assert_allclose(alone.values[0], batch.values[row], atol=1e-5 * np.abs(batch.values).max())
        assert alone.notes["gradients"][0] == batch.notes["gradients"][row]


def test_several_targets_share_their_values_and_are_not_asked_for_gradients():
    found = pellucid.explain(network(20, 3), rows_of(2, 20), "shapley", target="all", removal=ZERO, budget=70)
    assert "gradients" not in found.notes


def test_many_rows_share_the_pilot_and_the_fit_and_come_in_blocks(monkeypatch):
    net, x = network(20, 1), rows_of(300, 20)
    found = pellucid.explain(net, x, "odd_gp_shapley", removal=ZERO, budget=60)
    assert found.notes["fit"] == "pooled" and len(set(found.notes["pilot"])) == 1
    order = torch.randperm(300, generator=torch.Generator().manual_seed(1))
    turned = pellucid.explain(net, x[order], "odd_gp_shapley", removal=ZERO, budget=60)
    assert turned.values.tobytes() == found.values[order.numpy()].tobytes()
    monkeypatch.setattr("pellucid.methods.odd_gp_slopes.BLOCK", 2_000)
    parts = pellucid.explain(net, x, "odd_gp_shapley", removal=ZERO, budget=60)
    np.testing.assert_allclose(parts.values, found.values, atol=1e-9 * np.abs(found.values).max())


def test_what_gives_no_gradient_in_shares_is_refused_where_they_are_asked_for():
    asked, x = OddGpShapley(gradients=True), rows_of(2, 20)
    with pytest.raises(NotApplicable, match="no gradients"):
        pellucid.explain(lambda rows: np.asarray(rows).sum(1), x.numpy(), asked, removal=ZERO, budget=100)
    with pytest.raises(NotApplicable, match="present to a share"):
        pellucid.explain(network(20, 1), x, asked, removal=ConditionalGaussian(rows_of(60, 20, 5)), budget=100)
    with pytest.raises(BudgetError, match="at least 16"):
        pellucid.explain(network(6, 1), x[:, :6], asked, removal=ZERO, budget=14)
    conditional = ConditionalGaussian(rows_of(60, 20, 5))
    assert (
        "gradients" not in pellucid.explain(network(20, 1), x, "odd_gp_shapley", removal=conditional, budget=100).notes
    )


class Detached(torch.nn.Module):
    def forward(self, x):
        return torch.tanh(x).sum(1, keepdim=True).detach()


class Rooted(torch.nn.Module):
    """Finite everywhere, with an infinite gradient where a column is 0: where it is absent."""

    def forward(self, x):
        return x.abs().sqrt().cumsum(1)[:, 1::2].prod(1, keepdim=True) ** 0.1


@pytest.mark.parametrize("module", [Detached(), Rooted()])
@pytest.mark.parametrize("method", ["odd_gp_shapley", "shapley"])
@pytest.mark.parametrize("budget", [40, 100])
def test_a_network_without_a_usable_gradient_is_asked_for_values_alone(module, method, budget):
    found = pellucid.explain(module, rows_of(2, 20), method, removal=ZERO, budget=budget)
    assert not any(found.notes["gradients"]) and "gradient" in found.notes["because"]
    np.testing.assert_allclose(found.values.sum(1), (found.full - found.base)[:, 0], atol=1e-9)
    with pytest.raises((NotApplicable, NotFiniteError), match="gradient"):
        pellucid.explain(module, rows_of(2, 20), OddGpShapley(gradients=True), removal=ZERO, budget=budget)


def test_the_budget_is_kept(wide):
    net, x, _ = wide
    for budget in (48, 50, 77, 168):
        with opened(as_problem(net, x, removal=ZERO), "odd_gp_shapley", budget=Budget(evaluations=budget)) as run:
            session = run.parts[0][1]
            OddGpShapley().estimate(session)
            assert session.spent.evaluations + 2 * session.spent.gradient_steps <= budget
