"""Entities in short posts: how many of each type a small tagger finds, and which words its findings rest on.

A tagger of two layers (whole words and their pieces, read by a small BERT) is trained here on WNUT 17, judged per type
of entity on posts it never saw, and its findings are explained word by word. Writes docs/benchmarks/entities.md.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import pellucid
from pellucid.measures.entities import EntityCounts, count_entities, entities
from pellucid.measures.intervals import bootstrap
from pellucid.studies.entities import predicted_tags

DATA = Path(__file__).resolve().parents[1] / "../shared/data/wnut17_ner"
KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
TAGS = ("O", *(f"{letter}-{kind}" for kind in KINDS for letter in "BI"))
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LONGEST, NO_TAG = 128, -100
FIGURES = ("precision", "recall", "f1")
AVERAGES = ("micro", "macro", "weighted")


def read(name: str) -> list[dict[str, Any]]:
    """Posts ``{"tokens", "tags"}``; a network tells a word only by its spaces, so a post of odd blanks is left out."""
    lines = (DATA / f"wnut17_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [post for post in map(json.loads, lines) if post["tokens"] and all(w.split() == [w] for w in post["tokens"])]


# The tagger --------------------------------------------------------------------------------------------------------


def tokenizer_of(posts: list[dict[str, Any]], size: int = 5000) -> Any:
    """Pieces of words, capital letters kept: they tell names from other words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.WordPieceTrainer(vocab_size=size, special_tokens=list(SPECIAL), show_progress=False)
    made.train_from_iterator((" ".join(post["tokens"]) for post in posts), trainer)
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=LONGEST,
    )  # fmt: skip


def network_of(words: int, width: int = 96) -> Any:
    from transformers import BertConfig, BertForTokenClassification

    return BertForTokenClassification(
        BertConfig(
            vocab_size=words, hidden_size=width, num_hidden_layers=2, num_attention_heads=4, pad_token_id=0,
            intermediate_size=2 * width, max_position_embeddings=LONGEST, initializer_range=0.05,
            hidden_dropout_prob=0.2, id2label=dict(enumerate(TAGS)), label2id={tag: n for n, tag in enumerate(TAGS)},
        )
    )  # fmt: skip


def rows_of(posts: list[dict[str, Any]], words: Any) -> list[tuple[list[int], list[int]]]:
    """Per post its tokens, and the tag of each word at its first token."""
    found = []
    for post in posts:
        read = words(post["tokens"], is_split_into_words=True, truncation=True)
        own, before, tags = read.word_ids(), None, []
        for word in own:
            tags.append(TAGS.index(post["tags"][word]) if word is not None and word != before else NO_TAG)
            before = word
        found.append((read["input_ids"], tags))
    return found


