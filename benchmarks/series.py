"""Do explanations of series lie where the evidence is known to be? Small networks over time, beside controls.

    python benchmarks/series.py [--write] [--data FOLDER] [--rows 32] [--only bleeding shape channels]

Trains a small convolutional network over time on each data set in seconds, explains test series window by window with
every method that applies, and scores relevance mass, relevance rank and the pointing game; controls are scored on the
very same series. Data sets that are absent are left out.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from pages import publish
from report import machine, versions
from torch import nn

import pellucid
from pellucid.catalog import everything
from pellucid.records.errors import PellucidError
from pellucid.records.explanation import Explanation
from pellucid.training.fit import fit

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "series.md"
DATA = ROOT / "../shared/data"
METRICS = ("relevance_mass", "relevance_rank", "pointing_game")
BUDGET = 512
PAST = 24
"""Steps that the next one is foretold from."""


class Temporal(nn.Module):
    """Three convolutions over time, the mean, a linear layer."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(channels, 16, 7, padding=3), nn.ReLU(), nn.Conv1d(16, 16, 5, padding=4, dilation=2), nn.ReLU(),
            nn.Conv1d(16, 16, 5, padding=8, dilation=4), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(),
            nn.Linear(16, classes),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


class Surprise(nn.Module):
    """How badly a small network foretells each step from those before it: the mean squared error over a window."""

    def __init__(self) -> None:
        super().__init__()
        self.foretell = nn.Sequential(nn.Conv1d(1, 32, PAST), nn.ReLU(), nn.Conv1d(32, 32, 1), nn.ReLU(),
                                      nn.Conv1d(32, 1, 1))  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (self.foretell(x)[..., :-1] - x[..., PAST:]).square().mean((1, 2))[:, None]


@dataclass(frozen=True)
class Known:
    """Series to be explained, the network, and the elements ``Bool[N, C, T]`` where the evidence lies."""

    title: str
    network: nn.Module
    series: pellucid.Series
    inside: np.ndarray
    window: int
    target: int
    told: str
    usual: np.ndarray | None = None
    """Windows ``[S, C, T]`` in which all is well, where that is what an absent stretch may be taken from."""

    @property
    def usual_score(self) -> float:
        """What the network says of them."""
        with torch.no_grad():
            return float(self.network(torch.from_numpy(self.usual))[:, self.target].mean())


def bleeding(folder: Path, rows: int) -> Known:
    """An anomaly of 12 steps in arterial blood pressure, in windows that begin anywhere before it."""
    train, test = (
        np.loadtxt(folder / "tsad_internal_bleeding" / f"internal_bleeding16_{part}.csv", delimiter=",", skiprows=1)
        for part in ("train", "test")
    )
    level, spread = train[:, 1].mean(), train[:, 1].std()
    normal, values = ((part[:, 1] - level) / spread for part in (train, test))
    torch.manual_seed(0)
    network, x = Surprise(), torch.from_numpy(normal.astype(np.float32))[None, None]
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    for _ in range(400):
        optimiser.zero_grad()
        network(x).sum().backward()
        optimiser.step()
    marked = test[:, 2] > 0
    first = int(np.flatnonzero(marked)[0])
    begins = first - np.random.default_rng(0).permutation(np.arange(PAST + 4, 144))[:rows]
    taken = begins[:, None] + np.arange(160)
    windows = values[taken][:, None].astype(np.float32)
    with torch.no_grad():
        here, usual = network(torch.from_numpy(windows)).mean().item(), network(x).item()
    told = f"windows of 160 steps hold the anomaly whole; their mean error is {here / usual:.1f} times that of training"
    series, starts = pellucid.Series(windows, ("pressure",)), np.arange(len(normal) - 160)
    usual = normal[starts[:, None] + np.arange(160)][:, None].astype(np.float32)
    return Known("internal bleeding", network.eval(), series, marked[taken][:, None], 4, 0, told, usual)


