"""Which source an answer rests on: a small language model looks up names in sentences, and knows some by heart.

python examples/grounded_answer.py [--out runs/grounded_answer]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import pellucid
from pellucid.data.planted import PlantedTexts
from pellucid.records.study import Study
from pellucid.studies.publishing import write_report

WORLD = PlantedTexts(people=8, families=6, by_heart=2, fewest=2, most=3)


def tokenizer_of(words: tuple[str, ...]) -> PreTrainedTokenizerFast:
    numbers = {word: number for number, word in enumerate(("<pad>", "<unk>", *words))}
    made = Tokenizer(models.WordLevel(numbers, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", unk_token="<unk>")


def batch(tokenizer: PreTrainedTokenizerFast, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts with their answers behind them, which are all that is to be said."""
    texts = list(WORLD.drawn(32, seed, ("planted", "planted", "planted", "known")))
    rows = [torch.tensor(tokenizer(f"{text.prompt} {text.answer}")["input_ids"]) for text in texts]
    given = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    wanted = torch.full_like(given, -100)
    for row, own in enumerate(rows):
        wanted[row, len(own) - 1] = own[-1]
    return given, wanted


def repeated(tokenizer: PreTrainedTokenizerFast, dice: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Names in any order, twice over: to say the second half one must look back."""
    names = torch.tensor(tokenizer.convert_tokens_to_ids([*WORLD.names[0], *WORLD.names[1]]))
    once = torch.stack([names[torch.randperm(len(names), generator=dice)] for _ in range(32)])
    given = torch.cat([once, once], 1)
    return given, torch.cat([torch.full_like(once, -100), once], 1)


def trained(tokenizer: PreTrainedTokenizerFast) -> torch.nn.Module:
    torch.manual_seed(1)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4,
        intermediate_size=128, max_position_embeddings=96, initializer_range=0.05, pad_token_id=0, eos_token_id=None,
    )  # fmt: skip
    net, dice, running, step = LlamaForCausalLM(config), torch.Generator().manual_seed(1), 5.0, 0
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, betas=(0.9, 0.98))
    looks_back = 0  # steps since it looks back
    while looks_back < 80 and step < 900:
        given, wanted = batch(tokenizer, step) if looks_back else repeated(tokenizer, dice)
        loss = net(input_ids=given, attention_mask=(given > 0).long(), labels=wanted).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        running, step = 0.9 * running + 0.1 * float(loss.detach()), step + 1
        looks_back += bool(looks_back or running < 0.5)
    return net.eval()


def main(out: Path) -> None:
    tokenizer = tokenizer_of(WORLD.vocabulary)
    model = pellucid.wrap(trained(tokenizer), encoding=tokenizer)
    found = {}
    for text in WORLD.drawn(2, 10**6, ("planted", "known")):
        e = pellucid.explain_context(
            model, text.question, " ".join(text.sentences), template="{sources} {question}", most=1
        )
        print(f"{text.prompt} …\n  {e.warnings[0]}")
        found[text.kind] = Study(f"An answer that is {text.kind}", explanations={"shapley": e}, warnings=e.warnings)
    write_report(list(found.values()), out / "report.html", title="Which sentence an answer rests on")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/grounded_answer"))
    main(parser.parse_args().out)
