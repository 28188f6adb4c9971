"""Heartbeats, some of them wide: a network over time is trained, explained by windows and change points, and audited.

python examples/series_classification.py [--out runs/series_classification]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import nn

import pellucid
from pellucid.training.fit import fit

RATE, STEPS = 100, 160
LEADS = ("lead I", "lead II")


def beats(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Single heartbeats in two leads, ``[N, 2, T]``; every second one has a wide, late main wave in lead II."""
    dice, t = np.random.default_rng(seed), np.arange(STEPS) / RATE
    labels, rows = np.arange(count) % 2, np.zeros((count, 2, STEPS))
    for row, wide in enumerate(labels):
        shift = dice.uniform(-0.1, 0.1)
        for lead in range(2):
            width = 0.07 if wide and lead else 0.025
            waves = ((0.45, 0.04, 0.15), (0.7 + 0.03 * (wide and lead), width, 1.0), (1.1, 0.07, 0.3))
            rows[row, lead] = sum(size * np.exp(-((t - shift - at) ** 2) / (2 * w**2)) for at, w, size in waves)
    return (rows + dice.normal(0, 0.04, rows.shape)).astype(np.float32), labels


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    x, y = beats(300, 0)
    np.savez(
        out / "beats.npz", series=x, y=y, class_names=np.array(["narrow", "wide"]), channel_names=np.array(LEADS),
        times=np.arange(STEPS) / RATE, time_unit=np.array("s"),
    )  # fmt: skip
    data = pellucid.read(out / "beats.npz")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 8, 9, padding=4), nn.ReLU(), nn.Conv1d(8, 8, 9, padding=4), nn.ReLU(), nn.AdaptiveAvgPool1d(1),
        nn.Flatten(), nn.Linear(8, 2),
    )  # fmt: skip
    fit(net, (data.train.features, data.train.labels), epochs=80, batch_size=32)
    model = pellucid.wrap(net.eval(), outputs=data.classes, name="beats")

    absent = {"removal": pellucid.removals.Interpolated(), "target": "wide"}
    by_window = pellucid.explain(model, data.test[1:3], "shapley", players=pellucid.players.Windows(16), **absent)
    print(by_window.text(0))
    by_segment = pellucid.explain(model, data.test[1:3], "shapley", players=pellucid.players.ChangePoints(), **absent)
    print(by_segment.text(0))
    by_window.plot(0).save(str(out / "one_beat.html"), inline=True)

    methods = ["shapley", "occlusion", "integrated_gradients", "grad_cam"]
    study = pellucid.audit(model, data, out=out / "audit", rows=4, methods=methods, metrics=["abpc", "agreement"])
    print(study.report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/series_classification"))
    main(parser.parse_args().out)
