"""Keras networks: they explain as a torch twin with the same weights does, and a file can run nothing."""

from __future__ import annotations

import io
import json
import os
import random
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.archive import Limits
from pellucid.backends.keras_config import LOAD_IT, clean_config
from pellucid.backends.keras_files import keras_on_torch, load_keras
from pellucid.records.errors import InputError, LoadError, ModelError
from pellucid.removals import Constant, Marginal

if find_spec("keras") is None or find_spec("h5py") is None:
    pytest.skip("Keras is not installed", allow_module_level=True)
keras = keras_on_torch()
layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype("float32")
PICTURES = RNG.normal(size=(4, 8, 8, 3)).astype("float32")


def close(found, wanted) -> None:
    """Within 1e-5 of the largest."""
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def weighed(network):
    """Weights that are not what layers begin with, so that a forgotten bias or moving mean shows."""
    rng = np.random.default_rng(3)
    network.set_weights([np.abs(w + rng.normal(scale=0.3, size=w.shape)).astype(w.dtype) if "variance" in v.path
                         else (w + rng.normal(scale=0.3, size=w.shape)).astype(w.dtype)
                         for v, w in zip(network.weights, network.get_weights(), strict=True)])  # fmt: skip
    return network


@pytest.fixture(scope="module")
def table():
    """A network of columns, and its torch twin."""
    network = weighed(keras.Sequential([
        keras.Input((5,)), layers.Dense(16, activation="relu"), layers.Dropout(0.5), layers.Dense(3),
    ]))  # fmt: skip
    twin = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 3))
    for mine, theirs in zip((twin[0], twin[2]), (network.layers[0], network.layers[2]), strict=True):
        kernel, bias = theirs.get_weights()
        mine.load_state_dict({"weight": torch.tensor(kernel.T), "bias": torch.tensor(bias)})
    return network, twin


class Twin(nn.Module):
    """The pictures' network with channels first."""

    def __init__(self, network):
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 6, 3, padding=1), nn.Linear(6, 3)
        self.norm, self.relu = nn.BatchNorm2d(4, eps=1e-3), nn.ReLU()
        named = {layer.name: layer.get_weights() for layer in network.layers}
        for mine, name in ((self.one, "one"), (self.two, "two")):
            kernel, bias = map(torch.tensor, named[name])
            mine.load_state_dict({"weight": kernel.permute(3, 2, 0, 1), "bias": bias})
        gamma, beta, mean, variance = map(torch.tensor, named["norm"])
        self.norm.weight.data, self.norm.bias.data = gamma, beta
        self.norm.running_mean, self.norm.running_var = mean, variance
        self.last.weight.data, self.last.bias.data = (torch.tensor(w.T) for w in named["scores"])

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.norm(self.one(x))), 2)
        return torch.softmax(self.last(self.relu(self.two(x)).mean((2, 3))), 1)


@pytest.fixture(scope="module")
def pictures():
    """A network of pictures, channels last, and its twin with channels first."""
    network = weighed(keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same", name="one"), layers.BatchNormalization(name="norm"),
        layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(6, 3, padding="same", activation="relu", name="two"),
        layers.GlobalAveragePooling2D(), layers.Dense(3, activation="softmax", name="scores"),
    ]))  # fmt: skip
    return network, Twin(network).eval()


@pytest.fixture(scope="module")
def saved(table, pictures, tmp_path_factory):
    folder = tmp_path_factory.mktemp("keras")
    table[0].save(folder / "table.keras")
    pictures[0].save(folder / "pictures.keras")
    pictures[0].save(folder / "pictures.h5")
    return folder


# Right -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "settings"),
    [("exact_shapley", {}), ("occlusion", {}), ("integrated_gradients", {"steps": 32}), ("deeplift", {})],
)
def test_a_file_explains_as_the_twin_does(table, saved, method, settings):
    loaded = pellucid.load(saved / "table.keras", outputs=("a", "b", "c"))
    ours, wanted = (
        pellucid.explain(one, X, method, target=1, removal=Marginal(X[:3]), **settings) for one in (loaded, table[1])
    )
    close(ours.values, wanted.values)
    assert ours.outputs[0] == ("b",) and loaded.name == "table"


