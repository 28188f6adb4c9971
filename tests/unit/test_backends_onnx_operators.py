"""Every ONNX operator that has a twin in torch answers as onnxruntime does, and lets gradients through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from onnx_graphs import model, node, normal, ran, saved

import pellucid
from pellucid.backends.onnx_files import OnnxTwin
from pellucid.backends.onnx_known import KNOWN
from pellucid.backends.onnx_network import ALL_LAYERS, ALL_OPERATORS

NUMBERS = np.array([3, 1, 2], np.int64)


@dataclass
class Case:
    """``y`` of a graph whose input ``x`` has this ``shape`` a row; other inputs are constants."""

    name: str
    nodes: list[Any]
    shape: tuple[int, ...] = (6,)
    constants: dict[str, Any] = field(default_factory=dict)
    version: int = 20
    made: str = "float32"


def one(
    op: str,
    *shape: int,
    more: str = "",
    version: int = 20,
    constants: Any = None,
    made: str = "float32",
    **settings: Any,
) -> Case:
    """A graph of one operator."""
    told = ", ".join([*(f"{key}={value}" for key, value in settings.items()), *(constants or {})])
    nodes = [node(op, f"x {more}".strip(), **settings)]
    return Case(f"{op} {version} ({told})", nodes, shape or (6,), constants or {}, version, made)


F, I = np.float32, np.int64  # noqa: E741
UNARY = [
    one(op)
    for op in [
        "Abs",
        "Neg",
        "Exp",
        "Erf",
        "Floor",
        "Ceil",
        "Round",
        "Sign",
        "Sin",
        "Cos",
        "Atan",
        "Sinh",
        "Cosh",
        "Asinh",
        "Relu",
        "LeakyRelu",
        "Elu",
        "Celu",
        "Selu",
        "Sigmoid",
        "Tanh",
        "Softplus",
        "Softsign",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "Gelu",
        "ThresholdedRelu",
        "Softmax",
        "LogSoftmax",
        "Identity",
        "Shrink",
        "LpNormalization",
        "Flatten",
    ]
]
POSITIVE = [
    Case(op, [node("Sigmoid", "x", "p"), node(op, "p")])
    for op in ["Sqrt", "Log", "Reciprocal", "Tan", "Asin", "Acos", "Atanh"]
]
SETTINGS = [
    Case("Acosh", [node("Exp", "x", "p"), node("Add", "p one", "q"), node("Acosh", "q")], constants={"one": F(1)}),
    one("LeakyRelu", alpha=0.3),
    one("Elu", alpha=0.5),
    one("Selu", alpha=1.0, gamma=2.0),
    one("HardSigmoid", alpha=1 / 6, beta=0.5),
    one("Gelu", approximate="tanh"),
    one("ThresholdedRelu", alpha=0.4),
    one("Shrink", lambd=0.3, bias=0.1),
    one("LpNormalization", p=1),
    one("Swish", version=24, alpha=0.5),
    one("PRelu", more="s", constants={"s": normal(6)}),
    one("PRelu", 3, 4, 4, more="s", constants={"s": normal(3, 1, 1)}),
    one("Softmax", 3, 4, axis=1),
    one("Softmax", 3, 4, axis=1, version=11),
    one("LogSoftmax", 3, 4, axis=-1, version=11),
    one("Clip", more="l h", constants={"l": F(-0.3), "h": F(0.5)}),
    one("Clip", more="- h", constants={"h": F(0.5)}),
    one("Clip", version=7, min=-0.2, max=0.3),
    one("Dropout"),
    one("Dropout", ratio=0.4, version=7),
    one("Transpose", 3, 4, perm=[0, 2, 1]),
    one("Flatten", 1, 4, axis=2),
    one("Trilu", 4, 4),
    one("Trilu", 4, 4, more="k", constants={"k": I(-1)}, upper=0),
    one("CumSum", more="a", constants={"a": I(1)}),
    one("CumSum", more="a", constants={"a": I(1)}, exclusive=1, reverse=1),
    one("ArgMax", axis=1, made="int64"),
    one("ArgMin", axis=1, keepdims=0, made="int64"),
    one("IsNaN", made="bool"),
    one("DepthToSpace", 8, 2, 3, blocksize=2),
    one("DepthToSpace", 8, 2, 3, blocksize=2, mode="CRD"),
    one("SpaceToDepth", 2, 4, 6, blocksize=2),
    one("Einsum", 3, 4, more="w", equation="bij,jk->bik", constants={"w": normal(4, 5)}),
    one("Cast", to=11, made="float64"),
    one("Cast", to=7, made="int64"),
    one("CastLike", more="i", constants={"i": I(1)}, made="int64"),
    one("LRN", 6, 4, 4, size=3),
]
ARITHMETIC = [
    *(
        one(op, more="c", constants={"c": np.abs(normal(6)) + 0.5})
        for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum"]
    ),
    *(one(op, more="c", constants={"c": F(2)}, version=18) for op in ["Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"]),
    *(Case(f"{op} reversed", [node(op, "c x")], constants={"c": normal(6)}) for op in ["Add", "Sub", "Mul"]),
    Case("Div reversed", [node("Exp", "x", "p"), node("Div", "c p")], constants={"c": F(3)}),
    Case("Pow reversed", [node("Pow", "c x")], constants={"c": F(3)}),
    Case("Pow of two rows", [node("Exp", "x", "p"), node("Pow", "p x")]),
    one("Pow", more="c", constants={"c": np.array([1, 2, 3, 2, 1, 0], F)}),
    one("Mod", more="c", constants={"c": F(0.7)}, fmod=1),
    Case("Mod", [node("Cast", "x", "i", to=7), node("Mod", "i c")], constants={"c": I(3)}, made="int64"),
    Case("Div of whole numbers", [node("Mul", "x s", "m"), node("Cast", "m", "i", to=7), node("Div", "i c")],
         constants={"s": F(9), "c": I(2)}, made="int64"),
    Case("rows beside rows", [node("Mul", "x x", "m"), node("Sub", "m x", "d"), node("Div", "d q")],
         constants={"q": F(3)}),
    *(
        Case(op, [node(op, "x c", "t"), node("Cast", "t", to=1)], constants={"c": F(0.1)})
        for op in ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]
    ),
    *(
        Case(op, [node("Greater", "x c", "s"), node("Less", "x d", "t"), node(op, "s t", "u"), node("Cast", "u", to=1)],
             constants={"c": F(-0.4), "d": F(0.4)})
        for op in ["And", "Or", "Xor"]
    ),
    Case("Not, Where", [node("Greater", "x c", "s"), node("Not", "s", "t"), node("Where", "t x c")],
         constants={"c": F(0)}),
    Case("Where of a known condition", [node("Where", "k x c")],
         constants={"c": normal(6), "k": np.array([1, 0, 1, 1, 0, 0], bool)}),
]  # fmt: skip
REDUCTIONS = [
    *(
        one(f"Reduce{how}", 3, 4, more="a", constants={"a": np.array(axes, I)}, keepdims=keep)
        for how in ["Mean", "Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp"]
        for axes, keep in (([1], 0), ([1, 2], 1), ([-1], 1))
    ),
    Case("ReduceLogSum", [node("Exp", "x", "p"), node("ReduceLogSum", "p a")], (3, 4), {"a": np.array([1], I)}),
    one("ReduceMean", 3, 4, version=13, axes=[1, 2], keepdims=0),
    one("ReduceSum", 3, 4, more="a", constants={"a": np.zeros(0, I)}, noop_with_empty_axes=1),
]
SHAPES = [
    one("Reshape", 3, 4, more="s", constants={"s": np.array([0, -1], I)}),
    one("Reshape", 3, 4, more="s", constants={"s": np.array([-1, 12], I)}),
    one("Squeeze", 1, 4, more="a", constants={"a": np.array([1], I)}),
    one("Squeeze", 1, 4, version=11, axes=[1]),
    one("Unsqueeze", 4, more="a", constants={"a": np.array([1, -1], I)}),
    one("Unsqueeze", 4, version=11, axes=[1]),
    Case("Concat", [node("Concat", "x x", axis=1)]),
    one("Slice", more="s e a t", constants={"s": np.array([1], I), "e": np.array([9], I), "a": np.array([1], I),
                                            "t": np.array([2], I)}),
    one("Slice", more="s e a t", constants={"s": np.array([-1], I), "e": np.array([-9], I), "a": np.array([1], I),
                                            "t": np.array([-2], I)}),
    one("Slice", 3, 4, version=9, starts=[0, 1], ends=[2, 100], axes=[1, 2]),
    one("Gather", more="i", constants={"i": NUMBERS}, axis=1),
    one("Gather", 3, 4, more="i", constants={"i": np.array([[0, -1], [1, 1]], I)}, axis=2),
    one("Gather", more="i", constants={"i": I(-2)}, axis=1),
    one("Expand", 1, 4, more="s", constants={"s": np.array([1, 3, 1], I)}),
    one("Tile", 2, 2, more="s", constants={"s": np.array([1, 3, 2], I)}),
    one("Pad", 3, 4, more="p", constants={"p": np.array([0, 1, 0, 0, 0, 2], I)}),
    one("Pad", 3, 4, more="p v", constants={"p": np.array([0, 0, 1, 0, 0, 2], I), "v": F(2.5)}),
    one("Pad", 3, 4, more="p v a", constants={"p": np.array([1, 2], I), "v": F(0), "a": np.array([2], I)}),
    one("Pad", 3, 4, more="p", constants={"p": np.array([0, 1, 2, 0, 0, 1], I)}, mode="reflect"),
    one("Pad", 3, 4, more="p", constants={"p": np.array([0, 1, 2, 0, 0, 1], I)}, mode="edge"),
    one("Pad", 3, 4, version=10, pads=[0, 1, 0, 0, 0, 2], value=1.5),
    Case("Split", [node("Split", "x", "a b", axis=1, num_outputs=2), node("Sub", "b a")]),
    Case("Split uneven", [node("Split", "x s", "a b", axis=1), node("Concat", "b a", axis=1)],
         constants={"s": np.array([2, 4], I)}),
    Case("Split before 13", [node("Split", "x", "a b", axis=1, split=[2, 4]), node("Concat", "b a", axis=1)],
         version=11),
    Case("TopK", [node("TopK", "x k", "v i"), node("Neg", "v")], constants={"k": np.array([3], I)}),
    Case("GatherElements", [node("Transpose", "x", "t", perm=[1, 0]), node("GatherElements", "t i"), ], (4,),
         {"i": np.array([[0], [-1], [2]], I)}),
    Case("GatherElements of rows", [node("TopK", "x k", "v i"), node("GatherElements", "x i", axis=1)],
         constants={"k": np.array([3], I)}),
    Case("GatherND", [node("Transpose", "x", "t", perm=[1, 0]), node("GatherND", "t i", "g"),
                      node("Transpose", "g", perm=[1, 0])], constants={"i": np.array([[0], [4]], I)}),
    Case("ScatterND", [node("Transpose", "x", "t", perm=[1, 0]), node("Gather", "t o", "g"),
                       node("ScatterND", "t i g", "s"), node("Transpose", "s", perm=[1, 0])],
         constants={"i": np.array([[0], [4]], I), "o": np.array([1, 2], I)}),
    Case("ScatterElements", [node("TopK", "x k", "v i"), node("ScatterElements", "x i v", axis=1, reduction="add")],
         constants={"k": np.array([3], I)}),
    Case("OneHot", [node("ArgMax", "x", "m", axis=1, keepdims=0), node("OneHot", "m d v")],
         constants={"d": I(6), "v": np.array([0.5, 2], F)}),
]  # fmt: skip
RECKONED = [
    Case("a shape asked for and reckoned with", [
        node("Shape", "x", "s"), node("Gather", "s zero", "b", axis=0), node("Unsqueeze", "b axes", "b1"),
        node("Concat", "b1 rest", "to", axis=0), node("Reshape", "x to")],
         (2, 6), {"zero": I(0), "axes": np.array([0], I), "rest": np.array([3, 4], I)}),
    Case("part of a shape", [node("Shape", "x", "s", start=1), node("ReduceProd", "s", "n", keepdims=1),
         node("Concat", "m n", "to", axis=0), node("Reshape", "x to")], (2, 6), {"m": np.array([-1], I)}, 18),
    Case("a mask made of a shape", [
        node("Shape", "x", "s"), node("Slice", "s one two", "t"), node("Concat", "t t", "u", axis=0),
        node("ConstantOfShape", "u", "c", value=numpy_helper.from_array(np.ones(1, F))),
        node("Trilu", "c", "m", upper=0), node("MatMul", "x m")],
         constants={"one": np.array([1], I), "two": np.array([2], I)}),
    Case("places counted", [
        node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Range", "zero n one", "r"),
        node("Cast", "r", "f", to=1), node("Mul", "x f")], constants={"zero": I(0), "one": I(1)}),
    Case("a shape in a scale", [node("Size", "x", "s"), node("Shape", "x", "t"), node("Gather", "t zero", "b"),
         node("Div", "s b", "w"), node("Cast", "w", "f", to=1), node("Sqrt", "f", "r"), node("Div", "x r")],
         constants={"zero": I(0)}),
    Case("zeros of a shape beside rows", [node("Shape", "x", "s"), node("Expand", "h s", "e"), node("Add", "x e")],
         constants={"h": normal(1, 6)}),
    Case("what no row changes", [node("Exp", "c", "e"), node("Constant", "", "k", value_float=2.0),
         node("Mul", "e k", "m"), node("Add", "x m")], constants={"c": normal(6)}),
    Case("where, floor, comparisons of shapes", [
        node("Shape", "x", "s"), node("Gather", "s one", "n"), node("Greater", "n one", "g"), node("Not", "g", "h"),
        node("Where", "h one two", "w"), node("Mod", "n w", "m"), node("Cast", "m", "f", to=1), node("Floor", "f", "l"),
        node("Ceil", "l", "c"), node("Add", "x c")], constants={"one": I(1), "two": I(4)}),
]  # fmt: skip


def conv(op: str, *shape: int, weight: tuple[int, ...], bias: int = 0, version: int = 20, **settings: Any) -> Case:
    constants = {"w": normal(*weight)} | ({"b": normal(bias, seed=1)} if bias else {})
    made = [node(op, "x w b" if bias else "x w", **settings)]
    return Case(f"{op} {weight} {settings}", made, shape, constants, version)


WINDOWS = [
    conv("Conv", 3, 9, weight=(4, 3, 3), bias=4),
    conv("Conv", 3, 8, 9, weight=(4, 3, 3, 2), bias=4, strides=[2, 1], pads=[1, 0, 1, 0]),
    conv("Conv", 4, 8, 9, weight=(6, 2, 3, 3), group=2, dilations=[2, 1]),
    conv("Conv", 4, 8, 9, weight=(4, 1, 3, 3), group=4, pads=[0, 1, 2, 0]),
    conv("Conv", 2, 5, 6, 7, weight=(3, 2, 2, 3, 2), bias=3),
    conv("Conv", 3, 8, 9, weight=(4, 3, 3, 4), strides=[2, 2], auto_pad="SAME_UPPER"),
    conv("Conv", 3, 8, 9, weight=(4, 3, 3, 4), auto_pad="SAME_LOWER"),
    conv("Conv", 3, 8, 9, weight=(4, 3, 3, 3), auto_pad="VALID"),
    conv("ConvTranspose", 3, 5, weight=(3, 4, 3), bias=4, strides=[2]),
    conv("ConvTranspose", 4, 5, 6, weight=(4, 3, 3, 3), group=2, strides=[2, 2], pads=[1, 1, 1, 1],
         output_padding=[1, 1]),
    conv("ConvTranspose", 3, 5, 6, weight=(3, 4, 3, 3), strides=[2, 2], pads=[0, 1, 1, 0]),
    conv("ConvTranspose", 3, 5, 6, weight=(3, 4, 3, 3), dilations=[2, 2], strides=[2, 2], auto_pad="SAME_UPPER"),
    conv("ConvTranspose", 2, 3, 4, 3, weight=(2, 3, 2, 2, 2)),
    one("MaxPool", 3, 9, kernel_shape=[3], strides=[2]),
    one("MaxPool", 3, 8, 9, kernel_shape=[3, 2], pads=[1, 1, 1, 1]),
    one("MaxPool", 3, 8, 9, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    one("MaxPool", 3, 8, 9, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    one("MaxPool", 3, 8, 9, kernel_shape=[2, 2], dilations=[2, 2]),
    one("MaxPool", 3, 8, 9, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
    one("MaxPool", 2, 4, 5, 6, kernel_shape=[2, 2, 2]),
    one("AveragePool", 3, 9, kernel_shape=[3], strides=[2]),
    one("AveragePool", 3, 8, 9, kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    one("AveragePool", 3, 8, 9, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    one("AveragePool", 3, 8, 9, kernel_shape=[3, 3], pads=[0, 0, 1, 2], count_include_pad=1),
    one("AveragePool", 3, 8, 9, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]),
    one("AveragePool", 3, 8, 9, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_LOWER"),
    one("AveragePool", 2, 4, 5, 6, kernel_shape=[2, 2, 2]),
    one("GlobalAveragePool", 3, 4, 5),
    one("GlobalMaxPool", 3, 4, 5),
]  # fmt: skip
PRODUCTS = [
    one("Gemm", more="w b", constants={"w": normal(6, 4), "b": normal(4)}),
    one("Gemm", more="w b", constants={"w": normal(4, 6), "b": normal(1, 4)}, transB=1, alpha=0.5, beta=2.0),
    one("Gemm", more="w", constants={"w": normal(6, 4)}),
    one("Gemm", more="w b", constants={"w": normal(6, 4), "b": F(0.5)}),
    one("MatMul", more="w", constants={"w": normal(6, 4)}),
    one("MatMul", 3, 6, more="w", constants={"w": normal(6, 4)}),
    one("MatMul", 3, 6, more="w", constants={"w": normal(1, 6, 4)}),
    Case("MatMul and Add are one layer", [node("MatMul", "x w", "m"), node("Add", "b m")],
         constants={"w": normal(6, 4), "b": normal(4)}),
    Case("MatMul that others use, too", [node("MatMul", "x w", "m"), node("Add", "b m", "a"), node("Mul", "a m")],
         constants={"w": normal(6, 4), "b": normal(4)}),
    Case("rows times rows", [node("Transpose", "x", "t", perm=[0, 2, 1]), node("MatMul", "x t")], (3, 4)),
]  # fmt: skip
NORMS = [
    one("BatchNormalization", 3, 4, 4, more="s b m v", constants={
        "s": normal(3), "b": normal(3, seed=1), "m": normal(3, seed=2), "v": np.abs(normal(3, seed=3)) + 0.1}),
    one("BatchNormalization", 3, more="s b m v", epsilon=0.01, constants={
        "s": normal(3), "b": normal(3, seed=1), "m": normal(3, seed=2), "v": np.abs(normal(3, seed=3)) + 0.1}),
    one("LayerNormalization", 3, 6, more="s b", constants={"s": normal(6), "b": normal(6, seed=1)}, axis=-1),
    one("LayerNormalization", 3, 6, more="s", constants={"s": normal(3, 6)}, axis=1, epsilon=0.1),
    one("InstanceNormalization", 3, 6, more="s b", constants={"s": normal(3), "b": normal(3, seed=1)}),
    one("GroupNormalization", 4, 6, more="s b", constants={"s": normal(4), "b": normal(4)}, num_groups=2, version=21),
    one("RMSNormalization", 3, 6, more="s", constants={"s": normal(6)}, version=23),
]  # fmt: skip
RESIZED = [
    one("Resize", 2, 4, 5, more="- s", constants={"s": np.array([1, 1, 2, 2], F)}, mode=mode, **how)
    for mode, how in (
        ("nearest", {}),
        ("nearest", {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}),
        ("nearest", {"coordinate_transformation_mode": "align_corners", "nearest_mode": "round_prefer_ceil"}),
        ("nearest", {"nearest_mode": "ceil"}),
        ("linear", {}),
        ("linear", {"coordinate_transformation_mode": "align_corners"}),
        ("linear", {"coordinate_transformation_mode": "asymmetric"}),
        ("linear", {"coordinate_transformation_mode": "pytorch_half_pixel"}),
        ("cubic", {}),
        ("cubic", {"exclude_outside": 1, "cubic_coeff_a": -0.5}),
    )
] + [
    one("Resize", 2, 4, 5, more="- s", constants={"s": np.array([1, 1, 0.6, 1.7], F)}, mode="linear"),
    Case("Resize to sizes", [node("Shape", "x", "t"), node("Slice", "t z o", "b"), node("Concat", "b s", "u", axis=0),
         node("Resize", "x - - u", mode="linear")], (2, 6, 6),
         {"z": np.array([0], I), "o": np.array([1], I), "s": np.array([2, 3, 9], I)}),
    one("Resize", 2, 4, 5, more="- s", constants={"s": np.array([2, 2], F)}, mode="linear", axes=[2, 3]),
    one("Resize", 2, 4, 5, more="s", constants={"s": np.array([1, 1, 2, 2], F)}, mode="nearest", version=10),
    one("Upsample", 2, 4, 5, more="s", constants={"s": np.array([1, 1, 2, 2], F)}, mode="linear", version=9),
    one("Upsample", 2, 4, 5, mode="nearest", scales=[1.0, 1.0, 2.0, 3.0], version=7),
]  # fmt: skip


def again(op: str, gates: int, direction: str = "forward", first: bool = False, bias: bool = True, **more: Any) -> Case:
    """A recurrent operator over rows [b, time, 3], which are turned to the way it takes them."""
    ways, hidden = (2 if direction == "bidirectional" else 1), 4
    constants = {"w": normal(ways, gates * hidden, 3), "r": normal(ways, gates * hidden, hidden, seed=1)}
    constants |= {"b": normal(ways, 2 * gates * hidden, seed=2)} if bias else {}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2])]
    taken = "t w r b" if bias else "t w r -"
    if first:
        constants |= {"h": normal(ways, 1, hidden, seed=3)}
        nodes += [node("Shape", "x", "s"), node("Slice", "s zero one", "n")]
        nodes += [node("Concat", "ways n wide", "to", axis=0), node("Expand", "h to", "h0")]
        constants |= {"zero": np.array([0], I), "one": np.array([1], I), "ways": np.array([ways], I)}
        constants |= {"wide": np.array([hidden], I)}
        taken += " - h0" + (" h0" if op == "LSTM" else "")
    nodes += [
        node(op, taken, "o", hidden_size=hidden, direction=direction, **more),
        node("Transpose", "o", perm=[2, 0, 1, 3]),
    ]
    return Case(f"{op} {direction} {first} {bias} {more}", nodes, (5, 3), constants)


RECURRENT = [
    again("LSTM", 4),
    again("LSTM", 4, "reverse", bias=False),
    again("LSTM", 4, "bidirectional", first=True),
    again("GRU", 3, linear_before_reset=1),
    again("GRU", 3, "bidirectional", first=True, linear_before_reset=1),
    again("RNN", 1),
    again("RNN", 1, "bidirectional", activations=["Relu", "Relu"]),
]
CLASSICAL = [
    *(Case(f"to a norm of {n}", [node("Normalizer", "x", domain="ai.onnx.ml", norm=n)]) for n in ("MAX", "L1", "L2")),
    Case("Scaler", [node("Scaler", "x", domain="ai.onnx.ml", offset=[1.0] * 6, scale=[0.5, 1, 2, 3, 4, 5])]),
    Case("LinearRegressor", [node("LinearRegressor", "x", domain="ai.onnx.ml", coefficients=[0.5, 1, 2, 3, 4, 5] * 2,
                                  intercepts=[1.0, 2.0], targets=2)]),
]  # fmt: skip
CASES = [*UNARY, *POSITIVE, *SETTINGS, *ARITHMETIC, *REDUCTIONS, *SHAPES, *RECKONED, *WINDOWS, *PRODUCTS, *NORMS,
         *RESIZED, *RECURRENT, *CLASSICAL]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_an_operator_answers_as_onnxruntime(case: Case, tmp_path: Any) -> None:
    proto = model(case.nodes, {"x": ("float32", ["rows", *case.shape])}, case.constants, {"y": case.made}, case.version)
    net = pellucid.load(saved(proto, tmp_path))
    assert isinstance(net, OnnxTwin), net.reason
    rows = normal(5, *case.shape, seed=7)
    found = net.module(torch.tensor(rows)).detach().numpy()
    np.testing.assert_allclose(found, ran(proto, {"x": rows}), rtol=2e-4, atol=2e-5)


def test_every_operator_has_a_case() -> None:
    told = {n.op_type if n.domain == "" else f"{n.domain}.{n.op_type}" for case in CASES for n in case.nodes}
    assert {*ALL_LAYERS, *ALL_OPERATORS, *KNOWN} - told == {"ai.onnx.ml.LinearClassifier"}  # see the classifiers' tests
