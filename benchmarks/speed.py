"""How fast: CPU seconds of whole public calls over the bare cost of the model rows they need, beside other libraries.

    python benchmarks/speed.py [--only NAME …] [--runs 7] [--peers PYTHON] [--write]

Run it pinned to one core (``taskset -c 1``) where the machine is shared. ``--peers`` is an interpreter that has
captum, shap and lime and the same PyTorch; without it their column says so.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from cases import NETWORKS, save_weights
from clock import Measured, best_batch, measure, row_cost
from jobs import Job, jobs
from report import Line, page, table

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks" / "speed.md"


def main(known: dict[str, Job], target: Path, title: str, script: str, others: str) -> int:
    """Measure the ``known`` jobs, print, write the page ``target``; 1 where a bar is missed.

    ``others`` is the script that measures the same jobs by other libraries.
    """
    asked = _arguments(known, target)
    chosen = [job for name, job in known.items() if not asked.only or name in asked.only]
    peers = _peers(asked.peers, others, [job.name for job in chosen], asked.runs)
    lines = []
    for job in chosen:
        found = measure(job.prepare(), job.unit, job.needed, asked.runs)
        lines.append(_line(job, found, peers))
        print(table(lines[-1:], head=len(lines) == 1), flush=True)
    units = [(job.unit, best_batch(job.unit), row_cost(job.unit, 0.2)) for job in chosen]
    if asked.write:
        target.parent.mkdir(parents=True, exist_ok=True)
        written = page(title, script, lines, list(dict.fromkeys(units)), peers, asked.runs)
        target.write_text(written, encoding="utf-8")
    return int(any(line.met == "no" for line in lines))


def _line(job: Job, found: Measured, peers: dict) -> Line:
    ratio = found.after(job.granted)
    met = "" if job.bar is None else ("yes" if ratio <= job.bar else "no")
    others = peers.get("ratios", {}).get(job.name)
    return Line(
        job.title,
        NETWORKS[job.unit.network].title,
        ratio,
        (min(found.ratios), max(found.ratios)),
        job.bar,
        job.granted,
        met,
        found.bare,
        found.first,
        others if peers else {"": "not installed"},
    )


def _peers(interpreter: str | None, script: str, names: list[str], runs: int) -> dict:
    """What other libraries need for the same jobs, measured in their own interpreter; empty without one."""
    if interpreter is None:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        save_weights(Path(folder))
        path = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
        done = subprocess.run(
            [interpreter, str(HERE / script), folder, str(min(runs, 3)), *names],
            env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return {}
    return json.loads(done.stdout.splitlines()[-1])


def _arguments(known: dict[str, Job], target: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=list(known), help="these jobs")
    parser.add_argument("--runs", type=int, default=7, help="interleaved runs of each job; the median is taken")
    parser.add_argument("--peers", help="a Python interpreter that has the other libraries")
    parser.add_argument("--write", action="store_true", help=f"write {target.relative_to(HERE.parent)}")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main(jobs(), PAGE, "Speed", "speed.py", "peers.py"))
