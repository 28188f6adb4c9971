"""The same jobs by captum, shap and lime, measured in an interpreter that has them; called by ``speed.py --peers``.

    python peers.py WEIGHTS RUNS JOB …      prints one line of JSON: versions, and ratios by job

Each library is used as its documentation says, with batches of the size that is best for the network where it
takes one. Slow jobs ask fewer rows and are divided by the rows they asked: a ratio does not depend on how many.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import json
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import network, rows
from clock import Unit, best_batch, measure

WEIGHTS = Path(sys.argv[1]) if len(sys.argv) > 1 else None
Peer = tuple[Unit, float, Callable[[], Any]]


def _scores(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """The first output as a function of an array, in batches that are best for the network."""
    module, batch = network(name, WEIGHTS), best_batch(Unit(name))

    def scores(array: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.asarray(array, dtype=np.float32))
        with torch.no_grad():
            return torch.cat([module(part)[:, 0] for part in x.split(batch)]).numpy()

    return scores


def _integrated_gradients(name: str, count: int) -> Peer:
    from captum.attr import IntegratedGradients

    unit = Unit(name, backward=True)
    attribute, x = IntegratedGradients(network(name, WEIGHTS)).attribute, rows(name, count)
    batch = max(best_batch(unit), count)
    return unit, 50 * count, lambda: attribute(x, target=0, n_steps=50, internal_batch_size=batch)


def _saliency(count: int) -> Peer:
    from captum.attr import Saliency

    attribute, x = Saliency(network("resnet_64", WEIGHTS)).attribute, rows("resnet_64", count)
    return Unit("resnet_64", True, count), count, lambda: attribute(x, target=0)


def _occlusion() -> Peer:
    from captum.attr import Occlusion

    unit = Unit("resnet_64")
    attribute, x = Occlusion(network("resnet_64", WEIGHTS)).attribute, rows("resnet_64", 1)
    options = {"sliding_window_shapes": (3, 8, 8), "strides": (3, 4, 4)}
    return unit, 225, lambda: attribute(x, target=0, perturbations_per_eval=best_batch(unit), **options)


def _captum_shapley(count: int, samples: int) -> Peer:
    from captum.attr import KernelShap

    unit = Unit("mlp")
    attribute, x = KernelShap(network("mlp", WEIGHTS)).attribute, rows("mlp", count)
    batch = best_batch(unit)

    def job() -> None:
        for row in x:
            attribute(row[None], target=0, n_samples=samples, perturbations_per_eval=batch)

    return unit, count * samples, job


def _shap_kernel(count: int, background: int, samples: int) -> Peer:
    import shap

    draws = rows("mlp", background, seed=3).numpy() if background > 1 else np.zeros((1, 30), dtype=np.float32)
    explainer, x = shap.KernelExplainer(_scores("mlp"), draws), rows("mlp", count).numpy()
    options = {"nsamples": samples, "silent": True, "l1_reg": 0}
    return Unit("mlp"), count * samples * background, lambda: explainer.shap_values(x, **options)


def _shap_exact(count: int) -> Peer:
    import shap

    masker = shap.maskers.Independent(np.zeros((1, 8), dtype=np.float32))
    explainer, x = shap.ExactExplainer(_scores("small"), masker), rows("small", count).numpy()
    return Unit("small"), 256 * count, lambda: explainer(x)


def _lime_table(count: int) -> Peer:
    from lime.lime_tabular import LimeTabularExplainer

    train, x = rows("mlp", 100, seed=3).numpy(), rows("mlp", count).numpy()
    explainer = LimeTabularExplainer(train, mode="regression", discretize_continuous=False, random_state=0)
    scores = _scores("mlp")

    def job() -> None:
        for row in x:
            explainer.explain_instance(row, scores, num_features=30, num_samples=5_000)

    return Unit("mlp"), 5_000 * count, job


def _ablation() -> Peer:
    from captum.attr import FeatureAblation

    unit = Unit("resnet_64")
    attribute, x = FeatureAblation(network("resnet_64", WEIGHTS)).attribute, rows("resnet_64", 1)
    side = torch.arange(64) // 4
    patches = (side[:, None] * 16 + side).expand(1, 3, 64, 64)
    return unit, 256, lambda: attribute(x, target=0, feature_mask=patches, perturbations_per_eval=best_batch(unit))


PEERS: dict[str, dict[str, Callable[[], Peer]]] = {
    "ig_image": {"captum": lambda: _integrated_gradients("resnet_64", 1)},
    "ig_image_224": {"captum": lambda: _integrated_gradients("resnet_224", 1)},
    "ig_tokens": {"captum": lambda: _integrated_gradients("transformer", 1)},
    "ig_table_1k": {"captum": lambda: _integrated_gradients("mlp", 1_000)},
    "ig_table_10k": {"captum": lambda: _integrated_gradients("mlp", 10_000)},
    "occlusion_image": {"captum": _occlusion, "captum ablation": _ablation},
    "saliency_16": {"captum": lambda: _saliency(16)},
    "saliency_1": {"captum": lambda: _saliency(1)},
    "shapley_1_one": {
        "shap": lambda: _shap_kernel(1, 1, 1_000),
        "captum": lambda: _captum_shapley(1, 1_000),
    },
    "shapley_1": {"shap": lambda: _shap_kernel(20, 1, 1_000), "captum": lambda: _captum_shapley(2, 1_000)},
    "shapley_100": {"shap": lambda: _shap_kernel(3, 100, 1_000)},
    "lime_table": {"lime": lambda: _lime_table(5)},
    "exact_shapley": {"shap": lambda: _shap_exact(50)},
}


def main(peers: dict[str, dict[str, Callable[[], Peer]]], libraries: tuple[str, ...]) -> int:
    """Measure the jobs asked for; what a library cannot do is told instead of a ratio."""
    runs, names = int(sys.argv[2]), sys.argv[3:]
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        for peer, prepare in peers.get(name, {}).items():
            try:
                unit, needed, job = prepare()
                ratio: Any = measure(job, unit, needed, runs).ratio
            except ImportError:
                ratio = "not installed"
            except Exception as error:  # noqa: BLE001 - another library's failure is a result
                ratio = f"failed ({type(error).__name__})"
            found.setdefault(name, {})[peer] = ratio
    print(json.dumps({"versions": _versions(libraries), "ratios": found}))
    return 0


def _versions(libraries: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in libraries:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    raise SystemExit(main(PEERS, ("captum", "shap", "lime")))
