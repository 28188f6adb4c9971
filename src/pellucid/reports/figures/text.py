"""Figures of texts: the text itself with its words shaded by what they do, and the words that matter over all texts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pellucid.measures.vocabulary import words_of
from pellucid.records.amounts import Z
from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation

from ..marked_text import Piece, pieces_of
from ..words import Words, cut, fitted, isolated, number, quoted, unique
from .contributions import LABEL, barred
from .theme import DOWN, SERIES, UP, WIDTH, table, themed

if TYPE_CHECKING:
    import altair as alt

LETTER, LINE, AIR = 7.3, 27, 1.5
"""Pixels: the width of a letter of the text, which is set in one of equal widths; a line; the air beside a word."""
SHADES = {0: 0.0, 1: 0.16, 2: 0.34, 3: 0.55}


@dataclass
class _Placed:
    """A piece without blanks around it, on its line: where it begins and how wide it is."""

    piece: Piece
    text: str
    width: float
    x: float = 0.0
    line: int = 0


def marked_text(explanation: Explanation, row: int = 0, *, output: int = 0, language: str = "en") -> alt.LayerChart:
    """One row's text, each word on a band of colour as strong as its contribution.

    What raises the output has a line under it, what lowers it a dotted one; a dashed frame instead of a band stands
    for what cannot be told from zero. Of a long text the sentences that carry most are shown.
    """
    import altair as alt

    if not -len(explanation) <= row < len(explanation):
        raise InputError(f"row {row} of an explanation of {len(explanation)} rows")
    words = Words(language)
    placed = _set(list(_words(pieces_of(explanation, row % len(explanation), output), words)))
    lines = [_line(one) for one in placed]
    height = LINE * (1 + max((one.line for one in placed), default=0))
    look = {"tooltip": [alt.Tooltip("word:N", title=words("tip_player")),
                        alt.Tooltip("amount:N", title=words("tip_contribution"))]}  # fmt: skip
    name = fitted(explanation.outputs[row][output], 30)
    key = " · ".join([words("marked_key"), *([words("marked_entity")] if any(line["asked"] for line in lines) else [])])
    title = {"text": words("marked_title", output=name), "subtitle": key, "subtitleFontSize": 10.5}
    chart: Any = alt.layer(*_bands(lines, look), *_letters(lines)).properties(width=WIDTH, height=height, title=title)
    told = "; ".join(f"{fitted(n, 30)} {number(v, signed=True)}" for n, v, _ in explanation.top(3, row, output))
    return themed(chart, words("alt_marked", output=name, told=told), "shrink")


def _words(pieces: Sequence[Piece], words: Words) -> Iterator[_Placed]:
    """The pieces of a text as what is set in lines: gaps are parted at their blanks, long words are cut."""
    for piece in pieces:
        if piece.left_out:
            yield _measured(piece, words("left_out", count=piece.left_out))
        elif piece.amount:
            yield _measured(piece, " ".join(piece.text.split()))
        else:
            parts = piece.text.split()
            if not parts:
                yield _Placed(piece, "", LETTER)
            for part in parts:
                yield _measured(piece, part)


def _measured(piece: Piece, text: str) -> _Placed:
    text = fitted(text, int(WIDTH / LETTER) - 2)
    return _Placed(piece, text, LETTER * sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text))


def _set(words: list[_Placed]) -> list[_Placed]:
    """The words on lines, each with its place; a line of a right-to-left text begins on the right."""
    base = _direction("".join(word.text for word in words)) or "L"
    lines: list[list[_Placed]] = [[]]
    room = float(WIDTH)
    for word in words:
        if word.width > room and lines[-1]:
            lines.append([])
            room = float(WIDTH)
        if word.text or lines[-1]:  # a line does not begin with a blank
            lines[-1].append(word)
            room -= word.width
    for place, line in enumerate(lines):
        x = 0.0
        for word in _visual(line, base):
            word.x, word.line = (x if base == "L" else WIDTH - x - word.width), place
            x += word.width
    return [word for line in lines for word in line if word.text]


def _visual(line: list[_Placed], base: str) -> list[_Placed]:
    """A line in the order in which it is read from its side: runs of the other direction turn round."""
    found: list[_Placed] = []
    run: list[_Placed] = []
    for word in line:
        if (_direction(word.text) or base) != base or (run and not word.text):
            run.append(word)
            continue
        found += [*run[::-1], word]
        run = []
    return found + run[::-1]


def _direction(text: str) -> str:
    """``"L"`` or ``"R"`` by the first letter that has a direction; ``""`` without one."""
    for letter in text:
        kind = unicodedata.bidirectional(letter)
        if kind in ("L", "R", "AL"):
            return "L" if kind == "L" else "R"
    return ""


def _line(word: _Placed) -> dict[str, Any]:
    piece, top = word.piece, word.line * LINE
    step = piece.step
    return {
        "text": word.text, "word": cut(word.text, 300), "amount": piece.amount,
        "x": word.x - AIR, "x2": word.x + word.width + AIR, "middle": word.x + word.width / 2,
        "top": top + 4, "bottom": top + LINE - 4, "center": top + LINE / 2,
        "sign": (step > 0) - (step < 0), "shade": 0.0 if piece.unclear else SHADES[abs(step)],
        "unclear": piece.unclear and step != 0, "muted": bool(piece.left_out), "asked": piece.asked,
    }  # fmt: skip


def _bands(lines: list[dict[str, Any]], look: dict[str, Any]) -> list[Any]:
    """The bands under the words, the lines below them, and the frames of what is unclear and of what is asked about."""
    import altair as alt

    base = alt.Chart(table(lines)).encode(
        x=alt.X("x:Q", scale=None, axis=None), x2="x2:Q", y=alt.Y("top:Q", scale=None, axis=None), y2="bottom:Q"
    )
    color = alt.Color("sign:N", scale=alt.Scale(domain=[1, 0, -1], range=[UP, "#9aa5b1", DOWN]), legend=None)
    bands = base.mark_rect(cornerRadius=3).encode(
        color=color, opacity=alt.Opacity("shade:Q", scale=None, legend=None), **look
    )
    marked = alt.Chart(table(lines)).transform_filter("datum.sign != 0 && !datum.unclear")
    under = {"x": alt.X("x:Q", scale=None, axis=None), "x2": "x2:Q", "y": alt.Y("bottom:Q", scale=None, axis=None)}
    frames = base.transform_filter("datum.unclear").mark_rect(fillOpacity=0, strokeDash=[3, 2], cornerRadius=3)
    stroke = alt.Stroke("sign:N", scale=alt.Scale(domain=[1, 0, -1], range=[UP, "#9aa5b1", DOWN]), legend=None)
    asked = base.transform_filter("datum.asked").mark_rect(fillOpacity=0, stroke="#8b95a1", cornerRadius=3)
    return [
        bands,
        *([asked] if any(line["asked"] for line in lines) else []),
        marked.transform_filter("datum.sign > 0").mark_rule(color=UP, strokeWidth=2).encode(**under),
        marked.transform_filter("datum.sign < 0").mark_rule(color=DOWN, strokeWidth=2, strokeDash=[2, 3]).encode(
            **under
        ),
        frames.encode(stroke=stroke, **look),
    ]  # fmt: skip


def _letters(lines: list[dict[str, Any]]) -> list[Any]:
    import altair as alt

    at = {"x": alt.X("middle:Q", scale=None, axis=None), "y": alt.Y("center:Q", scale=None, axis=None)}
    texts = alt.Chart(table(lines)).mark_text(font="monospace", fontSize=12, baseline="middle", align="center")
    faded = alt.condition("datum.muted", alt.value(0.6), alt.value(1))
    return [texts.encode(text="text:N", opacity=faded, **at)]


# Words over all texts --------------------------------------------------------------------------


@dataclass(frozen=True)
class WordWeight:
    """A word over all texts.

    Attributes
    ----------
    word: in small letters; times: how often it is a player; texts: in how many texts.
    size: Σ |contribution| of its occurrences ÷ all texts; error: its standard error over texts.
    means: output → the mean contribution of its occurrences where that output is explained.
    """

    word: str
    times: int
    texts: int
    size: float
    error: float
    means: dict[str, float]


def word_weights(explanation: Explanation, output: int = 0) -> list[WordWeight]:
    """Every word of the explained texts, the weightiest first: strong and frequent words lead, not rare accidents.

    Players that differ in case or in the punctuation around them are one word; those without letters are left out.
    """
    N = len(explanation)
    sizes: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    signed: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in range(N):
        name = explanation.outputs[row][output]
        for player, value in zip(explanation.players.of(row), explanation.attributions[row, :, output], strict=False):
            word = " ".join(words_of(player))
            if word and np.isfinite(value):
                sizes[word][row] += abs(float(value))
                signed[word][name].append(float(value))
    found = [_weight(word, own, signed[word], N) for word, own in sizes.items()]
    return sorted(found, key=lambda weight: (-weight.size, weight.word))


def _weight(word: str, by_row: dict[int, float], signed: dict[str, list[float]], N: int) -> WordWeight:
    every = np.zeros(N)
    every[list(by_row)] = list(by_row.values())
    error = float(every.std(ddof=1) / np.sqrt(N)) if N > 1 else float("nan")
    means = {name: float(np.mean(values)) for name, values in signed.items()}
    return WordWeight(word, sum(map(len, signed.values())), len(by_row), float(every.mean()), error, means)


def words_overall(explanation: Explanation, *, output: int = 0, k: int = 15, language: str = "en") -> alt.LayerChart:
    """The words that carry most over all texts, with 95 % intervals over texts, and how often each stands there."""
    import altair as alt

    words = Words(language)
    found = word_weights(explanation, output)[:k]
    labels = unique([words("word_times", word=isolated(fitted(w.word, LABEL - 8)), count=w.times) for w in found])
    rows = [
        {"label": label, "name": cut(w.word, 300), "value": w.size, "short": number(w.size),
         "low": None if np.isnan(w.error) else max(0.0, w.size - Z * w.error),
         "high": None if np.isnan(w.error) else w.size + Z * w.error}
        for label, w in zip(labels, found, strict=True)
    ]  # fmt: skip
    largest = max([row["high"] or row["value"] for row in rows], default=1.0) or 1.0
    axis = alt.Axis(tickCount=alt.ExprRef("narrow ? 3 : 5"))
    scale = alt.Scale(domain=[0, 1.02 * largest], nice=False)
    x = alt.X("value:Q", title=words("axis_words_overall"), scale=scale, axis=axis)
    tips = [alt.Tooltip("name:N", title=words("tip_player")), alt.Tooltip("short:N", title=words("axis_words_overall"))]
    chart = barred(rows, x, {"color": alt.value(SERIES[0]), "tooltip": tips})
    told = "; ".join(f"{quoted(row['name'], 30)} {row['short']}" for row in rows[:3])
    return themed(chart, words("alt_words_overall", told=told))
