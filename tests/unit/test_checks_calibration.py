"""The check of calibration: figures, and which way a model is wrong about itself."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pellucid.checks.calibration import Calibration
from pellucid.checks.check import CheckCase
from pellucid.measures.calibration import expected_calibration_error
from pellucid.records.files import dumps
from pellucid.records.finding import Finding

CHECK = Calibration(draws=300)


def stated(confidence: np.ndarray, chance: np.ndarray, seed: int = 0, **fields) -> CheckCase:
    """Class 1 is stated with ``confidence`` and true with ``chance``."""
    labels = (np.random.default_rng(seed).random(len(chance)) < chance).astype(int)
    return CheckCase(np.stack([1 - confidence, confidence], axis=1), labels, **fields)


SURE = np.random.default_rng(9).uniform(0.5, 1.0, 800)


def test_figures_table_and_curve():
    case = stated(SURE, SURE)
    (finding,) = CHECK.run(case)
    right = case.labels == case.predicted
    value, low, high = finding.metrics["ece"]
    assert value == pytest.approx(expected_calibration_error(SURE, right, 15))
    assert 0 <= low <= value <= high <= 1
    assert finding.metrics["mce"][0] >= value
    assert set(finding.metrics) == {"ece", "mce", "ece_if_calibrated", "brier", "log_loss"}
    bins = finding.tables["bins"]
    assert sum(row["rows"] for row in bins) == 800
    assert all(row["right_low"] <= row["right"] <= row["right_high"] for row in bins)
    np.testing.assert_allclose(finding.curves["reliability"], [[row["confidence"], row["right"]] for row in bins])
    assert finding.text().startswith(f"How sure the model says it is and how often it is right differ by {value:.1%}")
    assert "over the 800 test rows" in finding.text()
    assert "800 行测试数据" in finding.text("zh")


@pytest.mark.parametrize(
    ("chance", "code"),
    [
        (SURE - 0.15, "calibration_overconfident"),
        (np.minimum(SURE + 0.2, 1.0), "calibration_underconfident"),
        (np.where(SURE < 0.75, SURE - 0.2, np.minimum(SURE + 0.2, 1.0)), "calibration_both_ways"),
    ],
)
def test_the_direction_of_the_error(chance: np.ndarray, code: str):
    found = CHECK.run(stated(SURE, chance))
    assert [(finding.code, finding.severity) for finding in found] == [("calibration", "note"), (code, "yellow")]
    assert "Do not read" in found[1].text()
    assert "请勿" in found[1].text("zh")


def test_calibrated_models_are_seldom_accused():
    check, rng = Calibration(draws=100), np.random.default_rng(0)
    accused = 0
    for seed in range(60):
        sure = rng.uniform(0.5, 1, 200)
        accused += len(check.run(stated(sure, sure, seed))) > 1
    assert accused <= 9  # 5 % of 60 are expected; more than 9 has a chance of 1 in 1000


@pytest.mark.parametrize("surplus", [0.0, 0.05, 0.15])
def test_the_interval_holds_the_true_error(surplus: float):
    """A model that states 0.15 too much everywhere has a true ECE of 0.15."""
    rng = np.random.default_rng(0)
    inside = 0
    for seed in range(80):
        sure = rng.uniform(0.7, 0.95, 300)
        case = stated(sure, sure - surplus, seed)
        _, low, high = Calibration(draws=200, bins=10).run(case)[0].metrics["ece"]
        inside += low <= surplus <= high
    assert inside >= 66  # about 74 are expected, give or take 2.5


@pytest.mark.parametrize(
    "case",
    [
        CheckCase(np.array([[0.2, 0.8]]), np.array([1])),
        CheckCase(np.array([[0.2, 0.8]]), np.array([0])),
        CheckCase(np.tile([0.0, 1.0], (30, 1)), np.ones(30)),
        CheckCase(np.tile([0.3, 0.7], (30, 1)), np.zeros(30)),
        CheckCase(np.random.default_rng(0).normal(size=(40, 5)), np.zeros(40), part="age > 50"),
    ],
    ids=["one row", "one wrong row", "sure and right", "constant and wrong", "logits, one class"],
)
def test_degenerate_cases_give_sentences_without_nan(case: CheckCase):
    for finding in CHECK.run(case):
        assert "nan" not in finding.text() + finding.text("zh")
        back = Finding.from_dict(json.loads(dumps(finding.to_dict())))
        assert back.text() == finding.text()
        for value, low, high in finding.metrics.values():
            assert np.isfinite([value, low, high]).all()


def test_sure_and_right_is_no_error():
    (finding,) = CHECK.run(CheckCase(np.tile([0.0, 1.0], (30, 1)), np.ones(30)))
    assert finding.metrics["ece"] == (0.0, 0.0, 0.0)
