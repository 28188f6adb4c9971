"""ONNX files that are damaged or mean harm: an error that names the file and the byte, in bounded time and memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, external_data_helper, helper, numpy_helper
from onnx_graphs import model, node, normal, ran, saved

import pellucid
from pellucid.backends import onnx_files, onnx_format
from pellucid.backends.onnx_files import OnnxTwin
from pellucid.backends.protobuf import Limits, Reader
from pellucid.records.errors import LoadError, PellucidError

ROWS = normal(3, 4, seed=9)


def small() -> Any:
    nodes = [node("Gemm", "x w b", "h"), node("Relu", "h", "r"), node("Reshape", "r s", "q"), node("Gemm", "q v")]
    held = {"w": normal(4, 6), "b": normal(6), "v": normal(6, 2), "s": np.array([-1, 6], np.int64)}
    return model(nodes, {"x": ("float32", ["n", 4])}, held)


def said(path: Path) -> str | None:
    """The error on loading ``path``; None where it was loaded and answers as onnxruntime does."""
    try:
        net = pellucid.load(path)
        answer = net.outputs({"inputs": torch.tensor(ROWS)})
    except PellucidError as error:
        return str(error)
    np.testing.assert_allclose(answer.detach(), ran(path, {"x": ROWS}), rtol=1e-3, atol=1e-4)
    return None


@pytest.mark.parametrize("place", range(20))
def test_a_file_cut_short_names_the_byte(place: int, tmp_path: Path) -> None:
    whole = small().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(whole[: max(1, len(whole) * place // 20)])
    told = said(path)
    assert told is not None and str(path) in told and ":byte " in told


def test_a_byte_turned_over_is_told_or_does_no_harm(tmp_path: Path) -> None:
    """Each file answers as onnxruntime does (a weight is another weight), or is refused by name."""
    whole, path = small().SerializeToString(), tmp_path / "turned.onnx"
    refused = []
    for place in range(0, len(whole), len(whole) // 20):
        turned = bytearray(whole)
        turned[place] ^= 0xFF
        path.write_bytes(bytes(turned))
        told = said(path)
        if told is not None:
            refused.append(told)
            assert str(path) in told
    assert len(refused) >= 8


def test_every_byte_turned_over_by_the_reader_alone() -> None:
    """Our reader ends with a network or an error, whatever stands there; nothing else is raised."""
    whole = small().SerializeToString()
    for place in range(len(whole)):
        for bits in (0x01, 0x80, 0xFF):
            turned = bytearray(whole)
            turned[place] ^= bits
            try:
                onnx_format.read_file(bytes(turned), "net", lambda tensor: np.zeros(tensor.shape))
            except LoadError as error:
                assert "net:byte " in str(error)


NO_NETWORKS = {
    "empty": b"", "zip": b"PK\x03\x04", "page": b"<html>", "zeros": b"\x00" * 100,
    "noise": np.random.default_rng(0).bytes(64),
}  # fmt: skip


@pytest.mark.parametrize("content", NO_NETWORKS.values(), ids=NO_NETWORKS)
def test_files_that_are_no_network(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.onnx"
    path.write_bytes(content)
    with pytest.raises(LoadError, match=r"odd\.onnx"):
        pellucid.load(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"gone\.onnx: could not open the file. No such file"):
        pellucid.load(tmp_path / "gone.onnx")


def test_loose_ends_are_told_with_their_byte(tmp_path: Path) -> None:
    def changed(change: Any) -> str:
        proto = small()
        change(proto.graph)
        return said(saved(proto, tmp_path)) or ""

    assert "Relu uses 'gone', which nothing before it makes" in changed(
        lambda g: g.node[1].input.__setitem__(0, "gone")
    )
    assert "nothing makes the output 'gone'" in changed(lambda g: setattr(g.output[0], "name", "gone"))
    assert "'h' is made twice" in changed(lambda g: g.node[1].output.__setitem__(0, "h"))
    assert "a node of the network has no operator" in changed(lambda g: setattr(g.node[1], "op_type", ""))
    assert "there is no network in the file" in changed(lambda g: g.ClearField("node"))
    told = changed(lambda g: setattr(g.node[1], "op_type", "Rleu"))
    assert "onnxruntime does not take this network" in told and ":byte " in told and "Rleu" in told


def test_an_element_type_that_there_is_not(tmp_path: Path) -> None:
    proto = small()
    proto.graph.initializer[0].data_type = 99
    assert "the constant 'w' has an element type that there is not" in (said(saved(proto, tmp_path)) or "")


# ---------------------------------------------------------------- bombs


def test_a_constant_that_claims_more_than_is_there(tmp_path: Path) -> None:
    proto = small()
    for dims in ([10**9, 10**9], [-1, 6], [1] * 100, [4, 7]):
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        tracemalloc.start()
        told = said(saved(proto, tmp_path)) or ""
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert "the constant 'w'" in told and ":byte " in told and most < 2**24


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range", "Resize"])
def test_much_made_out_of_nothing_is_refused_before_it_is_made(op: str, tmp_path: Path) -> None:
    large = np.array([10**6, 10**6], np.int64)
    nodes = {
        "ConstantOfShape": [node("ConstantOfShape", "large", "c")],
        "Expand": [node("Expand", "one large", "c")],
        "Tile": [node("Tile", "one large", "c")],
        "Range": [node("Range", "zero end step", "c")],
        "Resize": [node("Resize", "one - - large", "c", mode="nearest")],
    }[op]
    held = {"large": large, "one": np.ones((1, 1), np.float32)}
    held |= {k: np.asarray(np.int64(v)) for k, v in {"zero": 0, "end": 10**12, "step": 1}.items()}
    proto = model([*nodes, node("Size", "c", "n"), node("Cast", "n", "f", to=1), node("Add", "x f")],
                  {"x": ("float32", ["n", 4])}, held)  # fmt: skip
    told = said(saved(proto, tmp_path)) or ""
    assert f"{op} makes 1,000,000,000,000 numbers out of nothing" in told and "net.onnx" in told


def test_as_much_made_from_a_row_is_refused_too(tmp_path: Path) -> None:
    proto = model([node("Tile", "x many", "t"), node("ReduceMax", "t", "m", keepdims=0), node("Add", "x m")],
                  {"x": ("float32", ["n", 4])}, {"many": np.array([10**6, 10**6], np.int64)})  # fmt: skip
    told = said(saved(proto, tmp_path)) or ""
    assert "Tile makes" in told or "onnxruntime" in told


def test_too_many_fields_and_too_deep(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"net:byte 20: the file has more than 10 fields"):
        Reader(b"\x18\x01" * 20, "net", Limits(fields=10)).read(onnx_format.Entry)
    graph = helper.make_graph([node("Identity", "x")], "g", [], [])
    for _ in range(20):
        holder = helper.make_node("If", ["x"], ["y"])
        holder.attribute.append(helper.make_attribute("then_branch", graph))
        graph = helper.make_graph([holder], "g", [], [])
    deep = helper.make_model(graph).SerializeToString()
    with pytest.raises(LoadError, match="lie more than 40 deep in one another"):
        onnx_format.read_file(deep, "net", lambda tensor: np.zeros(0))


def test_a_file_larger_than_any_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(small(), tmp_path)
    monkeypatch.setattr(onnx_files, "LARGEST_FILE", 100)
    with pytest.raises(LoadError, match="more than an ONNX file can have"):
        pellucid.load(path)


# ---------------------------------------------------------------- constants in other files


def spread(folder: Path) -> Path:
    """The small network with its weights in a file beside it (onnxruntime wants shapes in the network's own)."""
    proto = small()
    external_data_helper.convert_model_to_external_data(proto, location="net.data", size_threshold=60)
    onnx.save(proto, str(folder / "net.onnx"))
    return folder / "net.onnx"


def pointed(path: Path, **told: str) -> Path:
    """The same with what it says of where its first constant lies changed."""
    proto = onnx.load(str(path), load_external_data=False)
    entries = {entry.key: entry.value for entry in proto.graph.initializer[0].external_data} | told
    del proto.graph.initializer[0].external_data[:]
    for key, value in entries.items():
        proto.graph.initializer[0].external_data.add(key=key, value=value)
    path.write_bytes(proto.SerializeToString())
    return path


def test_constants_in_a_file_beside_it(tmp_path: Path) -> None:
    path = spread(tmp_path)
    net = pellucid.load(path)
    assert isinstance(net, OnnxTwin)
    np.testing.assert_allclose(net.outputs({"x": torch.tensor(ROWS)}).detach(), ran(path, {"x": ROWS}), atol=1e-6)


def test_no_constant_comes_from_outside_of_the_folder(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    secret = tmp_path / "secret"
    secret.write_bytes(b"\0" * 4096)
    (inner / "link").symlink_to(secret)
    (inner / "way").symlink_to(tmp_path)
    (inner / "folder").mkdir()
    path = spread(inner)
    for location in ("../secret", str(secret), "link", "way/secret", "folder/../../secret", "..\\secret", "/etc/passwd",
                     "", ".", "net.data\0", "file:///etc/passwd", "folder", "~/secret"):  # fmt: skip
        with pytest.raises(
            LoadError, match=r"net\.onnx:byte \d+: (a constant is said to lie in|the file '.*' with con)"
        ):
            pellucid.load(pointed(path, location=location))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"offset": "99999999"}, r"the file 'net\.data' ends before the constant does"),
        ({"length": "99999999"}, r"the file 'net\.data' ends before the constant does"),
        ({"length": "92"}, "the constant 'w' does not hold what it claims"),
        ({"offset": "-4"}, "the offset of a constant in another file is '-4'"),
        ({"length": "1e3"}, "the length of a constant in another file is '1e3'"),
        ({"offset": "9" * 40}, "the offset of a constant"),
        ({"location": "gone.data"}, r"the file 'gone\.data' with constants is missing"),
    ],
)
def test_what_is_said_of_another_file_is_held_against_it(told: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=message):
        pellucid.load(pointed(spread(tmp_path), **told))


def test_one_place_read_many_times_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = spread(tmp_path)
    monkeypatch.setattr(onnx_files, "LARGEST_OUTSIDE", 100)
    with pytest.raises(LoadError, match="the constants in other files have more than 100 bytes"):
        pellucid.load(path)


def test_constants_of_operators_do_not_lie_in_other_files(tmp_path: Path) -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "c")
    external_data_helper.set_external_data(tensor, "net.data", 0, 16)
    tensor.ClearField("raw_data")
    made = helper.make_node("Constant", [], ["c"], value=tensor)
    branch = helper.make_graph([made], "branch", [], [helper.make_tensor_value_info("c", TensorProto.FLOAT, None)])
    for nodes in (
        [made, node("Add", "x c")],
        [node("ReduceMax", "x", "m", keepdims=0), node("Greater", "m m", "g"),
         node("If", "g", "c", then_branch=branch, else_branch=branch), node("Add", "x c")],
    ):  # fmt: skip
        path = saved(model(nodes, {"x": ("float32", ["n", 4])}), tmp_path)
        with pytest.raises(LoadError, match="a constant inside an operator lies in another file"):
            pellucid.load(path)
