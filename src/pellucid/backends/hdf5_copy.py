"""Copies what is plain in an HDF5 file: groups, arrays of numbers, texts. Run as a program of its own, by its path.

HDF5 can point out of the file (external links, external storage, virtual datasets), name one thing under many paths,
and claim arrays far larger than what lies on disk; and the library that reads it can be made to hang or break by a
single damaged byte. So nothing else of this package opens such a file: this program does, under limits of time and
memory, and what it writes anew is all that anyone reads. It imports nothing of the package, to start at once.
"""

from __future__ import annotations

import json
import sys
from math import prod
from pathlib import Path
from typing import Any

SMALL, ATTRIBUTE_MOST = 2**20, 64 * 2**20
"""Bytes: below the first an array may be compressed as well as it likes; the second is the most of one attribute."""


class Refused(Exception):
    """A file that is not plain: what, and why."""


class Copying:
    """One copy: what was met so far, and what may be met."""

    def __init__(self, members: int, total: int, ratio: int):
        self.members, self.total, self.ratio = members, total, ratio
        self.objects = self.size = self.numbers = 0

    def copy(self, source: Any, target: Any) -> None:
        """Every group and array once, without recursion."""
        import h5py

        waiting, met = [("", source, target)], set()
        while waiting:
            path, group, made = waiting.pop()
            address = h5py.h5o.get_info(group.id).addr  # pyright: ignore[reportAttributeAccessIssue]  compiled
            if address in met:
                raise Refused(f"{path or '/'} is one thing under two names")
            met.add(address)
            self.attributes(path, group, made)
            for name in group:
                self.objects += 1
                inner = f"{path}/{name}"
                if self.objects > self.members:
                    raise Refused(f"it holds more than {self.members} objects")
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise Refused(f"{inner} is a link to another place")
                found = group[name]
                if isinstance(found, h5py.Group):
                    waiting.append((inner, found, made.create_group(name)))
                elif isinstance(found, h5py.Dataset):
                    self.array(inner, found, made, name)
                else:
                    raise Refused(f"{inner} is a {type(found).__name__}")

    def array(self, path: str, found: Any, made: Any, name: str) -> None:
        if found.dtype.kind not in "iufbSV" or (found.dtype.kind == "V" and found.dtype.names is not None):
            raise Refused(f"{path} holds {found.dtype}, not numbers")
        if found.is_virtual or found.external:
            raise Refused(f"{path} lies in another file")
        stored = found.id.get_storage_size()
        if found.nbytes > SMALL and found.nbytes > self.ratio * stored:
            raise Refused(f"{path} would unpack to {found.nbytes} bytes from {stored}")
        self.size += found.nbytes
        self.numbers += found.size
        if self.size > self.total:
            raise Refused(f"it would unpack to more than {self.total} bytes")
        self.attributes(path, found, made.create_dataset(name, data=found[()]))

    def attributes(self, path: str, found: Any, made: Any) -> None:
        from h5py import check_string_dtype

        for name in found.attrs:
            described = found.attrs.get_id(name)
            if prod(described.shape or ()) * described.dtype.itemsize > ATTRIBUTE_MOST:
                raise Refused(f"{path or '/'} has an attribute that is too large: {name[:60]!r}")
            if described.dtype.kind not in "iufbS" and check_string_dtype(described.dtype) is None:
                raise Refused(f"{path or '/'} has an attribute that is no text: {name[:60]!r}")
            value = found.attrs[name]
            if not isinstance(value, type(None)) and type(value).__name__ != "Empty":
                made.attrs[name] = value


def copied(source: str, target: str, members: int, total: int, ratio: int) -> dict[str, Any]:
    """Copy ``source`` to ``target``; the count of numbers in it, or what was wrong with it."""
    import h5py

    copying = Copying(members, total, ratio)
    try:
        with h5py.File(source, "r") as one, h5py.File(target, "w") as other:
            copying.copy(one, other)
    except Refused as refused:
        return {"refused": str(refused)}
    except MemoryError:
        return {"damaged": "reading them takes more memory than their size allows"}
    except Exception as error:  # noqa: BLE001  the library raises many kinds for bytes that it cannot read
        return {"damaged": str(error).strip().split("\n")[0] or type(error).__name__}
    return {"numbers": copying.numbers}


def limited(memory: int, seconds: int) -> None:
    """Bound this process, where the system can."""
    try:
        import resource
    except ImportError:  # a system without such limits still has the limit of time from outside
        return
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    limited(given.pop("memory"), given.pop("seconds"))
    told = Path(given.pop("told"))
    told.write_text(json.dumps(copied(**given)), encoding="utf-8")
