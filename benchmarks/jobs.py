"""The jobs: what is asked of Pellucid, how many bare rows that needs, and the bar it has to keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from cases import network, rows
from clock import Unit

import pellucid


@dataclass(frozen=True)
class Job:
    """One call, the unit it is divided by, the rows it needs, and the bar.

    ``granted`` seconds a call are taken off before the ratio is held against the bar. ``bar`` None: reported only.
    ``prepare`` builds the call; what it makes (networks, rows) is the user's own and not timed.
    """

    name: str
    title: str
    unit: Unit
    needed: float
    bar: float | None
    prepare: Callable[[], Callable[[], Any]]
    granted: float = 0.0


def explain(
    name: str, count: int, method: str, background: int = 0, target: Any = 0, **settings: Any
) -> Callable[[], Any]:
    """A call of ``pellucid.explain`` on the bare module and tensors, as a user would write it."""

    def prepare() -> Callable[[], Any]:
        module, x = network(name), rows(name, count)
        if background:
            settings["background"] = rows(name, background, seed=3)
        return lambda: pellucid.explain(module, x, method, target=target, **settings)

    return prepare


def _faithfulness() -> Callable[[], Any]:
    module, x = network("resnet_64"), rows("resnet_64", 1)
    made = pellucid.explain(module, x, "occlusion", target=0, players=pellucid.players.Patches(8))

    def job() -> Any:
        return pellucid.evaluate(module, x, made, metrics="faithfulness_correlation", controls=False)

    return job


@cache
def jobs() -> dict[str, Job]:
    """All jobs by name."""
    pixels = {"players": pellucid.players.Pixels()}
    image, back = Unit("resnet_64"), Unit("resnet_64", backward=True)
    table, table_back = Unit("mlp"), Unit("mlp", backward=True)
    found = [
        Job("ig_image", "integrated gradients, 50 steps, one image", back, 50, 1.15,
            explain("resnet_64", 1, "integrated_gradients", steps=50)),
        Job("ig_image_224", "integrated gradients, 50 steps, one image at 224²", Unit("resnet_224", True), 50, 1.2,
            explain("resnet_224", 1, "integrated_gradients", steps=50)),
        Job("occlusion_image", "occlusion, 225 windows of 8, one image", image, 225, 1.15,
            explain("resnet_64", 1, "occlusion", window=8, stride=4, **pixels)),
        Job("saliency_16", "saliency, 16 images", Unit("resnet_64", True, 16), 16, 1.15,
            explain("resnet_64", 16, "saliency")),
        Job("saliency_1", "saliency, one image, ÷ a pass of batch 1", Unit("resnet_64", True, 1), 1, 1.1,
            explain("resnet_64", 1, "saliency")),
        Job("ig_tokens", "integrated gradients, 50 steps, one sequence", Unit("transformer", True), 50, 1.15,
            explain("transformer", 1, "integrated_gradients", steps=50)),
        Job("ig_table_1k", "integrated gradients, 50 steps, 1,000 rows", table_back, 50_000, 1.5,
            explain("mlp", 1_000, "integrated_gradients", steps=50)),
        Job("ig_table_10k", "integrated gradients, 50 steps, 10,000 rows", table_back, 500_000, 1.5,
            explain("mlp", 10_000, "integrated_gradients", steps=50)),
        Job("shapley_1_one", "kernel Shapley, 1,000 coalitions, background 1, one row", table, 1_000, 3.0,
            explain("mlp", 1, "kernel_shapley", samples=1_000)),
        Job("shapley_1", "kernel Shapley, 1,000 coalitions, background 1, 1,000 rows", table, 1_000_000, 1.5,
            explain("mlp", 1_000, "kernel_shapley", samples=1_000)),
        Job("shapley_100", "kernel Shapley, 1,000 coalitions, background 100, 10 rows", table, 1_000_000, 1.3,
            explain("mlp", 10, "kernel_shapley", background=100, samples=1_000)),
        Job("permutation_1", "permutation Shapley, 17 pairs of orders, background 1, 1,000 rows", table, 961_000, 1.5,
            explain("mlp", 1_000, "permutation_shapley", samples=1_000)),
        Job("permutation_100", "permutation Shapley, 17 pairs of orders, background 100, 10 rows", table, 960_000, 1.3,
            explain("mlp", 10, "permutation_shapley", background=100, samples=1_000)),
        Job("permutation_importance", "permutation importance, 5 exchanges of 30 columns, 5,000 rows", table, 760_000,
            1.15, explain("mlp", 5_000, "permutation_importance", repeats=5)),
        Job("lime_table", "LIME, 5,000 samples, background 100, 20 rows", table, 100_000, 1.7,
            explain("mlp", 20, "lime", background=100, samples=5_000)),
        Job("lime_image", "LIME, 1,000 samples, 64 patches, one image", image, 1_000, 1.15,
            explain("resnet_64", 1, "lime", samples=1_000)),
        Job("rise_image", "RISE, 1,000 masks, one image", image, 1_000, 1.15,
            explain("resnet_64", 1, "rise", samples=1_000)),
        Job("occlusion_scales", "occlusion, windows of 8 and 16, one image", image, 274, 1.15,
            explain("resnet_64", 1, "occlusion", window=8, stride=4, scales=2, **pixels)),
        Job("sobol_image", "Sobol indices, 16 points, 64 patches, one image", image, 1_056, 1.15,
            explain("resnet_64", 1, "sobol", samples=16)),
        Job("exact_shapley", "exact Shapley, 8 players, 1,000 rows", Unit("small"), 256_000, 5.0,
            explain("small", 1_000, "exact_shapley"), granted=0.010),
        Job("faithfulness", "faithfulness correlation, 100 subsets, one image", image, 100, 1.15, _faithfulness),
    ]  # fmt: skip
    return {job.name: job for job in found}
