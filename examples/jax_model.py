"""A network written in JAX: trained by its own gradients, explained as a function with parameters, and audited.

python examples/jax_model.py [--out runs/jax_model]
"""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_breast_cancer

import pellucid

Parameters = list[dict[str, jax.Array]]


def network(parameters: Parameters, x: jax.Array) -> jax.Array:
    """Scores ``[rows, 2]``; with Flax this function is ``module.apply``."""
    *hidden, last = parameters
    for layer in hidden:
        x = jax.nn.gelu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def first(widths: tuple[int, ...]) -> Parameters:
    dice = np.random.default_rng(0)
    return [
        {"w": jnp.asarray(dice.normal(scale=before**-0.5, size=(before, after)), jnp.float32), "b": jnp.zeros(after)}
        for before, after in pairwise(widths)
    ]


def trained(x: np.ndarray, y: np.ndarray) -> Parameters:
    """Plain gradient descent with momentum on the cross-entropy."""

    def loss(parameters: Parameters) -> jax.Array:
        return -jnp.take_along_axis(jax.nn.log_softmax(network(parameters, x)), y[:, None], 1).mean()

    @jax.jit
    def step(parameters: Any, speed: Any) -> tuple[Any, Any]:
        speed = jax.tree.map(lambda v, slope: 0.9 * v - 0.05 * slope, speed, jax.grad(loss)(parameters))
        return jax.tree.map(jnp.add, parameters, speed), speed

    parameters = first((x.shape[1], 32, 2))
    speed = jax.tree.map(jnp.zeros_like, parameters)
    for _ in range(300):
        parameters, speed = step(parameters, speed)
    return parameters


def main(out: Path) -> None:
    book: Any = load_breast_cancer(as_frame=True)
    frame = ((book.data - book.data.mean()) / book.data.std()).astype("float32")
    frame["tumour"] = np.where(book.target == 0, "malignant", "benign")
    out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(out / "tumours.csv", index=False)
    data = pellucid.read(out / "tumours.csv", label="tumour")
    train, test = data.train, data.test

    parameters = trained(train.features.to_numpy("float32"), np.asarray(train.labels))
    model = pellucid.wrap(network, parameters=parameters, outputs=data.classes, name="tumours")
    print(model.preflight(test))
    rows, background = test.features[:4], train.features[:100]
    print(pellucid.explain(model, rows, "integrated_gradients", background=background).text())

    study = pellucid.audit(
        model, data, out=out / "report", methods=["integrated_gradients", "shapley"], metrics=["abpc"], rows=6,
        budget=256, fresh=True,
    )  # fmt: skip
    print(study, study.report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/jax_model"))
    main(parser.parse_args().out)
