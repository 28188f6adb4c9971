"""Anchors on the German credit table beside alibi and anchor-exp: CPU time, precision measured again, coverage.

    python benchmarks/anchors.py [--peers PYTHON] [--rows N] [--fresh N] [--page FILE]

A small network is trained here; its weights, the coded rows and the rows to explain go to the peers as plain arrays.
All rules are then judged alike: their precision on fresh draws from the train rows (a column that does not satisfy its
condition takes the value of a train row that does), their coverage as the share of train rows that satisfy them.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import json
import os
import platform
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import nn

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import mlp

DATA = Path(__file__).resolve().parents[1] / "../shared/data/german_credit/german_credit.csv"
WIDE, RUNS = 256, 7
BATCHES = (128, 256, 512, 1024, 2048)
Rule = list[dict[str, Any]]


@dataclass(frozen=True)
class Credit:
    """The trained network, the rows it is asked about, and the table as codes (categories by number)."""

    network: nn.Module
    encoding: Encoding
    train: Any
    asked: Any
    train_codes: np.ndarray
    asked_codes: np.ndarray
    categories: list[list[str]]
    accuracy: float


def credit(rows: int, data: Path, hidden: int = 64) -> Credit:
    """A network of two hidden layers, trained on the train rows; the first test rows are explained."""
    table = pellucid.read(data, label="risk")
    encoding = Encoding.fit(table.train)
    network = fresh(lambda: mlp(encoding.width, (hidden, hidden), 2), 0)
    parts = [
        (torch.from_numpy(encoding.encode(part.frame)), torch.tensor(np.asarray(part.labels)))
        for part in (table.train, table.validation, table.test)
    ]
    fit(network, parts[0], validation=parts[1], loss="cross_entropy", epochs=60, patience=10, seed=0)
    network.eval()
    with torch.no_grad():
        accuracy = float((network(parts[2][0]).argmax(1) == parts[2][1]).float().mean())
    names = [code.name for code in encoding.columns]
    train, asked = table.train.frame[names], table.test.frame[names].iloc[:rows]
    categories = [list(map(str, code.categories)) for code in encoding.columns]
    coded = [
        np.stack([_codes(frame[name], known) for name, known in zip(names, categories, strict=True)], axis=1)
        for frame in (train, asked)
    ]
    return Credit(network, encoding, train, asked, coded[0], coded[1], categories, accuracy)


def _codes(column: Any, categories: Sequence[str]) -> np.ndarray:
    if not categories:
        return column.to_numpy(dtype=np.float64)
    return np.array([categories.index(str(cell)) for cell in column], dtype=np.float64)


def arrays_for_peers(case: Credit) -> dict[str, np.ndarray]:
    """Weights and tables as arrays: what the peers' interpreter needs to ask the very same network."""
    layers = [module for module in case.network.modules() if isinstance(module, nn.Linear)]
    weights = {f"w{i}": layer.weight.detach().numpy() for i, layer in enumerate(layers)}
    weights |= {f"b{i}": layer.bias.detach().numpy() for i, layer in enumerate(layers)}
    sizes = np.array([len(known) for known in case.categories])
    hot = np.array([code.width > 1 for code in case.encoding.columns])
    scaled = np.array([(code.center, code.scale) for code in case.encoding.columns])
    return weights | {
        "train": case.train_codes, "asked": case.asked_codes, "sizes": sizes, "hot": hot, "scaled": scaled,
    }  # fmt: skip


# Ours --------------------------------------------------------------------------------------


