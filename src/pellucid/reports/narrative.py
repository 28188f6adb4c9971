"""One row's explanation in plain sentences, in two languages and for three kinds of reader.

The sentences are templates, filled from the record and from nothing else, so the same record
always gives the same text. A number whose check failed (completeness gap, standard error) is never given
without saying so. Names and cells come from data: they are quoted, cut at 60 characters, never interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pellucid.records.amounts import Z, rounding
from pellucid.records.answer import Answer
from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation
from pellucid.records.messages import LANGUAGES, RANK
from pellucid.records.rules import Rules
from pellucid.records.schema import Schema
from pellucid.records.sets import Sets

from . import scale
from .figures.images import is_image, share_map
from .marked_text import entity_of, is_text, text_and_spans
from .stretches import is_series, stretch_of, summed
from .words import Words, cells, cut, is_attention, number, percent, quoted, spread

AUDIENCES = ("expert", "professional", "person")
LARGEST_GAP = 0.05  # beyond this the single amounts are not to be relied on
FOR, AGAINST, CAUTIONS = 4, 2, 2
_PLACES = ("upper_left", "upper", "upper_right", "left", "middle", "right", "lower_left", "lower", "lower_right")


@dataclass(frozen=True)
class Reason:
    """One player's part: its name as it is printed, its cell, its contribution and standard error (or NaN).

    Of a text it is one word, however often it stands there (``times``); several have no standard error together.
    """

    name: str
    cell: str | None
    value: float
    error: float
    times: int = 1

    @property
    def unclear(self) -> bool:
        """Whether the contribution cannot be told from zero."""
        return np.isfinite(self.error) and abs(self.value) <= Z * self.error

    def shown(self, floor: float) -> bool:
        """Whether there is anything to say of it: more than rounding, or an error of more than that."""
        return abs(self.value) > floor or self.error > floor


def text(
    explanation: Explanation,
    row: int = 0,
    language: str = "en",
    audience: str = "expert",
    *,
    output: int = 0,
    schema: Schema | None = None,
) -> str:
    """What was decided, the reasons for and against, how sure that is, and what it does not mean.

    ``audience`` is "expert", "professional" (a doctor, a loan officer) or "person" (whom it is about).
    Raises :class:`InputError` for an unknown audience or language, or a row that is not there.
    """
    gap = "" if language == "zh" else " "
    return gap.join(paragraphs(explanation, row, language, audience, output=output, schema=schema))


def paragraphs(
    explanation: Explanation,
    row: int = 0,
    language: str = "en",
    audience: str = "expert",
    *,
    output: int = 0,
    schema: Schema | None = None,
) -> list[str]:
    """The same as :func:`text`, in paragraphs: the decision, the reasons, how sure, what it does not mean."""
    if audience not in AUDIENCES:
        raise InputError(f"there is no audience {cut(audience)!r}", fix=f"choose among {', '.join(AUDIENCES)}")
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    row %= len(explanation)
    words = Words(language)
    first = [words.told("machine")] if audience == "person" else []
    first.append(decision(explanation, row, output, words, audience))
    told, sure = [words.told("undefined")], []
    if np.isfinite(explanation.full[row, output]) and np.isfinite(explanation.attributions[row, :, output]).any():
        reasons = _reasons(explanation, row, output, words, schema)
        floor = rounding(*(float(end[row, output]) for end in (explanation.base, explanation.full)), _largest(reasons))
        reasons = [reason for reason in reasons if reason.shown(floor)]
        if is_attention(explanation):
            told = _looked_at(reasons, words, audience)
        else:
            of = words.of_players(explanation) if is_text(explanation) else ""
            told = _for_and_against(reasons, words, audience, of, quoted(explanation.outputs[row][output]))
        if audience != "person" and is_series(explanation) and summed(explanation, row, output, words):
            told.append(words.told("series_summed", count=f"{len(explanation.players.of(row)):,}"))
        sure = _sureness(explanation, row, output, reasons, words, audience)
    sure = [*erasure_told(explanation, row, output, words), *sure, *told_cautions(explanation, words)]
    gap = "" if language == "zh" else " "
    parts = (first, told, sure, [words.told(f"meaning_{audience}")])
    return [gap.join(part) for part in parts if part]


def decision(explanation: Answer, row: int, output: int, words: Words, audience: str) -> str:
    """What the output of a row is, and what it would be with everything absent."""
    base, full = float(explanation.base[row, output]), float(explanation.full[row, output])
    ends = {"base": number(base), "full": number(full), "change": number(full - base, signed=True)}
    told = {"method": words.method(explanation.method), "output": quoted(explanation.outputs[row][output]), **ends}
    known = "" if np.isfinite(base) else "_alone"
    if scale.is_log(explanation):
        compared = "times" if scale.said(explanation, row, output) == "difference" else "log"
        told |= {"what": scale.named(explanation, row, output, words), **scale.chances(explanation, row, output)}
        return words.told(f"decision_{compared}{known}_{audience}", **told)
    about = entity_of(explanation, row) if is_text(explanation) and not known else None
    if about is not None:
        told["entity"] = quoted(text_and_spans(explanation, row)[0][slice(*about)])
        return words.told(f"decision_entity_{audience}", **told)
    code = "output" if known else "decision_text" if is_text(explanation) else "decision"
    return words.told(f"{code}_{audience}", **told)


def _reasons(explanation: Explanation, row: int, output: int, words: Words, schema: Schema | None) -> list[Reason]:
    """All players of the row by the size of their contribution; of a picture's many pixels, its nine parts."""
    if is_image(explanation) and explanation.players.most > 9 and explanation.pooling == "sum":
        shares = share_map(explanation, row, output)
        if min(shares.shape) >= 3:
            return _parts(shares, words)
    if is_series(explanation):
        return _of_series(explanation, row, output, words)
    own = cells(explanation, row, schema)
    found = explanation.top(explanation.players.most, row, output)
    if is_text(explanation):
        return _of_text(found)
    return [
        Reason(quoted(name), _cell(explanation, row, name, own, words), value, error) for name, value, error in found
    ]


