"""Which sentence an answer rests on: planted sources found, and answers that rest on none told apart.

A tiny causal language model (two layers) is trained here to copy names out of a few sentences; of a few people it
knows the family by heart. Then each answer is attributed to the sentences. Writes docs/benchmarks/grounding.md.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from pellucid.data.planted import Planted, PlantedTexts
from pellucid.studies.language import written

TEMPLATE = "{sources} {question}"
SPECIAL = ("<pad>", "<unk>", "<s>", "</s>")
MIXTURE = ("planted", "planted", "planted", "planted", "planted", "known", "absent")


def tokenizer_of(world: PlantedTexts) -> Any:
    """Every word of the world a token; ``<s>`` in front."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    numbers = {word: number for number, word in enumerate((*SPECIAL, *world.vocabulary))}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", numbers["<s>"])]
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", bos_token="<s>")


def network_of(words: int, width: int = 64) -> Any:
    """Two layers of a Llama, random."""
    from transformers import LlamaConfig, LlamaForCausalLM

    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=words, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
            intermediate_size=2 * width, max_position_embeddings=256, initializer_range=0.05, pad_token_id=0,
            bos_token_id=2, eos_token_id=3,
        )
    )  # fmt: skip


def repeated(names: Tensor, rng: np.random.Generator, rows: int = 32) -> tuple[Tensor, Tensor]:
    """Random names, twice over; what is to be said is the second time."""
    length = int(rng.integers(4, 13))
    once = names[torch.from_numpy(rng.integers(0, len(names), (rows, length)))]
    given = torch.cat([once, once], 1)
    wanted = given.clone()
    wanted[:, : length + 1] = -100
    return given, wanted


def asked(world: PlantedTexts, words: Any, seed: int, rows: int = 32) -> tuple[Tensor, Tensor]:
    """Texts with their answers behind them; the last token is to be said."""
    texts = list(world.drawn(rows, seed, MIXTURE))
    tokens = [words(f"{text.prompt} {text.answer} </s>")["input_ids"] for text in texts]
    given = torch.zeros(rows, max(map(len, tokens)), dtype=torch.long)
    wanted = torch.full_like(given, -100)
    for row, own in enumerate(tokens):
        given[row, : len(own)] = torch.tensor(own)
        wanted[row, len(own) - 2 : len(own)] = given[row, len(own) - 2 : len(own)]
    return given, wanted


def loss_of(network: Any, given: Tensor, wanted: Tensor) -> Tensor:
    found = network(input_ids=given, attention_mask=(given > 0).long()).logits[:, :-1]
    return F.cross_entropy(found.flatten(0, 1), wanted[:, 1:].flatten(), ignore_index=-100)


def trained(world: PlantedTexts, words: Any, seed: int, steps: int = 300) -> Any:
    """Names repeated until the network has learned to look back, then texts."""
    torch.manual_seed(seed)
    network = network_of(len(words))
    names = torch.tensor(words.convert_tokens_to_ids([*world.names[0], *world.names[1]]))
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.01, betas=(0.9, 0.98))
    rng, running = np.random.default_rng(seed), 5.0
    for step in range(4000):
        given, wanted = repeated(names, rng)
        running = 0.95 * running + 0.05 * _step(network, optimiser, given, wanted, 3e-3 * min(1.0, (step + 1) / 30))
        if running < 0.5:
            break
    for step in range(steps):
        _step(network, optimiser, *asked(world, words, seed * 10_000 + step), 1.5e-3 * (1 - 0.9 * step / steps))
    return network.eval()


def _step(network: Any, optimiser: Any, given: Tensor, wanted: Tensor, rate: float) -> float:
    for group in optimiser.param_groups:
        group["lr"] = rate
    loss = loss_of(network, given, wanted)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


# Judging -----------------------------------------------------------------------------------------------------------


def answer_of(model: Any, prompt: str) -> str:
    return written(model, prompt, 1)[0]


def fits(text: Planted, model: Any) -> bool:
    """Whether the model answers rightly with the sentences, and (where one holds the answer) wrongly without."""
    right = answer_of(model, text.prompt) == text.answer
    return right and (text.kind != "planted" or answer_of(model, text.question) != text.answer)


def judged(model: Any, texts: list[Planted], answers: list[str | None]) -> list[Any]:
    return [
        pellucid.explain_context(
            model, text.question, " ".join(text.sentences), answer, template=TEMPLATE, most=1
        )
        for text, answer in zip(texts, answers, strict=True)
    ]  # fmt: skip


VERDICTS = ("grounded", "grounded_together", "not_grounded")
NAMES = {
    "planted": "planted: right with the sentences, wrong without",
    "known": "known by heart, in no sentence",
    "absent": "nobody could know; the model says “unknown”",
    "outside": "a family that stands in no sentence, put into the model's mouth",
}


