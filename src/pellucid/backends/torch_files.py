"""Loads PyTorch networks from files so that no file can run a stranger's program.

Three ways in, by trust: an exported program (``.pt2``) or a TorchScript archive, whose text is checked before
torch sees it; weights (safetensors, or a plain ``state_dict``) put into a network that *the
caller's* code builds; and, only with ``trust=True``, a whole pickled module. There is no way from
one to the next: a safe file that is damaged is an error, never a reason to read it less safely.

This is the only file of the package that may call ``torch.load``.
"""

from __future__ import annotations

import importlib
import io
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from ..records.errors import LoadError, shorten
from .archive import Archive, Limits, open_archive, zipped
from .exported_text import SAVE_ANEW, clean_payload, clean_program
from .torchscript_files import load_torchscript

Factory = str | Callable[..., nn.Module]
FOLDERS = ("weights", "constants")
WRAPPERS = ("state_dict", "model_state_dict")
HEAD = 64
LARGEST_HEADER = 100 * 2**20

ADVICE = {
    "pickle": "load its state_dict where you trust it and save that with pellucid's save_weights (safetensors), then "
    'give factory="package.module:function" and weights=; or export it with torch.export; or, if you made the file '
    "yourself, pass trust=True",
    "torchscript": "load it without a factory, or save the original module's state_dict as safetensors",
    "weights": 'give the code that builds the network: factory="package.module:function", weights=this file',
    "keras": "load it with the keras backend",
    "hdf5": "save the model anew in the .keras format",
    "other": "give a .pt2 program, or weights as .safetensors with a factory",
}


@dataclass(frozen=True)
class LoadedModule:
    """A network read from a file, and what the file tells about how it wants to be called.

    ``batch`` is the only batch size it accepts (an exported program may have it baked in), or
    ``None`` when any will do. ``dtype`` is that of its parameters. ``training`` says that the
    program was exported in training mode: its dropout or batch statistics cannot be switched off.
    ``module.eval()`` and ``.train()`` work on every module returned here; on an exported program
    they set the flags and change nothing else, because such a program has its mode baked in.
    """

    module: nn.Module
    batch: int | None = None
    dtype: torch.dtype = torch.float32
    input_names: tuple[str, ...] = ()
    training: bool = False


