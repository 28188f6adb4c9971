"""ONNX operators with weights, activations and pools as torch's own layers, so that they can be named and looked into.

Operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .onnx_known import Beyond, Call
from .onnx_operators import SOFTMAXES, padding

DATA = object()
"""Stands for an input that depends on a row."""
Given = Sequence[Any]
"""What an operator is given: arrays that are constant, :data:`DATA`, or None where an input was left out."""
Built = tuple[nn.Module, tuple[int, ...]] | None
"""A layer and the places of the inputs it is called with; None where the operator has no weights to keep here."""
CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
TRANSPOSED = {1: nn.ConvTranspose1d, 2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
MAX_POOLS = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
AVERAGE_POOLS = {1: nn.AvgPool1d, 2: nn.AvgPool2d, 3: nn.AvgPool3d}


class Operator(nn.Module):
    """An operator that torch has no layer of."""

    def __init__(self, call: Call, function: Callable[..., Any]):
        super().__init__()
        self.call, self.function = call, function

    def forward(self, *values: Any) -> Any:
        return self.function(self.call, *values)

    def extra_repr(self) -> str:
        return self.call.op


def weighted(module: nn.Module, **arrays: np.ndarray | None) -> nn.Module:
    """``module``, made without numbers, with these as its parameters and buffers.

    Made on the meta device, it drew no first weights at random.
    """
    module.load_state_dict({n: torch.tensor(array) for n, array in arrays.items() if array is not None}, assign=True)
    return module


def constants(given: Given, *places: int) -> list[Any] | None:
    """The constants at these places (None for one left out); None where one of them depends on a row."""
    found = [given[place] if place < len(given) else None for place in places]
    return None if any(value is DATA for value in found) else found


# ---------------------------------------------------------------- products


def linear(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    if held is None or given[0] is not DATA or call.get("transA"):
        return None
    weight, bias = held
    if weight is None or weight.ndim != 2 or weight.dtype.kind != "f":
        return None
    weight = np.ascontiguousarray(weight if call.get("transB") else weight.T)
    lines, width = weight.shape
    if bias is not None:
        if bias.ndim > 1 and prod(bias.shape[:-1]) != 1:
            return None
        bias = np.broadcast_to(bias.reshape(-1) * bias.dtype.type(call.get("beta", 1.0)), (lines,))
    layer = nn.Linear(width, lines, bias=bias is not None, device="meta")
    return weighted(layer, weight=weight * weight.dtype.type(call.get("alpha", 1.0)), bias=bias), (0,)


def embedding(call: Call, given: Given) -> Built:
    table = given[0]
    if table is DATA or given[1] is not DATA or call.get("axis", 0) or table.ndim != 2 or table.dtype.kind != "f":
        return None
    return nn.Embedding(*table.shape, _weight=torch.tensor(table)), (1,)


# ---------------------------------------------------------------- windows


@dataclass(frozen=True)
class Around:
    """How much is put around a tensor before windows move over it: listed, or so that the size is kept."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    listed: tuple[int, ...]
    auto: str

    @staticmethod
    def of(call: Call, kernel: Sequence[int]) -> Around:
        axes = len(kernel)
        ones, auto = (1,) * axes, call.get("auto_pad", "NOTSET")
        return Around(
            tuple(kernel), tuple(call.get("strides", ones)), tuple(call.get("dilations", ones)),
            tuple(call.get("pads", (0,) * 2 * axes)) if auto == "NOTSET" else (0,) * 2 * axes, auto,
        )  # fmt: skip

    @property
    def even(self) -> tuple[int, ...] | None:
        """The padding of each axis, where it is the same before and after, and known."""
        half = len(self.kernel)
        return self.listed[:half] if not self.keeps and self.listed[:half] == self.listed[half:] else None

    @property
    def keeps(self) -> bool:
        return self.auto.startswith("SAME")

    def amounts(self, sizes: Sequence[int]) -> list[int]:
        """For :func:`torch.nn.functional.pad`, around a tensor of these sizes."""
        half = len(self.kernel)
        if not self.keeps:
            return padding(self.listed[:half], self.listed[half:])
        reach = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        whole = [max(0, (-(-n // s) - 1) * s + r - n) for n, s, r in zip(sizes, self.strides, reach, strict=True)]
        less, more = [size // 2 for size in whole], [size - size // 2 for size in whole]
        return padding(less, more) if self.auto == "SAME_UPPER" else padding(more, less)


class _PadsFirst:
    """Mixed into a layer that torch pads evenly only."""

    around: Around
    filling = 0.0

    def forward(self, x: Tensor) -> Tensor:
        padded = F.pad(x, self.around.amounts(x.shape[2:]), value=self.filling)
        return super().forward(padded)  # pyright: ignore[reportAttributeAccessIssue]


class _CropsAfter:
    """Mixed into a transposed convolution whose result is cut unevenly."""

    around: Around

    def forward(self, x: Tensor) -> Tensor:
        whole = super().forward(x)  # pyright: ignore[reportAttributeAccessIssue]
        sizes = [n * s for n, s in zip(x.shape[2:], self.around.strides, strict=True)]
        return F.pad(whole, self._cut(whole.shape[2:], sizes))

    def _cut(self, found: Sequence[int], kept: Sequence[int]) -> list[int]:
        half = len(found)
        if not self.around.keeps:
            return padding([-n for n in self.around.listed[:half]], [-n for n in self.around.listed[half:]])
        whole = [max(0, f - k) for f, k in zip(found, kept, strict=True)]
        less, more = [-(size // 2) for size in whole], [-(size - size // 2) for size in whole]
        return padding(less, more) if self.around.auto == "SAME_UPPER" else padding(more, less)


def mixed(part: type, layer: type[nn.Module], around: Around, **arguments: Any) -> nn.Module:
    """A layer of torch with ``part`` mixed in, under the name of the layer."""
    made = type(layer.__name__, (part, layer), {"around": around, "__module__": __name__})
    return cast(nn.Module, made(**arguments))


def convolution(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    weight = held[0] if held else None
    if held is None or weight is None or weight.ndim - 2 not in CONVOLUTIONS:
        return None
    around = Around.of(call, weight.shape[2:])
    group = call.get("group", 1)
    arguments = {
        "in_channels": weight.shape[1] * group, "out_channels": weight.shape[0], "kernel_size": weight.shape[2:],
        "stride": around.strides, "dilation": around.dilations, "groups": group, "bias": held[1] is not None,
        "device": "meta",
    }  # fmt: skip
    kind = CONVOLUTIONS[weight.ndim - 2]
    layer = kind(**arguments, padding=around.even) if around.even else mixed(_PadsFirst, kind, around, **arguments)
    return weighted(layer, weight=weight, bias=held[1]), (0,)


def transposed(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    weight = held[0] if held else None
    if held is None or weight is None or weight.ndim - 2 not in TRANSPOSED:
        return None
    if call.get("output_shape"):
        raise Beyond("ConvTranspose with output_shape")
    around = Around.of(call, weight.shape[2:])
    group = call.get("group", 1)
    arguments = {
        "in_channels": weight.shape[0], "out_channels": weight.shape[1] * group, "kernel_size": weight.shape[2:],
        "stride": around.strides, "dilation": around.dilations, "groups": group, "bias": held[1] is not None,
        "output_padding": tuple(call.get("output_padding", (0,) * (weight.ndim - 2))), "device": "meta",
    }  # fmt: skip
    kind = TRANSPOSED[weight.ndim - 2]
    layer = kind(**arguments, padding=around.even) if around.even else mixed(_CropsAfter, kind, around, **arguments)
    return weighted(layer, weight=weight, bias=held[1]), (0,)


def max_pool(call: Call, _: Given) -> Built:
    if call.outputs > 1:
        raise Beyond("MaxPool that returns places")
    around = Around.of(call, call.get("kernel_shape", ()))
    kind = MAX_POOLS.get(len(around.kernel))
    if kind is None:
        return None
    arguments = {
        "kernel_size": around.kernel, "stride": around.strides, "dilation": around.dilations,
        "ceil_mode": bool(call.get("ceil_mode")),
    }  # fmt: skip
    if around.even is not None and all(2 * p <= k for p, k in zip(around.even, around.kernel, strict=True)):
        return kind(**arguments, padding=around.even), (0,)
    layer = mixed(_PadsFirst, kind, around, **arguments)
    layer.filling = float("-inf")  # pyright: ignore[reportAttributeAccessIssue, reportArgumentType]
    return layer, (0,)


def average_pool(call: Call, _: Given) -> Built:
    around = Around.of(call, call.get("kernel_shape", ()))
    if any(d != 1 for d in around.dilations):
        raise Beyond("AveragePool with dilations")
    kind = AVERAGE_POOLS.get(len(around.kernel))
    if kind is None:
        return None
    counted = bool(call.get("count_include_pad"))
    arguments = {
        "kernel_size": around.kernel, "stride": around.strides, "ceil_mode": bool(call.get("ceil_mode")),
        "count_include_pad": counted,
    }  # fmt: skip
    if around.even is not None and all(2 * p <= k for p, k in zip(around.even, around.kernel, strict=True)):
        return kind(**arguments, padding=around.even), (0,)
    if counted:
        return mixed(_PadsFirst, kind, around, **arguments), (0,)
    return mixed(_PadsUncounted, kind, around, **arguments), (0,)


class _PadsUncounted(_PadsFirst):
    """Mixed into an average pool that divides by what of a window lies inside."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) / super().forward(torch.ones_like(x[:1, :1]))


def global_pool(function: Callable[[Tensor, tuple[int, ...]], Tensor]) -> Callable[[Call, Given], Built]:
    return lambda call, _: (Operator(call, lambda _, x: function(x, tuple(range(2, x.ndim)))), (0,))


# ---------------------------------------------------------------- norms


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch norm of any number of axes."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class InstanceNorm(nn.modules.instancenorm._InstanceNorm):
    """Instance norm of any number of axes."""

    def forward(self, input: Tensor) -> Tensor:
        return F.instance_norm(input, weight=self.weight, bias=self.bias, eps=self.eps)


def batch_norm(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2, 3, 4)
    if held is None or held[0] is None or call.outputs > 1 or call.get("training_mode"):
        raise Beyond("BatchNormalization in training mode")
    layer = BatchNorm(len(held[0]), eps=call.get("epsilon", 1e-5), device="meta")
    scale, bias, mean, variance = held
    counted = np.zeros((), np.int64)
    return weighted(
        layer, weight=scale, bias=bias, running_mean=mean, running_var=variance, num_batches_tracked=counted
    ), (0,)


def layer_norm(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    if held is None or held[0] is None or call.outputs > 1:
        raise Beyond("LayerNormalization that returns its statistics")
    scale, bias = held
    if call.get("axis", -1) not in (-scale.ndim, 1, 2, 3):
        raise Beyond("LayerNormalization whose scale is not of the shape of what it goes over")
    layer = nn.LayerNorm(list(scale.shape), eps=call.get("epsilon", 1e-5), bias=bias is not None, device="meta")
    return weighted(layer, weight=scale, bias=bias), (0,)


def rms_norm(call: Call, given: Given) -> Built:
    held = constants(given, 1)
    if held is None or held[0] is None or call.get("axis", -1) != -held[0].ndim:
        raise Beyond("RMSNormalization whose scale is not of the shape of what it goes over")
    layer = nn.RMSNorm(list(held[0].shape), eps=call.get("epsilon", 1e-5), device="meta")
    return weighted(layer, weight=held[0]), (0,)


def instance_norm(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    if held is None or held[0] is None:
        return None
    layer = InstanceNorm(len(held[0]), eps=call.get("epsilon", 1e-5), affine=True, device="meta")
    return weighted(layer, weight=held[0], bias=held[1]), (0,)


def group_norm(call: Call, given: Given) -> Built:
    held = constants(given, 1, 2)
    groups = call.get("num_groups", 1)
    if held is None or held[0] is None or (call.version < 21 and len(held[0]) == groups):
        raise Beyond("GroupNormalization with a scale for each group")
    layer = nn.GroupNorm(groups, len(held[0]), eps=call.get("epsilon", 1e-5), device="meta")
    return weighted(layer, weight=held[0], bias=held[1]), (0,)


def local_norm(call: Call, _: Given) -> Built:
    alpha, beta, k = call.get("alpha", 1e-4), call.get("beta", 0.75), call.get("bias", 1.0)
    return nn.LocalResponseNorm(call.get("size"), alpha, beta, k), (0,)


# ---------------------------------------------------------------- activations


def activation(make: Callable[[Call], nn.Module]) -> Callable[[Call, Given], Built]:
    return lambda call, _: (make(call), (0,))


def operator(function: Callable[..., Any]) -> Callable[[Call, Given], Built]:
    return activation(lambda call: Operator(call, function))


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * abs(b)


def selu(call: Call, _: Given) -> Built:
    alpha, gamma = call.get("alpha", 1.6732632), call.get("gamma", 1.0507010)
    if _near(alpha, 1.6732632) and _near(gamma, 1.0507010):
        return nn.SELU(), (0,)
    return Operator(call, lambda _, x: gamma * torch.where(x > 0, x, alpha * torch.expm1(x))), (0,)


def hard_sigmoid(call: Call, _: Given) -> Built:
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    if _near(alpha, 1 / 6) and _near(beta, 0.5):
        return nn.Hardsigmoid(), (0,)
    return Operator(call, lambda _, x: torch.clamp(alpha * x + beta, 0, 1)), (0,)


def prelu(call: Call, given: Given) -> Built:
    held = constants(given, 1)
    slope = held[0] if held else None
    if slope is not None and (slope.size == 1 or (slope.ndim > 1 and slope.size == slope.shape[0])):
        return weighted(nn.PReLU(slope.size, device="meta"), weight=slope.reshape(-1)), (0,)
    return Operator(call, lambda _, x, s: torch.where(x > 0, x, s * x)), (0, 1)


def softmax(call: Call, _: Given) -> Built:
    if call.version < 13:
        return Operator(call, SOFTMAXES[call.op]), (0,)
    return (nn.Softmax if call.op == "Softmax" else nn.LogSoftmax)(call.get("axis", -1)), (0,)


def dropout(call: Call, given: Given) -> Built:
    training = given[2] if len(given) > 2 else None
    if training is DATA or (training is not None and bool(training.any())) or call.outputs > 1:
        raise Beyond("Dropout in training mode")
    return nn.Dropout(), (0,)


LAYERS: dict[str, Callable[[Call, Given], Built]] = {
    "Gemm": linear,
    "MatMul": linear,
    "Gather": embedding,
    "Conv": convolution,
    "ConvTranspose": transposed,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool(lambda x, axes: x.mean(axes, keepdim=True)),
    "GlobalMaxPool": global_pool(lambda x, axes: x.amax(axes, keepdim=True)),
    "BatchNormalization": batch_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LRN": local_norm,
    "Dropout": dropout,
    "Relu": activation(lambda _: nn.ReLU()),
    "LeakyRelu": activation(lambda call: nn.LeakyReLU(call.get("alpha", 0.01))),
    "Elu": activation(lambda call: nn.ELU(call.get("alpha", 1.0))),
    "Celu": activation(lambda call: nn.CELU(call.get("alpha", 1.0))),
    "Selu": selu,
    "Sigmoid": activation(lambda _: nn.Sigmoid()),
    "HardSigmoid": hard_sigmoid,
    "HardSwish": activation(lambda _: nn.Hardswish()),
    "Tanh": activation(lambda _: nn.Tanh()),
    "Softplus": activation(lambda _: nn.Softplus(threshold=1000)),
    "Softsign": activation(lambda _: nn.Softsign()),
    "Mish": activation(lambda _: nn.Mish()),
    "Gelu": activation(lambda call: nn.GELU(call.get("approximate", "none"))),
    "Swish": operator(lambda call, x: x * torch.sigmoid(call.get("alpha", 1.0) * x)),
    "ThresholdedRelu": activation(lambda call: nn.Threshold(call.get("alpha", 1.0), 0.0)),
    "Shrink": operator(
        lambda call, x: (
            torch.where(x < -call.get("lambd", 0.5), x + call.get("bias", 0.0), torch.zeros_like(x))
            + torch.where(x > call.get("lambd", 0.5), x - call.get("bias", 0.0), torch.zeros_like(x))
        )
    ),
    "PRelu": prelu,
    "Softmax": softmax,
    "LogSoftmax": softmax,
}
"""Operator → the layer that it is, where it has one."""
