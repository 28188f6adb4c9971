"""Missing cells: values of their own for models that take them, medians where these are asked for, else refused."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.doors.wrap import wrap
from pellucid.players import ColumnGroups
from pellucid.records.errors import PellucidError
from pellucid.records.rules import Rules

ensemble = pytest.importorskip("sklearn.ensemble")
NAMES = ("age", "income", "debt", "years")
Answer = Callable[[np.ndarray], np.ndarray]


def cells(count: int = 300) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(count, 4))
    label = (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(int)
    rows[rng.random(rows.shape) < 0.25] = np.nan
    return rows, label


X, Y = cells()
FRAME = pd.DataFrame(X, columns=list(NAMES))
TREES = ensemble.HistGradientBoostingClassifier(max_iter=15, random_state=0).fit(FRAME, Y)
ROWS, BACKGROUND = FRAME[:5], FRAME[40:55]


def answer(rows: np.ndarray) -> np.ndarray:
    return TREES.predict_proba(pd.DataFrame(rows, columns=list(NAMES)))[:, 1]


def worth(asked: Answer, row: np.ndarray, background: np.ndarray) -> dict[tuple[int, ...], float]:
    """v(S) of every coalition: the mean answer to the background with the row's own cells of S."""
    found = {}
    for present in product((0, 1), repeat=len(row)):
        mixed = np.where(np.array(present, dtype=bool), row, background)
        found[present] = float(asked(mixed).mean())
    return found


def shapley(asked: Answer, row: np.ndarray, background: np.ndarray) -> np.ndarray:
    """From the definition, coalition by coalition."""
    v, n = worth(asked, row, background), len(row)
    values = np.zeros(n)
    for without in v:
        for player in (place for place, there in enumerate(without) if not there):
            joined = tuple(1 if place == player else there for place, there in enumerate(without))
            values[player] += (v[joined] - v[without]) / (n * comb(n - 1, sum(without)))
    return values


@pytest.mark.parametrize("given", ["table", "array", "function"])
def test_shapley_values_are_those_of_the_definition(given: str) -> None:
    model: Any = TREES
    rows, background = ROWS, BACKGROUND
    if given != "table":
        rows, background = rows.to_numpy(), background.to_numpy()
    if given == "function":
        model = wrap(lambda x: np.stack([1 - answer(x), answer(x)], axis=1), missing="model-handles")
    found = pellucid.explain(model, rows, "exact_shapley", background=background, target=1)
    due = [shapley(answer, row, BACKGROUND.to_numpy()) for row in ROWS.to_numpy()]
    np.testing.assert_allclose(found.values, due, atol=1e-12)
    assert found.warnings == () and np.isnan(found.background).any()


def test_occlusion_and_other_estimators_agree_with_it() -> None:
    occluded = pellucid.explain(TREES, ROWS, "occlusion", background=BACKGROUND, target=1).values
    for row, values in zip(ROWS.to_numpy(), occluded, strict=True):
        v = worth(answer, row, BACKGROUND.to_numpy())
        due = [v[1, 1, 1, 1] - v[tuple(int(place != player) for place in range(4))] for player in range(4)]
        np.testing.assert_allclose(values, due, atol=1e-12)
    exact = pellucid.explain(TREES, ROWS, "exact_shapley", background=BACKGROUND, target=1).values
    for method in ("kernel_shapley", "shapley"):
        found = pellucid.explain(TREES, ROWS, method, background=BACKGROUND, target=1)
        np.testing.assert_allclose(found.values, exact, atol=1e-6, err_msg=method)


def test_a_row_is_the_same_row_whatever_bits_its_missing_cells_have() -> None:
    rows = ROWS.to_numpy().copy()
    other = rows.copy()
    other.view(np.uint64)[np.isnan(other)] = 0xFFF8_0000_0000_1234
    assert np.isnan(other).sum() == np.isnan(rows).sum() and other.tobytes() != rows.tobytes()
    one, two = (pellucid.explain(TREES, given, "lime", background=BACKGROUND.to_numpy()) for given in (rows, other))
    assert one.ids == two.ids and (one.values == two.values).all()


def test_lime_moves_known_numbers_and_redraws_missing_ones() -> None:
    plane = np.array([2.0, -1.0, 0.5, 0.0])
    model = wrap(lambda x: np.where(np.isnan(x), [1.0, 3.0, 0.0, 0.0], x * plane).sum(1), missing="model-handles")
    rows = np.array([[0.5, np.nan, 1.0, -1.0]])
    background = np.array([[0.0, 1.0, np.nan, 0.0], [1.0, np.nan, 2.0, 0.5], [2.0, -2.0, 0.0, np.nan]] * 5)
    found = pellucid.explain(model, rows, "lime", background=background, samples=4000, target=0)
    known = np.array([2.0 * (0.5 - 1.0), 0.5 * (1.0 - 1.0), 0.0])
    np.testing.assert_allclose(found.values[0, [0, 2, 3]], known, atol=0.1)
    drawn = 3.0 - np.mean([-1.0, 3.0, 2.0])  # what a missing income is worth beside a drawn one
    assert abs(found.values[0, 1] - drawn) < 0.3


