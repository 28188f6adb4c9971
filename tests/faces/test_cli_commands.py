"""The command line as a person uses it: every command on small files, and every way to get it wrong."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import typer

from pellucid.faces import cli, options, running

HOSTILE = "[bold]sa\u202ely[/]"
"""A column's name that would change colours and turn letters around, if anything obeyed it."""

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, and a network for it with weights and encoding."""
    from pellucid.backends.saving import save_weights
    from pellucid.data.encoding import Encoding
    from pellucid.data.reading import read
    from pellucid.training.fit import fresh
    from pellucid.training.networks import mlp

    folder = tmp_path_factory.mktemp("my files")
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 120)).round(3)
    city = rng.choice(["Rome", "Oslo"], 120)
    lines = [f"{x},{y},{c},{'yes' if x + y > 0 else 'no'}" for x, y, c in zip(a, b, city, strict=True)]
    (folder / "table.csv").write_text(f"age,{HOSTILE},city,label\n" + "\n".join(lines) + "\n", encoding="utf-8")
    data = read(folder / "table.csv", label="label")
    encoding = Encoding.fit(data.train)
    encoding.save(folder / "encoding.json")
    save_weights(fresh(mlp, 0, inputs=encoding.width, hidden=(4,), outputs=2), folder / "net.safetensors")
    (folder / "arguments").write_text(json.dumps({"inputs": encoding.width, "hidden": [4], "outputs": 2}))
    return folder


@pytest.fixture
def typed(files: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Type words after ``pellucid``; returns exit code, stdout and stderr."""
    monkeypatch.chdir(files)
    monkeypatch.delenv("COLUMNS", raising=False)

    def type_(*words: str) -> tuple[int, str, str]:
        code = running.run(typer.main.get_command(cli.app), words)
        out, err = capsys.readouterr()
        return code, out, err

    return type_


def question(files: Path) -> list[str]:
    loading = ["--weights", "net.safetensors", "--arguments", (files / "arguments").read_text()]
    named = ["--encoding", "encoding.json", "--label", "label"]
    return ["pellucid.training.networks:mlp", "table.csv", *loading, *named]


SMALL = ("--methods", "saliency,exact_shapley", "--metrics", "complexity", "--rows", "3", "--workers", "1")


# Help and lists ------------------------------------------------------------------------------


