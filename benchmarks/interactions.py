"""How near: estimated interactions beside the exact ones, at equal budgets, ours and shapiq's estimators'.

    python benchmarks/interactions.py [--seeds 3] [--peers PYTHON] [--write]

The games are tables of values of all coalitions, so that the exact answer is known; ``--peers`` is an interpreter that
has shapiq (xgboost too, for its ProxySHAP).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from report import machine, versions

import pellucid
from pellucid.removals import Constant

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks" / "interactions.md"
BUDGETS = {"k-SII": (100, 200, 400, 800, 1600)} | dict.fromkeys(("SII", "STII", "FSII", "BII"), (400,))
VARIANTS = 2
INSIDE_90 = 1.645


def everyone(n: int) -> np.ndarray:
    """All coalitions, ``Bool[2ⁿ, n]``."""
    return (np.arange(2**n)[:, None] >> np.arange(n)) & 1 == 1


def tanh_network(n: int, rng: np.random.Generator) -> np.ndarray:
    first, bias, x = rng.normal(size=(n, 24)) * 1.7 / np.sqrt(n), rng.normal(size=24) * 0.4, rng.normal(size=n) * 1.3
    return np.tanh((everyone(n) * x) @ first + bias) @ rng.normal(size=24) / 5


def gelu_network(n: int, rng: np.random.Generator) -> np.ndarray:
    """Two layers, twelve background rows."""

    def gelu(t: np.ndarray) -> np.ndarray:
        return t / 2 * (1 + np.tanh(0.79788 * (t + 0.044715 * t**3)))

    first, second = rng.normal(size=(n, 32)) * 1.5 / np.sqrt(n), rng.normal(size=(32, 32)) / 6
    last, x, background = rng.normal(size=32) / 6, rng.normal(size=n), rng.normal(size=(12, n))
    return np.mean([gelu(gelu(np.where(everyone(n), x, row) @ first) @ second) @ last for row in background], axis=0)


def probability(n: int, rng: np.random.Generator) -> np.ndarray:
    """A saturated probability, eight background rows."""
    first, last = rng.normal(size=(n, 16)) * 2 / np.sqrt(n), rng.normal(size=16)
    x, background = rng.normal(size=n), rng.normal(size=(8, n))
    scores = [3 * np.tanh(np.where(everyone(n), x, row) @ first) @ last for row in background]
    return np.mean([1 / (1 + np.exp(-score)) for score in scores], axis=0)


def sparse_products(n: int, rng: np.random.Generator) -> np.ndarray:
    """Main effects and twelve products of two to five players."""
    worth = everyone(n) @ rng.normal(size=n) / 2
    for _ in range(12):
        members = rng.choice(n, rng.integers(2, 6), replace=False)
        worth += rng.normal() * everyone(n)[:, members].all(1)
    return worth


def forest(n: int, rng: np.random.Generator) -> np.ndarray:
    """25 trees of depth four that ask at random."""
    worth = np.zeros(2**n)
    for _ in range(25):
        leaf = np.zeros(2**n, dtype=int)
        for _ in range(4):
            leaf = 2 * leaf + everyone(n)[:, rng.integers(n)]
        worth += 0.3 * rng.normal(size=16)[leaf]
    return worth


GAMES: dict[str, tuple[int, Callable[[int, np.random.Generator], np.ndarray]]] = {
    "tanh network, 10 players": (10, tanh_network),
    "tanh network, 14": (14, tanh_network),
    "GELU network, background of 12, 12": (12, gelu_network),
    "probability, background of 8, 12": (12, probability),
    "sparse products, 14": (14, sparse_products),
    "forest, 12": (12, forest),
}


@dataclass(frozen=True)
class Cell:
    """One game at one budget: our median error and the cover of our 90 % intervals, and each peer's median error."""

    game: str
    index: str
    budget: int
    ours: float
    cover: float
    peers: dict[str, float]

    @property
    def best(self) -> tuple[float, str]:
        return min(((error, name) for name, error in self.peers.items()), default=(float("nan"), "–"))