@pytest.mark.parametrize("players", [None, ColumnGroups({"both": ["x0", "x1"]})])
def test_lime_sees_drawn_numbers_as_they_were_and_as_others(players: ColumnGroups | None) -> None:
    """Of numbers that are drawn anew, since cells are missing or are drawn together, none is ever met again."""
    rng = np.random.default_rng(1)
    background, rows = rng.normal(size=(40, 3)), rng.normal(size=(6, 3))
    background[:, :2][rng.random((40, 2)) < 0.25] = np.nan
    rows[0, 0] = rows[1, 1] = np.nan
    plane = np.array([3.0, 0.0, 0.0])
    model = wrap(lambda x: np.where(np.isnan(x), [4.0, 0.0, 0.0], x * plane).sum(1), missing="model-handles")
    told = [
        pellucid.explain(model, rows, method, background=background, target=0, players=players, **how).values
        for method, how in (("lime", {"samples": 4000}), ("exact_shapley", {}))
    ]
    np.testing.assert_allclose(*told, atol=0.4)


def test_exchanging_missing_cells_for_missing_ones_changes_nothing() -> None:
    rows = np.full((30, 2), np.nan)
    rows[:, 1] = np.arange(30.0)
    model = wrap(lambda x: np.isnan(x[:, 0]) * 10.0 + x[:, 1], missing="model-handles")
    found = pellucid.explain(model, rows, "permutation_importance", background=rows)
    assert found.values.reshape(-1)[0] == 0 and found.values.reshape(-1)[1] > 0


def test_rules_say_that_a_cell_is_missing() -> None:
    model = wrap(lambda x: np.isnan(x[:, :1]) * 1.0 * [[-1, 1]] + [[1, 0]], missing="model-handles")
    found = pellucid.explain(model, np.array([[np.nan, 0.3]]), "anchors", background=X[:60, :2])
    assert isinstance(found, Rules) and "x0 is missing" in found.text()


def test_what_follows_gradients_refuses_and_auto_does_not_choose_it() -> None:
    class Filled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.nan_to_num().cumsum(1)[:, -2:]

    rows = torch.randn(2, 14)
    rows[0, 3] = float("nan")
    model = wrap(Filled(), missing="model-handles")
    for method in ("integrated_gradients", "saliency", "lrp", "layer_conductance"):
        with pytest.raises(
            PellucidError, match=r"follows gradients, and cells of these rows are missing.*shapley, lime"
        ):
            pellucid.explain(model, rows, method)
    found = pellucid.explain(model, rows, budget=300)
    assert found.method == "shapley" and abs(found.values[0, 3]) < 1e-6
    assert pellucid.explain(model, rows[1:], budget=300).method == "integrated_gradients"


def test_removals_that_make_rows_of_others_say_what_does_not() -> None:
    for removal in (pellucid.removals.ConditionalGaussian(BACKGROUND), pellucid.removals.Mode(BACKGROUND)):
        with pytest.raises(PellucidError, match=r"cells are missing in 8 background rows.*Marginal"):
            pellucid.explain(TREES, ROWS, "occlusion", removal=removal)


def test_infinity_stays_refused() -> None:
    with pytest.raises(PellucidError, match="column `debt`: 1 NaN or infinite in 5 rows"):
        pellucid.explain(TREES, ROWS.assign(debt=[np.inf, 1, 2, 3, np.nan]), "occlusion", background=BACKGROUND)


def test_models_that_say_nothing_refuse_with_column_count_rows_and_both_ways() -> None:
    told = r"column `income`: 2 NaN in 5 rows \(first rows 0, 4\), and some in 1 other column.*"
    rows = ROWS.assign(age=0.0, income=[np.nan, 1, 2, 3, np.nan], debt=[np.nan] + [0.0] * 4, years=[np.nan] * 5)
    ways = r"missing='impute-median' or missing='model-handles'.*--missing"
    with pytest.raises(PellucidError, match=told + ways):
        pellucid.explain(lambda x: np.zeros(len(x)), rows.astype({"age": float}), "occlusion")
    with pytest.raises(PellucidError, match=r"column `age`: the background holds 4 NaN in 15 rows.*" + ways):
        pellucid.explain(lambda x: np.zeros(len(x)), ROWS.fillna(0.0), "occlusion", background=BACKGROUND)
    pictures = torch.rand(2, 1, 4, 4)
    holed = pictures.index_fill(3, torch.tensor([2]), float("nan"))
    with pytest.raises(PellucidError, match=r"input 'inputs', element 2: the background holds 2 NaN in 2 rows"):
        pellucid.explain(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), pictures, "occlusion", background=holed)
    with pytest.raises(PellucidError, match=r"no way with missing cells named 'median'. did you mean 'impute-median'"):
        wrap(len, missing="median")
    with pytest.raises(PellucidError, match="has missing='model-handles' already"):
        wrap(wrap(TREES), missing="impute-median")


