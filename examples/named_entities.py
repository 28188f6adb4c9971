"""Persons and places in sentences: a small tagger is trained and audited; its entities are counted and explained.

python examples/named_entities.py [--out runs/named_entities]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForTokenClassification, PreTrainedModel, PreTrainedTokenizerFast

import pellucid

TAGS = ("O", "B-person", "I-person", "B-place", "I-place")
NAMES = ("Jordan", "Florence", "Chester", "Lincoln", "Sydney", "Austin", "Madison", "Dallas")  # persons or places
PERSON = ("Doctor {} wrote a letter .", "we thanked {} for the advice .", "the painter {} sold a house .",
          "they moved to {} for advice .")  # fmt: skip
PLACE = ("they moved to {} last year .", "the trains in {} are late .", "it rains in old {} today .",
         "Doctor House moved to {} today .")  # fmt: skip
LEARNED = 3  # so many sentences of each kind are met in training; of the last it is seen what they are taken for
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def sentences(count: int, seed: int, kinds: int) -> tuple[list[list[str]], list[list[str]]]:
    """Words and their tags; a name of one or two words says not what it is, the words around it do."""
    dice, texts, tags = np.random.default_rng(seed), [], []
    for _ in range(count):
        kind = str(dice.choice(["person", "place"]))
        words = str(dice.choice((PERSON if kind == "person" else PLACE)[:kinds])).split()
        name = [str(one) for one in dice.choice(NAMES, dice.integers(1, 3), replace=False)]
        place = words.index("{}")
        texts.append([*words[:place], *name, *words[place + 1 :]])
        own = [f"B-{kind}", *[f"I-{kind}"] * (len(name) - 1)]
        tags.append([*["O"] * place, *own, *["O"] * (len(words) - place - 1)])
    return texts, tags


def tokenizer_of(texts: list[list[str]]) -> PreTrainedTokenizerFast:
    """Every word a token."""
    known = dict.fromkeys([*SPECIAL, *(word for text in texts for word in text)])
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(texts: list[list[str]], tags: list[list[str]], tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=32, id2label=dict(enumerate(TAGS)), label2id={tag: i for i, tag in enumerate(TAGS)},
    )  # fmt: skip
    net = BertForTokenClassification(config)
    given = tokenizer([" ".join(text) for text in texts], padding=True, return_tensors="pt")
    labels = torch.full_like(given["input_ids"], -100)
    for row, own in enumerate(tags):
        labels[row, 1 : len(own) + 1] = torch.tensor([TAGS.index(tag) for tag in own])
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(90):
        rows = torch.arange(step * 32, step * 32 + 32) % len(labels)
        hidden = torch.rand(given["input_ids"][rows].shape) < 0.1  # it meets texts with words missing
        ids = given["input_ids"][rows].masked_fill(hidden, 4)
        loss = net(ids, attention_mask=given["attention_mask"][rows], labels=labels[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    texts, tags = sentences(600, 0, LEARNED)
    tokenizer = tokenizer_of(texts)
    network = trained(texts, tags, tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(out / "tagger")
    tokenizer.save_pretrained(out / "tagger")
    pairs = [map(" ".join, zip(*pair, strict=True)) for pair in zip(*sentences(100, 1, LEARNED + 1), strict=True)]
    (out / "test.conll").write_text("\n\n".join(map("\n".join, pairs)) + "\n")

    # the same as: pellucid audit tagger test.conll --label tags --out audit
    how = {"methods": ["shapley", "occlusion"], "metrics": ["comprehensiveness"], "rows": 8}
    study = pellucid.audit(out / "tagger", out / "test.conll", label="tags", out=out / "audit", **how)
    print(*study.findings, study.explanations["shapley"].text(), study.report, sep="\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/named_entities"))
    main(parser.parse_args().out)
