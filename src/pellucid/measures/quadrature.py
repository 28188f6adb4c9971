"""Where to look at a function on [0, 1], and with which weights, so that its integral comes out."""

from __future__ import annotations

import numpy as np

LARGEST = 256
"""Points of one rule; finding more takes time and memory by their square."""


def gauss_legendre(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights ``Float64[points]`` on [0, 1], exact for polynomials of degree 2·points − 1.

    More than 256 are divided among equal parts of the interval, of which each has a rule of its own.
    """
    parts = -(-points // LARGEST)
    nodes, weights = [], []
    for part in range(parts):
        size = points * (part + 1) // parts - points * part // parts
        own, shares = np.polynomial.legendre.leggauss(size)
        nodes.append((part + (own + 1) / 2) / parts)
        weights.append(shares / 2 / parts)
    return np.concatenate(nodes), np.concatenate(weights)
