"""Live TensorFlow models: they explain as a torch twin with the same weights does, and are left as they were."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.records.errors import InputError, ModelError, NotApplicable
from pellucid.removals import Marginal

tf = pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
keras = pytest.importorskip("keras", reason="Keras is not installed")
if keras.config.backend() != "tensorflow":
    pytest.skip("Keras runs on another backend in this process", allow_module_level=True)
layers = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype("float32")
PICTURES = RNG.normal(size=(4, 8, 8, 3)).astype("float32")
W = RNG.normal(size=(5, 3)).astype("float32")
kept: list = []


def close(found, wanted) -> None:
    """Within 1e-5 of the largest."""
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


def weighed(network):
    """Weights that are not what layers begin with, so that a forgotten bias or moving mean shows."""
    rng = np.random.default_rng(3)
    for variable in network.weights:
        value = variable.numpy() + rng.normal(scale=0.3, size=variable.shape)
        variable.assign(np.abs(value) if "variance" in variable.path else value)
    return network


@pytest.fixture(scope="module")
def table():
    """A network of columns, and its torch twin."""
    network = weighed(keras.Sequential([
        keras.Input((5,)), layers.Dense(16, activation="tanh"), layers.Dropout(0.5), layers.Dense(3),
    ]))  # fmt: skip
    twin = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    for mine, theirs in zip((twin[0], twin[2]), (network.layers[0], network.layers[2]), strict=True):
        kernel, bias = theirs.get_weights()
        mine.load_state_dict({"weight": torch.tensor(kernel.T), "bias": torch.tensor(bias)})
    return network, twin


@pytest.fixture(scope="module")
def pictures():
    """A network of pictures with channels last, and its torch twin with channels first."""
    network = weighed(keras.Sequential([
        keras.Input((8, 8, 3)), layers.Conv2D(4, 3, activation="relu"), layers.BatchNormalization(),
        layers.GlobalAveragePooling2D(), layers.Dense(3),
    ]))  # fmt: skip
    twin = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4, eps=1e-3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 3),
    ).eval()  # fmt: skip
    conv, norm, _, scores = (layer.get_weights() for layer in network.layers)
    twin[0].load_state_dict({"weight": torch.tensor(conv[0]).permute(3, 2, 0, 1), "bias": torch.tensor(conv[1])})
    names = ("weight", "bias", "running_mean", "running_var")
    twin[2].load_state_dict(dict(zip(names, map(torch.tensor, norm), strict=True)), strict=False)
    twin[5].load_state_dict({"weight": torch.tensor(scores[0].T), "bias": torch.tensor(scores[1])})
    return network, twin


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("exact_shapley", {}), ("occlusion", {}), ("integrated_gradients", {"steps": 32}), ("saliency", {}),
        ("expected_gradients", {"samples": 64}), ("smoothgrad", {"samples": 4}), ("integrated_hessians", {"steps": 8}),
    ],
)  # fmt: skip
def test_a_keras_model_explains_as_the_twin_does(table, method, settings):
    ours, wanted = (
        pellucid.explain(one, X, method, target=1, removal=Marginal(X[:3]), **settings) for one in table
    )  # fmt: skip
    close(ours.values, wanted.values)


@pytest.mark.parametrize(
    ("method", "settings"),
    [("permutation_shapley", {"budget": 200}), ("occlusion", {}), ("integrated_gradients", {"steps": 32})],
)
def test_pictures_lie_as_keras_has_them_or_channels_first(pictures, method, settings):
    network, twin = pictures
    first = PICTURES.transpose(0, 3, 1, 2)
    wanted = pellucid.explain(twin, first, method, target=1, **settings)
    for rows in (PICTURES, first):
        ours = pellucid.explain(network, rows, method, target=1, **settings)
        close(ours.values, wanted.values)
        assert any(caution.code == "turned" for caution in ours.warnings) == (rows is PICTURES)
    with pytest.raises(InputError, match=r"are not what the network takes.*\(8, 8, 3\)"):
        pellucid.explain(network, PICTURES[:, :7], method)


class Module(tf.Module):
    def __init__(self):
        super().__init__(name="module")
        self.w, self.asked = tf.Variable(W), tf.Variable(0, trainable=False)

    def __call__(self, x, training=True):
        self.asked.assign_add(1)
        return {"scores": tf.tanh(x @ self.w) + (9.0 if training else 0.0), "best": tf.argmax(x @ self.w, 1)}


class Twin(nn.Module):
    def forward(self, x):
        return torch.tanh(x @ torch.tensor(W))


@pytest.fixture(params=["module", "function", "concrete", "saved", "signature"])
def given(request, tmp_path):
    module = Module()
    function = tf.function(
        lambda x: module(x, training=False), input_signature=[tf.TensorSpec([None, 5], tf.float32, name="x")]
    )
    if request.param in ("saved", "signature"):
        module.serve = function
        tf.saved_model.save(module, str(tmp_path), signatures=function)
        saved = tf.saved_model.load(str(tmp_path))
        kept.append(saved)  # a signature holds its variables weakly
        return saved if request.param == "saved" else saved.signatures["serving_default"]
    kept.append(module)
    return {"module": module, "function": function, "concrete": function.get_concrete_function()}[request.param]


def test_modules_functions_and_saved_signatures(given):
    model = pellucid.wrap(given, output="scores", outputs=("a", "b", "c"))
    for method in ("exact_shapley", "integrated_gradients"):
        ours, wanted = (pellucid.explain(one, X, method, target=2) for one in (model, Twin()))
        close(ours.values, wanted.values)
    assert ours.outputs[0] == ("c",) and not model.forks
    close(
        pellucid.explain(given, X, "saliency", target=2).values,
        pellucid.explain(Twin(), X, "saliency", target=2).values,
    )


def test_several_inputs_by_name_and_in_order():
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right", dtype="int32")
    table = layers.Embedding(10, 4)
    scores = layers.Dense(2)(layers.Concatenate()([left, layers.Flatten()(table(right))]))
    rows = {"left": X[:, :3], "right": RNG.integers(0, 10, (6, 2))}
    for inputs in ([left, right], {"left": left, "right": right}):
        network = keras.Model(inputs, scores)
        named = pellucid.explain(network, rows, "integrated_gradients", target=0, steps=4)
        close(named.values, X[:, :3] * network.layers[-1].get_weights()[0][:3, 0])
        ordered = pellucid.explain(network, tuple(rows.values()), "integrated_gradients", target=0, steps=4)
        np.testing.assert_array_equal(ordered.values, named.values)
    with pytest.raises(InputError, match="'right' has fractions"):
        pellucid.explain(network, {"left": X[:, :3], "right": X[:, :2]}, "occlusion")
    function = tf.function(lambda left, right: left @ W[:3] + right @ W[3:])
    e = pellucid.explain(pellucid.wrap(function), {"right": X[:, 3:], "left": X[:, :3]}, "occlusion", target=1)
    assert e.values.shape == (6, 5)


def test_half_and_double_precision_and_a_fixed_batch():
    half = tf.function(lambda x: x @ tf.cast(W, "float16"), input_signature=[tf.TensorSpec([None, 5], "float16")])
    assert np.abs(pellucid.explain(half, X, "saliency", target=0).values - np.abs(W[:, 0])).max() < 1e-2
    wide = tf.function(lambda x: x @ W.astype("float64"), input_signature=[tf.TensorSpec([None, 5], "float64")])
    rows = np.full((1, 5), 1 / 3)
    np.testing.assert_allclose(pellucid.explain(wide, rows, "occlusion", target=0).values, rows * W[:, 0], rtol=1e-12)
    fixed = tf.function(lambda x: tf.tanh(x @ W), input_signature=[tf.TensorSpec([4, 5], "float32")])
    close(*(pellucid.explain(one, X, "exact_shapley", target=0).values for one in (fixed, Twin())))


def test_what_cannot_be_done_is_said(table):
    with pytest.raises(NotApplicable, match="layers cannot be seen"):
        pellucid.explain(table[0], X, "layer_activation")
    with pytest.raises(NotApplicable, match="tape finds no way"):
        pellucid.explain(tf.function(lambda x: tf.round(x) @ W), X, "saliency", target=0)
    with pytest.raises(ModelError, match=r"the model failed on a batch.*incompatible"):
        pellucid.explain(table[0], X[:, :4], "saliency")
    with pytest.raises(ModelError, match="parameters= belongs to a JAX function"):
        pellucid.wrap(table[0], parameters={})
    with pytest.raises(ModelError, match=r"cannot be called.*__call__"):
        pellucid.wrap(tf.Module())


def test_nothing_is_left_behind(table):
    network, module = table[0], Module()
    network.compile("adam", "mse")
    network.fit(X, np.zeros((6, 3)), verbose=0)
    before = [*network.get_weights(), *(variable.numpy() for variable in network.optimizer.variables)]
    draws, dice = random.getstate(), torch.get_rng_state()
    one, two = (pellucid.explain(network, X, "smoothgrad", target=0, samples=3) for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    after = [*network.get_weights(), *(variable.numpy() for variable in network.optimizer.variables)]
    assert all(map(np.array_equal, before, after)) and len(before) == len(after)
    assert random.getstate() == draws and torch.equal(torch.get_rng_state(), dice)
    pellucid.explain(pellucid.wrap(module, output="scores"), X, "occlusion", target=0)
    assert module.asked.numpy() == 0


def test_under_shaps_names(pictures):
    from pellucid.compat import shap

    network, twin = pictures
    values = shap.GradientExplainer(network, PICTURES[:3]).shap_values(PICTURES)
    turned = shap.GradientExplainer(twin, PICTURES[:3].transpose(0, 3, 1, 2))
    close(values, np.moveaxis(turned.shap_values(PICTURES.transpose(0, 3, 1, 2)), 1, 3))
    with pytest.raises(NotApplicable, match="GradientExplainer"):
        shap.DeepExplainer(network, PICTURES[:3])
