"""The archive reader: what it reads is what was written, and no trick with zip files gets past it."""

from __future__ import annotations

import io
import struct
import time
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from pellucid.backends.archive import Limits, open_archive
from pellucid.records.errors import LoadError

CONTENT = {"net/a.json": b'{"x": 1}' * 40, "net/data/b": bytes(range(256)) * 8, "net/empty": b""}


def packed(content: dict[str, bytes] | None = None, method: int = zipfile.ZIP_DEFLATED, **changes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, data in (CONTENT if content is None else content).items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            for key, value in changes.items():
                setattr(entry, key, value)
            file.writestr(entry, data)
    return buffer.getvalue()


def patched(data: bytes, place: int, new: bytes) -> bytes:
    return data[:place] + new + data[place + len(new) :]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_come_back_as_they_were(tmp_path, method):
    path = tmp_path / "größe.zip"
    path.write_bytes(packed(method=method))
    with open_archive(path) as archive:
        assert {name: archive.read(name) for name in archive.members} == CONTENT
        archive.verify()
        with pytest.raises(LoadError, match="no member"):
            archive.read("other")


def test_streamed_and_large_format_archives_are_read():
    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as file:  # sizes follow the data in descriptors
        for name, data in CONTENT.items():
            file.writestr(name, data)
    assert open_archive(pipe.getvalue()).read("net/data/b") == CONTENT["net/data/b"]
    wide = io.BytesIO()
    with zipfile.ZipFile(wide, "w") as file, file.open(zipfile.ZipInfo("net/x"), "w", force_zip64=True) as member:
        member.write(b"zip64")
    assert open_archive(wide.getvalue()).read("net/x") == b"zip64"


def test_a_flipped_bit_anywhere_is_an_error_or_harmless():
    data = packed()
    for place in range(len(data)):
        broken = patched(data, place, bytes([data[place] ^ (1 << place % 8)]))
        try:
            with open_archive(broken) as archive:
                found = {name: archive.read(name) for name in archive.members}
        except LoadError as error:
            assert "bytes in memory" in str(error)
        else:
            assert list(found.values()) == list(CONTENT.values())


def test_a_cut_anywhere_is_an_error():
    data = packed()
    for length in range(len(data)):
        with pytest.raises(LoadError):
            open_archive(data[:length])


@pytest.mark.parametrize("content", [b"", b"PK", b"GIF89a" + bytes(99), bytes(5000), b"PK\x03\x04" * 999])
def test_other_files_are_refused_with_the_offset(content):
    with pytest.raises(LoadError, match="byte"):
        open_archive(content)


@pytest.mark.parametrize(
    "name",
    [
        "/etc/passwd",
        "../x",
        "a/../../x",
        "a/./b",
        "a//b",
        "..\\x",
        "C:/x",
        "C:x",
        "a\x00b",
        "a\nb",
        "..",
        "a\u202eb",
        "",
    ],
)
def test_names_that_lead_away_are_refused(name):
    marker = "m" * max(len(name.encode()), 1)
    data = packed({marker: b"x"}) if name else packed({"m": b"x"})
    if name:
        data = data.replace(marker.encode(), name.encode())
    else:
        place = data.rfind(b"PK\x01\x02")
        data = patched(data, place + 28, struct.pack("<H", 0))
    with pytest.raises(LoadError):
        open_archive(data)


def test_links_are_refused():
    with pytest.raises(LoadError, match="link"):
        open_archive(packed({"a": b"/etc/passwd"}, external_attr=0o120777 << 16, create_system=3))


def test_two_members_of_one_name_are_refused():
    data = packed({"net/a": b"1", "net/b": b"2"}).replace(b"net/b", b"net/A")
    with pytest.raises(LoadError, match="two members"):
        open_archive(data)


def test_headers_that_disagree_are_refused():
    data = packed({"net/a": b"payload" * 9}, zipfile.ZIP_STORED)
    for place in (6, 8, 14, 18, 22, 30):  # flags, method, crc, sizes and name in the local header
        with pytest.raises(LoadError):
            open_archive(patched(data, place, bytes([data[place] ^ 1])))
    central = data.rfind(b"PK\x01\x02")
    both = patched(patched(data, 6, b"\x01\x00"), central + 8, b"\x01\x00")
    with pytest.raises(LoadError, match="encrypted"):
        open_archive(both)


def test_overlapping_members_and_hidden_bytes_are_refused():
    data = packed({"net/a": b"1" * 50, "net/b": b"1" * 50}, zipfile.ZIP_STORED)
    central = data.rfind(b"PK\x01\x02")
    same_place = patched(data, central + 42, struct.pack("<I", 0)).replace(b"net/b", b"net/a", 1)
    with pytest.raises(LoadError):
        open_archive(same_place)
    with pytest.raises(LoadError):
        open_archive(b"#!/bin/sh\n" + data)
    with pytest.raises(LoadError):
        open_archive(data + b"more")


def test_bombs_are_refused_before_they_unpack():
    tracemalloc.start()
    begun = time.perf_counter()
    bomb = packed({"a": bytes(30 * 2**20)})
    tracemalloc.reset_peak()
    with pytest.raises(LoadError, match="200 times"):
        open_archive(bomb)
    with pytest.raises(LoadError, match="at most 1000"):
        open_archive(packed({"a": bytes(999), "b": bytes(999)}), Limits(total=1000))
    with pytest.raises(LoadError, match="at most 3"):
        open_archive(packed({str(i): b"" for i in range(4)}), Limits(members=3))
    assert tracemalloc.get_traced_memory()[1] < 2**21 and time.perf_counter() - begun < 5
    tracemalloc.stop()


def test_a_member_that_lies_about_its_size_does_not_unpack_further():
    squeezed = zlib.compressobj(wbits=-15)
    body = squeezed.compress(bytes(50 * 2**20)) + squeezed.flush()
    data = packed({"net/a": body}, zipfile.ZIP_STORED)
    central = data.rfind(b"PK\x01\x02")
    for place in (8, central + 10):  # call the stored bytes deflated: then they claim 1/1000 of what they hold
        data = patched(data, place, b"\x08\x00")
    tracemalloc.start()
    with open_archive(data) as archive, pytest.raises(LoadError, match="size"):
        archive.read("net/a")
    assert tracemalloc.get_traced_memory()[1] < 2**21
    tracemalloc.stop()


def test_a_million_members_cost_no_time():
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0, 0, 0)
    with pytest.raises(LoadError):
        open_archive(b"PK\x03\x04" + bytes(1000) + end)
    wide = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 10**6, 10**6, 46 * 10**6, 4)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 4, 1)
    with pytest.raises(LoadError, match="1000000 members"):
        open_archive(b"PK\x03\x04" + wide + locator + end)


def test_noise_is_always_a_load_error():
    dice = np.random.default_rng(0)
    data = packed()
    for _ in range(300):
        broken = bytearray(data)
        for place in dice.integers(0, len(data), 6):
            broken[place] = dice.integers(256)
        try:
            with open_archive(bytes(broken)) as archive:
                archive.verify()
        except LoadError:
            pass
