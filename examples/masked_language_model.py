"""A network that fills masks: why one word stands there and not another, in sentences about the seasons.

python examples/masked_language_model.py [--out runs/masked_language_model]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

import pellucid
from pellucid.records.study import Study
from pellucid.studies.publishing import write_report

SEASONS = {"winter": ("snow", "ice", "frost"), "summer": ("sand", "flowers", "dust")}
ABOUT = ("the old road", "the lake", "the field behind the house", "our garden")
SAID = ("in {season} {about} is covered with {what} .", "{about} is covered with {what} , as always in {season} .")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def sentences(count: int) -> list[tuple[str, str]]:
    """Sentences with a mask, and the word that belongs there."""
    dice, rows = np.random.default_rng(0), []
    for _ in range(count):
        season = str(dice.choice(list(SEASONS)))
        said = {"season": season, "about": dice.choice(ABOUT), "what": "[MASK]"}
        rows.append((str(dice.choice(SAID)).format(**said), str(dice.choice(SEASONS[season]))))
    return rows


def tokenizer_of(rows: list[tuple[str, str]]) -> PreTrainedTokenizerFast:
    known = dict.fromkeys([*SPECIAL, *(word for row in rows for word in " ".join(row).split())])
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True))
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def trained(rows: list[tuple[str, str]], tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                        intermediate_size=64, max_position_embeddings=32)  # fmt: skip
    net = BertForMaskedLM(config)
    given = tokenizer([row[0] for row in rows], padding=True, return_tensors="pt")
    words = torch.tensor(tokenizer.convert_tokens_to_ids([row[1] for row in rows]))
    labels = torch.where(given["input_ids"] == tokenizer.mask_token_id, words[:, None], -100)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
    for step in range(150):
        own = torch.arange(step * 32, step * 32 + 32) % len(rows)
        batch = {name: tensor[own] for name, tensor in given.items()}
        hidden = torch.rand(batch["input_ids"].shape) < 0.1  # it meets texts with more words missing
        batch["input_ids"] = batch["input_ids"].masked_fill(hidden, tokenizer.mask_token_id)
        loss = net(**batch, labels=labels[own]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    rows = sentences(800)
    tokenizer = tokenizer_of(rows)
    model = pellucid.wrap(trained(rows, tokenizer), encoding=tokenizer)
    texts = ["in winter the lake is covered with [MASK] .", "our garden is covered with [MASK] , as always in summer ."]
    asked = [pellucid.Asked(text, answers=("snow", "sand")) for text in texts]
    e = pellucid.explain(model, asked, "shapley", target=("snow", "sand"))  # snow and not sand
    print(e.text())
    print(e.text(row=1))
    write_report([Study("Snow and not sand", explanations={"shapley": e})], out / "report.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/masked_language_model"))
    main(parser.parse_args().out)
