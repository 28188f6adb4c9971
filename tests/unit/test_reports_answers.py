"""The figure of an answer: when it is drawn unasked, what its cells hold, and what a long prompt leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_reports_text import record

from pellucid.records.errors import InputError, NotApplicable
from pellucid.reports.figures.answers import PLAYERS, is_answer

pytest.importorskip("altair")

PROMPT = "in winter the farmer goes to"


def answer(text: str = PROMPT, tokens: tuple[str, ...] = ("the", "field", "the (2)")) -> Any:
    """A record of an answer: values of each token drawn, those of the whole their sum."""
    e = record([text])
    n, dice = len(e.players.of(0)), np.random.default_rng(3)
    each = dice.normal(size=(1, n, len(tokens)))
    values = np.concatenate([each.sum(2, keepdims=True), each], 2)
    base = np.array([[-3.0 * len(tokens), *[-3.0] * len(tokens)]])
    return replace(
        e, attributions=values, base=base, full=base + values.sum(1), outputs=((" ".join(tokens), *tokens),)
    )  # fmt: skip


def cells(chart: Any) -> list[dict[str, Any]]:
    return next(iter(chart.to_dict()["datasets"].values()))


def test_an_answer_and_its_tokens_are_drawn_as_a_map_unasked() -> None:
    e = answer()
    found = cells(e.plot())
    assert len(found) == 6 * 4
    told = {(line["player"], line["column"]): line["value"] for line in found}
    assert told["winter", "field"] == pytest.approx(e.attributions[0, 1, 2])
    assert told["to", "whole answer (sum)"] == pytest.approx(e.attributions[0, 5, 0])
    assert [line["column"] for line in found[:4]] == ["the", "field", "the (2)", "whole answer (sum)"]
    assert "整个回答" in str(e.plot(language="zh").to_dict())


def test_outputs_that_do_not_add_up_are_no_answer() -> None:
    e = answer()
    other = replace(e, full=e.full + np.array([[1.0, 0, 0, 0]]))
    assert is_answer(e) and not is_answer(other)
    assert "whole answer" not in str(other.plot("answer").to_dict())  # asked for by name, every output is a column
    assert not is_answer(record([PROMPT]))


def test_a_long_prompt_is_folded_to_the_words_that_carry_most() -> None:
    e = answer(" ".join(f"word{i}" for i in range(200)))
    shown = {line["player"] for line in cells(e.plot())}
    sizes = np.abs(e.attributions[0]).sum(1)
    assert shown == {f"word{i}" for i in np.argsort(-sizes)[:PLAYERS]}
    assert f"{PLAYERS} of 200 words" in str(e.plot().to_dict())


def test_what_is_no_answer_is_refused_with_a_reason() -> None:
    with pytest.raises(NotApplicable, match="not of several outputs of a text"):
        record([PROMPT]).plot("answer")
    with pytest.raises(InputError, match="row 3 of a"):
        answer().plot("answer", row=3)
