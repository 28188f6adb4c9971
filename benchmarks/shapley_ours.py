"""Our Shapley estimators on games, through the public door; a worker of ``shapley.py``.

The model is a function of rows of zeros and ones, absent players being set to 0; one more column, which nobody owns,
says which of the game's rows is meant, so that a batch of rows is asked in one call.
"""

from __future__ import annotations

import one_thread  # noqa: F401

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import process_time
from typing import Any

import numpy as np
from games import Game, Known
from shapley_play import Estimated, Way, main

import pellucid
from pellucid.catalog import everything
from pellucid.removals import Constant


@dataclass(frozen=True)
class Chosen:
    """A method of the catalogue with its settings; ``whole``: all rows of a game are asked in one call."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    whole: bool = False
    most: int | None = None
    """Evaluations up to which it is asked here; beyond, a batch of 64 rows takes too long."""


CHOSEN = {
    "kernel": Chosen("kernel_shapley"),
    "permutation": Chosen("permutation_shapley"),
    "odd GP": Chosen("odd_gp_shapley", {"fit": "row"}),
    "odd GP, one-shot": Chosen("odd_gp_shapley", {"fit": "one_shot"}, whole=True, most=500),
    "odd GP, pooled": Chosen("odd_gp_shapley", {"fit": "pooled"}, whole=True),
    "shapley": Chosen("shapley"),
}
DISPATCHER = "shapley"
"""It takes one of the others, which are drawn more often."""


class _Rows:
    """A game as a model of rows; counts evaluations and the CPU seconds spent in them."""

    def __init__(self, game: Game | Known):
        self.game, self.evaluations, self.seconds = game, 0, 0.0

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        began = process_time()
        which = rows[:, -1].astype(int)
        answers = np.empty(len(rows))
        for row in np.unique(which):
            own = which == row
            answers[own] = self.game.values(int(row), rows[own, :-1] > 0.5)
        self.evaluations += len(rows)
        self.seconds += process_time() - began
        return answers


def estimates(
    game: Game | Known, rows: Sequence[int] | np.ndarray, method: str, budget: int, seed: int, **settings: Any
) -> Estimated:
    """Rows with equally many players, explained in one call."""
    n = (game.game if isinstance(game, Known) else game).players(int(rows[0]))
    x = np.ones((len(rows), n + 1))
    x[:, n] = rows
    players = pellucid.players.Players.shared(np.append(np.arange(n), -1), [f"p{i}" for i in range(n)])
    model = _Rows(game)
    options = {"removal": Constant(0.0), "players": players, "budget": budget, "seed": seed}
    began = process_time()
    e = pellucid.explain(model, x, method, **options, **settings)
    overhead = process_time() - began - model.seconds
    return Estimated(e.values, e.stderr, model.evaluations / len(rows), overhead / len(rows))


def ways() -> dict[str, Way]:
    """The estimators whose method the catalogue knows."""
    there = everything("methods")
    return {title: _way(chosen) for title, chosen in CHOSEN.items() if chosen.method in there}


def _way(chosen: Chosen) -> Way:
    def solve(known: Known, rows: np.ndarray, budget: int, seed: int) -> Estimated:
        return estimates(known, rows, chosen.method, budget, seed, **chosen.settings)

    return Way(solve, chosen.whole, chosen.most)


if __name__ == "__main__":
    raise SystemExit(main(ways()))
