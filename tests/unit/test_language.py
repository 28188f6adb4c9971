"""Tags, answering spans, masked words and continuations: what is asked of the network, against the network itself."""

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from language_models import TAGS, built

import pellucid
from pellucid import Asked
from pellucid.records.errors import InputError, TargetError

TEXT = "Anna Schmidt lives in Berlin."
PAIR = ("Where does Anna live?", "Anna Schmidt lives in Berlin. She works for Siemens.")
MASKED = "The capital of France is [MASK] and the sea"
PROMPT = "The capital of France is"


def wrapped(name: str) -> tuple[Any, Any, Any]:
    """A model of ours, the network and its tokenizer."""
    network, words = built(name)
    return pellucid.wrap(network, encoding=words), network, words


def raw_outputs(network: Any, words: Any, *text: str) -> Any:
    with torch.no_grad():
        return network(**words(*text, return_tensors="pt", return_token_type_ids=False))


def test_an_entity_is_the_mean_logit_of_the_tags_its_words_would_have():
    model, network, words = wrapped("distilbert_tags")
    e = pellucid.explain(model, [Asked(TEXT, about=(0, 12))], target="all", method="shapley", budget=64)
    given = words(TEXT, return_offsets_mapping=True)
    starts = [start for start, _ in given["offset_mapping"]]
    anna, schmidt = starts.index(0, 1), starts.index(5)
    logits = raw_outputs(network, words, TEXT).logits[0]
    wanted = [
        (logits[anna, TAGS.index(first)] + logits[schmidt, TAGS.index(rest)]) / 2
        for first, rest in (("O", "O"), ("B-person", "I-person"), ("B-place", "I-place"))
    ]
    assert e.outputs[0] == ("O", "person", "place")
    assert e.full[0] == pytest.approx([float(value) for value in wanted], abs=1e-5)


def test_a_span_that_answers_is_the_sum_of_two_logits():
    model, network, words = wrapped("bert_questions")
    start = len(PAIR[0]) + 1 + PAIR[1].index("Berlin")
    e = pellucid.explain(model, [Asked(PAIR, about=(start, start + 6))], method="occlusion")
    given = words(*PAIR, return_offsets_mapping=True)
    own = [place for place, (left, right) in enumerate(given["offset_mapping"])
           if given.sequence_ids()[place] == 1 and left < right and PAIR[1].index("Berlin") <= left
           and right <= PAIR[1].index("Berlin") + 6]  # fmt: skip
    found = raw_outputs(network, words, *PAIR)
    assert e.outputs[0] == ("Berlin",)
    assert e.full[0, 0] == pytest.approx(float(found.start_logits[0, own[0]] + found.end_logits[0, own[-1]]), abs=1e-5)


def test_the_networks_own_answer_is_its_best_span_of_the_context():
    model, network, words = wrapped("distilbert_questions")
    e = pellucid.explain(model, [PAIR], target="all", method="occlusion")
    found, own = raw_outputs(network, words, *PAIR), words(*PAIR).sequence_ids()
    sums = [
        float(found.start_logits[0, i] + found.end_logits[0, j])
        for i in range(len(own)) for j in range(i, min(i + 30, len(own))) if own[i] == own[j] == 1
    ]  # fmt: skip
    assert e.full[0, 0] == pytest.approx(max(sums), abs=1e-5) and e.full[0, 1] <= e.full[0, 0]
    assert e.outputs[0][0] in PAIR[1] and e.outputs[0][1] in PAIR[1]


def test_a_masked_word_is_a_log_probability_and_the_mask_is_no_player():
    model, network, words = wrapped("bert_masked")
    e = pellucid.explain(model, [MASKED], target="paris", method="occlusion")
    place = words(MASKED)["input_ids"].index(words.mask_token_id)
    chances = torch.log_softmax(raw_outputs(network, words, MASKED).logits[0, place], -1)
    assert e.full[0, 0] == pytest.approx(float(chances[words.convert_tokens_to_ids("paris")]), abs=1e-5)
    assert "MASK" not in e.players.names[0]
    offered = Asked(MASKED, answers=("paris", "rome"))
    with pytest.raises(InputError, match="'rome' is not one token of this network's vocabulary"):
        pellucid.explain(model, [offered], method="occlusion")
    both = pellucid.explain(
        model, [Asked(MASKED, answers=("paris", "brilliant"))], target=("paris", "brilliant"), method="occlusion"
    )
    rival = float(chances[words.convert_tokens_to_ids("brilliant")])
    assert both.full[0, 0] == pytest.approx(e.full[0, 0] - rival, abs=1e-5)


