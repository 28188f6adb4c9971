"""A Keras network of pictures: trained on Keras' torch backend, saved, loaded from its .keras file, explained, audited.

python examples/keras_model.py [--out runs/keras_model]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras chooses while it is imported

import keras
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

import pellucid
from pellucid.compat import shap
from pellucid.data.images import ImageEncoding


def trained(pictures: np.ndarray, labels: np.ndarray) -> keras.Model:
    """A small network with channels last, as Keras has them."""
    keras.utils.set_random_seed(0)
    layers = keras.layers
    network: Any = keras.Sequential([
        keras.Input((8, 8, 1)), layers.Conv2D(16, 3, padding="same", activation="relu", name="edges"),
        layers.MaxPooling2D(), layers.Conv2D(32, 3, padding="same", activation="relu", name="shapes"),
        layers.Flatten(), layers.Dropout(0.2), layers.Dense(10, activation="softmax", name="digits"),
    ])  # fmt: skip
    network.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    network.fit(pictures, labels, epochs=8, batch_size=64, verbose=0)
    return network


def main(out: Path) -> None:
    digits: Any = load_digits()
    pictures = (digits.images / 16).astype("float32")[..., None]
    network = trained(pictures[:1400], digits.target[:1400])
    for place, label in enumerate(digits.target[1400:1700]):
        folder = out / "pictures" / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[1400 + place] * 15.9).astype("uint8")).save(folder / f"{place:03}.png")
    network.save(out / "digits.keras")

    model = pellucid.load(out / "digits.keras", outputs=tuple("0123456789"))
    e = pellucid.explain(model, pictures[1400:1404], "grad_cam")  # rows as Keras has them
    print(e.text())
    values = shap.DeepExplainer(network, pictures[:50]).shap_values(pictures[1400:1404])
    print("shap.DeepExplainer:", values.shape)

    data = pellucid.read(out / "pictures")
    model = pellucid.load(out / "digits.keras", outputs=data.classes, encoding=ImageEncoding(data.shape))
    study = pellucid.audit(
        model, data, out=out / "report", methods=["integrated_gradients", "grad_cam"], metrics=["abpc"], rows=4,
        budget=128, fresh=True,
    )  # fmt: skip
    print(study, study.report)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/keras_model"))
    main(parser.parse_args().out)
