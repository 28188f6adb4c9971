"""Measuring: CPU seconds of a job on one thread, divided by the bare cost of the rows it needs.

The bare unit is a plain pass of the network at the best batch of a sweep, timed in the same process just
before and just after each run of the job; other work on the machine slows both alike. Repeats of one ratio
differ by a median factor of 1.18, so the median of interleaved runs is taken, and 0.9–1.15 means "at the limit".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from statistics import median
from time import process_time

import torch
from cases import NETWORKS, network, rows
from torch import Tensor, nn

SHARE = 0.5
"""The bare passes on each side of a run take about this share of the job's bare time, within LIMITS seconds."""
LIMITS = (0.05, 0.4)
SHORTEST = 0.1
"""A job shorter than this is repeated within a run, as the bare passes are."""


@dataclass(frozen=True)
class Unit:
    """One row through a network, forward or forward and backward to its input.

    ``batch`` None means the best of the sweep.
    """

    network: str
    backward: bool = False
    batch: int | None = None


@dataclass(frozen=True)
class Measured:
    """Ratios and CPU seconds of the repeats of one job."""

    ratios: tuple[float, ...]
    seconds: tuple[float, ...]
    first: float
    """CPU seconds of the first call, before anything was learned or kept."""
    bare: float
    """Bare CPU seconds of the rows the job needs."""

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    def after(self, seconds: float) -> float:
        """The ratio of what is left when so many seconds are granted to each call."""
        shares = zip(self.seconds, self.ratios, strict=True)
        return median(max(spent - seconds, 0.0) * ratio / spent for spent, ratio in shares)


@cache
def module(name: str) -> nn.Module:
    """A network whose weights need no gradients: only what is explained is differentiated."""
    return network(name).requires_grad_(False)


def passes(unit: Unit, batch: int, count: int) -> float:
    """CPU seconds of ``count`` bare passes of ``batch`` rows."""
    net, x = module(unit.network), _pool(unit.network, batch)
    began = process_time()
    for _ in range(count):
        _pass(net, x, unit.backward)
    return process_time() - began


@cache
def _pool(name: str, batch: int) -> Tensor:
    return rows(name, batch, seed=2)


def _pass(net: nn.Module, x: Tensor, backward: bool) -> None:
    if not backward:
        with torch.no_grad():
            net(x)
        return
    leaf = x.detach().requires_grad_()
    torch.autograd.grad(net(leaf)[:, 0].sum(), leaf)


@cache
def best_batch(unit: Unit) -> int:
    """The batch of the sweep with the least cost per row."""
    if unit.batch is not None:
        return unit.batch
    costs: dict[int, list[float]] = {batch: [] for batch in NETWORKS[unit.network].batches}
    for _ in range(3):
        for batch, found in costs.items():
            count = max(1, round(0.06 / max(passes(unit, batch, 1), 1e-5)))
            found.append(passes(unit, batch, count) / (count * batch))
    return min(costs, key=lambda batch: min(costs[batch]))


def row_cost(unit: Unit, seconds: float) -> float:
    """Bare CPU seconds a row, timed for about ``seconds``."""
    batch = best_batch(unit)
    spent, count = passes(unit, batch, 1), 1
    share = max(1, round((seconds - spent) / max(spent, 1e-6)))
    return (spent + passes(unit, batch, share)) / ((count + share) * batch)


def measure(job: Callable[[], object], unit: Unit, needed: float, runs: int) -> Measured:
    """``job`` against ``needed`` rows of ``unit``, ``runs`` times, bare passes before and after each."""
    began = process_time()
    job()
    first = process_time() - began
    bare = needed * row_cost(unit, LIMITS[0])
    span = min(max(SHARE * bare, LIMITS[0]), LIMITS[1])
    times = max(1, round(SHORTEST / max(bare, 1e-4)))
    ratios, seconds, costs = [], [], []
    for _ in range(runs):
        before = row_cost(unit, span)
        began = process_time()
        for _ in range(times):
            job()
        spent = (process_time() - began) / times
        cost = (before + row_cost(unit, span)) / 2
        ratios.append(spent / (needed * cost))
        seconds.append(spent)
        costs.append(cost)
    return Measured(tuple(ratios), tuple(seconds), first, needed * median(costs))
