"""Opens what was kept: a run's folder as a study."""

from __future__ import annotations

import os
from pathlib import Path

from ..records.study import Study
from ..store.keeping import read_study


def open(path: str | os.PathLike[str]) -> Study:
    """The study in a run's folder. Raises :class:`StoreError` where there is none, or a damaged one."""
    return read_study(Path(path))


def runs_in(path: str | os.PathLike[str]) -> list[Path]:
    """The folder itself where it is a run, else the runs right below it, by name."""
    root = Path(path)
    if (root / "question.json").exists() or not root.is_dir():
        return [root]
    return sorted(folder for folder in root.iterdir() if (folder / "question.json").exists()) or [root]


def open_all(path: str | os.PathLike[str]) -> list[Study]:
    """The study in a run's folder, or all of those in a folder of runs. Raises :class:`StoreError` as ``open`` does."""
    return [open(run) for run in runs_in(path)]
