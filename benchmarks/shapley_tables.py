"""What the games tell: ratios to the best peer, coverage, CPU time to an accuracy; as text and as a page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from game_kinds import Kind
from report import machine, versions
from shapley_ours import CHOSEN, DISPATCHER
from shapley_peers import ANSWERS, SLOW
from shapley_play import MANY, MULTIPLES

RESAMPLES = 1_000
COSTS = (0.005, 0.1, 1.0, 10.0)
"""Milliseconds of an evaluation."""
TARGETS = (1e-2, 1e-3)
COVERED = (5, 10, 20, 40, 100)
PLAIN = ("kernel", "permutation", "odd GP", "shapley")
"""Ours that are asked one row at a time, whose CPU time compares with the peers'."""


@dataclass(frozen=True)
class Results:
    """What was answered: records by estimator, kind, training seed and budget, or a sentence why there are none."""

    found: Mapping[tuple[str, str, int], Mapping[str, Any]]
    kinds: tuple[str, ...]
    trained: int

    @classmethod
    def read(cls, answers: Path, kinds: Sequence[str], trained: int) -> Results:
        found = {}
        for name in [*CHOSEN, *ANSWERS]:
            for kind in kinds:
                for seed in range(trained):
                    file = answers / name.replace(" ", "_") / f"{kind}-{seed}.json"
                    if file.exists():
                        found[name, kind, seed] = json.loads(file.read_text(encoding="utf-8"))
        return cls(found, tuple(kinds), trained)

    def names(self, of: Mapping[str, Any]) -> list[str]:
        """Those of our estimators, or of the peers, that answered anything."""
        there = {name for name, _, _ in self.found}
        return [name for name in of if name in there]

    def of(self, name: str, kind: str, multiple: int, what: str) -> list[np.ndarray]:
        """One array of figures for each training seed; empty where nothing was answered."""
        records = [self.found.get((name, kind, seed), {}).get(str(multiple)) for seed in range(self.trained)]
        return [np.array([one[what] for one in record]) for record in records if isinstance(record, list)]

    def median(self, name: str, kind: str, multiple: int, what: str = "error") -> float:
        parts = self.of(name, kind, multiple, what)
        return float(np.median(np.concatenate(parts))) if len(parts) == self.trained else np.nan

    def resampled(self, name: str, kind: str, multiple: int, seeds: np.ndarray) -> np.ndarray:
        """Median errors with training seeds drawn with replacement, ``seeds [resamples, trained]``."""
        parts = self.of(name, kind, multiple, "error")
        if len(parts) < self.trained:
            return np.full(len(seeds), np.nan)
        laid = np.full((len(parts), max(map(len, parts))), np.nan)  # games of one kind may have more rows than others
        for seed, part in enumerate(parts):
            laid[seed, : len(part)] = part
        return np.nanmedian(laid[seeds].reshape(len(seeds), -1), axis=1)


# Ratios --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ratio:
    """Geometric mean over games of an estimator's median error to the best peer's; the bootstrap's 95 % upper limit."""

    mean: float
    upper: float
    cells: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.mean:.2f} (≤ {self.upper:.2f})" if self.cells else "–"


def ratio(results: Results, name: str, multiple: int, rivals: Sequence[str]) -> Ratio:
    """Against the smallest median among ``rivals`` in each game; games and training seeds are resampled in pairs."""
    rng = np.random.default_rng(multiple)
    cells, drawn = {}, []
    for kind in results.kinds:
        best = _least([results.median(rival, kind, multiple) for rival in rivals])
        cells[kind] = results.median(name, kind, multiple) / best
        seeds = rng.integers(results.trained, size=(RESAMPLES, results.trained))
        others = np.stack([results.resampled(rival, kind, multiple, seeds) for rival in rivals])
        drawn.append(results.resampled(name, kind, multiple, seeds) / _least_of_each(others))
    there = {kind: cell for kind, cell in cells.items() if np.isfinite(cell)}
    if not there:
        return Ratio(np.nan, np.nan, {})
    logs = np.log(np.stack([one for one, cell in zip(drawn, cells.values(), strict=True) if np.isfinite(cell)]))
    picks = rng.integers(len(logs), size=(RESAMPLES, len(logs)))
    means = np.exp(np.take_along_axis(logs.T, picks, axis=1).mean(1))
    return Ratio(float(np.exp(np.log(list(there.values())).mean())), float(np.quantile(means, 0.95)), there)


def _least(values: Sequence[float]) -> float:
    there = [value for value in values if np.isfinite(value)]
    return min(there, default=np.nan)


def _least_of_each(values: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(values), np.inf, values).min(0)


