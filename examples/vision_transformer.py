"""A vision transformer in a folder of transformers: drawn, trained, saved, loaded again, asked why, and audited.

python examples/vision_transformer.py [--out runs/vision_transformer]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import pellucid
from pellucid.training.fit import fit, fresh

SIDE = 32
KINDS = ("circle", "cross")


def picture(kind: str, dice: np.random.Generator) -> Image.Image:
    """A shape of any colour, somewhere on a noisy ground, drawn larger than the network sees it."""
    ground = Image.fromarray(dice.integers(60, 120, (64, 64, 3), dtype=np.uint8))
    draw, (x, y) = ImageDraw.Draw(ground), (int(place) for place in dice.integers(16, 48, 2))
    colour = tuple(int(c) for c in dice.integers(150, 256, 3))
    if kind == "circle":
        draw.ellipse((x - 12, y - 12, x + 12, y + 12), outline=colour, width=5)
    else:
        draw.line((x - 12, y - 12, x + 12, y + 12), fill=colour, width=5)
        draw.line((x - 12, y + 12, x + 12, y - 12), fill=colour, width=5)
    return ground


def drawn(folder: Path, each: int = 120) -> Path:
    """``folder/circle/000.png`` and so on: a subfolder for each class."""
    dice = np.random.default_rng(0)
    for kind in KINDS:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for place in range(each):
            picture(kind, dice).save(folder / kind / f"{place:03}.png")
    return folder


class Logits(torch.nn.Module):
    """The network's answer alone, for training."""

    def __init__(self, network: ViTForImageClassification):
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network(pixels).logits


def small_vit() -> Logits:
    """Two layers on 8 × 8 patches of 4 pixels."""
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=SIDE,
        patch_size=4, id2label=dict(enumerate(KINDS)), label2id={name: place for place, name in enumerate(KINDS)},
    )  # fmt: skip
    return Logits(ViTForImageClassification(config))


def main(out: Path) -> None:
    data = pellucid.read(drawn(out / "pictures"))
    processor = ViTImageProcessorPil(size={"height": SIDE, "width": SIDE})
    net = fresh(small_vit, 0)
    pixels = processor(images=list(data.train.array), return_tensors="np")["pixel_values"]
    fit(net, (pixels, data.train.labels), epochs=16, batch_size=32)
    net.get_submodule("network").save_pretrained(out / "vit")  # pyright: ignore[reportCallIssue]
    processor.save_pretrained(out / "vit")

    model = pellucid.load(out / "vit")
    print(pellucid.explain(model, data.test.array[:3], "attention_rollout"))

    methods = ["integrated_gradients", "attention_rollout"]
    study = pellucid.audit(
        model, data, out=out / "report", methods=methods, metrics=["abpc"], rows=2, budget=128, fresh=True
    )  # fmt: skip
    print(study, study.report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/vision_transformer"))
    main(parser.parse_args().out)
