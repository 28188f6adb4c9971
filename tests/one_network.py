"""One small network, made in every format that the library reads; the tests of formats and of damaged files use it."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.saving import export_network, save_weights

WIDTH, HIDDEN, CLASSES = 5, 7, ("low", "middle", "high")
DICE = np.random.default_rng(0)
WEIGHTS = [DICE.normal(size=shape).astype(np.float32).astype(np.float64) for shape in ((WIDTH, HIDDEN), (HIDDEN, 3))]
BIASES = [DICE.normal(size=size).astype(np.float32).astype(np.float64) for size in (HIDDEN, 3)]
ROWS = DICE.normal(size=(4, WIDTH)).astype(np.float32).astype(np.float64)
BACKGROUND = DICE.normal(size=(6, WIDTH)).astype(np.float32).astype(np.float64)
COLUMNS = [f"column {place}" for place in range(WIDTH)]
MEAN, SPREAD = np.array([3.0, -2, 0, 1, 8]), np.array([2.0, 0.5, 1, 4, 2])
"""Of the pipeline's scaler, powers of two so that scaling rounds nothing."""


def network() -> nn.Sequential:
    """tanh between two layers, softmax behind them; computed in float64, which makes it the one that others meet."""
    net = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 3), nn.Softmax(1)).double().eval()
    with torch.no_grad():
        for layer, weight, bias in zip((net[0], net[2]), WEIGHTS, BIASES, strict=True):
            layer.weight.copy_(torch.from_numpy(weight.T.copy()))
            layer.bias.copy_(torch.from_numpy(bias))
    return net


def answer(rows: Any) -> np.ndarray:
    """The same network in numpy."""
    scores = np.tanh(np.asarray(rows, dtype=np.float64) @ WEIGHTS[0] + BIASES[0]) @ WEIGHTS[1] + BIASES[1]
    likely = np.exp(scores - scores.max(1, keepdims=True))
    return likely / likely.sum(1, keepdims=True)


def of_frames(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(answer(frame[COLUMNS]))


def mlp() -> Any:
    """scikit-learn's own, fitted for a moment and given the weights."""
    sklearn = pytest.importorskip("sklearn.neural_network")
    fitted = sklearn.MLPClassifier((HIDDEN,), "tanh", max_iter=1, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that one step is too few
        fitted.fit(np.tile(BACKGROUND, (3, 1)), list(CLASSES) * 6)
    fitted.coefs_, fitted.intercepts_ = [weight.copy() for weight in WEIGHTS], [bias.copy() for bias in BIASES]
    fitted.classes_ = np.array(CLASSES)
    return fitted


def pipeline() -> Any:
    """The same behind a scaler; it takes columns by name, and is asked about rows that the scaler brings back."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(pd.DataFrame(BACKGROUND, columns=COLUMNS))
    scaler.mean_, scaler.scale_ = MEAN, SPREAD
    return make_pipeline(scaler, mlp())


# Files -------------------------------------------------------------------------------------


def _exported(path: Path) -> None:
    export_network(network(), torch.from_numpy(ROWS), path)


def _weights(path: Path) -> None:
    save_weights(network(), path)


def _state(path: Path) -> None:
    torch.save(network().state_dict(), path)


def _scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated
        torch.jit.save(torch.jit.script(network()), str(path))


def _skops(path: Path) -> None:
    pytest.importorskip("skops.io").dump(mlp(), path)


def _onnx(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    given = [numpy_helper.from_array(array, name) for name, array in zip("vwab", WEIGHTS + BIASES, strict=True)]
    nodes = [
        helper.make_node("Gemm", ["rows", "v", "a"], ["sums"]),
        helper.make_node("Tanh", ["sums"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "w", "b"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["likely"], axis=1),
    ]
    sizes = {"rows": WIDTH, "likely": 3}
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N", size]) for name, size in sizes.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), path)


def _keras(path: Path) -> None:
    pytest.importorskip("h5py")
    if find_spec("keras") is None:
        pytest.skip("Keras is not installed")
    from pellucid.backends.keras_files import keras_on_torch

    keras = keras_on_torch()
    layers = [keras.layers.Dense(HIDDEN, activation="tanh"), keras.layers.Dense(3, activation="softmax")]
    made = keras.Sequential([keras.Input((WIDTH,)), *layers])
    made.set_weights([WEIGHTS[0], BIASES[0], WEIGHTS[1], BIASES[1]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that .h5 is old
        made.save(path)


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    ".pt2": ("net.pt2", _exported),
    "safetensors and factory": ("net.safetensors", _weights),
    "state_dict and factory": ("state.pt", _state),
    "TorchScript": ("net.pt", _scripted),
    ".skops": ("net.skops", _skops),
    ".onnx": ("net.onnx", _onnx),
    ".keras": ("net.keras", _keras),
    ".h5": ("net.h5", _keras),
}
"""The name that a file of each format has, and what writes it."""


def loaded(path: Path) -> Any:
    """The model in a file that was written here."""
    if path.name in ("net.safetensors", "state.pt"):
        return pellucid.load(network, weights=path)
    return pellucid.load(path)