def _of_series(explanation: Explanation, row: int, output: int, words: Words) -> list[Reason]:
    """The stretches of a series by the size of their contributions; many small ones summed over longer ones."""
    players, axes = explanation.players, explanation.players.axes
    assert axes is not None
    names = players.of(row)
    values = explanation.attributions[row, : len(names), output]
    if together := summed(explanation, row, output, words):
        return [Reason(name, None, total, np.nan) for name, total in together]
    errors = np.full(len(names), np.nan) if explanation.errors is None else explanation.errors[row, :, output]
    held = [stretch_of(players, row, player) for player in range(len(names))]
    told = [quoted(name) if own is None else own.told(axes, words) for name, own in zip(names, held, strict=True)]
    reasons = [Reason(*parts) for parts in zip(told, [None] * len(names), values, errors, strict=False)]
    return sorted(reasons, key=lambda reason: -abs(reason.value))


def _of_text(found: list[tuple[str, float, float]]) -> list[Reason]:
    """The words of a text by the size of their contributions, summed over the places where each stands."""
    places: dict[str, list[tuple[float, float]]] = {}
    for name, value, error in found:
        places.setdefault(name, []).append((value, error))
    reasons = [
        Reason(quoted(name), None, sum(value for value, _ in own), own[0][1] if len(own) == 1 else np.nan, len(own))
        for name, own in places.items()
    ]
    return sorted(reasons, key=lambda reason: -abs(reason.value))


def _cell(explanation: Explanation, row: int, name: str, own: dict[str, str], words: Words) -> str | None:
    """A player's cell as it is printed: numbers bare, text in quotation marks; None where rows are no tables."""
    if name not in own:
        return None
    if isinstance(explanation.rows[row][name], (int, float, np.number)):
        return own[name] or words("empty_cell")
    return quoted(own[name]) if own[name] else words("empty_cell")


