"""Shapley values of many rows: what the solve adds to the bare passes, CPU time and memory of 10,000 rows.

    python shapley_large.py GAME ROWS MULTIPLE SEED METHOD      prints one line of JSON: CPU seconds, MiB, error

The network is a trained GELU network 30 → 256 → 256 → 1, asked as a torch module. Peers are timed on some fifty rows of
the same network, one at a time as they work, and their passes are reckoned at the bare cost.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
import torch
from game_kinds import TRAINED, known
from games import Known, Network, load
from shapley_peers import ANSWERS, SLOW
from shapley_play import Task
from torch import nn

import pellucid
from pellucid.catalog import everything
from pellucid.removals import Constant

KIND = "wide_30"
GRID = (3, 4, 5, 7, 10, 14, 20)
"""Budgets a player among which the smallest that reaches TARGET is taken."""
TARGET = 1e-2
TRIED = 256
"""Rows on which our budget is chosen; SEEDS draws."""
SEEDS = 4
PEER_ROWS = 48
COMPARED = ("kernel_shapley", "odd_gp_shapley")
BATCHES = (128, 256, 512, 1024, 2048)


def module(game: Network) -> nn.Module:
    """The same network in PyTorch, single precision."""
    layers: list[nn.Module] = []
    for weight, bias in zip(game.weights, game.biases, strict=True):
        layer = nn.Linear(weight.shape[1], len(weight))
        layer.weight.data, layer.bias.data = (torch.tensor(part, dtype=torch.float32) for part in (weight, bias))
        layers += [layer, TRAINED[game.activation]()]
    return nn.Sequential(*layers[:-1]).requires_grad_(False)


def rows_of(game: Network, count: int) -> torch.Tensor:
    """The game's rows first, so that the errors of those whose truth is known are seen, then others like them."""
    rng = np.random.default_rng(11)
    others = np.sqrt(0.7) * rng.normal(size=(count, game.inputs.shape[1])) + np.sqrt(0.3) * rng.normal(size=(count, 1))
    return torch.tensor(np.concatenate([game.inputs, others])[:count], dtype=torch.float32)


def solved(found: Known, count: int, multiple: int, seed: int, method: str) -> dict[str, float]:
    """CPU seconds, the most memory the process held so far (MiB), and the median error of the known rows."""
    game = found.game
    assert isinstance(game, Network)
    net, x = module(game), rows_of(game, count)
    pellucid.explain(net, x[:2], method, removal=Constant(0.0), budget=4 * x.shape[1])  # what is loaded once
    began = process_time()
    e = pellucid.explain(net, x, method, removal=Constant(0.0), budget=multiple * x.shape[1], seed=seed)
    seconds = process_time() - began
    errors = [found.error(int(row), e.values.reshape(count, -1)[row]) for row in found.asked]
    return {"seconds": seconds, "peak": _peak(), "error": float(np.median(errors))}