def shape(folder: Path, rows: int) -> Known:
    """GunPoint with a small bump planted at a random place of half of the series: which have it?"""
    kept = np.load(folder / "ucr_timeseries" / "GunPoint.npz", allow_pickle=False)
    rng, bump = np.random.default_rng(1), 0.6 * np.sin(np.linspace(0, 2 * np.pi, 16))
    return _planted("GunPoint, a planted wave", kept, rng, bump, 10, rows, channel=False)


def channels(folder: Path, rows: int) -> Known:
    """BasicMotions with a short wave planted in one of its six channels, at a random place of half of the series."""
    kept = np.load(folder / "ucr_timeseries" / "BasicMotions.npz", allow_pickle=False)
    rng, bump = np.random.default_rng(2), 4.0 * np.sin(np.linspace(0, 4 * np.pi, 16))
    return _planted("BasicMotions, a wave planted in one channel", kept, rng, bump, 10, rows, channel=True)


def _planted(
    title: str, kept: dict, rng: np.random.Generator, wave: np.ndarray, window: int, rows: int, *, channel: bool
) -> Known:
    """Every series twenty times (training) or four times (test), a wave in half of the copies."""
    parts = {}
    for part, copies in (("train", 20), ("test", 4)):
        x = np.repeat(kept[f"X_{part}"], copies, axis=0).astype(np.float32)
        y, inside = np.arange(len(x)) % 2, np.zeros(x.shape, dtype=bool)
        for row in np.flatnonzero(y):
            at, which = int(rng.integers(x.shape[2] - len(wave))), int(rng.integers(x.shape[1])) if channel else 0
            x[row, which, at : at + len(wave)] += wave * x[row, which].std() ** (1 if channel else 0)
            inside[row, which, at : at + len(wave)] = True
        parts[part] = x, y.astype(np.int64), inside
    torch.manual_seed(0)
    network, (x, y, _) = Temporal(kept["X_train"].shape[1], 2), parts["train"]
    fit(network, (x, y), epochs=60, seed=0, batch_size=32)
    x, y, inside = parts["test"]
    with torch.no_grad():
        right = network.eval()(torch.from_numpy(x)).argmax(1).numpy() == y
    chosen = rng.permutation(np.flatnonzero(right & (y == 1)))[:rows]
    told = f"accuracy {right.mean():.1%} on {len(x)} test series; those with the wave that are seen are explained"
    return Known(title, network, pellucid.Series(x[chosen]), inside[chosen], window, 1, told)


SETS: dict[str, Callable[[Path, int], Known]] = {"bleeding": bleeding, "shape": shape, "channels": channels}
FOLDERS = {"bleeding": "tsad_internal_bleeding", "shape": "ucr_timeseries", "channels": "ucr_timeseries"}


def explained(known: Known) -> tuple[dict[str, Explanation], dict[str, str]]:
    """Every method that gives a number to each window, and why the others do not."""
    found, left = {}, {}
    for name, kind in everything("methods").items():
        if kind.answers is not Explanation or (kind.kinds and "series" not in kind.kinds):
            continue
        budget = None if kind.role == "control" else BUDGET
        try:
            found[name] = pellucid.explain(
                known.network, known.series, kind(), target=known.target, budget=budget,
                players=pellucid.players.Windows(known.window), removal=pellucid.removals.Interpolated(),
            )  # fmt: skip
        except PellucidError as error:
            left[name] = str(error).split(". ")[0]
    return found, left


