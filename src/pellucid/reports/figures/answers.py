"""The figure of an answer: what each word of a prompt adds to each token of what a network wrote."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.explanation import Explanation

from ..marked_text import is_text
from ..scale import is_log
from ..words import Words, cut, fitted, number, quoted, spread, unique
from .matrices import matrix, top_axis
from .theme import DIVERGING, themed

if TYPE_CHECKING:
    import altair as alt

PLAYERS, TOKENS, WRITTEN = 30, 24, 8
"""Words and tokens shown at most; up to so many columns numbers are written into the cells."""


def is_answer(explanation: Explanation, row: int = 0) -> bool:
    """Whether a row's outputs are an answer and its tokens: the first, a log-probability, is the sum of the others."""
    if not is_text(explanation) or explanation.full.shape[1] < 3:
        return False
    ends = (explanation.full[row], explanation.base[row])
    return all(bool(np.isclose(end[0], end[1:].sum(), rtol=1e-4, atol=1e-4)) for end in ends)


def answer_map(explanation: Explanation, row: int = 0, *, language: str = "en") -> alt.LayerChart:
    """A row's players by the tokens of its answer, the whole answer in the last column, in one scale of colour.

    Of more than 30 players and 24 tokens those are shown that carry most |contribution|, in their order. Of texts with
    several outputs that are no answer, every output is a column. Raises :class:`InputError` for a row that is not
    there, :class:`NotApplicable` for what is no text or has one output.
    """
    import altair as alt

    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    if not is_text(explanation) or len(explanation.outputs[row]) < 2:
        raise NotApplicable(
            "this explanation is not of several outputs of a text", fix="explain an answer: pellucid.explain_answer(…)"
        )
    words, row = Words(language), row % len(explanation)
    columns, own = _columns(explanation, row, words)
    players = explanation.players.of(row)
    kept = _heaviest(explanation.attributions[row, : len(players)][:, columns], PLAYERS)
    labels = unique([fitted(players[player], 22) for player in kept])
    heads = unique([fitted(name, 18) for name in own])
    lines = _cells(explanation, row, dict(zip(kept, labels, strict=True)), dict(zip(columns, heads, strict=True)), own)
    largest = max((abs(line["value"]) for line in lines if np.isfinite(line["value"])), default=0.0) or 1.0
    for line in lines:
        line["ink"] = "none" if len(heads) > WRITTEN else "pale" if abs(line["value"]) > 0.75 * largest else "ink"
    x = alt.X("column:N", scale=alt.Scale(domain=heads), title=None, axis=top_axis(heads, upright=True))
    y = alt.Y("row:N", scale=alt.Scale(domain=labels), title=None)
    scale = alt.Scale(domain=[-largest, -largest / 2, 0, largest / 2, largest], range=list(DIVERGING),
                      interpolate="rgb")  # fmt: skip
    tips = [alt.Tooltip(f"{field}:N", title=words(code)) for field, code in
            (("player", "tip_player"), ("output", "tip_token"), ("amount", "tip_contribution"))]  # fmt: skip
    across, down = (64, 24) if len(heads) <= WRITTEN else (26, 22)
    title = {"text": words(_of("answer_title", explanation)),
             "subtitle": _left_out(explanation, row, kept, columns, words),
             "subtitleFontSize": 10.5}  # fmt: skip
    chart = matrix(lines, x, y, "value", scale, tips).properties(
        width=across * len(heads), height=down * len(labels), title=title
    )
    strongest = sorted((line for line in lines if np.isfinite(line["value"])), key=lambda line: -abs(line["value"]))
    told = "; ".join(f"{quoted(line['player'], 30)} → {quoted(line['output'], 30)} {line['text']}"
                     for line in strongest[:3])  # fmt: skip
    return themed(chart, words("alt_answer", answer=fitted(explanation.outputs[row][0], 60), told=told), "scroll")


def _of(code: str, explanation: Explanation) -> str:
    """The catalogue's code for answers; of texts with outputs of another kind, that for these."""
    return code if is_log(explanation) else f"{code}_outputs"


def _columns(explanation: Explanation, row: int, words: Words) -> tuple[list[int], list[str]]:
    """The outputs that are columns and what each is called: tokens in their order, the whole answer behind them."""
    outputs = explanation.outputs[row]
    values = explanation.attributions[row]
    if not is_answer(explanation, row):
        kept = _heaviest(values.T, TOKENS)
        return kept, [cut(outputs[column]) for column in kept]
    kept = [token + 1 for token in _heaviest(values[:, 1:].T, TOKENS)]
    return [*kept, 0], [*(cut(outputs[column]) for column in kept), words("answer_whole")]


def _heaviest(values: np.ndarray, most: int) -> list[int]:
    """The places of the ``most`` lines with the largest Σ|value|, in their order; those without a value are none."""
    sizes = np.nansum(np.abs(values), axis=1)
    there = np.flatnonzero(np.isfinite(values).any(axis=1))
    return sorted(int(place) for place in there[np.argsort(-sizes[there], kind="stable")[:most]])


def _cells(
    explanation: Explanation, row: int, players: dict[int, str], columns: dict[int, str], told: list[str]
) -> list[dict[str, Any]]:
    """A line for each cell; amounts with their intervals stand in the tooltips."""
    names, lines = explanation.players.of(row), []
    for player, label in players.items():
        for (column, head), output in zip(columns.items(), told, strict=True):
            value = float(explanation.attributions[row, player, column])
            error = np.nan if explanation.errors is None else float(explanation.errors[row, player, column])
            text = number(value, signed=True)
            lines.append({"row": label, "column": head, "value": value, "text": text,
                          "player": cut(names[player], 300), "output": output,
                          "amount": text + spread(error)})  # fmt: skip
    return lines


def _left_out(explanation: Explanation, row: int, kept: list[int], columns: list[int], words: Words) -> list[str]:
    """The key, and what is not shown."""
    told = [words(_of("answer_key", explanation))]
    if is_answer(explanation, row):
        told.append(words("answer_key_tokens"))
    players, outputs = len(explanation.players.of(row)), len(explanation.outputs[row])
    if len(kept) < players or len(columns) < outputs:
        told.append(words("answer_folded", shown=len(kept), players=players, tokens=len(columns), outputs=outputs))
    return told
