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
from pellucid.studies.entities import predicted_tags
from pellucid.studies.language import verdict, written

PROMPT = "The capital of France is"


def wrapped(name: str) -> Any:
    network, words = built(name)
    return pellucid.wrap(network, encoding=words)


def word_level() -> Any:
    """A causal network of a dozen whole words, for which every other word is unknown."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    words = ["<pad>", "<unk>", "mara", "lives", "in", "lund", ".", "tom", "paris", "where", "does", "live"]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>")
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64, eos_token_id=None,
    )  # fmt: skip
    return pellucid.wrap(LlamaForCausalLM(config).eval(), encoding=tokenizer)


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


# What is said ----------------------------------------------------------------------------------------------------


def test_a_text_says_that_its_numbers_are_log_probabilities_and_of_what():
    e = pellucid.explain_answer(wrapped("llama_causal"), PROMPT, "Paris Rome", method="occlusion")
    from pellucid.reports import narrative

    assert e.target["scale"] == "log_probability" and e.target["answers"] == 1
    whole, token = (narrative.text(e, output=output) for output in (0, 1))
    chance = np.exp(e.full[0, 0])
    assert f"the log-probability of the whole answer “{e.outputs[0][0]}” is " in whole
    assert "which is a probability of " + ("< 0.1%" if chance < 0.001 else f"{chance:.1%}") in whole
    assert "that of a whole answer is the sum over its tokens" in whole and "natural logarithms" in token
    assert f"the log-probability of the token “{e.outputs[0][1]}”, given the tokens before it, is " in token
    assert "sum over its tokens" not in token
    assert "整个回答" in e.text(language="zh") and "自然对数" in e.text(language="zh")
    assert e.text(audience="person").split(". ")[2].startswith(f"It gives “{e.outputs[0][0]}” a probability of ")
    title = str(e.plot("bar").to_dict())
    assert "contribution to log p of the whole answer" in title
    assert "the whole answer's is their sum" in str(e.plot("answer").to_dict())


def test_a_difference_says_how_many_times_as_probable():
    e = pellucid.explain_answer(wrapped("llama_causal"), PROMPT, "Paris", rather_than="Rome", method="occlusion")
    told = e.text()
    assert "the difference of the log-probabilities (“Paris rather than Rome”) is " in told
    assert "times as probable as the second" in told
    assert "difference of log p" in str(e.plot("bar").to_dict())


def test_outputs_of_other_networks_are_no_log_probabilities():
    e = pellucid.explain(wrapped("bert_classes"), ["The film was great."], "occlusion")
    assert "scale" not in e.target and "log-probability" not in e.text() and "the output “" in e.text()
    word = pellucid.explain(wrapped("bert_masked"), ["The film was [MASK]."], "saliency")
    assert "the log-probability of “" in word.text() and "with nothing of it left" in word.text()
    unknown = replace(word, base=np.full_like(word.base, np.nan))
    assert "the log-probability of “" in unknown.text() and "with nothing of it left" not in unknown.text()


def test_a_word_that_is_nearly_certain_is_not_called_certain():
    from pellucid.reports.scale import chances

    e = pellucid.explain_answer(wrapped("llama_causal"), PROMPT, "Paris Rome", method="occlusion")
    ends = {-0.0043: "99.6%", -1e-5: "> 99.9%", 0.0: "100%", -4.6: "1.0%", -20.0: "< 0.1%", float("nan"): "—"}
    for value, told in ends.items():
        shown = replace(e, full=np.full_like(e.full, value))
        assert chances(shown, 0, 0)["chance"] == told


def test_the_page_of_an_answer_has_its_figure(tmp_path):
    from pellucid.records.study import Study
    from pellucid.studies.publishing import write_page, write_report

    e = pellucid.explain_answer(wrapped("llama_causal"), PROMPT, "Paris Rome", method="occlusion")
    pages = (
        write_page(e, tmp_path / "page.html"),
        write_report([Study("s", explanations={"o": e})], tmp_path / "r.html"),
    )
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "What adds to the log-probability of each token of the answer" in text and "card case wide" in text
    rules = pellucid.explain(lambda texts: np.array([float("a" in t) for t in texts]), ["a b"], "anchors")
    with pytest.raises(NotApplicable, match="a page shows contributions, and anchors answers with rules"):
        write_page(rules, tmp_path / "rules.html")


def test_the_command_line_explains_an_answer_and_writes_its_page(tmp_path, capsys, monkeypatch):
    import json

    import typer
    from language_models import saved

    from pellucid.faces import cli, running

    monkeypatch.chdir(tmp_path)
    saved("llama_causal", tmp_path / "model")
    (tmp_path / "prompts.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in (PROMPT, "Anna lives in")))
    (tmp_path / "table.csv").write_text("a,b\n1,2\n3,4\n")

    def typed(*words: str) -> tuple[int, str, str]:
        code = running.run(typer.main.get_command(cli.app), ("explain", "model", *words, "--method", "occlusion"))
        return (code, *capsys.readouterr())

    code, out, err = typed("prompts.jsonl", "--rows", "0:1", "--answer", "Paris Rome", "--out", "page.html")
    assert code == 0, err
    assert "the whole answer “Paris Rome”" in out and "the token “" in out
    assert "each token of the answer" in (tmp_path / "page.html").read_text(encoding="utf-8")
    code, out, err = typed("prompts.jsonl", "--answer", "Paris", "--json")
    assert code == 0 and len(json.loads(out)["outputs"]) == 2
    code, out, err = typed("prompts.jsonl", "--rows", "0:1", "--answer", "", "--json")
    assert code == 0 and json.loads(out)["target"]["answers"] == 1
    code, out, err = typed("table.csv", "--rows", "0:1", "--answer", "Paris")
    assert code == 2 and "an answer continues a text, and these rows are none" in err
