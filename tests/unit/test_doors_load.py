"""The door for files: exported programs and factories become models; nothing else is read."""

from __future__ import annotations

import importlib
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.saving import export_network, save_weights
from pellucid.backends.torch_files import load_module
from pellucid.data.images import ImageEncoding
from pellucid.data.text_encoding import Vocabulary
from pellucid.records.errors import EncodingError, LoadError, PellucidError
from pellucid.removals import Constant


class Two(nn.Module):
    def __init__(self, width=4, hidden=6):
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, 2)

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


class Pair(nn.Module):
    def forward(self, left, right):
        return left.sum(1) - 2 * right.sum(1)


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Two()


TEXT_NETWORK = """
from torch import nn

class Words(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.table, self.out = nn.Embedding(size, 8), nn.Linear(8, 2)

    def forward(self, ids, attention_mask):
        there = attention_mask[..., None].float()
        return self.out((self.table(ids) * there).sum(1) / there.sum(1).clamp(min=1))

def made(size):
    return Words(size)
"""

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def test_an_exported_program_explains_as_the_network_does(net, tmp_path):
    export_network(net, X, tmp_path / "net.pt2")
    model = pellucid.load(tmp_path / "net.pt2", outputs=("bad", "good"))
    assert model.name == "net"
    for method, settings in (("integrated_gradients", {"steps": 16}), ("exact_shapley", {})):
        ours, theirs = (
            pellucid.explain(one, X, method, target=1, removal=Constant(0.0), **settings) for one in (net, model)
        )
        np.testing.assert_allclose(theirs.values, ours.values, atol=1e-6)
        assert theirs.outputs[0] == ("good",)


@pytest.mark.parametrize("fixed", [1, 4])
def test_a_program_with_its_batch_baked_in(net, tmp_path, fixed):
    torch.export.save(torch.export.export(net, (X[:fixed],)), tmp_path / "fixed.pt2")
    loaded = load_module(tmp_path / "fixed.pt2")
    assert loaded.batch == fixed
    wanted = pellucid.explain(net, X, "exact_shapley", target=0).values
    for model in (loaded, pellucid.wrap(loaded), pellucid.load(tmp_path / "fixed.pt2")):
        np.testing.assert_allclose(pellucid.explain(model, X, "exact_shapley", target=0).values, wanted, atol=1e-5)


def test_a_program_of_several_inputs_by_their_names(tmp_path):
    rows = {"left": torch.ones(3, 2), "right": torch.ones(3, 3)}
    for example in (rows, tuple(rows.values())):
        export_network(Pair(), example, tmp_path / "pair.pt2")
        model = pellucid.load(tmp_path / "pair.pt2")
        for given in (rows, tuple(rows.values())):
            e = pellucid.explain(model, given, "exact_shapley")
            np.testing.assert_allclose(e.values, [[1, 1, -2, -2, -2]] * 3, atol=1e-6)


def test_a_program_exported_in_training_mode_is_told(tmp_path):
    module = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5)).train()
    free = ({0: torch.export.Dim.AUTO},)
    torch.export.save(torch.export.export(module, (X,), dynamic_shapes=free), tmp_path / "training.pt2")
    e = pellucid.explain(pellucid.load(tmp_path / "training.pt2"), X, "occlusion")
    assert {"fixed_training", "not_repeatable"} <= {caution.code for caution in e.warnings}


def test_a_factory_by_name_or_in_person(net, tmp_path, monkeypatch):
    save_weights(net, tmp_path / "net.safetensors")
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\nimport torch\n\n\nclass Two(nn.Module):\n"
        "    def __init__(self, hidden):\n        super().__init__()\n"
        "        self.first, self.second = nn.Linear(4, hidden), nn.Linear(hidden, 2)\n\n"
        "    def forward(self, x):\n        return self.second(torch.relu(self.first(x)))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = pellucid.explain(net, X, "exact_shapley", target=0).values
    for factory, arguments in (("my_nets:Two", {"hidden": 6}), (Two, None), (Two, {"hidden": 6})):
        model = pellucid.load(factory, weights=tmp_path / "net.safetensors", arguments=arguments)
        assert model.name == "Two"
        np.testing.assert_array_equal(pellucid.explain(model, X, "exact_shapley", target=0).values, wanted)
    sys.modules.pop("my_nets", None)


def test_an_encoding_is_taken_from_the_argument_and_never_from_beside_the_file(tmp_path):
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    encoding = ImageEncoding((2, 2, 3))
    encoding.save(tmp_path / "encoding.json")
    export_network(module, torch.zeros(2, 3, 2, 2), tmp_path / "net.pt2")
    raw = np.full((2, 2, 2, 3), 128, dtype=np.uint8)
    assert pellucid.load(tmp_path / "net.pt2").encoding is None
    for given in (tmp_path / "encoding.json", str(tmp_path / "encoding.json"), encoding):
        model = pellucid.load(tmp_path / "net.pt2", encoding=given)
        e = pellucid.explain(model, raw, "integrated_gradients", steps=4)
        assert e.values.shape == (2, 3, 2, 2)


