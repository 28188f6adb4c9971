"""The answer among the questions: columns named like the label are told, and a model that takes it is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from torch import nn

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.data.namesakes import namesakes
from pellucid.data.profiling import profile
from pellucid.records.errors import PellucidError

ALIKE = [
    ("Approved ", "approved"), ("approved?", "approved"), ("APPROVED", "approved"), ("approved.1", "approved"),
    ("approved", "approved.1"), ("approved#2", "approved"), ("loan_status", "Loan Status"),
    ("loanStatus", "loan-status"), ("ｌａｂｅｌ", "label"), ("Größe", "GRÖSSE"), ("ответ ", "Ответ"),
]  # fmt: skip
APART = [
    ("approved_by", "approved"), ("target_approved", "approved"), ("grade.2", "grade.1"), ("grade 2", "grade"),
    ("G1", "G3"), ("age", "approved"), ("+", "-"), ("1", "10"), ("में", "मा"), ("class_name", "class"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "label"), ALIKE)
def test_names_that_are_the_labels_but_for_signs(name: str, label: str) -> None:
    (found,) = namesakes(["other", name], label)
    assert found.code == "label_namesake" and found.severity == "yellow"
    assert name in found.text() and label in found.text() and name in found.text("zh")


@pytest.mark.parametrize(("name", "label"), APART)
def test_names_that_are_others(name: str, label: str) -> None:
    assert namesakes(["other", name], label) == () and namesakes([name], None) == ()


def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"age": rng.normal(size=80), "Approved ": rng.integers(0, 2, 80)})
    return rows.assign(approved=(rows["age"] + rng.normal(size=80) > 0).astype(int))


def network(encoding: Encoding) -> Any:
    return pellucid.wrap(nn.Linear(encoding.width, 2), encoding=encoding)


def told(found: Any) -> list[str]:
    return [caution.values["column"] for caution in found if caution.code == "label_namesake"]


def test_the_profile_and_explanations_of_a_table_tell_it() -> None:
    data = pellucid.read(table(), label="approved")
    assert told(profile(data).warnings) == ["Approved "]
    model = network(Encoding.fit(data))
    assert told(pellucid.explain(model, data.test[:2], "exact_shapley").warnings) == ["Approved "]


def test_a_column_that_the_model_is_not_given_is_no_matter() -> None:
    rows = table()
    data = pellucid.read(rows, label="approved")
    model = network(Encoding.fit(pellucid.read(rows.drop(columns="Approved "), label="approved")))
    assert told(pellucid.explain(model, data.test[:2], "exact_shapley").warnings) == []


def test_channels_of_series_are_told() -> None:
    rng, size = np.random.default_rng(0), 24
    series = pd.DataFrame({
        "when": np.tile(np.arange(4), size // 4), "who": np.repeat(np.arange(size // 4), 4),
        "pulse": rng.normal(size=size), "Ill": rng.normal(size=size), "ill": np.repeat([0, 1, 0, 1, 0, 1], 4),
    })  # fmt: skip
    data = pellucid.read(series, label="ill", time="when", id="who", split=(0.5, 0.0, 0.5))
    assert data.columns == ("pulse", "Ill") and told(profile(data).warnings) == ["Ill"]


def test_a_model_that_takes_the_label_itself_is_refused(tmp_path: Path) -> None:
    rows = table().drop(columns="Approved ")
    model, data = network(Encoding.fit(pellucid.read(rows))), pellucid.read(rows, label="approved")
    for ask in (
        lambda: pellucid.explain(model, data.test[:2]),
        lambda: pellucid.explain(model, rows[:2], background=data.train),
        lambda: pellucid.preflight(model, data),
        lambda: pellucid.audit(model, data, out=tmp_path / "run"),
    ):
        with pytest.raises(PellucidError, match=r"takes column 'approved', and that is the label.*train it without"):
            ask()
    assert pellucid.explain(model, pellucid.read(rows)[:2], "exact_shapley").values.shape == (2, 2)


def test_a_fitted_estimator_that_takes_it_is_refused() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    rows = table()
    forest = ensemble.RandomForestClassifier(3).fit(rows[["age", "approved"]], rows["approved"])
    data = pellucid.read(rows, label="approved")
    with pytest.raises(PellucidError, match="takes column 'approved', and that is the label"):
        pellucid.explain(forest, data.test[:2])