@pytest.mark.parametrize("name", ["pictures.keras", "pictures.h5"])
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("occlusion", {}), ("integrated_gradients", {"steps": 16}), ("grad_cam", {}), ("ablation_cam", {}),
        ("deeplift", {}),
    ],
)  # fmt: skip
def test_pictures_lie_as_keras_has_them_and_maps_are_right(pictures, saved, name, method, settings):
    loaded = pellucid.load(saved / name)
    ours = pellucid.explain(loaded, PICTURES, method, target=2, **settings)
    wanted = pellucid.explain(pictures[1], PICTURES.transpose(0, 3, 1, 2), method, target=2, **settings)
    close(ours.values, wanted.values)
    told = [str(caution) for caution in ours.warnings]
    assert any("8 × 8 × 3" in one and "channels first" in one for one in told)


def test_pictures_channels_first_do_as_well_and_others_are_refused(pictures):
    model = pellucid.wrap(pictures[0])
    both = [pellucid.explain(model, rows, "saliency", target=0) for rows in (PICTURES, PICTURES.transpose(0, 3, 1, 2))]
    np.testing.assert_array_equal(both[0].values, both[1].values)
    assert [len(e.warnings) for e in both] == [1, 0]
    with pytest.raises(InputError, match=r"pictures \[rows, height, width, channels\] of \(8, 8, 3\)"):
        pellucid.explain(model, PICTURES[:, :, :7], "saliency")


def test_the_decision_path_knows_where_channels_stand(pictures):
    ours = pellucid.explain(pictures[0], PICTURES, "decision_path", target=0)
    layer = {place.name: place for place in pellucid.wrap(pictures[0]).places(*_few_and_more(PICTURES))}
    assert layer["two"].channels == -1 and layer["two"].shape == (4, 4, 6) and layer["two"].weighs
    assert max(ours.gap.ravel()) < 1e-4


def _few_and_more(rows):
    turned = torch.tensor(rows).movedim(-1, 1)
    return [{"inputs": turned[:count]} for count in (1, 2)]


def test_several_inputs_by_name_and_in_order():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    out = layers.Dense(2)(layers.Concatenate()([layers.Dense(5, activation="tanh")(a), b]))
    listed, named = keras.Model([a, b], out), keras.Model({"a": a, "b": b}, out)
    rows = {"a": X[:, :4], "b": X[:, 2:5]}
    one = pellucid.explain(listed, (rows["a"], rows["b"]), "integrated_gradients", target=0, steps=8)
    other = pellucid.explain(named, rows, "integrated_gradients", target=0, steps=8)
    np.testing.assert_array_equal(one.values, other.values)
    assert one.values.shape == (6, 7)
    full = listed.predict([rows["a"], rows["b"]], verbose=0)[:, 0]
    np.testing.assert_allclose(np.ravel(one.full), full, atol=1e-6)
    with pytest.raises(InputError, match="no input named 'c'"):
        pellucid.explain(named, {"a": rows["a"], "c": rows["b"]}, "saliency")


def test_outputs_in_a_dict_are_chosen_by_name():
    a = keras.Input((5,))
    network = keras.Model(a, {"one": layers.Dense(2)(a), "two": layers.Dense(3)(a)})
    model = pellucid.wrap(network, output="two")
    assert pellucid.explain(model, X, "saliency", target=2).values.shape == (6, 5)
    with pytest.raises(ModelError, match=r"one: .*two: "):
        pellucid.explain(network, X, "saliency", target=0)


def test_tokens_are_explained_by_their_vectors():
    network = weighed(keras.Sequential([
        keras.Input((6,), dtype="int32"), layers.Embedding(20, 4, mask_zero=True), layers.GRU(5), layers.Dense(2),
    ]))  # fmt: skip
    tokens = np.array([[3, 4, 5, 0, 0, 0], [7, 1, 2, 9, 9, 0]])
    e = pellucid.explain(network, tokens, "integrated_gradients", target=1, steps=64)
    assert e.values.shape == (2, 6) and max(e.gap) < 1e-3
    assert not np.abs(e.values[0, 3:]).any()  # what is masked moves nothing
    assert any("embedding" in str(caution) for caution in e.warnings)


def test_names_of_nested_and_wrapped_layers():
    inner = keras.Sequential([keras.Input((5,)), layers.Dense(4, name="narrow")], name="inner")
    network = keras.Sequential([keras.Input((3, 5)), layers.TimeDistributed(inner, name="each"), layers.Flatten()])
    rows = np.repeat(X[:, None], 3, axis=1)
    model = pellucid.wrap(network)
    assert {"each", "each.layer", "each/layer/narrow"} <= model.layers.keys()
    e = pellucid.explain(model, rows, "layer_activation", layer="each/layer/narrow")
    assert [layer.name for layer in e.layers] == ["each/layer/narrow"]


