"""The check of performance: figures, tables, curves, and when it raises its voice."""

from __future__ import annotations

import json
import math
import time

import numpy as np
import pytest

from pellucid.checks.check import CheckCase
from pellucid.checks.performance import OF_CLASSES, Performance
from pellucid.measures import classification as c
from pellucid.records.files import dumps
from pellucid.records.finding import Finding
from pellucid.records.messages import LANGUAGES

CHECK = Performance(draws=200)


def answers(rows: int = 114, wrong: int = 8, classes: int = 2, **fields) -> CheckCase:
    """A case in which the model is right for all but the first ``wrong`` rows."""
    labels = np.arange(rows) % classes
    said = labels.copy()
    said[:wrong] = (said[:wrong] + 1) % classes
    outputs = np.full((rows, classes), 0.1 / (classes - 1))
    outputs[np.arange(rows), said] = 0.9
    return CheckCase(outputs, labels, **fields)


def codes(findings) -> list[tuple[str, str]]:
    return [(finding.code, finding.severity) for finding in findings]


def test_the_main_sentence():
    found = Performance().run(answers(classes=2))
    assert codes(found) == [("performance", "note")]
    assert found[0].text().startswith("The model is right for 93.0% of the 114 test rows (95% interval 86.8% to 96.4%)")
    assert found[0].text().endswith("always answering “0” would be right for 50.0%.")
    assert found[0].text("zh").startswith("在 114 行测试数据中，模型答对 93.0%（95% 置信区间 86.8% 至 96.4%）")


def test_another_part_is_named():
    finding = CHECK.run(answers(part="sex = female"))[0]
    assert finding.part == "sex = female"
    assert finding.text().startswith("Where sex = female (114 rows), the model is right for 93.0%")
    assert finding.text("zh").startswith("在“sex = female”的 114 行数据中，模型答对 93.0%")


def test_figures_are_those_of_the_measures_with_intervals_around_them():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    logits = rng.normal(size=(300, 3)) + 2 * np.eye(3)[labels]
    case = CheckCase(logits, labels, classes=("a", "b", "c"))
    finding = CHECK.run(case)[0]
    chances = case.probabilities
    expected = {
        "accuracy": c.accuracy(labels, case.predicted),
        "balanced_accuracy": c.balanced_accuracy(labels, case.predicted),
        "f1_macro": c.f1(labels, case.predicted),
        "f1_weighted": c.f1(labels, case.predicted, "weighted"),
        "roc_auc": c.roc_auc(labels, chances),
        "average_precision": c.average_precision(labels, chances),
        "log_loss": c.log_loss(labels, chances),
        "brier": c.brier(labels, chances),
    }
    for name, value in expected.items():
        middle, low, high = finding.metrics[name]
        assert middle == pytest.approx(value), name
        assert low < middle < high, name
    assert set(finding.metrics) == {*OF_CLASSES, "chance"}
    assert finding.values["reading"] == "softmax"
    assert finding.rows == 300


def test_tables_and_curves():
    finding = CHECK.run(answers(90, 9, 3))[0]
    classes = finding.tables["classes"]
    assert [row["class"] for row in classes] == ["0", "1", "2"]
    assert classes[0]["rows"] == 30
    assert classes[0]["recall"] == pytest.approx(0.9)
    assert classes[0]["recall_low"] < 0.9 < classes[0]["recall_high"]
    confusion = finding.tables["confusion"]
    assert len(confusion) == 9
    assert sum(row["rows"] for row in confusion) == 90
    cell = next(row for row in confusion if (row["truth"], row["predicted"]) == ("0", "1"))
    assert (cell["rows"], cell["share"]) == (3, pytest.approx(0.1))
    assert {"roc: 0", "roc: 2", "precision_recall: 1"} <= set(finding.curves)
    for curve in finding.curves.values():
        assert curve.ndim == 2
        assert curve.shape[1] == 2
        assert len(curve) <= 200
        assert np.isfinite(curve).all()


def test_curves_of_many_rows_are_thinned_and_keep_their_ends():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 3000)
    finding = Performance(draws=5).run(CheckCase(rng.normal(size=3000) + labels, labels, classes=("no", "yes")))[0]
    curve = finding.curves["roc: yes"]
    assert 150 < len(curve) <= 200
    np.testing.assert_array_equal(curve[[0, -1]], [[0, 0], [1, 1]])
    area = np.sum(np.diff(curve[:, 0]) * (curve[1:, 1] + curve[:-1, 1]) / 2)
    assert area == pytest.approx(finding.metrics["roc_auc"][0], abs=0.005)