def ratios(results: Results, kinds: Mapping[str, Kind]) -> list[str]:
    """Ours against the best peer of each game, by budget."""
    rivals = results.names(ANSWERS)
    lines = []
    for name in results.names(CHOSEN):
        found = [ratio(results, name, multiple, rivals) for multiple in MULTIPLES]
        lines.append([name, *map(str, found)])
        lines.append([f"{name}: worst game", *(_worst(one) for one in found)])
        sparse = [[cell for kind, cell in one.cells.items() if kinds[kind].sparse] for one in found]
        above = [f"{sum(cell > 1 for cell in cells)} of {len(cells)}" for cells in sparse]
        lines.append([f"{name}: sparse games above 1", *above])
    return _table(["estimator", *(f"{m}d" for m in MULTIPLES)], lines)


def _worst(found: Ratio) -> str:
    if not found.cells:
        return "–"
    kind = max(found.cells, key=lambda one: found.cells[one])
    return f"{found.cells[kind]:.2f} {kind}"


def rivals_alone(results: Results) -> list[str]:
    """Geometric mean over games of each peer's median error to the best peer's: who is the one to beat where."""
    rivals = results.names(ANSWERS)
    lines = []
    for name in rivals:
        found = [ratio(results, name, multiple, rivals) for multiple in MULTIPLES]
        lines.append([name, *(f"{one.mean:.2f}" if one.cells else "–" for one in found)])
    return _table(["peer", *(f"{m}d" for m in MULTIPLES)], lines)


# Intervals -----------------------------------------------------------------------------------


def coverage(results: Results, name: str) -> list[str]:
    """Share of players inside the 90 % interval, by game and budget; in bold what lies outside 85–95 %."""
    lines = []
    for kind in results.kinds:
        cells = [results.of(name, kind, multiple, "covered") for multiple in COVERED]
        designs = max((sum(map(len, parts)) for parts in cells), default=0)
        lines.append([kind, str(designs), *(_covered(parts) for parts in cells)])
    return _table(["game", "answers", *(f"{m}d" for m in COVERED)], lines)


def _covered(parts: Sequence[np.ndarray]) -> str:
    every = np.concatenate(parts) if parts else np.array([])
    if not len(every) or np.isnan(every).all():
        return "–"
    share = float(np.nanmean(every))
    return f"{share:.2f}" if 0.85 <= share <= 0.95 else f"**{share:.2f}**"


# CPU time ------------------------------------------------------------------------------------


def seconds_to(results: Results, name: str, kind: str, target: float, cost: float) -> float:
    """CPU seconds a row to a median error, evaluations at ``cost`` seconds each; NaN where 100d do not suffice.

    Between two budgets, along the line through both on logarithmic axes.
    """
    points = []
    for multiple in MULTIPLES:
        error = results.median(name, kind, multiple)
        made, own = (results.median(name, kind, multiple, what) for what in ("evaluations", "overhead"))
        if np.isfinite(error):
            points.append((error, own + cost * made))
    best = [seconds for error, seconds in points if error <= target]
    for (error, seconds), (after, later) in pairwise(points):
        if after <= target < error:
            share = np.log(error / target) / np.log(error / max(after, 1e-30))
            best.append(float(np.exp(np.log(seconds) + share * np.log(later / seconds))))
    return min(best, default=np.nan)


def cpu(results: Results) -> list[str]:
    """The dispatcher's (and the best of ours) CPU time to an accuracy over the best peer's."""
    rivals, own = results.names(ANSWERS), [name for name in PLAIN if name in results.names(CHOSEN)]
    lines = []
    for target in TARGETS:
        for names, title in [*(([name], name) for name in own), (own, "best of ours")]:
            cells = []
            for cost in COSTS:
                pairs = [
                    [
                        _least([seconds_to(results, n, kind, target, cost / 1e3) for n in some])
                        for some in (names, rivals)
                    ]
                    for kind in results.kinds
                ]
                logs = [np.log(ours / theirs) for ours, theirs in pairs if np.isfinite(ours) and np.isfinite(theirs)]
                cells.append(f"{np.exp(np.mean(logs)):.2f} ({len(logs)})" if logs else "–")
            lines.append([f"{title} to {target:g}", *cells])
    return _table(["÷ best peer (games)", *(f"{cost:g} ms" for cost in COSTS)], lines)


# Errors --------------------------------------------------------------------------------------


def errors(results: Results, kind: str) -> list[str]:
    """Median squared relative error with quartiles, of everybody on one game."""
    lines = []
    for name in [*results.names(CHOSEN), *results.names(ANSWERS)]:
        lines.append([name, *(_quartiles(results.of(name, kind, multiple, "error")) for multiple in MULTIPLES)])
    return _table(["estimator", *(f"{m}d" for m in MULTIPLES)], lines)