def batch_of(rows: list[tuple[list[int], list[int]]], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Tokens and tags, filled up; one token in eight is masked, so that what is absent later is known by then."""
    longest = max(len(tokens) for tokens, _ in rows)
    given = torch.zeros(len(rows), longest, dtype=torch.long)
    wanted = torch.full_like(given, NO_TAG)
    for row, (tokens, tags) in enumerate(rows):
        given[row, : len(tokens)], wanted[row, : len(tags)] = torch.tensor(tokens), torch.tensor(tags)
    hidden = torch.from_numpy(rng.random(given.shape) < 0.125) & (given > 3)
    return given.masked_fill(hidden, SPECIAL.index("[MASK]")), wanted


def trained(posts: list[dict[str, Any]], words: Any, seconds: float, seed: int = 0, most: int = 14) -> tuple[Any, int]:
    """The network, and how many times it saw the posts: at most ``most`` times, and about ``seconds``."""
    torch.manual_seed(seed)
    network, rng, rows = network_of(len(words)).train(), np.random.default_rng(seed), rows_of(posts, words)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.05)
    start, seen = time.perf_counter(), 0
    while seen < most and time.perf_counter() - start < seconds:
        order = np.argsort([len(tokens) + rng.random() for tokens, _ in rows])
        for places in _mixed(order, rng):
            given, wanted = batch_of([rows[place] for place in places], rng)
            loss = network(input_ids=given, attention_mask=(given > 0).long(), labels=wanted).loss
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
        seen += 1
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * (1 - seen / most) + 1e-5
    return network.eval(), seen


def _mixed(order: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches of posts of like lengths, in random order."""
    parts = np.array_split(order, len(order) // 32)
    return [parts[place] for place in rng.permutation(len(parts))]


# Judging -----------------------------------------------------------------------------------------------------------


def figures_of(counts: EntityCounts) -> tuple[np.ndarray, ...]:
    """Value and interval ``[types + averages, 3]`` of precision, recall and F1; the posts are drawn anew."""

    def statistic(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        tally = counts.tally(weights)
        lines = [tally.precision, tally.recall, tally.f1]
        rest = [np.stack([tally.average(figure, how) for how in AVERAGES], -1) for figure in FIGURES]
        return np.stack([np.concatenate(pair, -1) for pair in zip(lines, rest, strict=True)], -1)

    return bootstrap(statistic, np.arange(len(counts.hits)), draws=1000)


def share_of(found: Any, row: int, values: np.ndarray) -> tuple[float, float, float]:
    """Of what the words add and take away in all: the entity's own, the two words on each side of it, all others."""
    _, start, stop, _ = found.notes["entities"][row]
    spans = found.players.spans[row]
    own = [place for place, (begin, end) in enumerate(spans) if begin < stop and end > start]
    near = [place for place in range(own[0] - 2, own[-1] + 3) if 0 <= place < len(spans) and place not in own]
    size = np.abs(values[: len(spans)])
    whole = float(size.sum())
    if not whole > 0:
        return float("nan"), float("nan"), float("nan")
    first, second = float(size[own].sum()) / whole, float(size[near].sum()) / whole
    return first, second, 1 - first - second


def explained(model: Any, posts: list[dict[str, Any]], most: int) -> dict[str, tuple[Any, np.ndarray]]:
    """Per method: the record of the first entities found, and their shares."""
    texts = [post["tokens"] for post in posts]
    tagged = [text for text, tags in zip(texts, predicted_tags(model, texts), strict=True) if entities(tags)][:most]
    found = {}
    for method in ("occlusion", "shapley", "integrated_gradients", "random"):
        record = pellucid.explain_entities(model, tagged, method, budget=256, seed=0)
        found[method] = (record, np.array([share_of(record, row, record.values[row]) for row in range(len(record))]))
    return found


# The page ----------------------------------------------------------------------------------------------------------


def main(seconds: float, most: int, out: Path) -> None:
    train, test = read("train"), [*read("dev"), *read("test_half")]
    words = tokenizer_of(train)
    start = time.perf_counter()
    network, seen = trained(train, words, seconds)
    spent = time.perf_counter() - start
    model = pellucid.wrap(network, encoding=words, name="tagger")
    said = predicted_tags(model, [post["tokens"] for post in test])
    counts = count_entities([post["tags"] for post in test], said)
    size = sum(parameter.numel() for parameter in network.parameters())
    lines = [
        "# Entities in short posts", "",
        "Made by `python benchmarks/entities.py` on WNUT 17 (Derczynski et al. 2017; names that training seldom saw). "
        f"A BERT of two layers ({size:,} weights, nothing pretrained) was trained here on {len(train):,} posts, {seen} "
        f"times over, in {spent:.0f} s on one core, and is judged on {len(test):,} others. An entity counts when all "
        "its words and its type are right (the convention of seqeval); intervals are 95 %, the posts drawn 1,000 "
        "times.",
        "", *table(counts), "",
        "The tagger is weak: so few posts do not teach names to a network that starts from nothing. Where a figure is "
        "0 its interval is too narrow, for a bootstrap of misses sees no doubt.", "",
        *shares(explained(model, test, most)),
    ]  # fmt: skip
    out.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines))


def table(counts: EntityCounts) -> list[str]:
    value, low, high = figures_of(counts)
    names = (*counts.kinds, *AVERAGES)
    support = [*counts.truths.sum(0), *[counts.truths.sum()] * 3]
    guesses = [*counts.guesses.sum(0), *[counts.guesses.sum()] * 3]
    lines = ["| type | there | said | precision | recall | F1 |", "|---|---|---|---|---|---|"]
    for row, name in enumerate(names):
        cells = [_triple(value[row, i], low[row, i], high[row, i]) for i in range(3)]
        lines.append(f"| {name} | {support[row]:,} | {guesses[row]:,} | " + " | ".join(cells) + " |")
    return lines


def _triple(value: float, low: float, high: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f} ({low:.2f}–{high:.2f})"


def shares(found: dict[str, tuple[Any, np.ndarray]]) -> list[str]:
    kinds = Counter(kind for *_, kind in next(iter(found.values()))[0].notes["entities"])
    lines = [
        "## Which words a finding rests on", "",
        f"{sum(kinds.values())} entities that the tagger found (right or wrong: "
        f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}), explained with "
        "`pellucid.explain_entities(model, posts)`. Shares of the sum of |attribution| over the words of the post, "
        "mean and its standard error over entities; `random` is what a method that knows nothing gives, and says how "
        "much of a short post those words are.", "",
        "| method | the entity itself | two words on each side | all other words |", "|---|---|---|---|",
    ]  # fmt: skip
    for method, (_, parts) in found.items():
        known = parts[~np.isnan(parts[:, 0])]
        mean, doubt = known.mean(0), known.std(0, ddof=1) / np.sqrt(len(known))
        cells = " | ".join(f"{m:.2f} ± {d:.2f}" for m, d in zip(mean, doubt, strict=True))
        lines.append(f"| {method} | {cells} |")
    return [*lines, ""]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=150.0)
    parser.add_argument("--entities", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/entities.md"))
    arguments = parser.parse_args()
    main(arguments.seconds, arguments.entities, arguments.out)
