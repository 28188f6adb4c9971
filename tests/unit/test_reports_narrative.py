"""Sentences: true to the record, the same every time, honest where a check failed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import records_factory as make
from hypothesis import given
from hypothesis import strategies as st

from pellucid.records.errors import InputError
from pellucid.records.explanation import Explanation
from pellucid.records.messages import Caution, catalogue
from pellucid.records.players import Players
from pellucid.reports import narrative
from pellucid.reports.words import Words, cell, clean, cut, fitted, isolated, number, percent, unique


def told(values, errors=None, language="en", audience="expert", **fields) -> str:
    values = np.array(values, dtype=float)
    names = [f"p{i}" for i in range(len(values))]
    kept = {
        "attributions": values[None, :, None],
        "players": Players.elements(names, kind="column"),
        "base": np.array([[0.0]]),
        "full": np.array([[values.sum()]]),
        "outputs": (("yes",),),
        "method": "shapley",
        "gaps": np.array([[0.0]]),
        "errors": None if errors is None else np.array(errors, dtype=float)[None, :, None],
    }
    return narrative.text(Explanation(**(kept | fields)), 0, language, audience)


def test_four_reasons_for_and_two_against_in_order():
    text = told([1, 2, 3, 4, 5, -1, -2, -3])
    raised, lowered = text.split("Lowered most by:")
    assert [f"p{i}" in raised for i in range(5)] == [False, True, True, True, True]
    assert raised.index("p4") < raised.index("p3") < raised.index("p2") < raised.index("p1")
    assert "p7" in lowered and "p6" in lowered and "p5" not in lowered


def test_cells_stand_beside_their_names():
    e = make.table("shapley", rows=1)
    e = replace(e, rows=[{**e.rows[0], "mean radius": 17.99, "mean texture": "coarse", "mean area": None}])
    text = narrative.text(e, 0)
    for name, shown in (("mean radius", "17.99"), ("mean texture", "“coarse”"), ("mean area", "empty")):
        if f"“{name}”" in text:
            assert f"“{name}” = {shown}" in text


@pytest.mark.parametrize("audience", narrative.AUDIENCES)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_failed_gap_is_said_to_everybody(audience, language):
    good, bad = (told([1, 2], gaps=np.array([[gap]]), language=language, audience=audience) for gap in (0.0, 0.12))
    assert "12%" in bad and "12%" not in good


def test_ties_and_signs_that_are_not_settled_are_said():
    text = told([1.0, 0.99, 0.5, 0.01], errors=[0.05, 0.05, 0.01, 0.05])
    assert "Order not settled within the sampling error: “p0” and “p1”." in text
    assert "Cannot be told from zero: “p3”." in text
    assert "“p3” (" not in text
    assert "not settled" not in told([1.0, 0.5], errors=[0.01, 0.01])


def test_a_method_that_does_not_promise_a_sum_says_so():
    assert "does not promise" in told([1, 2], gaps=None)
    assert "add up" in told([1, 2])


def test_undefined_numbers_give_no_reasons():
    text = told([np.nan, np.nan], full=np.array([[np.nan]]))
    assert "undefined" in text and "p0" not in text


def test_nothing_contributes():
    assert "No part of the input" in told([0, 0])


@pytest.mark.parametrize("audience", narrative.AUDIENCES)
def test_rounding_is_no_contribution(audience):
    text = told([1.0, -0.5, 1e-9, -1e-17], audience=audience)
    assert "p0" in text and "p1" in text and "p2" not in text and "p3" not in text
    flat = {"base": np.array([[3.0]]), "full": np.array([[3.0]])}
    assert "No part of the input" in told([1e-12, -1e-12], audience=audience, **flat)


def test_plus_minus_is_promised_where_it_is_printed_and_nowhere_else():
    sampled = told([1.0, 0.5], errors=[0.01, 0.1])
    assert "“p0” (+1.00 ± 0.0196)" in sampled and "± is a 95 % interval" in sampled
    exact = told([1.0, 0.5], errors=[0.0, 0.0])
    assert "±" not in exact and "the amounts are exact" in exact
    unknown = told([1.0, 0.5], errors=[np.nan, np.nan])
    assert "±" not in unknown and "sampling error of these amounts is not known" in unknown
    assert "±" not in told([0.01, 0.01], errors=[0.1, 0.1])  # nothing clear, so no amount


def test_prints_hold_the_same_interval_and_say_so():
    e = make.table("shapley", rows=1)
    name, value, error = e.top(1)[0]
    assert f"{name} {value:+.3g} ± {1.96 * error:.2g}" in repr(e) and "(± 95 % interval)" in repr(e)
    assert "±" not in repr(replace(e, errors=np.zeros_like(e.errors)))
    small = replace(e, attributions=np.where(np.arange(16)[:, None] == 3, 1.0, 1e-17)[None], errors=None)
    assert repr(small).count("e-1") == 0 and "mean area +1" in repr(small)


def test_prints_say_how_grave_a_caution_is():
    grave = tuple(Caution.of("methods_disagree", severity, value=0.1) for severity in ("red", "yellow", "note"))
    printed = repr(replace(make.table("shapley", rows=1), warnings=grave))
    assert [line[:6] for line in printed.splitlines()[-3:]] == ["  ! Se", "  ! Ca", "  ! No"]
    assert "Serious: " in told([1, 2], warnings=grave[:1])
    assert "严重：" in told([1, 2], language="zh", warnings=grave[:1])


def test_a_flat_output_is_said():
    assert "cancel each other" in told([1, -1])


def test_the_gravest_cautions_are_said_and_the_rest_counted():
    cautions = tuple(
        Caution.of("methods_disagree", severity, value=v)
        for v, severity in ((0.1, "note"), (0.2, "yellow"), (0.3, "yellow"), (0.4, "red"))
    )
    text = told([1, 2], warnings=cautions)
    assert "0.40" in text and "0.20" in text and "0.30" not in text and "0.10" not in text
    assert text.index("0.40") < text.index("0.20") and "Further cautions: 1." in text


def test_the_person_is_told_that_a_machine_wrote_and_that_it_is_no_cause():
    for language, machine, cause in (("en", "written by a machine", "not causes"), ("zh", "机器自动撰写", "而非原因")):
        text = told([1, -2], language=language, audience="person")
        assert machine in text and cause in text
        assert "(+1" not in text  # amounts are for those who know the scale


def test_pictures_are_told_by_place():
    heat = np.zeros((9, 9))
    heat[:3, 6:] = 1
    players = Players.elements([f"pixel {i}" for i in range(81)], layout=(9, 9), kind="pixel")
    e = Explanation(
        attributions=heat.reshape(1, -1, 1),
        players=players,
        base=np.zeros((1, 1)),
        full=np.full((1, 1), 9.0),
        outputs=(("cat",),),
        method="shapley",
    )
    assert "Raised most by: the upper right of the picture (+9.00)." in narrative.text(e)
    sampled = narrative.text(replace(e, errors=np.full((1, 81, 1), 0.1)))
    assert "±" not in sampled and "is not known" in sampled


def test_texts_are_the_same_every_time():
    assert narrative.text(make.table(), 3) == narrative.text(make.table(), 3)


@pytest.mark.parametrize(
    ("row", "language", "audience"), [(9, "en", "expert"), (0, "fr", "expert"), (0, "en", "judge")]
)
def test_unknown_rows_languages_and_readers_are_refused(row, language, audience):
    with pytest.raises(InputError):
        narrative.text(make.table(), row, language, audience)


@given(st.text(), st.text())
def test_names_are_never_interpreted(name, other):
    names = [name, other + "x"] if name != other + "x" else [name, name + "y"]
    players = Players.elements(names, kind="column")
    e = Explanation(
        attributions=np.array([[[1.0], [-1.0]]]),
        players=players,
        base=np.zeros((1, 1)),
        full=np.ones((1, 1)),
        outputs=((name,),),
        method="shapley",
        rows=[{name: other}],
    )
    for language in ("en", "zh"):
        for audience in narrative.AUDIENCES:
            text = narrative.text(e, 0, language, audience)
            assert cut(name) in text
            text.encode("utf-8")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (-0.0004, "−0.000400"),
        (0.12345, "0.123"),
        (17.99, "18.0"),
        (999.7, "1,000"),
        (12345.6, "12,346"),
        (1e-6, "1.00e-06"),
        (2.5e8, "2.50e+08"),
        (float("nan"), "—"),
        (float("inf"), "—"),
        (0.9996, "1.000"),
    ],
)
def test_numbers(value, text):
    assert number(value) == text


@given(st.floats(-1e300, 1e300))
def test_numbers_keep_three_digits_and_no_negative_nought(value):
    text = number(value)
    assert text != "−0"
    assert float(text.replace("−", "-").replace(",", "")) == pytest.approx(value, rel=6e-3, abs=0)


def test_percentages_and_cells():
    assert [percent(v) for v in (0, 0.0004, 0.0123, 0.5, 1.2)] == ["0%", "< 0.1%", "1.2%", "50%", "120%"]
    assert [cell(v, "mm") for v in (17.990001, None, float("nan"), "x", True, 3)] == [
        "17.99 mm",
        "",
        "",
        "x mm",
        "True mm",
        "3 mm",
    ]


@given(st.text())
def test_isolated_text_is_balanced_and_holds_the_original(text):
    shown, depth = isolated(clean(text)), 0
    assert clean(text) in shown
    for letter in shown:
        depth += (letter in "\u2066\u2067\u2068") - (letter == "\u2069")
        assert depth >= 0
    assert depth == 0


def test_fitted_counts_wide_letters_twice():
    assert fitted("长长长长", 8) == "长长长长" and fitted("长长长长长", 8) == "长长长…"
    assert len(fitted("x" * 99, 10)) == 10


def test_unique_labels_look_alike():
    assert [label.replace("\u200b", "") for label in unique(["a", "a", "b"])] == ["a", "a", "b"]
    assert len(set(unique(["a", "a", "b"]))) == 3


def test_messages_of_other_versions_do_not_stop_a_report():
    assert Words().of(Caution.of("never heard of", "red", x="y")) == "never heard of (x: y)"
    assert "gap" in Words().of(Caution.of("gap", "red"))


@pytest.mark.parametrize("room", ["report", "narrative"])
def test_both_languages_have_the_same_placeholders(room):
    from string import Formatter

    for code, entry in catalogue().items():
        if code.startswith(room + "."):
            fields = [
                {name for _, name, _, _ in Formatter().parse(entry[language]) if name} for language in ("en", "zh")
            ]
            assert fields[0] == fields[1], code
            assert entry["en"] and entry["zh"], code


def test_the_parts_of_a_picture_add_up_to_the_contributions_of_its_patches():
    from pellucid.records.explanation import Explanation
    from pellucid.records.players import Players
    from pellucid.reports.figures.images import share_map

    places = np.arange(12) // 3
    labels = np.broadcast_to(places[:, None] * 4 + places, (2, 12, 12)).reshape(-1)
    players = Players.shared(labels, [f"p{i}" for i in range(16)], kind="patch", layout=(2, 12, 12))
    values = np.zeros((1, 16, 1))
    values[0, 0, 0], values[0, 15, 0] = 2.0, -0.5
    e = Explanation(
        attributions=values,
        players=players,
        base=np.zeros((1, 1)),
        full=np.full((1, 1), 1.5),
        outputs=(("yes",),),
        method="occlusion",
    )
    assert share_map(e).sum() == pytest.approx(1.5)
    told = narrative.text(e, 0, "en", "expert")
    assert "upper left of the picture (+2.00)" in told and "lower right of the picture (−0.500)" in told
