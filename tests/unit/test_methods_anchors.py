"""Anchors: decisions of every kind, conditions in words, missed thresholds, budgets, and a record that draws itself."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.data.reading import read
from pellucid.records.errors import BudgetError, NotApplicable, RemovalError
from pellucid.records.rules import Rules
from pellucid.removals import Blur, ConditionalNearest

RNG = np.random.default_rng(1)
BACKGROUND = RNG.normal(size=(300, 3))


def linear(x):
    return np.asarray(x) @ np.array([2.0, 0.5, 0.0])


def codes(found):
    return [caution.code for caution in found.warnings]


def test_one_number_stays_on_its_side_of_a_boundary():
    row = np.array([[2.0, 0.0, 0.0]])
    above = pellucid.explain(linear, row, "anchors", background=BACKGROUND, boundary=1.0)
    assert above.boundary[0, 0] == 1.0 and above.positive[0, 0] and "rule_boundary" not in codes(above)
    assert above.decision(0) == "“output” stays at or above 1"
    below = pellucid.explain(linear, -row, "anchors", background=BACKGROUND)
    assert below.boundary[0, 0] == pytest.approx(linear(BACKGROUND).mean()) and not below.positive[0, 0]
    assert "rule_boundary" in codes(below)


def test_a_contrast_asks_which_of_two_is_larger():
    def three(x):
        x = np.asarray(x)
        return np.stack([x[:, 0], x[:, 1], np.full(len(x), 9.0)], axis=1)

    row = np.array([[2.0, -2.0, 0.0]])
    found = pellucid.explain(three, row, "anchors", background=BACKGROUND, target=(0, 1))
    assert set(found.rule(0)) <= {"x0", "x1"} and found.rule(0) and found.boundary[0, 0] == 0
    # Output 2 is the largest whatever the row: for it no condition is needed, and output 0 never is the decision.
    every = pellucid.explain(three, row, "anchors", background=BACKGROUND, target="all")
    assert [every.rule(0, t) for t in range(3)] == [(), (), ()]
    assert every.positive.tolist() == [[False, False, True]]
    assert every.decision(0, 0) == "the model does not decide for “output 0”" and every.coverage[0, 2] == 1.0
    assert every.sentence(0, 2).startswith("Whatever the row, the model decides for “output 2” in 100.0% of cases")


def test_what_an_extension_covers_is_counted_like_any_rule():
    from pellucid.doors.question import as_problem
    from pellucid.engine.opening import opened
    from pellucid.methods.surroundings import Bins, held_by, surroundings_of

    table = np.column_stack([RNG.integers(0, 4, 200), RNG.normal(size=200), RNG.normal(size=200)])
    with opened(as_problem(linear, table[:3], background=table), "anchors") as run:
        ((_, session),) = run.parts
        around = surroundings_of(session)
        around.attend(np.arange(3))
        assert isinstance(around, Bins)
        first = int(np.flatnonzero(around.possible(1))[0])
        rule = np.full((1, 3), -1)
        rule[0, around.owner[first]] = first
        for parent in (np.full((1, 3), -1), rule):
            for added in np.flatnonzero(around.possible(1)).tolist():
                player, own = around.owner[added], parent[0, around.owner[added]]
                if own >= 0 and not around.within[own, added]:
                    continue
                longer = parent.copy()
                longer[0, player] = added
                assert around.extended(1, parent)[0, added] == around.covered(1, longer)[0][0]
    assert held_by(np.array([[-1, 4, -1, 7], [2, -1, -1, -1]])).tolist() == [[7, 4], [2, -1]]


def test_a_boundary_is_for_one_number_only():
    with pytest.raises(NotApplicable, match="decides between several outputs"):
        pellucid.explain(lambda x: np.asarray(x), BACKGROUND[:1], "anchors", background=BACKGROUND, boundary=0.5)


def test_a_missed_threshold_is_said_and_the_best_rule_given():
    def coin(x):
        wild = np.sin(1e4 * np.asarray(x)).sum(1)
        return np.stack([wild, -wild], axis=1)

    found = pellucid.explain(coin, BACKGROUND[:2], "anchors", background=BACKGROUND, budget=2000)
    assert not found.met.all() and "rule_missed" in codes(found)
    missed = int(np.flatnonzero(~found.met[:, 0])[0])
    assert found.upper[missed, 0] < 0.95 and "less than the 95%" in found.text(missed)
    assert "低于" in found.text(missed, language="zh")


def test_a_constant_model_needs_no_condition():
    found = pellucid.explain(lambda x: np.full(len(x), 0.25), BACKGROUND[:2], "anchors", background=BACKGROUND)
    assert (
        found.rule(0) == () and found.precision.tolist() == [[1.0], [1.0]] and found.coverage.tolist() == [[1.0], [1.0]]
    )


def test_most_conditions_and_budgets_are_kept():
    def score(x):
        total = np.asarray(x).sum(1)
        return np.stack([-total, total], axis=1)

    rows = BACKGROUND[:4]
    none = pellucid.explain(score, rows, "anchors", background=BACKGROUND, most_conditions=0)
    assert all(none.rule(row) == () for row in range(4))
    one = pellucid.explain(score, rows, "anchors", background=BACKGROUND, most_conditions=1)
    assert all(len(one.rule(row)) <= 1 for row in range(4))
    for budget in (60, 400, 3000):
        found = pellucid.explain(score, rows, "anchors", background=BACKGROUND, budget=budget)
        assert found.samples.max() <= budget - 2 and found.cost.evaluations <= budget
    with pytest.raises(BudgetError, match="at least 22"):
        pellucid.explain(score, rows, "anchors", background=BACKGROUND, budget=21)
    exact = pellucid.explain(score, rows, "anchors", background=BACKGROUND, fresh=123)
    assert exact.notes["fresh"] == 123


def test_bad_backgrounds_are_refused():
    with pytest.raises(RemovalError, match="NaN"):
        pellucid.explain(linear, BACKGROUND[:1], "anchors", background=np.where(BACKGROUND > 2, np.nan, BACKGROUND))
    with pytest.raises(NotApplicable, match="depends on what is present"):
        pellucid.explain(linear, BACKGROUND[:1], "anchors", removal=ConditionalNearest(BACKGROUND))


def test_a_background_of_more_than_a_hundred_rows_is_used_whole():
    rows = RNG.normal(size=(2500, 3))
    found = pellucid.explain(linear, rows[:1], "anchors", background=rows[:1500])
    assert found.background.shape == (1500, 3) and "background_reduced" not in codes(found)
    assert pellucid.explain(linear, rows[:1], "anchors", background=rows).background.shape == (2000, 3)
    assert pellucid.explain(linear, rows[:1], "lime", background=rows, samples=100).background.shape == (100, 3)


@pytest.fixture(scope="module")
def loans(tmp_path_factory):
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, 400),
            "income": np.where(rng.random(400) < 0.1, np.nan, rng.lognormal(8, 0.5, 400).round(1)),
            "purpose": rng.choice(["car", "house", "study"], 400),
        }
    )
    frame["good"] = np.where((frame.age > 40) & (frame.purpose != "study"), "yes", "no")
    path = tmp_path_factory.mktemp("loans") / "loans.csv"
    frame.to_csv(path, index=False)
    data = read(path, label="good")
    encoding = Encoding.fit(data.train)

    class Net(nn.Module):
        def forward(self, x):
            age = x[:, 0] * encoding.columns[0].scale + encoding.columns[0].center
            study = x[:, encoding.elements.index("purpose=study")]
            empty = x[:, encoding.elements.index("income=missing")]
            score = torch.minimum(age - 40, 10 - 20 * study) - 100 * empty
            return torch.stack([-score, score], dim=1)

    return pellucid.wrap(Net(), encoding=encoding, outputs=("no", "yes")), data.train.frame


def test_conditions_are_told_in_the_units_of_the_raw_table(loans):
    model, frame = loans
    rows = [
        {"age": 79, "income": 3000.0, "purpose": "car"},
        {"age": 50, "income": None, "purpose": "car"},
        {"age": 50, "income": 3000.0, "purpose": "study"},
    ]
    found = pellucid.explain(model, rows, "anchors", background=frame)
    told = found.conditions(0)
    edges = np.quantile(frame.age, (0.25, 0.5, 0.75), method="lower")
    assert told[0] in [f"age > {edge:.6g}" for edge in edges] and "purpose = car" in told
    assert found.conditions(1) == ("income is missing",)
    assert found.conditions(1, language="zh") == ("income 缺失",)
    assert found.conditions(2) == ("purpose = study",)
    assert found.to_frame()["rule"][2] == "purpose = study"


def test_the_record_reads_draws_and_keeps_itself(loans, tmp_path):
    model, frame = loans
    found = pellucid.explain(model, frame.iloc[:3], "anchors", background=frame)
    assert repr(found).startswith("Rules for 3 rows by anchors") and "row 0: " in repr(found)
    back = Rules.load(found.save(tmp_path / "rules"))
    assert [back.sentence(row) for row in range(3)] == [found.sentence(row) for row in range(3)]
    assert back[1].sentence() == found.sentence(1) and back.to_frame().equals(found.to_frame())
    assert found.plot(0).to_dict()["description"].startswith("The rule for")
    assert "rows asked of the model" in found.text(0) and "rows asked" not in found.text(0, audience="person")
    assert "<img" in found._repr_html_()


def test_a_rule_of_a_picture_keeps_its_parts():
    def bright_corner(x):
        lit = torch.as_tensor(x)[:, :, :4, :4].mean((1, 2, 3))
        return torch.stack([0.5 - lit, lit - 0.5], dim=1)

    image = np.zeros((1, 1, 8, 8), dtype=np.float32)
    image[0, 0, :4, :4] = 1.0
    found = pellucid.explain(
        bright_corner, image, "anchors", players=pellucid.players.Patches(4), removal=pellucid.removals.Constant(0.0)
    )
    assert found.rule(0) == ("patch at row 2, column 2",)
    assert found.conditions(0) == ("“patch at row 2, column 2” is present",)
    assert "hconcat" in found.plot(0).to_dict()
    assert pellucid.explain(bright_corner, image, "anchors", removal=Blur(1.0)).players.kind == "patch"
