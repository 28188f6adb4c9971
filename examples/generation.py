"""A network that writes: why it went on like this, word by word and as a whole, and why this and not that.

python examples/generation.py [--out runs/generation]
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import pellucid
from pellucid.records.study import Study
from pellucid.studies.publishing import write_report

WEAR = {"winter": "boots", "summer": "sandals", "spring": "shoes"}
WORK = {"farmer": "field", "baker": "kitchen", "teacher": "school", "painter": "studio"}
ADORN = ("old", "young", "tired")


def sentences() -> list[str]:
    """Where a person goes follows from the trade, and what is worn there from the season."""
    return [
        f"in {season} the {how} {who} goes to the {where} in {worn}"
        for (season, worn), (who, where), how in product(WEAR.items(), WORK.items(), ADORN)
    ]


def tokenizer_of(texts: list[str]) -> PreTrainedTokenizerFast:
    known = dict.fromkeys(["<pad>", "<unk>", "</s>", *(word for text in texts for word in text.split())])
    made = Tokenizer(models.WordLevel({word: place for place, word in enumerate(known)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", eos_token="</s>"
    )  # fmt: skip


def trained(texts: list[str], tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        intermediate_size=64, max_position_embeddings=32, pad_token_id=0, bos_token_id=None, eos_token_id=2,
    )  # fmt: skip
    net = LlamaForCausalLM(config)
    tokens = torch.tensor([tokenizer(f"{text} </s>")["input_ids"] for text in texts])
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(150):
        seen = (torch.rand(tokens.shape) > 0.1).long()  # it meets texts with words missing
        loss = net(input_ids=tokens, attention_mask=seen.index_fill(1, torch.tensor([0]), 1), labels=tokens).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    texts = sentences()
    tokenizer = tokenizer_of(texts)
    model = pellucid.wrap(trained(texts, tokenizer), encoding=tokenizer)
    prompt = "in winter the old farmer goes to"
    whole = pellucid.explain_answer(model, prompt)  # it writes the answer itself
    print(whole.text())
    why = pellucid.explain_answer(model, prompt, "the field in boots", rather_than="the field in sandals")
    print(why.text())
    out.mkdir(parents=True, exist_ok=True)
    whole.plot().save(str(out / "answer.html"), inline=True)
    write_report([Study("Boots and not sandals", explanations={"shapley": why})], out / "report.html")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/generation"))
    main(parser.parse_args().out)
