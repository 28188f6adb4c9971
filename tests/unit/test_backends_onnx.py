"""ONNX files: a twin in torch with every capability where it answers as onnxruntime, else a black box that says why."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from onnx_graphs import model, node, normal, ran, saved
from torch import Tensor, nn

import pellucid
from pellucid.backends.onnx_files import OnnxTwin
from pellucid.backends.onnx_session import OnnxBox
from pellucid.data.text_encoding import Vocabulary
from pellucid.records.errors import LoadError, ModelError, NotApplicable, PellucidError


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.second, self.pool = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = nn.functional.max_pool2d(x + torch.relu(self.second(x)), 2)
        return self.head(self.pool(x).flatten(1))


class Attends(nn.Module):
    """One block of a transformer, written out."""

    def __init__(self, tokens: int | None = None) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, 8) if tokens else None
        self.ask, self.key, self.tell = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 8)
        self.norm, self.again = nn.LayerNorm(8), nn.LayerNorm(8)
        self.wide, self.back, self.head = nn.Linear(8, 16), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.table is None else self.table(x)
        ask, key, tell = (
            layer(x).reshape(x.shape[0], x.shape[1], 2, 4).transpose(1, 2) for layer in (self.ask, self.key, self.tell)
        )
        seen = torch.softmax(ask @ key.transpose(2, 3) / 2.0, -1) @ tell
        x = self.norm(x + seen.transpose(1, 2).reshape(x.shape))
        x = self.again(x + self.back(nn.functional.gelu(self.wide(x))))
        return self.head(x.mean(1))


class Recurs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(3, 5, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][:, -1])


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(2, 4), nn.Linear(3, 4)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.tanh(self.left(left) * self.right(right))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3))


NETWORKS = {
    "mlp": (mlp, (4,)),
    "residual": (Residual, (2, 6, 6)),
    "attends": (Attends, (5, 8)),
    "recurs": (Recurs, (3, 3)),
}


def exported(net: nn.Module, rows: Any, path: Path, free: bool = True) -> Path:
    """``net`` as torch's older exporter writes it, which needs no other package."""
    rows = rows if isinstance(rows, tuple) else (rows,)
    names = [f"in{place}" for place in range(len(rows))]
    axes = {name: {0: "rows"} for name in [*names, "out"]} if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net, rows, str(path), input_names=names, output_names=["out"], dynamic_axes=axes, dynamo=False
        )
    return path


def network(name: str) -> tuple[nn.Module, Tensor]:
    make, shape = NETWORKS[name]
    torch.manual_seed(3)
    return make().eval(), torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))


# ---------------------------------------------------------------- twins


