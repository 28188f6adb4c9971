"""A network in an ONNX file, explained: trained in torch here, exported, loaded again, looked into and audited.

python examples/onnx_model.py [--out runs/onnx_model]

Any exporter will do: torch's, Keras', tf2onnx, skl2onnx. Pellucid asks onnxruntime, rebuilds the network in torch, and
where both answer the same it takes gradients and looks into layers.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

import pellucid


def trained(data: pellucid.Dataset, encoding: pellucid.Encoding) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(encoding.width, 24), nn.SiLU(), nn.Linear(24, 12), nn.SiLU(), nn.Linear(12, 2))
    rows, labels = torch.tensor(encoding.encode(data.train)), torch.tensor(data.train.labels)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(rows), labels).backward()
        optimizer.step()
    return net.eval()


def exported(net: nn.Module, width: int, path: Path) -> None:
    """As torch's older exporter writes it, which needs no other package; the newer one will do as well."""
    free = {"cells": {0: "patients"}, "logits": {0: "patients"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, (torch.zeros(1, width),), str(path), input_names=["cells"], output_names=["logits"],
            dynamic_axes=free, dynamo=False,
        )  # fmt: skip


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    frame = load_breast_cancer(as_frame=True).frame
    frame["diagnosis"] = frame.pop("target").map({0: "malignant", 1: "benign"})
    data = pellucid.read(frame.sample(frac=1, random_state=0), label="diagnosis")
    encoding = pellucid.Encoding.fit(data.train)
    exported(trained(data, encoding), encoding.width, out / "net.onnx")

    model = pellucid.load(out / "net.onnx", encoding=encoding, outputs=data.classes)
    print(f"{model}: differs from onnxruntime by {model.difference:.1e} of the largest number")

    rows = data.test.features[:3]
    background = data.train.features[:50]
    print(pellucid.explain(model, rows, "integrated_gradients", background=background))
    print(pellucid.explain(model, rows, "layer_activation", layer="/2/Gemm"))
    methods = ["shapley", "integrated_gradients", "deeplift", "occlusion"]
    study = pellucid.audit(model, data, out=out / "audit", methods=methods, rows=6)
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/onnx_model"))
    main(parser.parse_args().out)
