"""One row's interactions in plain sentences: which parts act together, and what each does alone."""

from __future__ import annotations

import numpy as np

from pellucid.records.amounts import Z, rounding
from pellucid.records.errors import InputError
from pellucid.records.interactions import Interactions
from pellucid.records.messages import LANGUAGES

from .narrative import AUDIENCES, decision, errors_told, told_cautions
from .words import Words, cut, number, percent, quoted, spread

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
    clear = _clear(e, row, output)
    joint = [part for part in clear if len(part[0]) > 1][:STRONGEST]
    alone = [part for part in clear if len(part[0]) == 1][:ALONE]
    parts = (
        first,
        [*_together(joint, words, audience), *_alone(alone, words, audience)],
        [*_sureness(e, row, output, joint + alone, words, audience), *told_cautions(e, words)],
        [words.told(f"meaning_{audience}")],
    )
    gap = "" if language == "zh" else " "
    return [gap.join(part) for part in parts if part]


def _clear(e: Interactions, row: int, output: int) -> list[Part]:
    """The parts of a row that can be told from zero and are more than rounding, the strongest first."""
    found = e.top(len(e.parts), row, output)
    ends = (float(end[row, output]) for end in (e.base, e.full))
    floor = rounding(*ends, *(value for _, value, _ in found[:1]))
    return [
        part for part in found if abs(part[1]) > floor and not (np.isfinite(part[2]) and abs(part[1]) <= Z * part[2])
    ]


def _together(joint: list[Part], words: Words, audience: str) -> list[str]:
    """The strongest parts of two and three players, each a sentence."""
    if not joint:
        return [words.told("none_together")]
    sentences = []
    for names, value, error in joint:
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


def _alone(alone: list[Part], words: Words, audience: str) -> list[str]:
    if not alone:
        return [words.told("none_alone")]
    told = [
        quoted(names[0]) if audience == "person" else words.told(
            "amount", name=quoted(names[0]), amount=_amount(value, error, audience, signed=True))
        for names, value, error in alone
    ]  # fmt: skip
    return [words.told("alone", reasons=words.joined(told))]


def _amount(value: float, error: float, audience: str, signed: bool = False) -> str:
    return number(value, signed=signed) + (spread(error) if audience == "expert" else "")


def _sureness(
    e: Interactions, row: int, output: int, told: list[Part], words: Words, audience: str
) -> list[str]:  # fmt: skip
    if audience == "person":
        return []
    gap = float("nan") if e.gaps is None else float(e.gaps[row, output])
    sentences = [words.told("adds_up", gap=percent(gap)) if np.isfinite(gap) else words.told("no_promise")]
    if audience == "expert":
        cost = e.cost
        sentences += [
            words.told("divided", index=e.index, largest=e.largest),
            *errors_told(e.errors, (row, slice(None), output), [error for *_, error in told], words),
            words.told("cost", evaluations=number(cost.evaluations), rows=f"{cost.rows:,}", seed=e.seed),
        ]
    return sentences
