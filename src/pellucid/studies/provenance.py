"""Where a study comes from: hashes, versions, hardware, dates, and the command that makes it again."""

from __future__ import annotations

import hashlib
import os
import platform
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .. import __version__
from ..data.dataset import Dataset
from ..problem.model import Differentiable, Model
from ..store.folder import key_of

LIBRARIES = ("torch", "numpy", "pandas", "scikit-learn", "scikit-image", "safetensors")


def model_card(model: Model) -> dict[str, Any]:
    """What a model is: name, kind, number of weights, outputs, and the digest of its weights."""
    module = getattr(model, "module", None)
    card: dict[str, Any] = {
        "name": model.name,
        "kind": type(model).__name__,
        "outputs": list(model.labels or ()),
        "gradients": isinstance(model, Differentiable),
        "digest": "",
    }
    if isinstance(module, torch.nn.Module):
        state = hashlib.sha256()
        for name, tensor in sorted(module.state_dict().items()):
            array = tensor.detach().cpu().contiguous()
            state.update(f"{name} {array.dtype} {tuple(array.shape)}".encode())
            state.update(array.reshape(-1).view(torch.uint8).numpy().tobytes() if array.numel() else b"")
        card["digest"] = state.hexdigest()
        card["weights"] = sum(parameter.numel() for parameter in module.parameters())
    return card


def provenance(question: Mapping[str, Any], data: Dataset, *, began: float, command: str) -> dict[str, Any]:
    """Everything one needs to make the study again, and to tell it from another."""
    return {
        "created": datetime.fromtimestamp(began, UTC).isoformat(timespec="seconds"),
        "seconds": round(time.time() - began, 1),
        "seed": question["seed"],
        "hashes": {
            "question": key_of(dict(question)),
            "model": question["model"],
            "data": question["data"],
        },
        "data": {
            "file": "" if data.source is None else os.path.basename(str(data.source.path)),
            "rows": len(data),
            "splits": {part: len(data.part(part)) for part in ("train", "validation", "test")},
        },
        "absent": dict(question["removal"]),
        "versions": {"pellucid": __version__, "python": platform.python_version()} | _versions(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count(), "accelerator": torch.cuda.is_available()},
        "command": command,
    }


def _versions() -> dict[str, str]:
    found = {}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found
