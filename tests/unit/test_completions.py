"""Language models behind OpenAI-style endpoints: log-probabilities of answers become outputs that can be explained."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from serving import Said, Served

import pellucid
from pellucid.backends.endpoint import Endpoint
from pellucid.backends.endpoint_file import endpoint_settings
from pellucid.records.errors import ModelError, PellucidError

TEXTS = [["a", "good", "film"], ["a", "dull", "and", "bad", "film"]]


def tokens(text: str) -> list[str]:
    """Words with the blank before them, as most tokenizers cut."""
    return re.findall(r" ?[^ ]+| +", text)


def next_token(text: str) -> dict[str, float]:
    """Probabilities of the next word: the more often it says good, the more likely is yes."""
    score = text.split().count("good") - 2 * text.split().count("bad")
    yes = 1 / (1 + math.exp(-score))
    return {" yes": 0.8 * yes, " no": 0.8 * (1 - yes), " well": 0.15, " hm": 0.04, " so": 0.01}


def completions(content, drop=()):
    """A server of /v1/completions: echo with log-probabilities, or the likeliest next tokens."""
    choices = []
    for index, prompt in enumerate(content["prompt"]):
        cut = tokens(prompt) if content.get("echo") else []
        offsets = [sum(map(len, cut[:place])) for place in range(len(cut))]
        scores = [None, *(math.log(next_token("".join(cut[:p])).get(cut[p], 1e-3)) for p in range(1, len(cut)))]
        likely = sorted(next_token(prompt).items(), key=lambda pair: -pair[1])[: content["logprobs"]]
        made = {
            "tokens": [*cut, " yes"],
            "token_logprobs": [*scores[: len(cut)], -0.1],
            "text_offset": [*offsets, len(prompt)],
            "top_logprobs": [{token: math.log(p) for token, p in likely if token not in drop}],
        }
        choices.append({"index": index, "text": " yes", "logprobs": made})
    return {"object": "text_completion", "choices": choices[::-1]}


def chat(content):
    assert content["max_tokens"] == 1 and content["logprobs"] is True
    text = content["messages"][-1]["content"]
    likely = sorted(next_token(text).items(), key=lambda pair: -pair[1])[: content["top_logprobs"]]
    listed = [{"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in likely]
    return {
        "choices": [
            {"message": {"content": "yes"}, "logprobs": {"content": [{"token": " yes", "top_logprobs": listed}]}}
        ]
    }


def served(reply, rows):
    return Served(lambda rows: [], lambda call: Said(reply(call.content)), rows)


def model_of(server: Served, kind: str, **fields) -> Endpoint:
    usual = {"url": server.url, "private": True, "kind": kind, "model": "tiny", "backoff": 0.001, "retries": 1}
    named = {"answers": {"yes": " yes", "no": " no"}, "before": "Review: ", "after": "\nGood?"}
    return Endpoint(endpoint_settings({**usual, **named, **fields}), name="critic")


def prompts(content):
    return content["prompt"]


def messages(content):
    return [content["messages"][-1]["content"]]


KINDS = {
    "whole answers": ("openai-completions", completions, prompts, {}),
    "the next token": ("openai-completions", completions, prompts, {"scoring": "next", "top": 5}),
    "chat": ("openai-chat", chat, messages, {"top": 5}),
}


@pytest.mark.parametrize("name", KINDS)
def test_log_probabilities_are_explained(name):
    kind, reply, rows, fields = KINDS[name]
    with served(reply, rows) as server:
        model = model_of(server, kind, **fields)
        assert model.labels == ("yes", "no")
        e = pellucid.explain(model, TEXTS, "occlusion", target=("yes", "no"))
        np.testing.assert_allclose(e.values[0, :3], [0, 1, 0], atol=1e-9)
        np.testing.assert_allclose(e.values[1], [0, 0, 0, -2, 0], atol=1e-9)
        assert not [caution for caution in e.warnings if caution.code == "answer_unlisted"]
        sent = {text for call in server.calls for text in call.rows}
        assert all(text.startswith("Review: ") for text in sent)
        assert "Review: a good film\nGood?" + (" yes" if name == "whole answers" else "") in sent


def test_several_texts_of_an_answer_are_added():
    with served(chat, messages) as server:
        model = model_of(server, "openai-chat", top=5, answers={"yes": [" yes", " well", "Yes"], "no": " no"})
        found = model.outputs([["good"]])
        yes = 0.8 / (1 + math.exp(-1))
        np.testing.assert_allclose(np.exp(found[0].numpy()), [yes + 0.15, 0.8 - yes], atol=1e-9)


@pytest.mark.parametrize(("top", "bound"), [(3, 0.05), (4, 0.01)])
def test_an_answer_that_is_not_listed_gets_the_largest_value_it_can_have(top, bound):
    with served(completions, prompts) as server:
        model = model_of(server, "openai-completions", scoring="next", top=top, answers={"so": " so", "yes": " yes"})
        found = model.outputs([["film"]])
        assert math.exp(found[0, 0]) == pytest.approx(min(bound, 0.15))
        e = pellucid.explain(model, TEXTS, "occlusion", target="so")
        caution = next(caution for caution in e.warnings if caution.code == "answer_unlisted")
        assert "was not among the likeliest tokens" in caution.text() and caution.severity == "yellow"


def test_a_token_over_the_edge_belongs_to_the_answer():
    choice = {
        "logprobs": {
            "tokens": ["Is it", " good? y", "es", "!"],
            "token_logprobs": [None, -1.0, -2.0, -50.0],
            "text_offset": [0, 5, 13, 15],
        }
    }
    from pellucid.backends.completions import _score

    assert _score(choice, 11, 15) == -3.0
    assert _score(choice, 13, 15) == -2.0


FAULTS = {
    "no echo": (lambda content: completions({**content, "echo": False}), "does not echo the prompt.*scoring: next"),
    "a choice too few": (lambda content: {"choices": completions(content)["choices"][1:]}, "2 choices with an index"),
    "no logprobs": (
        lambda content: {"choices": [{**choice, "logprobs": None} for choice in completions(content)["choices"]]},
        "logprobs has no 'tokens': it is null",
    ),
    "an error": (lambda content: {"error": "x"}, "the reply has no 'choices'"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_replies_that_are_not_what_was_agreed(name):
    reply, message = FAULTS[name]
    with served(reply, prompts) as server, pytest.raises(ModelError, match=message):
        model_of(server, "openai-completions").outputs([["film"]])


def test_rows_that_are_no_texts_are_refused():
    import torch

    with served(chat, messages) as server:
        with pytest.raises(PellucidError, match="a language model takes texts"):
            model_of(server, "openai-chat").outputs({"inputs": torch.zeros(1, 2)})
        with pytest.raises(PellucidError, match="a dict cannot be sent to an endpoint"):
            model_of(server, "openai-chat").outputs([{"a": 1}])