def load_module(
    path: str | os.PathLike[str] | None = None,
    *,
    factory: Factory | None = None,
    weights: str | os.PathLike[str] | None = None,
    arguments: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> LoadedModule:
    """Load a network by what the file holds, whatever its name ends in.

    Parameters
    ----------
    path: an exported program, or weights when ``factory`` is given.
    factory: the function, or its name ``"package.module:function"``, that builds the network.
    weights: the weights for that network; ``path`` serves as well.
    arguments: named arguments for the factory.
    trust: allow this one file to be unpickled, which can run any program it holds.

    Raises :class:`LoadError` with what to do instead.
    """
    if factory is not None:
        source = weights if weights is not None else path
        if source is None:
            raise LoadError("a factory was given without weights", fix="pass weights='net.safetensors'")
        if weights is not None and path is not None:
            raise LoadError("both a model file and a factory with weights were given", fix="pass one of them")
        return load_with_factory(factory, source, arguments=arguments, trust=trust)
    if path is None:
        raise LoadError("no file was given", fix="pass the path of a .pt2 program, or a factory and weights")
    kind = kind_of(path)
    if kind == "exported":
        return load_exported(path)
    if kind == "torchscript":
        return _described(load_torchscript(path))
    if kind in ("pickle", "torch"):
        return _described(_trusted_module(path)) if trust else _refused(path, kind)
    return _refused(path, kind)


def kind_of(path: str | os.PathLike[str]) -> str:
    """What the bytes of a file are.

    One of "exported", "torchscript", "torch" (an archive by ``torch.save``), "pickle",
    "safetensors", "keras", "hdf5", "zip", "unknown".
    """
    try:
        with Path(path).open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise LoadError("could not open the file", where=str(path), why=str(error.strerror or error)) from error
    if not head:
        raise LoadError("the file is empty", where=str(path))
    if head[:2] == b"PK":
        with open_archive(path) as archive:
            return _archive_kind(archive)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LARGEST_HEADER:
        return "safetensors"
    if head[:4] == b"\x89HDF":
        return "hdf5"
    pickled = head[0] == 0x80 and 2 <= head[1] <= 5 if len(head) > 1 else False
    squeezed = head[:2] in (b"\x78\x01", b"\x78\x9c", b"\x78\xda", b"\x1f\x8b", b"BZ") or head[:6] == b"\xfd7zXZ\x00"
    return "pickle" if pickled or squeezed else "unknown"


def _archive_kind(archive: Archive) -> str:
    inner = {name.split("/", 1)[-1] for name in archive.members}
    if "archive_format" in inner or "serialized_exported_program.json" in archive.members:
        return "exported"
    if any(name.startswith("code/") for name in inner) or "constants.pkl" in inner:
        return "torchscript"
    if "data.pkl" in inner:
        return "torch"
    return "keras" if {"config.json", "metadata.json"} <= archive.members.keys() else "zip"


def _refused(path: str | os.PathLike[str], kind: str) -> LoadedModule:
    """Say why a file of this kind is not loaded, and what to do instead."""
    what, advice = {
        "torch": ("the file is a pickle made by torch.save, which can run any program when it is loaded", "pickle"),
        "pickle": ("the file is a pickle, which can run any program when it is loaded", "pickle"),
        "torchscript": ("the file is a TorchScript program, not weights", "torchscript"),
        "safetensors": ("the file holds weights only, not the network they belong to", "weights"),
        "keras": ("the file is a Keras model", "keras"),
        "hdf5": ("the file is HDF5, an old format of Keras", "hdf5"),
    }.get(kind, ("the file is of no kind that holds a network", "other"))
    raise LoadError(what, where=str(path), fix=ADVICE[advice])


# ---------------------------------------------------------------- exported programs


def load_exported(path: str | os.PathLike[str], limits: Limits | None = None) -> LoadedModule:
    """Load a ``torch.export`` archive (``.pt2``, torch 2.10 or later) without running anything in it.

    torch's own reader unpickles the sample inputs and more, and turns texts of the program into
    code. Here a copy is made in memory that has no pickle and only checked text, and torch reads
    that copy.
    """
    with open_archive(path, limits) as archive:
        copy = sanitised(archive)
    return exported(copy, str(path))


def sanitised(archive: Archive) -> bytes:
    """A copy of an exported program with raw weights, checked text and empty sample inputs."""
    where = archive.name
    roots = {name.split("/", 1)[0] for name in archive.members}
    if "serialized_exported_program.json" in archive.members or len(roots) != 1:
        raise LoadError("this exported program has an old layout that holds pickles", where=where, fix=SAVE_ANEW)
    root = roots.pop()
    if f"{root}/archive_format" not in archive or archive.read(f"{root}/archive_format") != b"pt2":
        raise LoadError("the archive does not call itself an exported program", where=where, fix=SAVE_ANEW)
    models = [name for name in archive.members if name.startswith(f"{root}/models/")]
    if models != [f"{root}/models/model.json"]:
        raise LoadError(
            f"the archive holds {len(models)} programs where one named 'model' is expected",
            where=where,
            why="compiled libraries and several programs in one archive are not read",
            fix=SAVE_ANEW,
        )
    parts = {"archive_format": b"pt2", ".data/version": b"6\n", "data/sample_inputs/model.pt": b""}
    for name in ("archive_version", "byteorder"):
        parts[name] = archive.read(f"{root}/{name}")
    parts["models/model.json"] = clean_program(archive.read(models[0]), f"{where}:models/model.json")
    for folder in FOLDERS:
        parts.update(_payload(archive, root, folder))
    return zipped({f"model/{name}": content for name, content in parts.items()})


def _payload(archive: Archive, root: str, folder: str) -> dict[str, bytes]:
    """The list of weights or constants, checked, and the raw members that it names."""
    prefix, listing = f"{root}/data/{folder}/", f"model_{folder}_config.json"
    where = f"{archive.name}:data/{folder}"
    if f"{prefix}model.pt" in archive or f"{prefix}{listing}" not in archive:
        raise LoadError("the program's weights are a pickle, as older torch wrote them", where=where, fix=SAVE_ANEW)
    sizes = {
        name.removeprefix(prefix): member.size for name, member in archive.members.items() if name.startswith(prefix)
    }
    clean, needed = clean_payload(archive.read(prefix + listing), where, sizes)
    return {f"data/{folder}/{listing}": clean} | {
        f"data/{folder}/{file}": archive.read(prefix + file) for file in sorted(needed)
    }


def exported(copy: bytes, where: str) -> LoadedModule:
    """The module in an archive that :func:`sanitised` made."""
    from torch.export.pt2_archive._package import load_pt2

    try:
        program = load_pt2(cast(Any, io.BytesIO(copy))).exported_programs["model"]
        # The guards would be compiled with exec; the older check of input shapes needs no code.
        module = program.module(check_guards=False)
    except Exception as error:  # torch raises many kinds for a program it cannot build
        raise LoadError(
            "torch could not build the network in this exported program",
            where=where,
            why=shorten(str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__, 300),
            fix=SAVE_ANEW,
        ) from error
    for name in ("train", "eval"):  # torch puts refusals in their place; the plain ones only set flags
        vars(module).pop(name, None)
    names, batch = _inputs_of(program)
    return replace(_described(module), batch=batch, input_names=names, training=_in_training(program))


def _inputs_of(program: Any) -> tuple[tuple[str, ...], int | None]:
    """Names of the inputs, and the first axis that they must have (None when it is free)."""
    wanted = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    rows = [
        values[name].shape[0] for name in wanted if isinstance(values.get(name), torch.Tensor) and values[name].ndim
    ]
    batch = next((size for size in rows if isinstance(size, int)), None)
    return tuple(wanted), batch


def _in_training(program: Any) -> bool:
    """Whether an operation that depends on the mode was exported in training mode."""
    aten = torch.ops.aten
    flag = {
        aten.dropout.default: 2,
        aten.feature_dropout.default: 2,
        aten.alpha_dropout.default: 2,
        aten.batch_norm.default: 5,
        aten.instance_norm.default: 5,
        aten.rrelu.default: 3,
    }
    return any(
        node.target in flag and len(node.args) > flag[node.target] and node.args[flag[node.target]] is True
        for node in program.graph.nodes
    )


def load_with_factory(
    factory: Factory,
    weights: str | os.PathLike[str],
    *,
    arguments: Mapping[str, Any] | None = None,
    trust: bool = False,
) -> LoadedModule:
    """Build a network with the caller's code and put the weights of a file into it.

    The factory is imported only because the caller named it; nothing in the file can name one.
    Weights are safetensors, or a ``state_dict`` saved by ``torch.save`` (read with
    ``weights_only=True``). Every key and shape must agree.
    """
    build = imported(factory) if isinstance(factory, str) else factory
    if not callable(build):
        raise LoadError(f"{factory!r} is not a function")
    label = factory if isinstance(factory, str) else getattr(factory, "__qualname__", "the factory")
    with torch.random.fork_rng(devices=[]):  # building draws first weights, which must not move the caller's dice
        try:
            module = build(**dict(arguments or {}))
        except Exception as error:  # the caller's code may raise anything
            raise LoadError(
                f"the factory did not build a network: {type(error).__name__}: {error}", where=label,
                fix="check arguments=",
            ) from error  # fmt: skip
    if not isinstance(module, nn.Module):
        raise LoadError(f"{label} returned {type(module).__name__}, not a torch module", where=label)
    state, ties = read_weights(weights, trust=trust)
    _fill(module, state, ties, str(weights))
    return _described(module)


def imported(name: str) -> Any:
    """What ``package.module:name`` names: a function, or any other object of the caller's code."""
    package, _, inner = name.partition(":")
    if not inner or not all(part.isidentifier() for part in (package + "." + inner).split(".")):
        raise LoadError(f"{shorten(name)!r} does not name a factory", fix='write it as "package.module:function"')
    try:
        found: Any = importlib.import_module(package)
        for part in inner.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise LoadError(
            f"could not import {name!r}", why=str(error), fix="is its folder on the Python path?"
        ) from error
    return found


def read_weights(
    path: str | os.PathLike[str], *, trust: bool = False
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors in a weights file by name, and the names left out because another has the same tensor."""
    kind = kind_of(path)
    if kind == "safetensors":
        return _read_safetensors(path)
    if kind not in ("torch", "pickle"):
        _refused(path, kind if kind != "exported" else "other")
    if trust:
        found = _unpickled(path)
        return _plain_state(found.state_dict() if isinstance(found, nn.Module) else found, path), {}
    return _plain_state(_read_state(path, kind), path), {}


def _read_safetensors(path: str | os.PathLike[str]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError) as error:
        raise LoadError("the safetensors file is damaged", where=str(path), why=shorten(error, 200)) from error


def _read_state(path: str | os.PathLike[str], kind: str) -> Any:
    """A file of ``torch.save``, read with the unpickler that knows tensors and plain containers only."""
    if kind == "torch":
        with open_archive(path) as archive:
            archive.verify()
    try:
        with Path(path).open("rb") as file:
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # whatever goes wrong, the answer is the same: this file is not plain
        raise LoadError(
            "the file is damaged, or a pickle that holds more than tensors, which can run any program",
            where=str(path),
            why=shorten(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__, 160),
            fix=ADVICE["pickle"],
        ) from error


def _plain_state(found: Any, path: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """``found`` as a state dict; one wrapped in a checkpoint under a usual name is taken out."""
    if isinstance(found, Mapping):
        inner = [found[name] for name in WRAPPERS if isinstance(found.get(name), Mapping)]
        found = inner[0] if inner else found
        if found and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in found.items()):
            return dict(found)
    raise LoadError(
        "the file is not a plain state_dict of named tensors",
        where=str(path),
        fix="save module.state_dict(), or use pellucid's save_weights",
    )


def _unpickled(path: str | os.PathLike[str]) -> Any:
    """The object in a pickle that the caller vouches for."""
    try:
        with Path(path).open("rb") as file:
            return torch.load(file, weights_only=False, map_location="cpu")
    except Exception as error:  # a pickle may raise anything
        raise LoadError(
            "the pickle could not be loaded as torch.save wrote it", where=str(path), why=shorten(error, 200),
            fix="load any other pickle yourself and give the object: pellucid.wrap(joblib.load(path))",
        ) from error  # fmt: skip


def _trusted_module(path: str | os.PathLike[str]) -> nn.Module:
    found = _unpickled(path)
    if not isinstance(found, nn.Module):
        raise LoadError(
            f"the pickle holds {type(found).__name__}, not a torch module", where=str(path), fix=ADVICE["weights"]
        )
    return found


def _fill(module: nn.Module, state: dict[str, torch.Tensor], ties: Mapping[str, str], where: str) -> None:
    """Put ``state`` into ``module``; every key and shape must agree."""
    _initialised(module)
    own = module.state_dict(keep_vars=True)
    state = {**{name: state[kept] for name, kept in ties.items() if name in own and kept in state}, **state}
    held = {storage(own[name]) for name in state if name in own and isinstance(own[name], torch.Tensor)}
    missing = [name for name in own if name not in state and storage(own[name]) not in held]
    unexpected = [name for name in state if name not in own]
    if missing or unexpected:
        raise LoadError(
            "the weights do not belong to this network",
            where=where,
            why="; ".join(filter(None, (_listed("missing", missing), _listed("unexpected", unexpected)))),
            fix=_key_advice(missing, unexpected),
        )
    wrong = [
        f"{name} is {list(state[name].shape)} in the file and {list(own[name].shape)} in the network"
        for name in state
        if state[name].shape != own[name].shape
    ]
    if wrong:
        raise LoadError("weights have another shape than the network", where=where, why=_listed("differing", wrong))
    types = {tensor.dtype for tensor in state.values() if tensor.is_floating_point()}
    if len(types) == 1:  # the file's own precision, where the network would silently round it
        module.to(dtype=types.pop())
    bare = any(tensor.is_meta for tensor in own.values() if isinstance(tensor, torch.Tensor))
    module.load_state_dict(state, strict=False, assign=bare)


def storage(value: Any) -> tuple[Any, ...]:
    """What two names of one tensor have in common."""
    if not isinstance(value, torch.Tensor) or value.is_meta or value.numel() == 0:
        return (id(value),)
    return (value.data_ptr(), value.shape, value.stride(), value.dtype)


def _listed(label: str, names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{len(names)} {label}: {', '.join(shorten(name, 120) for name in names[:5])}{more}"


def _key_advice(missing: list[str], unexpected: list[str]) -> str:
    if missing and {name.removeprefix("module.") for name in unexpected} == set(missing):
        return "the names begin with 'module.', as DataParallel saves them: save network.module.state_dict() instead"
    return "does the factory build the network that was saved, with the same arguments?"


def _described(module: nn.Module) -> LoadedModule:
    """The record of a module that is ready to be called, or an error when its parameters have no data."""
    named = _initialised(module)
    for name, tensor in named:
        if tensor.is_meta:
            raise LoadError("a parameter has no data", where=name, fix="load the weights first")
    dtype = next((tensor.dtype for _, tensor in named if tensor.is_floating_point()), torch.get_default_dtype())
    return LoadedModule(module, dtype=dtype)


def _initialised(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Every parameter and buffer by name, once the shapes of all are known."""
    named = [*module.named_parameters(), *module.named_buffers()]
    for name, tensor in named:
        if isinstance(tensor, (nn.UninitializedParameter, nn.UninitializedBuffer)):
            raise LoadError("a lazy parameter has no shape yet", where=name, fix="run one batch in the factory")
    return named
