"""How much memory: the peak of a process at 1×, 4× and 16× the steps, coalitions or background rows.

    python benchmarks/memory.py [--write]

Every point is a process of its own (a peak never falls). Flat means: what grows beyond the arrays that are
returned, and one number per evaluation of a shared design, is at most 5 % of the peak at 1×.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from cases import network, rows
from report import machine, versions

import pellucid

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks" / "memory.md"
FACTORS = (1, 4, 16)
ALLOWED = 0.05


@dataclass(frozen=True)
class Growth:
    """A call that is made with more and more of one thing; ``returned`` are the bytes its size alone accounts for."""

    title: str
    call: Callable[[int], Any]
    returned: Callable[[int], int] = lambda _: 0


def _table(count: int, method: str, **settings: Any) -> Any:
    return pellucid.explain(network("mlp"), rows("mlp", count), method, target=0, **settings)


def _image(method: str, **settings: Any) -> Any:
    return pellucid.explain(network("resnet_64"), rows("resnet_64", 1), method, target=0, **settings)


GROWTHS = {
    "steps_table": Growth(
        "integrated gradients, 500 rows, 25 steps × …",
        lambda factor: _table(500, "integrated_gradients", steps=25 * factor),
    ),
    "steps_image": Growth(
        "integrated gradients, one image, 64 steps × …",
        lambda factor: _image("integrated_gradients", steps=64 * factor),
    ),
    "coalitions": Growth(
        "kernel Shapley, 100 rows, 500 coalitions × …",
        lambda factor: _table(100, "kernel_shapley", samples=500 * factor),
        # the design: coalitions (a byte a player), signs and what is solved for them (8 bytes a player and pair)
        lambda factor: 500 * factor * 30 + 250 * factor * 30 * 8 * 2,
    ),
    "background": Growth(
        "kernel Shapley, 10 rows, 500 coalitions, background 6 × …",
        lambda factor: _table(10, "kernel_shapley", samples=500, background=rows("mlp", 6 * factor, seed=3)),
        lambda factor: 6 * factor * 30 * 4,
    ),
    "windows": Growth(
        "occlusion, one image, 64 windows × … (stride 8, 4, 2)",
        lambda factor: _image("occlusion", window=8, stride=round(8 / factor**0.5), players=pellucid.players.Pixels()),
        lambda factor: 64 * factor * 64 * 64,  # who is absent from each window, a byte a pixel
    ),
}


def peak(name: str, factor: int) -> int:
    """Peak bytes of a process that makes one call."""
    done = subprocess.run(
        [sys.executable, __file__, name, str(factor)], capture_output=True, text=True, check=True, env=os.environ
    )
    return int(done.stdout.split()[-1])


def main() -> int:
    """Print a table; 1 where something grows."""
    if len(sys.argv) == 3:
        GROWTHS[sys.argv[1]].call(int(sys.argv[2]))
        unit = 1 if sys.platform == "darwin" else 1024
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
        return 0
    lines = ["| job | " + " | ".join(f"{factor}×, MiB" for factor in FACTORS) + " | growth | met |"]
    lines.append("|---" * (len(FACTORS) + 3) + "|")
    missed = False
    for name, growth in GROWTHS.items():
        peaks = [peak(name, factor) for factor in FACTORS]
        beyond = [p - growth.returned(factor) for p, factor in zip(peaks, FACTORS, strict=True)]
        share = max(beyond) / beyond[0] - 1
        missed |= share > ALLOWED
        shown = " | ".join(f"{p / 2**20:.0f}" for p in peaks)
        lines.append(f"| {growth.title} | {shown} | {share:+.1%} | {'yes' if share <= ALLOWED else 'no'} |")
        print(lines[-1], flush=True)
    if "--write" in sys.argv:
        PAGE.write_text(page(lines), encoding="utf-8")
    return int(missed)


def page(lines: list[str]) -> str:
    """The documentation page: what was measured, on what, and the table."""
    return "\n".join(
        [
            "# Memory",
            "",
            "The peak resident memory of a process that makes one call, at 1×, 4× and 16× the steps, coalitions or "
            "background rows; growth is what lies beyond the arrays returned and one number per evaluation of a shared "
            "design, as a share of the peak at 1×. The bar is 5 %.",
            "",
            f"Measured {date.today().isoformat()} on {machine()}; {versions()}.",
            "",
            *lines,
            "",
            "Made again with `python benchmarks/memory.py --write`.",
            "",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
