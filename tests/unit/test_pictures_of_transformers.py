"""Folders of networks that name pictures: their own image processor, patches as players, and every way of asking."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("transformers")

from language_models import built, saved
from PIL import Image

import pellucid
from pellucid.problem.model import Model
from pellucid.records.errors import EncodingError, LoadError

DICE = np.random.default_rng(4)
BYTES = DICE.integers(0, 256, (2, 20, 30, 3), dtype=np.uint8)


def wrapped() -> Model:
    network, processor = built("vit_images")
    return pellucid.wrap(network, encoding=processor)


def test_a_folder_answers_as_the_network_and_its_processor_do(tmp_path: Path):
    network, processor = built("vit_images")
    with torch.no_grad():
        own = network(processor(images=list(BYTES), return_tensors="pt")["pixel_values"]).logits.numpy()
    model = pellucid.load(saved("vit_images", tmp_path / "vit"))
    assert model.labels == ("bad", "good")
    found = pellucid.explain(model, BYTES, "occlusion", target="all")
    np.testing.assert_allclose(found.full, own, atol=1e-5)
    assert found.rows.shape == (2, 16, 16, 3)


def test_pictures_of_all_kinds_are_one_picture():
    model, one = wrapped(), BYTES[0]
    alike = [one, Image.fromarray(one), one.transpose(2, 0, 1), torch.from_numpy(one).numpy().astype(np.float32)]
    found = model.encoding.encode(alike)
    assert found.shape == (4, 3, 16, 16) and found.dtype == np.float32
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)
    grey = model.encoding.encode([one[..., 0], one[..., :1], Image.fromarray(one[..., 0])])
    np.testing.assert_array_equal(grey[0], grey[1])
    np.testing.assert_array_equal(grey[0], grey[2])


def test_pictures_of_several_sizes_are_shown_as_the_network_sees_them():
    model = wrapped()
    flat = np.full((9, 40, 3), (10, 200, 90), np.uint8)
    found = pellucid.explain(model, [BYTES[0], flat], "occlusion", target="good")
    assert found.rows[1].shape == (16, 16, 3)
    assert (np.asarray(found.rows[1]) == (10, 200, 90)).all()


def test_what_is_encoded_already_is_not_encoded_again():
    model = wrapped()
    pixels = torch.from_numpy(model.encoding.encode(BYTES))
    one, other = (pellucid.explain(model, rows, "saliency", target="good") for rows in (BYTES, pixels))
    np.testing.assert_allclose(one.values, other.values, atol=1e-12)


METHODS = (
    "shapley", "occlusion", "integrated_gradients", "deeplift", "lrp", "attention_rollout", "grad_cam", "hires_cam",
)  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_methods_that_ask_and_that_look_inside(method: str):
    found = pellucid.explain(wrapped(), BYTES, method, target="good", budget=200)
    assert np.isfinite(found.values).all() and float(np.abs(found.values).max()) > 0


def test_pictures_divided_already_are_refused():
    for wrong in (BYTES / 255, (BYTES > 128).astype(np.float64), -BYTES.astype(np.int64)):
        with pytest.raises(EncodingError, match="a picture of bytes is needed"):
            pellucid.explain(wrapped(), wrong, "occlusion", target="good")
    with pytest.raises(EncodingError, match=r"\[H, W, channels\]"):
        wrapped().encoding.encode([np.zeros((5, 5, 7), np.uint8)])


def test_a_folder_without_its_processor_is_refused(tmp_path: Path):
    folder = saved("vit_images", tmp_path / "vit")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(LoadError, match=r"the folder has no preprocessor_config\.json"):
        pellucid.load(folder)


def test_damaged_and_dangerous_processors_are_refused(tmp_path: Path):
    file = saved("vit_images", tmp_path / "vit") / "preprocessor_config.json"
    own = json.loads(file.read_bytes())
    for content, said in (
        ("{", r"preprocessor_config\.json is damaged"),
        ("[]", r"preprocessor_config\.json is damaged"),
        (" " * (2**20 + 1), "is larger than 1,048,576 bytes"),
        (json.dumps(own | {"auto_map": {"AutoImageProcessor": "own.Own"}}), "run code of its own"),
        (json.dumps(own | {"image_processor_type": "os.system"}), r"could not read preprocessor_config\.json"),
    ):
        file.write_text(content)
        with pytest.raises(LoadError, match=said):
            pellucid.load(file.parent)
