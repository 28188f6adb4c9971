"""On an accelerator: whole public calls over the bare passes they need, and how far answers are from a core's.

    python benchmarks/device.py [--only NAME …] [--runs 3] [--write FILE]

The bare passes are taken at the best batch of a sweep, so a job must be large enough to fill that batch. Answers are
compared with the processor's own on a few rows, in full float32 (without the shorter products that cuDNN may take).
"""

from __future__ import annotations

import argparse
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cases import network, rows
from torch import Tensor, nn

import pellucid
from pellucid.data.text_encoding import Vocabulary
from pellucid.doors.wrap import wrap
from pellucid.records.errors import PellucidError

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
LARGEST = 2**17
FEW = 4


class Reader(nn.Module):
    """Tokens → the transformer of the other benchmarks, which takes vectors."""

    def __init__(self, words: int):
        super().__init__()
        self.table, self.body = nn.Embedding(words, 256), network("transformer")

    def forward(self, ids: Tensor) -> Tensor:
        return self.body(self.table(ids))


@dataclass(frozen=True)
class Job:
    """A call about ``count`` rows of a network, each of which takes ``needed`` passes (backward too where said)."""

    name: str
    title: str
    network: str
    count: int
    needed: float
    backward: bool
    settings: dict[str, Any]
    method: str
    background: int = 0


def words() -> tuple[Vocabulary, list[str]]:
    """A vocabulary of a thousand words, and 256 texts of 64 of them."""
    dice = np.random.default_rng(0)
    known = [f"w{number}" for number in range(1000)]
    return Vocabulary({word: place + 2 for place, word in enumerate(known)}), [
        " ".join(dice.choice(known, 64)) for _ in range(256)
    ]


def built(name: str, device: torch.device) -> tuple[Any, Callable[[int], Any], nn.Module, Callable[[int], Tensor]]:
    """What is explained and its rows; the bare module and the rows it is given."""
    if name != "text":
        module = network(name).to(device).requires_grad_(False)
        return module, lambda count: rows(name, count).to(device), module, lambda count: rows(name, count).to(device)
    vocabulary, texts = words()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = Reader(len(vocabulary)).eval().requires_grad_(False).to(device)
    ids = torch.from_numpy(vocabulary.encode(texts).tokens).to(device)

    def again(count: int) -> list[str]:
        return [texts[place % len(texts)] for place in range(count)]

    return wrap(reader, encoding=vocabulary), again, reader, lambda count: ids[torch.arange(count) % len(ids)]


def jobs() -> list[Job]:
    pixels = {"players": pellucid.players.Pixels()}
    lime = {"samples": 1000}
    return [
        Job("saliency", "saliency, 8,192 images", "resnet_64", 8192, 1, True, {}, "saliency"),
        Job("ig", "integrated gradients, 50 steps, 256 images", "resnet_64", 256, 50, True, {"steps": 50},
            "integrated_gradients"),
        Job("ig_224", "integrated gradients, 50 steps, 32 images at 224²", "resnet_224", 32, 50, True, {"steps": 50},
            "integrated_gradients"),
        Job("smoothgrad", "SmoothGrad, 50 copies, 256 images", "resnet_64", 256, 50, True,
            {"samples": 50}, "smoothgrad"),
        Job("occlusion", "occlusion, 225 windows, 64 images", "resnet_64", 64, 225, False,
            {"window": 8, "stride": 4, **pixels}, "occlusion"),
        Job("grad_cam", "Grad-CAM, 8,192 images, ÷ forward and backward", "resnet_64", 8192, 1, True, {}, "grad_cam"),
        Job("deeplift", "DeepLIFT, 1,024 images, ÷ forward and backward", "resnet_64", 1024, 1, True, pixels,
            "deeplift"),
        Job("lrp", "LRP ε-plus, 1,024 images, ÷ forward and backward", "resnet_64", 1024, 1, True,
            {"rule": "epsilon_plus", **pixels}, "lrp"),
        Job("ig_table", "integrated gradients, 50 steps, 20,000 rows", "mlp", 20_000, 50, True, {"steps": 50},
            "integrated_gradients"),
        Job("shapley", "kernel Shapley, 1,000 coalitions, background 100, 500 rows", "mlp", 500, 100_000, False,
            {"budget": 1000}, "kernel_shapley", 100),
        Job("text_shapley", "kernel Shapley, 1,000 coalitions, 64 texts of 64 words", "text", 64, 1000, False,
            {"budget": 1000}, "kernel_shapley"),
        Job("text_lime", "LIME, 1,000 samples, 64 texts of 64 words", "text", 64, 1000, False, lime, "lime"),
    ]  # fmt: skip