def test_a_model_that_knows_nothing_is_red():
    rng = np.random.default_rng(0)
    labels = (rng.random(200) < 0.3).astype(int)
    found = CHECK.run(CheckCase(rng.normal(size=(200, 2)), labels, classes=("good", "bad")))
    assert codes(found)[1] == ("performance_no_better_than_chance", "red")
    assert "always answering “good” would be right for" in found[1].text()
    constant = CHECK.run(CheckCase(np.tile([0.7, 0.3], (200, 1)), labels))
    assert codes(constant)[1] == ("performance_no_better_than_chance", "red")
    assert constant[0].metrics["roc_auc"][0] == 0.5
    assert constant[0].metrics["above_chance"] == (0.0, 0.0, 0.0)


def test_a_better_order_alone_is_yellow():
    rng = np.random.default_rng(0)
    labels = (rng.random(400) < 0.1).astype(int)
    found = CHECK.run(CheckCase(labels * 1.5 + rng.normal(size=400) - 5, labels))
    assert codes(found)[1] == ("performance_better_ranking_only", "yellow")
    assert "threshold" in found[1].text()


def test_models_that_know_nothing_are_found_out_nearly_always():
    rng = np.random.default_rng(4)
    check, red = Performance(draws=100), 0
    for seed in range(40):
        labels = rng.integers(0, 2, 100)
        found = check.run(CheckCase(rng.normal(size=(100, 2)), labels, seed=seed))
        red += any(finding.severity == "red" for finding in found)
    assert red >= 34  # each of two tests is passed by chance in about 1 of 40


