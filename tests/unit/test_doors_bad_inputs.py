"""Bad rows, backgrounds, targets, players and settings: each is refused in a sentence that says what to do."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.players import ColumnGroups, Columns, CorrelatedColumns, Patches, Players
from pellucid.records.errors import PellucidError
from pellucid.removals import Blur, Constant, Marginal, Mode, Noise, Replace
from pellucid.targets import Loss

torch.manual_seed(0)
NET = nn.Linear(3, 2)
X = torch.randn(4, 3)
IMAGES = torch.rand(2, 3, 8, 8)


class ImageNet(nn.Module):
    def forward(self, x):
        return x.float().mean((2, 3))


def count(texts):
    return np.array([float(len(text)) for text in texts])


def with_nan(rows, *places):
    rows = rows.clone()
    for place in places:
        rows[place] = torch.nan
    return rows


def frame(**columns):
    return pd.DataFrame({"age": [1.0, 2.0, 3.0], "income": [4.0, 5.0, 6.0], "debt": [7.0, 8.0, 9.0]} | columns)


NAMED = frame(age=[1.0, np.nan, np.inf])


class Late:
    """A choice that is refused when it is made."""

    def __init__(self, kind, *fields):
        self.kind, self.fields = kind, fields


# ruff: noqa: E501
REFUSED = {
    "NaN": (lambda: (NET, with_nan(X, (1, 2), (3, 2))), {}, r"column `x2`: 2 NaN in 4 rows .first rows 1, 3.*missing='impute-median' or missing='model-handles'"),
    "infinity": (lambda: (NET, X / torch.zeros(1)), {}, r"NaN or infinite in 4 rows"),
    "NaN in a frame": (lambda: (NET, NAMED), {}, r"column `age`: 2 NaN or infinite in 3 rows \(first rows 1, 2\)"),
    "NaN in an image": (lambda: (ImageNet(), with_nan(IMAGES, (1, 0, 2, 3))), {}, r"input 'inputs', element 19: 1 NaN"),
    "no rows": (lambda: (NET, X[:0]), {}, r"there are no rows to explain"),
    "no elements": (lambda: (NET, torch.zeros(3, 0)), {}, r"the rows have no elements: inputs has the shape \(3, 0\)"),
    "no axis": (lambda: (NET, torch.tensor(1.0)), {}, r"an input tensor has no rows"),
    "one row without its axis": (lambda: (NET, X[0]), {}, r"failed on a batch of 1 rows \(inputs \(1,\)\).*row\[None\]"),
    "one row and a background": (lambda: (NET, X[0]), {"background": X}, r"the inputs have 1\. a single row needs a leading dimension: row\[None\]"),
    "one picture and a background": (lambda: (ImageNet(), IMAGES[0]), {"background": IMAGES}, r"row\[None\]"),
    "one row for a sum": (lambda: (lambda x: x.sum(-1), X[0]), {}, r"result has shape \(\).*row\[None\]"),
    "too many columns": (lambda: (NET, torch.randn(2, 5)), {}, r"Linear: the network takes 3 numbers a row, and these rows have 5\."),
    "complex": (lambda: (NET, X.to(torch.complex64)), {}, r"inputs holds complex numbers"),
    "complex array": (lambda: (NET, X.numpy() * 1j), {}, r"inputs holds complex numbers"),
    "meta rows": (lambda: (NET, X.to("meta")), {}, r"inputs is on the meta device"),
    "sparse rows": (lambda: (NET, X.to_sparse()), {}, r"sparse tensor.*to_dense"),
    "texts": (lambda: (NET, ["a text", "another"]), {}, r"how a text becomes its tokens is not known.*encoding=tokenizer"),
    "an empty text": (lambda: (count, [["a"], []]), {}, r"row 1: a text without words"),
    "ragged lists": (lambda: (NET, [[1.0, 2.0, 3.0], [1.0]]), {}, r"the rows have different lengths"),
    "tensors of two shapes": (lambda: (NET, [X[0], X[0, :2]]), {}, r"the rows have different shapes"),
    "objects": (lambda: (NET, np.array([["a", "b", "c"]])), {}, r"inputs holds .* values, the network takes numbers.*encoding="),
    "a text column": (lambda: (NET, frame(age=["1", "2", "x"])), {}, r"column 'age' holds .* values.*encoding="),
    "two columns of one name": (
        lambda: (NET, frame().set_axis(["a", "b", "a"], axis=1)), {}, r"two columns are named 'a'"),
    "a series": (lambda: (NET, frame()["age"]), {}, r"a Series is not rows.*frame.iloc\[\[0\]\]"),
    "a number": (lambda: (NET, 3.0), {}, r"a float is not rows"),
    "a file handle": (lambda: (NET, object()), {}, r"a object is not rows"),
    "masked cells": (lambda: (NET, np.ma.masked_less(X.numpy(), 0)), {}, r"masked cells"),
    "unequal inputs": (lambda: (lambda a, b: a[:, 0], {"a": X, "b": X[:2]}), {}, r"disagree on the number of rows \(a: 4, b: 2\)"),
    "a slip in a name": (lambda: (TwoInputs(), {"left": X, "rigth": X}), {}, r"takes no input named 'rigth'.*left, right"),
    "too many inputs": (lambda: (TwoInputs(), (X, X, X)), {}, r"3 inputs were given, the model takes 2"),
    "target too large": (lambda: (NET, X), {"target": 10}, r"target 10 is out of range.*2 outputs \(0–1\): output 0, output 1"),
    "target too small": (lambda: (NET, X), {"target": -3}, r"target -3 is out of range"),
    "target name": (lambda: (NET, X), {"target": "good"}, r"there is no output named 'good'.*output 0, output 1"),
    "target list": (lambda: (NET, X), {"target": [0, 1]}, r"2 targets for 4 rows"),
    "target fraction": (lambda: (NET, X), {"target": 0.5}, r"0.5 is not a target"),
    "target truth value": (lambda: (NET, X), {"target": True}, r"True is not a target"),
    "target of floats": (lambda: (NET, X), {"target": np.zeros(4)}, r"0.0 is neither the index nor the name"),
    "contrast with itself": (lambda: (NET, X), {"target": (1, -1)}, r"a contrast of 'output 1' with itself"),
    "top of too many": (lambda: (NET, X), {"target": "top:3"}, r"top:3 of a model with 2 outputs. give top:1 to top:2"),
    "loss without a name": (lambda: (NET, X), {"target": "loss:foo"}, r"there is no loss 'foo'. choose one of"),
    "labels of other rows": (lambda: (NET, X), {"target": Loss([0, 1, 0])}, r"3 labels for 4 rows. give one for each row"),
    "target function": (lambda: (NET, X), {"target": lambda out: out}, r"the target function returned \(4, 2\) for 4 rows"),
    "NaN in the background": (lambda: (NET, X), {"background": with_nan(X, (2, 0))}, r"column `x0`: the background holds 1 NaN in 4 rows \(first rows 2\)"),
    "NaN as the constant": (lambda: (NET, X), {"removal": Constant(float("nan"))}, r"Constant\(nan\) cannot stand"),
    "NaN in the constant row": (lambda: (NET, X), {"removal": Constant(with_nan(X[:1], (0, 1)))}, r"the background holds 1 NaN in 1 rows"),
    "NaN in the mode": (lambda: (NET, X), {"removal": Mode(with_nan(X, (0, 1)))}, r"column `x1`: the background holds 1 NaN"),
    "empty background": (lambda: (NET, X), {"background": X[:0]}, r"the background has no rows"),
    "other background": (lambda: (NET, X), {"background": torch.randn(5, 4)}, r"background has 4 elements a row, the inputs have 3"),
    "constant of two rows": (lambda: (NET, X), {"removal": Constant(X[:2])}, r"Constant stands for one row, 2 were given"),
    "a fraction among whole numbers": (
        lambda: (count, np.ones((2, 3), dtype=int)), {"removal": Constant(0.5)}, r"these rows hold whole numbers"),
    "two meanings": (lambda: (NET, X), {"background": X, "removal": Constant(0.0)}, r"background= and removal= both"),
    "removal of no name": (lambda: (NET, X), {"removal": 3}, r"3 is not a removal\. give a word"),
    "blur of a table": (lambda: (NET, X), {"removal": Blur()}, r"'Blur' is for images, and these rows are a table"),
    "no blur": (lambda: (ImageNet(), IMAGES), {"removal": Blur(0.0)}, r"Blur\(0.0\) blurs nothing"),
    "no noise": (lambda: (NET, X), {"removal": Noise(1.0, 0)}, r"makes no rows"),
    "words for tensors": (lambda: (NET, X), {"removal": Replace()}, r"'Replace' is for texts, and these rows are a table"),
    "background of words": (lambda: (count, [["a"]]), {"background": [["b"]]}, r"texts have no background rows"),
    "mode without rows": (lambda: (NET, X), {"removal": Mode()}, r"Mode needs background rows"),
    "players by name": (lambda: (NET, X), {"players": "columns"}, r"'columns' does not say what the players are"),
    "patches of a table": (lambda: (NET, X), {"players": Patches(2)}, r"these rows are not images"),
    "patches too large": (lambda: (ImageNet(), IMAGES), {"players": Patches(9)}, r"patches of 9 pixels do not fit images of 8 × 8"),
    "channels last": (lambda: (ImageNet(), IMAGES.permute(0, 2, 3, 1)), {"players": Patches(4)},
        r"look like \[rows, height, width, channels\] \(8 × 8 × 3\).*transpose"),
    "players of other rows": (lambda: (NET, X), {"players": Players.shared(np.arange(4), "abcd")}, r"the players label 4 elements, a row has 3"),
    "too many names": (lambda: (NET, X), {"players": Columns(("a", "b"))}, r"2 column names were given for rows of 3"),
    "groups in a list": (lambda: (NET, X), {"players": Late(ColumnGroups, [["x0"]])}, r"\[\['x0'\]\] does not say.*ColumnGroups\(\{"),
    "no groups": (lambda: (NET, X), {"players": Late(ColumnGroups, None)}, r"None does not say which columns belong"),
    "a group of one name": (lambda: (NET, X), {"players": Late(ColumnGroups, {"a": "x0"})}, r"'x0' is one name, a group is a list"),
    "a group of a number": (lambda: (NET, X), {"players": Late(ColumnGroups, {"a": 3})}, r"does not say which columns"),
    "a single mark": (lambda: (NET, X), {"players": Late(CorrelatedColumns, X, 0.5)}, r"at marks between 0 and 1.*marks=\(0.25"),
    "marks beyond 1": (lambda: (NET, X), {"players": Late(CorrelatedColumns, X, (2,))}, r"at marks between 0 and 1"),
    "no rows to correlate": (lambda: (NET, X), {"players": Late(CorrelatedColumns)}, r"found in rows"),
    "texts to correlate": (lambda: (NET, X), {"players": Late(CorrelatedColumns, "abc")}, r"rows of shape \(\) do not tell"),
    "negative seed": (lambda: (NET, X), {"seed": -1}, r"the seed must be a whole number from 0 on"),
    "no budget": (lambda: (NET, X), {"budget": 0}, r"a budget of 0 evaluations buys nothing"),
    "too small a budget": (lambda: (NET, X), {"method": "exact_shapley", "budget": 5}, r"at least 8 evaluations here, the budget allows 5"),
    "unknown method": (lambda: (NET, X), {"method": "kernel_shaply"}, r"did you mean 'kernel_shapley'"),
    "unknown setting": (lambda: (NET, X), {"method": "lime", "steps": 5}, r"lime has no setting 'steps'; it has samples|lime has no setting 'steps'"),
    "setting out of range": (lambda: (NET, X), {"method": "integrated_gradients", "steps": 0}, r"steps=0\) is out of range"),
    "setting for no method": (lambda: (NET, X), {"steps": 5}, r"steps given, and no method"),
    "setting beside an object": (lambda: (NET, X), {"method": pellucid.methods.Lime(), "samples": 50}, r"samples given beside a finished Lime.*Lime\(samples=50\)"),
    "gradients of whole numbers": (lambda: (nn.Embedding(9, 4), torch.randint(9, (2, 3))), {"method": "saliency"}, r"embedding|shape|whole|floating"),
    "gradients of a function": (lambda: (count, [["a", "b"]]), {"method": "integrated_gradients"}, r"needs a model that is differentiable, count is not"),
}  # fmt: skip


class TwoInputs(nn.Module):
    def forward(self, left, right):
        return left @ torch.ones(3) + right @ torch.ones(3)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_a_sentence(name):
    make, fields, pattern = REFUSED[name]
    model, rows = make()
    with pytest.raises(PellucidError, match=f"(?s){pattern}") as caught:
        late = {key: one.kind(*one.fields) for key, one in fields.items() if isinstance(one, Late)}
        pellucid.explain(model, rows, **(fields | late))
    told = str(caught.value)
    assert told.endswith((".", "?")) and len(told.splitlines()) <= 10 and len(told) < 900


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(20, 4), nn.Linear(4, 2)

    def forward(self, ids):
        return self.head(self.table(ids).mean(1))


class Sums(nn.Module):
    def forward(self, ids):
        return ids.float().sum(1, keepdim=True)


def test_whole_numbers_can_be_removed_and_have_gradients_where_they_are_looked_up():
    ids = torch.randint(1, 20, (3, 5))
    with pytest.raises(PellucidError, match=r"no gradients for these rows.*not floating-point numbers.*kernel_shapley"):
        pellucid.explain(Sums(), ids, "integrated_gradients")
    for method in ("auto", "integrated_gradients"):
        e = pellucid.explain(Tokens(), ids, method, removal=Constant(0))
        assert e.method in ("shapley", "integrated_gradients") and e.gap.max() < 1e-6


ODD_ROWS = {
    "non-contiguous": lambda: X.t().contiguous().t(),
    "expanded": lambda: X[:1].expand(4, 3),
    "float64": lambda: X.double(),
    "float16": lambda: X.half(),
    "bfloat16": lambda: X.bfloat16(),
    "array": lambda: X.numpy(),
    "other byte order": lambda: X.numpy().astype(">f4"),
    "long double": lambda: X.numpy().astype(np.longdouble),
    "read-only": lambda: np.broadcast_to(X.numpy()[0], (4, 3)),
    "Fortran order": lambda: np.asfortranarray(X.numpy()),
    "list of lists": lambda: X.tolist(),
    "list of tensors": lambda: list(X),
    "parameter": lambda: nn.Parameter(X),
    "frame": lambda: pd.DataFrame(X.numpy(), columns=["a", "b", "c"]),
    "frame of nullable numbers": lambda: pd.DataFrame(X.numpy(), columns=["a", "b", "c"]).convert_dtypes(),
    "uint16": lambda: np.array([[1, 2, 3]] * 4, dtype=np.uint16),
}


@pytest.mark.parametrize("name", ODD_ROWS)
def test_rows_of_every_make_are_read_alike(name):
    rows = ODD_ROWS[name]()
    plain = torch.tensor(np.asarray(rows.detach().float() if isinstance(rows, torch.Tensor) else rows, np.float32))
    net = nn.Linear(3, 2) if name != "uint16" else Cast()
    for method in ("exact_shapley", *(("integrated_gradients",) if name != "uint16" else ())):
        wanted = pellucid.explain(net, plain, method, removal=Constant(2), target=1).values
        found = pellucid.explain(net, rows, method, removal=Constant(2), target=1).values
        np.testing.assert_allclose(found, wanted, atol=1e-5, rtol=1e-4)


class Cast(nn.Module):
    def forward(self, x):
        return x.double() @ torch.tensor([[1.0, -1.0], [2.0, 0.5], [0.0, 1.0]], dtype=torch.float64)


def test_channels_last_images_in_memory():
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2))
    turned = IMAGES.to(memory_format=torch.channels_last)
    one, other = (pellucid.explain(net, x, "integrated_gradients", steps=8, target=0).values for x in (IMAGES, turned))
    assert one.shape == (2, 3, 8, 8)
    np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_networks_are_explained_and_graded(dtype):
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    x = torch.randn(3, 4)
    for method in ("saliency", "integrated_gradients", "exact_shapley", "lime"):
        settings = {"samples": 64} if method == "lime" else {}
        e = pellucid.explain(net, x, method, background=torch.randn(5, 4), target=0, **settings)
        assert np.isfinite(e.values).all()
        assert all(score.status in ("ok", "skipped") for score in pellucid.evaluate(net, x, e))


def test_a_constant_column_gets_exactly_nothing():
    x, background = X.clone(), torch.randn(6, 3)
    x[:, 1] = background[:, 1] = 0.75
    for method in ("exact_shapley", "kernel_shapley", "integrated_gradients", "occlusion", "lime"):
        values = pellucid.explain(NET, x, method, background=background, target=0).values
        assert np.abs(values[:, 1]).max() < 1e-6, method


def test_a_background_that_is_the_row_itself_is_told():
    e = pellucid.explain(NET, X[:1], "exact_shapley", background=X[:1])
    assert {"background_of_one", "flat_output"} <= {caution.code for caution in e.warnings}
    np.testing.assert_allclose(e.values, 0, atol=1e-15)


def test_a_large_background_is_reduced_by_the_seed_and_told():
    background = torch.randn(250, 3)
    a, b, c = (pellucid.explain(NET, X, background=background, seed=seed) for seed in (0, 0, 1))
    assert a.background.shape == (100, 3) and "background_reduced" in [caution.code for caution in a.warnings]
    np.testing.assert_array_equal(a.background, b.background)
    assert not np.array_equal(a.background, c.background)


def test_background_is_short_for_marginal():
    for rows in (X[:1], X):
        one = pellucid.explain(NET, X, background=rows)
        other = pellucid.explain(NET, X, removal=Marginal(rows))
        assert one.method == other.method
        np.testing.assert_array_equal(one.values, other.values)


def test_constants_of_every_make():
    wanted = pellucid.explain(NET, X, "exact_shapley", removal=Constant(torch.full((1, 3), 0.5))).values
    for value in (0.5, np.float32(0.5), np.array(0.5), torch.tensor(0.5), [0.5, 0.5, 0.5], np.full(3, 0.5)):
        found = pellucid.explain(NET, X, "exact_shapley", removal=Constant(value)).values
        np.testing.assert_allclose(found, wanted, atol=1e-7)


TARGETS = {
    "index": 1, "negative": -1, "numpy": np.int64(1), "tensor": torch.tensor(1), "name": "good", "list": [1, 1, 1, 1],
    "names": ["good"] * 4, "tensor list": torch.tensor([[1, 9]] * 4)[:, 0], "array": np.array([1, -1, 1, -1]),
    "function": lambda out: out[:, 1],
}  # fmt: skip


@pytest.mark.parametrize("name", TARGETS)
def test_targets_of_every_make(name):
    wanted = NET.weight[1].detach().numpy() * X.numpy()
    model = pellucid.wrap(NET, outputs=("bad", "good"))
    e = pellucid.explain(model, X, "exact_shapley", target=TARGETS[name], removal=Constant(0.0))
    np.testing.assert_allclose(e.values, wanted, atol=1e-5)


def test_byte_images_of_a_black_box_are_blurred_as_bytes():
    seen = []

    def bright(images):
        seen.append((images.dtype, images.min(), images.max()))
        return images.astype(np.float64).mean((1, 2, 3))

    images = np.random.default_rng(0).integers(100, 200, size=(2, 1, 8, 8), dtype=np.uint8)
    for removal in (Blur(1.0), Noise(0.5, 2)):
        e = pellucid.explain(bright, images, "occlusion", removal=removal, players=Patches(4))
        assert np.isfinite(e.values).all() and np.abs(e.values).max() < 60
    assert {dtype for dtype, _, _ in seen} == {np.dtype(np.uint8)} and min(low for _, low, _ in seen[:8]) > 0


PLAYERS = {
    "types": (lambda: Players.shared([0, 1], "ab", types=("numeric",)), r"1 types were given for 2 players"),
    "layout": (lambda: Players.shared([0, 1], "ab", layout=(3, 1)), r"a layout of \(3, 1\) does not hold 2 elements"),
    "nobody": (lambda: Players.shared([-1, -1], ()), r"there are no players"),
    "a gap": (lambda: Players.shared([0, 2], "abc"), r"players without elements \[1\]"),
}


@pytest.mark.parametrize("name", PLAYERS)
def test_players_that_do_not_fit(name):
    make, pattern = PLAYERS[name]
    with pytest.raises(PellucidError, match=pattern):
        make()


def test_a_background_in_another_order_of_columns_is_refused():
    frame = pd.DataFrame(np.arange(12.0).reshape(4, 3), columns=["a", "b", "c"])
    fine = pellucid.explain(NET, frame, "shapley", background=frame)
    assert fine.players.of(0) == ("a", "b", "c")
    with pytest.raises(PellucidError, match=r"'c' stands where they have 'a'"):
        pellucid.explain(NET, frame, "shapley", background=frame[["c", "b", "a"]])
    with pytest.raises(PellucidError, match=r"'B' stands where they have 'b'"):
        pellucid.explain(NET, frame.rename(columns={"b": "B"}).rename(columns={"B": "b"}), "shapley",
                         background=frame.rename(columns={"b": "B"}))  # fmt: skip


def test_settings_and_budgets_that_are_no_numbers_are_told():
    with pytest.raises(PellucidError, match="did you mean 'tolerance'"):
        pellucid.explain(NET, X, "shapley", tolerence=0.1)
    with pytest.raises(PellucidError, match="is a number, not 'many'"):
        pellucid.explain(NET, X, "shapley", budget="many")
    with pytest.raises(PellucidError, match="row 9 of a record"):
        pellucid.explain(NET, X, "shapley").top(2, row=9)


def told(method, **settings):
    with pytest.raises(PellucidError) as error:
        pellucid.explain(lambda x: x.sum(1), X.numpy(), method, background=X.numpy(), **settings)
    return str(error.value)


def test_settings_that_cannot_be_meant():
    assert "is none of 'effects', 'weights'" in told("lime", report="foo")
    with pytest.raises(PellucidError, match="is none of"):
        pellucid.methods.OddGpShapley(fit="foo")
    assert "is not a number" in told("anchors", boundary=float("nan"))
    assert "is not a whole number" in told("shapley", settled=1.5)
    assert "too few for 3 players" in told("permutation_shapley", samples=3)
    assert "is a whole number, not 95.5" in told("shapley", budget=95.5)
    assert "near enough" in told("lime", kernel_width=0.02, discretise=True)


def test_numbers_of_numpy_are_numbers():
    assert pellucid.methods.KernelShapley(samples=np.int64(30)).settings() == {"samples": 30}
    assert type(pellucid.methods.Shapley(tolerance=np.float32(0.5)).tolerance) is float
