"""The same games by shapiq's estimators, in an interpreter that has it; called by ``interactions.py --peers``.

    python interactions_peers.py GAMES.npz BUDGETS SEEDS      prints one line of JSON: version, differences, errors

Each estimator is used with its defaults, pairs of coalitions switched on where it knows them. One that cannot answer
is left out.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from importlib.metadata import version
from itertools import combinations
from typing import Any

import numpy as np


def estimators(n: int, index: str, seed: int) -> dict[str, Callable[[], Any]]:
    from shapiq import approximator as by

    paired = {"pairing_trick": True, "random_state": seed}
    found = {
        "SHAPIQ": lambda: by.SHAPIQ(n, 2, index, **paired),
        "SVARM-IQ": lambda: by.SVARMIQ(n, 2, index, **paired),
        "KernelSHAP-IQ": lambda: by.KernelSHAPIQ(n, 2, index, **paired),
        "ProxySHAP": lambda: by.ProxySHAP(n, max_order=2, index=index, random_state=seed),
        "ProxySHAP adjusted": lambda: by.ProxySHAP(n, max_order=2, index=index, adjustment=True, random_state=seed),
    }
    if index == "FSII":
        found["Faith regression"] = lambda: by.RegressionFSII(n, 2, **paired)
    if index == "STII":
        found["Permutation"] = lambda: by.PermutationSamplingSTII(n, 2, random_state=seed)
    return found


def values_of(found: Any, n: int) -> np.ndarray:
    parts = [part for size in (1, 2) for part in combinations(range(n), size)]
    return np.array([found[part] if part in found.interaction_lookup else 0.0 for part in parts])


def main() -> int:
    """Ask every estimator about every game."""
    from shapiq.game_theory.exact import ExactComputer

    from pellucid.measures.indices import of_game

    warnings.filterwarnings("ignore")
    budgets, seeds = json.loads(sys.argv[2]), int(sys.argv[3])
    errors: dict[str, dict[str, float]] = {}
    worst = dict.fromkeys(budgets, 0.0)
    with np.load(sys.argv[1], allow_pickle=False) as tables:
        games = {name: tables[name] for name in tables.files if tables[name].ndim}
    for name, worth in games.items():
        n = len(worth).bit_length() - 1

        def game(coalitions: Any, worth: np.ndarray = worth, n: int = n) -> np.ndarray:
            return worth[np.asarray(coalitions, dtype=bool) @ 2 ** np.arange(n)]

        parts = np.array([(*part, -1)[:2] for size in (1, 2) for part in combinations(range(n), size)])
        for index, several in budgets.items():
            truth = values_of(ExactComputer(game=game, n_players=n)(index, 2), n)
            worst[index] = max(worst[index], float(np.abs(of_game(worth[None], index, parts)[0] - truth).max()))
            for budget in several:
                if budget < len(worth):
                    errors[f"{name}#{index}#{budget}"] = _errors(game, n, index, budget, truth, seeds)
    print(json.dumps({"version": version("shapiq"), "exact": worst, "errors": errors}))
    return 0


def _errors(game: Any, n: int, index: str, budget: int, truth: np.ndarray, seeds: int) -> dict[str, float]:
    """The median squared relative error of each estimator."""
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        for name, make in estimators(n, index, seed).items():
            try:
                values = values_of(make().approximate(budget, game), n)
            except Exception as error:  # noqa: BLE001 - another library's refusal
                print(f"{name} {index} {budget}: {type(error).__name__}", file=sys.stderr)
                continue
            found.setdefault(name, []).append(float(np.square(values - truth).sum() / np.square(truth).sum()))
    return {name: float(np.median(several)) for name, several in found.items()}


if __name__ == "__main__":
    raise SystemExit(main())
