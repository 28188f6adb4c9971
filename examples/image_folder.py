"""A folder of pictures, explained: drawn, read, a small network trained, looked at before it is asked, audited.

python examples/image_folder.py [--out runs/image_folder]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import pellucid
from pellucid.backends.saving import export_network
from pellucid.data.images import ImageEncoding
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import small_cnn

SIDE = 32
KINDS = ("circle", "square", "triangle")


def picture(kind: str, dice: np.random.Generator) -> Image.Image:
    """A shape of any colour, somewhere on a noisy ground: only its outline tells what it is."""
    ground = Image.fromarray(dice.integers(60, 120, (SIDE, SIDE, 3), dtype=np.uint8))
    draw, size = ImageDraw.Draw(ground), int(dice.integers(6, 9))
    x, y = (int(place) for place in dice.integers(size + 1, SIDE - size - 1, 2))
    box, colour = (x - size, y - size, x + size, y + size), tuple(int(c) for c in dice.integers(140, 256, 3))
    if kind == "circle":
        draw.ellipse(box, fill=colour)
    elif kind == "square":
        draw.rectangle(box, fill=colour)
    else:
        draw.polygon([(x, y - size), (x - size, y + size), (x + size, y + size)], fill=colour)
    return ground


def drawn(folder: Path, each: int = 90) -> Path:
    """``folder/circle/000.png`` and so on: a subfolder for each class."""
    dice = np.random.default_rng(0)
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for place in range(each):
            picture(kind, dice).save(folder / kind / f"{place:03}.png")
    return folder


def main(out: Path) -> None:
    data = pellucid.read(drawn(out / "pictures"))
    print(data)

    encoding = ImageEncoding(data.shape, scale=1 / 255, mean=(0.4,) * 3, std=(0.25,) * 3)
    net = fresh(small_cnn, 0, channels=3, height=SIDE, width=SIDE, classes=len(KINDS), base=8)
    fit(net, (encoding.encode(data.train), data.train.labels), epochs=12, batch_size=32)
    export_network(net, torch.from_numpy(encoding.encode(data.train[:2])), out / "net.pt2")

    model = pellucid.load(out / "net.pt2", encoding=encoding, outputs=data.classes, name="shapes")
    print(model.preflight(data.test))

    methods = ["integrated_gradients", "occlusion"]
    study = pellucid.audit(
        model, data, out=out / "report", methods=methods, metrics=["abpc"], rows=4, budget=128, fresh=True
    )  # fmt: skip
    print(study, study.report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/image_folder"))
    main(parser.parse_args().out)
