"""Models of every make: what they return, how they are wrapped, and what is refused."""

# ruff: noqa: E501
from __future__ import annotations

import warnings
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.data.images import ImageEncoding
from pellucid.data.transformers import from_sklearn
from pellucid.players import Patches
from pellucid.records.errors import ModelError, PellucidError
from pellucid.removals import Constant

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
W = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, 0.0, -1.0]])
Pair = namedtuple("Pair", "logits hidden")


@dataclass
class Answer:
    logits: torch.Tensor
    state: torch.Tensor


class Returning(nn.Module):
    """A linear network that hands its answer over in some wrapping."""

    def __init__(self, wrapping):
        super().__init__()
        self.wrapping = wrapping

    def forward(self, x):
        return self.wrapping(x @ W.T.to(x.dtype))


ODD_OUTPUTS = {
    "dict with logits": lambda y: {"hidden": y * 2, "logits": y},
    "dict with one table": lambda y: {"score": y, "map": y[:, :, None], "n": torch.ones(len(y), dtype=torch.int)},
    "tuple": lambda y: (y, y[:, :, None]),
    "list": lambda y: [y],
    "named tuple": lambda y: Pair(y, y * 2),
    "object": lambda y: Answer(y, y * 2),
    "float64": lambda y: y.double(),
}


@pytest.mark.parametrize("name", ODD_OUTPUTS)
def test_answers_in_odd_wrappings(name):
    e = pellucid.explain(Returning(ODD_OUTPUTS[name]), X, "exact_shapley", target=0)
    np.testing.assert_allclose(e.values, (X * W[0]).numpy(), atol=1e-5)
    told = [caution.code for caution in e.warnings]
    assert ("output_chosen" in told) == (name != "float64")


def test_one_number_per_row():
    for wrapping in (lambda y: y[:, 0], lambda y: y[:, :1], lambda y: {"score": y[:, 0], "loss": y.sum()}):
        for method in ("exact_shapley", "integrated_gradients"):
            e = pellucid.explain(Returning(wrapping), X, method)
            np.testing.assert_allclose(e.values, (X * W[0]).numpy(), atol=1e-5)


def test_the_output_that_is_meant_can_be_named():
    heads = Returning(lambda y: {"left": y, "right": y * 2})
    for output in ("left", "right"):
        e = pellucid.explain(pellucid.wrap(heads, output=output), X, "exact_shapley", target=0)
        np.testing.assert_allclose(e.values, (X * W[0]).numpy() * (2 if output == "right" else 1), atol=1e-5)
    e = pellucid.explain(pellucid.wrap(Returning(lambda y: (y, 3 * y)), output=1), X, "exact_shapley", target=0)
    np.testing.assert_allclose(e.values, 3 * (X * W[0]).numpy(), atol=1e-5)