def by_removal(known: Known) -> Iterator[str]:
    """Lines of a table: what an absent stretch is, and where methods that take stretches away then point."""
    removals = {
        "a line between its neighbours": pellucid.removals.Interpolated(),
        "its channel's mean": pellucid.removals.SegmentMean(),
        "a stretch of usual windows": pellucid.removals.OtherSegment(known.usual, draws=5),
        "drawn of a Gaussian of usual windows": pellucid.removals.ConditionalGaussian(known.usual, draws=8),
        "of the nearest usual window": pellucid.removals.ConditionalNearest(known.usual, k=1),
        "of the five nearest": pellucid.removals.ConditionalNearest(known.usual, k=5),
    }
    methods = ("shapley", "banzhaf", "lime", "occlusion")
    yield f"\n| absent is | score without anybody | {' | '.join(methods)} |"
    yield "|---|---|" + "---|" * len(methods)
    for told, removal in removals.items():
        asked = {"target": known.target, "players": pellucid.players.Windows(known.window), "removal": removal}
        found = {m: pellucid.explain(known.network, known.series, m, budget=BUDGET, **asked) for m in methods}
        masses = [table["relevance_mass"] for table in scored(known, found).values()]
        cells = (f"{mean:.3f} ± {error:.3f}" if mean == mean else "–" for mean, error in masses)
        yield f"| {told} | {found['shapley'].base.mean() / known.usual_score:.1f} | {' | '.join(cells)} |"


def scored(known: Known, found: dict[str, Explanation]) -> dict[str, dict[str, tuple[float, float]]]:
    """Method → metric → (mean, half of a 95 % interval)."""
    asked = {"metrics": list(METRICS), "truth": known.inside, "controls": False}
    table: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in found}
    for score in pellucid.evaluate(known.network, known.series, found, **asked):
        own = score.values[np.isfinite(score.values)]
        error = 1.96 * own.std(ddof=1) / len(own) ** 0.5 if len(own) > 1 else float("nan")
        table[score.method][score.metric] = (float(own.mean()) if len(own) else float("nan"), float(error))
    return table


ABOUT = """
Small networks over time, trained in seconds by `benchmarks/series.py`. Their test series are explained window by
window (4 steps for bleeding, 10 else; each channel for itself), the absent a straight line between present neighbours,
with at most {budget} evaluations a row. What raises the output counts. ± is half of a 95 % interval over series.
“share” is the evidence's share of a series, which uniform contributions would score. Controls know nothing of the
network and are scored on the very same series. Made by `python benchmarks/series.py --write`.
"""


def lines(results: list[tuple[Known, dict, dict, float]]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Series: do explanations lie where the evidence is known to be?"
    yield ABOUT.format(budget=BUDGET)
    yield f"{date.today()}, {machine()}; {versions()}."
    controls = {name for name, kind in everything("methods").items() if kind.role == "control"}
    for known, table, left, seconds in results:
        yield f"\n## {known.title[0].upper() + known.title[1:]}\n"
        yield f"{len(known.series)} series, share {known.inside.mean():.3f}; {known.told}. {seconds:.0f} s in all.\n"
        yield "| method | " + " | ".join(METRICS) + " |"
        yield "|---|" + "---|" * len(METRICS)
        order = sorted(table, key=lambda name: (name in controls, -np.nan_to_num(table[name][METRICS[0]][0], nan=-1)))
        for name in order:
            cells = (f"{mean:.3f} ± {error:.3f}" if mean == mean else "–" for mean, error in table[name].values())
            yield f"| {'control: ' if name in controls else ''}{name} | {' | '.join(cells)} |"
        if known.usual is not None:
            yield "\nRelevance mass by what an absent stretch is; the score in units of that of usual windows:"
            yield from by_removal(known)
        if left:
            yield f"\nNot applicable: {'; '.join(f'{name} ({why})' for name, why in left.items())}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds the data sets")
    parser.add_argument("--rows", type=int, default=32, help="series explained of each data set")
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    results = []
    for name in given.only:
        if not (given.data / FOLDERS[name]).exists():
            print(f"{FOLDERS[name]} is not in {given.data}: left out")
            continue
        began = time.perf_counter()
        known = SETS[name](given.data, given.rows)
        found, left = explained(known)
        results.append((known, scored(known, found), left, time.perf_counter() - began))
    publish(lines(results), PAGE, given.write)


if __name__ == "__main__":
    main()