def test_a_model_of_the_users_own_class_is_wrapped():
    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, rows):
            return self.dense(rows) ** 2

    network = Own()
    network(X)
    e = pellucid.explain(network, X, "exact_shapley", target=0)
    np.testing.assert_allclose(np.ravel(e.full), network(X).detach().numpy()[:, 0], rtol=1e-5)


def test_dropout_is_off_and_nothing_of_the_network_is_changed(pictures, table):
    for network, rows in ((table[0], X), (pictures[0], PICTURES)):
        before = {name: value.detach().clone() for name, value in network.named_parameters()}
        flags = {name: value.requires_grad for name, value in network.named_parameters()}
        modules, hooks = list(network.modules()), [len(m._forward_hooks) for m in network.modules()]
        modes = [module.training for module in modules]
        one, two = (pellucid.explain(network, rows, "integrated_gradients", target=0, steps=4) for _ in range(2))
        np.testing.assert_array_equal(one.values, two.values)
        assert all(torch.equal(value, before[name]) for name, value in network.named_parameters())
        assert {name: value.requires_grad for name, value in network.named_parameters()} == flags
        assert list(network.modules()) == modules and [module.training for module in modules] == modes
        assert [len(m._forward_hooks) for m in modules] == hooks
        assert all(value.grad is None for value in network.parameters())


@pytest.mark.parametrize("name", ["DeepExplainer", "GradientExplainer"])
def test_under_shaps_names_values_lie_as_the_pictures_do(pictures, name):
    from pellucid.compat import shap

    network, twin = pictures
    explainer, turned = (
        getattr(shap, name)(model, rows[:3])
        for model, rows in ((network, PICTURES), (twin, PICTURES.transpose(0, 3, 1, 2)))
    )
    values = explainer.shap_values(PICTURES)
    assert values.shape == (4, 8, 8, 3, 3)
    close(values, np.moveaxis(turned.shap_values(PICTURES.transpose(0, 3, 1, 2)), 1, 3))
    np.testing.assert_allclose(explainer.expected_value, network.predict(PICTURES[:3], verbose=0).mean(0), rtol=1e-5)
    assert explainer(PICTURES).data.shape == PICTURES.shape


# Safe ------------------------------------------------------------------------------------------


def rewritten(source: Path, target: Path, change=None, extra=(), **members) -> Path:
    """A copy of an archive with its description changed, and members replaced or put beside."""
    with zipfile.ZipFile(source) as given:
        parts = {name: given.read(name) for name in given.namelist()}
    config = json.loads(parts["config.json"])
    if change:
        change(config)
    parts["config.json"] = json.dumps(config).encode()
    parts.update(members.get("members", {}))
    with zipfile.ZipFile(target, "w") as file:
        for name, content in [*parts.items(), *extra]:
            file.writestr(name, content)
    return target


def instead(**fields):
    """Puts other words in the place of the first Dense layer's."""

    def change(config):
        layer = next(one for one in config["config"]["layers"] if one["class_name"] == "Dense")
        layer.update(fields)

    return change


LAMBDA = {"class_name": "__lambda__", "config": {"value": ["4wAAAA=="]}}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (instead(class_name="Lambda", config={"name": "sly", "function": LAMBDA}), "'keras.layers.Lambda', the layer"),
        (instead(class_name="TorchModuleWrapper", config={"name": "sly", "module": "gASV"}), "TorchModuleWrapper"),
        (instead(class_name="TFSMLayer", config={"name": "sly", "filepath": "/etc"}), "TFSMLayer"),
        (instead(class_name="TextVectorization", config={"name": "sly", "vocabulary": "/etc/passwd"}), "TextVector"),
        (instead(class_name="system", module="os", config={"name": "sly"}), "'os.system'"),
        (instead(class_name="__reduce__", module="builtins"), "'builtins.__reduce__'"),
        (instead(module="keras.src.utils.file_utils", class_name="get_file"), "get_file"),
        (instead(module="keras.utils", class_name="get_file"), "get_file"),
        (instead(registered_name="mine>Dense"), "mine>Dense"),
        (instead(module="mypackage.layers"), "mypackage.layers.Dense"),
        (instead(module="keras.layers.", class_name="Dense"), "keras.layers..Dense"),
        (instead(config={"name": "dense", "units": 2, "safe_mode": False}), "how safely"),
        (instead(config={"name": "dense", "units": 2, "activation": LAMBDA}), "__lambda__"),
        (
            instead(config={"activation": {"module": "os", "class_name": "function", "config": "system"}}),
            "os.system",
        ),
        (instead(config={"name": "x", "a": {"module": "os"}}), "names a module and no class"),
        (instead(class_name="TimeDistributed", config={"name": "t", "layer": {"class_name": "Lambda"}}), "Lambda"),
        (instead(class_name=["Dense"]), "by no text"),
        (lambda config: config.update(class_name="Mine", module="mine", registered_name="mine>Mine"), "mine.Mine"),
    ],
)
def test_what_is_not_keras_own_is_refused_by_its_name(saved, tmp_path, monkeypatch, change, named):
    file = rewritten(saved / "table.keras", tmp_path / "sly.keras", change)
    monkeypatch.setattr("pellucid.backends.keras_files._built", lambda *_: pytest.fail("Keras saw it"))
    before = set(sys.modules)
    with pytest.raises(LoadError) as caught:
        pellucid.load(file, trust=True)
    assert named in str(caught.value) and f"{file}:config.json" in str(caught.value)
    assert "os.path" not in set(sys.modules) - before and not {"mine", "mypackage"} & sys.modules.keys()


