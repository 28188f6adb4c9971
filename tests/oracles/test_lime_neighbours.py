"""LIME among neighbours against a loop written from its formula."""

import numpy as np
import torch

import pellucid
from pellucid.testing.problems import _network


def by_loop(net: torch.nn.Module, row: torch.Tensor, background: torch.Tensor, k: int, output: int) -> np.ndarray:
    """Σ_j (f(x_j) − f(x)) ∇f(x_j) over the k nearest background rows."""
    spread = background.double().std(0, unbiased=False)
    distances = [float(((other - row).double() / spread).norm()) for other in background]
    total = np.zeros(len(row))
    for j in sorted(range(len(background)), key=lambda j: distances[j])[:k]:
        point = background[j].clone().requires_grad_()
        found = net(point[None])[0, output]
        (gradient,) = torch.autograd.grad(found, point)
        total += (float(found.detach()) - float(net(row[None])[0, output].detach())) * gradient.double().numpy()
    return total


def test_it_is_the_formula() -> None:
    net = _network(4, 8, 3, seed=2, dtype=torch.float64)
    rows, background = torch.randn(3, 4, dtype=torch.float64), torch.randn(40, 4, dtype=torch.float64)
    e = pellucid.explain(net, rows, "lime_neighbours", background=background, neighbours=12, target=2)
    expected = [by_loop(net, row, background, 12, 2) for row in rows]
    assert np.allclose(e.values, expected, atol=1e-12)
    assert e.stderr is not None and (e.stderr > 0).all()
    assert len(e.notes["local_r2"]) == 3


def test_few_background_rows_are_replaced_by_gaussian_neighbours() -> None:
    net = _network(4, 8, 2, seed=3)
    one, two = (pellucid.explain(net, torch.ones(1, 4), "lime_neighbours", seed=seed) for seed in (0, 1))
    assert not np.array_equal(one.values, two.values)
    assert np.corrcoef(one.values[0], two.values[0])[0, 1] > 0.8
