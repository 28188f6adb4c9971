"""The case a check looks at, what the base class does around a check, and slices of a table."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from pellucid.checks.calibration import Calibration
from pellucid.checks.check import Check, CheckCase, listed, rounded
from pellucid.checks.slices import slices
from pellucid.records.errors import InputError, NotApplicable, NotFiniteError, UnknownName
from pellucid.records.finding import Finding
from pellucid.records.schema import Column


def test_outputs_are_read_as_what_they_are():
    chances = np.array([[0.2, 0.8], [0.5, 0.5]])
    case = CheckCase(chances, np.array([1, 0]))
    assert case.reading == "probabilities"
    np.testing.assert_array_equal(case.probabilities, chances)
    np.testing.assert_array_equal(case.predicted, [1, 0])

    case = CheckCase(np.array([[1000.0, 1001.0], [-3.0, -3.0]]), np.array([1, 0]))
    assert case.reading == "softmax"
    np.testing.assert_allclose(case.probabilities, [[1 / (1 + np.e), np.e / (1 + np.e)], [0.5, 0.5]])

    case = CheckCase(np.array([-800.0, 0.0, 2.0, 800.0]), np.array([0, 0, 1, 1]))
    assert case.reading == "sigmoid"
    assert case.outputs.shape == (4, 1)
    np.testing.assert_allclose(case.probabilities[:, 1], [0, 0.5, 1 / (1 + np.exp(-2)), 1])
    np.testing.assert_allclose(case.probabilities.sum(axis=1), 1)
    np.testing.assert_array_equal(case.predicted, [0, 0, 1, 1])

    case = CheckCase(np.array([0.1, 0.9]), np.array([0, 1]), classes=("no", "yes"))
    assert case.reading == "probabilities"
    np.testing.assert_allclose(case.probabilities, [[0.9, 0.1], [0.1, 0.9]])


def test_the_scale_can_be_said():
    outputs, labels = np.array([0.1, 0.9]), np.array([0, 1])
    case = CheckCase(outputs, labels, scale="logits")
    assert case.reading == "sigmoid"
    assert case.predicted.tolist() == [1, 1]
    with pytest.raises(InputError, match="said to be probabilities"):
        _ = CheckCase(outputs * 5, labels, scale="probabilities").probabilities
    # A sum of two within [0, 1] is no distribution.
    assert CheckCase(np.array([[0.9, 0.9]]), np.array([0])).reading == "softmax"


def test_a_slice_is_read_as_the_whole():
    mask = np.array([True, False])
    case = CheckCase(np.array([0.5, 7.0]), np.array([0, 1]), slices={"low": mask}, classes=("a", "b"))
    part = case.within("low")
    assert (len(part), part.part, part.reading, part.classes) == (1, "low", "sigmoid", ("a", "b"))
    assert part.probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_a_case_is_sealed_and_does_not_touch_what_it_was_given():
    outputs, labels = np.array([[0.1, 0.9]]), np.array([1])
    case = CheckCase(outputs, labels)
    outputs[0, 0] = 5
    assert case.outputs[0, 0] == 0.1
    with pytest.raises(ValueError, match="read-only"):
        case.labels[0] = 0


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"outputs": np.zeros((0, 2)), "labels": np.zeros(0)}, "N, K ≥ 1"),
        ({"labels": np.zeros(3)}, "labels"),
        ({"labels": np.array([0, 2])}, "label 2 is not one of the 2 classes"),
        ({"labels": np.array([0, -1])}, "row 1"),
        ({"labels": np.array([0, 0.5])}, "label 0.5"),
        ({"labels": np.array([0, np.nan])}, "row 1: the label"),
        ({"labels": np.array(["a", "b"])}, "class numbers"),
        ({"outputs": np.array([[0.0, 1.0], [np.inf, 0.0]])}, "row 1: the model's output"),
        ({"classes": ("one",)}, "1 class names"),
        ({"slices": {"s": np.ones(3, dtype=bool)}}, "slice 's'"),
        ({"slices": {"s": np.array([0, 1])}}, "slice 's'"),
        ({"task": "regression"}, "one output a row"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(fields, words):
    given = {"outputs": np.eye(2), "labels": np.array([0, 1])} | fields
    with pytest.raises(InputError, match=words):
        CheckCase(**given)


def test_not_finite_is_its_own_error():
    with pytest.raises(NotFiniteError):
        CheckCase(np.array([[np.nan, 1.0]]), np.array([0]))


def test_run_asks_for_the_task_and_signs_the_findings():
    @dataclass(frozen=True)
    class Hello(Check):
        name = "hello"
        tasks = ("classification",)
        source = ""

        def find(self, case):
            yield Finding("someone else", "slices_suppressed", part="?")

    case = CheckCase(np.eye(2), np.array([0, 1]), part="validation")
    (found,) = Hello().run(case)
    assert (found.check, found.part) == ("hello", "validation")
    numbers = replace(case, outputs=np.zeros(2), labels=np.zeros(2), classes=(), task="regression")
    with pytest.raises(NotApplicable, match="'calibration' judges classification, not regression"):
        Calibration().run(numbers)
    with pytest.raises(NotApplicable, match="states no probabilities"):
        _ = numbers.probabilities


def test_names_and_numbers_for_sentences():
    assert listed(["a", "b"]) == "a, b"
    assert listed(map(str, range(8))) == "0, 1, 2, 3, 4, … (+3)"
    assert len(listed(["x" * 500])) == 40
    assert [f"{rounded(value):,}" for value in (123456.0, 99.94, 0.012345, 4.0, -150.7)] == [
        "123,000",
        "99.9",
        "0.0123",
        "4.0",
        "-151",
    ]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": [20, 30, 40, 50, 60, 70],
            "sex": ["f", "m", "f", "f", None, "m"],
            "code": [1.0, 2.0, 1.0, 1.0, 2.0, 1.0],
            "same": ["x"] * 6,
            "debt": [0, 0, 0, 0, 0, 9.0],
            "label": [0, 1, 0, 1, 0, 1],
            "id": list("abcdef"),
        }
    )


def test_slices_of_a_table(frame: pd.DataFrame):
    columns = [
        Column("age", "numeric", unit="years"),
        Column("sex", "categorical", role="ignored", protected=True),
        Column("code", "categorical", categories=("2", "1")),
        Column("same", "categorical"),
        Column("debt", "numeric"),
        Column("label", "categorical", role="label", protected=True),
        Column("id", "categorical", role="id"),
    ]
    found = slices(frame, columns)
    assert {name: np.flatnonzero(mask).tolist() for name, mask in found.items()} == {
        "age ≤ 30 years": [0, 1],
        "30 years < age ≤ 50 years": [2, 3],
        "age > 50 years": [4, 5],
        "sex = f": [0, 2, 3],
        "sex = m": [1, 5],
        "sex = (missing)": [4],
        "code = 2": [1, 4],
        "code = 1": [0, 2, 3, 5],
        "debt ≤ 0": [0, 1, 2, 3, 4],
        "debt > 0": [5],
    }
    assert list(slices(frame, columns[1:2], most=1)) == ["sex = f", "sex = (missing)"]
    with pytest.raises(UnknownName, match="did you mean 'age'"):
        slices(frame, [Column("agee", "numeric")])


def test_a_number_known_or_not():
    frame = pd.DataFrame({"x": [1.0, np.nan, 1.0]})
    assert list(slices(frame, [Column("x", "numeric")])) == ["x ≠ (missing)", "x = (missing)"]
    assert slices(frame * np.nan, [Column("x", "numeric")]) == {}
