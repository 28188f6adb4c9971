"""A vision transformer in a folder of transformers: drawn, trained, saved, loaded again, asked why, and audited.

python examples/vision_transformer.py [--out runs/vision_transformer]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessorPil

import pellucid
from pellucid.data.planted_shapes import PlantedShapes
from pellucid.training.fit import fit, fresh

SIDE = 32
SHAPES = PlantedShapes(("circle", "cross"), side=2 * SIDE)  # drawn larger than the network sees them


class Logits(torch.nn.Module):
    """The network's answer alone, for training."""

    def __init__(self, network: ViTForImageClassification):
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.network(pixels).logits


def small_vit() -> Logits:
    """Two layers on 8 × 8 patches of 4 pixels."""
    names = dict(enumerate(SHAPES.kinds))
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=SIDE,
        patch_size=4, id2label=names, label2id={name: place for place, name in names.items()},
    )  # fmt: skip
    return Logits(ViTForImageClassification(config))


def main(out: Path) -> None:
    data = pellucid.read(SHAPES.written(out / "pictures", each=120))
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