def test_estimators_say_it_themselves() -> None:
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def said(estimator: Any) -> str:
        return wrap(estimator.fit(np.nan_to_num(X[:40]), Y[:40])).missing

    assert said(ensemble.HistGradientBoostingClassifier(max_iter=2)) == "model-handles"
    assert said(make_pipeline(StandardScaler(), ensemble.HistGradientBoostingClassifier(max_iter=2))) == "model-handles"
    assert said(make_pipeline(SimpleImputer(), SVC())) == "model-handles"
    assert said(SVC()) == "" and said(make_pipeline(StandardScaler(), SVC())) == ""


# Medians ------------------------------------------------------------------------------------


def medians(rows: Any) -> np.ndarray:
    return np.nanmedian(np.asarray(rows, dtype=np.float64), axis=0)


def test_medians_of_the_background_stand_for_missing_cells() -> None:
    model = wrap(TREES, missing="impute-median")
    found = pellucid.explain(model, ROWS, "exact_shapley", background=BACKGROUND, target=1)
    middle = medians(BACKGROUND)
    rows, background = (np.where(np.isnan(part), middle, part) for part in (ROWS.to_numpy(), BACKGROUND.to_numpy()))
    due = [shapley(answer, row, background) for row in rows]
    np.testing.assert_allclose(found.values, due, atol=1e-12)
    (told,) = found.warnings
    gone = np.isnan(ROWS.to_numpy())
    assert told.code == "medians_in" and told.severity == "yellow"
    assert (told.values["cells"], told.values["rows"]) == (int(gone.sum()), int(gone.any(1).sum()))
    listed = [f"{name} {count}" for name, count in zip(NAMES, gone.sum(0), strict=True) if count]
    assert told.values["columns"] == ", ".join(listed) and ", ".join(listed) in told.text("zh")


def test_medians_of_the_rows_themselves_are_told_to_be_so() -> None:
    model = wrap(lambda x: np.asarray(x).sum(1), missing="impute-median")
    found = pellucid.explain(model, X[:6], "occlusion")
    np.testing.assert_allclose(found.values, np.where(np.isnan(X[:6]), medians(X[:6]), X[:6]), atol=1e-9)
    assert {caution.code for caution in found.warnings} == {"own_medians_in", "zero_baseline"}
    with pytest.raises(PellucidError, match=r"column `x1`: every cell is missing, so there is no median.*background="):
        pellucid.explain(model, np.array([[1.0, np.nan]]), "occlusion")
    with pytest.raises(PellucidError, match="column `x1`: every cell is missing, so there is no median"):
        pellucid.explain(model, np.ones((1, 2)), "occlusion", background=np.array([[1.0, np.nan], [2.0, np.nan]]))


def test_columns_of_an_encoding_have_medians_too() -> None:
    train = pd.DataFrame({"age": np.arange(40.0) ** 2, "sort": list("ab") * 20})
    encoding = Encoding.fit(pellucid.read(train))
    torch.manual_seed(0)
    network, rows = nn.Linear(encoding.width, 2), train.assign(age=[np.nan, *train["age"][1:]])[:3]
    with pytest.raises(PellucidError, match=r"column `age`: 1 NaN in 3 rows.*missing='impute-median'"):
        pellucid.explain(wrap(network, encoding=encoding), rows, "exact_shapley", background=train)
    model = wrap(network, encoding=encoding, missing="impute-median")
    found = pellucid.explain(model, rows, "exact_shapley", background=train)
    filled = rows.assign(age=[float(np.median(train["age"])), *rows["age"][1:]])
    due = pellucid.explain(wrap(network, encoding=encoding), filled, "exact_shapley", background=train)
    np.testing.assert_allclose(found.values, due.values, atol=1e-6)
    with pytest.raises(PellucidError, match="column `sort`: 1 NaN in 3 rows"):
        pellucid.explain(model, rows.assign(sort=["a", None, "b"]), "exact_shapley", background=train)


def test_an_audit_fills_everything_with_the_medians_of_training_rows(tmp_path: Path) -> None:
    data = pellucid.read(FRAME[:120].assign(label=Y[:120]), label="label")
    middle = medians(data.train.features)
    seen: list[np.ndarray] = []

    def asked(rows: Any) -> np.ndarray:
        seen.append(np.asarray(rows, dtype=np.float64))
        return TREES.predict_proba(rows)

    model = wrap(asked, missing="impute-median", outputs=("0", "1"))
    study = pellucid.audit(model, data, out=tmp_path / "run", methods=("occlusion",), metrics=(), rows=3)
    test = data.test.features.to_numpy()
    filled = np.where(np.isnan(test), middle, test)
    every = np.concatenate(seen)
    assert not np.isnan(every).any() and all((every == row).all(1).any() for row in filled)
    assert "medians_in" in {caution.code for caution in study.explanations["occlusion"].warnings}
