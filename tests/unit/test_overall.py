"""What matters over all rows, as people meet it: figure, sentences, notebook, command line, audit and report."""

import json

import altair as alt
import numpy as np
import pandas as pd
import pytest
import typer

import pellucid
from pellucid.backends.saving import save_weights
from pellucid.data.encoding import Encoding
from pellucid.data.reading import read
from pellucid.faces import cli, running
from pellucid.records.errors import InputError
from pellucid.records.importance import Importance
from pellucid.targets import Loss
from pellucid.training.fit import fresh
from pellucid.training.networks import mlp

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(120, 3))
ANSWER = (ROWS[:, 0] + 0.5 * ROWS[:, 1] > 0).astype(int)


def chances(x):
    p = 1 / (1 + np.exp(-3 * (np.asarray(x)[:, 0] + 0.5 * np.asarray(x)[:, 1])))
    return np.stack([1 - p, p], axis=1)


def found(**how):
    return pellucid.explain(chances, ROWS, "permutation_importance", **({"target": Loss(ANSWER)} | how))


def test_the_figure_is_a_valid_chart_with_intervals():
    chart = found().plot(k=2)
    spec = chart.to_dict()  # validates
    assert isinstance(chart, alt.LayerChart) and "x0" in json.dumps(spec)
    drawn = json.dumps(spec)
    assert '"x1"' in drawn and '"name": "x2"' not in drawn and '"low"' in drawn and " \\u00b1 " in drawn
    assert found().plot(language="zh").to_dict() != spec
    with pytest.raises(InputError, match="output 1"):
        found().plot(output=1)


def test_the_sentences():
    told = found().text()
    assert "over 120 rows: the cross-entropy is" in told and "“x0”" in told and "took everything from another" in told
    assert "Of 3, 1 cannot be told from nothing." in told and "squared" not in told
    assert "交叉熵" in found().text(language="zh")
    unlabelled = found(target=1).text()
    assert "without what is right" in unlabelled and "pellucid.targets.Loss" in unlabelled
    sage = pellucid.explain(chances, ROWS, "sage", target=Loss(ANSWER), background=ROWS[:20]).text()
    assert "knowing nothing of a row" in sage
    worse = pellucid.explain(chances, ROWS, "permutation_importance", target=Loss(1 - ANSWER)).text()
    assert "does better without: “x0”" in worse and "Most important" not in worse
    with pytest.raises(InputError, match="no language"):
        found().text(language="la")


def test_a_hostile_name_stays_a_name():
    frame = pd.DataFrame(ROWS, columns=["<script>alert(1)</script>", "b\u202e", "c"])
    e = pellucid.explain(chances, frame, "permutation_importance", target=Loss(ANSWER))
    assert "<script>" not in e._repr_html_() and "&lt;script&gt;" in e._repr_html_()


def table(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])
    frame["answer"] = np.where(ANSWER, "yes", "no")
    path = tmp_path / "data.csv"
    frame.to_csv(path, index=False)
    return path


def test_the_command_line_takes_the_datas_own_labels(tmp_path, monkeypatch, capsys):
    path = table(tmp_path)
    encoding = Encoding.fit(read(path, label="answer").train)
    encoding.save(tmp_path / "encoding.json")
    save_weights(fresh(mlp, 0, inputs=encoding.width, hidden=(4,), outputs=2), tmp_path / "net.safetensors")
    made = json.dumps({"inputs": encoding.width, "hidden": [4], "outputs": 2})
    monkeypatch.chdir(tmp_path)
    loading = ["--weights", "net.safetensors", "--arguments", made, "--encoding", "encoding.json"]
    asked = ["explain", "pellucid.training.networks:mlp", str(path), *loading, "--label", "answer", "--rows", "test"]
    command = typer.main.get_command(cli.app)
    assert running.run(command, [*asked, "--method", "permutation_importance"]) == 0
    shown = capsys.readouterr().out
    assert "the cross-entropy is" in shown and "stderr" in shown
    assert running.run(command, [*asked, "--method", "sage", "--target", "loss:zero_one"]) == 0
    assert "share of wrong answers" in capsys.readouterr().out
    assert running.run(command, [*asked[:-1], "0:2", "--method", "occlusion", "--target", "loss"]) == 0


def test_an_audit_asks_what_the_model_needs_and_the_report_shows_it(tmp_path):
    data = read(table(tmp_path), label="answer")
    how = {"methods": ["occlusion"], "metrics": ["complexity"], "rows": 3, "workers": 1}
    study = pellucid.audit(pellucid.wrap(chances), data, out=tmp_path / "run", **how)
    assert isinstance(study.overall, Importance) and not study.failed
    assert len(study.overall.ids) == len(data.test) and study.overall.top(1)[0][0] == "a"
    again = pellucid.open(tmp_path / "run")
    assert again.overall is not None and again.overall.values.tobytes() == study.overall.values.tobytes()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "What the model needs" in page and "took everything from another" in page
    other = pellucid.audit(pellucid.wrap(chances), data, out=tmp_path / "other", **how)
    assert pellucid.diff(study, other).identical
    seeded = pellucid.audit(pellucid.wrap(chances), data, out=tmp_path / "seeded", seed=1, **how)
    assert any(place["path"].startswith("overall") for place in pellucid.diff(study, seeded).places)
