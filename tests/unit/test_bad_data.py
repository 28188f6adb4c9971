"""Bad data, line by line: what is refused (with its place and what to do), what is mended, and what is told beside.

Where another file holds a line already, docs/notes/faults.md says which; this one holds the others.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.profiling import profile
from pellucid.data.reading import is_unchanged
from pellucid.players import ColumnBlocks
from pellucid.records.errors import PellucidError
from pellucid.testing.problems import _network

torch.manual_seed(0)
NET, HALF = nn.Linear(3, 2), nn.Linear(3, 2).half()
X = torch.randn(6, 3)


def frame(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"age": [1.0, 2.0, 3.0], "income": [4.0, 5.0, 6.0], "debt": [7.0, 8.0, 9.0]} | columns)


def codes(found: Any) -> set[str]:
    return {caution.code for caution in found.warnings}


def read(text: str, folder: Path, **how: Any) -> Any:
    path = folder / "rows.csv"
    path.write_bytes(text.encode(how.pop("written", "utf-8")))
    return pellucid.read(path, **how)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a number beyond float32": (
        lambda _: pellucid.explain(NET, frame(income=[1.0, 1e300, 2.0])),
        r"row 1, column `income`: 1e\+300 is more than the network's float32 can hold\. scale the rows"),
    "a number beyond float16": (
        lambda _: pellucid.explain(HALF, torch.tensor([[1.0, 2.0, 7e4]])),
        r"row 0, input 'inputs', element 2: 7e\+04 is more than the network's float16"),
    "a label left among the columns": (
        lambda _: pellucid.explain(NET, frame(label=[0.0, 1.0, 0.0])),
        r"the network takes 3 numbers a row, and these rows have 4: 'age', 'income', 'debt', 'label'"),
    "a column that the model needs": (
        lambda _: pellucid.explain(Fitted(), frame().drop(columns="debt")),
        r"the model needs columns 'debt', which the rows lack"),
    "one row, and what matters over all": (
        lambda _: pellucid.explain(NET, X[:1], "permutation_importance", background=X), r"one row has no other"),
    "one row with a background of many rows, for sage": (
        lambda _: pellucid.explain(NET, X[:1], "sage", background=X), r"one row says nothing about all rows"),
    "a decimal comma": (
        lambda f: read("a,b\n" + '"1,5",2\n' * 9, f, label="b"), r"decimal=','"),
    "another delimiter": (lambda f: read("a;b\n1;2\n3;4\n", f), r"delimiter=';'"),
    "UTF-16": (lambda f: read("a,b\n1,2\n", f, written="utf-16"), r"rows\.csv: the text is UTF-16.*encoding='utf-16'"),
    "latin-1": (lambda f: read("a,b\n1,ä\n", f, written="latin-1"), r"rows\.csv:2: byte 0xe4.*encoding='latin-1'"),
    "ragged": (lambda f: read("a,b\n1,2\n1,2,3\n", f), r"rows\.csv:3: expected 2 fields, found 3"),
    "no rows": (lambda f: read("a,b\n", f), r"no rows"),
    "a doubled name": (lambda f: read("a,a\n1,2\n", f), r"'a'"),
    "an empty name": (lambda f: read("a, \n1,2\n", f), r"rows\.csv: column 2 has no name"),
    "more blocks than columns": (
        lambda _: pellucid.explain(NET, X, "occlusion", players=ColumnBlocks(9)),
        r"3 columns cannot be divided into 9 blocks"),
}  # fmt: skip


class Fitted:
    """An estimator that knows the columns it was fitted on."""

    feature_names_in_ = np.array(["debt", "age"])

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return rows["debt"].to_numpy() * 2.0 - rows["age"].to_numpy()


@pytest.mark.parametrize("line", REFUSED)
def test_refused_with_its_place(line: str, tmp_path: Path) -> None:
    ask, told = REFUSED[line]
    with pytest.raises(PellucidError, match=f"(?s){told}"):
        ask(tmp_path)


def test_harmless_differences_of_a_file_are_taken_as_they_are(tmp_path: Path) -> None:
    plain = read("a,b\n1,x\n2,y\n", tmp_path).frame
    for text, written in (("\ufeffa,b\n1,x\n2,y\n", "utf-8"), ("a,b\r\n1,x\r\n2,y\r\n", "utf-8")):
        pd.testing.assert_frame_equal(read(text, tmp_path, written=written).frame, plain)


def test_whole_numbers_that_floats_cannot_hold_are_told() -> None:
    found = pellucid.explain(NET, frame(income=[1, 2**53 + 1, 2**60]), "occlusion")
    (caution,) = [caution for caution in found.warnings if caution.code == "digits_lost"]
    assert "income" in caution.text() and caution.values["rows"] == 2


def test_columns_in_another_order_and_columns_too_many_go_by_name() -> None:
    rows = frame()
    one = pellucid.explain(Fitted(), rows[["debt", "age"]], "occlusion", background=rows)
    other = pellucid.explain(Fitted(), rows[["age", "income", "debt"]], "occlusion", background=rows)
    assert one.players.names == other.players.names == (("debt", "age"),)
    np.testing.assert_array_equal(one.values, other.values)


def test_a_constant_column_has_no_contribution_and_is_told() -> None:
    table = frame(age=[5.0, 5.0, 5.0]).assign(label=[0, 1, 1])
    data = pellucid.read(pd.concat([table] * 8), label="label")
    assert "constant_column" in codes(profile(data))
    for method in ("shapley", "kernel_shapley", "lime", "occlusion", "permutation_importance"):
        asked = {"target": 0} if method != "permutation_importance" else {}
        found = pellucid.explain(NET, frame(age=[5.0] * 3), method, background=frame(age=[5.0] * 3), **asked)
        values = found.attributions[0, 0] if method == "permutation_importance" else found.values[:, 0]
        assert np.abs(values).max() < 1e-12, method


def test_twins_and_leaks_are_told_by_their_names() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.normal(size=60), "b": rng.normal(size=60)})
    table["c"], table["copy"] = -2 * table["a"] + 1, (table["b"] > 0).map({True: "yes", False: "no"})
    table["label"] = table["copy"]
    found = profile(pellucid.read(table, label="label"))
    told = {caution.code: caution for caution in found.warnings}
    assert {"leakage", "twin_columns"} <= set(told)
    assert {told["twin_columns"].values[key] for key in ("first", "second")} == {"a", "c"}
    assert told["leakage"].values["column"] == "copy" and "known before the decision" in told["leakage"].text()


def test_one_row_that_is_its_own_background() -> None:
    found = pellucid.explain(NET, X[:1], background=X[:1])
    assert "background_of_one" in codes(found) and not np.any(found.values)


def test_very_many_columns_are_asked_about_in_blocks_and_in_bounded_memory() -> None:
    rows = np.random.default_rng(0).normal(size=(2, 100_000)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=100_000).astype(np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = pellucid.explain(lambda x: x @ weights, rows, "kernel_shapley", budget=500)
    (caution,) = [caution for caution in found.warnings if caution.code == "columns_grouped"]
    assert "100,000 columns" in caution.text() and "in 64 groups" in caution.text()
    assert found.players.kind == "block" and found.players.of(0)[0] == "x0 … x1562"
    due = (rows * weights).astype(np.float64)
    edges = np.arange(100_000) * 64 // 100_000
    expected = np.stack([np.bincount(edges, row) for row in due])
    np.testing.assert_allclose(found.values, expected, atol=1e-2)
    assert "x0" in found.text() or "…" in found.text()
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 < 1500
    fine = pellucid.explain(nn.Linear(100_000, 2), torch.from_numpy(rows[:1]), "input_x_gradient")
    assert fine.values.shape == (1, 100_000) and "columns_grouped" not in codes(fine)


def test_data_that_change_while_a_study_runs_are_told(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(60, 4)).round(3), columns=list("abcd"))
    table["label"] = np.where(table.a > 0, "yes", "no")
    path = tmp_path / "rows.csv"
    table.to_csv(path, index=False)
    data = pellucid.read(path, label="label")
    asked: dict[str, Any] = {"methods": ["occlusion"], "metrics": ["sparseness"], "rows": 3}
    quiet = pellucid.audit(_network(4, 6, 2), data, out=tmp_path / "a", **asked)
    assert "data_changed" not in {caution.code for caution in quiet.ranked_warnings} and is_unchanged(data.source)
    table.head(50).to_csv(path, index=False)
    changed = pellucid.audit(_network(4, 6, 2), data, out=tmp_path / "b", **asked)
    told = {caution.code: caution for caution in changed.ranked_warnings}
    assert told["data_changed"].severity == "red" and "rows.csv" in told["data_changed"].text()
    path.unlink()
    assert not is_unchanged(data.source)