REFUSED = {
    "weights alone": (lambda t: (t / "net.safetensors", {}), r"weights only, not the network they belong to.*factory"),
    "a pickle": (lambda t: (t / "net.pt", {}), r"a pickle made by torch.save.*trust=True"),
    "no file": (lambda t: (t / "none.pt2", {}), r"could not open the file"),
    "weights for a file": (lambda t: (t / "net.pt2", {"weights": t / "net.safetensors"}), r"weights= belongs to code"),
    "arguments for a file": (lambda t: (t / "net.pt2", {"arguments": {"a": 1}}), r"arguments= belongs to code"),
    "a factory without weights": (lambda t: ("torch.nn:Linear", {}), r"a factory was given without weights"),
    "no such factory": (lambda t: ("no_such:thing", {"weights": t / "net.safetensors"}), r"could not import"),
    "another network": (
        lambda t: (Two, {"weights": t / "net.safetensors", "arguments": {"hidden": 7}}), r"another shape"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name, net, tmp_path):
    save_weights(net, tmp_path / "net.safetensors")
    torch.save(net, tmp_path / "net.pt")
    export_network(net, X, tmp_path / "net.pt2")
    make, pattern = REFUSED[name]
    path, fields = make(tmp_path)
    with pytest.raises(LoadError, match=f"(?s){pattern}"):
        pellucid.load(path, **fields)


def test_trust_is_asked_for(net, tmp_path):
    torch.save(net, tmp_path / "net.pt")
    model = pellucid.load(tmp_path / "net.pt", trust=True)
    np.testing.assert_array_equal(
        pellucid.explain(model, X, "saliency").values, pellucid.explain(net, X, "saliency").values
    )


def test_the_output_that_is_meant(tmp_path, net):
    class Heads(nn.Module):
        def forward(self, x):
            return {"left": x[:, :2], "right": 2 * x[:, :2]}

    export_network(Heads(), X, tmp_path / "heads.pt2")
    with pytest.raises(PellucidError, match="output="):
        pellucid.explain(pellucid.load(tmp_path / "heads.pt2"), X)
    e = pellucid.explain(
        pellucid.load(tmp_path / "heads.pt2", output="right", name="mine"), X, "exact_shapley", target=0
    )
    np.testing.assert_allclose(e.values[:, 0], 2 * X[:, 0], atol=1e-5)
    assert e.model == "mine"


def test_a_text_network_from_a_factory_and_from_a_program_reads_words(tmp_path, monkeypatch):
    """What a factory or a ``.pt2`` file gives is asked like the module itself: by tokens and their mask."""
    (tmp_path / "text_network.py").write_text(TEXT_NETWORK, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    texts = ["good film and fine", "bad film"]
    words = Vocabulary.of(texts)
    torch.manual_seed(0)
    net = importlib.import_module("text_network").made(len(words)).eval()
    save_weights(net, tmp_path / "net.safetensors")
    ids = torch.zeros(2, 5, dtype=torch.long)
    sizes = {0: torch.export.Dim("b"), 1: torch.export.Dim("t")}
    program = torch.export.export(net, (ids, torch.ones_like(ids)), dynamic_shapes=(sizes, sizes))
    torch.export.save(program, tmp_path / "net.pt2")
    words.save(tmp_path / "words.json")
    assert vars(Vocabulary.load(tmp_path / "words.json")) == vars(words)
    asked = {"method": "exact_shapley", "target": 1, "removal": "delete"}
    due = pellucid.explain(pellucid.wrap(net, encoding=words), texts, **asked).values
    how = {"weights": tmp_path / "net.safetensors", "arguments": {"size": len(words)}, "encoding": words}
    for model in (
        pellucid.load("text_network:made", **how),
        pellucid.load(tmp_path / "net.pt2", encoding=tmp_path / "words.json"),
    ):
        found = pellucid.explain(model, texts, **asked).values
        np.testing.assert_allclose(found, due, atol=1e-6)


def test_a_table_given_to_a_network_of_texts_is_asked_which_column_is_the_text(tmp_path):
    (tmp_path / "news.csv").write_text("text,label\ngood film,a\nbad film,b\ngood,a\nbad,b\n", encoding="utf-8")
    words = Vocabulary.of(["good film", "bad film"])
    model = pellucid.wrap(nn.Sequential(nn.Embedding(len(words), 2)), encoding=words)
    with pytest.raises(EncodingError, match=r"reads texts, and these data are a table of text.*text='review'"):
        pellucid.explain(model, pellucid.read(tmp_path / "news.csv", label="label"), "occlusion")


def test_code_may_name_a_model_itself(tmp_path, monkeypatch):
    """A function that is given a batch, a module or an estimator that stands in somebody's code."""
    source = """
import torch
from sklearn.linear_model import LinearRegression
def longest(texts): return [float(len(text)) for text in texts]
net = torch.nn.Linear(2, 1)
line = LinearRegression().fit([[0.0], [1.0]], [0.0, 2.0])
def nothing(): return 3
"""
    (tmp_path / "own_models.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    found = pellucid.explain(pellucid.load("own_models:longest"), ["a bc"], "exact_shapley")
    assert found.full[0] == 4 and pellucid.load("own_models:longest").name == "longest"
    assert pellucid.explain(pellucid.load("own_models:net"), torch.zeros(1, 2), "saliency").values.shape == (1, 2)
    assert pellucid.explain(pellucid.load("own_models:line"), np.ones((1, 1)), "occlusion").full[0] == pytest.approx(2)
    with pytest.raises(LoadError, match="a factory was given without weights"):
        pellucid.load("own_models:nothing")


def test_pictures_given_to_a_network_of_tables_are_refused(tmp_path):
    frame = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) ** 2, "y": ["u", "v"] * 10})
    model = pellucid.wrap(nn.Linear(2, 2), encoding=pellucid.Encoding.fit(pellucid.read(frame, label="y")))
    np.savez(tmp_path / "pictures.npz", images=np.zeros((20, 1, 8, 8), dtype=np.float32), labels=np.arange(20) % 2)
    pictures = pellucid.read(tmp_path / "pictures.npz")
    with pytest.raises(EncodingError, match=r"is of a table, and an item of these data has the shape \(1, 8, 8\)"):
        pellucid.explain(model, pictures, "occlusion")
