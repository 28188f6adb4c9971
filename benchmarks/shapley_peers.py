"""Shapley values by shap, shapiq and captum, in an interpreter that has them; called by ``shapley.py --peers``.

They get the game as a function over coalitions (rows of ones and zeros against a background of zeros) and spend the
budget as each counts it. Options are those a careful user would set: no penalty that zeroes features, pairs of
coalitions where they are offered.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import json
import logging
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import distributions
from time import process_time
from typing import Any

import numpy as np
from games import Known
from shapley_play import Counted, Estimated, Way, main

Answer = Callable[[Counted, int, int], np.ndarray]
"""Shapley values of a counted game at a budget with a seed."""

SLOW = ("shapiq SVARM", "shapiq ProxySHAP")
"""Drawn once for each training seed."""
MOST_PAIRWISE = 40
"""Players up to which all pairs are fitted; beyond, one answer takes many seconds."""


def _shap_kernel(game: Counted, budget: int, seed: int) -> np.ndarray:
    import shap

    np.random.seed(seed)
    explainer = shap.KernelExplainer(game, np.zeros((1, game.n)))
    return explainer.shap_values(np.ones((1, game.n)), nsamples=budget - 2, l1_reg=False, silent=True)[0]


def _shap_permutation(game: Counted, budget: int, seed: int) -> np.ndarray:
    import shap

    masker = shap.maskers.Independent(np.zeros((1, game.n)))
    explainer = shap.PermutationExplainer(game, masker, seed=seed)
    # the smallest it takes is one evaluation more than an order and its reverse need
    found = explainer(np.ones((1, game.n)), max_evals=max(budget, 2 * game.n + 1), silent=True)
    return found.values[0]


def _shapiq(name: str, **options: Any) -> Answer:
    def answer(game: Counted, budget: int, seed: int) -> np.ndarray:
        import shapiq

        if options.get("max_order") == 2 and game.n > MOST_PAIRWISE:
            raise ValueError(f"not asked beyond {MOST_PAIRWISE} players")
        estimator = getattr(shapiq.approximator, name)(game.n, random_state=seed, **options)
        return np.array(estimator.approximate(budget, game).get_n_order_values(1))

    return answer


def _proxy(game: Counted, budget: int, seed: int) -> np.ndarray:
    from lightgbm import LGBMRegressor

    trees = LGBMRegressor(random_state=seed, n_jobs=1, verbose=-1)
    return _shapiq("ProxySHAP", index="SV", max_order=1, proxy_model=trees, adjustment=True)(game, budget, seed)


def _captum(name: str, per_sample: Callable[[int], int], **options: Any) -> Answer:
    def answer(game: Counted, budget: int, seed: int) -> np.ndarray:
        import captum.attr
        import torch

        def forward(x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(game(x.numpy()))

        torch.manual_seed(seed)
        np.random.seed(seed)
        one = torch.ones(1, game.n)
        samples = max(1, (budget - 2) // per_sample(game.n))
        attribute = getattr(captum.attr, name)(forward).attribute
        return attribute(one, baselines=torch.zeros_like(one), n_samples=samples, **options)[0].numpy()

    return answer


ANSWERS: dict[str, tuple[str, Answer]] = {  # by name: the environment, and how it is asked
    "shap Kernel": ("boosted", _shap_kernel),
    "shap Permutation": ("boosted", _shap_permutation),
    "shapiq KernelSHAP": ("boosted", _shapiq("KernelSHAP", pairing_trick=True)),
    "shapiq LeverageSHAP": ("boosted", _shapiq("LeverageSHAP")),
    "shapiq kADD": ("boosted", _shapiq("kADDSHAP", max_order=2, pairing_trick=True)),
    "shapiq SVARM": ("boosted", _shapiq("SVARM", pairing_trick=True)),
    "shapiq ProxySHAP": ("boosted", _proxy),
    "shapiq OddSHAP": ("boosted", _shapiq("OddSHAP")),
    "captum KernelShap": ("captum", _captum("KernelShap", lambda n: 1, perturbations_per_eval=64)),
    "captum sampling": ("captum", _captum("ShapleyValueSampling", lambda n: n, perturbations_per_eval=64)),
}


def _way(answer: Answer) -> Way:
    def solve(known: Known, rows: np.ndarray, budget: int, seed: int) -> Estimated:
        game = Counted(known, int(rows[0]))
        began = process_time()
        values = np.asarray(answer(game, budget, seed), dtype=np.float64)
        overhead = process_time() - began - game.seconds
        return Estimated(values[None], np.full((1, game.n), np.nan), game.evaluations, overhead)

    return Way(solve)


def versions() -> dict[str, str]:
    """Of what is installed here."""
    named = ("shap", "shapiq", "captum", "lightgbm")
    return {one.name: one.version for one in distributions() if one.name in named}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if sys.argv[1:] == ["versions"]:
        print(json.dumps(versions()))
        raise SystemExit(0)
    raise SystemExit(main({name: _way(answer) for name, (_, answer) in ANSWERS.items()}))
