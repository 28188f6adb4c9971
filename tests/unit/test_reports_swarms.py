"""Figures that add up to the output, and those of all rows at once: the right numbers, and nothing undefined drawn."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import records_factory as make

pytest.importorskip("altair")

from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.reports import export, figures
from pellucid.reports.figures.swarms import MOST_DOTS


def data_of(chart) -> list[dict]:
    """The rows of a chart's largest dataset."""
    return max(chart.to_dict()["datasets"].values(), key=len)


def test_a_waterfall_falls_from_base_to_output_step_by_step():
    e = make.table("shapley")
    steps = data_of(figures.waterfall(e, 2, k=4))
    assert len(steps) == 1 + 4 + 1 + 1
    assert steps[0]["to"] == e.base[2, 0] and steps[-1]["from"] == pytest.approx(e.full[2, 0])
    for before, after in pairwise(steps):
        assert after["from"] == pytest.approx(before["to"]) and before["next"] == after["label"]
    sizes = [abs(step["to"] - step["from"]) for step in steps[1:5]]
    assert sizes == sorted(sizes, reverse=True)
    largest = steps[1]
    assert largest["high"] - largest["low"] == pytest.approx(2 * 1.96 * 0.02)
    assert (largest["high"] + largest["low"]) / 2 == pytest.approx(largest["to"])
    assert steps[5]["low"] is None and steps[5]["look"] == "rest"


def test_what_contributions_leave_unexplained_is_a_bar_of_its_own():
    e = make.table("shapley")
    steps = data_of(figures.waterfall(replace(e, full=e.full + 0.5), 0))
    assert steps[-2]["label"] == "not accounted for"
    assert steps[-2]["to"] - steps[-2]["from"] == pytest.approx(0.5)
    assert "not accounted for" not in json.dumps(data_of(figures.waterfall(e, 0)))


def test_forces_meet_at_the_output_and_span_every_contribution():
    e = make.table("shapley")
    values, full = e.attributions[3, :, 0], e.full[3, 0]
    parts = data_of(figures.force(e, 3, k=16))
    up, down = ([p for p in parts if p["look"] == look] for look in ("up", "down"))
    assert max(p["to"] for p in up) == pytest.approx(full)
    assert min(p["from"] for p in up) == pytest.approx(full - values[values > 0].sum())
    assert max(p["from"] for p in down) == pytest.approx(full - values[values < 0].sum())
    assert full - values.sum() == pytest.approx(e.base[3, 0])


@pytest.mark.parametrize("kind", ["waterfall", "force"])
def test_words_that_a_row_lacks_are_not_drawn(kind):
    e = make.text()
    assert {step["name"] for step in data_of(e.plot(kind, 1))} & set(e.players.of(0)[6:]) == set()
    assert export.svg(e.plot(kind, 1))


def test_a_swarm_has_a_dot_for_each_row_and_player():
    e = make.table("shapley")
    dots = data_of(figures.beeswarm(e, k=3))
    largest = [name for name, *_ in figures.mean_importance(e)[:3]]
    assert len(dots) == 3 * len(e) and {dot["name"] for dot in dots} == set(largest)
    place = e.players.of(0).index(largest[0])
    own = [dot for dot in dots if dot["name"] == largest[0]]
    assert [dot["x"] for dot in own] == pytest.approx(e.attributions[:, place, 0], rel=1e-5)
    cells = np.array([row[largest[0]] for row in e.rows])
    assert np.argmax([dot["c"] for dot in own]) == np.argmax(np.clip(cells, None, np.quantile(cells, 0.95)))
    assert min(dot["c"] for dot in own) == 0 and max(dot["c"] for dot in own) == 1
    assert data_of(figures.beeswarm(e, k=3)) == dots  # the same places at every call


def test_categories_and_empty_cells_are_grey_and_have_their_own_bands():
    e = make.table("shapley")
    name = figures.mean_importance(e)[0][0]
    rows = [row | {name: ("north", "south")[i % 2] if i else None} for i, row in enumerate(e.rows)]
    dots = [dot for dot in data_of(figures.beeswarm(replace(e, rows=rows))) if dot["name"] == name]
    assert all(dot["c"] is None for dot in dots)
    assert sorted({dot["label"] for dot in dots}) == ["= empty", "= north", f"{name} = south"]
    many = [row | {name: f"town {i}"} for i, row in enumerate(e.rows)]
    labels = {d["label"] for d in data_of(figures.beeswarm(replace(e, rows=many))) if d["name"] == name}
    assert "= the other 5" in labels and len(labels) == 4


