"""Reading zip archives (such as ``.pt2`` and ``.pt`` files) without trusting them.

Nothing is ever unpacked to disk. The whole directory is checked before a single member is
read, and every limit is checked against what the archive *claims* before memory is spent, then
against what really comes out. Two readings of one archive are the root of most tricks with zip
files, so whatever the local header and the central directory say twice must agree, members may
not overlap, and no byte may stand before the first member or after the end record.

Format: PKWARE APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.9 (data descriptor), 4.3.12
(central directory), 4.3.14 to 4.3.16 (end records).
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, NoReturn

from ..records.errors import LoadError, shorten

LOCAL, CENTRAL, END = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
END64, LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
LOCAL_HEADER = struct.Struct("<4sHHHHHIIIHH")
CENTRAL_HEADER = struct.Struct("<4sHHHHHHIIIHHHHHII")
END_RECORD = struct.Struct("<4sHHHHIIH")
END64_RECORD = struct.Struct("<4sQHHIIQQQQ")
END64_LOCATOR = struct.Struct("<4sIQI")

STORED, DEFLATED = 0, 8
ENCRYPTED, DESCRIPTOR, PATCHED, STRONG, MASKED = 1, 1 << 3, 1 << 5, 1 << 6, 1 << 13
SMALL = 2**20  # a member below this size may be compressed as well as it likes
LARGEST_DIRECTORY = 64 * 2**20


@dataclass(frozen=True)
class Limits:
    """What an archive may cost: members, bytes in all after decompression, bytes out per byte in."""

    members: int = 10_000
    total: int = 8 * 2**30
    ratio: int = 200


@dataclass(frozen=True)
class Member:
    """One file in the archive, as the central directory describes it; ``start`` is its first data byte."""

    name: str
    size: int
    packed: int
    method: int
    flags: int
    crc: int
    header: int
    start: int = 0


class Archive:
    """An open archive whose directory has been checked. Use it as a context manager.

    ``members`` maps names to :class:`Member` in the order of the file; :meth:`read` returns the
    bytes of one, CRC checked.
    """

    def __init__(self, file: BinaryIO, name: str, limits: Limits):
        self._file, self.name, self.limits = file, name, limits
        self.size = file.seek(0, os.SEEK_END)
        members = _directory(self)
        self.members: Mapping[str, Member] = MappingProxyType({member.name: member for member in members})

    def __enter__(self) -> Archive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __contains__(self, name: object) -> bool:
        return name in self.members

    def read(self, name: str) -> bytes:
        """The bytes of member ``name``.

        Raises :class:`LoadError` when it is missing or damaged; the offset is in ``where``.
        """
        member = self.members.get(name)
        if member is None:
            raise LoadError(f"the archive has no member {shorten(name)!r}", where=self.name)
        data = self.at(member.start, member.packed)
        if member.method == DEFLATED:
            data = self._inflated(member, data)
        if len(data) != member.size or zlib.crc32(data) != member.crc:
            self.refuse(f"member {shorten(name)!r} is damaged", member.start, "its checksum does not match its bytes")
        return data

    def verify(self) -> None:
        """Read every member once, so that a damaged one is found before the file is used."""
        for name in self.members:
            self.read(name)

    def at(self, offset: int, count: int) -> bytes:
        """``count`` bytes from ``offset``, all of them or an error."""
        if offset < 0 or count < 0 or offset + count > self.size:
            self.refuse("the archive is cut short or damaged", max(0, min(offset, self.size)))
        self._file.seek(offset)
        data = self._file.read(count)
        if len(data) != count:
            self.refuse("the archive changed while it was read", offset)
        return data

    def refuse(self, what: str, offset: int, why: str = "") -> NoReturn:
        """Raise the error that names this file and ``offset``."""
        raise LoadError(what, where=f"{self.name}:byte {offset}", why=why, fix="get the file anew from where it came")

    def _inflated(self, member: Member, data: bytes) -> bytes:
        engine = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            # One byte more than promised is asked for, so that a member that lies about its size is seen.
            out = engine.decompress(data, member.size + 1)
        except zlib.error as error:
            self.refuse(f"member {shorten(member.name)!r} is damaged", member.start, str(error))
        if len(out) != member.size or not engine.eof or engine.unused_data:
            self.refuse(f"member {shorten(member.name)!r} does not have the size it claims", member.start)
        return out


def open_archive(source: str | os.PathLike[str] | bytes, limits: Limits | None = None) -> Archive:
    """Open a zip archive from a path, or from bytes in memory, and check its whole directory.

    Raises :class:`LoadError` that names the file and, where known, the offset of the fault.
    """
    if isinstance(source, bytes):
        return Archive(io.BytesIO(source), "bytes in memory", limits or Limits())
    try:
        file = Path(source).open("rb")  # noqa: SIM115  it is closed by the archive, or below
    except OSError as error:
        raise LoadError("could not open the file", where=str(source), why=str(error.strerror or error)) from error
    try:
        return Archive(file, str(source), limits or Limits())
    except BaseException:
        file.close()
        raise


def zipped(parts: Mapping[str, bytes]) -> bytes:
    """A zip archive of ``parts`` in memory, the same bytes every time: what a stranger's reader is given of one."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as file:
        for name, content in parts.items():
            file.writestr(zipfile.ZipInfo(name), content)
    return buffer.getvalue()


