"""A folder of pictures, explained: drawn, read, a small network trained, looked at before it is asked, audited.

python examples/image_folder.py [--out runs/image_folder]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import pellucid
from pellucid.backends.saving import export_network
from pellucid.data.images import ImageEncoding
from pellucid.data.planted_shapes import PlantedShapes
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import small_cnn

SHAPES = PlantedShapes(("circle", "square", "triangle"), side=32)


def main(out: Path) -> None:
    data = pellucid.read(SHAPES.written(out / "pictures", each=90))
    print(data)

    encoding = ImageEncoding(data.shape, scale=1 / 255, mean=(0.4,) * 3, std=(0.25,) * 3)
    net = fresh(small_cnn, 0, channels=3, height=32, width=32, classes=len(data.classes), base=8)
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