def main() -> int:
    """Measure, print, write."""
    asked = _arguments()
    tables = {
        f"{name}#{variant}": build(n, np.random.default_rng([variant, n, len(name)]))
        for name, (n, build) in GAMES.items()
        for variant in range(VARIANTS)
    }
    peers = _peers(asked.peers, tables, asked.seeds)
    cells = []
    for index, budgets in BUDGETS.items():
        for name, worth in tables.items():
            exact = _explained(worth, index).values[0]
            for budget in budgets:
                if budget < len(worth):
                    others = peers.get("errors", {}).get(f"{name}#{index}#{budget}", {})
                    cells.append(Cell(name, index, budget, *_ours(worth, index, budget, exact, asked.seeds), others))
                    print(cells[-1], flush=True)
    text = page(cells, peers, asked.seeds)
    print(text)
    if asked.write:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def _explained(worth: np.ndarray, index: str, **settings: Any) -> Any:
    n = len(worth).bit_length() - 1

    def function(rows: np.ndarray) -> np.ndarray:
        return worth[(np.asarray(rows) > 0.5) @ 2 ** np.arange(n)]

    given = {"index": index, "removal": Constant(0.0), **({"samples": 2**n} | settings)}
    return pellucid.explain(function, np.ones((1, n)), "shapley_interactions", **given)


def _ours(worth: np.ndarray, index: str, budget: int, exact: np.ndarray, seeds: int) -> tuple[float, float]:
    runs = [_explained(worth, index, samples=budget, seed=seed) for seed in range(seeds)]
    errors = [np.square(e.values[0] - exact).sum() / np.square(exact).sum() for e in runs]
    inside = [np.abs(e.values[0] - exact) <= INSIDE_90 * e.stderr[0] for e in runs]
    return float(np.median(errors)), float(np.mean(inside))


def _peers(interpreter: str | None, tables: dict[str, np.ndarray], seeds: int) -> dict[str, Any]:
    """What shapiq's estimators reach on the same tables, in their own interpreter; empty without one."""
    if interpreter is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/games.npz", **tables)  # pyright: ignore[reportArgumentType]
        command = [
            interpreter,
            str(HERE / "interactions_peers.py"),
            f"{folder}/games.npz",
            json.dumps(BUDGETS),
            str(seeds),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def page(cells: list[Cell], peers: dict[str, Any], seeds: int) -> str:
    """The documentation page: how it was measured, on what, and the tables."""
    lines = ["| index | game | " + " | ".join(map(str, BUDGETS["k-SII"])) + " |", "|---|---|" + "---|" * 5]
    for index in BUDGETS:
        for game in GAMES:
            found = [_shown([c for c in cells if (c.index, c.budget) == (index, b) and c.game.startswith(game + "#")])
                     for b in BUDGETS["k-SII"]]  # fmt: skip
            lines.append(f"| {index} | {game} | " + " | ".join(found) + " |")
    means = [
        "| index | evaluations | ours ÷ best | worst cell | cover of 90 % | ours ÷ each |",
        "|---|---|---|---|---|---|",
    ]
    for index, budgets in BUDGETS.items():
        for budget in budgets:
            means.append(_mean(index, budget, [c for c in cells if (c.index, c.budget) == (index, budget)]))
    agree = ", ".join(f"{index} {worst:.0e}" for index, worst in peers.get("exact", {}).items())
    other = f"shapiq {peers.get('version', 'not installed')}"
    exact = f" Its exact values and ours differ by at most: {agree}." if agree else ""
    return "\n".join([
        "# Interactions", "",
        "Squared error over the squared size of all parts of one and two players, at equal numbers of evaluations: "
        "ours / the best of shapiq's estimators on that very game, chosen after the fact. The games are tables of all "
        f"coalitions, {VARIANTS} of a kind, so the exact answer is known; seeds a game: {seeds}.", "",
        f"Measured {date.today().isoformat()} on {machine()}; {versions()}. Other: {other}.{exact}", "",
        *lines, "", "Geometric means of the ratio over all games:", "", *means, "",
        "Made again with `python benchmarks/interactions.py --write` (`--peers PYTHON` for the others).", "",
    ])  # fmt: skip


def _shown(cells: list[Cell]) -> str:
    if not cells:
        return ""
    ours, best = np.median([c.ours for c in cells]), np.median([c.best[0] for c in cells])
    return f"{ours:.1e} / {best:.1e} ({cells[0].best[1]})"


def _mean(index: str, budget: int, cells: list[Cell]) -> str:
    ratios = np.array([c.ours / c.best[0] for c in cells])
    names = sorted({name for c in cells for name in c.peers})
    each = ", ".join(
        f"{name} {_geometric([c.ours / c.peers[name] for c in cells if name in c.peers]):.2g}" for name in names
    )
    cover = np.mean([c.cover for c in cells])
    return f"| {index} | {budget} | {_geometric(ratios):.2f} | {ratios.max():.2f} | {cover:.2f} | {each} |"


def _geometric(ratios: Any) -> float:
    return float(np.exp(np.mean(np.log(ratios))))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peers", help="a Python interpreter that has shapiq")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(HERE.parent)}")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