def test_help_needs_nothing_dear() -> None:
    code = (
        "import sys; from pellucid.faces import cli, running; import typer\n"
        "assert running.run(typer.main.get_command(cli.app), ['--help']) == 0\n"
        "dear = [m for m in ('torch', 'pandas', 'altair', 'sklearn', 'numpy') if m in sys.modules]\n"
        "sys.exit(' '.join(dear) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout


def test_version_and_help_of_every_command(typed: Run) -> None:
    from pellucid import __version__

    assert typed("--version") == (0, f"{__version__}\n", "")
    assert typed()[0] == 0
    for name in (
        "demo",
        "audit",
        "preflight",
        "explain",
        "inspect",
        "evaluate",
        "compare",
        "diff",
        "report",
        "methods",
        "metrics",
    ):
        code, out, _ = typed(name, "--help")
        assert code == 0
        assert "--json" in out


def test_arguments_and_choices_are_told() -> None:
    from pellucid.reports.narrative import AUDIENCES

    assert options.AUDIENCES == AUDIENCES
    for command in typer.main.get_command(cli.app).commands.values():  # pyright: ignore[reportAttributeAccessIssue]
        assert all(getattr(param, "help", None) for param in command.params), command.name


@pytest.mark.parametrize("room", ["methods", "metrics"])
def test_lists_hold_the_whole_catalogue(typed: Run, room: str) -> None:
    from pellucid.catalog import everything
    from pellucid.records.settings import described

    code, out, _ = typed(room)
    assert code == 0
    assert all(name in out for name in everything(room))
    listed = json.loads(typed(room, "--json")[1])[room]
    assert [card["name"] for card in listed] == list(everything(room))
    for card in listed:
        assert [s["name"] for s in card["settings"]] == [s.name for s in described(everything(room)[card["name"]])]


def test_one_method_with_its_settings(typed: Run) -> None:
    code, out, _ = typed("methods", "Integrated-Gradients")
    assert code == 0
    for part in ("steps", "points on the path", "completeness", "Sundararajan"):
        assert part in out
    code, out, err = typed("methods", "intergrated_gradients")
    assert (code, out) == (2, "")
    assert "did you mean 'integrated_gradients'" in err


# Explaining ----------------------------------------------------------------------------------


def test_explain_says_what_the_function_says(typed: Run, files: Path) -> None:
    code, out, err = typed("explain", *question(files), "--rows", "0:2", "--method", "exact_shapley", "--out", "e")
    assert (code, err) == (0, "")
    from pellucid.records.explanation import Explanation

    kept = Explanation.load(files / "e.npz")
    assert len(kept) == 2
    assert "Raised most by" in out
    assert "\u202e" not in out and "[bold]sa\\u202ely[/]" in out
    again = json.loads(typed("explain", *question(files), "--rows", "0,1", "--method", "exact_shapley", "--json")[1])
    assert np.array_equal(again["attributions"], kept.attributions)
    assert again["outputs"] == [list(names) for names in kept.outputs]


def test_draws_keep_dropout_on(typed: Run, files: Path) -> None:
    from pellucid.backends.saving import save_weights
    from pellucid.training.fit import fresh
    from pellucid.training.networks import mlp

    given = json.loads((files / "arguments").read_text()) | {"dropout": 0.4}
    save_weights(fresh(mlp, 0, **given), files / "dropping.safetensors")
    words = question(files)
    words[words.index("net.safetensors")] = "dropping.safetensors"
    words[words.index((files / "arguments").read_text())] = json.dumps(given)
    asked = ["--rows", "0:2", "--method", "exact_shapley", "--json", "--draws", "4"]
    code, out, err = typed("explain", *words, *asked)
    assert (code, err) == (0, "")
    assert json.loads(out)["notes"]["members"] == 4
    assert "dropout_on" in {caution["code"] for caution in json.loads(out)["warnings"]}
    code, out, err = typed("explain", *question(files), *asked)
    assert code == 1 and "no dropout to keep on" in out


def test_preflight_tells_what_the_model_is(typed: Run, files: Path) -> None:
    code, out, err = typed("preflight", *question(files), "--out", "p")
    assert (code, err) == (0, "")
    assert "They are no probabilities" in out and "methods apply" in out and "it explains image" in out
    from pellucid.records.preflight import Preflight

    assert Preflight.load("p.json").width
    told = json.loads(typed("preflight", *question(files), "--json")[1])
    assert told["meaning"] == "scores" and told["methods"]["shapley"] == "" and told["capabilities"]["gradients"] == ""


def test_inspect_tells_of_layers_and_units(typed: Run, files: Path) -> None:
    code, out, err = typed("inspect", *question(files), "--rows", "all", "--out", "i")
    assert (code, err) == (0, "")
    from pellucid.records.inspection import Inspection

    kept = Inspection.load(files / "i.npz")
    assert all(layer.name in out for layer in kept.layers) and "units were watched" in out
    told = json.loads(typed("inspect", *question(files), "--rows", "all", "--json")[1])
    assert [line["layer"] for line in told["layers"]] == [layer.name for layer in kept.layers]


def test_plus_minus_in_tables_is_that_of_the_sentences(typed: Run, files: Path) -> None:
    words = ["explain", *question(files), "--rows", "0", "--method", "lime", "--set", "samples=64"]
    _, out, _ = typed(*words)
    record = json.loads(typed(*words, "--json")[1])
    from pellucid.reports.words import number

    head = next(line for line in out.splitlines() if line.startswith("player"))
    assert head.endswith("± 95 %") and "stderr" not in out
    for (error,) in record["errors"][0]:
        assert any(line.endswith(f" {number(1.96 * error)}") for line in out.splitlines())


def test_explain_takes_settings_targets_and_backgrounds(typed: Run, files: Path) -> None:
    asked = ["explain", *question(files), "--rows", "test", "--json"]
    path = json.loads(typed(*asked, "--method", "integrated_gradients", "--set", "steps=7", "--target", "yes,no")[1])
    assert path["settings"]["steps"] == 7
    from pellucid.data.reading import read

    assert len(path["attributions"]) == len(read("table.csv", label="label").test)
    zeros = json.loads(typed(*asked, "--background", "zeros", "--target", "yes")[1])
    given = json.loads(typed(*asked, "--background", "table.csv", "--target", "yes")[1])
    assert zeros["base"] != given["base"]
    assert zeros["outputs"][0] == ["yes"]


def test_missing_cells_are_filled_where_that_is_said(typed: Run, files: Path) -> None:
    lines = (files / "table.csv").read_text(encoding="utf-8").splitlines()
    (files / "gaps.csv").write_text(
        "\n".join([lines[0], "," + lines[1].split(",", 1)[1], *lines[2:4]]), encoding="utf-8"
    )
    asked = ["explain", *question(files), "--rows", "gaps.csv", "--json"]
    code, out, _ = typed(*asked)
    assert code == 2 and "column `age`: 1 NaN in 3 rows" in out and "impute-median" in out
    code, out, err = typed(*asked, "--missing", "impute-median")
    assert code == 0, err
    assert [c["values"]["columns"] for c in json.loads(out)["warnings"] if c["code"] == "medians_in"] == ["age 1"]


def test_explain_in_chinese_for_the_person(typed: Run, files: Path) -> None:
    code, out, _ = typed(
        "explain", *question(files), "--rows", "3", "--language", "zh", "--audience", "person", "--method", "occlusion"
    )
    assert code == 0
    assert "第 0 行" in out and "本文由机器自动撰写" in out


def test_a_narrow_window_cuts_no_number(typed: Run, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    code, out, _ = typed("evaluate", *question(files), str(kept_explanation(typed, files)), "--metrics", "complexity")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 40
    assert "metric: complexity" in out


# Grading -------------------------------------------------------------------------------------


def kept_explanation(typed: Run, files: Path) -> Path:
    path = files / "kept.npz"
    if not path.exists():
        assert typed("explain", *question(files), "--rows", "5,2,9", "--method", "saliency", "--out", str(path))[0] == 0
    return path


def test_evaluate_finds_the_rows_of_a_record(typed: Run, files: Path) -> None:
    path = kept_explanation(typed, files)
    code, out, err = typed("evaluate", *question(files), str(path), "--metrics", "abpc,complexity", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)["scores"]
    assert [row["metric"] for row in found] == ["abpc", "complexity"]
    said = json.loads(
        typed("evaluate", *question(files), str(path), "--metrics", "abpc", "--rows", "5,2,9", "--json")[1]
    )
    assert said["scores"][0]["value"] == found[0]["value"]
    code, _, err = typed("evaluate", *question(files), str(path), "--rows", "0:3")
    assert code == 2, err


def test_evaluate_takes_values_made_elsewhere(typed: Run, files: Path) -> None:
    np.save(files / "made.npy", np.random.default_rng(0).normal(size=(8, 3)))
    code, out, _ = typed("evaluate", *question(files), "made.npy", "--rows", "0:8", "--metrics", "abpc", "--json")
    assert code == 0
    assert json.loads(out)["scores"][0]["status"] == "control is better"  # random numbers: another draw did better
    code, _, err = typed("evaluate", *question(files), "made.npy")
    assert code == 2
    assert "--rows 0:8" in err


def test_compare_ranks_and_lists_what_failed(typed: Run, files: Path) -> None:
    asked = ["compare", *question(files), "--rows", "0:3", "--metrics", "abpc,complexity"]
    code, out, _ = typed(*asked, "--methods", "saliency,occlusion")
    assert code == 0
    assert "Best first" in out
    code, out, _ = typed(*asked, "--methods", "saliency,edge_filter", "--json")
    found = json.loads(out)
    assert code == 3
    assert [failure["method"] for failure in found["failed"]] == ["edge_filter"]


# Audits --------------------------------------------------------------------------------------


def test_an_audit_is_made_again_by_its_own_command(typed: Run, files: Path) -> None:
    code, out, err = typed("audit", *question(files), *SMALL, "--out", "first run")
    assert (code, err) == (0, "")
    assert "first run/report.html" in out and "Nothing failed" in out
    study = json.loads((files / "first run" / "study.json").read_text(encoding="utf-8"))
    words = shlex.split(study["provenance"]["command"])
    assert words == ["pellucid", "audit", *question(files), *SMALL, "--out", "first run"]
    words[words.index("first run")] = "second run"
    assert typed(*words[1:])[0] == 0
    code, out, _ = typed("diff", "first run", "second run", "--json")
    assert (code, json.loads(out)) == (0, {"identical": True, "differences": [], "environment": []})
    assert "Identical" in typed("diff", "first run", "second run")[1]
    code, out, _ = typed("report", "first run", "second run", "--out", "both.html", "--language", "zh", "--json")
    assert code == 0
    assert 'lang="zh' in (files / json.loads(out)["report"]).read_text(encoding="utf-8")
    _refuses_another_question(typed, files)


def _refuses_another_question(typed: Run, files: Path) -> None:
    code, out, err = typed("audit", *question(files), *SMALL, "--seed", "1", "--out", "first run")
    assert (code, out) == (2, "")
    assert "seed" in err and "--fresh" in err
    code, out, _ = typed("audit", *question(files), *SMALL, "--seed", "1", "--out", "first run", "--fresh", "--json")
    assert code == 0
    assert json.loads(out)["failed"] == 0
    code, out, _ = typed("diff", "first run", "second run", "--json")
    assert json.loads(out)["identical"] is False


def test_an_audit_with_failed_items_says_so(typed: Run, files: Path) -> None:
    poor = ("--metrics", "complexity", "--rows", "1", "--workers", "1", "--budget", "2")
    asked = ("audit", *question(files), "--methods", "saliency,kernel_shapley", *poor, "--out", "poor")
    code, out, _ = typed(*asked, "--json")
    assert code == 3
    assert json.loads(out)["failed"] == 1
    (failed,) = json.loads(out)["studies"][0]["failed"]
    assert (failed["method"], failed["status"]) == ("kernel_shapley", "failed")
    code, out, _ = typed(*asked)
    assert code == 3
    assert failed["reason"] in out


# Requests that cannot be served ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--label", "lable"], "did you mean 'label'"),
        (["--method", "limee"], "did you mean 'lime'"),
        (["--method", "lime", "--set", "smaples=5"], "lime has no setting 'smaples'"),
        (["--method", "lime", "--set", "samples=many"], "samples='many' cannot be read"),
        (["--method", "lime", "--set", "samples=1"], "out of range"),
        (["--method", "lime", "--set", "samples"], "'samples' is not name=value"),
        (["--set", "samples=9"], "name the method"),
        (["--rows", "999"], "there is no row 999"),
        (["--rows", "5:5"], "are none"),
        (["--rows", "nowhere.csv"], "names no rows"),
        (["--target", "maybe"], "maybe"),
        (["--weights", "nowhere.safetensors"], "could not open the file"),
        (["--encoding", "nowhere.json"], "nowhere.json"),
        (["--arguments", "{"], "is not JSON"),
        (["--arguments", '{"depth": 2}'], "depth"),
        (["--read", "delimiter=;"], "there is no column named 'label'"),
        (["--read", "delimitr=;"], "reading has no setting 'delimitr'"),
        (["--language", "fr"], "'fr' is not one of"),
        (["--budget", "0"], "budget"),
        (["--budget", "many"], "'many' is not a whole number. See pellucid explain --help."),
        (["--rows", ""], "'' names no rows"),
        (["--background", "nowhere.csv"], "'nowhere.csv' names no rows"),
        (["--background", ""], "'' names no rows"),
        (["--target", "yes,no,yes"], "'yes,no,yes' names 3 outputs. 'A,B' asks why A and not B."),
        (["--target", "loss:foo"], "there is no loss 'foo'"),
        (["--method", "lime,shapley"], "'lime,shapley' are several methods. pellucid compare takes --methods."),
        (["--schema", "table.csv"], "table.csv: the schema file says nothing of columns"),
        (["--set", "samples"], "'samples' is not name=value. See pellucid explain --help."),
    ],
)
def test_a_bad_request_is_refused_in_a_sentence(typed: Run, files: Path, words: list[str], told: str) -> None:
    code, out, err = typed("explain", *question(files), "--rows", "0", *words)
    assert (code, out) == (2, ""), err
    assert err.startswith("error: ") and told in err and "Traceback" not in err
    code, out, err = typed("explain", *question(files), "--rows", "0", *words, "--json")
    assert (code, err) == (2, "")
    assert told in json.loads(out)["error"]["text"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"a;b;label\n1;2;yes\n", "delimiter=';'"),
        (b"a,b,label\n1,\x00,2\n", "zero bytes"),
        (b"a,b,label\n1,2\n", "expected 3 fields, found 2"),
        (b"a,label\n\xff\xfe,1\n", "latin-1"),
    ],
)
def test_an_unreadable_table_is_named_with_its_line(typed: Run, files: Path, content: bytes, told: str) -> None:
    (files / "bad.csv").write_bytes(content)
    words = [word.replace("table.csv", "bad.csv") for word in question(files)]
    code, _, err = typed("audit", *words, "--out", "never")
    assert code == 2
    assert told in err and "bad.csv" in err
    assert not (files / "never").exists()


