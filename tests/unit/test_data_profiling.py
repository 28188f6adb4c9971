"""Profiles: counts that add up, associations against independent formulas, and cautions that fire when they should."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from pellucid.data.association import correlation_ratio, cramers_v, pearson, separation
from pellucid.data.books import breast_cancer, digits
from pellucid.data.profiling import profile
from pellucid.data.reading import read
from pellucid.records.files import dumps
from pellucid.records.profile import Profile


def table(n=400, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, n)
    number = rng.normal(size=n)
    return pd.DataFrame(
        {
            "number": number,
            "twin": number * -3 + rng.normal(size=n) * 0.01,
            "noise": rng.normal(size=n),
            "group": rng.choice(["a", "b", "c"], n),
            "name": [f"person {i}" for i in range(n)],
            "answer": np.where(label == 1, "granted", "refused"),
            "score": label * 2 + rng.normal(size=n) * 0.1,
            "same": 5,
            "flag": rng.integers(0, 2, n),
            "approved": np.where(label == 1, "yes", "no"),
        }
    )


def test_counts_add_up():
    frame = table()
    frame.loc[:19, "noise"] = np.nan
    data = read(frame, label="approved")
    found = profile(data)
    assert found.rows == 400 and sum(found.splits.values()) == 400 and sum(found.labels.values()) == 400
    columns = {column.name: column for column in found.columns}
    for name, column in columns.items():
        assert sum(column.counts) + column.missing == 400, name
        assert tuple(np.sum(list(column.by_label.values()), axis=0)) == column.counts
    noise = columns["noise"]
    assert noise.missing == 20 and len(noise.edges) == len(noise.counts) + 1
    assert noise.mean == pytest.approx(frame["noise"].mean()) and noise.std == pytest.approx(frame["noise"].std(ddof=0))
    np.testing.assert_allclose(noise.quantiles, frame["noise"].quantile([0, 0.25, 0.5, 0.75, 1]))
    assert columns["group"].distinct == 3 and columns["flag"].categories == ("0", "1")
    assert dict(zip(columns["group"].categories, columns["group"].counts, strict=True)) == dict(
        frame["group"].value_counts()
    )
    assert len(columns["name"].categories) == 50 and columns["name"].categories[-1] == "(other)"
    again = Profile.from_dict(json.loads(dumps(found.to_dict())))
    assert again.columns[0] == found.columns[0] or str(again.columns[0]) == str(found.columns[0])
    assert again.warnings == found.warnings


def test_cautions():
    found = profile(read(table(), label="approved"))
    by_code = {}
    for caution in found.warnings:
        by_code.setdefault(caution.code, []).append(dict(caution.values))
        assert caution.text("en") and caution.text("zh")
    assert {values["column"] for values in by_code["leakage"]} == {"answer", "score"}
    assert [values["column"] for values in by_code["constant_column"]] == ["same"]
    pairs = {frozenset((values["first"], values["second"])) for values in by_code["twin_columns"]}
    assert frozenset(("number", "twin")) in pairs and not any("name" in pair or "noise" in pair for pair in pairs)
    assert "short_class" not in by_code
    assert found.association["name"] < 0.5 < found.association["answer"]


def test_a_regression_and_a_table_without_a_label():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=100), "z": rng.normal(size=100)})
    frame["y"] = 2 * frame["x"] + rng.normal(size=100)
    found = profile(read(frame, label="y"))
    assert found.association["x"] == pytest.approx(abs(np.corrcoef(frame["x"], frame["y"])[0, 1]))
    assert not found.labels and not any(c.code == "leakage" for c in found.warnings)
    leak = profile(read(frame.assign(copy=frame["y"] * 2), label="y"))
    assert [c.values["column"] for c in leak.warnings if c.code == "leakage"] == ["copy"]
    assert profile(read(frame)).association == {}


def test_few_rows_and_few_classes():
    frame = pd.DataFrame({"x": np.arange(50.0), "y": ["a"] * 45 + ["b"] * 5})
    found = profile(read(frame, label="y"))
    short = [dict(c.values) for c in found.warnings if c.code == "short_class"]
    assert {"name": "b", "rows": 1} in short
    one = profile(read(pd.DataFrame({"x": [1.0]})))
    assert one.rows == 1 and one.correlation.shape == (1, 1)


def test_correlations_of_real_data_are_pearsons():
    data = breast_cancer()
    found = profile(data)
    np.testing.assert_allclose(found.correlation, data.features.corr().to_numpy(), atol=1e-9)
    assert any(c.code == "twin_columns" for c in found.warnings) and len(found.warnings) <= 25


def test_images():
    found = profile(digits())
    assert found.shape == (8, 8) and found.rows == 1797 and sum(found.labels.values()) == 1797
    (column,) = found.columns
    assert column.name == "intensity" and sum(column.counts) == 1797 * 64 and column.quantiles[4] == 16
    assert set(column.by_label) == set("0123456789")
    assert sum(column.by_label["3"]) == found.labels["3"] * 64


# ------------------------------------------------------------------ the measures


def test_perfect_absent_and_undefined():
    numbers = np.arange(20.0)
    groups = np.arange(20) % 2
    assert pearson(numbers, -numbers) == -1 and np.isnan(pearson(numbers, np.ones(20)))
    assert cramers_v(groups, 1 - groups) == pytest.approx(1) and np.isnan(cramers_v(groups, np.zeros(20, dtype=int)))
    assert correlation_ratio(groups, groups.astype(float)) == 1 and np.isnan(correlation_ratio(np.arange(20), numbers))
    assert separation(numbers, numbers >= 10) == 1 and separation(-numbers, numbers >= 10) == 1
    assert separation(np.ones(20), groups == 1) == 0.5 and np.isnan(separation(numbers, np.ones(20, dtype=bool)))


def test_against_independent_formulas():
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(3)
    a, b = rng.integers(0, 4, 300), rng.integers(0, 3, 300)
    b = np.where(rng.random(300) < 0.5, a % 3, b)
    table = pd.crosstab(a, b).to_numpy()
    phi = stats.chi2_contingency(table, correction=False)[0] / 300
    corrected = max(0, phi - 3 * 2 / 299)
    assert cramers_v(a, b) == pytest.approx(np.sqrt(corrected / min(4 - 9 / 299 - 1, 3 - 4 / 299 - 1)))
    numbers = a + rng.normal(size=300)
    groups = [numbers[a == code] for code in range(4)]
    within = sum(((g - g.mean()) ** 2).sum() for g in groups) / (300 - 4)
    assert correlation_ratio(a, numbers) == pytest.approx(np.sqrt(1 - within / numbers.var(ddof=1)))
    scores, truth = rng.integers(0, 6, 200).astype(float), rng.random(200) < 0.4
    area = metrics.roc_auc_score(truth, scores)
    assert separation(scores, truth) == pytest.approx(max(area, 1 - area))
