"""A preflight in plain sentences and tables: what a model is, what may be asked of it, what it costs."""

from __future__ import annotations

import math

from pellucid.records.errors import InputError
from pellucid.records.messages import LANGUAGES
from pellucid.records.preflight import Preflight

from .words import Words, cut, number, quoted

SHOWN = 4
"""Costs that a sentence tells."""
CHEAPER = 1.25
"""From so many times the cheapest timing on, the chosen number of rows is told to be the dearer one."""


def paragraphs(found: Preflight, language: str = "en") -> list[str]:
    """What it answers and how steadily; what it costs; what it allows. Raises :class:`InputError` for a language."""
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    gap = "" if language == "zh" else " "
    return [gap.join(part) for part in (_answers(found, words), _cost(found, words), _allowed(found, words)) if part]


def _answers(found: Preflight, words: Words) -> list[str]:
    sums = [number(total) for total in found.sums]
    told = [
        words.told(
            "before", model=quoted(found.model), rows=found.rows, kind=found.kind, width=found.width,
            dtype=found.dtype, low=number(found.low), high=number(found.high),
        ),
        words.told(f"before_{found.meaning}", least=sums[0], most=sums[1]),
    ]  # fmt: skip
    if found.unstable:
        told.append(words.told("before_unsteady" if found.reseeded else "before_reseeded"))
    elif not found.stateful and not found.coupled:
        told.append(words.told("before_steady"))
    return told


def _rows_at_once(found: Preflight, words: Words) -> list[str]:
    """How many rows it is asked at once and by what rule; where another number was clearly cheaper, that."""
    if found.fixed is not None:
        return []
    if found.coupled:
        return [words.told("before_alone")]
    told = [words.told("before_batch", batch=f"{found.batch:,}")]
    own = next((cost.seconds for cost in found.costs if cost.batch == found.batch), math.nan)
    best = min(found.costs, key=lambda cost: cost.seconds)
    if best.seconds * CHEAPER < own:
        said = {"time": duration(best.seconds), "own": duration(own)}
        told.append(words.told("before_batch_dearer", best=f"{best.batch:,}", batch=f"{found.batch:,}", **said))
    return told


def _cost(found: Preflight, words: Words) -> list[str]:
    told = []
    if found.fixed is not None:
        told.append(words.told("before_fixed", rows=found.fixed))
    elif found.least > 1:
        told.append(words.told("before_least", rows=found.least))
    if found.costs:
        listed = [
            words.told("before_cost_at", time=duration(cost.seconds), rows=f"{cost.batch:,}")
            for cost in found.costs[-SHOWN:]
        ]
        told.append(words.told("before_cost", costs=words.joined(listed)))
        told += _rows_at_once(found, words)
    if math.isfinite(found.bytes):
        told.append(words.told("before_memory", bytes=size(found.bytes)))
    if found.parameters is not None:
        devices = words.joined(found.devices) or "—"
        told.append(words.told("before_parameters", count=f"{found.parameters:,}", devices=devices))
    return told


def _allowed(found: Preflight, words: Words) -> list[str]:
    has = [words.told(f"before_{name}") for name, reason in found.capabilities.items() if not reason]
    told = [words.told("before_has", names=words.joined(has))] if has else []
    for name, reason in found.capabilities.items():
        if reason:
            told.append(words.told("before_lacks", name=words.told(f"before_{name}"), reason=cut(reason, 300)))
    if found.methods:
        told.append(words.told("before_methods", count=len(found.applicable), total=len(found.methods)))
    return told


def text(found: Preflight, language: str = "en") -> str:
    """The same, a paragraph a line."""
    return "\n".join(paragraphs(found, language))


def facts(found: Preflight, words: Words) -> list[tuple[str, str]]:
    """What was found, as (what, value), for a table."""
    shapes = [
        f"{cut(name, 30)} {' × '.join(map(str, shape)) or '1'}, {dtype}, {device}"
        for name, (shape, dtype, device) in found.inputs.items()
    ]
    known = {
        "inputs": words.joined(shapes) or found.kind,
        "outputs": f"{found.width} ({found.dtype}), {words(f'meaning_{found.meaning}')}",
        "range": f"{number(found.low)} – {number(found.high)}",
        "sums": f"{number(found.sums[0])} – {number(found.sums[1])}" if found.width > 1 else "",
        "repeats": _difference(found.unstable, words),
        "stateful": _difference(found.stateful, words),
        "coupled": _difference(found.coupled, words),
        "writes": words.joined(found.mutates) or words("before_no"),
        "mode": words(f"mode_{found.training.replace(' ', '_')}"),
        "weights": "" if found.parameters is None else f"{found.parameters:,}",
        "devices": words.joined(found.devices),
        "takes": str(found.fixed) if found.fixed is not None else f"≥ {found.least}",
        "cost": words.joined([f"{cost.batch:,}: {duration(cost.seconds)}" for cost in found.costs]),
        "memory": size(found.bytes) if math.isfinite(found.bytes) else "",
        "operations": number(found.flops) if math.isfinite(found.flops) else "",
    }
    return [(words(f"before_{name}"), value) for name, value in known.items() if value]


def _difference(value: float, words: Words) -> str:
    return words("before_differs", value=number(value)) if value else words("before_same")


def duration(seconds: float) -> str:
    """A time in the unit that suits it."""
    if not math.isfinite(seconds):
        return "—"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{number(seconds / scale)} {unit}"
    return f"{number(seconds / 1e-6)} µs"


def size(bytes: float) -> str:
    """So many bytes in the unit that suits them."""
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if bytes >= scale:
            return f"{number(bytes / scale)} {unit}"
    return f"{bytes:.0f} B"
