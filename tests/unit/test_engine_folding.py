"""A first layer summed up by players: the same numbers, no rows made, and only where the network truly begins so."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.doors.question import as_problem
from pellucid.engine.opening import opened
from pellucid.records.errors import NotFiniteError
from pellucid.records.players import Players
from pellucid.removals import Constant
from pellucid.testing.laws import trace_of

D, N = 64, 4


def rows(count, seed):
    return torch.randn(count, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(D, 16, bias=bias), nn.Tanh(), nn.Linear(16, 3)).double()


PLAYERS = Players.shared(np.arange(D) // (D // N), [f"part {i}" for i in range(N)], kind="region")


class Peeking(nn.Module):
    """Looks at the rows behind the first layer's back."""

    def __init__(self, peek):
        super().__init__()
        self.body, self.peek = network(), peek

    def forward(self, x):
        return self.body(x) + self.peek(x)[:, None]


def folded(net, x=None, players=PLAYERS, **question):
    with opened(as_problem(net, rows(3, 1) if x is None else x, players=players, **question), "any") as run:
        return run.parts[0][1]._fold is not None


def unfolded(net, x, method, **question):
    """The same network as a function, which hides its layers."""

    def function(given):
        with torch.no_grad():
            return net(torch.as_tensor(given, dtype=torch.float64)).numpy()

    return pellucid.explain(function, x.numpy(), method, **question)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("absent", [0, 1, 5])
def test_the_same_values_as_without(bias, absent):
    net, x = network(bias), rows(3, 1)
    assert folded(net)
    given = {"players": PLAYERS, "target": "all", "samples": 14}
    background = {"background": rows(absent, 2).numpy()} if absent else {"removal": Constant(0.3)}
    one = pellucid.explain(net, x, "kernel_shapley", **background, **given)
    other = unfolded(net, x, "kernel_shapley", **background, **given)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)
    np.testing.assert_allclose(one.base, other.base, atol=1e-12)


def test_what_is_nobodys_stays_as_it_is():
    labels = np.where(np.arange(D) % 8 == 0, -1, np.arange(D) // (D // N))
    players = Players.shared(labels, PLAYERS.names[0], kind="region")
    net, x, given = network(), rows(2, 3), {"background": rows(3, 4).numpy(), "players": players, "target": 1}
    assert folded(net, players=players)
    one, other = pellucid.explain(net, x, "exact_shapley", **given), unfolded(net, x, "exact_shapley", **given)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)


@pytest.mark.parametrize(
    "peek", [lambda x: x[:, 0], lambda x: (x != 0).double().sum(1), lambda x: torch.nan_to_num(x).sum(1)]
)
def test_a_network_that_looks_at_its_rows_elsewhere_is_not_folded(peek):
    assert not folded(Peeking(peek))


def test_others_that_do_not_begin_with_one_linear_layer():
    torch.manual_seed(1)
    shared = nn.Linear(D, D).double()
    assert not folded(nn.Sequential(nn.Tanh(), network()))
    assert not folded(nn.Sequential(shared, nn.Tanh(), shared))
    assert not folded(nn.Sequential(nn.Linear(D, 2), nn.Linear(2, 512), nn.ReLU(), nn.Linear(512, 512)).double())
    assert not folded(network(), players=Players.elements([str(i) for i in range(D)]))


def test_images_that_are_flattened_first():
    net = nn.Sequential(nn.Flatten(), network())
    x = rows(2, 5).reshape(2, 1, 8, 8)
    given = {"players": pellucid.players.Patches(4), "removal": pellucid.removals.Blur(1.0), "target": 0}
    assert folded(net, x, **given)
    one, other = pellucid.explain(net, x, "exact_shapley", **given), unfolded(net, x, "exact_shapley", **given)
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)


def test_the_network_is_left_as_it_was():
    problem = as_problem(network(), rows(3, 1), players=PLAYERS)
    before = trace_of(problem)
    pellucid.methods.KernelShapley(samples=14).explain(problem)
    assert trace_of(problem) == before and "forward" not in problem.model.module[0].__dict__


class Root(nn.Module):
    def forward(self, h):
        return h.sqrt()


def test_what_is_not_a_number_is_told_with_its_row_and_who_was_absent():
    net = nn.Sequential(nn.Linear(D, 1, bias=False), Root()).double()
    with torch.no_grad():
        net[0].weight.copy_(torch.where(torch.arange(D) < D // N, 1.0, 0.0)[None])
    x, background = torch.ones(2, D, dtype=torch.float64), -torch.ones(1, D, dtype=torch.float64)
    x[1] = 2.0
    assert folded(net, x, background=background)
    with pytest.raises(NotFiniteError, match=r"(?s)row [01].*part 0"):
        pellucid.explain(net, x, "occlusion", players=PLAYERS, background=background)
