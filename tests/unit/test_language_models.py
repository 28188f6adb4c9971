"""The tiny folders that the tests of text stand on: the same on every call, and what their own library reads back."""

from pathlib import Path

import pytest
import torch

pytest.importorskip("transformers")

from language_models import LONGEST, MODELS, TEXTS, built, saved
from transformers import AutoTokenizer


@pytest.mark.parametrize("name", [name for name in MODELS if name != "vit_images"])
def test_a_folder_gives_back_the_model_and_the_tokenizer_that_went_in(name: str, tmp_path: Path):
    folder = saved(name, tmp_path / name)
    model, words = built(name)
    again, read = type(model).from_pretrained(folder, local_files_only=True), AutoTokenizer.from_pretrained(folder)
    given = words(TEXTS[0], return_tensors="pt")["input_ids"]
    assert read(TEXTS[0], return_tensors="pt")["input_ids"].tolist() == given.tolist()
    assert read.model_max_length == LONGEST
    with torch.no_grad():
        one, other = model(input_ids=given)[0], again.eval()(input_ids=given)[0]
    assert torch.equal(one, other) and float(one.std()) > 0.1  # an answer that depends on nothing would test nothing


def test_images_go_through_the_processor_of_the_folder():
    model, processor = built("vit_images")
    pixels = processor([torch.zeros(3, 20, 20).byte().numpy()], return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 16, 16) and model(pixels).logits.shape == (1, 2)
