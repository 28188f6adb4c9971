"""One network in every format gives one explanation: outputs, Shapley values, occlusion, integrated gradients."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from serving import Served
from torch import nn

import pellucid
from pellucid.backends.saving import export_network, save_weights
from pellucid.methods import IntegratedGradients
from pellucid.problem.model import Differentiable
from pellucid.records.errors import NotApplicable

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
    with pytest.warns(Warning):
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


class Place:
    """Where a format may keep its file, and what must be shut when the test is over."""

    def __init__(self, folder: Path, stack: ExitStack):
        self.folder, self.stack = folder, stack


Maker = Callable[[Place], Any]


def exported(place: Place) -> Any:
    export_network(network(), torch.from_numpy(ROWS), place.folder / "net.pt2")
    return pellucid.load(place.folder / "net.pt2")


def with_factory(place: Place) -> Any:
    save_weights(network(), place.folder / "net.safetensors")
    return pellucid.load(network, weights=place.folder / "net.safetensors")


def scripted(place: Place) -> Any:
    with pytest.warns(DeprecationWarning):
        torch.jit.save(torch.jit.script(network()), str(place.folder / "net.pt"))
    return pellucid.load(place.folder / "net.pt")


def skops_file(place: Place) -> Any:
    pytest.importorskip("skops.io").dump(mlp(), place.folder / "net.skops")
    return pellucid.load(place.folder / "net.skops")


def onnx_file(place: Place) -> Any:
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
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ["N", width]) for name, width in ENDS.items()]
    graph = helper.make_graph(nodes, "net", ends[:1], ends[1:], given)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), place.folder / "net.onnx")
    return pellucid.load(place.folder / "net.onnx")


ENDS = {"rows": WIDTH, "likely": 3}


def served(place: Place) -> Any:
    yaml = pytest.importorskip("yaml")
    server = place.stack.enter_context(Served(lambda rows: answer(rows).tolist()))
    (place.folder / "net.yaml").write_text(yaml.safe_dump(server.file()))
    return pellucid.load(place.folder / "net.yaml")


FORMATS: dict[str, tuple[Maker, bool]] = {
    "torch": (lambda place: network(), True),
    "torch in float32": (lambda place: network().float(), True),
    ".pt2": (exported, True),
    "safetensors and factory": (with_factory, True),
    "TorchScript": (scripted, True),
    "scikit-learn": (lambda place: mlp(), True),
    "pipeline": (lambda place: pipeline(), True),
    ".skops": (skops_file, True),
    ".onnx": (onnx_file, True),
    "function of arrays": (lambda place: answer, False),
    "function of tables": (lambda place: of_frames, False),
    "HTTP": (served, False),
}
"""How each format is made and loaded, and whether it has gradients."""


def asked(name: str, model: Any, method: Any) -> Any:
    """The explanation of the same rows, the way this format takes them."""
    rows, background = ROWS, BACKGROUND
    if name == "pipeline":
        rows, background = rows * SPREAD + MEAN, background * SPREAD + MEAN
    if name in ("pipeline", "function of tables"):
        rows, background = (pd.DataFrame(array, columns=COLUMNS).iloc[:, ::-1] for array in (rows, background))
    return pellucid.explain(model, rows, method, target=1, background=background)


METHODS = ("exact_shapley", "occlusion", IntegratedGradients(steps=50))


@pytest.fixture(scope="module")
def wanted() -> list[Any]:
    return [pellucid.explain(network(), ROWS, method, target=1, background=BACKGROUND) for method in METHODS]


@pytest.mark.parametrize("name", FORMATS)
def test_one_network_gives_one_explanation_in_every_format(name: str, wanted: list[Any], tmp_path: Path) -> None:
    with ExitStack() as stack:
        make, has_gradients = FORMATS[name]
        model = pellucid.wrap(make(Place(tmp_path, stack)))
        assert isinstance(model, Differentiable) == has_gradients, model.reason
        for method, ours in zip(METHODS if has_gradients else METHODS[:2], wanted, strict=False):
            found = asked(name, model, method)
            values = found.values[:, ::-1] if name == "function of tables" else found.values  # in the frame's order
            np.testing.assert_allclose(values, ours.values, rtol=0, atol=1e-5 * np.abs(ours.values).max())
            np.testing.assert_allclose(found.full, ours.full, rtol=0, atol=1e-6)
            np.testing.assert_allclose(found.base, ours.base, rtol=0, atol=1e-6)
        if not has_gradients:
            with pytest.raises(NotApplicable, match="integrated_gradients needs a model that is differentiable"):
                asked(name, model, METHODS[2])


def test_the_law_would_notice_another_network(wanted: list[Any]) -> None:
    net = network()
    with torch.no_grad():
        net[2].bias[0] += 1e-3
    found = pellucid.explain(net, ROWS, "exact_shapley", target=1, background=BACKGROUND)
    assert np.abs(found.values - wanted[0].values).max() > 1e-5 * np.abs(wanted[0].values).max()
