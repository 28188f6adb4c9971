"""Figures and sentences of interactions: the right numbers, names that stay data, both languages, bad requests."""

import json

import numpy as np
import pytest

pytest.importorskip("altair")

import pellucid
from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.records.players import Players
from pellucid.reports import export, figures, together

HOSTILE = ("<script>alert(1)</script>", "__proto__", "datum.x", "年龄", "\u202eevil", "x\ny", "", "age", "b" * 90)


def found(names=("age", "income", "sex"), rows=2, **settings):
    n = len(names)
    weights = np.linspace(-1, 1, n)

    def model(x):
        x = np.asarray(x)
        return np.tanh(x @ weights) + 2 * x[:, 0] * x[:, min(1, n - 1)] - 3 * x[:, min(2, n - 1)]

    given = {"players": Players.elements(names, kind="column"), "background": np.zeros((1, n))}
    return pellucid.explain(model, np.ones((rows, n)), "shapley_interactions", **given, **settings)


def lines_of(chart) -> list[list[dict]]:
    return list(chart.to_dict()["datasets"].values())


def test_the_heat_map_holds_all_pairs_and_main_effects_with_their_errors():
    e = found(tuple(f"column {i}" for i in range(13)), samples=120)
    cells = max(lines_of(e.plot()), key=len)
    assert len(cells) == 13 * 13
    by_name = {cell["name"]: cell for cell in cells}
    assert by_name["column 0 × column 1"]["value"] == pytest.approx(e.of(0, 1))
    assert by_name["column 4"]["value"] == pytest.approx(e.of(4)) and "±" in by_name["column 4"]["full"]


def test_the_network_draws_the_strongest_pairs_on_a_circle():
    e = found(tuple("abcdefgh"))
    data = lines_of(e.plot("network", k=5))
    nodes, edges = sorted((d for d in data if d), key=len)[::-1][0], next(d for d in data if "x2" in d[0])
    assert len(nodes) == 8 and len(edges) == 5
    assert edges[-1]["name"] == "a × b" and edges[-1]["side"] == "raises the output"
    assert np.allclose([node["x"] ** 2 + node["y"] ** 2 for node in nodes], 1)
    assert {node["name"]: node["size"] for node in nodes}["c"] == pytest.approx(abs(e.of("c")))


@pytest.mark.parametrize("count", [1, 2, 9, 15, 40])
@pytest.mark.parametrize("figure", ["heatmap", "network"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_figures_of_any_number_of_players_and_any_names_are_valid(count, figure, language):
    names = tuple((HOSTILE * 5)[i] + ("" if i < 9 else str(i)) for i in range(count))
    e = found(names, rows=1, **({} if count < 12 else {"samples": 4 * count + 2}))
    spec = e.plot(figure, language=language).to_dict()
    assert spec["description"] and len(json.dumps(spec)) < 400_000
    drawn = export.svg(spec)
    assert drawn.startswith("<svg") and "<script" not in drawn
    if count == 40 and figure == "heatmap":
        assert max(len(d) for d in spec["datasets"].values()) == 30 * 30


def test_text_tells_the_strongest_and_what_cannot_be_told_from_zero():
    e = found()
    told = e.text()
    assert "Together, “age” and “income” raise it by" in told and "k-SII" in told and "add up" in told
    assert "共同作用" in e.text(language="zh")
    person = e.text(audience="person")
    assert "machine" in person and "±" not in person and "seed" not in person
    assert "does not promise" in found(index="SII").text()
    given = {"method": "shapley_interactions", "background": np.zeros((1, 3))}
    flat = pellucid.explain(lambda x: np.asarray(x).sum(1), np.ones((1, 3)), **given)
    assert "No interaction can be told from zero." in flat.text()
    triple = pellucid.explain(lambda x: np.asarray(x).prod(1), np.ones((1, 3)), index="STII", order=3, **given)
    assert "“x0”, “x1” and “x2” raise it by 1" in triple.text()


def test_bad_requests_are_sentences():
    e = found()
    with pytest.raises(UnknownName, match="did you mean 'heatmap'"):
        e.plot("heat map")
    with pytest.raises(InputError, match="row 7 of interactions of 2 rows"):
        figures.network(e, 7)
    with pytest.raises(InputError, match="output 3"):
        figures.heatmap(e, output=3)
    with pytest.raises(NotApplicable, match="hold no pairs"):
        found(order=1).plot()
    for options in ({"audience": "king"}, {"language": "xx"}, {"row": 9}):
        with pytest.raises(InputError):
            together.text(e, **options)


def test_a_notebook_shows_it():
    shown = found(HOSTILE[:5])._repr_html_()
    assert "<img" in shown and "<script>" not in shown