def ours(case: Credit, beam: int, one_by_one: bool) -> dict[str, Any]:
    """CPU seconds and rules of pellucid, rows explained together or one at a time."""
    model = pellucid.wrap(case.network, encoding=case.encoding, outputs=("bad", "good"))

    def ask(rows: Any) -> Any:
        return pellucid.explain(model, rows, "anchors", background=case.train, beam=beam)

    ask(case.asked.iloc[:1])  # whatever is learned once about a network
    parts = [case.asked.iloc[[i]] for i in range(len(case.asked))] if one_by_one else [case.asked]
    times, found = [], []
    for _ in range(1 if one_by_one else RUNS):
        began = process_time()
        found = [ask(part) for part in parts]
        times.append(process_time() - began)
    seconds = median(times)
    rules = [_own_rule(case, e, row) for e in found for row in range(len(e))]
    told = [float(p) for e in found for p in e.precision[:, 0]]
    inside = [(float(low), float(high)) for e in found for low, high in zip(e.lower[:, 0], e.upper[:, 0], strict=True)]
    made = sum(e.cost.rows for e in found)
    return {"seconds": seconds, "rules": rules, "told": told, "intervals": inside, "made": made}


def _own_rule(case: Credit, found: Any, row: int) -> Rule:
    rule: Rule = []
    for player in np.flatnonzero(found.members[row, :, 0] > 0).tolist():
        low, high = float(found.above[row, player, 0]), float(found.upto[row, player, 0])
        if np.isnan(low) and np.isnan(high):
            name = found.players.of(row)[player]
            rule.append(
                {"column": player, "equals": float(_codes([found.rows[row][name]], case.categories[player])[0])}
            )
        else:
            ends = {"above": None if np.isnan(low) else low, "upto": None if np.isnan(high) else high}
            rule.append({"column": player, **ends})
    return rule


def bare(case: Credit, rows: int) -> float:
    """CPU seconds of plain passes of as many rows at the best batch."""
    x = torch.from_numpy(case.encoding.encode(case.train))
    best = np.inf
    with torch.no_grad():
        for batch in BATCHES:
            part = x[torch.arange(batch) % len(x)]
            for _ in range(3):
                began, passes = process_time(), 0
                while process_time() - began < 0.05:
                    case.network(part)
                    passes += 1
                best = min(best, (process_time() - began) / passes / batch)
    return best * rows


# Judging -----------------------------------------------------------------------------------