@pytest.mark.parametrize("free", [True, False], ids=["any rows", "two rows"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_twin_explains_as_the_network_does(name: str, free: bool, tmp_path: Path) -> None:
    net, rows = network(name)
    twin = pellucid.load(exported(net, rows[:2], tmp_path / "net.onnx", free))
    assert isinstance(twin, OnnxTwin) and twin.name == "net" and not twin.reason
    assert twin.fixed_batch is None and 0 <= twin.difference < 1e-5
    some: dict[str, dict[str, Any]] = {"shapley": {"budget": 64}, "occlusion": {}, "integrated_gradients": {"steps": 8}}
    for method, how in some.items():
        due, found = (pellucid.explain(m, rows, method, target=1, **how).values for m in (net, twin))
        np.testing.assert_allclose(found, due, atol=1e-5 * np.abs(due).max(), err_msg=method)


@pytest.mark.parametrize("method", ["deeplift", "lrp"])
@pytest.mark.parametrize("name", NETWORKS)
def test_operations_of_a_twin_are_followed(name: str, method: str, tmp_path: Path) -> None:
    net, rows = network(name)
    twin = pellucid.load(exported(net, rows[:2], tmp_path / "net.onnx"))
    due, found = (pellucid.explain(m, rows, method, target=0).values for m in (net, twin))
    np.testing.assert_allclose(found, due, atol=2e-5 * np.abs(due).max())


def test_layers_have_the_names_of_the_nodes(tmp_path: Path) -> None:
    net, rows = network("residual")
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    assert "/first/Conv" in dict(twin.module.named_modules())
    seen = pellucid.explain(twin, rows, "grad_cam", layer="/second/Conv", target=0)
    due = pellucid.explain(net, rows, "grad_cam", layer="second", target=0)
    np.testing.assert_allclose(seen.values, due.values, atol=1e-6)
    with pytest.raises(PellucidError, match="did you mean '/first/Conv'"):
        pellucid.explain(twin, rows, "grad_cam", layer="first/Conv", target=0)


def test_attention_of_a_twin_is_found(tmp_path: Path) -> None:
    net, rows = network("attends")
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    due, found = (pellucid.explain(m, rows, "attention_rollout").values for m in (net, twin))
    np.testing.assert_allclose(found, due, atol=1e-6)


def test_the_first_layer_and_the_tokens_table_are_torch_s_own(tmp_path: Path) -> None:
    net, rows = network("mlp")
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    assert twin.beginning({"inputs": rows}) is not None
    torch.manual_seed(0)
    reads = Attends(tokens=11).eval()
    ids = torch.randint(0, 11, (3, 5))
    twin = pellucid.load(exported(reads, ids, tmp_path / "reads.onnx"))
    assert isinstance(twin, OnnxTwin)
    due, found = (pellucid.explain(m, ids, "integrated_gradients", target=0, steps=8).values for m in (reads, twin))
    np.testing.assert_allclose(found, due, atol=1e-5 * np.abs(due).max())


def test_a_product_and_its_bias_are_one_layer(tmp_path: Path) -> None:
    net, rows = network("attends")
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    layers = [layer for layer in twin.module.modules() if isinstance(layer, nn.Linear)]
    assert len(layers) == 6 and all(layer.bias is not None for layer in layers)


def test_a_twin_can_be_copied_and_computes_in_another_type(tmp_path: Path) -> None:
    net, rows = network("mlp")
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    finer = copy.deepcopy(twin.module).double()
    np.testing.assert_allclose(
        finer(rows.double()).detach(), copy.deepcopy(net).double()(rows.double()).detach(), atol=1e-12
    )
    assert next(twin.module.parameters()).dtype == torch.float32


def test_a_loaded_network_draws_no_random_numbers(tmp_path: Path) -> None:
    path = exported(*network("residual"), tmp_path / "net.onnx")
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    pellucid.load(path)
    assert torch.equal(torch.get_rng_state(), before[0]) and torch.get_num_threads() == before[2]
    assert np.array_equal(np.random.get_state()[1], before[1])


# ---------------------------------------------------------------- inputs and outputs


def test_several_inputs_by_name_and_in_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Pair().eval()
    rows = (torch.randn(3, 2), torch.randn(3, 3))
    twin = pellucid.load(exported(net, rows, tmp_path / "net.onnx"))
    due = pellucid.explain(net, rows, "exact_shapley", target=0).values
    for given in (rows, dict(zip(("in0", "in1"), rows, strict=True))):
        np.testing.assert_allclose(pellucid.explain(twin, given, "exact_shapley", target=0).values, due, atol=1e-6)
    with pytest.raises(PellucidError, match=r"no input named 'left'"):
        pellucid.explain(twin, {"left": rows[0], "in1": rows[1]}, "exact_shapley", target=0)


def test_one_of_several_outputs(tmp_path: Path) -> None:
    proto = model(
        [node("Gemm", "x w", "logits"), node("Gemm", "x v", "other")],
        {"x": ("float32", ["n", 3])},
        {"w": normal(3, 2), "v": normal(3, 4, seed=1)},
        {"other": "float32", "logits": "float32"},
    )
    path, rows = saved(proto, tmp_path), normal(4, 3, seed=2)
    net = pellucid.load(path)
    assert pellucid.explain(net, rows, "occlusion", target=1).values.shape == (4, 3)
    assert "logits was explained" in " ".join(w.text() for w in pellucid.explain(net, rows, target=1).warnings)
    for output, width in (("other", 4), (0, 4), (1, 2)):
        chosen = pellucid.load(path, output=output)
        assert chosen.outputs({"x": torch.tensor(rows)}).shape == (4, width)
    with pytest.raises(ModelError, match=r"returns no 'probs'\. it returns other, logits"):
        pellucid.load(path, output="probs")
    del proto.graph.node[:], proto.graph.output[:]
    proto.graph.node.extend([node("Gemm", "x w", "a"), node("Gemm", "x v", "b")])
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "ab")
    with pytest.raises(LoadError, match=r'a: \(2, 2\), b: \(2, 4\).*output="…" in pellucid\.load'):
        pellucid.load(saved(proto, tmp_path))


def classifier(zipped: bool) -> Any:
    """A classifier as exporters of scikit-learn write it: the label as a text, and probabilities."""
    held = {"w": normal(3, 2), "k": np.array([0], np.int64)}
    nodes = [node("Gemm", "x w", "s"), node("Softmax", "s", "p"), node("ArgMax", "p", "a", axis=1),
             node("ArrayFeatureExtractor", "names a", "label", domain="ai.onnx.ml")]  # fmt: skip
    if zipped:
        nodes += [node("ZipMap", "p", "maps", domain="ai.onnx.ml", classlabels_strings=["no", "yes"])]
    proto = model(nodes, {"x": ("float32", ["n", 3])}, held, {"label": "str", "maps" if zipped else "p": "float32"})
    proto.graph.initializer.append(helper.make_tensor("names", TensorProto.STRING, [2], [b"no", b"yes"]))
    if zipped:
        kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
        proto.graph.output[1].CopyFrom(helper.make_value_info("maps", helper.make_sequence_type_proto(kind)))
    return proto


@pytest.mark.parametrize("zipped", [True, False])
def test_a_classifier_with_a_label_of_text(zipped: bool, tmp_path: Path) -> None:
    path, rows = saved(classifier(zipped), tmp_path), normal(3, 3, seed=4)
    net = pellucid.load(path)
    assert isinstance(net, OnnxTwin) and net.labels == ("no", "yes")
    e = pellucid.explain(net, rows, "integrated_gradients", target="yes")
    assert e.outputs[0] == ("yes",)
    assert pellucid.load(path, outputs=("bad", "good")).labels == ("bad", "good")


def test_scores_of_a_linear_classifier(tmp_path: Path) -> None:
    for after in ("NONE", "SOFTMAX", "LOGISTIC"):
        made = node("LinearClassifier", "x", "label p", domain="ai.onnx.ml", classlabels_ints=[4, 7, 9],
                    coefficients=normal(9).tolist(), intercepts=[0.1, 0.2, 0.3], post_transform=after)  # fmt: skip
        outputs = {"label": "int64", "p": "float32"}
        net = pellucid.load(saved(model([made], {"x": ("float32", ["n", 3])}, outputs=outputs), tmp_path))
        assert isinstance(net, OnnxTwin) and net.labels == ("4", "7", "9")


@pytest.mark.parametrize("kind", ["float64", "float16"])
def test_other_types_of_numbers(kind: str, tmp_path: Path) -> None:
    proto = model(
        [node("Gemm", "x w b", "h"), node("Tanh", "h", "t"), node("Gemm", "t v")],
        {"x": (kind, ["n", 4])},
        {"w": normal(4, 5, dtype=kind), "b": normal(5, dtype=kind), "v": normal(5, 2, dtype=kind)},
        {"y": kind},
    )
    net = pellucid.load(saved(proto, tmp_path))
    assert isinstance(net, OnnxTwin) and net.difference < (1e-12 if kind == "float64" else 1e-2)
    rows = normal(3, 4, seed=5, dtype="float64")
    e = pellucid.explain(net, rows, "integrated_gradients", target=0)
    assert e.gap.max() < 1e-2


def test_a_network_without_weights_takes_the_type_it_declares(tmp_path: Path) -> None:
    net = pellucid.load(
        saved(model([node("Tanh", "x")], {"x": ("float64", ["n", 4])}, outputs={"y": "float64"}), tmp_path)
    )
    assert net.place({"inputs": torch.ones(1, 4)})["inputs"].dtype == torch.float64


def test_only_two_rows_at_once(tmp_path: Path) -> None:
    """Constants for two rows: neither onnxruntime nor the twin takes another number."""
    proto = model(
        [node("Add", "x zeros", "s"), node("Flatten", "s", "r"), node("Gemm", "r w")],
        {"x": ("float32", [2, 2, 2])},
        {"zeros": np.zeros((2, 2, 2), np.float32), "w": normal(4, 2)},
    )
    net = pellucid.load(saved(proto, tmp_path))
    assert isinstance(net, OnnxTwin) and net.fixed_batch == 2
    free = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    free[1].weight.data = torch.tensor(normal(4, 2).T.copy())
    rows = normal(3, 2, 2, seed=1)
    due, found = (pellucid.explain(m, rows, "occlusion", target=0).values for m in (free, net))
    np.testing.assert_allclose(found, due, atol=1e-6)


# ---------------------------------------------------------------- black boxes


def odd(op: str = "NonMaxSuppression") -> Any:
    """A network of an operator that onnxruntime knows and that has no twin here."""
    made = {
        "Hardmax": [node("Gemm", "x w", "h"), node("Hardmax", "h")],
        "If": [
            node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m zero", "c"), node("Gemm", "x w", "h"),
            node("If", "c", then_branch=_branch("Neg"), else_branch=_branch("Identity")),
        ],
        "Quantize": [node("Gemm", "x w", "h"), node("QuantizeLinear", "h scale", "q"),
                     node("DequantizeLinear", "q scale")],
    }  # fmt: skip
    held = {"w": normal(3, 2), "scale": np.float32(0.1), "zero": np.float32(0)}
    return model(made[op], {"x": ("float32", ["n", 3])}, {k: np.asarray(v) for k, v in held.items()})


def _branch(op: str) -> Any:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node(op, ["h"], ["o"])], op, [], [out])


