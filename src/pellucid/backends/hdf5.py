"""HDF5 files without trusting them: read by a program of its own, under limits, which copies what is plain."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from ..records.errors import LoadError, shorten
from .archive import Limits

COPIER = Path(__file__).with_name("hdf5_copy.py")
SECONDS, BYTES_A_SECOND = 10, 20 * 2**20
"""The time that reading may take: so much, and as much again for every so many bytes."""
MEMORY = 2**30


def copy_plain(source: Path, target: Path, where: str, limits: Limits | None = None) -> int:
    """Copy groups, arrays of numbers and texts from ``source`` to ``target``; how many numbers there were.

    ``where`` names the file in messages. Raises :class:`LoadError` for anything else in it, for damaged data, for
    data that claim more than the file can hold, and where reading them takes too long.
    """
    if find_spec("h5py") is None:
        raise LoadError("reading HDF5 needs h5py", fix="pip install 'pellucid[keras]'")
    limits = limits or Limits()
    size, told = source.stat().st_size, target.with_suffix(".told")
    seconds = SECONDS + size // BYTES_A_SECOND
    asked = {
        "source": str(source), "target": str(target), "told": str(told), "memory": MEMORY + 4 * size,
        "seconds": seconds, **vars(limits),
    }  # fmt: skip
    try:
        # -P: the folder of the program is no place to import from
        subprocess.run([sys.executable, "-P", str(COPIER), json.dumps(asked)], timeout=2 * seconds, capture_output=True)
    except subprocess.TimeoutExpired as error:
        raise _damaged(where, f"reading them did not end within {2 * seconds} seconds") from error
    if not told.exists():
        raise _damaged(where, "the HDF5 library broke down on them, or did not end")
    found = json.loads(told.read_bytes())
    if "refused" in found:
        why = "weights are plain arrays in one file"
        raise LoadError(f"the HDF5 data are refused: {shorten(found['refused'], 200)}", where=where, why=why)
    if "damaged" in found:
        raise _damaged(where, shorten(found["damaged"], 200))
    return int(found["numbers"])


def _damaged(where: str, why: str) -> LoadError:
    return LoadError("the HDF5 data are damaged", where=where, why=why, fix="get the file anew from where it came")
