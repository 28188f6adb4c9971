"""Comparing: every method keeps its own name, a failing one costs itself; what a difference of two studies counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest

import pellucid
from pellucid.engine.estimate import Estimate
from pellucid.methods import Lime, Occlusion
from pellucid.methods.method import Method
from pellucid.records.study import Study
from pellucid.removals import Constant
from pellucid.studies.naming import labelled

X = np.random.default_rng(0).normal(size=(4, 5))
ZERO = Constant(0.0)


def model(rows):
    return np.tanh(np.asarray(rows)).sum(1)


@dataclass(frozen=True)
class Breaks(Method):
    """A third party's method with a fault."""

    name: ClassVar[str] = "breaks"
    title: ClassVar[str] = "Breaks"
    source: ClassVar[str] = "nobody"

    def estimate(self, session) -> Estimate:
        raise ValueError("no such luck")


def test_two_settings_of_one_method_are_both_compared():
    found = pellucid.compare(model, X, [Lime(samples=50), Lime(samples=2000)], removal=ZERO, metrics="sparseness")
    names = ["lime (samples=50)", "lime (samples=2000)"]
    assert list(found.explanations) == names == list(found.scores.methods())
    assert {name for name, _ in found.ranking} == set(names)
    assert all(e.method == "lime" for e in found.explanations.values())


def test_the_callers_keys_are_the_names():
    given = {"quick": Lime(samples=50), "exact": "exact_shapley"}
    found = pellucid.compare(model, X, given, removal=ZERO, metrics=["sparseness", "agreement"])
    assert list(found.explanations) == ["quick", "exact"] == list(found.scores.methods())


def test_labels_are_never_alike():
    methods = [Lime(samples=50), Lime(samples=50), Lime(samples=60), Breaks()]
    labels = labelled(methods)
    assert list(labels.values()) == methods
    assert list(labels) == ["lime (samples=50)", "lime (samples=50) #2", "lime (samples=60)", "breaks"]
    assert list(labelled([Occlusion().smoothed(), Lime().smoothed()])) == [
        "smoothed (of=occlusion)",
        "smoothed (of=lime)",
    ]


def test_a_method_that_raises_is_listed_and_the_others_go_on():
    found = pellucid.compare(model, X, [Breaks(), "exact_shapley"], removal=ZERO, metrics="sparseness")
    assert list(found.explanations) == ["exact_shapley"]
    (failure,) = found.failed
    assert failure.method == "breaks" and failure.status == "failed" and "no such luck" in failure.reason


# Two studies ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study():
    e = pellucid.explain(model, X, "exact_shapley", background=X[:3])
    provenance = {"seed": 0, "hardware": {"cores": 2}, "versions": {"torch": "2"}}
    return Study("one", explanations={"exact_shapley": e}, truth=e, provenance=provenance)


def of(study, **fields):
    e = replace(study.explanations["exact_shapley"], **fields)
    return replace(study, explanations={"exact_shapley": e})


def test_every_array_counts(study):
    e = study.explanations["exact_shapley"]
    assert pellucid.diff(study, of(study)).identical
    moved = [("background", e.background + 1), ("columns", e.columns + 1), ("gaps", e.gaps + 1), ("rows", X + 1)]
    for name, value in moved:
        found = pellucid.diff(study, of(study, **{name: value}))
        assert not found.identical and any(name in place["path"] for place in found.places), name
    players = replace(e.players, labels=e.players.labels[:, ::-1])
    found = pellucid.diff(study, of(study, players=players))
    assert [place["path"] for place in found.places] == ["explanations.exact_shapley.players.labels"]


def test_the_truth_counts(study):
    for other in (None, replace(study.truth, attributions=study.truth.attributions + 1)):
        found = pellucid.diff(study, replace(study, truth=other))
        assert not found.identical and all(place["path"].startswith("truth") for place in found.places)


def test_another_machine_is_told_and_is_no_difference(study):
    there = {**study.provenance, "hardware": {"cores": 64}, "versions": {"torch": "3"}}
    found = pellucid.diff(study, replace(study, provenance=there))
    assert found.identical and not found.places
    assert {place["path"] for place in found.environment} == {"provenance.hardware.cores", "provenance.versions.torch"}
    assert len(found.to_dict()["environment"]) == 2 and "64" in repr(found)
    assert not pellucid.diff(study, replace(study, provenance={**there, "seed": 1})).identical


def test_rows_spent_on_getting_to_know_a_model_are_no_difference(study):
    e = study.explanations["exact_shapley"]
    assert pellucid.diff(study, of(study, cost=replace(e.cost, rows=e.cost.rows + 7))).identical
    assert not pellucid.diff(study, of(study, cost=replace(e.cost, evaluations=1.0))).identical