@pytest.mark.parametrize(
    ("op", "told"), [("Hardmax", "Hardmax"), ("If", "If"), ("Quantize", "QuantizeLinear, DequantizeLinear")]
)
def test_an_operator_without_a_twin_makes_a_black_box_that_says_so(op: str, told: str, tmp_path: Path) -> None:
    path, rows = saved(odd(op), tmp_path), normal(3, 3, seed=2)
    net = pellucid.load(path, outputs=("a", "b"))
    assert isinstance(net, OnnxBox) and net.labels == ("a", "b")
    assert f"could not be rebuilt in torch for {told}" in net.reason
    assert told in net.why.text("zh")
    np.testing.assert_array_equal(net.outputs({"inputs": torch.tensor(rows)}), ran(path, {"x": rows}))
    e = pellucid.explain(net, rows, "exact_shapley", target="b")
    assert "onnx_operators" in {caution.code for caution in e.warnings}
    for method in ("integrated_gradients", "deeplift", "grad_cam"):
        with pytest.raises(NotApplicable, match=f"could not be rebuilt in torch for {told}"):
            pellucid.explain(net, rows, method, target=0)


def test_a_twin_that_answers_otherwise_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pellucid.backends import onnx_network

    wrong = {**onnx_network.ALL_LAYERS, "Relu": lambda call, given: (nn.LeakyReLU(0.5), (0,))}
    monkeypatch.setattr(onnx_network, "ALL_LAYERS", wrong)
    net = pellucid.load(saved(model([node("Relu", "x")], {"x": ("float32", ["n", 3])}), tmp_path))
    assert isinstance(net, OnnxBox)
    assert "it answers otherwise (relative difference 0." in net.reason