def test_the_same_in_hdf5(saved, tmp_path):
    import h5py

    file = tmp_path / "sly.h5"
    file.write_bytes((saved / "pictures.h5").read_bytes())
    with h5py.File(file, "r+") as given:
        config = json.loads(str(given.attrs["model_config"]))
        config["config"]["layers"][1].update(class_name="Lambda", config={"name": "sly", "function": ["4wAAAA=="]})
        given.attrs["model_config"] = json.dumps(config)
    with pytest.raises(LoadError, match=r"sly.h5:model_config: the file asks for 'Lambda', the layer 'sly'.*wrap"):
        pellucid.load(file)
    assert "pellucid.wrap(model)" in LOAD_IT


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ([("../../evil.txt", b"x")], "lead out of its folder"),
        ([("/etc/evil", b"x")], "lead out of its folder"),
        ([("assets/vocabulary.txt", b"x")], "assets/vocabulary.txt"),
        ([("model.weights.npz", b"x")], "model.weights.npz"),
        ([(f"m{i}", b"") for i in range(60)], "at most 50"),
    ],
)
def test_other_members_are_refused(saved, tmp_path, extra, named):
    file = rewritten(saved / "table.keras", tmp_path / "more.keras", extra=extra)
    with pytest.raises(LoadError, match=named):
        load_keras(file, limits=Limits(members=50))