def _parts(shares: np.ndarray, words: Words) -> list[Reason]:
    """The contributions of a picture summed over its nine parts (a sum has no standard error of its own here)."""
    sums = [block.sum() for band in np.array_split(shares, 3, axis=0) for block in np.array_split(band, 3, axis=1)]
    reasons = [
        Reason(words.told("place_" + place), None, float(total), np.nan)
        for place, total in zip(_PLACES, sums, strict=True)
    ]
    return sorted(reasons, key=lambda reason: -abs(reason.value))


def _for_and_against(reasons: list[Reason], words: Words, audience: str, of: str = "", output: str = "") -> list[str]:
    """The largest reasons of each sign; those that cannot be told from zero are no reasons.

    Of a text ``of`` says what they are ("words"), and they speak for or against the output by its name.
    """
    if not reasons:
        return [words.told("none")]
    clear, sentences = [reason for reason in reasons if not reason.unclear], []
    for side, listed in (("raised", _shown(clear, 1)), ("lowered", _shown(clear, -1))):
        if listed:
            told = words.joined([_told(reason, words, audience) for reason in listed])
            code = f"text_{side}" if of else f"{side}_{audience}"
            more = {"players": of, "output": output} if of else {}
            sentences.append(words.told(code, reasons=told, **more))
        elif of:
            sentences.append(words.told(f"text_not_{side}", players=of, output=output))
        else:
            sentences.append(words.told(f"not_{side}"))
    return sentences


def _largest(reasons: list[Reason]) -> float:
    return max((abs(reason.value) for reason in reasons), default=0.0)


def _looked_at(reasons: list[Reason], words: Words, audience: str) -> list[str]:
    """What attention goes to, which raises and lowers nothing."""
    listed = _shown(reasons, 1)
    if not listed:
        return [words.told("none")]
    return [words.told("looked_at", reasons=words.joined([_told(reason, words, audience) for reason in listed]))]


def _shown(reasons: list[Reason], sign: int) -> list[Reason]:
    return [reason for reason in reasons if reason.value * sign > 0][: FOR if sign > 0 else AGAINST]


def _told(reason: Reason, words: Words, audience: str) -> str:
    name = reason.name if reason.cell is None else words.told("cell", name=reason.name, cell=reason.cell)
    if reason.times > 1:
        name = words.told("times", name=name, times=reason.times)
    if audience == "person":
        return name
    amount = number(reason.value, signed=True) + (spread(reason.error) if audience == "expert" else "")
    return words.told("amount", name=name, amount=amount)


def _sureness(
    explanation: Explanation, row: int, output: int, reasons: list[Reason], words: Words, audience: str
) -> list[str]:
    """What the record's own checks say of this row: ties, signs, the gap, a flat output."""
    sentences = []
    if scale.is_log(explanation) and audience != "person":
        summed = scale.sums_tokens(explanation, row, output)
        sentences.append(words.told("log_amounts_summed" if summed else "log_amounts"))
    clear = [reason for reason in reasons if not reason.unclear]
    ties = [pair for sign in (1, -1) for pair in _ties(_shown(clear, sign))]
    if ties:
        told = words.joined([words.told("pair", first=a.name, second=b.name) for a, b in ties])
        sentences.append(words.told(f"ties_{'person' if audience == 'person' else 'expert'}", pairs=told))
    unclear = [reason.name for reason in reasons[: FOR + AGAINST] if reason.unclear]
    if unclear:
        sentences.append(words.told("unclear", names=words.joined(unclear)))
    if explanation.base[row, output] == explanation.full[row, output]:
        sentences.append(words.told("flat"))
    gap = float("nan") if explanation.gaps is None else float(explanation.gaps[row, output])
    if np.isfinite(gap) and gap > LARGEST_GAP:
        sentences.append(words.told(f"gap_{audience}", gap=percent(gap)))
    elif audience != "person":
        sentences.append(words.told("adds_up", gap=percent(gap)) if np.isfinite(gap) else words.told("no_promise"))
    if audience == "expert":
        told = [reason.error for sign in (1, -1) for reason in _shown(clear, sign)]
        sentences += errors_told(explanation.errors, (row, slice(None), output), told, words)
        cost = explanation.cost
        sentences.append(
            words.told("cost", evaluations=number(cost.evaluations), rows=f"{cost.rows:,}", seed=explanation.seed)
        )
    return sentences