def test_other_bad_requests(typed: Run, files: Path) -> None:
    assert typed("explian")[0] == 2
    assert "'explain'" in typed("explian")[2]
    assert typed("explain", "nowhere.pt2", "table.csv")[0] == 2
    assert typed("demo", "--data", "table.csv")[0] == 2
    assert typed("diff", "nowhere", "nowhere")[0] == 2
    assert typed("evaluate", *question(files), "table.csv")[0] == 2
    without_label = [word for word in question(files) if word not in ("--label", "label")]
    code, _, err = typed("audit", *without_label, "--out", "never")
    assert code == 2
    assert "--label" in err


def test_a_table_that_lacks_a_column_is_refused_with_its_columns(typed: Run, files: Path) -> None:
    words = question(files)
    (files / "few.csv").write_text("age,city,label\n1,Rome,yes\n2,Oslo,no\n3,Rome,yes\n")
    few = ["few.csv" if word == "table.csv" else word for word in words]
    code, _, err = typed("explain", *few, "--rows", "0")
    assert code == 2 and "the network needs column '[bold]sa" in err and "the rows have 'age', 'city'" in err
    lines = [f"{0.5 + i},{1.25 * i},{'yes' if i % 2 else 'no'}\n" for i in range(16)]
    (files / "bare.csv").write_text("age,weight,label\n" + "".join(lines))
    bare = [
        "bare.csv" if word == "table.csv" else word for word in words if word not in ("--encoding", "encoding.json")
    ]
    for command in ("explain", "preflight", "audit"):
        code, _, err = typed(command, *bare, "--rows", "1", *(["--out", "never"] if command == "audit" else []))
        width = json.loads((files / "arguments").read_text())["inputs"]
        assert f"the network takes {width} numbers a row, and these rows have 2: 'age', 'weight'." in err
        assert (
            code == 1 and "give the columns that it was trained on, in their order; raw columns need --encoding" in err
        )


