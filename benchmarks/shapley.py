"""How accurate per evaluation, and how honest: Shapley estimators of ours beside shap's, shapiq's and captum's.

    python benchmarks/shapley.py [--quick] [--peers DIR] [--cache DIR] [--only KIND …] [--jobs N] [--write]

Games with their truth, and what every estimator answered, are kept in ``--cache``; a run that was broken off goes on
there, and ``--fresh`` forgets the answers. ``--peers`` is where environments for the peers are made (or are found).
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from game_kinds import KINDS, file_of
from shapley_environments import environments
from shapley_large import large
from shapley_ours import DISPATCHER, ways
from shapley_peers import ANSWERS, SLOW
from shapley_play import MULTIPLES, Task
from shapley_tables import Results, page

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "benchmarks" / "shapley.md"


@dataclass(frozen=True)
class Plan:
    """How much is asked: training seeds of a game, and draws of each estimator's chance on each of them."""

    kinds: tuple[str, ...]
    trained: int
    ours: int
    whole: int
    peers: int
    multiples: tuple[int, ...]


FULL = Plan(tuple(KINDS), trained=5, ours=40, whole=2, peers=4, multiples=MULTIPLES)
QUICK = Plan(
    ("tanh_10", "softmax_12", "gelu_16", "sparse_24", "tanh_40"), trained=1, ours=8, whole=1, peers=2,
    multiples=(2, 5, 10, 40),
)  # fmt: skip


def main() -> int:
    """Make the games, let everybody play, print, write."""
    asked = _arguments()
    plan = QUICK if asked.quick else FULL
    kinds = [name for name in plan.kinds if not asked.only or name in asked.only]
    answers = asked.cache / ("quick" if asked.quick else "full")
    if asked.fresh:
        shutil.rmtree(answers, ignore_errors=True)
    with ThreadPoolExecutor(asked.jobs) as pool:
        games = list(pool.map(lambda kind: _made(kind, plan.trained, asked.cache), kinds))
    interpreters = environments(asked.peers) if asked.peers else {}
    work = _work(plan, games, answers, interpreters)
    with ThreadPoolExecutor(asked.jobs) as pool:
        for _ in pool.map(lambda one: _play(*one), work):
            pass
    results = Results.read(answers, kinds, plan.trained)
    text = page(results, KINDS, plan, _versions(interpreters), [] if asked.quick else large(asked.cache, interpreters))
    print(text)
    if asked.write:
        PAGE.write_text(text, encoding="utf-8")
    return 0


def _made(kind: str, trained: int, cache: Path) -> list[Path]:
    """The files of a kind's games; made in an interpreter of its own, so that several are made at once."""
    made = f"[known({kind!r}, seed, Path({str(cache)!r})) for seed in range({trained})]"
    code = f"from pathlib import Path; from game_kinds import known; {made}"
    if not all(file_of(kind, seed, cache).exists() for seed in range(trained)):
        subprocess.run([sys.executable, "-c", code], cwd=HERE, env=_environment(), check=True)
    return [file_of(kind, seed, cache) for seed in range(trained)]


def _work(
    plan: Plan, games: Sequence[list[Path]], answers: Path, interpreters: dict[str, Path]
) -> list[tuple[list[str], list[Task]]]:
    """Commands and their tasks, one for each kind of game and interpreter."""
    draws = {name: plan.whole if way.whole else plan.ours for name, way in ways().items()}
    draws |= {DISPATCHER: max(plan.ours // 4, 1)} if DISPATCHER in draws else {}
    work = [([sys.executable, "shapley_ours.py"], draws)]
    for environment, python in interpreters.items():
        there = [name for name, (home, _) in ANSWERS.items() if home == environment]
        work.append(([str(python), "shapley_peers.py"], {name: 1 if name in SLOW else plan.peers for name in there}))
    return [(command, _tasks(draws, files, answers, plan.multiples)) for files in games for command, draws in work]


def _tasks(draws: dict[str, int], games: Sequence[Path], answers: Path, multiples: tuple[int, ...]) -> list[Task]:
    return [
        Task(name, str(game), str(answers / name.replace(" ", "_") / f"{game.stem}.json"), count, seed, multiples)
        for seed, game in enumerate(games)
        for name, count in draws.items()
    ]


def _play(command: list[str], tasks: list[Task]) -> None:
    left = [asdict(task) for task in tasks if not Path(task.out).exists()]
    if left:
        done = subprocess.run(
            command, cwd=HERE, env=_environment(), input=json.dumps(left), text=True, capture_output=True, check=False
        )
        print(f"{Path(tasks[0].game).stem}: {Path(command[1]).stem}", done.stderr[-800:], file=sys.stderr, flush=True)


def _environment() -> dict[str, str]:
    path = os.pathsep.join([str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"}


def _versions(interpreters: dict[str, Path]) -> dict[str, str]:
    found: dict[str, str] = {}
    for python in interpreters.values():
        told = subprocess.run(
            [python, HERE / "shapley_peers.py", "versions"],
            env=_environment(),
            capture_output=True,
            text=True,
            check=True,
        )
        found |= json.loads(told.stdout)
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few games, few draws: some three minutes")
    parser.add_argument("--only", nargs="*", choices=list(KINDS), help="these kinds of games")
    parser.add_argument("--peers", type=Path, help="folder of the peers' environments, made where it is empty")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "pellucid-shapley")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--fresh", action="store_true", help="forget what estimators answered before")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(HERE.parent)}")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