def judge(case: Credit, rules: Sequence[Rule], draws: int, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Precision on fresh draws and coverage of each row's rule, both over the train rows."""
    precision, coverage = [], []
    for row, rule in enumerate(rules):
        rng = np.random.default_rng([seed, row])
        drawn = case.train_codes[rng.integers(len(case.train_codes), size=draws)].copy()
        all_hold = np.ones(len(case.train_codes), dtype=bool)
        for condition in rule:
            column = condition["column"]
            holds = _holds(condition, case.train_codes[:, column])
            all_hold &= holds
            lacking = ~_holds(condition, drawn[:, column])
            values = case.train_codes[holds, column] if holds.any() else case.asked_codes[[row], column]
            drawn[lacking, column] = values[rng.integers(len(values), size=int(lacking.sum()))]
        own = _classes(case, case.asked_codes[[row]])[0]
        precision.append(float((_classes(case, drawn) == own).mean()))
        coverage.append(float(all_hold.mean()))
    return np.array(precision), np.array(coverage)


def _holds(condition: dict[str, Any], values: np.ndarray) -> np.ndarray:
    if "equals" in condition:
        return values == condition["equals"]
    low, high = condition["above"], condition["upto"]
    return (values > (-np.inf if low is None else low)) & (values <= (np.inf if high is None else high))


def _classes(case: Credit, codes: np.ndarray) -> np.ndarray:
    made = np.zeros((len(codes), case.encoding.width), dtype=np.float32)
    for column, (code, known) in enumerate(zip(case.encoding.columns, case.categories, strict=True)):
        at = case.encoding.groups[code.name]
        if code.type == "categorical":
            made[np.arange(len(codes)), at[0] + codes[:, column].astype(int)] = 1.0
        else:
            made[:, at[0]] = codes[:, column] if known else (codes[:, column] - code.center) / code.scale
    with torch.no_grad():
        return case.network(torch.from_numpy(made)).argmax(1).numpy()


# The table ---------------------------------------------------------------------------------


def peers(case: Credit, interpreter: str) -> dict[str, dict[str, Any]]:
    """What the peers say, in an interpreter that has them."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/case.npz", **arrays_for_peers(case))  # pyright: ignore[reportArgumentType]
        script = Path(__file__).with_name("anchors_peers.py")
        done = subprocess.run(
            [interpreter, script, f"{folder}/case.npz"], stdout=subprocess.PIPE, text=True, check=True
        )
    return json.loads(done.stdout.strip().splitlines()[-1])


HEAD = ("by", "CPU s per row", "× ours", "rows made", "precision, measured again", "coverage", "columns", "in interval")


def line(name: str, case: Credit, found: dict[str, Any], draws: int, unit: float) -> tuple[str, ...]:
    precision, coverage = judge(case, found["rules"], draws)
    held = "–"
    if "intervals" in found:
        inside = [low <= p <= high for p, (low, high) in zip(precision, found["intervals"], strict=True)]
        held = f"{sum(inside)} of {len(inside)}"
    each, made = (found[name] / len(found["rules"]) for name in ("seconds", "made"))
    length = np.mean([len({condition["column"] for condition in rule}) for rule in found["rules"]])
    return (
        name, f"{each:.4f}", f"{each / unit:.1f}", f"{made:,.0f}", f"{precision.mean():.4f}", f"{coverage.mean():.4f}",
        f"{length:.2f}", held,
    )  # fmt: skip


def page(lines: Sequence[tuple[str, ...]], facts: Sequence[str]) -> str:
    table = [
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(one) + " |" for one in lines),
    ]
    return "\n".join(["# Anchors beside alibi and anchor-exp", "", *facts, "", *table, ""])


def facts(case: Credit, versions: dict[str, str], asked: int, draws: int, multiples: dict[int, float]) -> list[str]:
    known = ", ".join(f"{name} {number}" for name, number in versions.items())
    times = ", ".join(f"**{multiple:.2f}** for hidden layers of {width}" for width, multiple in multiples.items())
    return [
        f"German credit: {len(case.train)} train rows, {asked} test rows explained; network"
        f" {case.encoding.width} → 64 → 64 → 2, right for {case.accuracy:.1%} of the test rows. Threshold 0.95, δ 0.1,"
        " tolerance 0.15, batches of 100 for all; peers with their own defaults otherwise. Rows together: median of"
        f" {RUNS} runs, all else one run.",
        "",
        f"Precision is measured again on {draws:,} fresh draws of each rule, coverage over the train rows."
        " “In interval”: for how many rows the interval that was stated contains the precision measured again."
        " The peers take a row at a time and ask the same network in numpy, with the rows coded by table look-up;"
        " pellucid asks it in torch.",
        "",
        f"All of pellucid's time ÷ bare passes of the rows it made: {times}; the aim is 5 at most.",
        "",
        f"{date.today().isoformat()}, {platform.machine()}, {os.cpu_count()} cores, one thread; Python"
        f" {platform.python_version()}, {known}.",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="german_credit.csv")
    parser.add_argument("--peers", help="an interpreter that has alibi and anchor-exp")
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--fresh", type=int, default=100_000)
    parser.add_argument("--page", type=Path, help="write the table there")
    asked = parser.parse_args()
    case = credit(asked.rows, asked.data)
    runs: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("pellucid, rows together", lambda: ours(case, 4, False)),
        ("pellucid, one by one", lambda: ours(case, 4, True)),
        ("pellucid, beam 1", lambda: ours(case, 1, False)),
    ]
    found = {name: run() for name, run in runs}
    first = found["pellucid, rows together"]
    versions = {"pellucid": version("pellucid"), "torch": torch.__version__.split("+")[0], "numpy": np.__version__}
    if asked.peers:
        told = peers(case, asked.peers)
        versions |= told.pop("versions")
        found |= told
    unit = first["seconds"] / len(first["rules"])
    lines = [line(name, case, one, asked.fresh, unit) for name, one in found.items()]
    wide = credit(asked.rows, asked.data, WIDE)
    again = ours(wide, 4, False)
    multiples = {64: first["seconds"] / bare(case, first["made"]), WIDE: again["seconds"] / bare(wide, again["made"])}
    text = page(lines, facts(case, versions, len(first["rules"]), asked.fresh, multiples))
    print(text)
    if asked.page:
        asked.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
