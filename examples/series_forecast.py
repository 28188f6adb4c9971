"""A forecast of the load of the next six hours from two days of load and temperature: which hours does it rest on?

python examples/series_forecast.py [--out runs/series_forecast]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import pellucid
from pellucid.training.fit import fit

PAST, AHEAD = 48, 6


class Forecast(nn.Module):
    """An LSTM over hours ``[b, time, channels]`` and a linear layer for the hours to come."""

    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(2, 24, batch_first=True), nn.Linear(24, AHEAD)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


def hours(count: int) -> np.ndarray:
    """Load and temperature ``[T, 2]``: a daily round, a slow drift, and heating when it was cold three hours before."""
    dice, t = np.random.default_rng(0), np.arange(count)
    drift = np.convolve(dice.normal(0, 0.5, count + 23), np.ones(24) / 5, "valid")
    warmth = 0.8 * np.sin(2 * np.pi * (t - 9) / 24) + drift
    cold = np.maximum(-np.roll(warmth, 3), 0)
    load = 0.7 * np.sin(2 * np.pi * (t - 6) / 24) + cold + dice.normal(0, 0.05, count)
    return np.stack([load, warmth], axis=1).astype(np.float32)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    series = hours(1500)
    starts = np.arange(len(series) - PAST - AHEAD)
    x = np.stack([series[start : start + PAST] for start in starts])
    y = np.stack([series[start + PAST : start + PAST + AHEAD, 0] for start in starts])
    torch.manual_seed(0)
    net = Forecast()
    fit(net, (x[:1200], y[:1200]), epochs=5, batch_size=32, loss="squared")
    model = pellucid.wrap(net.eval(), outputs=[f"t+{hour}" for hour in range(1, AHEAD + 1)], name="load forecast")

    past = {"times": np.arange(-PAST, 0), "unit": "h"}
    rows = pellucid.Series(x[1300:1302], ("load", "temperature"), time="first", **past)
    asked = {"players": pellucid.players.Windows(4), "background": x[:1200:40]}
    next_hour = pellucid.explain(model, rows, "shapley", target="t+1", **asked)
    whole = pellucid.explain(model, rows, "shapley", target=pellucid.targets.Total(), **asked)
    by_hour = pellucid.explain(model, rows, "integrated_gradients", target="t+6", background=x[:1200:40])
    for e in (next_hour, whole, by_hour):
        print(e.text(0), "\n")
    next_hour.plot(0).save(str(out / "next_hour.html"), inline=True)
    whole.plot(0).save(str(out / "all_hours.html"), inline=True)
    by_hour.plot(0).save(str(out / "hour_by_hour.html"), inline=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/series_forecast"))
    main(parser.parse_args().out)