def errors_told(errors: np.ndarray | None, place: tuple[Any, ...], told: list[float], words: Words) -> list[str]:
    """What ± stands for, where the sentences hold one; else why they hold none.

    ``told`` are the standard errors of the amounts in the sentences, ``errors[place]`` those of the row.
    """
    if errors is None:
        return [words.told("no_errors")]
    if any(error > 0 for error in told):
        return [words.told("errors")]
    known = errors[place]
    if not np.nansum(np.abs(known)) and np.isfinite(known).any():
        return [words.told("exact")]
    if told and np.nansum(np.abs(known)) > 0:
        return [words.told("errors_of_sums")]
    return [words.told("errors_unknown")] if told else []


def _ties(reasons: list[Reason]) -> list[tuple[Reason, Reason]]:
    """Neighbours whose order their standard errors do not settle (errors taken as independent)."""
    return [
        (a, b)
        for a, b in pairwise(reasons)
        if np.isfinite(a.error + b.error)
        and (a.error or b.error)
        and abs(abs(a.value) - abs(b.value)) < Z * np.hypot(a.error, b.error)
    ]


def told_cautions(record: Answer, words: Words) -> list[str]:
    """The gravest cautions of a record; the rest are counted."""
    grave = sorted((c for c in record.warnings if c.severity != "note"), key=lambda c: RANK[c.severity])
    if not grave:
        return []
    told = [
        words.told("caution", severity=words(f"severity_{caution.severity}"), caution=words.of(caution))
        for caution in grave[:CAUTIONS]
    ]
    return told + ([words.told("more_cautions", count=len(grave) - CAUTIONS)] if len(grave) > CAUTIONS else [])


def erasure_told(record: Answer, row: int, output: int, words: Words) -> list[str]:
    """A row's erasure test in one sentence; nothing for records without one."""
    if not is_attention(record):
        return []

    def of(name: str) -> float:
        found = record.notes[name][row]
        return float(found[output] if isinstance(found, list) else found)

    figures = {"first": number(of("erasure_first")), "random": number(of("erasure_random"))}
    half = number(Z * of("erasure_error"))
    return [words.told("attention_erasure", erased=int(of("erased")), half=half, **figures)]


def rule_paragraphs(rules: Rules, row: int, language: str = "en", audience: str = "expert") -> list[str]:
    """A row's rules in sentences: each target's rule, whether it is as sure as asked, what it cost."""
    words, told = Words(language), []
    for output in range(len(rules.outputs[row])):
        told.append(rules.sentence(row, output, language))
        if not rules.met[row, output]:
            told.append(words.told("rule_missed", threshold=rules.threshold))
        if audience == "expert":
            told.append(words.told("rule_cost", samples=f"{int(rules.samples[row, output]):,}", seed=rules.seed))
    return told + told_cautions(rules, words)


def set_paragraphs(sets: Sets, row: int, language: str = "en", audience: str = "expert") -> list[str]:
    """A row's sets in sentences, each target's for itself; how minimal a set is is not told to the person concerned."""
    told = [sets.sentences(row, output, language) for output in range(len(sets.outputs[row]))]
    whole = [" ".join(sentences[:1] if audience == "person" else sentences) for sentences in told]
    return whole + told_cautions(sets, Words(language))
