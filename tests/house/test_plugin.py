"""A method in a package of somebody else's: one file and one entry point, and it is a method like ours."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

METHOD = '''
"""Gradient times how far the row is from what is absent: one step of integrated gradients."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pellucid.engine.estimate import Estimate
from pellucid.methods.method import Method
from pellucid.problem.model import Differentiable


@dataclass(frozen=True)
class OneStep(Method):
    """φ = (x − x′) ∘ ∇f(x)."""

    name: ClassVar[str] = "one_step"
    title: ClassVar[str] = "One step"
    source: ClassVar[str] = "Shrikumar et al. 2016, arXiv 1605.01713"
    needs: ClassVar[tuple[type, ...]] = (Differentiable,)

    def estimate(self, session):
        items = session.item(np.arange(session.questions))
        gradient = session.gradients(lambda questions, _: session.x[session.item(questions)], 1, np.ones(1))
        moved = (session.x - session.start).double().cpu().numpy()[items]
        return Estimate(session.pool(gradient * moved))
'''

INSIDE = """
import pellucid
from pellucid.catalog import everything, find
from pellucid.testing import check_method

assert "torch" in __import__("sys").modules
kind = everything("methods")["one_step"]
assert kind.__module__ == "somebodys_methods.one_step"
assert find("methods", "One-Step") == kind()
applied = check_method(kind())
assert len(applied) >= 5, applied
import torch
e = pellucid.explain(torch.nn.Linear(3, 2), torch.eye(3), method="one_step")
assert e.method == "one_step" and e.values.shape == (3, 3)
print("the laws hold on", len(applied), "problems")
"""


AUDITED = """
import sys
import numpy as np, pandas as pd, torch
import pellucid
from pellucid.faces.cli import main

rng = np.random.default_rng(0)
frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["a", "b", "c"])
frame["label"] = np.where(frame.a > 0, "yes", "no")
study = pellucid.audit(
    torch.nn.Linear(3, 2), pellucid.read(frame, label="label"), out=sys.argv[1], rows=5, metrics=["abpc", "sparseness"]
)
assert "one_step" in study.explanations and not study.failed, study.failed
assert {score.metric for score in study.scores if score.method == "one_step"} == {"abpc", "sparseness"}
assert "one_step" in study.report.read_text()
sys.argv = ["pellucid", "methods"]
main()
"""


def installed(site: Path, method: str = METHOD, entry: str = "somebodys_methods.one_step:OneStep") -> Path:
    """What an installer leaves behind: the package, its metadata, its entry points."""
    package = site / "somebodys_methods"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "one_step.py").write_text(method.lstrip(), encoding="utf-8")
    about = site / "somebodys_methods-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys-methods\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[pellucid.methods]\none_step = {entry}\n")
    return site


def run(site: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )


def test_a_method_of_another_package_is_found_and_obeys_the_laws(tmp_path: Path) -> None:
    told = run(installed(tmp_path), INSIDE)
    assert told.returncode == 0, told.stderr[-3000:]
    assert "the laws hold on" in told.stdout


def test_it_is_listed_and_shows_in_an_audit(tmp_path: Path) -> None:
    told = run(installed(tmp_path), AUDITED, str(tmp_path / "run"))
    assert told.returncode == 0, told.stderr[-3000:]
    assert "one_step" in told.stdout and "kernel_shapley" in told.stdout


@pytest.mark.parametrize(
    ("method", "entry", "words"),
    [
        (METHOD, "somebodys_methods.missing:OneStep", "could not be imported"),
        (METHOD, "somebodys_methods.one_step:Estimate", "is not a Method"),
        (METHOD.replace('"one_step"', '"lime"'), "somebodys_methods.one_step:OneStep", "which is taken"),
    ],
)
def test_what_does_not_fit_is_told_by_its_name(tmp_path: Path, method: str, entry: str, words: str) -> None:
    told = run(installed(tmp_path, method, entry), "from pellucid.catalog import everything; everything('methods')")
    assert told.returncode == 1
    assert "LoadError" in told.stderr and words in told.stderr and entry in told.stderr


def test_a_broken_law_is_told_by_its_name(tmp_path: Path) -> None:
    noisy = METHOD.replace("return Estimate(", "return Estimate(np.random.rand() * ")
    told = run(installed(tmp_path, noisy), INSIDE)
    assert told.returncode == 1
    assert "AssertionError: one_step breaks reruns_are_identical on" in told.stderr
