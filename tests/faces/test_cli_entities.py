"""The command line with a network that tags words: a folder of transformers and a file of words with their tags."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

pytest.importorskip("transformers")

from language_models import saved

from pellucid.faces import cli, running

LINES = "-DOCSTART- -X- O\n\n" + "Anna NN B-person\nlives VB O\nin IN O\nParis NN B-place\n. . O\n\nhello UH O\n\n" * 8


@pytest.fixture(scope="module")
def question(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("tagger")
    (folder / "data.conll").write_text(LINES)
    return [str(saved("distilbert_tags", folder / "net")), str(folder / "data.conll"), "--label", "tags"]


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = running.run(typer.main.get_command(cli.app), words)
    out, err = capsys.readouterr()
    assert code == 0, err
    return code, out


def test_an_audit_needs_the_folder_the_file_and_the_label(
    question: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ("--methods", "occlusion", "--metrics", "sparseness", "--rows", "4", "--workers", "1", "--json")
    _, out = typed(capsys, "audit", *question, "--out", str(tmp_path / "run"), *small)
    found = json.loads(out)
    assert not found["failed"]
    study = json.loads((tmp_path / "run" / "study.json").read_text())
    assert study["findings"][0]["check"] == "entities"
    assert all({"entity", "prediction", "label", "mistake"} <= set(line) for line in study["predictions"])
    assert "By type of entity" in (tmp_path / "run" / "report.html").read_text()


def test_the_other_commands_ask_about_entities_too(
    question: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = str(tmp_path / "e.npz")
    _, out = typed(capsys, "explain", *question, "--rows", "0:2", "--method", "occlusion", "--out", kept)
    assert "Anna" in out or "Paris" in out or "lives" in out
    _, out = typed(capsys, "evaluate", *question, kept, "--metrics", "sparseness", "--json")
    assert "sparseness" in out
    assert typed(capsys, "preflight", *question, "--rows", "0:2")[0] == 0
