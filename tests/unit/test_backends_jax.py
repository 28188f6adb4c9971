"""JAX functions with parameters: they explain as a torch twin does, and JAX is left as it was."""

from __future__ import annotations

import random
import subprocess
import sys
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.jax_function import JaxModel
from pellucid.records.errors import InputError, ModelError, NotApplicable
from pellucid.removals import Marginal

if find_spec("jax") is None:
    pytest.skip("JAX is not installed", allow_module_level=True)

import jax
import jax.numpy as jnp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(6, 5)).astype("float32")
PARAMETERS = {
    "hidden": {"w": RNG.normal(size=(5, 16)).astype("float32"), "b": RNG.normal(size=16).astype("float32")},
    "scores": {"w": RNG.normal(size=(16, 3)).astype("float32"), "b": RNG.normal(size=3).astype("float32")},
}


def network(parameters, x):
    hidden = jnp.tanh(x @ parameters["hidden"]["w"] + parameters["hidden"]["b"])
    return hidden @ parameters["scores"]["w"] + parameters["scores"]["b"]


def twin() -> nn.Module:
    made = nn.Sequential(nn.Linear(5, 16), nn.Tanh(), nn.Linear(16, 3))
    for place, part in ((0, "hidden"), (2, "scores")):
        weights = {"weight": torch.tensor(PARAMETERS[part]["w"].T), "bias": torch.tensor(PARAMETERS[part]["b"])}
        made[place].load_state_dict(weights)
    return made


def close(found, wanted) -> None:
    """Within 1e-5 of the largest."""
    np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max(), rtol=0)


@pytest.fixture
def model():
    return pellucid.wrap(network, parameters=PARAMETERS, outputs=("a", "b", "c"))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("exact_shapley", {}), ("occlusion", {}), ("integrated_gradients", {"steps": 32}), ("saliency", {}),
        ("expected_gradients", {"samples": 64}), ("smoothgrad", {"samples": 4}), ("integrated_hessians", {"steps": 8}),
    ],
)  # fmt: skip
def test_a_function_explains_as_the_twin_does(model, method, settings):
    ours, wanted = (
        pellucid.explain(one, X, method, target=1, removal=Marginal(X[:3]), **settings) for one in (model, twin())
    )
    close(ours.values, wanted.values)
    assert ours.outputs[0] == ("b",) and model.name == "network"
    assert not model.forks  # JAX has threads, and a fork of a process with threads may never end


def test_few_programs_are_compiled_whatever_the_numbers_of_rows():
    sizes = set()

    def counting(parameters, x):
        sizes.add(len(x))  # runs only while JAX traces
        return network(parameters, x)

    model = JaxModel(counting, PARAMETERS)
    wanted = twin()
    for count in (1, 2, 3, 5, 6, 7, 11, 13, 64, 100):
        rows = torch.tensor(RNG.normal(size=(count, 5)).astype("float32"), requires_grad=True)
        found = model.outputs({"inputs": rows})
        assert found.shape == (count, 3)
        close(found.detach().numpy(), wanted(rows).detach().numpy())
        slopes = torch.autograd.grad(found[:, 0].sum(), rows)[0]
        close(slopes.numpy(), torch.autograd.grad(wanted(rows)[:, 0].sum(), rows)[0].numpy())
    assert sizes == {1, 2, 4, 8, 16, 64, 128}


def test_rows_that_are_not_independent_are_found_out():
    def coupled(parameters, x):
        return network(parameters, x - x.mean(0))

    e = pellucid.explain(pellucid.wrap(coupled, parameters=PARAMETERS), X, "saliency", target=0)
    assert any(caution.code == "batch_coupled" for caution in e.warnings)


