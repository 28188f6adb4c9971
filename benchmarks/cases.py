"""The networks and rows that the benchmarks explain, the same for us and for other libraries.

Weights travel between interpreters as plain arrays (``.npz``), so that two libraries in two environments
explain the very same network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from pellucid.training.networks import mlp, resnet18_like, transformer_encoder


@dataclass(frozen=True)
class Network:
    """A network, the shape of one of its rows, and the batches worth trying on it."""

    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batches: tuple[int, ...]


NETWORKS = {
    "mlp": Network("MLP 30→256→256→2", lambda: mlp(30, (256, 256), 2), (30,), (64, 128, 256, 512, 1024, 2048, 4096)),
    "mlp_10": Network("MLP 30→256→256→10", lambda: mlp(30, (256, 256), 10), (30,), (256, 512, 1024, 2048)),
    "resnet_64": Network("residual network at 3×64×64", resnet18_like, (3, 64, 64), (8, 16, 32, 64)),
    "resnet_224": Network("residual network at 3×224×224", resnet18_like, (3, 224, 224), (2, 4, 8)),
    "transformer": Network(
        "transformer, 4 layers, width 256, 64 tokens", transformer_encoder, (64, 256), (4, 8, 16, 32)
    ),
    "small": Network("MLP 8→16→1", lambda: mlp(8, (16,), 1), (8,), (1024, 2048, 4096, 8192, 16384, 32768, 65536)),
}


def network(name: str, weights: Path | None = None) -> nn.Module:
    """The network in evaluation mode, with weights from seed 0 or from a file of arrays."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = NETWORKS[name].build().eval()
    if weights is not None:
        with np.load(weights / f"{name}.npz") as arrays:
            module.load_state_dict({key: torch.from_numpy(np.array(arrays[key])) for key in arrays.files})
    return module


def save_weights(folder: Path) -> None:
    """Write every network's weights as arrays into ``folder``."""
    for name in NETWORKS:
        state = {key: value.numpy() for key, value in network(name).state_dict().items()}
        np.savez(folder / f"{name}.npz", **state)  # pyright: ignore[reportArgumentType]


def rows(name: str, count: int, seed: int = 1) -> Tensor:
    """Standard normal rows, ``Float32[count, …]``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *NETWORKS[name].shape, generator=generator)
