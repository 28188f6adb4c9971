"""A second device that needs no hardware: tensors that say they lie there, and refuse to meet those that lie elsewhere.

Run as a program it explains networks whose weights lie on both, and prints what differs from the same networks on one.
Torch can be told of one such device, once for a process: the test starts one of its own.
"""

from __future__ import annotations

import copy
import json
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

import pellucid
from pellucid.records.errors import ModelError

FAR = "elsewhere:0"
MEETS_OTHERS = ("aten::copy_", "aten::index.Tensor", "aten::index_put_", "aten::_index_put_impl_")
"""What torch allows between devices: copies, and indices that lie on the host."""


class Placed(Tensor):
    """A tensor on a device that is not there: its numbers lie on the host, in ``held``."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device) -> Placed:
        made = Tensor._make_wrapper_subclass(
            cls, held.size(), strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype,
            device=device,
        )  # fmt: skip
        made.held = held
        return made

    def __repr__(self, **_: Any) -> str:
        return f"Placed({self.held}, {self.device})"

    def tolist(self) -> list[Any]:
        return self.detach().cpu().tolist()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(op, *args, **(kwargs or {}))


def _bare(value: Any) -> Any:
    return value.held if isinstance(value, Placed) else value


def _run(op: Any, *args: Any, **kwargs: Any) -> Any:
    """One operation on the host, its result laid where its operands lie or where it was asked to be."""
    name, tensors = op.name(), [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    lie = {tensor.device for tensor in tensors if tensor.ndim or isinstance(tensor, Placed)}
    if len(lie) > 1 and name not in MEETS_OTHERS:
        raise RuntimeError(f"Expected all tensors to be on the same device, but found {sorted(map(str, lie))}: {name}")
    asked, (plain, named) = kwargs.get("device"), tree_map(_bare, (args, kwargs))
    found = op(*plain, **(named | ({} if asked is None else {"device": "cpu"})))
    if op._schema.is_mutable and any(found is value for value in tree_leaves(plain)):
        return args[0]
    far = next((tensor.device for tensor in tensors if isinstance(tensor, Placed)), None)
    device = far if asked is None else torch.device(asked)
    if device is None or device.type == "cpu":
        return found
    return tree_map(lambda value: Placed(value, device) if isinstance(value, Tensor) else value, found)


def _copied(own: Tensor, into: Tensor, non_blocking: bool = False) -> Tensor:
    _bare(into).copy_(_bare(own))
    return into


def second_device() -> torch.library.Library:
    """Tell torch of the device; it is known as long as what is returned is kept."""
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    _setup_privateuseone_for_python_backend(FAR.split(":")[0])
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty_strided", partial(_run, torch.ops.aten.empty_strided.default), "PrivateUse1")
    library.impl("empty.memory_format", partial(_run, torch.ops.aten.empty.memory_format), "PrivateUse1")
    library.impl("_copy_from", _copied, "PrivateUse1")
    return library


class Cells(nn.Module):
    """For tables. Its last layer is named first, so that the weights that come first are not where rows go in."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 3)
        self.first = nn.Sequential(nn.Linear(4, 6), nn.Tanh())
        self.second = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).to(self.head.weight.device)))


class Pixels(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x).to(self.head.weight.device)).mean((2, 3)))


class Numbers(nn.Module):
    """For tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Embedding(11, 6), nn.Linear(6, 6), nn.Tanh())
        self.head = nn.Linear(6, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.first(ids).mean(1).to(self.head.weight.device))


class Dispatched(nn.Module):
    """As libraries lay a network out by a map of devices: what each layer is given is moved to it."""

    def __init__(self) -> None:
        super().__init__()
        self.head, self.first = nn.Linear(6, 3), nn.Linear(4, 6)
        self.hf_device_map = {"first": "cpu", "head": FAR}

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.first(x.to(self.first.weight.device)).tanh()
        return self.head(hidden.to(self.head.weight.device))


LAYERS = ("first.1", "second.1", "head")
OF_LAYERS = ("layer_conductance", "layer_activation", "internal_influence", "unit_ablation")
METHODS: dict[str, tuple[Any, ...]] = {
    "table": (
        "exact_shapley", "kernel_shapley", "permutation_shapley", "lime", "occlusion", "anchors", "sage",
        "permutation_importance", "saliency", "integrated_gradients", "expected_gradients", "smoothgrad",
        "integrated_hessians",
        *(pellucid.methods.NeuronAttribution(layer=layer) for layer in LAYERS),
        *(getattr(pellucid.methods, "".join(map(str.title, name.split("_"))))(layer=LAYERS) for name in OF_LAYERS),
    ),
    "image": ("occlusion", "rise", "grad_cam", "score_cam", "ablation_cam", "integrated_gradients"),
    "tensor": ("lime", "exact_shapley", "integrated_gradients"),
}  # fmt: skip


def differences(make: Callable[[], nn.Module], rows: Any, kind: str, swapped: bool, **given: Any) -> dict[str, Any]:
    """How far each method's numbers lie from those of the network on one device; the sentence where it fails."""
    torch.manual_seed(0)
    whole = make()
    told: dict[str, Any] = {}
    split = copy.deepcopy(whole)
    for name, part in split.named_children():
        part.to(FAR if (name == "first") != swapped else "cpu")
    lie = {name: str(weight.device) for name, weight in split.named_parameters()}
    for method in METHODS[kind]:
        due = pellucid.explain(whole, rows, method, seed=1, **given)
        try:
            found = pellucid.explain(split, rows, method, seed=1, **given)
        except Exception as error:  # noqa: BLE001 — what fails is told with the others
            told[repr(method)] = f"{type(error).__name__}: {error}"
            continue
        told[repr(method)] = _apart(due, found)
    assert lie == {name: str(weight.device) for name, weight in split.named_parameters()}
    return told


def _apart(due: Any, found: Any) -> float:
    if not hasattr(due, "values"):  # rules
        return 0.0 if str(due) == str(found) else 1.0
    return float(np.nanmax(np.abs(due.values - found.values)))


def main() -> dict[str, Any]:
    dice = torch.Generator().manual_seed(1)
    table, background = torch.randn(3, 4, generator=dice), torch.randn(5, 4, generator=dice)
    pictures, tokens = torch.rand(2, 3, 8, 8, generator=dice), torch.randint(0, 11, (3, 5), generator=dice)
    found: dict[str, Any] = {"swapped": {}, "straight": {}}
    for way, told in found.items():
        swapped = way == "swapped"
        told["table"] = differences(Cells, table, "table", swapped, background=background)
        told["dispatched"] = differences(Dispatched, table, "tensor", swapped, background=background)
        told["image"] = differences(Pixels, pictures, "image", swapped)
        told["tokens"] = differences(Numbers, tokens, "tensor", swapped, background=torch.zeros_like(tokens[:1]))
    split = Cells()
    split.first.to(FAR)
    found["devices"] = pellucid.preflight(split, table).devices
    broken = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3))
    broken[1].to(FAR)
    for name, network, rows in (("broken", broken, table), ("narrow", split, table[:, :3])):
        try:
            pellucid.explain(network, rows, "exact_shapley")
        except ModelError as error:
            found[name] = str(error)
    return found


if __name__ == "__main__":
    known = second_device()
    json.dump(main(), sys.stdout)
