"""Entities, answers and sources: what the verbs of language ask, and the verdict on a grounded answer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers")

from language_models import built

import pellucid
from pellucid.data.planted import PlantedTexts
from pellucid.records.errors import InputError, NotApplicable
from pellucid.studies.language import predicted_tags, verdict, written

PROMPT = "The capital of France is"


def wrapped(name: str) -> Any:
    network, words = built(name)
    return pellucid.wrap(network, encoding=words)


def test_every_entity_the_network_finds_is_explained_for_its_own_type():
    model, texts = wrapped("distilbert_tags"), ["Anna Schmidt lives in Berlin.", "The film was great."]
    tags = predicted_tags(model, texts)
    assert [len(own) for own in tags] == [5, 4]
    e = pellucid.explain_entities(model, texts, method="occlusion")
    for (number, start, stop, kind), outputs in zip(e.notes["entities"], e.outputs, strict=True):
        assert outputs == (kind,) and texts[number][start:stop].strip()
    assert len(e) == sum(tag[0] in "BI" for own in tags for tag in own) or len(e) > 0


def test_words_that_are_given_stay_the_words():
    tags = predicted_tags(wrapped("bert_tags"), [["Anna", "Schmidt-Berlin", "lives", "."]])
    assert len(tags[0]) == 4


def test_a_network_writes_the_likeliest_token_again_and_again():
    network, words = built("llama_causal")
    text, tokens = written(pellucid.wrap(network, encoding=words), PROMPT, most=4)
    given = words(PROMPT, return_tensors="pt")
    own = network.generate(**given, do_sample=False, max_new_tokens=4, pad_token_id=0)[0, given["input_ids"].shape[1] :]
    assert list(tokens) == own.tolist()[: len(tokens)] and text


def test_the_answer_it_writes_is_the_one_explained():
    model = wrapped("llama_causal")
    own = pellucid.explain_answer(model, PROMPT, most=3)
    given = pellucid.explain_answer(model, PROMPT, written(model, PROMPT, 3)[0])
    assert own.outputs == given.outputs
    assert own.values == pytest.approx(given.values, abs=1e-9)


def test_players_of_a_context_are_the_sentences_of_the_sources_alone():
    model = wrapped("llama_causal")
    sources = ["The film was great. I did not like it.", "The capital of Italy is Rome."]
    e = pellucid.explain_context(model, PROMPT, sources, "Paris")
    assert e.players.names[0] == ("The film was great.", "I did not like it.", "The capital of Italy is Rome.")
    assert e.notes["grounding"][0]["answer"] == "Paris" and e.warnings[0].code in CODES
    alone = pellucid.explain(model, [pellucid.Asked("\n\n" + PROMPT, answers="Paris")], method="occlusion")
    assert e.base[0, 0] == pytest.approx(alone.full[0, 0], abs=1e-4)


CODES = ("grounded", "grounded_together", "not_grounded")


@pytest.mark.parametrize(
    ("values", "errors", "code", "said"),
    [
        ([0.1, 4.0, 0.1], None, "grounded", "rests on sentence 2 of 3"),
        ([2.0, 2.1, 2.0], None, "grounded_together", "rests on several sentences"),
        ([0.2, 0.3, 0.1], None, "not_grounded", "is not grounded"),
        ([0.1, 4.0, 0.1], [0.1, 1.2, 0.1], "grounded_together", "several"),  # not surely half of it
        ([-0.5, -2.0, 0.1], None, "not_grounded", "is not grounded"),
    ],
)
def test_the_verdict_asks_how_much_likelier_and_by_which_sentence(values: Any, errors: Any, code: str, said: str):
    model = wrapped("llama_causal")
    e = pellucid.explain_context(model, PROMPT, "It is great. It was dull. I like it.", "Paris")
    attributions = np.array(values)[None, :, None]
    made = replace(
        e, attributions=attributions, base=np.zeros((1, 1)), full=np.full((1, 1), np.sum(values)),
        errors=None if errors is None else np.array(errors)[None, :, None],
    )  # fmt: skip
    figures, caution = verdict(made)
    assert figures["verdict"] == caution.code == code
    assert said in caution.text("en") and caution.text("zh")


def test_what_cannot_be_done_is_said():
    with pytest.raises(NotApplicable, match="is no network that writes"):
        pellucid.explain_answer(wrapped("bert_tags"), PROMPT)
    with pytest.raises(NotApplicable, match="is no network that tags words"):
        pellucid.explain_entities(wrapped("bert_classes"), [PROMPT])
    with pytest.raises(InputError, match="lacks a place"):
        pellucid.explain_context(wrapped("llama_causal"), "why?", "Because.", "Paris", template="{question}")


def test_planted_texts_hold_their_answer_in_one_sentence_and_only_there():
    world = PlantedTexts()
    for text in world.drawn(60, 3, ("planted", "known", "absent")):
        where = [place for place, sentence in enumerate(text.sentences) if text.answer in sentence.split()]
        assert where == ([] if text.source is None else [text.source]) or text.kind == "known"
        assert set(text.prompt.split()) <= set(world.vocabulary)
