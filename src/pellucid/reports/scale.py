"""What number a record explains: an output as it is, or the log-probability of a token or of a whole answer."""

from __future__ import annotations

import math
from typing import Any

from pellucid.records.answer import Answer

from .words import Words, fitted, number, percent, quoted


def is_log(record: Answer) -> bool:
    """Whether the explained numbers are log-probabilities (natural logarithms), or differences of two."""
    return record.target.get("scale") == "log_probability"


def said(record: Answer, row: int, output: int) -> str:
    """What an output is: an ``"output"``, or the log-probability of a ``"word"``, of a ``"token"`` of an answer, of a
    whole ``"answer"``, or the ``"difference"`` of two such."""
    if not is_log(record):
        return "output"
    if record.columns is None or record.columns.ndim == 3:
        return "word" if record.columns is None else "difference"
    if "answers" not in record.target:
        return "word"
    return "answer" if record.columns[row, output] < record.target["answers"] else "token"


def sums_tokens(record: Answer, row: int, output: int) -> bool:
    """Whether a log-probability is that of a whole answer, or a difference of two such: sums over tokens."""
    return "answers" in record.target and said(record, row, output) in ("answer", "difference")


def named(record: Answer, row: int, output: int, words: Words) -> str:
    """The number in a sentence: "the log-probability of the whole answer “…”"."""
    return words.told(f"what_{said(record, row, output)}", output=quoted(record.outputs[row][output]))


def labelled(record: Answer, row: int, output: int, words: Words) -> str:
    """The number on an axis or over a figure, short."""
    name = fitted(record.outputs[row][output], 24 if is_log(record) else 30)
    return words(f"axis_number_{said(record, row, output)}", output=name)


def on_axis(record: Answer, row: int, output: int, words: Words) -> str:
    """The title of an axis along which the number itself is drawn."""
    own = labelled(record, row, output, words)
    return own if is_log(record) else words("axis_waterfall", output=own)


def chances(record: Answer, row: int, output: int) -> dict[str, Any]:
    """The log-probabilities of a row and of one with everything absent as what people can read: as probabilities, a
    difference as how many times as probable."""
    read = _times if said(record, row, output) == "difference" else _chance
    ends = {"chance": record.full[row, output], "before": record.base[row, output]}
    return {name: read(float(value)) for name, value in ends.items()}


def _chance(value: float) -> str:
    """A log-probability as a percentage; what is not quite certain is not called 100 %."""
    if not math.isfinite(value):
        return "—"
    chance = math.exp(min(value, 0.0))
    return percent(chance) if chance < 0.99 or chance == 1.0 else f"{chance:.1%}" if chance < 0.9995 else "> 99.9%"


def _times(value: float) -> str:
    return number(math.exp(min(value, 700.0))) if math.isfinite(value) else "—"
