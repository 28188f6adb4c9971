"""A folder of transformers, explained: a small BERT is trained on made-up reviews, saved, loaded and audited.

python examples/transformers_text.py [--out runs/transformers_text]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast

import pellucid

GOOD = ("wonderful", "moving", "brilliant", "charming", "gripping")
BAD = ("dull", "tedious", "clumsy", "predictable", "annoying")
PLAIN = ("plot", "cast", "music", "ending", "story", "camera", "first act", "dialogue")


def reviews(count: int, seed: int = 0) -> pd.DataFrame:
    """Reviews of two or three clauses; most of their words of praise or blame decide the label."""
    dice = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        kind = dice.integers(2)
        words = [dice.choice(GOOD if (dice.random() < 0.85) == kind else BAD) for _ in range(dice.choice([1, 3]))]
        told = "; ".join(f"the {dice.choice(PLAIN)} is {word}" for word in words)
        label = sum(word in GOOD for word in words) * 2 > len(words)
        rows.append({"review": f"I saw it with friends. {told.capitalize()}.", "verdict": "good" if label else "bad"})
    return pd.DataFrame(rows)


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(data: pellucid.Dataset, tokenizer: PreTrainedTokenizerFast) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, id2label=dict(enumerate(data.classes)),
        label2id={name: place for place, name in enumerate(data.classes)},
    )  # fmt: skip
    net = BertForSequenceClassification(config)
    given = tokenizer(list(data.train.features), padding=True, return_tensors="pt")
    labels = torch.tensor(data.train.labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(80):
        rows = torch.arange(step * 64, step * 64 + 64) % len(labels)
        loss = net(**{name: tensor[rows] for name, tensor in given.items()}, labels=labels[rows]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    data = pellucid.read(reviews(600), label="verdict")
    tokenizer = tokenizer_of(list(data.train.features))
    folder = out / "network"
    trained(data, tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)

    model = pellucid.load(folder)
    e = pellucid.explain(model, list(data.test.features[:3]), "shapley")
    print(e)
    print(e.text())
    methods = ["occlusion", "integrated_gradients", "lime"]
    study = pellucid.audit(model, data, out=out / "audit", methods=methods, rows=6)
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/transformers_text"))
    main(parser.parse_args().out)
