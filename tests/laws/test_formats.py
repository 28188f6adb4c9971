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
from one_network import (
    BACKGROUND,
    BIASES,
    COLUMNS,
    FILES,
    MEAN,
    ROWS,
    SPREAD,
    WEIGHTS,
    answer,
    loaded,
    mlp,
    network,
    of_frames,
    pipeline,
)
from serving import Served

import pellucid
from pellucid.methods import IntegratedGradients
from pellucid.problem.model import Differentiable
from pellucid.records.errors import NotApplicable


class Place:
    """Where a format may keep its file, and what must be shut when the test is over."""

    def __init__(self, folder: Path, stack: ExitStack):
        self.folder, self.stack = folder, stack


def served(place: Place) -> Any:
    yaml = pytest.importorskip("yaml")
    server = place.stack.enter_context(Served(lambda rows: answer(rows).tolist()))
    (place.folder / "net.yaml").write_text(yaml.safe_dump(server.file()))
    return pellucid.load(place.folder / "net.yaml")


def in_jax(place: Place) -> Any:
    pytest.importorskip("jax")
    import jax
    from jax import numpy as jnp

    def apply(parameters: Any, x: Any) -> Any:
        (v, w), (a, b) = parameters
        return jax.nn.softmax(jnp.tanh(x @ v + a) @ w + b)

    return pellucid.wrap(apply, parameters=(WEIGHTS, BIASES))


def from_file(name: str) -> Callable[[Place], Any]:
    def make(place: Place) -> Any:
        file, keep = FILES[name]
        keep(place.folder / file)
        return loaded(place.folder / file)

    return make


FORMATS: dict[str, tuple[Callable[[Place], Any], bool]] = {
    "torch": (lambda place: network(), True),
    "torch in float32": (lambda place: network().float(), True),
    "scikit-learn": (lambda place: mlp(), True),
    "pipeline": (lambda place: pipeline(), True),
    "function of arrays": (lambda place: answer, False),
    "function of tables": (lambda place: of_frames, False),
    "HTTP": (served, False),
    "JAX": (in_jax, True),
    **{name: (from_file(name), True) for name in FILES},
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
