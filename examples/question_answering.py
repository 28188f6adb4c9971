"""A network that answers by a span: it is trained on made-up people, and says why this span and not the other.

python examples/question_answering.py [--out runs/question_answering]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

import pellucid
from pellucid.records.study import Study
from pellucid.studies.publishing import write_report

PEOPLE, TOWNS = ("Mara", "Tom", "Ines", "Ravi"), ("Lund", "Paris", "Oslo", "Turin", "Kyoto")
TRADES = ("baker", "painter", "doctor", "teacher", "tailor")
QUESTIONS = ("where does {who} live ?", "what trade has {who} ?")
CONTEXTS = (
    "{who} rents a room in {town} and earns money as a {trade} .",
    "as a {trade} {who} is well known in {town} .",
)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def asked(count: int, seed: int = 0) -> list[tuple[str, str, str]]:
    """Questions, contexts, and the word that answers."""
    dice, rows = np.random.default_rng(seed), []
    for _ in range(count):
        said = {"who": dice.choice(PEOPLE), "town": dice.choice(TOWNS), "trade": dice.choice(TRADES)}
        kind = int(dice.integers(2))
        rows.append((QUESTIONS[kind].format(**said), str(dice.choice(CONTEXTS)).format(**said),
                     str(said["trade" if kind else "town"])))  # fmt: skip
    return rows


def tokenizer_of(rows: list[tuple[str, str, str]]) -> PreTrainedTokenizerFast:
    known = dict.fromkeys([*SPECIAL, *(word for row in rows for word in " ".join(row).split())])
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(rows: list[tuple[str, str, str]], tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=48)  # fmt: skip
    net = BertForQuestionAnswering(config)
    given = tokenizer([row[0] for row in rows], [row[1] for row in rows], padding=True, return_tensors="pt")
    answers = torch.tensor([tokenizer.convert_tokens_to_ids(row[2]) for row in rows])
    places = (given["input_ids"] == answers[:, None]).int().argmax(1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(400):
        own = torch.arange(step * 32, step * 32 + 32) % len(rows)
        batch = {name: tensor[own] for name, tensor in given.items()}
        hidden = torch.rand(batch["input_ids"].shape) < 0.1  # it meets texts with words missing
        batch["input_ids"] = batch["input_ids"].masked_fill(hidden, tokenizer.mask_token_id)
        loss = net(**batch, start_positions=places[own], end_positions=places[own]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    rows = asked(800)
    tokenizer = tokenizer_of(rows)
    model = pellucid.wrap(trained(rows, tokenizer), encoding=tokenizer)
    questions = []
    for question, context, answer in asked(3, seed=1):
        other = next(word for word in (*TRADES, *TOWNS) if word in context.split() and word != answer)
        starts = [len(question) + 1 + context.index(word) for word in (answer, other)]  # a line break is between
        spans = tuple((start, start + len(word)) for start, word in zip(starts, (answer, other), strict=True))
        questions.append(pellucid.Asked((question, context), about=spans))
    e = pellucid.explain(model, questions, "shapley", target=(0, 1), budget=512)  # this span and not the other
    print(e.text())
    print(e.text(audience="person"))
    write_report([Study("Where and what", explanations={"shapley": e})], out / "report.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/question_answering"))
    main(parser.parse_args().out)
