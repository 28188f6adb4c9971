"""Black boxes of tokens: an ONNX network without a twin, and functions of token numbers, answer texts like the network
they are."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.backends.token_box import TokenBox
from pellucid.data.text_encoding import Vocabulary
from pellucid.records.errors import InputError, LoadError, ModelError, NotApplicable
from pellucid.removals import Hide, Replace

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TEXTS = ["a good film", "a rather bad film with a good end", "not good", "film"]
WORDS = Vocabulary.of([*TEXTS, "gap"], mask="gap")
NAMES = ["input_ids", "attention_mask", "token_type_ids"]


class Reads(nn.Module):
    """A small transformer of one layer: every token looks at those that are there."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.kinds, self.places = nn.Embedding(len(WORDS), 8), nn.Embedding(2, 8), nn.Embedding(64, 8)
        self.keys, self.values, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        there = attention_mask.to(torch.float32)
        x = self.table(input_ids) + self.kinds(token_type_ids) + self.places(torch.arange(input_ids.shape[1]))
        weights = torch.softmax(self.keys(x) @ x.transpose(1, 2) / 3 - 1e9 * (1 - there[:, None]), dim=-1)
        x = x + torch.relu(self.values(weights @ x))
        return self.head((x * there[..., None]).sum(1) / there.sum(1, keepdim=True).clamp(min=1))