# What absent means -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["--removal", "mean"], {"name": "Mode"}),
        (["--removal", "mode", "--background", "0:7"], {"name": "Mode"}),
        (["--removal", "zeros"], {"name": "Constant", "value": 0.0}),
        (["--removal", "constant:value=2"], {"name": "Constant", "value": 2.0}),
        (["--removal", "noise:spread=0.5,draws=3"], {"name": "Noise", "spread": 0.5, "draws": 3}),
        (["--removal", "noise:0.5"], {"name": "Noise", "spread": 0.5, "draws": 10}),
        (["--removal", "Conditional-Nearest:k=3"], {"name": "ConditionalNearest", "k": 3, "given": 50}),
    ],
)
def test_a_word_says_what_absent_means(typed: Run, files: Path, words: list[str], kept: dict[str, object]) -> None:
    asked = ["explain", *question(files), "--rows", "0:2", "--method", "exact_shapley", *words, "--json"]
    code, out, err = typed(*asked)
    assert (code, err) == (0, "")
    said = json.loads(out)["removal"]
    assert {name: said[name] for name in kept} == kept


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--removal", "blur"],
            "'blur' is for images, and these rows are a table. For a table: conditional_gaussian, conditional_nearest, "
            "constant, marginal, mean, mode, noise, zeros.",
        ),
        (["--removal", "hide"], "'hide' is for texts, and these rows are a table."),
        (["--removal", "noice"], "there is no removal named 'noice'. did you mean 'noise'?"),
        (
            ["--removal", "noise:depth=2"],
            "'noise' has no field to take 'depth=2'. it has spread, draws: noise:spread=….",
        ),
        (["--removal", "noise:draws=many"], "noise:draws=many is no whole number."),
        (["--removal", "zeros:5"], "'zeros' says all, and '5' stands behind it."),
        (
            ["--removal", "noise", "--background", "0:5"],
            "'noise' is made without background rows, and some were given.",
        ),
        (["--removal", "noise", "--background", "zeros"], "zeros and 'noise' both say what is absent."),
        (["--removal", "mode:5"], "'mode' has no field to take '5'. say it without a colon."),
    ],
)
def test_a_removal_that_does_not_fit_is_refused(typed: Run, files: Path, words: list[str], told: str) -> None:
    code, out, err = typed("explain", *question(files), "--rows", "0", *words)
    assert (code, out) == (2, "")
    assert told.lower() in " ".join(err.split()).lower()


def test_every_command_that_explains_takes_a_removal(typed: Run, files: Path) -> None:
    code, _, err = typed("audit", *question(files), *SMALL, "--removal", "mean", "--out", "absent", "--json")
    assert code == 0, err
    code, _, err = typed("compare", *question(files), "--rows", "0:3", "--methods", "exact_shapley", "--metrics",
                           "complexity", "--removal", "mean", "--json")  # fmt: skip
    assert code == 0, err
    typed("explain", *question(files), "--rows", "0:3", "--removal", "mean", "--out", "mean.npz")
    code, _, err = typed("evaluate", *question(files), "mean.npz", "--removal", "zeros", "--metrics", "abpc", "--json")
    assert code == 0, err


def test_every_removal_is_in_the_page_of_the_command_line() -> None:
    from pellucid import removals
    from pellucid.doors.removals import KNOWN, words_of

    assert {kind.__name__ for kind in KNOWN} == set(removals.__all__)
    page = (Path(__file__).parents[2] / "docs" / "command_line.md").read_text(encoding="utf-8")
    missing = [word for kind in KNOWN for word in words_of(kind) if f"`{word}" not in page]
    assert not missing
