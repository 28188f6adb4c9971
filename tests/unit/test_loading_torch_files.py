"""Loading networks: the same outputs come back, and no file runs anything."""

from __future__ import annotations

import io
import json
import os
import pickle
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.backends import torch_files
from pellucid.backends.saving import export_network, save_weights
from pellucid.backends.torch_files import kind_of, load_exported, load_module, load_with_factory
from pellucid.records.errors import LoadError, ModelError

MLP = "pellucid.training.networks:mlp"
SIZES = {"inputs": 4, "hidden": [5], "outputs": 3}


class Pictures(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm, self.head = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(torch.relu(self.norm(self.layer(images))).mean((2, 3)))


class Answers(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0]))

    def forward(self, rows: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.layer(rows) * self.scale + torch.tensor([0.5, 0, 1]), "mean": rows.mean(1)}


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(rows)))


class Gadget:
    """A pickle of it makes a file when it is loaded: the canary."""

    def __init__(self, place: Path):
        self.place = str(place)

    def __reduce__(self):
        return (os.mkdir, (self.place,))


def small(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


@pytest.fixture
def canary(tmp_path):
    place = tmp_path / "canary"
    yield place
    assert not place.exists()


@pytest.fixture(scope="module")
def program() -> bytes:
    """A program as torch itself writes it, sample inputs and all."""
    buffer = io.BytesIO()
    batch = torch.export.Dim("batch")
    torch.export.save(torch.export.export(Answers().eval(), (torch.ones(2, 4),), dynamic_shapes=({0: batch},)), buffer)
    return buffer.getvalue()


def edited(archive: bytes, **changes: Callable[[bytes], bytes | None]) -> bytes:
    """The archive with the members whose names end so changed (None drops one)."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data: bytes | None = old.read(name)
            for end, change in changes.items():
                if name.endswith(end.replace("__", "/").replace("_json", ".json").replace("_pt", ".pt")):
                    data = change(data)
            if data is not None:
                new.writestr(name, data)
    return out.getvalue()


def reworded(archive: bytes, change: Callable[[Any], None], end: str = "models__model_json") -> bytes:
    def apply(data: bytes) -> bytes:
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return edited(archive, **{end: apply})


def written(tmp_path: Path, data: bytes, name: str = "net.pt2") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize(
    ("module", "example"),
    [
        (small(), torch.randn(1, 4)),
        (Pictures().eval(), torch.randn(3, 1, 8, 8)),
        (Answers().eval(), torch.randn(2, 4)),
        (small().double(), torch.randn(2, 4, dtype=torch.float64)),
    ],
    ids=["mlp", "cnn", "dict", "double"],
)
def test_an_exported_network_gives_the_same_outputs_for_any_batch(tmp_path, module, example):
    module.train()
    modes = [part.training for part in module.modules()]
    export_network(module, example, tmp_path / "net.pt2")
    assert [part.training for part in module.modules()] == modes
    module.eval()
    loaded = load_module(tmp_path / "net.pt2")
    assert (loaded.batch, loaded.training, loaded.dtype) == (None, False, next(module.parameters()).dtype)
    assert len(loaded.input_names) == 1
    loaded.module.eval()
    for rows in (1, 2, 7):
        x = torch.randn(rows, *example.shape[1:], dtype=example.dtype)
        one, other = module(x), loaded.module(x)
        pairs = zip(one.values(), other.values(), strict=True) if isinstance(one, dict) else [(one, other)]
        assert type(one) is type(other)
        for expected, found in pairs:
            assert torch.equal(expected, found)
    x = torch.randn(2, *example.shape[1:], dtype=example.dtype, requires_grad=True)
    out = loaded.module(x)
    (out["logits"] if isinstance(out, dict) else out).sum().backward()
    assert x.grad is not None


def test_networks_of_several_inputs_are_exported_by_name(tmp_path):
    class Two(nn.Module):
        def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
            return left * right.sum(1, keepdim=True)

    loaded = export_network(Two(), {"left": torch.ones(2, 3), "right": torch.ones(2, 2)}, tmp_path / "two.pt2")
    assert loaded.input_names == ("left", "right") and loaded.batch is None
    assert loaded.module(left=torch.ones(5, 3), right=torch.ones(5, 2)).tolist() == [[2.0] * 3] * 5


def test_torchs_own_file_loads_and_its_fixed_batch_is_told(tmp_path, program):
    loaded = load_exported(written(tmp_path, program))
    expected = torch.export.load(io.BytesIO(program)).module()
    x = torch.randn(6, 4)
    assert torch.equal(loaded.module(x)["logits"], expected(x)["logits"])
    buffer = io.BytesIO()
    net = nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.5))
    torch.export.save(torch.export.export(net.train(), (torch.ones(3, 4),)), buffer)
    fixed = load_module(written(tmp_path, buffer.getvalue(), "no_ending"))
    assert fixed.batch == 3 and fixed.training
    with pytest.raises(RuntimeError, match="equal to 3"):
        fixed.module(torch.ones(2, 4))


def test_the_written_program_has_no_pickle_and_the_same_bytes_every_time(tmp_path):
    export_network(small(), torch.ones(2, 4), tmp_path / "a.pt2")
    export_network(small(), torch.ones(2, 4), tmp_path / "b.pt2")
    assert (tmp_path / "a.pt2").read_bytes() == (tmp_path / "b.pt2").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.pt2") as file:
        assert file.read("model/data/sample_inputs/model.pt") == b""


def test_a_network_that_cannot_be_exported_is_left_as_it_was(tmp_path):
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.sum()) > float(np.float64(x.mean().item())) else -x

    with pytest.raises(ModelError, match="export"):
        export_network(Odd(), torch.ones(2, 3), tmp_path / "odd.pt2")
    assert not list(tmp_path.iterdir())
    with pytest.raises(ModelError, match="at least one row"):
        export_network(small(), torch.ones(0, 4), tmp_path / "odd.pt2")


# ---------------------------------------------------------------- hostile programs


def test_pickled_sample_inputs_are_never_read(tmp_path, program, canary):
    hostile = edited(program, sample_inputs__model_pt=lambda _: pickle.dumps(Gadget(canary)))
    assert load_module(written(tmp_path, hostile)).module(torch.ones(1, 4))["logits"].shape == (1, 3)


def weight_entries(config: dict[str, Any]) -> list[dict[str, Any]]:
    return list(config["config"].values())


@pytest.mark.parametrize(
    "change",
    [
        lambda entry: entry.update(use_pickle=True),
        lambda entry: entry.update(path_name="custom_obj_0"),
        lambda entry: entry.update(path_name="opaque_obj_0", use_pickle=False),
        lambda entry: entry.update(path_name="../../secret"),
        lambda entry: entry.update(path_name="weight_99"),
        lambda entry: entry.update(tensor_meta=None),
        lambda entry: entry["tensor_meta"].update(sizes=[{"as_int": 10**9}]),
        lambda entry: entry["tensor_meta"].update(sizes=[{"as_int": -1}]),
        lambda entry: entry["tensor_meta"].update(storage_offset={"as_int": 10**6}),
        lambda entry: entry["tensor_meta"].update(strides=[{"as_int": 10**6}] * len(entry["tensor_meta"]["sizes"])),
        lambda entry: entry["tensor_meta"].update(dtype=99),
        lambda entry: entry["tensor_meta"].update(device={"type": "meta", "index": None}),
    ],
)
@pytest.mark.parametrize("which", ["weights", "constants"])
def test_pickled_or_impossible_weights_are_refused(tmp_path, program, canary, change, which):
    bomb = edited(program, weights__weight_0=lambda _: pickle.dumps(Gadget(canary))) if which == "weights" else program
    hostile = reworded(bomb, lambda c: change(weight_entries(c)[0]), f"model_{which}_config_json")
    with pytest.raises(LoadError, match=r"net\.pt2"):
        load_module(written(tmp_path, hostile))


def test_the_pickled_layouts_of_older_torch_are_refused(tmp_path, program, canary):
    old = io.BytesIO()
    with zipfile.ZipFile(old, "w") as file:
        file.writestr("version", "8.20")
        file.writestr("serialized_exported_program.json", "{}")
        for part in ("state_dict", "constants", "example_inputs"):
            file.writestr(f"serialized_{part}.pt", pickle.dumps(Gadget(canary)))
    with pytest.raises(LoadError, match=r"torch\.export\.save"):
        load_module(written(tmp_path, old.getvalue()))
    with zipfile.ZipFile(io.BytesIO(program)) as file:
        root = file.namelist()[0].split("/")[0]
    added = io.BytesIO(program)
    with zipfile.ZipFile(added, "a") as file:
        file.writestr(f"{root}/data/weights/model.pt", pickle.dumps(Gadget(canary)))
    with pytest.raises(LoadError, match=r"torch\.export\.save"):
        load_module(written(tmp_path, added.getvalue()))


def nodes(content: dict[str, Any]) -> list[dict[str, Any]]:
    return content["graph_module"]["graph"]["nodes"]


def call(content: dict[str, Any]) -> dict[str, Any]:
    return content["graph_module"]["module_call_graph"][0]["signature"]


def code(place: Path) -> str:
    return f"__import__('os').mkdir({str(place)!r})"


def hostile_programs(place: Path) -> dict[str, Callable[[dict[str, Any]], None]]:
    """Ways by which text in a program becomes code in torch; each would make the canary."""
    run = code(place)
    text = {"name": "", "arg": {"as_string": str(place)}, "kind": 1}
    enum = json.dumps(
        [
            1,
            {
                "type": "builtins.dict",
                "context": json.dumps([{"__enum__": 1, "fqn": "this:d", "name": "x"}]),
                "children_spec": [{"type": None, "context": None, "children_spec": []}],
            },
        ]
    )
    maker = json.dumps(
        [
            1,
            {
                "type": "collections.defaultdict",
                "context": {"default_factory_module": "this", "default_factory_name": "d", "dict_context": []},
                "children_spec": [],
            },
        ]
    )

    def size(content: dict[str, Any]) -> None:
        value = content["graph_module"]["graph"]["tensor_values"]["rows"]
        value["sizes"][0] = {"as_expr": {"expr_str": f"{run} or 3", "hint": {"as_int": 2}}}

    def renamed(content: dict[str, Any], name: str) -> dict[str, Any]:
        return json.loads(json.dumps(content).replace('"linear"', json.dumps(name)))

    return {
        "size": size,
        "guards": lambda c: c.update(guards_code=[run]),
        "target": lambda c: nodes(c)[0].update(target="torch.os.mkdir", inputs=[text]),
        "builtin": lambda c: nodes(c)[0].update(target="_operator.methodcaller", inputs=[text]),
        "file": lambda c: nodes(c)[0].update(target="torch.ops.aten.from_file.default", inputs=[text]),
        "save": lambda c: nodes(c)[0].update(target="torch.ops.aten.save.default", inputs=[text]),
        "attribute": lambda c: nodes(c)[0].update(target="torch.ops.aten.__class__.__init__"),
        "argument": lambda c: nodes(c)[0]["inputs"].append(
            {"name": "out", "arg": {"as_operator": "torch.os.mkdir"}, "kind": 2}
        ),
        "node name": lambda c: c.update(renamed(c, f"x = {run}\n    y")),
        "argument name": lambda c: call(c).update(forward_arg_names=[f"rows={run}"]),
        "parameter name": lambda c: c.update(
            json.loads(json.dumps(c).replace('"layer.weight"', json.dumps(f'a"); {run}; ("')))
        ),
        "enum": lambda c: call(c).update(out_spec=enum),
        "default": lambda c: call(c).update(out_spec=maker),
        "torchbind": lambda c: c["graph_module"]["graph"].update(
            custom_obj_values={"x": {"name": "x", "class_fqn": "y"}}
        ),
        "range": lambda c: c.update(range_constraints={"u99999999999999": {"min_val": 0, "max_val": None}}),
    }


@pytest.mark.parametrize("way", hostile_programs(Path("x")))
def test_text_that_torch_would_run_is_refused(tmp_path, program, canary, way):
    hostile = reworded(program, hostile_programs(canary)[way])
    assert hostile != program
    path = written(tmp_path, hostile)
    if way == "guards":  # left out, not refused: a program works without them
        load_module(path).module(torch.ones(2, 4))
        return
    with pytest.raises(LoadError, match=r"net\.pt2:models/model\.json"):
        load_module(path)


def test_the_attack_on_sizes_is_real(tmp_path, program):
    """The reason for the checks: torch itself runs the text of a size, with no pickle anywhere."""
    place = tmp_path / "real"
    hostile = reworded(program, hostile_programs(place)["size"])
    with pytest.raises(Exception):  # noqa: B017  what it raises afterwards does not matter
        torch.export.load(io.BytesIO(hostile))
    assert place.exists()


@pytest.mark.parametrize(
    "expression", ["2**999999999", "Pow(Integer(9), Integer(99999999))", "Symbol('s0').func", "(" * 999]
)
def test_sizes_that_would_not_end_are_refused(tmp_path, program, expression):
    def change(content: dict[str, Any]) -> None:
        value = content["graph_module"]["graph"]["tensor_values"]["rows"]
        value["sizes"][0] = {"as_expr": {"expr_str": expression, "hint": {"as_int": 2}}}

    begun = time.perf_counter()
    with pytest.raises(LoadError):
        load_module(written(tmp_path, reworded(program, change)))
    assert time.perf_counter() - begun < 2


def test_text_that_is_no_program_is_a_load_error(tmp_path, program):
    for text in (b"", b"{", b"[" * 100_000, b"null", b"{}", b'{"graph_module": 3}', b"\xff\xfe"):
        with pytest.raises(LoadError):
            load_module(written(tmp_path, edited(program, models__model_json=lambda _, text=text: text)))
    with pytest.raises(LoadError, match="0 programs"):
        load_module(written(tmp_path, edited(program, models__model_json=lambda _: None)))


def test_programs_with_random_values_replaced_are_a_load_error_or_load(tmp_path, program):
    """A fuzz over the JSON: whatever stands in a place, nothing but LoadError comes out."""
    dice = np.random.default_rng(0)
    strange = [None, -1, 2**70, "x", "", "a.b", [], {}, True, 1.5, "__import__('os')", {"as_int": -5}]

    def places(value: Any) -> list[tuple[Any, Any]]:
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        return [(value, key) for key in keys] + [pair for key in keys for pair in places(value[key])]

    with zipfile.ZipFile(io.BytesIO(program)) as file:
        name = next(name for name in file.namelist() if name.endswith("models/model.json"))
        text = file.read(name)
    for _ in range(60):
        content = json.loads(text)
        spots = places(content)
        holder, key = spots[dice.integers(len(spots))]
        holder[key] = strange[dice.integers(len(strange))]
        hostile = edited(program, models__model_json=lambda _, c=content: json.dumps(c).encode())
        try:
            load_module(written(tmp_path, hostile))
        except LoadError as error:
            assert len(str(error)) < 2000


def test_a_cut_or_flipped_program_is_a_load_error_or_loads_rightly(tmp_path, program):
    x = torch.randn(3, 4)
    expected = torch.export.load(io.BytesIO(program)).module()(x)["logits"]
    dice = np.random.default_rng(1)
    begun = time.perf_counter()
    for length in np.linspace(0, len(program) - 1, 20).astype(int):
        with pytest.raises(LoadError):
            load_module(written(tmp_path, program[:length]))
    for place in dice.integers(0, len(program), 80):
        broken = bytearray(program)
        broken[place] ^= 1 << int(dice.integers(8))
        try:
            loaded = load_module(written(tmp_path, bytes(broken)))
        except LoadError:
            continue
        assert torch.equal(loaded.module(x)["logits"], expected)
    assert time.perf_counter() - begun < 30


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path):
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("net/archive_format", "pt2")
        file.writestr("net/models/model.json", bytes(20 * 2**20))
    with pytest.raises(LoadError, match="200 times"):
        load_module(written(tmp_path, bomb.getvalue()))


# ---------------------------------------------------------------- pickles and other files


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "net.pkl", "net.joblib", "net.safetensors", "net.pt2", "net"])
@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_pickles_are_refused_whatever_they_are_called(tmp_path, canary, name, form):
    gadget = {"layer.weight": Gadget(canary)}
    data = {
        "zip": lambda: saved(gadget),
        "legacy": lambda: saved(gadget, _use_new_zipfile_serialization=False),
        "pickle": lambda: pickle.dumps(gadget),
    }[form]()
    path = written(tmp_path, data, name)
    with pytest.raises(LoadError, match="trust=True"):
        load_module(path)
    with pytest.raises(LoadError, match="any program"):
        load_module(factory=MLP, weights=path, arguments=SIZES)


def test_trust_is_for_one_file_and_never_a_fallback(tmp_path, monkeypatch):
    place = tmp_path / "made"
    path = written(tmp_path, saved(Gadget(place)), "net.pt")
    with pytest.raises(LoadError, match="not a torch module"):
        load_module(path, trust=True)
    assert place.exists()
    net = written(tmp_path, saved(small()), "whole.pt")
    assert torch.equal(load_module(net, trust=True).module(torch.ones(1, 4)), small()(torch.ones(1, 4)))
    calls = []
    real = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(k["weights_only"]) or real(*a, **k))
    for data in (saved(Gadget(tmp_path / "no")), saved(small()), saved({"a": torch.ones(1)})[:-9], pickle.dumps([1])):
        with pytest.raises(LoadError):
            load_with_factory(MLP, written(tmp_path, data, "w.pt"), arguments=SIZES)
    assert not any(call is not True for call in calls)


def test_other_kinds_are_named(tmp_path, canary):
    keras = io.BytesIO()
    with zipfile.ZipFile(keras, "w") as file:
        file.writestr("config.json", "{}")
        file.writestr("metadata.json", "{}")
    save_weights(small(), tmp_path / "w.safetensors")
    cases = {
        "Keras": keras.getvalue(),
        "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(50),
        "weights only": (tmp_path / "w.safetensors").read_bytes(),
        "no kind": b"hello, world, hello, world",
        "empty": b"",
    }
    for words, data in cases.items():
        path = written(tmp_path, data, "file.pt2")
        for trust in (False, True):
            with pytest.raises(LoadError, match=words):
                load_module(path, trust=trust)
    assert kind_of(tmp_path / "w.safetensors") == "safetensors"
    with pytest.raises(LoadError, match="could not open"):
        load_module(tmp_path / "absent.pt2")
    with pytest.raises(LoadError, match="no file"):
        load_module()


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize("form", ["safetensors", "zip", "legacy", "wrapped"])
def test_weights_and_a_factory_give_the_network_back(tmp_path, form):
    net, x = small(3), torch.randn(6, 4)
    path = tmp_path / "weights"
    if form == "safetensors":
        save_weights(net, path)
    elif form == "wrapped":
        path.write_bytes(saved({"epoch": 3, "state_dict": net.state_dict()}))
    else:
        path.write_bytes(saved(net.state_dict(), _use_new_zipfile_serialization=form == "zip"))
    before = torch.get_rng_state()
    loaded = load_module(factory=MLP, weights=path, arguments=SIZES)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(loaded.module(x), net(x))
    assert torch.equal(load_module(path, factory=lambda: small(9)).module(x), net(x))


def test_double_weights_are_not_rounded(tmp_path):
    net = small().double()
    save_weights(net, tmp_path / "w.safetensors")
    loaded = load_with_factory(small, tmp_path / "w.safetensors")
    x = torch.randn(2, 4, dtype=torch.float64)
    assert loaded.dtype == torch.float64 and torch.equal(loaded.module(x), net(x))


def test_tied_weights_are_written_once_and_stay_tied(tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_model, save_model

    net, x, path = Tied(), torch.randn(3, 4), tmp_path / "tied.safetensors"
    save_weights(net, path)
    with safe_open(str(path), framework="pt") as file:
        assert set(file.keys()) == {"first.weight", "first.bias", "second.bias"}
    loaded = load_with_factory(Tied, path).module
    assert torch.equal(loaded(x), net(x)) and loaded.first.weight is loaded.second.weight
    other = Tied()
    load_model(other, str(path))
    assert torch.equal(other(x), net(x))
    save_model(net, str(path))
    assert torch.equal(load_with_factory(Tied, path).module(x), net(x))
    untied = load_with_factory(lambda: OrderedTwin(), path).module
    assert torch.equal(untied(x), net(x))


class OrderedTwin(Tied):
    def __init__(self):
        super().__init__()
        self.second.weight = nn.Parameter(torch.zeros(4, 4))


def test_wrong_weights_are_told_apart(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path)
    with pytest.raises(LoadError, match=r"2 missing: 4\.weight, 4\.bias") as caught:
        load_module(path, factory=MLP, arguments={**SIZES, "hidden": [5, 5]})
    assert "arguments" in str(caught.value)
    with pytest.raises(LoadError, match=r"0\.weight is \[5, 4\] in the file and \[5, 9\] in the network"):
        load_module(path, factory=MLP, arguments={**SIZES, "inputs": 9})
    save_weights(nn.Sequential(OrderedDict(module=small())), path)
    with pytest.raises(LoadError, match="DataParallel"):
        load_module(path, factory=MLP, arguments=SIZES)
    many = nn.Sequential(*[nn.Linear(1, 1) for _ in range(5)])
    save_weights(many, path)
    with pytest.raises(LoadError, match=r"10 unexpected: .* and 5 more"):
        load_module(path, factory=lambda: nn.Sequential(nn.ReLU()))


def test_parameters_without_data_are_found(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(2), path)

    def bare() -> nn.Module:
        with torch.device("meta"):
            return nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3))

    x = torch.randn(2, 4)
    assert torch.equal(load_module(path, factory=bare).module(x), small(2)(x))

    def hidden() -> nn.Module:
        net = bare()
        net.register_buffer("cache", torch.empty(3, device="meta"), persistent=False)
        return net

    with pytest.raises(LoadError, match="cache: a parameter has no data"):
        load_module(path, factory=hidden)
    with pytest.raises(LoadError, match="lazy"):
        load_module(path, factory=lambda: nn.LazyLinear(3))
    with pytest.raises(ModelError, match="no data"):
        save_weights(bare(), path)


def test_factories_that_do_not_work_are_told(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path)
    for name, words in [
        ("networks.mlp", "package.module:function"),
        ("a b:c", "package.module:function"),
        ("no_such_package:net", "could not import"),
        ("pellucid.training.networks:nothing", "could not import"),
        ("pellucid.training.networks:ACTIVATIONS", "not a function"),
        ("builtins:dict", "not a torch module"),
    ]:
        with pytest.raises(LoadError, match=words):
            load_with_factory(name, path)
    with pytest.raises(LoadError, match="without weights"):
        load_module(factory=MLP)
    with pytest.raises(LoadError, match="one of them"):
        load_module(path, factory=MLP, weights=path)


def test_damaged_weights_are_a_load_error(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(small(), path)
    data = path.read_bytes()
    for length in range(0, len(data), 17):
        path.write_bytes(data[:length])
        with pytest.raises(LoadError):
            load_module(path, factory=MLP, arguments=SIZES)
    state = saved(small().state_dict())
    dice = np.random.default_rng(0)
    for place in dice.integers(0, len(state), 100):
        broken = bytearray(state)
        broken[place] ^= 1 << int(dice.integers(8))
        try:
            loaded = load_module(written(tmp_path, bytes(broken), "w.pt"), factory=MLP, arguments=SIZES)
        except LoadError:
            continue
        assert torch.equal(loaded.module(torch.ones(1, 4)), small()(torch.ones(1, 4)))


def test_only_one_file_may_unpickle():
    """The package's other files hold no call that could unpickle."""
    root = Path(torch_files.__file__).parents[1]
    for file in root.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if file.name != "torch_files.py":
            assert "torch.load(" not in text, file
        for word in (
            "import pickle",
            "import joblib",
            "import dill",
            "cloudpickle",
            "allow_pickle=True",
            "import marshal",
        ):
            assert word not in text, file