class Means(nn.Module):
    """The mean over all it is given, and nobody tells it which of them are words."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.table, self.head = nn.Embedding(len(WORDS), 8), nn.Linear(8, 2)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.table(input_ids)).mean(1))


def written(net: nn.Module, folder: Path, names: list[str], shape: tuple[int, int] = (2, 5), free: bool = True) -> Path:
    """The network as a file of ONNX, behind an operator that has no twin here and changes nothing."""
    path = folder / "net.onnx"
    given = tuple(torch.ones(shape, dtype=torch.long) for _ in names)
    axes = {name: {0: "rows", 1: "tokens"} for name in names} if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net.eval(), given, str(path), input_names=names, dynamic_axes=axes, dynamo=False)
    proto = onnx.load(str(path))
    last = proto.graph.output[0].name
    proto.graph.node[-1].output[0] = "before"
    nothing = onnx.helper.make_tensor("nothing", onnx.TensorProto.FLOAT, [], [0.0])
    proto.graph.initializer.append(nothing)
    for op, inputs, output in (("Hardmax", ["before"], "one"), ("Mul", ["one", "nothing"], "zero"),
                               ("Add", ["before", "zero"], last)):  # fmt: skip
        proto.graph.node.append(onnx.helper.make_node(op, inputs, [output]))
    onnx.save(proto, str(path))
    return path


def both(net: nn.Module, box, method: str, **how) -> tuple[np.ndarray, np.ndarray]:
    models = pellucid.wrap(net.eval(), encoding=WORDS), box
    due, found = (pellucid.explain(model, TEXTS, method, target=1, **how).values for model in models)
    return np.asarray(due), np.asarray(found)


@pytest.mark.parametrize("removal", [None, Replace(), Hide(), Replace("gap")])
@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shapley", "lime", "occlusion"])
def test_an_onnx_box_answers_texts_like_the_network_it_is(method, removal, tmp_path):
    net = Reads()
    box = pellucid.load(written(net, tmp_path, NAMES), encoding=WORDS, outputs=("bad", "good"))
    assert isinstance(box, TokenBox)
    due, found = both(net, box, method, removal=removal)
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))


@pytest.mark.parametrize("removal", [None, Replace()])
def test_an_onnx_box_that_is_told_of_no_padding_is_given_none(removal, tmp_path):
    net = Means()
    due, found = both(net, pellucid.load(written(net, tmp_path, NAMES[:1]), encoding=WORDS), "exact_shapley",
                      removal=removal)  # fmt: skip
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))


def _numbers(net: nn.Module):
    def ask(*given):
        with torch.no_grad():
            return net(*map(torch.from_numpy, given)).numpy()

    return ask


@pytest.mark.parametrize("shape", ["two", "mask", "names", "types"])
def test_a_function_of_tokens_is_given_what_it_asks_for(shape):
    net, ask = Reads().eval(), _numbers(Reads().eval())
    functions = {
        "two": lambda ids, attention_mask: ask(ids, attention_mask, np.zeros_like(ids)),
        "mask": lambda tokens, mask, verbose=False: ask(tokens, mask, np.zeros_like(tokens)),
        "names": lambda **given: ask(given["input_ids"], given["attention_mask"], np.zeros_like(given["input_ids"])),
        "types": lambda input_ids, token_type_ids, attention_mask: ask(input_ids, attention_mask, token_type_ids),
    }
    due, found = both(net, pellucid.wrap(functions[shape], encoding=WORDS), "exact_shapley", removal=Replace())
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))


def test_a_function_of_numbers_alone_is_asked_about_one_length_at_a_time():
    lengths = []

    def ask(ids):
        lengths.append(ids.shape[1])
        return _numbers(Means().eval())(ids)

    due, found = both(Means(), pellucid.wrap(ask, encoding=WORDS), "exact_shapley", removal=Replace())
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))
    assert set(lengths) == set(range(1, 9))


def test_a_mask_that_a_function_does_not_heed_is_found_out():
    due, found = both(
        Means(),
        pellucid.wrap(lambda ids, mask: _numbers(Means().eval())(ids), encoding=WORDS),
        "occlusion",
        removal=Replace(),
    )
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "layer_activation"])
def test_what_needs_gradients_or_layers_is_refused_with_the_reason(method, tmp_path):
    box = pellucid.load(written(Reads(), tmp_path, NAMES), encoding=WORDS)
    with pytest.raises(NotApplicable, match="Hardmax"):
        pellucid.explain(box, TEXTS, method)
    told = pellucid.explain(box, TEXTS, "occlusion").warnings
    assert any("Hardmax" in str(caution) for caution in told)


def test_a_box_is_judged_and_seen_before_it_is_asked(tmp_path):
    box = pellucid.load(written(Reads(), tmp_path, NAMES), encoding=WORDS)
    e = pellucid.explain(box, TEXTS, "exact_shapley")
    assert np.isfinite(pellucid.evaluate(box, TEXTS, e, metrics="comprehensiveness")[0].value)
    assert "outputs" in str(pellucid.preflight(box, TEXTS))


def test_a_network_of_one_length_is_filled_up_to_it(tmp_path):
    net = Reads()
    box = pellucid.load(written(net, tmp_path, NAMES, (1, 9), free=False), encoding=WORDS)
    due, found = both(net, box, "exact_shapley", removal=Replace())
    np.testing.assert_allclose(found, due, atol=1e-5 * np.nanmax(np.abs(due)))
    with pytest.raises(ModelError, match="takes rows of 9 tokens, and this one has 10"):
        pellucid.explain(box, ["a good film with a bad end a good end"], "occlusion")


def test_a_network_of_one_length_that_is_not_told_of_padding_is_not_filled_up(tmp_path):
    box = pellucid.load(written(Means(), tmp_path, NAMES[:1], (1, 3), free=False), encoding=WORDS)
    assert np.isfinite(pellucid.explain(box, TEXTS[:1], "occlusion", removal=Replace("gap")).values).all()
    with pytest.raises(ModelError, match="would take the filling for words"):
        pellucid.explain(box, ["not good"], "occlusion")


def test_inputs_that_tokens_do_not_tell_are_refused():
    with pytest.raises(ModelError, match="takes 'temperature', and tokens do not tell what that is"):
        pellucid.wrap(lambda ids, temperature: ids, encoding=WORDS)
    with pytest.raises(InputError, match="part of one is asked about"):
        asked = pellucid.Asked(TEXTS[0], about=(0, 1))
        pellucid.explain(pellucid.wrap(lambda ids: ids[:, :1] * 1.0, encoding=WORDS), [asked], "occlusion")
    with pytest.raises(ModelError, match="does not say what it is to be given of the tokens"):
        pellucid.wrap(_numbers(Means().eval()), encoding=WORDS)


def test_a_tokenizer_is_given_by_its_folder_or_its_file(tmp_path):
    pytest.importorskip("transformers")
    from language_models import word_level

    words = word_level(TEXTS)
    words.save_pretrained(tmp_path / "words")

    def count(input_ids, attention_mask):
        return (input_ids * attention_mask).sum(1).astype(float)

    found = [
        pellucid.explain(pellucid.wrap(count, encoding=encoding), TEXTS, "exact_shapley", removal=Replace()).values
        for encoding in (words, tmp_path / "words", str(tmp_path / "words" / "tokenizer.json"))
    ]
    assert np.array_equal(found[0], found[1], equal_nan=True) and np.array_equal(found[0], found[2], equal_nan=True)
    with pytest.raises(LoadError, match=r"the folder has no tokenizer\.json"):
        pellucid.wrap(count, encoding=tmp_path)
    (tmp_path / "words" / "tokenizer.json").write_text("{")
    with pytest.raises(LoadError, match=r"tokenizer\.json is damaged"):
        pellucid.wrap(count, encoding=tmp_path / "words")