def test_dots_of_one_place_lie_about_the_middle():
    e = make.table("shapley")
    dots = data_of(figures.beeswarm(replace(e, attributions=e.attributions * 0), k=1))
    assert len({dot["y"] for dot in dots}) == len(e) and abs(sum(dot["y"] for dot in dots)) < 1


def test_a_swarm_of_many_rows_says_how_many_it_shows():
    e = make.table("shapley", rows=2000)
    chart = figures.beeswarm(e, k=12)
    assert len(data_of(chart)) <= MOST_DOTS
    assert f"{MOST_DOTS // 12} of 2000 cases" in json.dumps(chart.to_dict(), ensure_ascii=False)


@pytest.mark.parametrize("kind", ["waterfall", "force", "beeswarm", "bar"])
@pytest.mark.parametrize("change", ["one", "zero", "negative", "hundred", "several"])
def test_odd_explanations_are_drawn(kind, change):
    e = make.table("shapley", names=("only",) if change == "one" else tuple(f"x{i}" for i in range(100))[:100])
    if change == "zero":
        e = replace(e, attributions=e.attributions * 0, full=e.base)
    if change == "negative":
        e = replace(e, base=e.base - 9, full=e.full - 9)
    options = {}
    if change == "several":
        e, options = replace(e, attributions=np.repeat(e.attributions, 2, 2), base=np.repeat(e.base, 2, 1),
                             full=np.repeat(e.full, 2, 1), outputs=(("a", "b"),) * len(e), errors=None,
                             several=True), {"output": 1}  # fmt: skip
    drawn = export.svg(e.plot(kind, **options))
    assert "NaN" not in drawn and "undefined" not in drawn


def test_the_summary_stacks_the_outputs():
    e = make.table("shapley")
    twice = replace(e, attributions=e.attributions * [1.0, -2.0], base=np.repeat(e.base, 2, 1), errors=None,
                    full=np.repeat(e.full, 2, 1), outputs=(("a", "b"),) * len(e), several=True)  # fmt: skip
    parts = data_of(twice.plot("summary"))
    for kind in ("beeswarm", "summary"):
        with pytest.raises(NotApplicable, match=r"is of all rows, and row 0 was asked for.*'waterfall'"):
            twice.plot(kind, row=0)
    with pytest.raises(InputError, match="'a' is no row's place"):
        twice.plot("bar", row="a")
    assert {part["output"] for part in parts} == {"a", "b"}
    assert parts[1]["value"] == pytest.approx(2 * parts[0]["value"])
    assert data_of(e.plot("summary")) == data_of(e.plot("beeswarm"))


def test_figures_are_chosen_by_name():
    e = make.table("shapley")
    assert data_of(e.plot("bar", 2)) == data_of(figures.contributions(e, 2)) == data_of(e.plot(2))
    assert data_of(e.plot("bar")) == data_of(figures.importance(e))
    assert data_of(e[2].plot("bar")) == data_of(figures.contributions(e, 2))
    assert make.image().plot("image", 1).to_dict()["hconcat"]
    with pytest.raises(UnknownName, match="waterfall"):
        e.plot("waterfal")
    for kind in ("waterfall", "force"):
        with pytest.raises(InputError):
            e.plot(kind, 99)
    with pytest.raises(InputError):
        e.plot("beeswarm", output=1)


def test_an_overlay_shows_the_picture_below_and_the_borders_of_patches():
    from pellucid.reports.figures.images import _bordered, _laid_over

    painted = np.full((4, 4, 3), 200, np.uint8)
    below = np.zeros((4, 4, 3), np.uint8)
    below[:2] = 255
    over = _laid_over(painted, below)
    assert (over[:2] == 200).all() and (over[2:] < 200).all()
    lines = _bordered(painted, np.array([[0, 0, 1, 1]] * 4))
    assert (lines[:, 2] < 200).all() and (np.delete(lines, 2, 1) == 200).all()
