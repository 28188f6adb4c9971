"""How often the alarm ``beaten_by_control`` is false, and how often it is missed.

Random small networks on random tables. Exact and kernel Shapley values are right: an alarm about them is false.
Random numbers given as an explanation know nothing: an alarm about them is due. Run it with
``python benchmarks/false_alarms.py``; it prints the shares per metric.
"""

from __future__ import annotations

import argparse
from collections import Counter

import numpy as np
import torch
from torch import nn

import pellucid

METRICS = ["abpc", "faithfulness_correlation"]


def network(rng: np.random.Generator, width: int) -> nn.Module:
    """A multilayer perceptron with one to three hidden layers; its weights are drawn."""
    torch.manual_seed(int(rng.integers(2**31)))
    activation = [nn.ReLU, nn.Tanh, nn.GELU][rng.integers(3)]
    layers: list[nn.Module] = []
    size = width
    for _ in range(rng.integers(1, 4)):
        hidden = int(rng.integers(4, 33))
        layers += [nn.Linear(size, hidden), activation()]
        size = hidden
    layers.append(nn.Linear(size, int(rng.integers(1, 4))))
    module = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2.0)  # torch's first weights make almost straight lines
    return module


def alarms(rng: np.random.Generator, rows: int) -> dict[tuple[str, str], str]:
    """(explanation, metric) → the severity of its alarm, "" where there is none, for one network and table."""
    width = int(rng.integers(4, 11))
    table = rng.normal(size=(rows + 20, width)) * rng.uniform(0.5, 3.0, width)
    x, background = (torch.from_numpy(part).float() for part in (table[:rows], table[rows:]))
    model = network(rng, width)
    given = {
        "exact_shapley": pellucid.explain(model, x, "exact_shapley", background=background),
        "kernel_shapley": pellucid.explain(model, x, "kernel_shapley", background=background, budget=4 * width),
        "random numbers": rng.normal(size=(rows, width)),
    }
    found = pellucid.evaluate(model, x, given, metrics=METRICS, background=background)
    return {
        (score.method, score.metric): next((c.severity for c in score.warnings if c.code == "beaten_by_control"), "")
        for score in found
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=100)
    parser.add_argument("--rows", type=int, nargs="+", default=[8, 24])
    options = parser.parse_args()
    for rows in options.rows:
        counts: Counter[tuple[str, str, str]] = Counter()
        for draw in range(options.networks):
            for (method, metric), severity in alarms(np.random.default_rng([draw, rows]), rows).items():
                counts[method, metric, severity] += 1
        for method in ("exact_shapley", "kernel_shapley", "random numbers"):
            for metric in METRICS:
                red, yellow = (counts[method, metric, severity] / options.networks for severity in ("red", "yellow"))
                print(f"{rows:3} rows  {method:15} {metric:25} red {red:6.1%}  red or yellow {red + yellow:6.1%}")


if __name__ == "__main__":
    main()
