"""A long table of measurements on the command line: from the file to the report, and rows from a file beside it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import typer
from torch import nn

import pellucid
from pellucid.backends.saving import export_network
from pellucid.data.series_encoding import SeriesEncoding
from pellucid.faces import cli, running

READING = {"time": "hour", "id": "unit", "channel": "sensor", "value": "reading"}
NAMED = (
    "--label",
    "y",
    "--encoding",
    "encoding.json",
    *(word for one in READING.items() for word in ("--read", "=".join(one))),
)
HOSTILE = "<script>alert(1)</script>|*load*"
"""The name of a channel that would run, or turn a table into another, if anything obeyed it."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty series of 12 to 20 hours; those of class 1 have a bump in one channel. Unsorted, on raw scales."""
    folder, rng = tmp_path_factory.mktemp("series"), np.random.default_rng(0)
    parts = []
    for unit in range(40):
        hours, y = np.arange(int(rng.integers(12, 21))), unit % 2
        bump = 9.0 * y * ((hours > 4) & (hours < 8))
        for sensor, level in (("heat", 300 + rng.normal(size=len(hours))), (HOSTILE, 5 + bump + hours * 0.01)):
            parts.append(
                pd.DataFrame({"unit": f"u{unit:02}", "hour": hours, "sensor": sensor, "reading": level, "y": y})
            )
    frame = pd.concat(parts).sample(frac=1, random_state=0)
    frame["y"] = np.where(frame["y"] == 1, "bump", "calm")
    frame.to_csv(folder / "long.csv", index=False)
    frame[frame["unit"] < "u03"].to_csv(folder / "few.csv", index=False)
    data = pellucid.read(folder / "long.csv", label="y", **READING)
    encoding = SeriesEncoding.fit(data, steps=16, fill=0.0)
    encoding.save(folder / "encoding.json")
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    export_network(net.eval(), torch.zeros(2, 2, 16), folder / "net.pt2")
    return folder


def test_a_long_table_is_audited(files, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(files)
    command = typer.main.get_command(cli.app)
    words = [
        "audit",
        "net.pt2",
        "long.csv",
        *NAMED,
        "--rows",
        "4",
        "--methods",
        "occlusion,saliency",
        "--metrics",
        "abpc",
    ]
    code = running.run(command, [*words, "--workers", "1", "--out", str(tmp_path / "run")])
    out, err = capsys.readouterr()
    assert code == 0, out + err
    study = pellucid.open(tmp_path / "run")
    e = study.explanations["occlusion"]
    assert sorted(e.players.axes.channels) == sorted(("heat", HOSTILE))
    heat = e.rows.reshape(len(e), 2, 16)[:, e.players.axes.channels.index("heat")]
    assert abs(np.median(heat) - 300) < 2, "in raw units"
    assert {"series_cut", "times_sorted"} <= {caution.code for caution in e.warnings}
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page and "alert(1)" in page


def test_rows_of_a_file_beside_the_data_are_read_as_the_data_are(files, monkeypatch, capsys):
    monkeypatch.chdir(files)
    words = ["explain", "net.pt2", "long.csv", *NAMED, "--rows", "few.csv", "--method", "occlusion", "--json"]
    code = running.run(typer.main.get_command(cli.app), words)
    out, err = capsys.readouterr()
    assert code == 0, out + err
    assert len(json.loads(out)["full"]) == 3
