"""Saving networks so that they load again without a pickle: exported programs, and weights alone."""

from __future__ import annotations

import io
import os
from typing import Any

import torch
from torch import nn

from ..records.errors import ModelError, shorten
from ..records.files import write_bytes
from .archive import open_archive
from .torch_files import LoadedModule, exported, sanitised, storage


def export_network(module: nn.Module, example: Any, path: str | os.PathLike[str]) -> LoadedModule:
    """Export ``module`` in evaluation mode to a ``.pt2`` file with a free batch size and no sample inputs.

    ``example`` is a tensor ``[N, ...]``, a tuple of such tensors, or a dict of them by argument
    name. The module is left as it was. Returns the network as it will load.

    Raises :class:`ModelError` when torch cannot export it.
    """
    named = example if isinstance(example, dict) else {}
    given = () if named else (example if isinstance(example, tuple) else (example,))
    # One row would make torch take the batch size 1 for a constant.
    given, named = tuple(_two_rows(value) for value in given), {name: _two_rows(value) for name, value in named.items()}
    free = {0: torch.export.Dim.AUTO}
    shapes = dict.fromkeys(named, free) if named else tuple(free for _ in given)
    modes = {one: one.training for one in module.modules()}
    try:
        module.eval()
        program = torch.export.export(module, given, named or None, dynamic_shapes=shapes, strict=False)
        buffer = io.BytesIO()
        program.example_inputs = None
        torch.export.save(program, buffer)
    except Exception as error:  # torch raises many kinds for a network it cannot trace
        raise ModelError(
            "torch could not export the network", why=shorten(str(error).strip().splitlines()[0], 300)
        ) from error
    finally:
        for one, mode in modes.items():
            one.training = mode
    with open_archive(buffer.getvalue()) as archive:
        copy = sanitised(archive)
    loaded = exported(copy, str(path))
    write_bytes(path, copy)
    return loaded


def _two_rows(tensor: Any) -> torch.Tensor:
    if not isinstance(tensor, torch.Tensor) or tensor.ndim == 0 or len(tensor) == 0:
        raise ModelError("an example must be a tensor with at least one row", fix="pass a batch such as rows[:2]")
    return tensor if len(tensor) > 1 else tensor.expand(2, *tensor.shape[1:]).clone()


def save_weights(module: nn.Module, path: str | os.PathLike[str]) -> None:
    """Write a module's state dict as safetensors, in one step that a crash cannot split.

    A tensor with several names is written once; the other names stand in the header, in the form
    that ``safetensors.torch.load_model`` knows.
    """
    from safetensors.torch import save

    kept: dict[tuple[Any, ...], str] = {}
    tensors: dict[str, torch.Tensor] = {}
    ties: dict[str, str] = {}
    for name, value in module.state_dict(keep_vars=True).items():
        if not isinstance(value, torch.Tensor):
            raise ModelError(f"the state {shorten(name)!r} is {type(value).__name__}, not a tensor", where=name)
        if value.is_meta:
            raise ModelError("a parameter has no data", where=name, fix="load its weights first")
        first = kept.setdefault(storage(value), name)
        if first != name:
            ties[name] = first
        else:
            tensors[name] = value.detach().cpu().contiguous().clone()
    write_bytes(path, save(tensors, metadata=ties or None))