def call(job: Job, device: torch.device, count: int) -> Callable[[], Any]:
    model, pick, _, _ = built(job.network, device)
    settings = dict(job.settings)
    if job.background:
        settings["background"] = rows(job.network, job.background, seed=3)
    x = pick(count)
    return lambda: pellucid.explain(model, x, job.method, target=0, **settings)


def finished() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any]) -> float:
    finished()
    began = time.perf_counter()
    work()
    finished()
    return time.perf_counter() - began


def bare(job: Job) -> tuple[float, int]:
    """Seconds a row at the best batch of a sweep, and that batch."""
    _, _, module, pick = built(job.network, DEVICE)
    best = (float("inf"), 0)
    batch = 64
    while batch <= min(LARGEST, job.count * job.needed):
        try:
            x = pick(batch)
            passes(module, x, job.backward, 1)
            times = min(max(1, int(0.15 / max(passes(module, x, job.backward, 1), 1e-5))), 200)
            cost = passes(module, x, job.backward, times) / (times * batch)
        except torch.OutOfMemoryError:
            break
        best = min(best, (cost, batch))
        if cost > 1.5 * best[0]:
            break
        batch *= 2
    return best


def passes(module: nn.Module, x: Tensor, backward: bool, times: int) -> float:
    """Seconds of so many bare passes."""

    def work() -> None:
        for _ in range(times):
            one_pass(module, x, backward)

    return seconds(work)


def one_pass(module: nn.Module, x: Tensor, backward: bool) -> None:
    if not backward:
        with torch.no_grad():
            module(x)
        return
    leaf = x.detach().requires_grad_()
    torch.autograd.grad(module(leaf)[:, 0].sum(), leaf)


def apart(job: Job) -> float:
    """The largest difference between the device's answer and a core's, over the largest value."""
    kept = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        here, there = (call(job, device, FEW)() for device in (DEVICE, torch.device("cpu")))
    finally:
        torch.backends.cudnn.allow_tf32 = kept
    one, other = (np.nan_to_num(found.attributions) for found in (here, there))
    return float(np.abs(one - other).max() / np.abs(other).max())


def line(job: Job, runs: int) -> str:
    began = time.perf_counter()
    cost, batch = bare(job)
    work = call(job, DEVICE, job.count)
    first = seconds(work)
    spent = sorted(seconds(work) for _ in range(runs))[runs // 2]
    made = work()
    due = cost * job.count * job.needed
    gap = apart(job)
    return (
        f"| {job.title} | {due / spent:.0%} | {due * 1e3:,.0f} ms | {spent * 1e3:,.0f} ms | {first * 1e3:,.0f} ms | "
        f"{batch:,} | {made.cost.batch:,} | {gap:.0e} | {time.perf_counter() - began:.0f} s"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--write", type=Path)
    asked = parser.parse_args()
    head = (
        f"{torch.cuda.get_device_name() if DEVICE.type == 'cuda' else 'CPU'}, torch {torch.__version__}\n\n"
        "| job | share of the bare throughput | bare | spent | first call | best batch | our batch | "
        "÷ a core's answer | took |\n|---|---|---|---|---|---|---|---|---|"
    )
    print(head, flush=True)
    lines = [head]
    for job in jobs():
        if asked.only and job.name not in asked.only:
            continue
        try:
            lines.append(line(job, asked.runs))
        except (RuntimeError, TypeError, ValueError, LookupError, AssertionError, PellucidError):
            lines.append(f"| {job.title} | failed |")
            traceback.print_exc(limit=-6)
        print(lines[-1], flush=True)
    if asked.write:
        asked.write.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
