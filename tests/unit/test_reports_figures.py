"""Figures: valid specifications with the right numbers in them, and names that stay data."""

from __future__ import annotations

import base64
import json
import re
import struct
import xml.etree.ElementTree as ElementTree
import zlib
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import records_factory as make
from nasty_names import Nasty, nasty_names
from scipy.stats import spearmanr

pytest.importorskip("altair")

from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.explanation import Explanation
from pellucid.records.finding import Finding
from pellucid.records.players import Players
from pellucid.records.profile import Profile
from pellucid.records.score import Score
from pellucid.reports import export, figures
from pellucid.reports.figures.images import png


def rows_of(chart) -> list[dict]:
    """The rows of a chart's largest dataset."""
    return max(chart.to_dict()["datasets"].values(), key=len)


def several(e: Explanation) -> Explanation:
    """The same explanation of three outputs."""
    shares = np.array([1.0, -0.5, 0.25])
    return replace(
        e,
        attributions=e.attributions * shares,
        errors=None,
        gaps=None,
        base=np.repeat(e.base, 3, 1),
        full=e.base + np.nansum(e.attributions, 1) * shares,
        outputs=(("a", "b", "c"),) * len(e),
        several=True,
    )


@cache
def specs(language: str = "en", nasty: bool = False) -> dict[str, dict]:
    """One of each figure as its specification, which was checked against Vega-Lite's schema."""
    return {name: chart.to_dict() for name, chart in charts(language, Nasty() if nasty else str).items()}


def charts(language: str, rename):
    """One of each figure."""
    study = make.study(rename=rename)
    compared = {name: e for name, e in study.explanations.items() if name != "random"}
    finding, calibration = study.findings
    line = Finding("performance", "x", curves={"predictions": np.array([[1.0, 1.2], [2.0, 1.9]])})
    return {
        "contributions": figures.contributions(compared["shapley"], 1, schema=study.schema, language=language),
        "words": figures.contributions(make.text(rename=rename), 1, language=language),
        "importance": figures.importance(compared["lime"], language=language),
        "image": figures.image_overlay(make.image(rename=rename), 0, language=language),
        "importance_map": figures.importance_map(make.image(rename=rename), language=language),
        "waterfall": figures.waterfall(compared["shapley"], 1, schema=study.schema, language=language),
        "force": figures.force(compared["shapley"], 1, schema=study.schema, language=language),
        "beeswarm": figures.beeswarm(compared["shapley"], schema=study.schema, language=language),
        "summary": figures.summary(several(compared["shapley"]), language=language),
        "truth": figures.beside_truth(compared, study.truth, 0, language=language),
        "curves": figures.curves([s for s in study.scores if s.metric == "deletion"], language=language),
        "scores": figures.scores_matrix(study.scores, language=language),
        "agreement": figures.agreement_matrix(compared, language=language),
        "roc": figures.roc(finding, language=language),
        "pr": figures.precision_recall(finding, language=language),
        "reliability": figures.reliability(calibration, language=language),
        "scatter": figures.scatter(line, language=language),
        "confusion": figures.confusion(finding, language=language),
        "distributions": figures.distributions(study.profile, k=3, language=language),
        "correlations": figures.correlations(study.profile, language=language),
        "missing": figures.missing(study.profile, language=language),
    }


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_figure_is_valid_described_and_small(language):
    for name, spec in specs(language).items():
        assert spec["description"], name
        assert len(json.dumps(spec)) < 60_000, name


def test_every_figure_becomes_svg():
    for name, spec in specs(nasty=True).items():
        root = ElementTree.fromstring(export.svg(spec))
        assert root.tag.endswith("svg"), name
        assert not root.findall(".//{http://www.w3.org/2000/svg}script"), name