@pytest.mark.parametrize("name", ["gpt2_causal", "llama_causal"])
def test_an_answer_is_scored_word_by_word_and_as_a_whole(name: str):
    model, network, words = wrapped(name)
    e = pellucid.explain(model, [Asked(PROMPT, answers="Paris, and the capital")], target="all", method="shapley")
    assert e.outputs[0] == ("Paris, and the capital", "Paris", ",", "and", "the", "capital")
    whole = words(PROMPT + " Paris, and the capital", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        chances = torch.log_softmax(network(whole).logits[0, :-1], -1)
    each = chances.gather(1, whole[0, 1:, None])[-5:, 0].double()
    assert e.full[0, 1:] == pytest.approx(each.numpy(), abs=1e-4)
    assert e.full[0, 0] == pytest.approx(float(each.sum()), abs=1e-4)
    assert e.attributions[0, :, 0] == pytest.approx(e.attributions[0, :, 1:].sum(1), abs=1e-4)


@pytest.mark.parametrize("name", ["gpt2_causal", "llama_causal"])
def test_rows_of_unequal_length_and_answer_are_scored_as_each_alone(name: str):
    model, *_ = wrapped(name)
    rows = [Asked(PROMPT, answers="Paris, and"), Asked("The film was great. " + PROMPT, answers="Rome")]
    together = pellucid.explain(model, rows, method="integrated_gradients", steps=8)
    alone = [pellucid.explain(model, [row], method="integrated_gradients", steps=8) for row in rows]
    for row, own in enumerate(alone):
        count = len(own.players.names[0])
        assert together.full[row, 0] == pytest.approx(own.full[0, 0], abs=1e-4)
        assert together.attributions[row, :count, 0] == pytest.approx(own.attributions[0, :count, 0], abs=1e-3)


def test_why_this_and_not_that_is_a_difference_of_whole_answers():
    model, *_ = wrapped("llama_causal")
    pair = Asked(PROMPT, answers=("Paris", "Rome, and"))
    difference = pellucid.explain(model, [pair], target=("Paris", "Rome, and"), method="shapley")
    one, other = (pellucid.explain(model, [Asked(PROMPT, answers=a)], method="shapley") for a in ("Paris", "Rome, and"))
    assert difference.values == pytest.approx(one.values - other.values, abs=1e-4)


def test_deleted_words_leave_what_the_shorter_text_would_be():
    model, *_ = wrapped("llama_causal")
    asked = Asked("The film The capital of France is", answers="Paris")
    removal = pellucid.removals.Replace()
    e = pellucid.explain(model, [asked], method="occlusion", removal=removal)
    shorter = pellucid.explain(model, [Asked("film The capital of France is", answers="Paris")], method="occlusion")
    assert e.full[0, 0] - e.values[0, 0] == pytest.approx(shorter.full[0, 0], abs=1e-4)


def test_questions_that_cannot_be_asked_say_what_to_do():
    with pytest.raises(InputError, match="explain_entities"):
        pellucid.explain(wrapped("bert_tags")[0], [TEXT])
    with pytest.raises(InputError, match="the text has 0 masks"):
        pellucid.explain(wrapped("bert_masked")[0], [TEXT])
    with pytest.raises(InputError, match="speaks of whole texts"):
        pellucid.explain(wrapped("bert_classes")[0], [Asked(TEXT, about=(0, 4))])
    with pytest.raises(InputError, match="a function of texts is asked about whole texts"):
        pellucid.explain(lambda texts: np.ones(len(texts)), [Asked(TEXT, answers="yes")])
    with pytest.raises(InputError, match="the place 20–99 is not in the text"):
        Asked(TEXT, about=(20, 99))
    causal = wrapped("gpt2_causal")[0]
    long = " ".join([PROMPT] * 15)
    tokens, answer = (len(wrapped("gpt2_causal")[2](text)["input_ids"]) for text in (long, " very very"))
    told = f"row 0: the prompt has {tokens} tokens and the answer {answer}, and the network reads 64 in all"
    assert tokens > 64
    with pytest.raises(InputError, match=rf"{told}\. leave out {tokens + answer - 64} of the prompt's tokens"):
        pellucid.explain(causal, [Asked(long, answers="very very")])
    with pytest.raises(InputError, match=r"and the network reads 64 in all\. give a shorter answer"):
        pellucid.explain(causal, [Asked(PROMPT, answers="very " * 70)])
    with pytest.raises(InputError, match="different numbers of answers"):
        pellucid.explain(causal, [Asked(PROMPT, answers="a"), Asked(PROMPT, answers=("a", "b"))])
    with pytest.raises(TargetError, match="different numbers of outputs"):
        pellucid.explain(causal, [Asked(PROMPT, answers="a"), Asked(PROMPT, answers="a b c")], target="all")
    with pytest.raises(TargetError, match="there is no output named 'Rome'"):
        pellucid.explain(causal, [Asked(PROMPT, answers="Paris")], target="Rome")


def test_an_entity_keeps_its_place_when_words_before_it_are_deleted():
    model, *_ = wrapped("distilbert_tags")
    removal = pellucid.removals.Replace()
    e = pellucid.explain(model, [Asked(TEXT, about=(22, 28))], method="occlusion", removal=removal, target="place")
    shorter = "Schmidt lives in Berlin."
    alone = pellucid.explain(model, [Asked(shorter, about=(17, 23))], method="occlusion", target="place")
    assert e.full[0, 0] - e.values[0, 0] == pytest.approx(alone.full[0, 0], abs=1e-5)


def test_a_prompt_that_leaves_no_room_for_an_answer_is_refused_before_anything_is_written():
    with pytest.raises(
        InputError, match=r"the prompt has \d+ tokens and the answer 1, and the network reads 64 in all"
    ):
        pellucid.explain_answer(wrapped("gpt2_causal")[0], " ".join([PROMPT] * 20))


def test_words_of_an_answer_that_the_vocabulary_lacks_are_told():
    from test_studies_language import word_level

    model = word_level()
    found = pellucid.explain(model, [Asked("mara lives in", answers="zurich lund berne zurich")], "occlusion")
    said = next(caution for caution in found.warnings if caution.code == "unknown_in_answer")
    assert said.severity == "red" and said.values == {"count": 3, "words": "zurich, berne"}
    assert "lacks 3 words of the answer (zurich, berne)" in said.text()
    known = pellucid.explain(model, [Asked("mara lives in", answers="lund .")], "occlusion")
    assert not [caution for caution in known.warnings if caution.code == "unknown_in_answer"]