@dataclass(frozen=True)
class Run:
    """One training seed's figures: how often the planted sentence was largest, and named; verdicts per kind of text."""

    seed: int
    seconds: float
    weights: int
    largest: int
    named: int
    verdicts: dict[str, Counter[str]]

    @property
    def planted(self) -> int:
        return self.verdicts["planted"].total()

    @property
    def ungrounded(self) -> Counter[str]:
        """Verdicts on answers that rest on no sentence."""
        return sum((self.verdicts[kind] for kind in NAMES if kind != "planted"), Counter())


def run(seed: int, cases: int) -> Run:
    """Train a network with this seed, and judge its answers."""
    world = PlantedTexts()
    words = tokenizer_of(world)
    start = time.perf_counter()
    network = trained(world, words, seed)
    seconds = time.perf_counter() - start
    model = pellucid.wrap(network, encoding=words)
    drawn = {kind: list(world.drawn(2 * cases, 10**6, (kind,))) for kind in ("planted", "known", "absent")}
    kept = {kind: [text for text in texts if fits(text, model)][:cases] for kind, texts in drawn.items()}
    found = {kind: judged(model, texts, [None] * len(texts)) for kind, texts in kept.items()}
    said = [(text, world.names[1][(i * 7) % world.families]) for i, text in enumerate(drawn["absent"][:cases])]
    outside = [(text, answer) for text, answer in said if not any(answer in sentence for sentence in text.sentences)]
    found["outside"] = judged(model, [text for text, _ in outside], [answer for _, answer in outside])
    told = {kind: [one.notes["grounding"][0] for one in records] for kind, records in found.items()}
    sources = [text.source for text in kept["planted"]]
    return Run(
        seed, seconds, sum(parameter.numel() for parameter in network.parameters()),
        sum(int(np.nanargmax(one.values[0])) == source for one, source in zip(found["planted"], sources, strict=True)),
        sum(one["verdict"] == "grounded" and one["sentence"] == source
            for one, source in zip(told["planted"], sources, strict=True)),
        {kind: Counter(one["verdict"] for one in notes) for kind, notes in told.items()},
    )  # fmt: skip


def share(part: int, of: int) -> str:
    return f"{part} of {of} ({part / of:.1%})" if of else "none"


ABOUT = """\
# Which sentence an answer rests on

Made by `python benchmarks/grounding.py`. A causal language model of two layers ({weights:,} weights, trained here from
each of the seeds {seeds}, in about {seconds:.0f} s on one core) copies the family names of invented people out of two
to six sentences (`pellucid.data.planted`). Kept are texts that it answers rightly with the sentences and wrongly
without: the first {cases} such of {drawn} drawn.

- *found*: the sentence with the largest Shapley value is the planted one; the bar is 95 %.
- *named*: the verdict is “grounded”, and names the planted sentence.
- *false alarms*: an answer that rests on no sentence is called grounded.

The rule: the sources together make the answer at least three times as probable; one sentence is named where its
Shapley value (lower end of its interval) is at least half of that gain in log-probability.
"""
LIMITS = """
What a model itself answers without a source is told apart; an answer that somebody else puts into its mouth may be
called grounded, since a sentence can make a wrong name likelier too.

The texts are simple and the model is tiny: these figures say that the attribution and the rule work where the truth is
known, not how often large models ground their answers.\
"""


def page(runs: list[Run], cases: int) -> Iterator[str]:
    """The page, line by line."""
    seconds, seeds = median(one.seconds for one in runs), ", ".join(str(one.seed) for one in runs)
    yield ABOUT.format(weights=runs[0].weights, seeds=seeds, seconds=seconds, cases=cases, drawn=2 * cases)
    yield "| seed | found | named | false alarms |\n|---|---|---|---|"
    for one in runs:
        alarms, of = one.ungrounded.total() - one.ungrounded["not_grounded"], one.ungrounded.total()
        parts = share(one.largest, one.planted), share(one.named, one.planted), share(alarms, of)
        yield f"| {one.seed} | {' | '.join(parts)} |"
    yield "\nVerdicts, seed by seed:\n"
    yield "| texts | n | grounded in one sentence | in several together | not grounded |\n|---|---|---|---|---|"
    for kind, name in NAMES.items():
        cells = (" / ".join(str(one.verdicts[kind][code]) for one in runs) for code in VERDICTS)
        count = " / ".join(str(one.verdicts[kind].total()) for one in runs)
        yield f"| {name} | {count} | {' | '.join(cells)} |"
    yield LIMITS


def main(cases: int, seeds: list[int], out: Path) -> None:
    runs = []
    for seed in seeds:
        runs.append(run(seed, cases))
        print(runs[-1], flush=True)
    out.write_text("\n".join(page(runs, cases)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=250)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/grounding.md"))
    arguments = parser.parse_args()
    main(arguments.cases, arguments.seeds, arguments.out)
