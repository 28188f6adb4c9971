"""Opens what was kept: a run's folder as a study."""

from __future__ import annotations

import os
from pathlib import Path

from ..records.study import Study
from ..store.keeping import read_study


def open(path: str | os.PathLike[str]) -> Study:
    """The study in a run's folder. Raises :class:`StoreError` where there is none, or a damaged one."""
    return read_study(Path(path))
