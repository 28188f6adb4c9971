"""Change points: the exact division of a series into segments of constant level that pays best for its length."""

from __future__ import annotations

import numpy as np

KEPT, OF_KEPT = 0.9, 0.6237
"""The share of differences that tell the noise, and the mean square of the smaller nine tenths of a standard normal."""
FLOOR = 1e-12
"""Noise below this share of a channel's variance is taken for rounding."""


def change_points(series: np.ndarray, penalty: float | None = None, most: int = 20, shortest: int = 2) -> np.ndarray:
    """Where new segments begin, ``Int[k]``, in ``Float[C, T]``: the division that minimises cost + penalty · k.

    A segment costs its squared distance from its own mean, channel by channel in units of the channel's noise, so
    that the cost is −2 log-likelihood of Gaussian noise about constant levels. The penalty of a change point is
    (C + 2) · log T where none is given: a level for each channel, and two for its place, which was searched for
    (the modified BIC of Zhang & Siegmund 2007, Biometrics 63:22, without its term of the segments' lengths). Of all
    divisions into 1, 2, …, ``most`` segments of at least ``shortest`` steps the best is found by dynamic programming
    (segment neighbourhood, Auger & Lawrence 1989, Bull Math Biol 51:39; the minimum that PELT finds, too, Killick et
    al. 2012, arXiv 1101.1438, where ``most`` does not bind).
    """
    channels, steps = series.shape
    most = min(most, max(steps // shortest, 1))
    dear = (channels + 2) * np.log(max(steps, 2)) if penalty is None else float(penalty)
    costs, origin = _divisions(_scaled(series), most, shortest)
    pieces = int(np.argmin(costs[:, steps] + dear * np.arange(most)))
    edges, stop = [], steps
    for piece in range(pieces, 0, -1):
        stop = int(origin[piece, stop])
        edges.append(stop)
    return np.array(edges[::-1], dtype=np.int64)


def noise_of(series: np.ndarray) -> np.ndarray:
    """The noise of each channel, ``Float64[C]``: from its differences from step to step, the largest tenth left out.

    A few jumps do not move it. Differences of white noise of spread σ have the spread √2 σ, and the smaller nine tenths
    of them a mean square of 0.6237 times its square.
    """
    apart = np.sort(np.abs(np.diff(series, axis=1)), axis=1)
    kept = apart[:, : max(int(KEPT * apart.shape[1]), 1)]
    return np.sqrt(np.square(kept).sum(1) / (2 * OF_KEPT * max(kept.shape[1], 1)))


def _scaled(series: np.ndarray) -> np.ndarray:
    """Channels about their mean in units of their noise; a constant channel is 0 everywhere."""
    centred = series.astype(np.float64) - series.mean(1, keepdims=True)
    spread = centred.std(1)
    noise = np.maximum(noise_of(centred), np.sqrt(FLOOR) * spread)
    return centred / np.where(spread > 0, noise, 1.0)[:, None]


def _divisions(series: np.ndarray, most: int, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    """The least cost of the first t steps in k + 1 segments, ``Float64[most, T + 1]``, and where the last begins."""
    steps = series.shape[1]
    sums = np.pad(np.cumsum(series, axis=1), ((0, 0), (1, 0)))
    squares = np.pad(np.cumsum(np.square(series).sum(0)), (1, 0))
    costs = np.full((most, steps + 1), np.inf)
    origin = np.zeros((most, steps + 1), dtype=np.int64)
    rest = np.arange(most - 1)
    for stop in range(shortest, steps + 1):
        starts = slice(0, stop - shortest + 1)
        level = np.square(sums[:, stop : stop + 1] - sums[:, starts]).sum(0) / np.arange(stop, shortest - 1, -1)
        last = squares[stop] - squares[starts] - level
        costs[0, stop] = last[0]
        if most > 1:
            whole = costs[:-1, starts] + last
            origin[1:, stop] = best = whole.argmin(1)
            costs[1:, stop] = whole[rest, best]
    return costs, origin
