"""How fast on texts: LIME and Shapley values of a transformer over the bare cost of the passes they need.

    python benchmarks/text_speed.py [--runs 7] [--device cuda] [--write]

A transformer of 4 layers, width 256, over texts of 64 tokens, 1,000 samples; and eight texts of 8 to 64 tokens at once,
whose bare cost is counted at each text's own length: whoever pads them to the longest needs twice as much. On the CPU
seconds of one thread are counted, on a GPU seconds by the clock. Pin it to one core where the machine is shared.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
import torch
from report import machine, versions
from torch import Tensor, nn

import pellucid
from pellucid.data.text_encoding import Vocabulary

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "text_speed.md"
WORDS, WIDTH, LONGEST, SAMPLES = 2000, 256, 64, 1000
BATCHES = {"cpu": (4, 8, 16, 32, 64), "cuda": (64, 128, 256, 512, 1024)}
BAR = 1.15


class Transformer(nn.Module):
    """Tokens in, two classes out, read at a place of its own before the first token."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(WIDTH, 8, 4 * WIDTH, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.embed, self.place = nn.Embedding(WORDS + 2, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.first, self.out = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Linear(WIDTH, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        away = nn.functional.pad(~attention_mask.bool(), (1, 0))
        tokens = self.embed(ids) + self.place(torch.arange(ids.shape[1], device=ids.device))
        x = torch.cat([self.first.expand(len(ids), -1, -1), tokens], 1)
        return self.out(self.encoder(x, src_key_padding_mask=away)[:, 0])


@cache
def network(device: str) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer().eval().requires_grad_(False).to(device)


def text(length: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(f"w{word}" for word in rng.choice(WORDS, length, replace=False))


@dataclass(frozen=True)
class Job:
    """What is asked, of texts of which lengths, how many passes each needs, and the bar."""

    title: str
    lengths: tuple[int, ...]
    needed: int
    method: Callable[[], object]
    removal: Callable[[], object]


def jobs() -> list[Job]:
    unequal = tuple(range(8, LONGEST + 1, 8))
    lime, shapley = pellucid.methods.Lime, pellucid.methods.Shapley
    hidden, gone = pellucid.removals.Hide, pellucid.removals.Replace
    return [
        Job("LIME, one text of 64 tokens, hidden", (LONGEST,), SAMPLES, lambda: lime(samples=SAMPLES), hidden),
        Job("Shapley, one text of 64 tokens, hidden", (LONGEST,), SAMPLES, shapley, hidden),
        Job("LIME, one text of 64 tokens, deleted", (LONGEST,), SAMPLES, lambda: lime(samples=SAMPLES), gone),
        Job("LIME, eight texts of 8 to 64 tokens, hidden", unequal, 250, lambda: lime(samples=250), hidden),
        Job("Shapley, eight texts of 8 to 64 tokens, hidden", unequal, 250, shapley, hidden),
    ]


def spent(work: Callable[[], object], device: str) -> float:
    """Seconds: of the CPU on one thread, or by the clock on a GPU."""
    if device == "cpu":
        began = process_time()
        work()
        return process_time() - began
    torch.cuda.synchronize()
    began = perf_counter()
    work()
    torch.cuda.synchronize()
    return perf_counter() - began


def bare(length: int, batch: int, count: int, device: str) -> float:
    """Seconds a row of ``count`` plain passes over rows of this length, half of whose tokens are hidden."""
    generator = torch.Generator().manual_seed(length)
    ids = torch.randint(2, WORDS + 2, (batch, length), generator=generator).to(device)
    there = torch.randint(0, 2, (batch, length), generator=generator).to(device)
    net = network(device)

    def passes() -> None:
        with torch.no_grad():
            for _ in range(count):
                net(ids, there)

    return spent(passes, device) / (count * batch)


@cache
def best(length: int, device: str) -> int:
    """The batch with the least cost a row."""
    bare(length, BATCHES[device][0], 2, device)
    costs = {b: min(bare(length, b, max(1, 128 // b), device) for _ in range(3)) for b in BATCHES[device]}
    return min(costs, key=lambda batch: costs[batch])


def cost(job: Job, device: str) -> float:
    """Bare seconds of all passes that a job needs, each at its own length and best batch."""
    total = 0.0
    for length in job.lengths:
        batch = best(length, device)
        total += job.needed * bare(length, batch, max(1, job.needed // (4 * batch)), device)
    return total


@dataclass(frozen=True)
class Measured:
    job: Job
    ratios: tuple[float, ...]
    bare: float


def measure(job: Job, runs: int, device: str) -> Measured:
    """The job between bare passes, so many times; the first call is not counted."""
    vocabulary = Vocabulary({f"w{word}": word + 2 for word in range(WORDS)})
    model = pellucid.wrap(network(device), encoding=vocabulary)
    texts = [text(length, length) for length in job.lengths]

    def asked() -> object:
        budget = pellucid.Budget(evaluations=job.needed + 2)
        return pellucid.explain(model, texts, job.method(), target=0, removal=job.removal(), budget=budget)

    asked()
    ratios, costs = [], []
    for _ in range(runs):
        before = cost(job, device)
        seconds = spent(asked, device)
        costs.append((before + cost(job, device)) / 2)
        ratios.append(seconds / costs[-1])
    return Measured(job, tuple(ratios), median(costs))


ABOUT = """
A transformer of 4 layers, width 256 and 8 heads reads texts of up to 64 tokens; LIME and Shapley values have 1,000
passes for one text, and 250 for each of eight texts. The ratio is what the whole call costs, divided by the bare passes
it needs at the best batch, each at its text's own length, timed just before and just after: 1 would be no overhead at
all. Where absent words are deleted rows get shorter, and the same passes cost less than the full length they are held
against. Made by `python benchmarks/text_speed.py --write`.
"""


def lines(found: list[Measured], device: str) -> Iterator[str]:
    """The page, line by line."""
    where = torch.cuda.get_device_name() if device == "cuda" else "CPU seconds on one thread"
    yield "# Speed on texts"
    yield ABOUT
    yield f"{date.today()}, {machine()}; {versions()}; {where}."
    yield ""
    yield "| job | ÷ bare | runs | bar | bare |\n|---|---|---|---|---|"
    for one in found:
        span = f"{min(one.ratios):.2f}–{max(one.ratios):.2f}"
        yield f"| {one.job.title} | {median(one.ratios):.2f} | {span} | {BAR} | {one.bare:.2f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--device", choices=tuple(BATCHES), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    found = []
    for job in jobs():
        found.append(measure(job, given.runs, given.device))
        print(
            job.title,
            " ".join(f"{ratio:.2f}" for ratio in found[-1].ratios),
            f"bare {found[-1].bare:.2f} s",
            flush=True,
        )
    page = "\n".join(lines(found, given.device)) + "\n"
    print(page)
    if given.write:
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