def test_a_link_and_a_bomb_are_refused(saved, tmp_path):
    link = zipfile.ZipInfo("metadata2.json")
    link.external_attr = 0o120777 << 16
    with pytest.raises(LoadError, match="is a link"):
        pellucid.load(rewritten(saved / "table.keras", tmp_path / "link.keras", extra=[(link, b"/etc/passwd")]))
    file = tmp_path / "bomb.keras"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("config.json", b"[" * 30_000_000)
        bomb.writestr("model.weights.h5", b"")
    with pytest.raises(LoadError, match="more than 200 times its size"):
        pellucid.load(file)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda file, h5py: file.__setitem__("out", h5py.ExternalLink("/etc/passwd", "/")), "/out is a link"),
        (lambda file, h5py: file.__setitem__("out", h5py.SoftLink("/layers")), "/out is a link"),
        (lambda file, h5py: file.__setitem__("round", file["/"]), "one thing under two names"),
        (
            lambda file, h5py: file.create_dataset("text", data=["a"], dtype=h5py.string_dtype()),
            "/text holds object, not numbers",
        ),
        (
            lambda file, h5py: file.create_dataset("big", (2**28,), "f4", chunks=(2**20,), compression="gzip"),
            "/big would unpack to 1073741824 bytes from 0",
        ),
        (
            lambda file, h5py: file.create_dataset("away", (4,), "f4", external=[("/etc/passwd", 0, 16)]),
            "/away lies in another file",
        ),
    ],
)
def test_hdf5_that_is_not_plain_is_refused(saved, tmp_path, make, named):
    import h5py

    with zipfile.ZipFile(saved / "table.keras") as given:
        weights = io.BytesIO(given.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        make(file, h5py)
    changed = {"model.weights.h5": weights.getvalue()}
    target = rewritten(saved / "table.keras", tmp_path / "odd.keras", members=changed)
    with pytest.raises(LoadError) as caught:
        pellucid.load(target)
    assert named in str(caught.value) and f"{target}:model.weights.h5" in str(caught.value)


def test_weights_that_are_claimed_and_not_there_cost_no_memory(saved, tmp_path):
    def change(config):
        for layer in config["config"]["layers"][1:]:
            layer.pop("build_config", None)
            if layer["class_name"] == "Dense":
                layer["config"]["units"] = 2_000_000_000

    with pytest.raises(LoadError, match=r"could not build|asks for"):
        pellucid.load(rewritten(saved / "table.keras", tmp_path / "huge.keras", change))


@pytest.mark.parametrize("text", [b"{" * 5_000, b"[]", b'{"class_name": 3}', b'{"class_name": "Dense"}', b"\xff"])
def test_descriptions_that_are_none(text):
    with pytest.raises(LoadError, match=r"net:config\.json"):
        clean_config(text, "net:config.json")


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_damaged_files_are_told_by_name(saved, tmp_path, suffix):
    whole = (saved / f"pictures{suffix}").read_bytes()
    file = tmp_path / f"bad{suffix}"
    steps = range(20) if suffix == ".keras" else range(0, 20, 4)  # each HDF5 file is read by a program of its own
    damaged = [whole[: len(whole) * step // 20] for step in steps]
    if suffix == ".keras":
        dice = random.Random(0)
        with zipfile.ZipFile(saved / "pictures.keras") as given:
            place = given.getinfo("model.weights.h5").header_offset + 100
        for at in (place, *(dice.randrange(place, len(whole) - 400) for _ in range(20))):
            damaged.append(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises(LoadError, match=r"byte \d+|HDF5 data are damaged") as caught:
            pellucid.load(file)
        assert str(file) in str(caught.value)


def test_a_file_that_makes_the_library_hang_ends(saved, tmp_path, monkeypatch):
    monkeypatch.setattr("pellucid.backends.hdf5.COPIER", tmp_path / "sleep.py")
    monkeypatch.setattr("pellucid.backends.hdf5.SECONDS", 0.5)
    (tmp_path / "sleep.py").write_text("while True: pass")
    with pytest.raises(LoadError, match=r"did not end within 1\.0 seconds"):
        pellucid.load(saved / "table.keras")
    (tmp_path / "sleep.py").write_text("import os; os.abort()")
    with pytest.raises(LoadError, match="broke down"):
        pellucid.load(saved / "table.keras")


# Keras itself ----------------------------------------------------------------------------------

FRESH = """
import os, random, sys
before, dice = dict(os.environ), random.getstate()
import pellucid
assert "keras" not in sys.modules
model = pellucid.load(sys.argv[1])
assert sys.modules["keras"].config.backend() == "torch", "backend"
assert dict(os.environ) == before and random.getstate() == dice, "left behind"
assert "tensorflow" not in sys.modules
"""


def run(program: str, file: Path, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own: Keras has one backend a process."""
    given = {**os.environ, "HOME": str(home), **environment}
    given.pop("KERAS_HOME", None)
    return subprocess.run([sys.executable, "-c", program, str(file)], env=given, capture_output=True, text=True)


def test_a_fresh_import_takes_torch_and_leaves_nothing_behind(saved, tmp_path):
    done = run(FRESH, saved / "table.keras", tmp_path, KERAS_BACKEND="jax")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".keras").exists()


def test_another_backend_is_told_with_the_way_out(saved, tmp_path):
    pytest.importorskip("jax")
    program = "import sys, keras, pellucid\ntry: pellucid.load(sys.argv[1])\nexcept Exception as error: print(error)\n"
    program += "m = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])\n"
    program += "try: pellucid.wrap(m)\nexcept Exception as error: print(error)"
    done = run(program, saved / "table.keras", tmp_path, KERAS_BACKEND="jax")
    told = done.stdout.splitlines()
    assert "runs on its jax backend in this process" in told[0], done.stderr
    assert "KERAS_BACKEND=torch python …" in told[0] and "before anything imports keras" in told[0]
    assert "this Keras model runs on the jax backend" in told[1] and "model.predict" in told[1]


def test_explanations_do_not_depend_on_the_form_of_absence(table):
    e = pellucid.explain(table[0], X, "exact_shapley", target=0, removal=Constant(0.0))
    np.testing.assert_allclose(e.values.sum(1), np.ravel(e.full) - np.ravel(e.base), atol=1e-6)
