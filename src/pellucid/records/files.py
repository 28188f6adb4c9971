"""Writing and reading what the house keeps: JSON and numpy arrays, never a pickle.

A file is written beside its place, flushed to disk and then moved over it, so that a reader
meets the old file or the new one and never half of either.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import StoreError

LARGEST_JSON = 512 * 2**20


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Write ``content`` to ``path`` in one step that a crash cannot split."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(scratch, 0o644)
        os.replace(scratch, path)
    except OSError as error:
        Path(scratch).unlink(missing_ok=True)
        raise StoreError(
            f"could not write {len(content)} bytes", where=str(path), why=str(error.strerror or error)
        ) from error
    except BaseException:
        Path(scratch).unlink(missing_ok=True)
        raise


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write JSON with stable key order; NaN and infinity are written as ``null``."""
    write_bytes(path, (dumps(value, indent=1) + "\n").encode())


def dumps(value: Any, indent: int | None = None) -> str:
    """JSON text of records: numpy numbers and arrays are unfolded, what is not finite becomes null."""
    return json.dumps(plain(value), indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def plain(value: Any) -> Any:
    """``value`` as what JSON knows: dict, list, str, int, float, bool, None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    if value is None or isinstance(value, (str, int, bool)):
        return value
    return str(value)


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file; a damaged one is an error that names the file and the offset."""
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise StoreError("the file is larger than any record", where=str(path))
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StoreError("could not read the file", where=str(path), why=str(error.strerror)) from error
    except UnicodeDecodeError as error:
        raise StoreError("the file is not UTF-8 text", where=f"{path}:byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise StoreError(
            "the file is not valid JSON", where=f"{path}:{error.lineno}:{error.colno}", why=error.msg
        ) from error
    except RecursionError as error:
        raise StoreError("the JSON is nested too deeply", where=str(path)) from error


def pack_arrays(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the bytes of an NPZ archive without pickles."""
    buffer = io.BytesIO()
    np.savez(buffer, **{name: np.asarray(array) for name, array in arrays.items()})  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as NPZ; object arrays are refused."""
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise StoreError(f"array {name!r} holds Python objects, which only a pickle could keep", where=str(path))
    write_bytes(path, pack_arrays(arrays))


def read_array(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one array from an NPY file; object arrays are refused."""
    try:
        found = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds for a damaged file
        raise StoreError("not an array of numbers, or a damaged one", where=str(path), why=str(error)) from error
    if not isinstance(found, np.ndarray):
        raise StoreError("an archive of arrays, not one array", where=str(path))
    return found


def digest(*parts: bytes | str) -> str:
    """A SHA-256 over the parts, each led by its length so that no two lists collide."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "little"))
        state.update(data)
    return state.hexdigest()


def digest_array(array: np.ndarray) -> str:
    """A SHA-256 of an array's type, shape and bytes."""
    array = np.ascontiguousarray(array)
    return digest(array.dtype.str, repr(array.shape), array.tobytes())


def digest_file(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
