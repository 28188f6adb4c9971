"""Audits of texts: model, data and label are enough; evidence is graded, rare words are counted in training texts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import nn

import pellucid
from pellucid.data.text_encoding import Vocabulary
from pellucid.faces import cli, running
from pellucid.studies.evaluating import removal_of

GOOD, BAD = ("fine", "superb", "moving"), ("dull", "awful", "boring")


def score(texts: list[str]) -> np.ndarray:
    """Counts good and bad words."""
    points = [sum((w in GOOD) - (w in BAD) for w in re.findall(r"\w+", text.lower())) for text in texts]
    positive = 1 / (1 + np.exp(-1.5 * np.array(points)))
    return np.stack([1 - positive, positive], 1)


def written(path: Path, count: int = 80) -> Path:
    """Short reviews with their telling word marked; every tenth says the opposite of its label."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(count):
        good = bool(i % 2)
        word = str(rng.choice(GOOD if good else BAD))
        text = f"The {rng.choice(['first', 'second', 'last'])} film of the evening was {word}, said {i % 7} of us."
        place = text.index(word)
        lines.append(
            {"text": text, "label": ("neg", "pos")[good != (i % 10 == 3)], "spans": [[place, place + len(word)]]}
        )
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def test_an_audit_of_a_function_of_texts(tmp_path: Path) -> None:
    data = pellucid.read(written(tmp_path / "films.jsonl"), label="label")
    found = pellucid.audit(
        score, data, out=tmp_path / "run", rows=5, methods=["occlusion", "lime"], budget=200, workers=1
    )
    assert not found.failed and found.explanations["occlusion"].players.kind == "word"
    scores = {(s.method, s.metric): s for s in found.scores}
    hits = scores["occlusion", "evidence_auroc"]
    assert (
        hits.value == 1 and 0.3 < hits.controls["random"] < 0.7 and set(hits.controls) >= {"frequency", "word_length"}
    )
    assert {"comprehensiveness", "sufficiency", "abpc"} <= {metric for _, metric in scores}
    counted = pellucid.methods.Frequency(texts=tuple(data.train.features))
    rows = data.take(np.flatnonzero(np.isin(data.row_numbers, [line["row"] for line in found.predictions])))
    rare = pellucid.explain(score, rows, counted, target="predicted")
    own = pellucid.evaluate(score, rows, rare, truth=rows.evidence, metrics="evidence_auroc")[0]
    assert hits.controls["frequency"] == pytest.approx(own.value)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert '<p class="words" dir="auto">' in page and "words in a text" in page and "The words that speak for" in page
    parts = {finding.part for finding in found.findings}
    assert any("words in a text" in part for part in parts) or {"test"} == parts
    again = pellucid.open(tmp_path / "run")
    assert pellucid.diff(found, again).identical and again.explanations["occlusion"].plot() is not None


def test_a_transformers_folder_is_audited_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    from language_models import CLASSES, saved

    monkeypatch.chdir(tmp_path)
    saved("bert_classes", tmp_path / "model")
    pairs = [(c, w, i) for c in CLASSES for w in ("great", "dull") for i in range(6)]
    lines = [{"text": f"the film was {w} and the {i} actors were {w}", "y": c} for c, w, i in pairs]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def typed(*words: str) -> tuple[int, str]:
        code = running.run(typer.main.get_command(cli.app), words)
        return code, capsys.readouterr().out

    code, out = typed("audit", "model", "texts.jsonl", "--label", "y", "--out", "run", "--rows", "2", "--budget", "60",
                      "--methods", "occlusion,integrated_gradients", "--json")  # fmt: skip
    assert code == 0, out
    study = pellucid.open(tmp_path / "run")
    assert set(study.explanations) == {"occlusion", "integrated_gradients"} and not study.failed
    code, out = typed("explain", "model", "texts.jsonl", "--label", "y", "--rows", "0:1", "--method", "occlusion")
    assert code == 0 and "film" in out
    for word, meant in (("mask", {"name": "Replace", "mask": "[MASK]"}), ("hide", {"name": "Hide"})):
        code, out = typed("explain", "model", "texts.jsonl", "--label", "y", "--rows", "0:1", "--method", "occlusion",
                          "--removal", word, "--json")  # fmt: skip
        assert json.loads(out)["removal"] == meant
    code, out = typed("compare", "model", "texts.jsonl", "--label", "y", "--rows", "0:2", "--methods",
                      "occlusion,saliency", "--metrics", "comprehensiveness", "--json")  # fmt: skip
    assert code == 0 and "comprehensiveness" in out


class Counting(nn.Module):
    """Tokens → the sum of their numbers, where they are looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.arange(20.0)[:, None])

    def forward(self, ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        points = (self.embed(ids)[:, :, 0] * attention_mask).sum(1)
        return torch.stack([-points, points], 1)


@pytest.mark.parametrize("removal", [pellucid.removals.Hide(), pellucid.removals.Replace("the")], ids=repr)
def test_what_absent_meant_in_texts_of_any_length_is_made_again_from_the_record(removal: Any) -> None:
    texts = ["a fine film", "the end was dull and long"]
    model = pellucid.wrap(Counting(), encoding=Vocabulary.of(texts, 20))
    for rows in (texts, texts[:1]):
        e = pellucid.explain(model, rows, "occlusion", removal=removal, target=1)
        assert repr(removal_of(e)) == repr(removal)
        assert np.isfinite(pellucid.evaluate(model, rows, e, metrics="comprehensiveness", controls=False)[0].value)


def test_evaluate_and_compare_take_texts_as_they_are() -> None:
    texts = ["a fine film, but the end was dull", "superb and moving"]
    found = pellucid.compare(score, texts, ["occlusion", "shapley"], metrics=["sufficiency", "agreement"])
    assert [name for name, _ in found.ranking] and not found.failed
    e = found.explanations["shapley"]
    assert e.players.of(0) == ("a", "fine", "film", "but", "the", "end", "was", "dull")
    values = [[0.0] * 8, [1.0, 0.0, 0.0]]
    foreign = pellucid.evaluate(score, texts, values, metrics="comprehensiveness")[0]
    assert np.isfinite(foreign.values).all()
