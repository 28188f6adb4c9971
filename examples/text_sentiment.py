"""Reviews with marked evidence, explained: a small network of words is trained, audited, and graded against the marks.

python examples/text_sentiment.py [--out runs/text_sentiment]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import pellucid
from pellucid.data.text_encoding import Vocabulary

WORDS = {"good": ("wonderful", "moving", "brilliant"), "bad": ("dull", "tedious", "clumsy")}
ABOUT = ("The plot of this film", "The music", "Most of the cast", "The ending, which I had feared,", "Its first act")
MORE = (
    "We saw it on a rainy evening.",
    "It runs for two hours.",
    "My brother came along.",
    "The cinema was half empty.",
)


class Reader(nn.Module):
    """A layer over three words at a time; its strongest answers decide."""

    def __init__(self, size: int):
        super().__init__()
        self.embed, self.look, self.out = nn.Embedding(size, 24), nn.Conv1d(24, 32, 3, padding=1), nn.Linear(32, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        there = attention_mask[:, :, None].float()
        seen = self.look((self.embed(ids) * there).transpose(1, 2)).relu().transpose(1, 2) * there
        return self.out(seen.amax(1))


def write_reviews(path: Path, count: int) -> Path:
    """Each review says one telling word, "not" before some of them; people marked these, and the label follows."""
    dice, lines = np.random.default_rng(0), []
    for _ in range(count):
        kind = str(dice.choice(["good", "bad"]))
        denied = dice.random() < 0.3
        told = ("not " if denied else "") + str(dice.choice(WORDS[kind]))
        text = f"{dice.choice(MORE)} {dice.choice(ABOUT)} was {told}. {dice.choice(MORE)}"
        label = kind if not denied else "bad" if kind == "good" else "good"
        start = text.index(f" {told}.") + 1
        lines.append(json.dumps({"review": text, "verdict": label, "spans": [[start, start + len(told)]]}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def trained(texts: list[str], labels: np.ndarray, words: Vocabulary) -> nn.Module:
    torch.manual_seed(0)
    net, tokens, known = Reader(len(words)), torch.from_numpy(words.encode(texts).tokens), torch.tensor(labels)
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    for step in range(300):
        rows = torch.arange(step * 64, step * 64 + 64) % len(tokens)
        there = (tokens[rows] >= 0) & (torch.rand(64, tokens.shape[1]) > 0.1)  # it meets texts with words missing
        loss = nn.functional.cross_entropy(net(tokens[rows].clamp(min=0), there), known[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


def main(out: Path) -> None:
    data = pellucid.read(write_reviews(out / "reviews.jsonl", 800), label="verdict")
    words = Vocabulary.of(data.train.features)
    model = pellucid.wrap(trained(data.train.features, data.train.labels, words), encoding=words, outputs=data.classes)

    e = pellucid.explain(model, data.test[:3], "shapley")
    print(e.text())
    e.plot().save(str(out / "review.html"))
    methods = ["shapley", "occlusion", "integrated_gradients"]
    study = pellucid.audit(model, data, out=out / "audit", methods=methods, rows=4, name="Reviews")
    found = {s.method: s for s in study.scores if s.metric == "evidence_auprc"}
    for name, score in found.items():
        print(f"{name}: AUPRC {score.value:.2f} against the marks, random {score.controls['random']:.2f}")
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/text_sentiment"))
    main(parser.parse_args().out)
