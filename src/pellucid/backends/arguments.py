"""How a module's ``forward`` takes its inputs: by which names, and which by name only."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from torch import nn


def argument_names(module: nn.Module) -> tuple[tuple[str, ...], bool]:
    """The names ``forward`` takes its inputs by, in order, and whether it takes any others too."""
    if isinstance(module, torch.jit.ScriptModule):
        return tuple(argument.name for argument in module.forward.schema.arguments[1:]), False  # pyright: ignore[reportFunctionMemberAccess]
    bound = getattr(module.forward, "__func__", None)
    return _names_in_signature(bound or module.forward, bound is not None)


@lru_cache(maxsize=256)
def _names_in_signature(forward: Callable[..., Any], bound: bool) -> tuple[tuple[str, ...], bool]:
    """Without the module itself where ``forward`` is ``bound`` to it, whatever it is called there.

    Kept per function, because reading a signature takes as long as running a small network.
    """
    try:
        parameters = list(inspect.signature(forward).parameters.values())
    except (TypeError, ValueError):  # a forward written in C has no signature
        return (), False
    own = bool(parameters) and (bound or parameters[0].name == "self")
    parameters = parameters[1:] if own else parameters
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters)
    return tuple(p.name for p in parameters if p.kind in kinds), anything


def exported_keywords(module: nn.Module) -> tuple[str, ...] | None:
    """The inputs that an exported program takes by name only, all others by place; None for any other module."""
    spec = getattr(module, "_in_spec", None)
    if spec is None or not hasattr(spec, "children"):
        return None
    parts = spec.children()
    return tuple(parts[1].context) if len(parts) == 2 and parts[1].context else ()
