"""The benchmark's table, in the terminal and as a page of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Line:
    """One job's result."""

    title: str
    network: str
    ratio: float
    span: tuple[float, float]
    bar: float | None
    granted: float
    met: str
    bare: float
    first: float
    peers: Mapping[str, Any] | None


HEAD = ("job", "network", "÷ bare", "runs", "bar", "met", "bare", "first call", "others ÷ bare")


def cells(line: Line) -> tuple[str, ...]:
    """A line as text."""
    bar = "reported" if line.bar is None else f"{line.bar:g}"
    if line.granted:
        bar += f" + {line.granted * 1e3:g} ms"
    spans = f"{line.span[0]:.2f}–{line.span[1]:.2f}"
    others = ", ".join(_other(name, value) for name, value in (line.peers or {}).items()) or "–"
    ratio = f"{line.ratio:.2f}"
    return (line.title, line.network, ratio, spans, bar, line.met, _time(line.bare), _time(line.first), others)


def _other(name: str, value: Any) -> str:
    return f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}".strip()


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def table(lines: Sequence[Line], *, head: bool = True) -> str:
    """The lines as a Markdown table."""
    rows = [cells(line) for line in lines]
    top = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)] if head else []
    return "\n".join([*top, *("| " + " | ".join(row) + " |" for row in rows)])


def page(
    title: str,
    script: str,
    lines: Sequence[Line],
    units: Sequence[tuple[Any, int, float]],
    peers: Mapping[str, Any],
    runs: int,
) -> str:
    """The documentation page: how it was measured, on what, and the tables."""
    kinds = {False: "forward", True: "forward and backward"}
    bare = [
        f"| {unit.network} | {kinds[unit.backward]} | {batch} | {cost * 1e6:.3g} |"
        for (unit, batch), cost in {(unit, batch): cost for unit, batch, cost in units}.items()
    ]
    found = peers.get("versions", {})
    others = ", ".join(f"{name} {number}" for name, number in found.items()) or "not installed"
    return "\n".join(
        [
            f"# {title}",
            "",
            "CPU seconds of a whole public call (wrapping, hashing, binding and sealing included) on one thread, "
            "divided by the bare cost of the model rows it needs, at the best batch of a sweep, timed in the same "
            f"process just before and after. Median of {runs} interleaved runs after one unmeasured call; repeats of "
            "one figure differ by a factor of about 1.2, so 0.9–1.15 reads as “at the limit”. "
            "“First call” is that unmeasured call in an otherwise warm process: it also learns the batch size, "
            "imports what it needs and makes the designs.",
            "",
            f"Measured {date.today().isoformat()} on {machine()}; {versions()}. Others: {others}.",
            "",
            table(lines),
            "",
            "The unit:",
            "",
            "| network | pass | best batch | µs a row |",
            "|---|---|---|---|",
            *bare,
            "",
            f"Made again with `python benchmarks/{script} --write` (`--peers PYTHON` for the last column).",
            "",
        ]
    )


def machine() -> str:
    """Cores and memory, in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"a {platform.machine()} machine with {os.cpu_count()} cores and {memory:.0f} GiB of memory, one core used"


def versions() -> str:
    names = ("pellucid", "torch", "numpy")
    return ", ".join([f"Python {platform.python_version()}", *(f"{name} {version(name)}" for name in names)])
