"""A TorchScript file, explained without the code that made it: trained, scripted, saved, loaded and audited.

python examples/torchscript_model.py [--out runs/torchscript_model]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import pellucid
from pellucid.data.books import loan_book


def trained(inputs: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(inputs.shape[1], 16), nn.Tanh(), nn.Dropout(0.1), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    return network.eval()


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = pellucid.read(loan_book(600, seed=0)[0], label="approved")
    encoding = pellucid.Encoding.fit(data.train)
    network = trained(torch.tensor(encoding.encode(data.train)), torch.tensor(data.train.labels))
    torch.jit.save(torch.jit.script(network), str(out / "loans.pt"))

    model = pellucid.load(out / "loans.pt", encoding=encoding, outputs=data.classes)  # its code is read first
    for method in ("integrated_gradients", "deeplift"):  # gradients and operations are there; inner layers are not
        print(pellucid.explain(model, data.test.features[:4], method, background=data.train.features))
    study = pellucid.audit(model, data, out=out / "audit", methods=["shapley", "deeplift"], rows=6)
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/torchscript_model"))
    main(parser.parse_args().out)