def _quartiles(parts: Sequence[np.ndarray]) -> str:
    if not parts:
        return "–"
    low, middle, high = np.quantile(np.concatenate(parts), [0.25, 0.5, 0.75])
    return f"{middle:.1e} ({low:.0e}–{high:.0e})"


def failures(results: Results) -> list[str]:
    """What estimators could not do, in their own words, each once."""
    told: dict[tuple[str, str], set[str]] = {}
    for (name, kind, _), cells in results.found.items():
        for multiple, cell in cells.items():
            if isinstance(cell, str):
                told.setdefault((name, cell), set()).add(f"{kind} {multiple}d")
    return [f"- {name}: {why} ({', '.join(sorted(where))})" for (name, why), where in sorted(told.items())]


def page(results: Results, kinds: Mapping[str, Kind], plan: Any, peers: Mapping[str, str], large: Sequence[str]) -> str:
    """The documentation page."""
    parts = [
        *_introduction(results, kinds, plan, peers),
        *(_against_peers(results, kinds) if results.names(ANSWERS) else []),
        *large,
        "## Intervals of 90 %",
        "",
        "Share of players whose true value lies within ± 1.645 standard errors, mean over players and answers; in bold "
        "what lies outside 85–95 %.",
        "",
        *[line for name in results.names(CHOSEN) for line in (f"### {name}", "", *coverage(results, name), "")],
        "## Errors, game by game",
        "",
        "Median (quartiles).",
        "",
        *[
            line
            for kind in results.kinds
            for line in (f"### {kind}: {kinds[kind].title}", "", *errors(results, kind), "")
        ],
        *(["## What could not be asked", "", *failures(results), ""] if failures(results) else []),
        "Made again with `python benchmarks/shapley.py --peers FOLDER --write`; the peers' environments are made in "
        "that folder.",
        "",
    ]
    return "\n".join(parts)


def _introduction(results: Results, kinds: Mapping[str, Kind], plan: Any, peers: Mapping[str, str]) -> list[str]:
    others = ", ".join(f"{name} {number}" for name, number in sorted(peers.items())) or "not installed"
    games = [
        [name, kinds[name].title, kinds[name].players, str(kinds[name].background or "–"), kinds[name].truth]
        for name in results.kinds
    ]
    return [
        "# Shapley values: accuracy per evaluation",
        "",
        "Squared error of all of a row's Shapley values over their squares, ‖φ̂ − φ‖²/‖φ‖². A game is a kind and a "
        f"training seed ({plan.trained} each); medians are over seeds, rows and {plan.ours} draws of an estimator's "
        f"chance ({plan.whole} × all rows where a batch of 64 is fitted together; {plan.ours // 4} for `{DISPATCHER}`, "
        f"which takes one of the others; {plan.peers} for the peers, 1 for {' and '.join(SLOW)}; fewer beyond "
        f"{MANY:,} evaluations). Budgets are evaluations a player, both ends counted; budgets that would enumerate a "
        "game are left out. Every estimator asks the very same function, which counts. Our public call asks four rows "
        "more, whatever the budget, to see that the model repeats itself; they are in the CPU times, and tell the "
        "estimate nothing. shap Permutation gets the one evaluation more that its smallest budget needs.",
        "",
        "Truth is enumerated; or in closed form (“products”; “waves” for networks with one hidden layer, exact to "
        "rounding for smooth activations); or the mean of two estimates of 8,000 evaluations a player (“long”).",
        "",
        f"Measured {date.today().isoformat()} on {machine()} by each process; {versions()}. Others: {others}.",
        "",
        *_table(["game", "what", "players", "background", "truth"], games),
        "",
    ]


def _against_peers(results: Results, kinds: Mapping[str, Kind]) -> list[str]:
    return [
        "## Ours ÷ the best peer of each game",
        "",
        "Geometric mean over games of the ratio of median errors, in brackets the upper 95 % limit of a paired "
        "bootstrap over games and training seeds. The best peer is chosen for each game and budget anew, with "
        "hindsight.",
        "",
        *ratios(results, kinds),
        "",
        "The peers among themselves, by the same yardstick:",
        "",
        *rivals_alone(results),
        "",
        "## CPU time to an accuracy",
        "",
        "CPU seconds beside the model plus evaluations at a given cost, to a median squared error, ÷ the best peer's; "
        "geometric mean over the games (their number) where both get there within 100d.",
        "",
        *cpu(results),
        "",
    ]


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|" + "---|" * len(head), *(f"| {' | '.join(line)} |" for line in lines)]
