"""One row's interactions in plain sentences: which parts act together, and what each does alone."""

from __future__ import annotations

import numpy as np

from pellucid.records.errors import InputError
from pellucid.records.interactions import Interactions
from pellucid.records.messages import LANGUAGES

from .narrative import AUDIENCES, Z, decision, told_cautions
from .words import Words, cut, number, percent, quoted

STRONGEST, ALONE = 3, 3
Part = tuple[tuple[str, ...], float, float]


def text(e: Interactions, row: int = 0, language: str = "en", audience: str = "expert", *, output: int = 0) -> str:
    """The strongest interactions of a row, the strongest single effects, how sure that is, and what it does not mean.

    ``audience`` as in the sentences of explanations. Raises :class:`InputError` for an unknown audience or language,
    or a row that is not there.
    """
    return ("" if language == "zh" else " ").join(paragraphs(e, row, language, audience, output=output))


def paragraphs(
    e: Interactions, row: int = 0, language: str = "en", audience: str = "expert", *, output: int = 0
) -> list[str]:
    """The same as :func:`text`, in paragraphs."""
    if audience not in AUDIENCES:
        raise InputError(f"there is no audience {cut(audience)!r}", fix=f"choose among {', '.join(AUDIENCES)}")
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    if not -len(e) <= row < len(e):
        raise InputError(f"row {row} of interactions of {len(e)} rows")
    row, words = row % len(e), Words(language)
    first = [words.told("machine")] if audience == "person" else []
    first.append(decision(e, row, output, words, audience))
    parts = (
        first,
        [*_together(e, row, output, words, audience), *_alone(e, row, output, words, audience)],
        [*_sureness(e, row, output, words, audience), *told_cautions(e, words)],
        [words.told(f"meaning_{audience}")],
    )
    gap = "" if language == "zh" else " "
    return [gap.join(part) for part in parts if part]


def _clear(found: list[Part]) -> list[Part]:
    """Those that can be told from zero."""
    largest = max((abs(value) for _, value, _ in found), default=0.0)
    return [
        part for part in found
        if abs(part[1]) > 1e-9 * largest and not (np.isfinite(part[2]) and abs(part[1]) <= Z * part[2])
    ]  # fmt: skip


def _together(e: Interactions, row: int, output: int, words: Words, audience: str) -> list[str]:
    """The strongest parts of two and three players, each a sentence."""
    found = [part for part in e.top(len(e.parts), row, output) if len(part[0]) > 1]
    whole = max((abs(value) for _, value, _ in e.top(1, row, output)), default=0.0)
    clear = [part for part in _clear(found) if abs(part[1]) > 1e-9 * whole]
    if not clear:
        return [words.told("none_together")]
    sentences = []
    for names, value, error in clear[:STRONGEST]:
        told = [quoted(name) for name in names]
        players = words.told("pair", first=told[0], second=told[1])
        if len(told) > 2:
            players = words.told("triple", first=told[0], second=told[1], third=told[2])
        way = "raised" if value > 0 else "lowered"
        if audience == "person":
            sentences.append(words.told(f"together_{way}_person", players=players))
        else:
            sentences.append(
                words.told(f"together_{way}", players=players, amount=_amount(abs(value), error, audience))
            )
    return sentences


def _alone(e: Interactions, row: int, output: int, words: Words, audience: str) -> list[str]:
    clear = _clear(e.top(len(e.parts), row, output, size=1))[:ALONE]
    if not clear:
        return [words.told("none_alone")]
    told = [
        quoted(names[0]) if audience == "person" else words.told(
            "amount", name=quoted(names[0]), amount=_amount(value, error, audience, signed=True))
        for names, value, error in clear
    ]  # fmt: skip
    return [words.told("alone", reasons=words.joined(told))]


def _amount(value: float, error: float, audience: str, signed: bool = False) -> str:
    half = f" ± {number(Z * error)}" if audience == "expert" and np.isfinite(error) and error > 0 else ""
    return number(value, signed=signed) + half


def _sureness(e: Interactions, row: int, output: int, words: Words, audience: str) -> list[str]:
    if audience == "person":
        return []
    gap = float("nan") if e.gaps is None else float(e.gaps[row, output])
    sentences = [words.told("adds_up", gap=percent(gap)) if np.isfinite(gap) else words.told("no_promise")]
    if audience == "expert":
        cost = e.cost
        sentences += [
            words.told("divided", index=e.index, largest=e.largest),
            words.told("errors" if e.errors is not None else "no_errors"),
            words.told("cost", evaluations=number(cost.evaluations), rows=f"{cost.rows:,}", seed=e.seed),
        ]
    return sentences
