"""Which published architectures can be walked back, how exactly, and how long it takes to get ready.

python benchmarks/architectures.py [--write]
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import torch

import pellucid
from pellucid.records.errors import NotApplicable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from architectures import ARCHITECTURES  # noqa: E402

PAGE = HERE.parent / "docs" / "benchmarks" / "architectures.md"
HEAD = """# Architectures that can be walked back

DeepLIFT on narrow copies of published architectures (`tests/architectures.py`), written as their usual implementations
are. The gap is |Σφ − (f(x) − f(x′))| relative to Σ|φ|, the largest of two rows. *Ready* are the seconds of the first
call for a network, in which it is followed and its walk recorded; later calls take none of them.

| architecture | gap, float64 | gap, float32 | ready, s |
|---|---|---|---|
"""


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--write", action="store_true", help=f"write {PAGE.name}")
    given = asked.parse_args()
    lines, refused = [], 0
    for name in ARCHITECTURES:
        line = _line(name)
        refused += "refused" in line
        lines.append(line)
        print(line, flush=True)
    total = f"\n{refused} of {len(lines)} refused ({refused / len(lines):.0%})."
    print(total)
    if given.write:
        made = f"\n{date.today().isoformat()}, PyTorch {torch.__version__}, one thread"
        made += "; `python benchmarks/architectures.py --write`.\n"
        PAGE.write_text(HEAD + "\n".join(lines) + "\n" + total + "\n" + made, encoding="utf-8")
    return 0


def _line(name: str) -> str:
    gaps, seconds = [], 0.0
    for dtype in (torch.float64, torch.float32):
        model, rows = ARCHITECTURES[name]()
        model, rows = model.to(dtype), rows.to(dtype)
        began = time.perf_counter()
        try:
            e = pellucid.explain(model, rows[:2], "deeplift", background=rows[2:])
        except NotApplicable as error:
            return f"| {name} | refused: {error.what} | | |"
        seconds = time.perf_counter() - began
        gaps.append(float(np.nanmax(e.gap)))
    return f"| {name} | {gaps[0]:.0e} | {gaps[1]:.0e} | {seconds:.1f} |"


if __name__ == "__main__":
    sys.exit(main())
