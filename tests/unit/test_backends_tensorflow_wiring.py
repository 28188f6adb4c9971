"""How a live TensorFlow model is wired in, with a stand-in of a few calls in torch where TensorFlow is not installed.

The stand-in shows that slopes, names, types and restored variables go the right way. What TensorFlow itself makes of
them is shown by test_backends_tensorflow.py alone.
"""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.tensorflow_live import TensorFlowModel, is_tensorflow
from pellucid.compat import shap
from pellucid.records.errors import InputError, ModelError, NotApplicable

if "tensorflow" in sys.modules:
    pytest.skip("TensorFlow itself is imported in this process", allow_module_level=True)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype("float32")
W = torch.tensor(RNG.normal(size=(5, 3)).astype("float32"))


class Foreign:
    """A tensor that torch's functions do not take, as TensorFlow's is not."""

    def __init__(self, held):
        self.held = held

    dtype = property(lambda self: SimpleNamespace(name=str(self.held.dtype).removeprefix("torch.")))
    shape = property(lambda self: tuple(self.held.shape))

    def numpy(self):
        return self.held.detach().numpy()


class Tape:
    def __init__(self, watch_accessed_variables=True):
        assert not watch_accessed_variables

        self.recording = torch.enable_grad()

    def __enter__(self):
        self.recording.__enter__()
        return self

    def __exit__(self, *_):
        self.recording.__exit__(*_)

    def watch(self, tensors):
        for tensor in tensors:
            tensor.held.requires_grad_()

    def gradient(self, found, given, output_gradients):
        pairs = [(one.held, slope.held) for one, slope in zip(found, output_gradients, strict=True)]
        pairs = [(one, slope) for one, slope in pairs if one.requires_grad]
        if not pairs:
            return [None] * len(given)
        ones, slopes = zip(*pairs, strict=True)
        with torch.enable_grad():
            grads = torch.autograd.grad(ones, [one.held for one in given], slopes, create_graph=True, allow_unused=True)
        return [None if grad is None else Foreign(grad) for grad in grads]


class Variable(Foreign):
    def read_value(self):
        return Foreign(self.held.clone())

    def assign(self, value):
        self.held = value.held


class Module:
    name = "stand_in"

    def __init__(self):
        self.asked = Variable(torch.tensor(0))
        self.variables = [self.asked, Variable(W)]

    def __call__(self, x, training=True):
        self.asked.held = self.asked.held + 1
        return {"scores": Foreign(torch.tanh(x.held @ W) + 9.0 * training), "best": Foreign((x.held @ W).argmax(1))}


def mapped(function, found):
    if isinstance(found, dict):
        return {name: function(part) for name, part in found.items()}
    return tuple(map(function, found)) if isinstance(found, tuple) else function(found)


def flat(found):
    return list(found.values()) if isinstance(found, dict) else list(found) if isinstance(found, tuple) else [found]


@pytest.fixture(autouse=True)
def tensorflow(monkeypatch):
    made = SimpleNamespace(
        Module=Module, GradientTape=Tape, function=lambda function, reduce_retracing: function,
        convert_to_tensor=lambda given: given if isinstance(given, Foreign) else Foreign(torch.tensor(given)),
        cast=lambda one, dtype: Foreign(one.held.to(getattr(torch, getattr(dtype, "name", dtype)))),
        zeros_like=lambda one: Foreign(torch.zeros_like(one.held)), types=SimpleNamespace(),
        nest=SimpleNamespace(map_structure=mapped, flatten=flat),
        errors=SimpleNamespace(OperatorNotAllowedInGraphError=ArithmeticError),
    )  # fmt: skip
    made.types.experimental = SimpleNamespace(Callable=Program)
    monkeypatch.setitem(sys.modules, "tensorflow", made)


class Program:
    """Something with a signature, called by its names."""

    def __init__(self, function, **specs):
        self.function, self.structured_input_signature = function, ((), specs)

    def __call__(self, **given):
        return self.function(**given)


