"""Any function, explained: one that takes a table of orders, and one that takes pictures of several sizes.

python examples/any_function.py [--out runs/any_function]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import pellucid


def orders(count: int, seed: int = 0) -> pd.DataFrame:
    dice = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "weight": dice.lognormal(0, 0.7, count).round(2),
            "pieces": dice.integers(1, 9, count),
            "size": dice.choice(["S", "M", "L"], count),
            "country": dice.choice(["DE", "FR", "CN", "BR"], count),
            "sent_on": dice.choice(["Monday", "Wednesday", "Friday", "Saturday"], count),
            "express": dice.random(count) < 0.3,
        }
    )


def days_on_the_way(frame: pd.DataFrame) -> pd.Series:
    """A rule book in pandas: texts are compared and looked up, truth values negated."""
    far = frame["country"].map({"DE": 1, "FR": 2, "CN": 9, "BR": 11})
    weekend = frame["sent_on"].eq("Saturday") * 2
    heavy = ((frame["weight"] > 2) | frame["size"].eq("L")) * 1.5
    return (far + heavy) * np.where(frame["express"], 0.4, 1.0) + weekend * ~frame["express"]


def pictures(seed: int = 1) -> list[np.ndarray]:
    """Night skies of several sizes, each with one lamp."""
    dice = np.random.default_rng(seed)
    skies = [dice.integers(0, 40, shape, dtype=np.uint8) for shape in ((48, 64, 3), (64, 40, 3), (32, 32, 3))]
    for sky, (top, left) in zip(skies, ((8, 40), (40, 8), (16, 4)), strict=True):
        sky[top : top + 12, left : left + 12, :2] = 230
    return skies


def lamp(photos: list[np.ndarray]) -> np.ndarray:
    """How likely a lamp is lit in each picture: bytes, channels last, whatever their sizes."""
    yellow = [((photo[..., 0] > 200) & (photo[..., 2] < 60)).mean() for photo in photos]
    lit = np.array(yellow) / (np.array(yellow) + 0.03)
    return np.stack([1 - lit, lit], axis=1)


def main(out: Path) -> None:
    table = orders(300)
    e = pellucid.explain(days_on_the_way, table[:6], "exact_shapley", background=table[100:160])
    print(e)
    night = pellucid.wrap(lamp, outputs=("dark", "lit"))
    e = pellucid.explain(night, pictures(), "occlusion", target="lit", players=pellucid.players.Patches(4))
    print(e)
    out.mkdir(parents=True, exist_ok=True)
    for row in range(3):
        e.plot("image", row).save(out / f"lamp_{row}.html", inline=True)
    data = pellucid.read(table.assign(days=days_on_the_way(table)), label="days")
    study = pellucid.audit(days_on_the_way, data, out=out / "audit", methods=["shapley", "lime"], rows=6)
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/any_function"))
    main(parser.parse_args().out)