def test_sizes_that_cannot_be_guessed_make_a_black_box(tmp_path: Path) -> None:
    held = {"s": np.array([0, 7, 11, 13], np.int64), "w": normal(13, 2)}
    nodes = [node("Reshape", "x s", "r"), node("MatMul", "r w", "m"), node("ReduceMean", "m axes", keepdims=0)]
    held["axes"] = np.array([1, 2], np.int64)
    net = pellucid.load(saved(model(nodes, {"x": ("float32", ["n", "k"])}, held), tmp_path))
    assert isinstance(net, OnnxBox) and "ran on no made-up rows" in net.reason
    assert net.outputs({"x": torch.ones(2, 7 * 11 * 13)}).shape == (2, 2)


def test_a_shape_that_depends_on_values_makes_a_black_box(tmp_path: Path) -> None:
    nodes = [node("ReduceMax", "x", "m", keepdims=0), node("Cast", "m", "i", to=7), node("Mul", "i zero", "z"),
             node("Add", "z three", "t"), node("Range", "zero t one", "r"), node("Cast", "r", "f", to=1),
             node("Mul", "x f")]  # fmt: skip
    held = {name: np.asarray(np.int64(value)) for name, value in (("zero", 0), ("one", 1), ("three", 3))}
    net = pellucid.load(saved(model(nodes, {"x": ("float32", ["n", 3])}, held), tmp_path))
    assert isinstance(net, OnnxBox)
    assert "Range whose shape depends on the values of a row" in net.reason


