"""Playing games with Shapley estimators, ours and others' alike: every cell is a file, so a broken run goes on.

A worker (``shapley_ours.py``, ``shapley_peers.py``) reads a plan as JSON on its standard input and writes, for each
estimator and game, what it answered at each budget: its error, the evaluations it really made, its CPU seconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from games import Known, load

MULTIPLES = (2, 5, 10, 20, 40, 100)
"""Budgets, in evaluations a player."""
NORMAL = 1.645
"""± so many standard errors is the interval of 90 % that is judged."""
MANY, RARER = 2_000, 8
"""Beyond so many evaluations, which take long, chance is drawn so many times less often, but on every row."""


@dataclass(frozen=True, eq=False)
class Estimated:
    """Values and standard errors ``[R, n]`` (NaN where none are told); evaluations and own CPU seconds per row."""

    values: np.ndarray
    errors: np.ndarray
    evaluations: float
    overhead: float


Solver = Callable[[Known, np.ndarray, int, int], Estimated]
"""From a game, rows with equally many players, a budget and a seed."""


class Counted:
    """A game of one row as a function of coalitions; counts evaluations and the CPU seconds spent in them."""

    def __init__(self, known: Known, row: int):
        self.known, self.row, self.evaluations, self.seconds = known, row, 0, 0.0
        self.n = known.game.players(row)

    def __call__(self, coalitions: Any) -> np.ndarray:
        began = process_time()
        z = np.atleast_2d(np.asarray(coalitions)) > 0.5
        answers = self.known.values(self.row, z)
        self.evaluations += len(z)
        self.seconds += process_time() - began
        return answers


@dataclass(frozen=True)
class Way:
    """An estimator; ``whole`` ones get all rows of a game that have equally many players in one call.

    ``most``: evaluations up to which it is asked, where it is too slow for more.
    """

    solve: Solver
    whole: bool = False
    most: int | None = None


@dataclass(frozen=True)
class Task:
    """One estimator on one game; ``seeds`` draws of its chance at each budget, numbered from ``first`` on.

    Draws take the rows in turn, so that estimators drawn once see different rows of games that differ in training.
    """

    way: str
    game: str
    out: str
    seeds: int
    first: int = 0
    multiples: tuple[int, ...] = MULTIPLES


def work(ways: Mapping[str, Way], plan: list[dict[str, Any]]) -> None:
    """Do what is not done yet; each estimator is called once before, so that nothing loaded late is timed."""
    warm: set[str] = set()
    for task in (Task(**{**one, "multiples": tuple(one["multiples"])}) for one in plan):
        out = Path(task.out)
        if out.exists():
            continue
        known = load(Path(task.game))
        if task.way not in warm:
            warm.add(task.way)
            cells(ways[task.way], known, range(1), (10,))
        out.parent.mkdir(parents=True, exist_ok=True)
        found = cells(ways[task.way], known, range(task.first, task.first + task.seeds), task.multiples)
        part = out.with_suffix(".part")
        part.write_text(json.dumps(found), encoding="utf-8")
        part.rename(out)


def cells(way: Way, known: Known, seeds: range, multiples: tuple[int, ...]) -> dict[str, Any]:
    """Records by budget; a sentence instead where the estimator fails or cannot work with so little."""
    found: dict[str, Any] = {}
    for multiple in multiples:
        try:
            large = multiple * known.game.players(0) > MANY
            fewer = max(len(seeds) // RARER, len(known.asked))
            records = [
                one for seed in (seeds[:fewer] if large else seeds) for one in _records(way, known, seed, multiple)
            ]
        except Exception as error:  # noqa: BLE001 - what a library cannot do is a result
            found[str(multiple)] = f"{type(error).__name__}: {str(error)[:160]}"
            continue
        if records:
            found[str(multiple)] = records
    return found


def _records(way: Way, known: Known, seed: int, multiple: int) -> list[dict[str, float]]:
    """One row, another for each seed; or all rows. None where all coalitions could be asked."""
    if not way.whole:
        groups = [known.asked[[seed % len(known.asked)]]]
    else:
        counts = np.array([known.game.players(row) for row in range(known.game.rows)])
        groups = [np.flatnonzero(counts == n) for n in np.unique(counts)]
    found = []
    for rows in groups:
        n = known.game.players(int(rows[0]))
        if multiple * n < min(2**n, (way.most or np.inf) + 1):
            done = way.solve(known, rows, multiple * n, seed)
            found += [_record(known, done, k, int(row)) for k, row in enumerate(rows) if row in known.asked]
    return found


def _record(known: Known, done: Estimated, place: int, row: int) -> dict[str, float]:
    values, errors, truth = done.values[place], done.errors[place], known.of(row)
    inside = np.abs(values - truth) <= NORMAL * errors
    covered = float(np.where(np.isnan(errors), np.nan, inside).mean())
    return {
        "row": row,
        "error": float(np.square(values - truth).sum() / np.square(truth).sum()),
        "covered": covered,
        "evaluations": done.evaluations,
        "overhead": done.overhead,
    }


def main(ways: Mapping[str, Way]) -> int:
    """A worker's whole life."""
    work(ways, json.load(sys.stdin))
    return 0