def test_names_never_become_fields_or_expressions():
    def parts(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("field", "filter", "expr", "labelExpr", "calculate", "test"):
                    yield json.dumps(value)
                if key not in ("datasets", "values"):
                    yield from parts(value)
        elif isinstance(node, list):
            for item in node:
                yield from parts(item)

    plain, nasty = ({name: sorted(parts(spec)) for name, spec in specs(nasty=bad).items()} for bad in (False, True))
    assert plain == nasty


def test_contributions_show_top_k_rest_and_intervals():
    e = make.table("shapley")
    rows = rows_of(figures.contributions(e, 2, k=4))
    values = e.attributions[2, :, 0]
    order = np.argsort(-np.abs(values))
    assert [row["value"] for row in rows[:4]] == pytest.approx(values[order[:4]])
    assert rows[4]["value"] == pytest.approx(values[order[4:]].sum())
    assert rows[4]["low"] is None and rows[4]["rest"] is True
    assert rows[0]["high"] - rows[0]["low"] == pytest.approx(2 * 1.96 * 0.02)
    name = e.players.of(2)[order[0]]
    assert rows[0]["label"] == f"{name}\n= {e.rows[2][name]:.6g}"


def test_players_of_one_name_keep_their_own_bars():
    e = Explanation(
        attributions=np.array([[[3.0], [2.0], [1.0]]]),
        players=Players.elements(("a", "a", "a")),
        base=np.zeros((1, 1)),
        full=np.ones((1, 1)),
        outputs=(("y",),),
        method="m",
    )
    labels = [row["label"] for row in rows_of(figures.contributions(e))]
    assert len(set(labels)) == 3 and {label.replace("\u200b", "") for label in labels} == {"a"}


@pytest.mark.parametrize(("row", "output"), [(8, 0), (-9, 0), (0, 1)])
def test_rows_and_outputs_that_are_not_there_are_refused(row, output):
    with pytest.raises(InputError):
        figures.contributions(make.table(), row, output=output)


def test_importance_is_the_mean_size():
    e = make.table("lime")
    found = {name: (mean, error) for name, mean, error, _ in figures.mean_importance(e)}
    sizes = np.abs(e.attributions[:, :, 0])
    for place, name in enumerate(e.players.of(0)):
        assert found[name] == pytest.approx((sizes[:, place].mean(), sizes[:, place].std(ddof=1) / np.sqrt(len(e))))


def test_importance_of_words_counts_only_rows_that_have_them():
    found = {name: rows for name, _, _, rows in figures.mean_importance(make.text())}
    assert found["film"] == 2 and found["wonderful"] == 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch", [1, 2])
def test_heat_maps_count_a_player_once_per_place(patch, channels):
    e = make.image(patch=patch, channels=channels)
    heat = figures.heat_map(e, 1)
    expected = e.attributions[1, :, 0].reshape(8 // patch, 8 // patch).repeat(patch, 0).repeat(patch, 1)
    assert heat == pytest.approx(expected)


def test_heat_maps_add_up_players_of_different_channels():
    players = Players.elements([str(i) for i in range(12)], layout=(3, 2, 2), kind="pixel")
    e = Explanation(
        attributions=np.arange(12.0)[None, :, None],
        players=players,
        base=np.zeros((1, 1)),
        full=np.ones((1, 1)),
        outputs=(("y",),),
        method="m",
    )
    assert figures.heat_map(e).tolist() == [[0 + 4 + 8, 1 + 5 + 9], [2 + 6 + 10, 3 + 7 + 11]]


def test_what_nobody_owns_is_not_zero():
    players = Players.shared(np.array([0, -1, 1, -1]), ["a", "b"], kind="region", layout=(2, 2))
    e = Explanation(
        attributions=np.ones((1, 2, 1)),
        players=players,
        base=np.zeros((1, 1)),
        full=np.ones((1, 1)),
        outputs=(("y",),),
        method="m",
    )
    assert np.isnan(figures.heat_map(e)).tolist() == [[False, True], [False, True]]


def test_heat_maps_need_pictures():
    with pytest.raises(NotApplicable):
        figures.heat_map(make.table())


def test_png_holds_the_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
    data = base64.b64decode(png(pixels).removeprefix("data:image/png;base64,"))
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", data[16:24]) == (7, 5)
    size = struct.unpack(">I", data[33:37])[0]
    lines = np.frombuffer(zlib.decompress(data[41 : 41 + size]), np.uint8).reshape(5, 22)
    assert (lines[:, 1:].reshape(5, 7, 3) == pixels).all()


def test_large_pictures_stay_small():
    rng = np.random.default_rng(0)
    players = Players.shared(
        np.arange(16).reshape(4, 4).repeat(128, 0).repeat(128, 1).ravel(),
        list("abcdefghijklmnop"),
        kind="patch",
        layout=(512, 512),
    )
    e = Explanation(
        attributions=rng.normal(size=(1, 16, 1)),
        players=players,
        base=np.zeros((1, 1)),
        full=np.ones((1, 1)),
        outputs=(("y",),),
        method="m",
        rows=rng.random((1, 3, 512, 512)),
    )
    assert len(json.dumps(figures.image_overlay(e).to_dict())) < 400_000


@pytest.mark.parametrize("layout", [(8, 8), (1, 8, 8), (8, 8, 1), (8, 8, 3)])
def test_every_layout_of_pictures_is_drawn(layout):
    e = make.image()
    rows = np.random.default_rng(0).random((len(e), *layout))
    assert figures.image_overlay(replace(e, rows=rows)).to_dict()["hconcat"]


def test_advantage_is_zero_at_the_control_and_knows_the_direction():
    def score(value, better):
        return Score("m", "x", np.array([value]), better, controls={"random": 0.5})

    assert figures.advantage([score(0.5, "higher"), score(0.9, "higher"), score(0.4, "higher")]) == pytest.approx(
        [0, 1, -0.25]
    )
    assert figures.advantage([score(0.1, "lower"), score(0.7, "lower")]) == pytest.approx([1, -0.5])
    assert np.isnan(figures.advantage([score(0.1, "neither")])).all()


def test_agreement_is_spearmans_rank_correlation_of_sizes():
    first, second = make.table("shapley"), make.table("lime")
    sizes = np.abs(first.attributions[:, :, 0]), np.abs(second.attributions[:, :, 0])
    expected = np.mean([spearmanr(sizes[0][i], sizes[1][i])[0] for i in range(8)])
    matrix = figures.agreement({"a": first, "b": second})
    assert matrix[0, 1] == pytest.approx(expected) and matrix[0, 0] == pytest.approx(1)


def test_curves_of_every_shape():
    values = np.zeros(3)
    for curve in (np.ones(5), np.ones((3, 5)), np.stack([np.linspace(0, 1, 5), np.ones(5)], 1)):
        rows = rows_of(figures.curves(Score("deletion", "m", values, "lower", curves={"deletion": curve})))
        assert [row["x"] for row in rows] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
        assert {row["y"] for row in rows} == {1.0}
    with pytest.raises(NotApplicable):
        figures.curves(Score("m", "m", values, "lower"))


def test_empty_things_are_refused_with_a_reason():
    empty = Profile(rows=0, splits={})
    for draw in (figures.distributions, figures.correlations, figures.missing):
        with pytest.raises(NotApplicable):
            draw(empty)
    for draw in (figures.roc, figures.precision_recall, figures.reliability, figures.confusion, figures.scatter):
        with pytest.raises(NotApplicable):
            draw(Finding("x", "y"))


def test_histograms_stack_the_labels():
    column = make.profile().columns[0]
    rows = rows_of(figures.distribution(column))
    tops = {}
    for row in rows:
        assert row["to"] - row["from"] == row["rows"]
        tops[row["left"]] = max(tops.get(row["left"], 0), row["to"])
    assert list(tops.values()) == list(column.counts)


def test_exports_are_files_of_their_kind():
    chart = figures.importance(make.table())
    assert export.png(chart).startswith(b"\x89PNG") and export.pdf(chart).startswith(b"%PDF")
    assert 'width="' in export.svg(chart, width=300)


def test_the_bundle_can_stand_in_a_page_and_brings_the_interpreter():
    script = export.bundle()
    assert "</script" not in script.lower() and "<!--" not in script
    assert "expressionInterpreter" in script and len(script) < 1_200_000


def test_there_are_enough_nasty_names():
    assert len(nasty_names()) >= 200


def test_a_figure_saved_by_itself_runs_no_name(tmp_path):
    """Altair puts a chart into a script as it stands: what a column is called must not end it."""
    markup = [name for name in nasty_names() if "<" in name]
    assert any("</script" in name for name in markup)
    for name in markup:
        make.table(rename=lambda _, name=name: name).plot().save(tmp_path / "figure.html")
        page = (tmp_path / "figure.html").read_text(encoding="utf-8").lower()
        scripts = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
        assert len(scripts) == page.count("<script") == page.count("</script") and "$schema" in scripts[-1], name
        assert "<!--" not in scripts[-1]