def spec(dtype, *shape):
    return SimpleNamespace(dtype=SimpleNamespace(name=dtype), shape=shape)


class Twin(nn.Module):
    def forward(self, x):
        return torch.tanh(x @ W)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("exact_shapley", {}), ("integrated_gradients", {"steps": 16}), ("integrated_hessians", {"steps": 4})],
)
def test_a_module_explains_as_the_twin_does(method, settings):
    module = Module()
    model = pellucid.wrap(module, output="scores")
    assert isinstance(model, TensorFlowModel) and model.name == "stand_in" and not model.forks
    ours, wanted = (pellucid.explain(one, X, method, target=1, **settings) for one in (model, Twin()))
    np.testing.assert_allclose(ours.values, wanted.values, atol=1e-5 * np.abs(wanted.values).max(), rtol=0)
    assert module.asked.held == 0  # what a call counts is put back


def test_types_names_and_a_fixed_batch_come_from_the_signature():
    def called(left, right):
        assert left.held.dtype == torch.float16 and right.held.dtype == torch.int32 and len(left.held) == 2
        return Foreign(left.held * 2 + right.held[:, None])

    model = pellucid.wrap(Program(called, left=spec("float16", 2, 3), right=spec("int32", 2)), outputs=tuple("abc"))
    assert model.argument_names == ("left", "right") and model.fixed_batch == 2
    rows = {"left": X[:, :3].astype("float64"), "right": np.arange(6)}
    np.testing.assert_allclose(pellucid.explain(model, rows, "saliency", target="b").values[:, 1], 2.0)
    with pytest.raises(InputError, match="'right' has fractions"):
        pellucid.explain(model, rows | {"right": X[:, 0]}, "saliency", target=0)


def test_pictures_of_a_signature_are_turned():
    called = Program(lambda x: Foreign(x.held[:, 0, 1, :]), x=spec("float32", None, 6, 5, 3))
    pictures = RNG.normal(size=(2, 6, 5, 3)).astype("float32")
    e = pellucid.explain(called, pictures, "integrated_gradients", target=2, steps=2)
    assert e.values.shape == (2, 3, 6, 5) and any(caution.code == "turned" for caution in e.warnings)
    np.testing.assert_allclose(e.values[:, 2, 0, 1], pictures[:, 0, 1, 2], rtol=1e-6)


def test_what_cannot_be_done_is_said():
    lost = Program(lambda x: Foreign(x.held.detach() @ W), x=spec("float32", None, 5))
    with pytest.raises(NotApplicable, match="tape finds no way"):
        pellucid.explain(lost, X, "saliency", target=0)
    with pytest.raises(NotApplicable, match="layers cannot be seen"):
        pellucid.explain(lost, X, "layer_activation", target=0)
    with pytest.raises(NotApplicable, match=r"operations.*GradientExplainer\(model, background\)"):
        shap.DeepExplainer(lost, X[:3])

    def branching(x):
        raise ArithmeticError("a symbolic tensor is no bool")

    with pytest.raises(ModelError, match=r"cannot follow this model.*no bool.*black box"):
        pellucid.explain(Program(branching, x=spec("float32", None, 5)), X, "saliency")


def test_gradient_explainer_takes_it():
    called = Program(lambda x: Foreign(x.held @ W), x=spec("float32", None, 5))
    values = shap.GradientExplainer(called, X[:3]).shap_values(X)
    wanted = (X - X[:3].mean(0))[:, :, None] * W.numpy()
    np.testing.assert_allclose(values, wanted, atol=0.3 * np.abs(wanted).max())


def test_tensorflow_is_not_imported_for_other_models(monkeypatch):
    monkeypatch.delitem(sys.modules, "tensorflow")
    assert not is_tensorflow(Module())
    program = (
        "import sys, torch, pellucid; pellucid.wrap(torch.nn.Linear(1, 1)); assert 'tensorflow' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