def _peak() -> float:
    """MiB. The system's own count: what getrusage tells is inherited from the process that started this one."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return float(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def bare(game: Network, seconds: float = 0.3) -> float:
    """CPU seconds of a row in plain passes at the best batch, timed for so long each."""
    net, best = module(game), np.inf
    with torch.no_grad():
        for batch in BATCHES:
            x = rows_of(game, batch)
            began, passes = process_time(), 0
            while process_time() - began < seconds:
                net(x)
                passes += 1
            best = min(best, (process_time() - began) / passes / batch)
    return best


def large(cache: Path, interpreters: Mapping[str, Path]) -> list[str]:
    """Both tables as text."""
    path = known(KIND, 0, cache)
    found = load(path)
    assert isinstance(found.game, Network)
    unit, method = bare(found.game), "shapley" if "shapley" in everything("methods") else "odd_gp_shapley"
    return [*_shares(found, unit), "", *_many(path, found, unit, method, _peers(path, cache, interpreters, unit)), ""]


def _shares(found: Known, unit: float) -> list[str]:
    lines = []
    for multiple in (5, 10, 20, 40):
        pairs = [[_times_bare(found, multiple, seed, method) for method in COMPARED] for seed in range(3)]
        kernel, process = np.median(pairs, axis=0)
        lines.append(f"| {multiple}d | {kernel:.2f} | {process:.2f} | {process - kernel:.1%} |")
    return [
        "## 1,000 rows at once",
        "",
        f"A GELU network 30 → 256 → 256 → 1, {unit * 1e6:.1f} µs a row in bare passes. CPU time of the whole call ÷ "
        "bare passes of the evaluations, timed just before and after; median of three, interleaved. The last column is "
        "what the process adds to least squares.",
        "",
        "| budget | kernel ÷ bare | odd GP, pooled ÷ bare | solve ÷ bare |",
        "|---|---|---|---|",
        *lines,
    ]


def _times_bare(found: Known, multiple: int, seed: int, method: str) -> float:
    game = found.game
    assert isinstance(game, Network)
    before = bare(game, 0.05)
    seconds = solved(found, 1_000, multiple, seed, method)["seconds"]
    return seconds / (1_000 * multiple * 30 * (before + bare(game, 0.05)) / 2)


def _many(path: Path, found: Known, unit: float, method: str, peers: Sequence[tuple[str, int, float]]) -> list[str]:
    tried = {m: [solved(found, TRIED, m, seed, method)["error"] for seed in range(SEEDS)] for m in GRID[:5]}
    multiple = min((m for m, seen in tried.items() if np.median(seen) <= TARGET), default=GRID[4])
    runs = {count: _apart(path, count, multiple, method) for count in (1_000, 10_000)}
    lines = [
        f"| pellucid `{method}`, {count:,} rows | {multiple}d | {one['seconds']:.1f} | {one['peak']:.0f} |"
        f" {one['error']:.1e} |"
        for count, one in runs.items()
    ]
    lines += [f"| {name} | {m}d | {seconds * 10_000:.1f} | – | |" for name, m, seconds in peers[:4]]
    text = "no peer was asked"
    if peers:
        text = f"ours ÷ the best peer: **{runs[10_000]['seconds'] / (peers[0][2] * 10_000):.2f}**"
    return [
        f"## 10,000 rows of 30 columns to a median squared error of {TARGET:g}",
        "",
        f"The same network; {text}. Peers: the smallest budget of {', '.join(f'{m}d' for m in GRID)} that gets there, "
        f"CPU beside the model on {PEER_ROWS} rows plus evaluations at the bare cost, extrapolated to 10,000 rows. "
        "Memory is the most that the whole process held.",
        "",
        "| by | budget | CPU s | peak MiB | error |",
        "|---|---|---|---|---|",
        *lines,
    ]


def _apart(path: Path, count: int, multiple: int, method: str) -> dict[str, float]:
    """In a process of its own: the most memory a process ever held never falls."""
    command = [sys.executable, __file__, str(path), str(count), str(multiple), "0", method]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=_environment())
    return json.loads(done.stdout.splitlines()[-1])


def _peers(path: Path, cache: Path, interpreters: Mapping[str, Path], unit: float) -> list[tuple[str, int, float]]:
    """Name, smallest budget that reaches the target, CPU seconds a row; cheapest first."""
    found = []
    for environment, python in interpreters.items():
        names = [name for name, (home, _) in ANSWERS.items() if home == environment and name not in SLOW]
        tasks = [
            Task(n, str(path), str(cache / "large" / f"{n.replace(' ', '_')}.json"), PEER_ROWS, multiples=GRID)
            for n in names
        ]
        plan = json.dumps([asdict(task) for task in tasks])
        worker = [python, str(Path(__file__).with_name("shapley_peers.py"))]
        subprocess.run(worker, input=plan, text=True, check=True, capture_output=True, env=_environment())
        for task in tasks:
            cells: dict[str, Any] = json.loads(Path(task.out).read_text(encoding="utf-8"))
            cost = _cheapest(cells, unit)
            if cost:
                found.append((task.way, *cost))
    return sorted(found, key=lambda one: one[2])


def _cheapest(cells: Mapping[str, Any], unit: float) -> tuple[int, float] | None:
    for multiple, records in cells.items():
        if isinstance(records, list) and np.median([one["error"] for one in records]) <= TARGET:
            own = np.median([one["overhead"] + unit * one["evaluations"] for one in records])
            return int(multiple), float(own)
    return None


def _environment() -> dict[str, str]:
    source = str(Path(__file__).resolve().parents[1] / "src")
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


if __name__ == "__main__":
    game, count, multiple, seed, method = sys.argv[1:]
    print(json.dumps(solved(load(Path(game)), int(count), int(multiple), int(seed), method)))
