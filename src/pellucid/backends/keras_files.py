"""Loads Keras networks (``.keras``, ``.h5``) on Keras' torch backend, so that each is a torch module.

The file is checked before Keras sees it (:mod:`.keras_config`, :mod:`.hdf5`), and Keras is given a clean copy of what
was checked: the description, the weights, nothing else. TensorFlow is not needed.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..problem.model import Output
from ..records.errors import LoadError, shorten
from .archive import Archive, Limits, open_archive
from .function import random_state_kept
from .hdf5 import copy_plain
from .keras_config import clean_config
from .keras_model import KerasModel

DESCRIPTION, WEIGHTS, METADATA = "config.json", "model.weights.h5", "metadata.json"
IN_HDF5 = "model_config"
SPARE = 1024
"""Numbers that a network may keep beyond those in its file: the states of its random layers."""
_IMPORTING = threading.Lock()


def load_keras(
    path: str | os.PathLike[str],
    *,
    trust: bool = False,
    output: str | int | None = None,
    name: str = "",
    limits: Limits | None = None,
) -> KerasModel:
    """A network from a ``.keras`` archive or an ``.h5`` file, as a model with gradients and layers.

    Layers that hold programs (Lambda) and classes that are not Keras' own are refused by their names; ``trust`` does
    not change that. Raises :class:`LoadError` naming the file, and the offset, member or layer at fault.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise LoadError("could not open the file", where=str(path), why=str(error.strerror or error)) from error
    zipped = head[:2] == b"PK"
    if not zipped and head != b"\x89HDF\r\n\x1a\n":
        what = "is empty" if not head else "is neither a Keras archive nor HDF5"
        raise LoadError(f"the file {what}", where=f"{path}:byte 0", fix="save the model anew: model.save('net.keras')")
    with tempfile.TemporaryDirectory() as folder:
        copy, count = (_from_archive if zipped else _from_hdf5)(path, Path(folder), limits)
        with random_state_kept():  # Keras draws its seeds from Python's own dice
            network = _built(keras_on_torch(), copy, count, str(path))
    return KerasModel(network, name=name or path.stem, output=Output(output))


def _from_archive(path: Path, folder: Path, limits: Limits | None) -> tuple[Path, int]:
    """A clean copy of an archive in ``folder``, and how many numbers its weights are."""
    raw, plain, copy = folder / "given.h5", folder / "weights.h5", folder / "model.keras"
    with open_archive(path, limits) as archive:
        _refuse_other_members(archive)
        config = clean_config(archive.read(DESCRIPTION), f"{path}:{DESCRIPTION}")
        raw.write_bytes(archive.read(WEIGHTS))
    count = copy_plain(raw, plain, f"{path}:{WEIGHTS}", limits)
    with zipfile.ZipFile(copy, "w", zipfile.ZIP_STORED) as file:
        file.writestr(METADATA, "{}")
        file.writestr(DESCRIPTION, json.dumps(config))
        file.write(plain, WEIGHTS)
    return copy, count


def _from_hdf5(path: Path, folder: Path, limits: Limits | None) -> tuple[Path, int]:
    """The same of an HDF5 file, whose description is an attribute."""
    if path.stat().st_size > (limits or Limits()).total:
        raise LoadError(f"the file has more than {(limits or Limits()).total} bytes", where=str(path))
    copy = folder / "model.h5"
    count = copy_plain(path, copy, str(path), limits)
    import h5py

    with h5py.File(copy, "r+") as file:
        text = file.attrs.get(IN_HDF5, b"")
        if not isinstance(text, (str, bytes)) or not text:
            raise LoadError(
                "the file holds weights only, not the network they belong to",
                where=str(path),
                fix="save the whole model: model.save('net.keras')",
            )
        text = text.encode("utf-8") if isinstance(text, str) else bytes(text)
        file.attrs[IN_HDF5] = json.dumps(clean_config(text, f"{path}:{IN_HDF5}"))
    return copy, count


def _refuse_other_members(archive: Archive) -> None:
    wanted = {DESCRIPTION, WEIGHTS, METADATA}
    for name in (DESCRIPTION, WEIGHTS):
        if name not in archive:
            raise LoadError(f"the archive has no member {name!r}", where=archive.name, fix="save the model anew")
    strange = next((name for name in archive.members if name not in wanted), None)
    if strange is not None:
        raise LoadError(
            f"the archive holds {shorten(strange)!r}",
            where=archive.name,
            why="a network's description and weights are read; layers that keep files of their own are not",
        )


def _built(keras: Any, copy: Path, count: int, where: str) -> Any:
    """The network in a clean copy.

    It is built without memory first: one that claims more weights than the file holds is refused.
    """
    try:
        with keras.device("meta"):
            claimed = keras.saving.load_model(copy, compile=False, safe_mode=True).count_params()
        _refuse_overclaim(claimed, count, where)
        return keras.saving.load_model(copy, compile=False, safe_mode=True)
    except LoadError:
        raise
    except Exception as error:  # Keras raises many kinds for a network that it cannot build
        told = str(error).strip().replace(str(copy), Path(where).name).split("\n")[0]
        raise LoadError(
            "Keras could not build the network in this file",
            where=where,
            why=shorten(f"{type(error).__name__}: {told}", 300),
            fix="was it saved by a newer Keras? Save it anew with this one",
        ) from error


def _refuse_overclaim(claimed: int, count: int, where: str) -> None:
    if claimed > count + SPARE:
        raise LoadError(
            f"the description asks for {claimed} weights, and the file holds {count}",
            where=where,
            fix="get the file anew from where it came",
        )


def keras_on_torch() -> Any:
    """Keras, on its torch backend. Raises :class:`LoadError` where it is missing, or runs on another already."""
    with _IMPORTING:
        if "keras" not in sys.modules:
            with _torch_asked_for():
                keras = _imported()
        else:
            keras = _imported()
    if (backend := keras.config.backend()) != "torch":
        raise LoadError(
            f"Keras runs on its {backend} backend in this process",
            why="networks from files are loaded on the torch backend, and Keras has one backend a process",
            fix="set KERAS_BACKEND=torch before anything imports keras (in a shell: KERAS_BACKEND=torch python …), or "
            "load the file before anything imports keras: pellucid then asks for torch by itself",
        )
    return keras


def _imported() -> Any:
    try:
        import keras
    except ImportError as error:
        raise LoadError(
            "loading Keras files needs keras", why=str(error), fix="pip install 'pellucid[keras]'"
        ) from error
    return keras


@contextmanager
def _torch_asked_for() -> Iterator[None]:
    """Keras chooses its backend while it is imported, from the environment alone, and writes a file of defaults.

    This is the only place in the package that touches the environment: all of it is put back on leaving, and the
    file is taken away again where there was none.
    """
    before = dict(os.environ)
    file = Path(before.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    known = file.parent.exists(), file.exists()
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
        if not known[1]:
            file.unlink(missing_ok=True)
        if not known[0]:
            with suppress(OSError):  # it holds something else, or was never made
                file.parent.rmdir()