def test_a_black_box_of_one_row_at_once(tmp_path: Path) -> None:
    proto = odd("Hardmax")
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    net = pellucid.load(saved(proto, tmp_path))
    assert isinstance(net, OnnxBox) and net.fixed_batch == 1
    assert pellucid.explain(net, normal(3, 3), "occlusion", target=0).values.shape == (3, 3)


def test_an_input_of_text_is_refused(tmp_path: Path) -> None:
    proto = model([node("Identity", "x")], {"x": ("str", ["n", 1])}, outputs={"y": "str"})
    with pytest.raises(LoadError, match=r"the input 'x' takes texts.*encoding="):
        pellucid.load(saved(proto, tmp_path))


def test_without_onnxruntime_a_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(odd("Hardmax"), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(LoadError, match=r"pip install 'pellucid\[onnx\]'"):
        pellucid.load(path)


def test_a_twin_reads_texts_by_its_own_names_of_inputs(tmp_path: Path) -> None:
    class Reads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.kinds, self.head = nn.Embedding(9, 6), nn.Embedding(2, 6), nn.Linear(6, 2)

        def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
            there = attention_mask.unsqueeze(-1).to(torch.float32)
            return self.head(((self.table(input_ids) + self.kinds(token_type_ids)) * there).sum(1).tanh())

    texts = ["a good film", "a bad film", "not good"]
    vocabulary = Vocabulary.of(texts)
    torch.manual_seed(0)
    net = Reads().eval()
    given = (
        torch.zeros(2, 3, dtype=torch.long),
        torch.ones(2, 3, dtype=torch.long),
        torch.ones(2, 3, dtype=torch.long),
    )
    names = ["input_ids", "attention_mask", "token_type_ids"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {name: {0: "rows", 1: "tokens"} for name in names}
        torch.onnx.export(net, given, str(tmp_path / "net.onnx"), input_names=names, dynamic_axes=axes, dynamo=False)
    twin = pellucid.load(tmp_path / "net.onnx", encoding=vocabulary, outputs=("bad", "good"))
    for method in ("exact_shapley", "integrated_gradients"):
        due, found = (
            pellucid.explain(m, texts, method, target=1).values for m in (pellucid.wrap(net, encoding=vocabulary), twin)
        )
        np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))
