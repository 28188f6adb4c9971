"""Opening an NPZ archive of arrays that nobody vouches for: bounded, and never a pickle."""

from __future__ import annotations

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from ..records.errors import InputError, shorten

MOST_MEMBERS = 10**4
LARGEST_TOTAL = 4 * 2**30
HIGHEST_RATIO = 200
RATIO_FROM = 64 * 2**20  # below this an archive of blank images may be squeezed as hard as it likes


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of an NPZ file.

    Every size is compared before memory is asked for: members, unpacked bytes, packing ratio, and
    the shape in an array's header with the bytes behind it. Raises InputError, with the file and
    its size, for what is truncated, damaged, too large or holds Python objects.
    """
    size = path.stat().st_size
    if size == 0:
        raise InputError("the file is empty", where=path.name)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            _check_sizes(members, path)
            return {member.filename.removesuffix(".npy"): _array(archive, member, path) for member in members}
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise InputError(
            f"the archive ({size:,} bytes) is truncated or damaged", where=path.name, why=shorten(error, 200)
        ) from error


def _check_sizes(members: list[zipfile.ZipInfo], path: Path) -> None:
    if len(members) > MOST_MEMBERS:
        raise InputError(
            f"the archive has {len(members):,} members; at most {MOST_MEMBERS:,} are read", where=path.name
        )
    total = sum(member.file_size for member in members)
    if total > LARGEST_TOTAL:
        raise InputError(f"the archive unpacks to {total:,} bytes; at most {LARGEST_TOTAL:,} are read", where=path.name)
    packed = max(sum(member.compress_size for member in members), 1)
    if total > RATIO_FROM and total > HIGHEST_RATIO * packed:
        raise InputError(
            f"the archive unpacks to {total // packed} times its size; at most {HIGHEST_RATIO} is read",
            where=path.name,
            why="it looks like a decompression bomb",
        )
    names = [member.filename for member in members]
    if len(set(names)) < len(names):
        raise InputError("two members of the archive have one name", where=path.name)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> np.ndarray:
    where = f"{path.name}:{shorten(member.filename)}"
    if not member.filename.endswith(".npy"):
        raise InputError("the member is not an array", where=where, fix="write the archive with numpy.savez")
    with archive.open(member) as file:
        shape, dtype = _header(file)
        if dtype.hasobject:
            raise InputError(
                "the array holds Python objects, which only a pickle could keep",
                where=where,
                fix="store texts as fixed-width strings (dtype 'U') and numbers as numbers",
            )
        expected, found = math.prod(shape) * dtype.itemsize, member.file_size - file.tell()
        if expected != found:
            raise InputError(f"the array should have {expected:,} bytes and has {found:,}", where=where)
    with archive.open(member) as file:
        return npy.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