def test_several_inputs_and_whole_numbers():
    table = RNG.normal(size=(10, 4)).astype("float32")

    def two(parameters, values, *, tokens):
        return (values @ parameters["w"])[:, None] + parameters["table"][tokens].sum((1, 2))[:, None]

    parameters = {"w": np.arange(3.0, dtype="float32"), "table": jnp.asarray(table)}
    model = pellucid.wrap(two, parameters=parameters)
    assert model.argument_names == ("values", "tokens")
    rows = {"values": X[:, :3], "tokens": RNG.integers(0, 10, (6, 2))}
    e = pellucid.explain(model, rows, "integrated_gradients", target=0, steps=4)
    close(e.values, X[:, :3] * np.arange(3.0))
    tokens = pellucid.wrap(lambda p, x: p[x].sum((1, 2)), parameters=parameters["table"])
    assert pellucid.explain(tokens, rows["tokens"], "exact_shapley").values.shape == (6, 2)
    with pytest.raises(InputError, match="no input named 'words'"):
        pellucid.explain(model, {"values": X[:, :3], "words": rows["tokens"]}, "occlusion")


class Found(NamedTuple):
    logits: jax.Array
    chosen: jax.Array


@pytest.mark.parametrize("made", [lambda y, c: {"logits": y, "chosen": c}, lambda y, c: (c, y), Found])
def test_the_float_output_among_several_is_found(made):
    def several(parameters, x):
        y = network(parameters, x)
        return made(y, jnp.argmax(y, axis=1))

    e = pellucid.explain(pellucid.wrap(several, parameters=PARAMETERS), X, "integrated_gradients", target=2, steps=16)
    close(e.values, pellucid.explain(twin(), X, "integrated_gradients", target=2, steps=16).values)


def test_half_precision_and_compiled_functions():
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMETERS)
    model = pellucid.wrap(jax.jit(lambda p, x: network(p, x.astype(jnp.bfloat16))), parameters=half)
    e = pellucid.explain(model, X, "exact_shapley", target=0)
    wanted = pellucid.explain(twin(), X, "exact_shapley", target=0)
    assert np.abs(e.values - wanted.values).max() < 0.1 * np.abs(wanted.values).max()


def test_what_cannot_be_done_is_said(model):
    with pytest.raises(NotApplicable, match="layers cannot be seen"):
        pellucid.explain(model, X, "layer_activation")
    with pytest.raises(NotApplicable, match="no gradient"):
        pellucid.explain(pellucid.wrap(lambda p, x: jnp.argmax(x, 1), parameters=()), X, "saliency", target=0)
    with pytest.raises(ModelError, match=r"JAX cannot follow this function.*black box"):
        pellucid.explain(pellucid.wrap(lambda p, x: x if x.sum() > 0 else -x, parameters=()), X, "saliency")
    with pytest.raises(ModelError, match=r"the model failed on a batch of 1 rows.*dot_general"):
        pellucid.explain(model, X[:, :4], "saliency")
    for other in (twin(), model, nn.Linear):
        with pytest.raises(ModelError, match="parameters= belongs to a JAX function"):
            pellucid.wrap(other, parameters={})


def test_nothing_is_left_behind(model):
    before = {part: {name: array.copy() for name, array in own.items()} for part, own in PARAMETERS.items()}
    wide, draws, dice = jnp.zeros(()).dtype, random.getstate(), torch.get_rng_state()
    one, two = (pellucid.explain(model, X, "smoothgrad", target=0, samples=3) for _ in range(2))
    np.testing.assert_array_equal(one.values, two.values)
    assert jnp.zeros(()).dtype == wide and random.getstate() == draws
    assert torch.equal(torch.get_rng_state(), dice)
    jax.tree.map(np.testing.assert_array_equal, before, PARAMETERS)


WIDE = """
import jax, numpy as np
jax.config.update("jax_enable_x64", True)
import pellucid
model = pellucid.wrap(lambda p, x: (x @ p) ** 2, parameters=np.ones((3, 1)))
e = pellucid.explain(model, np.full((1, 3), 1 / 3), "exact_shapley", target=0)
assert abs(e.values - 1 / 3).max() < 1e-15, e.values
"""


def test_sixty_four_bits_where_jax_has_them():
    done = subprocess.run([sys.executable, "-c", WIDE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
