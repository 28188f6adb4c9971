"""Figures and sentences of series: bands where players lie, lines of the rows, names of channels and times."""

import re

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("altair")

import pellucid
from pellucid.players import ChangePoints, Channels, Players, Steps, Windows
from pellucid.records.errors import InputError, NotApplicable
from pellucid.removals import SegmentMean
from pellucid.reports import figures

X = np.random.default_rng(0).normal(size=(4, 2, 24)).astype(np.float32)
WEIGHTS = np.zeros((2, 24))
WEIGHTS[1, 10:14] = 1.0


def model(x):
    return (x * WEIGHTS).sum((1, 2))


def explained(units, method="occlusion", rows=X, **declared):
    series = pellucid.Series(rows, **({"channels": ("heat", "load")} | declared))
    return pellucid.explain(model, series, method, players=units, removal=SegmentMean())


def drawn(chart, field):
    """The rows of a chart's data that have a field, table by table."""
    return [rows for rows in chart.to_dict()["datasets"].values() if rows and field in rows[0]]


def test_each_channel_has_a_panel_with_bands_and_its_line():
    e = explained(Windows(6))
    chart = e.plot(1)
    spec = chart.to_dict()
    assert [panel["title"] for panel in spec["vconcat"]] == ["heat", "load"]
    heat, load = drawn(chart, "v")
    assert [(band["from"], band["to"]) for band in load] == [(0, 6), (6, 12), (12, 18), (18, 24)]
    assert np.allclose([band["v"] for band in load], e.values[1, 4:]) and not any(band["v"] for band in heat)
    lines = drawn(chart, "y")
    assert any(np.allclose([point["y"] for point in line], X[1, 1], atol=1e-6) for line in lines)
    assert "load, steps 6–11" in spec["description"]


def test_a_channel_of_segments_together_is_drawn_in_every_channel():
    chart = explained(Windows(12, "together")).plot(0)
    assert len(drawn(chart, "v")[0]) == 2
    panels = chart.to_dict()["vconcat"]
    colours = [panel["layer"][0]["encoding"]["color"]["scale"]["domain"] for panel in panels]
    assert colours[0] == colours[-1] and colours[0][0] == -colours[0][-1]


def test_rows_in_the_other_order_and_of_their_own_players_are_drawn_alike():
    turned = pellucid.explain(
        lambda x: model(x.swapaxes(1, 2)), pellucid.Series(X.swapaxes(1, 2), ("heat", "load"), time="first"),
        "occlusion", players=Windows(6), removal=SegmentMean(),
    )  # fmt: skip
    for one, other in zip(drawn(turned.plot(2), "v"), drawn(explained(Windows(6)).plot(2), "v"), strict=True):
        assert [band["when"] for band in one] == [band["when"] for band in other]
        assert [band["v"] for band in one] == pytest.approx([band["v"] for band in other], abs=1e-5)
    own = explained(ChangePoints(penalty=1.0, shortest=4))
    assert len(drawn(own.plot(3), "v")[0]) == own.players.counts[3]


def test_many_steps_are_thinned_to_the_largest_of_each_place():
    rows = np.zeros((1, 1, 1000), np.float32)
    rows[0, 0, 503] = 5.0
    e = pellucid.explain(lambda x: x.sum((1, 2)), pellucid.Series(rows), "occlusion", players=Steps())
    bands = drawn(e.plot(), "v")[0]
    assert len(bands) <= 240 and max(band["v"] for band in bands) == pytest.approx(5.0)


def test_of_many_channels_the_eight_that_matter_are_drawn():
    rows = np.random.default_rng(1).normal(size=(1, 12, 10)).astype(np.float32)
    e = pellucid.explain(lambda x: x[:, 11].sum(1), pellucid.Series(rows), "occlusion", players=Channels())
    spec = e.plot().to_dict()
    assert len(spec["vconcat"]) == 8 and spec["vconcat"][-1]["title"] == "channel 11"
    assert spec["title"]["text"].startswith("4 more channels")


def test_the_mean_over_rows_is_one_sided():
    e = explained(Windows(6))
    bands = drawn(figures.series_overall(e), "v")[1]
    assert np.allclose([band["v"] for band in bands], np.abs(e.values[:, 4:]).mean(0))
    with pytest.raises(NotApplicable, match="players of their own"):
        figures.series_overall(explained(ChangePoints(penalty=1.0, shortest=4)))


def test_other_rows_are_not_drawn_as_series():
    table = pellucid.explain(lambda x: x.sum(1), X[:, 0], "occlusion")
    with pytest.raises(NotApplicable, match="are not series"):
        table.plot("series")
    with pytest.raises(InputError, match="row 9"):
        figures.series_bands(explained(Windows(6)), 9)


def test_times_as_texts_stand_under_the_axis():
    chart = explained(Windows(6), times=[f"12:{m:02}" for m in range(24)]).plot()
    assert [tick["label"] for tick in drawn(chart, "label")[0]] == ["12:00", "12:05", "12:11", "12:17", "12:23"]


# Sentences ---------------------------------------------------------------------------------


