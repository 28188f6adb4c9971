"""An alarm over a machine's vibration: which steps of a window raise its anomaly score, and do they lie in the fault?

What is taken away is replaced by what a calm window does that agrees with the rest. A straight line in its place would
be an anomaly of its own: Shapley values, which take half of a window away, would then point anywhere but at the fault.

python examples/series_anomaly.py [--out runs/series_anomaly]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import pellucid

PAST, WINDOW = 16, 96


class Surprise(nn.Module):
    """The anomaly score of a window: how badly each step is foretold from the sixteen before it."""

    def __init__(self) -> None:
        super().__init__()
        self.foretell = nn.Sequential(nn.Conv1d(1, 16, PAST), nn.ReLU(), nn.Conv1d(16, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.foretell(x)[..., :-1] - x[..., PAST:]).square().mean((1, 2))[:, None]


def measured(out: Path) -> Path:
    """A table of one long series: seconds, vibration, and whether the machine was at fault."""
    dice, t = np.random.default_rng(0), np.arange(9600)
    value = np.sin(2 * np.pi * t / 24) + 0.4 * np.sin(2 * np.pi * t / 9) + dice.normal(0, 0.08, len(t))
    fault = np.zeros(len(t), dtype=int)
    for start in np.arange(0, len(t), 5 * WINDOW) + dice.integers(30, 80):
        fault[start : start + 10] = 1
        value[start : start + 10] = -value[start : start + 10]  # upside down, and no larger than it is anyway
    pd.DataFrame({"second": t, "vibration": value, "fault": fault}).to_csv(out / "machine.csv", index=False)
    return out / "machine.csv"


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = pellucid.read(measured(out), time="second", label="fault", window=WINDOW)
    calm = torch.from_numpy(data.train.array[data.train.labels == 0])
    torch.manual_seed(0)
    net = Surprise()
    optimiser = torch.optim.Adam(net.parameters(), 5e-3)
    for _ in range(400):
        optimiser.zero_grad()
        net(calm).mean().backward()
        optimiser.step()
    model = pellucid.wrap(net.eval(), outputs=["anomaly score"], name="alarm")

    faulty = data.test[data.test.labels == 1]
    asked = {"players": pellucid.players.Windows(6), "removal": pellucid.removals.ConditionalNearest(calm, k=5)}
    found = {name: pellucid.explain(model, faulty, name, **asked) for name in ("occlusion", "saliency", "shapley")}
    print(found["shapley"].text(0), "\nthe fault:", faulty.evidence.passages[0])
    metrics = ["relevance_mass", "pointing_game"]
    print(pellucid.evaluate(model, faulty, found, metrics=metrics, truth=faulty.evidence).to_frame())
    found["shapley"].plot(0).save(str(out / "alarm.html"), inline=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/series_anomaly"))
    main(parser.parse_args().out)