def _directory(archive: Archive) -> list[Member]:
    """Every member of the archive, checked; in the order in which they lie in the file."""
    count, size, start, stop = _end(archive)
    limits = archive.limits
    if count > limits.members:
        archive.refuse(f"the archive holds {count} members; at most {limits.members} are read", stop)
    if start + size != stop or not count * CENTRAL_HEADER.size <= size <= LARGEST_DIRECTORY:
        archive.refuse("the archive's directory is not where its end record says", start)
    table, place, members, names = archive.at(start, size), 0, [], set()
    for _ in range(count):
        member, place = _entry(archive, table, place, start)
        if member.name.casefold() in names:
            archive.refuse(f"two members are named {shorten(member.name)!r}", start + place)
        names.add(member.name.casefold())
        members.append(member)
    if place != size:
        archive.refuse("the archive's directory holds more than it counts", start + place)
    total = sum(member.size for member in members)
    if total > limits.total:
        archive.refuse(f"the archive would unpack to {total} bytes; at most {limits.total} are read", start)
    return _placed(archive, members, start)


def _end(archive: Archive) -> tuple[int, int, int, int]:
    """Count of members, bytes of the directory, its first byte, and the byte where it must stop."""
    if archive.at(0, min(4, archive.size)) not in (LOCAL, END):
        archive.refuse("the file is not a zip archive", 0, "it does not begin with the bytes PK")
    stop = archive.size - END_RECORD.size
    tail = archive.at(stop, END_RECORD.size) if stop >= 0 else b""
    if tail[:4] != END:
        archive.refuse("the archive has no end record", max(stop, 0), "it is cut short, or bytes were added at its end")
    _, disk, first, here, count, size, start, comment = END_RECORD.unpack(tail)
    if comment:
        archive.refuse("the archive ends in a comment that is not there", stop)
    if 0xFFFF in (disk, first, here, count) or 0xFFFFFFFF in (size, start) or _has_locator(archive, stop):
        return _end64(archive, stop)
    if disk or first or here != count:
        archive.refuse("the archive is one part of several", stop)
    return count, size, start, stop


def _has_locator(archive: Archive, stop: int) -> bool:
    place = stop - END64_LOCATOR.size
    return place >= 0 and archive.at(place, 4) == LOCATOR64


def _end64(archive: Archive, stop: int) -> tuple[int, int, int, int]:
    """The same as :func:`_end`, from the zip64 records that large archives have."""
    place = stop - END64_LOCATOR.size
    magic, disk, where, disks = END64_LOCATOR.unpack(archive.at(place, END64_LOCATOR.size))
    if magic != LOCATOR64 or disk or disks != 1 or where + END64_RECORD.size != place:
        archive.refuse("the archive's zip64 locator is damaged", max(place, 0))
    magic, length, _, _, disk, first, here, count, size, start = END64_RECORD.unpack(
        archive.at(where, END64_RECORD.size)
    )
    if magic != END64 or length != END64_RECORD.size - 12 or disk or first or here != count:
        archive.refuse("the archive's zip64 end record is damaged", where)
    return count, size, start, where