def test_sentences_speak_of_channels_and_steps():
    told = explained(Windows(12)).text(0)
    assert "steps 0 to 11 of “load”" in told and "steps 12 to 23 of “load”" in told
    assert "“load” 的第 0 至 11 步" in explained(Windows(12)).text(0, language="zh")
    assert "all of “load”" in explained(Channels()).text(0)
    assert "整个 “load”" in explained(Channels()).text(0, language="zh")
    assert "steps 0 to 11 (" in explained(Windows(12, "together")).text(0)


def test_sentences_speak_of_times_where_they_are_known():
    clock = [f"12:{m:02}" for m in range(24)]
    assert "“load” from 12:00 to 12:11" in explained(Windows(12), times=clock).text(0)
    assert "“load” 在 12:00 至 12:11" in explained(Windows(12), times=clock).text(0, language="zh")
    seconds = explained(Windows(12), times=np.arange(24) / 2, unit="s").text(0)
    assert "“load” from 0 to 5.5 s" in seconds


def test_many_steps_are_told_by_windows_of_theirs():
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 1, bias=False)).eval()
    with torch.no_grad():
        net[1].weight.copy_(torch.from_numpy(WEIGHTS.reshape(1, -1)))
    ones = np.ones_like(X)
    e = pellucid.explain(net, pellucid.Series(ones, ("heat", "load")), "integrated_gradients")
    told = e.text(0)
    assert "steps 10 to 11 of “load” (+2.00)" in told and "steps 12 to 13 of “load” (+2.00)" in told
    assert "Each amount is the sum over its stretch of the series; the record holds one for each of 48 smaller" in told
    assert "48 个更小的部分" in e.text(0, "zh") and "smaller parts" not in e.text(0, audience="person")
    assert "smaller parts" not in explained(Windows(12)).text(0)


def test_players_that_are_no_stretch_are_told_by_their_names():
    odd = Players.shared(np.tile(np.arange(24) % 2, 2), ("even <b>steps</b>", "odd steps"))
    e = pellucid.explain(model, pellucid.Series(X), "occlusion", players=odd, removal=SegmentMean())
    assert "“even <b>steps</b>”" in e.text(0)


def test_an_audit_of_series_needs_model_data_and_label(tmp_path):
    path = tmp_path / "moves.npz"
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(60, 2, 24)).astype(np.float32), np.arange(60) % 2
    x[y == 1, 1, 10:14] += 3.0
    np.savez(path, series=x, y=y, channel_names=np.array(["heat", "load"]))
    net = nn.Sequential(nn.Conv1d(2, 2, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).eval()
    study = pellucid.audit(
        net, str(path), label="y", out=tmp_path / "run", rows=4, methods=["occlusion", "saliency"], metrics=["abpc"],
        budget=40,
    )  # fmt: skip
    assert not study.failed
    e = study.explanations["occlusion"]
    assert e.removal["name"] == "Interpolated" and e.players.kind == "window" and e.players.axes.channels[1] == "load"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "of “load”" in page and "at each time of the series" in page


def test_marked_steps_of_the_data_are_graded_in_an_audit(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"t": np.arange(1200), "value": rng.normal(size=1200), "odd": 0})
    for start in range(25, 1200, 60):
        frame.loc[start : start + 4, ["value", "odd"]] = [6.0, 1]
    frame["odd"] = frame["odd"].astype(int)
    data = pellucid.read(frame, time="t", label="odd", window=40)
    study = pellucid.audit(
        lambda x: np.maximum(x - 3, 0).sum((1, 2)), data, out=tmp_path / "run", rows=6, methods=["occlusion"],
        players=Windows(4), metrics=["relevance_mass"],
    )  # fmt: skip
    score = next(score for score in study.scores if score.metric == "relevance_mass")
    assert score.value > 0.6 and "local_deviation" in score.controls


def test_the_table_of_the_command_line_names_the_stretches_of_the_sentences(tmp_path, capsys, monkeypatch):
    import typer

    from pellucid.backends.saving import save_weights
    from pellucid.faces import cli, running

    monkeypatch.chdir(tmp_path)
    (tmp_path / "heads.py").write_text(
        "from torch import nn\ndef head(): return nn.Sequential(nn.Flatten(), nn.Linear(80, 2))\n"
    )
    torch.manual_seed(0)
    save_weights(nn.Sequential(nn.Flatten(), nn.Linear(80, 2)), tmp_path / "net.safetensors")
    x = np.random.default_rng(0).normal(size=(20, 2, 40)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", series=x, y=np.arange(20) % 2, channel_names=np.array(["load", "heat"]))
    words = ("explain", "heads:head", "rows.npz", "--weights", "net.safetensors", "--label", "y", "--rows", "0",
             "--method", "integrated_gradients", "--removal", "mean", "--top", "40")  # fmt: skip
    code = running.run(typer.main.get_command(cli.app), words)
    out = capsys.readouterr().out
    assert code == 0
    sentences, table = out.split("\nplayer", 1)
    told = re.findall(r"steps \d+ to \d+ of “\w+”", sentences)
    assert told and all(stretch in table for stretch in told) and "step 3" not in table