REFUSED = {
    "two heads": (lambda y: {"left": y, "right": y}, r"the model returns dict with left: \(1, 2\), right: \(1, 2\).*output="),
    "two tables": (lambda y: (y, y), r"the model returns tuple with 0: \(1, 2\), 1: \(1, 2\)"),
    "nothing": (lambda y: None, r"the model returns NoneType with nothing usable"),
    "a sequence": (lambda y: {"logits": y[:, None].expand(-1, 5, -1)}, r"logits has shape \(1, 5, 2\)"),
    "an image": (lambda y: y[:, :, None, None], r"the output has shape \(1, 2, 1, 1\)"),
    "complex": (lambda y: y.to(torch.complex64), r"the output is complex.*real part or an absolute value"),
    "one number in all": (lambda y: y.sum(), r"the output has shape \(\)"),
    "too few rows": (lambda y: y[:0], r"the model returned 0 rows for 1"),
    "NaN": (lambda y: y / 0 * 0, r"row [012]: the model's output is NaN or infinite"),
    "an error": (lambda y: y.no_such_thing, r"Returning: the model failed on a batch of 1 rows.*AttributeError: .*no_such_thing"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_answers_that_are_refused(name):
    wrapping, pattern = REFUSED[name]
    with pytest.raises(PellucidError, match=f"(?s){pattern}"):
        pellucid.explain(Returning(wrapping), X)


def test_a_wrong_name_of_an_output_lists_what_there_is():
    with pytest.raises(PellucidError, match=r"returns no 'logit'.*left: \(1, 2\)"):
        pellucid.explain(pellucid.wrap(Returning(lambda y: {"left": y}), output="logit"), X)


@pytest.mark.parametrize(
    "wrapping", [lambda y: y.detach(), lambda y: y.round().long().float(), lambda y: y.argmax(1).float()]
)
def test_no_gradient_is_told_and_not_taken_for_zero(wrapping):
    with pytest.raises(PellucidError, match=r"no gradient|cannot be differentiated"):
        pellucid.explain(Returning(wrapping), X, "saliency")
    assert np.isfinite(pellucid.explain(Returning(wrapping), X, "exact_shapley").values).all()


def test_no_grad_and_inference_mode_inside():
    for mode in (torch.no_grad, torch.inference_mode):

        class Inside(nn.Module):
            def forward(self, x, mode=mode):
                with mode():
                    return x @ W.T

        with pytest.raises(PellucidError, match="no gradient"):
            pellucid.explain(Inside(), X, "integrated_gradients")
        np.testing.assert_allclose(
            pellucid.explain(Inside(), X, "occlusion", target=0).values, (X * W[0]).numpy(), atol=1e-5
        )


def test_all_zero_gradients_are_a_caution():
    e = pellucid.explain(Returning(lambda y: torch.relu(-y.abs() - 1)), X, "saliency")
    assert "zero_gradient_unmoved" in [caution.code for caution in e.warnings] and (e.values == 0).all()
    e = pellucid.explain(
        Returning(lambda y: torch.relu(y + 1000).clamp(max=1.0)), X, "saliency", removal=Constant(-1e6)
    )
    assert "zero_gradient" in [caution.code for caution in e.warnings] and (e.values == 0).all()


def test_nan_names_the_smallest_absent_set():
    def root(rows):
        rows = np.asarray(rows)
        return np.sqrt(rows[:, 1]) + rows[:, 0]

    with pytest.raises(PellucidError, match=r"row 1: the model's output is NaN or infinite. with x1 absent"):
        pellucid.explain(
            root, np.array([[1.0, 5.0, 2.0], [1.0, 5.0, 1.0]]), removal=Constant(np.array([[0.0, -1.0, 0.0]]))
        )


def test_meta_lazy_and_classes_are_refused():
    with pytest.raises(PellucidError, match=r"weight: the parameters have no data \(meta device\)"):
        pellucid.wrap(nn.Linear(2, 2, device="meta"))
    with pytest.raises(PellucidError, match=r"weight: a lazy parameter has no shape yet"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pellucid.wrap(nn.LazyLinear(2))
    for thing in (nn.Linear, 3, "net.pt2", None):
        with pytest.raises(PellucidError, match="is not a model"):
            pellucid.wrap(thing)


def test_names_of_outputs():
    with pytest.raises(PellucidError, match="two outputs are named 'a'"):
        pellucid.wrap(Returning(lambda y: y), outputs=("a", "a"))
    with pytest.raises(PellucidError, match="is one text"):
        pellucid.wrap(Returning(lambda y: y), outputs="good")
    with pytest.raises(PellucidError, match="3 names were given for 2 outputs"):
        pellucid.explain(pellucid.wrap(Returning(lambda y: y), outputs=("a", "b", "c")), X)
    model = pellucid.wrap(Returning(lambda y: y), outputs=("bad", "good"))
    assert pellucid.explain(model, X, target=("good", "bad")).outputs[0] == ("good rather than bad",)
    with pytest.raises(PellucidError, match="already has labels"):
        pellucid.wrap(model, outputs=("x", "y"))


def test_wrappings_are_taken_off():
    net = nn.Linear(4, 2)
    wanted = pellucid.explain(net, X, "integrated_gradients", target=0, steps=4).values
    for wrapped in (nn.DataParallel(net), torch.compile(net), nn.DataParallel(torch.compile(net))):
        np.testing.assert_array_equal(
            pellucid.explain(wrapped, X, "integrated_gradients", target=0, steps=4).values, wanted
        )


class Sum(nn.Module):
    def forward(self, left, right):
        return left @ torch.ones(2) - 2 * right.sum(1)


class AnyNames(nn.Module):
    def forward(self, **inputs):
        return inputs["left"] @ torch.ones(2) - 2 * inputs["right"].sum(1)


class OneDict(nn.Module):
    def forward(self, batch):
        return batch["left"] @ torch.ones(2) - 2 * batch["right"].sum(1)


def exported(module, by_name):
    example = {"left": torch.ones(2, 2), "right": torch.ones(2, 3)}
    free = {0: torch.export.Dim.AUTO}
    given = ((), example) if by_name else (tuple(example.values()), None)
    shapes = dict.fromkeys(example, free) if by_name else (free, free)
    return torch.export.export(module, *given, dynamic_shapes=shapes).module(check_guards=False)


TWO = {
    "plain": Sum, "any names": AnyNames, "one dict": OneDict, "scripted": lambda: torch.jit.script(Sum()),
    "exported by place": lambda: exported(Sum(), False), "exported by name": lambda: exported(Sum(), True),
    "function": lambda: lambda left, right: left.sum(1) - 2 * right.sum(1),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO)
def test_two_inputs_however_they_are_called(name):
    rows = {"left": torch.ones(2, 2), "right": torch.ones(2, 3)}
    e = pellucid.explain(TWO[name](), rows, "exact_shapley")
    np.testing.assert_allclose(e.values, [[1, 1, -2, -2, -2]] * 2, atol=1e-6)
    if name not in ("any names", "one dict"):
        ordered = pellucid.explain(TWO[name](), tuple(rows.values()), "exact_shapley")
        np.testing.assert_array_equal(ordered.values, e.values)


def test_functions_that_return_odd_things():
    array = X.numpy()
    wanted = array * W[0].numpy()
    for function in (
        lambda rows: (rows @ W.numpy().T)[:, 0],
        lambda rows: (rows @ W.numpy().T)[:, 0].tolist(),
        lambda rows: tuple((rows @ W.numpy().T)[:, 0].tolist()),
        lambda rows: pd.Series((rows @ W.numpy().T)[:, 0]),
        lambda rows: {"logits": rows @ W.numpy().T},
        lambda rows: (rows @ W.numpy().T, rows[:, :, None]),
        lambda rows: torch.from_numpy(rows) @ W.T,
        lambda rows: (rows @ W.numpy().T).astype(np.longdouble)[:, 0],
    ):
        np.testing.assert_allclose(
            pellucid.explain(function, array, "exact_shapley", target=0).values, wanted, atol=1e-5
        )
    with pytest.raises(PellucidError, match=r"returned <U4 values such as .*predict_proba, not predict"):
        pellucid.explain(lambda rows: np.array(["good"] * len(rows)), array)
    with pytest.raises(PellucidError, match="object values such as"):
        pellucid.explain(lambda rows: None, array)


def test_callables_without_weak_references_or_hashes():
    class Slotted:
        __slots__ = ()

        def __call__(self, rows):
            return rows[:, 0]

    class Unhashable:
        __hash__ = None

        def __call__(self, rows):
            return rows[:, 0]

    for function in (Slotted(), Unhashable(), lambda rows: rows.sum(1)):
        assert np.isfinite(pellucid.explain(function, X.numpy(), "occlusion").values).all()


# scikit-learn ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"age": rng.normal(40, 10, 200), "income": rng.normal(3, 1, 200), "debt": rng.normal(1, 0.3, 200)}
    )
    return frame, np.where(frame["income"] > 3 * frame["debt"], "good", "bad")


def test_a_classifier_is_asked_for_probabilities_by_name_and_in_its_own_order(people):
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    frame, label = people
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(frame, label)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # above all the one that feature names are missing
        e = pellucid.explain(fitted, frame[:5], target="good", background=frame[:20])
        turned = pellucid.explain(fitted, frame.iloc[:5, ::-1].assign(more=1.0), target="good", background=frame[:20])
        array = pellucid.explain(fitted, frame[:5].to_numpy(), target="good", background=frame[:20])
    assert e.players.names[0] == ("age", "income", "debt") == array.players.names[0]
    np.testing.assert_array_equal(turned.values, e.values)
    np.testing.assert_array_equal(array.values, e.values)
    np.testing.assert_allclose(e.full[:, 0], fitted.predict_proba(frame[:5])[:, 1], atol=1e-12)
    with pytest.raises(PellucidError, match="the model needs columns 'income', which the rows lack"):
        pellucid.explain(fitted, frame[:5].drop(columns="income"))


def test_a_classifier_without_probabilities_is_asked_for_its_decision_function(people):
    from sklearn.linear_model import LinearRegression, RidgeClassifier

    frame, label = people
    fitted = RidgeClassifier().fit(frame, label)
    e = pellucid.explain(fitted, frame[:4])
    np.testing.assert_allclose(e.full[:, 0], fitted.decision_function(frame[:4]), atol=1e-9)
    line = LinearRegression().fit(frame, frame["age"] * 2)
    np.testing.assert_allclose(
        pellucid.explain(line, frame[:4], "exact_shapley").values[:, 0], 2 * frame["age"][:4], atol=1e-9
    )

    class Labels:
        classes_ = np.array(["bad", "good"])

        def predict(self, rows):
            return np.array(["bad"] * len(rows))

    with pytest.raises(PellucidError, match="Labels predicts labels, not numbers"):
        pellucid.wrap(Labels())


# Encodings ---------------------------------------------------------------------------------


class Head(nn.Module):
    def __init__(self, width):
        super().__init__()
        torch.manual_seed(width)
        self.line = nn.Linear(width, 2)

    def forward(self, x):
        return self.line(x)


@pytest.fixture(scope="module")
def loans():
    from pellucid.data.books import loan_book
    from pellucid.data.reading import read

    frame = loan_book(200, seed=0)[0].assign(town=[("north", "south", "west")[row % 3] for row in range(200)])
    return read(frame, label="approved")


def test_raw_rows_go_through_an_encoding_whatever_their_make(loans):
    encoding = Encoding.fit(loans)
    model = pellucid.wrap(Head(encoding.width), encoding=encoding)
    frame = loans.test.features[:4]
    given = {"background": loans.train.features[:10], "method": "kernel_shapley", "target": 1}
    wanted = pellucid.explain(model, frame, **given)
    assert wanted.players.names[0] == tuple(encoding.groups)
    records = frame.to_dict("records")
    for rows in (frame.iloc[:, ::-1], records, frame.to_numpy(dtype=object)):
        np.testing.assert_array_equal(pellucid.explain(model, rows, **given).values, wanted.values)
    one = pellucid.explain(model, records[0], **given)
    np.testing.assert_allclose(one.values, wanted.values[:1], atol=1e-5)
    encoded = pellucid.explain(model, encoding.encode(frame), **given)  # already what the network eats
    np.testing.assert_array_equal(encoded.values, wanted.values)
    assert encoded.players.names == wanted.players.names
    scores = pellucid.evaluate(model, frame, wanted, metrics="completeness_gap", controls=False)
    assert scores[0].value < 1e-6


def test_schema_drift(loans):
    encoding = Encoding.fit(loans)
    model, frame = pellucid.wrap(Head(encoding.width), encoding=encoding), loans.test.features[:4]
    column = next(code.name for code in encoding.columns if code.type == "categorical")
    with pytest.raises(PellucidError, match=rf"the network needs column '{column}', which the rows lack"):
        pellucid.explain(model, frame.drop(columns=column))
    strange = frame.astype({column: object})
    strange.loc[strange.index[0], column] = "never seen"
    e = pellucid.explain(model, strange, "kernel_shapley")
    assert "unseen_category" in [caution.code for caution in e.warnings]
    with pytest.raises(PellucidError, match=r"the network takes numbers.*encoding="):
        pellucid.explain(Head(encoding.width), frame)


def test_a_fitted_transformer_is_an_encoding_and_a_column_it_drops_is_no_player():
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frame = pd.DataFrame({"age": [20.0, 30, 40, 50], "town": list("abca"), "id": [1, 2, 3, 4]})
    made = ColumnTransformer(
        [("n", StandardScaler(), ["age"]), ("c", OneHotEncoder(), ["town"]), ("d", "drop", ["id"])]
    )
    made.fit(frame)
    for encoding in (made, from_sklearn(made, frame.columns)):
        e = pellucid.explain(pellucid.wrap(Head(4), encoding=encoding), frame, "exact_shapley", background=frame)
        assert e.players.names[0] == ("age", "town") and e.players.types == ("numeric", "categorical")
        assert e.rows[0]["town"] == "a"
    with pytest.raises(PellucidError, match="does not know the names of its columns"):
        pellucid.wrap(Head(2), encoding=StandardScaler().fit(np.ones((3, 2))))


class Bright(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.convolution, self.head = nn.Conv2d(3, 2, 3, padding=1), nn.Linear(2, 2)

    def forward(self, x):
        return self.head(torch.relu(self.convolution(x)).mean((2, 3)))


def test_raw_images_go_through_an_encoding_and_tensors_do_not():
    encoding = ImageEncoding((8, 6, 3), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.25))
    model = pellucid.wrap(Bright(), encoding=encoding)
    raw = np.random.default_rng(0).integers(0, 256, size=(3, 8, 6, 3), dtype=np.uint8)
    encoded = torch.from_numpy(encoding.encode(raw))
    for method, fields in (("integrated_gradients", {"steps": 8}), ("kernel_shapley", {"players": Patches(4)})):
        e = pellucid.explain(model, raw, method, target=1, background=raw[0], **fields)
        assert e.rows.dtype == np.uint8 and e.rows.shape == (3, 8, 6, 3)
        if method == "integrated_gradients":
            assert e.values.shape == (3, 3, 8, 6)
        for rows, background in ((list(raw), raw[:1]), (encoded, encoded[0]), (encoded.numpy(), encoded[:1].numpy()),
                                 (torch.from_numpy(raw), encoded[:1])):  # fmt: skip
            again = pellucid.explain(model, rows, method, target=1, background=background, **fields)
            np.testing.assert_array_equal(again.values, e.values)
        scores = pellucid.evaluate(model, raw, e, metrics=["completeness_gap", "abpc"], controls=False)
        assert scores["completeness_gap"].value < 0.02 and scores["abpc"].status == "ok"
    with pytest.raises(PellucidError, match=r"expected raw images \[N, 8, 6, 3\], got \[3, 8, 6\].*"):
        pellucid.explain(model, raw[..., 0])
    with pytest.raises(PellucidError, match=r"add the leading axis: image\[None\]"):
        pellucid.explain(model, raw[0])


@pytest.mark.parametrize("rows", [["a text"], ["a text", "another"], ["a", "b", "c", "d"]])
def test_a_function_that_answers_for_one_text_is_refused(rows: list[str]) -> None:
    """Two numbers whatever it is given are no answer to two texts."""
    with pytest.raises(ModelError, match=r"returned 2 rows for 1.*one row of outputs for each"):
        pellucid.explain(lambda texts: np.array([0.3, 0.7]), rows, "occlusion")