def _entry(archive: Archive, table: bytes, place: int, start: int) -> tuple[Member, int]:
    """The member described at ``place`` of the central directory, and where the next one begins."""
    if place + CENTRAL_HEADER.size > len(table):
        archive.refuse("the archive's directory is cut short", start + place)
    (magic, _, _, flags, method, _, _, crc, packed, size, named, extras, comment, disk, _, outside, header) = (
        CENTRAL_HEADER.unpack_from(table, place)
    )
    body = place + CENTRAL_HEADER.size
    following = body + named + extras + comment
    if magic != CENTRAL or following > len(table):
        archive.refuse("the archive's directory is damaged", start + place)
    name = _name(archive, table[body : body + named], start + place)
    size, packed, header, disk = _wide(
        archive, table[body + named : body + named + extras], (size, packed, header, disk), start + place
    )
    member = Member(name, size, packed, method, flags, crc, header)
    _check(archive, member, outside >> 16, disk, start + place)
    return member, following


def _wide(archive: Archive, extra: bytes, values: tuple[int, ...], offset: int) -> list[int]:
    """The 64-bit values that replace those which are all ones, in the order that the format fixes."""
    out, place = list(values), 0
    while place + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, place)
        field = extra[place + 4 : place + 4 + length]
        place += 4 + length
        if tag != 1:
            continue
        for index, (value, mask, width) in enumerate(
            zip(values, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFF), (8, 8, 8, 4), strict=True)
        ):
            if value == mask:
                if len(field) < width:
                    archive.refuse("a zip64 field is cut short", offset)
                out[index], field = int.from_bytes(field[:width], "little"), field[width:]
    return out


def _name(archive: Archive, raw: bytes, offset: int) -> str:
    """A member's name, if it could name nothing outside a folder on any system."""
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        archive.refuse("a member's name is not UTF-8", offset)
    parts = name.removesuffix("/").split("/")
    if not name.isprintable() or "\\" in name or name[1:2] == ":" or any(part in ("", ".", "..") for part in parts):
        archive.refuse(f"a member's name could lead out of its folder: {shorten(name)!r}", offset)
    return name


def _check(archive: Archive, member: Member, mode: int, disk: int, offset: int) -> None:
    """Refuse a member that is a link, encrypted, in an unknown compression, or a bomb."""
    name, limits = shorten(member.name), archive.limits
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
        archive.refuse(f"member {name!r} is a link or a device, not a file", offset)
    if disk or member.flags & (ENCRYPTED | PATCHED | STRONG | MASKED):
        archive.refuse(f"member {name!r} is encrypted or in another part", offset)
    if member.method not in (STORED, DEFLATED):
        archive.refuse(f"member {name!r} is compressed in a way (number {member.method}) that is not read", offset)
    if member.method == STORED and member.size != member.packed:
        archive.refuse(f"member {name!r} has two sizes", offset)
    if member.name.endswith("/") and member.size:
        archive.refuse(f"member {name!r} is a folder with content", offset)
    if member.size > SMALL and member.size > limits.ratio * member.packed:
        archive.refuse(f"member {name!r} would unpack to more than {limits.ratio} times its size", offset)


def _placed(archive: Archive, members: list[Member], stop: int) -> list[Member]:
    """The members with the place of their data; local headers agree and nothing overlaps."""
    placed, free = [], 0
    for member in sorted(members, key=lambda one: one.header):
        if member.header < free or (not placed and member.header):
            archive.refuse(f"member {shorten(member.name)!r} overlaps another or follows hidden bytes", member.header)
        start = _local(archive, member)
        free = start + member.packed
        if free > stop:
            archive.refuse(f"member {shorten(member.name)!r} runs into the directory", member.header)
        placed.append(replace(member, start=start))
    return placed


def _local(archive: Archive, member: Member) -> int:
    """The first data byte of a member, once its local header says what the directory says."""
    (magic, _, flags, method, _, _, crc, packed, size, named, extras) = LOCAL_HEADER.unpack(
        archive.at(member.header, LOCAL_HEADER.size)
    )
    body = member.header + LOCAL_HEADER.size
    head = archive.at(body, named + extras)
    wide = _wide(archive, head[named:], (size, packed, 0, 0), member.header)
    told = (crc, wide[1], wide[0])
    later = bool(flags & DESCRIPTOR)  # then the three numbers follow the data, and stand here as zeros
    if (
        magic != LOCAL
        or head[:named] != member.name.encode("utf-8")
        or (flags, method) != (member.flags, member.method)
        or (told != (member.crc, member.packed, member.size) and not (later and not any((crc, packed, size))))
    ):
        archive.refuse(f"member {shorten(member.name)!r} is described in two different ways", member.header)
    return body + named + extras