def test_perfect_answers_still_have_doubt():
    finding = CHECK.run(answers(50, 0))[0]
    value, low, high = finding.metrics["accuracy"]
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx(50 / (50 + 1.959964**2), abs=1e-4)
    classes = finding.tables["classes"][0]
    assert all(classes[f"{name}_low"] < classes[name] == classes[f"{name}_high"] for name in ("recall", "f1"))
    for name in ("balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "f1_weighted", "roc_auc"):
        value, low, high = finding.metrics[name]
        assert value == pytest.approx(1.0) and 0.8 < low < 0.99 and high == pytest.approx(1.0), name
    assert math.isnan(finding.metrics["average_precision"][1])  # none is known, and none of width zero is given
    better, worse = (CHECK.run(answers(50, wrong))[0].metrics["accuracy"] for wrong in (0, 1))
    assert better[1] > worse[1]


def test_slices_of_perfect_answers_have_doubt_too():
    found = CHECK.run(answers(40, 0, slices={"first": np.arange(40) < 20}))
    (row,) = found[0].tables["slices"]
    assert row["accuracy_low"] < 0.9 and row["balanced_accuracy_low"] < 0.9 and row["f1_macro_low"] < 0.95


@pytest.mark.parametrize(("rows", "wrong"), [(2, 0), (2, 2), (5, 0), (5, 2)])
def test_from_a_few_rows_nothing_is_said_of_chance(rows: int, wrong: int):
    found = codes(CHECK.run(answers(rows, wrong)))
    assert ("performance_too_few_rows", "note") in found and "red" not in dict(found).values()


def test_too_few_rows_are_told_and_how_many_are_needed_depends_on_chance():
    finding = CHECK.run(answers(4, 0))[1]
    assert finding.text().startswith(
        "Too few rows to tell whether the model is better than chance: it is right for 100.0%"
    )
    assert "行数太少" in finding.text("zh")
    assert codes(CHECK.run(answers(8, 0)))[0:1] == [("performance", "note")]
    assert "performance_too_few_rows" not in dict(codes(CHECK.run(answers(8, 0))))
    labels = np.array([0] * 27 + [1] * 3)  # nine in ten: 30 right ones are no proof
    case = CheckCase(np.eye(2)[labels] * 0.8 + 0.1, labels)
    assert "performance_too_few_rows" in dict(codes(CHECK.run(case)))
    numbers = CheckCase(np.arange(4.0), np.arange(4.0)[::-1].copy(), task="regression")
    assert ("performance_too_few_numbers", "note") in codes(CHECK.run(numbers))


def test_numbers_that_are_all_right_have_no_interval_of_width_zero():
    exact = CHECK.run(CheckCase(np.arange(30.0), np.arange(30.0), task="regression"))
    assert codes(exact) == [("performance_exact", "note")]
    assert all(math.isnan(exact[0].metrics[name][1]) for name in ("mae", "rmse", "r2"))
    assert "exactly right" in exact[0].text() and "nan" not in exact[0].text()


def test_one_class_only():
    found = CHECK.run(CheckCase(np.tile([0.9, 0.1], (20, 1)), np.zeros(20), classes=("healthy", "ill")))
    assert codes(found) == [
        ("performance", "note"),
        ("performance_one_class", "yellow"),
        ("performance_short_classes", "note"),
    ]
    assert math.isnan(found[0].metrics["roc_auc"][0])
    assert found[0].curves == {}
    assert "“healthy”" in found[1].text()
    assert found[2].text() == "Classes with fewer than 10 rows: ill; figures for them are uncertain."


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_one_row(task):
    found = CHECK.run(CheckCase(np.array([0.7]), np.array([1.0]), task=task, slices={"all": np.array([True])}))
    assert found[0].rows == 1
    assert not any(finding.severity == "red" for finding in found)
    for finding in found:
        for language in LANGUAGES:
            assert "nan" not in finding.text(language)


def test_slices_have_figures_or_are_suppressed():
    rows = np.arange(120)
    case = answers(120, 20, slices={"first": rows < 40, "rest": rows >= 40, "few": rows < 9, "none": rows < 0})
    found = CHECK.run(case)
    assert codes(found)[1:] == [("performance_weak_slice", "yellow"), ("slices_suppressed", "note")]
    first, rest, few, none = found[0].tables["slices"]
    assert (first["slice"], first["rows"], first["suppressed"]) == ("first", 40, False)
    assert first["accuracy"] == 0.5
    assert first["accuracy_low"] < 0.5 < first["accuracy_high"]
    assert rest["accuracy"] == 1.0
    assert rest["accuracy_low"] < 1.0
    assert few["suppressed"]
    assert math.isnan(few["accuracy"])
    assert none["rows"] == 0
    assert found[1].text() == (
        "Where first (40 rows), the model is right for 50.0%, elsewhere for 100.0%; that is more than chance explains."
    )
    assert found[2].text() == "No figures are given for groups of fewer than 10 rows: few, none."


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_fair_models_are_seldom_accused(task):
    rng = np.random.default_rng(0)
    check, accused = Performance(draws=20), 0
    for seed in range(60):
        masks = {str(i): rng.random(200) < 0.3 for i in range(6)}
        labels = rng.integers(0, 2, 200)
        outputs = np.where(rng.random(200) < 0.8, labels, 1 - labels) * 2.0 - 0.5
        if task == "regression":
            outputs = labels + rng.normal(size=200)
        found = check.run(CheckCase(outputs, labels, task=task, slices=masks, seed=seed))
        accused += any(finding.code.startswith("performance_weak_slice") for finding in found)
    assert accused <= 6  # 2.5 % of 60 are expected


def test_regression():
    rng = np.random.default_rng(0)
    labels = rng.normal(5000, 1000, 300)
    outputs = labels + rng.normal(0, 300, 300)
    outputs[:60] += 900
    mask = np.arange(300) < 60
    found = CHECK.run(CheckCase(outputs, labels, task="regression", unit="DM", slices={"old": mask, "young": ~mask}))
    assert codes(found) == [("performance_error", "note"), ("performance_weak_slice_error", "yellow")]
    error = np.abs(outputs - labels)
    value, low, high = found[0].metrics["mae"]
    assert value == pytest.approx(error.mean())
    assert low < value < high
    assert f"off by {float(f'{value:.3g}'):.0f} DM on average (95% interval" in found[0].text()
    assert found[0].metrics["r2"][0] == pytest.approx(1 - (error**2).sum() / ((labels - labels.mean()) ** 2).sum())
    assert found[0].curves["predictions"].shape == (200, 2)
    assert found[0].tables["slices"][0]["mae"] == pytest.approx(error[:60].mean())
    assert "Where old (60 rows)" in found[1].text()


def test_regression_that_knows_nothing_is_red_and_a_constant_target_is_said():
    rng = np.random.default_rng(0)
    labels = rng.normal(size=100)
    found = CHECK.run(CheckCase(rng.normal(size=100), labels, task="regression"))
    assert codes(found)[1] == ("performance_no_better_than_constant", "red")
    assert "R² is -" in found[1].text()
    found = CHECK.run(CheckCase(rng.normal(size=100), np.full(100, 7.0), task="regression"))
    assert codes(found)[1:] == [("performance_constant_target", "yellow")]
    assert found[1].text().startswith("The true value is 7.0 in all 100 rows")
    assert math.isnan(found[0].metrics["r2"][0])


def test_findings_survive_a_trip_through_json_and_a_rerun():
    rows = np.arange(60)
    case = answers(60, 20, slices={"first": rows < 30, "few": rows < 3})
    found, again = CHECK.run(case), CHECK.run(case)
    for finding, same in zip(found, again, strict=True):
        text = dumps(finding.to_dict())
        assert text == dumps(same.to_dict())
        back = Finding.from_dict(json.loads(text))
        assert back.text() == finding.text()
        assert back.text("zh") == finding.text("zh")
        assert set(back.curves) == set(finding.curves)


def test_hostile_names_are_only_text():
    name = "{level.__class__} <script>"
    found = CHECK.run(answers(40, 15, classes=2, slices={name: np.arange(40) < 15}))
    weak = next(finding for finding in found if finding.code == "performance_weak_slice")
    assert name in weak.text()


def test_four_thousand_rows_with_slices_take_seconds():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    masks = {str(i): rng.random(4000) < 0.3 for i in range(10)}
    start = time.perf_counter()
    Performance().run(CheckCase(rng.normal(size=4000) + labels, labels, slices=masks))
    assert time.perf_counter() - start < 8
