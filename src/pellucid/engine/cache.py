"""Shared designs (coalitions and what is solved for them once), kept for the next call that needs the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")
MOST_DESIGNS = 32
_KEPT: OrderedDict[Any, Any] = OrderedDict()
_LOCK = threading.Lock()


def shared_design(build: Callable[..., T], seed: int, key: str, args: tuple[Any, ...]) -> T:
    """``build(rng, *args)`` with a generator keyed by (seed, method, arguments); the last few are kept.

    A design depends on nothing but its key, so keeping it changes no number.
    """
    name = (getattr(build, "__module__", ""), getattr(build, "__qualname__", repr(build)))
    full = (name, seed, key, args)
    with _LOCK:
        if full in _KEPT:
            _KEPT.move_to_end(full)
            return _KEPT[full]
    words = [seed, *map(ord, key), *(int(arg) % 2**32 for arg in args if isinstance(arg, (int, np.integer)))]
    made = build(np.random.default_rng(np.random.SeedSequence(words)), *args)
    with _LOCK:
        _KEPT[full] = made
        while len(_KEPT) > MOST_DESIGNS:
            _KEPT.popitem(last=False)
    return made
