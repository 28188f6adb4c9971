"""What is asked of networks that write: why they answer so, and which sources an answer rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..backends.language import Continued, greedy, refuse_too_long
from ..data.asked_text import Answer, Asked
from ..data.boundaries import sentences_of
from ..doors.wrap import network_that
from ..modalities.text import Passages, Replace
from ..records.errors import InputError
from ..records.explanation import Explanation
from ..records.messages import Caution
from .explaining import explain

MOST = 64
"""Tokens that a network writes where nobody says how many."""
GAIN, SHARE = math.log(3), 0.5
"""An answer is called grounded where the sources make it at least three times as probable, and in one sentence where
that one's contribution is at least half of the gain. Measured in benchmarks/grounding.py."""


# Answers -----------------------------------------------------------------------------------------------------------


def written(model: Any, prompt: str, most: int = MOST) -> tuple[str, tuple[int, ...]]:
    """What the network writes after a prompt, always taking the likeliest token: as text and as tokens.

    Raises :class:`NotApplicable` for a model that does not write, :class:`InputError` where it writes nothing.
    """
    model, reading = network_that(model, Continued, "writes")
    found = model.encoding.encode([prompt])
    refuse_too_long(found, 0, model.encoding)
    start = [int(token) for token in found.tokens[0]]
    room = most if model.encoding.most is None else min(most, model.encoding.most - len(start))

    def next_token(already: tuple[int, ...]) -> int:
        rows = {"tokens": torch.tensor([[*start, *already]])}
        with model.untouched(), torch.no_grad():
            return int(model.outputs(model.place(rows))[0].argmax())

    tokens = greedy(next_token, reading.ends, room)
    if not tokens:
        raise InputError("the network ends its answer at once", fix="give the answer to be explained: answer=…")
    return model.encoding.spoken(tokens).strip(), tokens


def explain_answer(
    model: Any,
    prompt: str,
    answer: str | None = None,
    *,
    rather_than: str | None = None,
    method: Any = "auto",
    most: int = MOST,
    **question: Any,
) -> Explanation:
    """Why a causal language model answers as it does: what each word of the prompt adds to the log-probability.

    Without ``answer`` the network writes one itself, greedily and at most ``most`` tokens long. The explained numbers
    are the whole answer and each of its tokens given those before it; with
    ``rather_than`` the one number log p(answer) − log p(rather_than). Further arguments are those of
    :func:`pellucid.explain`.
    """
    if answer is not None and not answer.strip():
        raise InputError("an empty answer has nothing to explain", fix="leave answer= out, and the network writes one")
    own: Answer = written(model, prompt, most)[1] if answer is None else answer
    offered = (own,) if rather_than is None else (own, rather_than)
    how: dict[str, Any] = {"target": "all" if rather_than is None else (0, 1)} | question
    return explain(model, [Asked(prompt, answers=offered)], method, **how)


def asked_to_answer(model: Any, texts: Sequence[str], answer: str | None = None) -> list[Asked]:
    """Texts, each with how it is to go on: by one answer for all of them, or (None) by what the network writes.

    Raises :class:`NotApplicable` for a model that does not write.
    """
    model, _ = network_that(model, Continued, "writes")
    return [Asked(text, answers=(written(model, text)[1] if answer is None else answer,)) for text in texts]


# Sources -----------------------------------------------------------------------------------------------------------


def explain_context(
    model: Any,
    question: str,
    sources: str | Sequence[str],
    answer: str | None = None,
    *,
    template: str = "{sources}\n\n{question}",
    method: Any = "auto",
    most: int = MOST,
    **asked: Any,
) -> Explanation:
    """Which sentences of the sources an answer of a causal language model rests on.

    Players are the sentences of the sources alone; one that is absent is deleted, and the question always stays.
    The number explained is the log-probability of the whole answer. A caution says the verdict: ``grounded`` (in which
    sentence), ``grounded_together`` (in several), or ``not_grounded``; ``notes["grounding"]`` holds its figures.

    Parameters
    ----------
    question: as it stands behind the sources.
    sources: a text, or several, which are parted by a line break (by what ``template`` has between words otherwise).
    answer: as text; the network writes one where none is given.
    template: how sources and question become a prompt.
    method: as in :func:`pellucid.explain`; up to 12 sentences all coalitions are asked, so that nothing is left to
        chance.

    Source: the question is that of Cohen-Wang et al. 2024 (ContextCite, arXiv 2409.00729), answered with Shapley values
    of the log-probability instead of a sparse linear fit to its logit.
    """
    parts = [sources] if isinstance(sources, str) else list(sources)
    joined = "\n".join(parts) if "\n" in template else " ".join(parts)
    before, _, after = template.partition("{sources}")
    if not after or "{question}" not in template:
        raise InputError(f"the template {template!r} lacks a place", fix="give {sources} and behind it {question}")
    lead = before.replace("{question}", question)
    prompt = lead + joined + after.replace("{question}", question)
    spans = tuple((start + len(lead), stop + len(lead)) for start, stop in sentences_of(joined))
    if not spans:
        raise InputError("the sources have no sentence")
    own: Answer = written(model, prompt, most)[1] if answer is None else answer
    how: dict[str, Any] = {"removal": Replace(), "players": Passages(spans), "target": 0} | asked
    found = explain(model, [Asked(prompt, answers=(own,))], "shapley" if method == "auto" else method, **how)
    figures, said = verdict(found)
    return replace(found, notes={**found.notes, "grounding": [figures]}, warnings=(said, *found.warnings))


def verdict(found: Explanation) -> tuple[dict[str, Any], Caution]:
    """Whether the answer of the first row rests on its sources, and on which sentence.

    The gain is how much likelier all sources together make the answer (in log-probability). Below the threshold it is
    not grounded. Of the sentences the strongest must hold its half of the gain with the lower end of its interval.
    """
    values = found.attributions[0, :, 0]
    errors = np.zeros_like(values) if found.errors is None else found.errors[0, :, 0]
    gain = float(found.full[0, 0] - found.base[0, 0])
    best = int(np.nanargmax(values))
    low = float(values[best] - 1.96 * errors[best])
    figures = {"gain": gain, "sentence": best, "value": float(values[best]), "low": low, "answer": found.outputs[0][0]}
    told = {"answer": found.outputs[0][0], "times": math.exp(min(gain, 700.0)), "of": len(found.players.of(0))}
    if gain < GAIN or low <= 0:
        return figures | {"verdict": "not_grounded"}, Caution.of("not_grounded", "yellow", **told)
    told |= {"sentence": best + 1, "text": found.players.of(0)[best], "share": min(float(values[best]) / gain, 1.0)}
    code = "grounded" if low >= SHARE * gain else "grounded_together"
    return figures | {"verdict": code}, Caution.of(code, "note", **told)
