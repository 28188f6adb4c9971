"""Audits: what fails costs itself alone, a killed run goes on where it stopped, equal runs are identical."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
import torch

import pellucid
from pellucid.data.dataset import Dataset
from pellucid.engine.estimate import Estimate
from pellucid.engine.session import Session
from pellucid.methods.method import Method
from pellucid.records.errors import InputError, StoreError
from pellucid.records.study import Study
from pellucid.testing.problems import _network
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import small_cnn
from pellucid.training.recorder import Recorder


def small_data(rows: int = 60) -> Dataset:
    """Four numbers, and a label that two of them decide."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(rows, 4)).round(3), columns=["a", "b", "c", "d"])
    frame["label"] = np.where(frame.a + frame.b > 0, "yes", "no")
    return pellucid.read(frame, label="label", split=(0.5, 0.1, 0.4))


def small_audit(out: Path, methods: object = ("occlusion",), **fields: object) -> Study:
    options = {"metrics": ["sparseness"], "rows": 6, "out": out, "timeout": 20.0} | fields
    return pellucid.audit(_network(4, 6, 2), small_data(), methods=methods, **options)


@dataclass(frozen=True)
class Faulty(Method):
    """A method with one fault."""

    title: ClassVar[str] = "Faulty"
    source: ClassVar[str] = "test"
    name: ClassVar[str] = "faulty"

    def estimate(self, session: Session) -> Estimate:
        self.fault(session)
        return Estimate(np.ones((session.questions, session.n)))

    def fault(self, session: Session) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Raises(Faulty):
    def fault(self, session: Session) -> None:
        raise RuntimeError("the cable fell out")


@dataclass(frozen=True)
class Hangs(Faulty):
    def fault(self, session: Session) -> None:
        time.sleep(600)


@dataclass(frozen=True)
class Exits(Faulty):
    def fault(self, session: Session) -> None:
        os._exit(7)


@dataclass(frozen=True)
class ReturnsNaN(Faulty):
    def estimate(self, session: Session) -> Estimate:
        return Estimate(np.full((session.questions, session.n), np.nan))


@dataclass(frozen=True)
class DislikesOne(Faulty):
    """Fails where a row's first number is the largest of the explained ones."""

    limit: float = 0.0

    def fault(self, session: Session) -> None:
        if float(session.x[:, 0].max()) > self.limit:
            raise ValueError("this row is too large")


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        (Raises(), "failed", "the cable fell out"),
        (ReturnsNaN(), "failed", "NaN"),
        (Exits(), "failed", "exit code 7"),
        (Hangs(), "timed out", "no answer within 2 seconds"),
    ],
)
def test_a_faulty_method_costs_only_itself(tmp_path: Path, method: Method, status: str, reason: str) -> None:
    study = small_audit(tmp_path / "run", methods=[method, "occlusion"], timeout=2.0)
    assert set(study.explanations) == {"occlusion"}
    assert np.isfinite(study.explanations["occlusion"].values).all()
    assert {failure.status for failure in study.failed} == {status}
    assert all(reason in failure.reason for failure in study.failed)
    assert sorted(row for failure in study.failed for row in failure.rows) == list(range(6))
    assert any(caution.code == "failed_items" for caution in study.ranked_warnings)
    assert study.report is not None and "faulty" in study.report.read_text()


def test_a_failing_block_is_halved_to_the_guilty_row(tmp_path: Path) -> None:
    first = small_audit(tmp_path / "first").explanations["occlusion"]
    values = np.array([row["a"] for row in first.rows])
    limit = float(np.sort(values)[-2]) + 1e-4
    study = small_audit(tmp_path / "run", methods=[DislikesOne(limit=limit), "occlusion"])
    assert [failure.rows for failure in study.failed] == [(int(values.argmax()),)]
    explained = np.isfinite(study.explanations["faulty"].values).all(1)
    assert explained.sum() == 5 and not explained[values.argmax()]
    (score,) = [score for score in study.scores if score.method == "faulty"]
    assert np.isnan(score.values).sum() >= 1


def attempts(run: Path) -> dict[str, int]:
    with sqlite3.connect(run / "ledger.sqlite") as ledger:
        return dict(ledger.execute("SELECT key, attempts FROM unit").fetchall())


def test_the_same_call_again_does_nothing_anew(tmp_path: Path) -> None:
    first = small_audit(tmp_path / "run")
    before = attempts(tmp_path / "run")
    again = small_audit(tmp_path / "run")
    assert attempts(tmp_path / "run") == before and set(before.values()) == {1}
    assert pellucid.diff(first, again).identical


def test_another_question_in_the_same_folder_is_refused_unless_fresh(tmp_path: Path) -> None:
    small_audit(tmp_path / "run")
    with pytest.raises(StoreError, match=r"asked something else \(.*seed differ\).*fresh=True"):
        small_audit(tmp_path / "run", seed=3)
    assert small_audit(tmp_path / "run", seed=3, fresh=True).provenance["seed"] == 3


def test_a_folder_of_someone_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("dear")
    with pytest.raises(StoreError, match="not a run of ours"):
        small_audit(tmp_path / "letters", fresh=True)
    assert (tmp_path / "letters" / "a.txt").read_text() == "dear"


def test_equal_runs_are_identical_and_others_are_not(tmp_path: Path) -> None:
    one = small_audit(tmp_path / "one", methods="default", metrics="default")
    two = small_audit(tmp_path / "two", methods="default", metrics="default", workers=1)
    same = pellucid.diff(tmp_path / "one", tmp_path / "two")
    assert same.identical and not same.places, same
    other = small_audit(tmp_path / "other", methods="default", metrics="default", seed=1)
    found = pellucid.diff(one, other)
    assert not found.identical and any("attributions" in place["path"] for place in found.places)
    assert set(two.explanations) == {"shapley", "integrated_gradients", "lime", "occlusion", "saliency", "deeplift"}


def test_a_harmed_result_is_made_again(tmp_path: Path) -> None:
    small_audit(tmp_path / "run")
    (tmp_path / "run" / "study.json").unlink()
    for file in (tmp_path / "run" / "results").iterdir():
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(bytes(content))
    small_audit(tmp_path / "run")
    assert set(attempts(tmp_path / "run").values()) == {2}
    small_audit(tmp_path / "whole")
    assert pellucid.diff(tmp_path / "run", tmp_path / "whole").identical


SCRIPT = """
import sys
sys.path.insert(0, {tests!r})
from pathlib import Path
from test_studies_audit import small_audit
small_audit(Path({run!r}), methods="default", metrics="default", workers=1)
"""


def _start(run: Path) -> subprocess.Popen[bytes]:
    script = textwrap.dedent(SCRIPT.format(tests=str(Path(__file__).parent), run=str(run)))
    return subprocess.Popen([sys.executable, "-c", script], start_new_session=True)


def _done(run: Path) -> dict[str, int]:
    if not (run / "ledger.sqlite").exists():
        return {}
    try:
        with sqlite3.connect(run / "ledger.sqlite") as ledger:
            return dict(ledger.execute("SELECT key, attempts FROM unit WHERE status IS NOT NULL").fetchall())
    except sqlite3.OperationalError:  # the table is not made yet
        return {}


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="processes cannot be killed in groups here")
@pytest.mark.parametrize("after", [1, 7])
def test_a_killed_run_goes_on_and_repeats_nothing_committed(tmp_path: Path, after: int) -> None:
    run = tmp_path / "run"
    process = _start(run)
    deadline = time.monotonic() + 120
    while len(_done(run)) < after and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = _done(run)
    assert len(before) >= after
    assert not (run / "study.json").exists(), "it was killed too late to test anything"
    with pytest.raises(StoreError, match="did not finish"):
        pellucid.open(run)
    small_audit(run, methods="default", metrics="default", workers=1)
    counted = attempts(run)
    assert all(counted[key] == times for key, times in before.items()), "a committed unit was done again"
    small_audit(tmp_path / "whole", methods="default", metrics="default", workers=1)
    assert pellucid.diff(run, tmp_path / "whole").identical
    assert not [file for file in (run / "results").iterdir() if file.name.startswith(".")], "scratch files were left"


def test_a_time_budget_skips_what_does_not_fit(tmp_path: Path) -> None:
    study = small_audit(tmp_path / "run", methods="default", budget=pellucid.Budget(seconds=1e-6))
    assert not study.explanations and {failure.status for failure in study.failed} == {"skipped"}
    assert all("time budget" in failure.reason for failure in study.failed)


def test_a_model_that_does_not_fit_the_label_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="3 outputs, the label 2 classes"):
        pellucid.audit(_network(4, 6, 3), small_data(), out=tmp_path / "run")


def test_the_model_is_left_alone(tmp_path: Path) -> None:
    net = _network(4, 6, 2).train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    pellucid.audit(net, small_data(), out=tmp_path / "run", methods=["saliency"], metrics=["sparseness"], rows=4)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert all(module.training for module in net.modules())


def test_what_the_time_budget_skipped_is_taken_up_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = pellucid.Budget(seconds=50.0)
    clock = iter([0.0] + [1e9] * 10_000)
    with monkeypatch.context() as late:
        late.setattr("time.monotonic", lambda: next(clock))
        first = small_audit(tmp_path / "run", budget=budget)
    assert {failure.status for failure in first.failed} == {"skipped"} and not first.explanations
    second = small_audit(tmp_path / "run", budget=budget)
    assert not second.failed and np.isfinite(second.explanations["occlusion"].values).all()


@dataclass(frozen=True)
class HangsOnOne(DislikesOne):
    """Never answers about rows whose first number is too large."""

    def fault(self, session: Session) -> None:
        if float(session.x[:, 0].max()) > self.limit:
            time.sleep(600)


def test_a_hanging_row_is_found_and_given_another_chance_with_more_time(tmp_path: Path) -> None:
    first = small_audit(tmp_path / "first").explanations["occlusion"]
    values = np.array([row["a"] for row in first.rows])
    limit = float(np.sort(values)[-2]) + 1e-4
    study = small_audit(tmp_path / "run", methods=[HangsOnOne(limit=limit)], timeout=1.5)
    (failure,) = study.failed
    assert failure.rows == (int(values.argmax()),) and failure.status == "timed out"
    assert np.isfinite(study.explanations["faulty"].values).all(1).sum() == 5
    (tmp_path / "run" / "study.json").unlink()
    before = attempts(tmp_path / "run")
    small_audit(tmp_path / "run", methods=[HangsOnOne(limit=limit)], timeout=3.0)
    after = attempts(tmp_path / "run")
    again = {key for key in before if after[key] > before[key]}
    assert again, "more time was given, and nothing was tried again"


def test_a_failed_block_whose_halves_were_not_reached_goes_on(tmp_path: Path) -> None:
    first = small_audit(tmp_path / "first").explanations["occlusion"]
    limit = float(np.sort([row["a"] for row in first.rows])[-2]) + 1e-4
    method = DislikesOne(limit=limit)
    small_audit(tmp_path / "run", methods=[method])
    (tmp_path / "run" / "study.json").unlink()
    with sqlite3.connect(tmp_path / "run" / "ledger.sqlite") as ledger:
        ledger.execute("DELETE FROM unit WHERE kind = 'grade' OR json_array_length(rows) < 6")
    study = small_audit(tmp_path / "run", methods=[method])
    assert len(study.failed) == 1 and np.isfinite(study.explanations["faulty"].values).all(1).sum() == 5


def black_box(slope: float):
    return lambda x: np.stack([slope * x[:, 0], x[:, 1]], axis=1)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"model": black_box(1.0)}, {"model": black_box(2.0)}),
        ({"background": np.zeros((3, 4))}, {"background": np.ones((3, 4))}),
        ({"removal": pellucid.removals.Constant(0.0)}, {"removal": pellucid.removals.Constant(1.0)}),
        ({"target": 0}, {"target": 1}),
        ({"truth": lambda rows, _: np.zeros((len(rows), 4))}, {"truth": lambda rows, _: np.ones((len(rows), 4))}),
        ({"players": pellucid.players.ColumnGroups({"two": ["a", "b"]})}, {"players": pellucid.players.Columns()}),
    ],
    ids=["model", "background", "removal", "target", "truth", "players"],
)
def test_every_part_of_the_question_counts(tmp_path: Path, one: dict, two: dict) -> None:
    def audit(model: object = black_box(1.0), **fields: object) -> Study:
        options = {"methods": ["occlusion"], "metrics": ["sparseness"], "rows": 4, "out": tmp_path / "run"} | fields
        return pellucid.audit(model, small_data(), **options)

    audit(**one)
    audit(**one)
    with pytest.raises(StoreError, match="asked something else"):
        audit(**two)


def test_two_settings_of_one_method_stand_side_by_side(tmp_path: Path) -> None:
    lime = pellucid.methods.Lime
    study = small_audit(tmp_path / "run", methods=[lime(samples=50), lime(samples=200)])
    assert set(study.explanations) == {"lime (samples=50)", "lime (samples=200)"}
    assert {score.method for score in study.scores} == set(study.explanations)
    assert not study.failed and study.report is not None


@dataclass(frozen=True)
class BrokenMetric(pellucid.metrics.Sparseness):
    name: ClassVar[str] = "broken"

    def score(self, case: object) -> object:
        raise ValueError("no ruler")


def test_a_failing_metric_is_listed(tmp_path: Path) -> None:
    study = small_audit(tmp_path / "run", metrics=[BrokenMetric(), "complexity"])
    (failure,) = study.failed
    assert failure.method == "broken of occlusion" and "no ruler" in failure.reason
    assert any(caution.code == "failed_items" for caution in study.ranked_warnings)


def test_a_setting_given_is_exact_in_an_audit_too(tmp_path: Path) -> None:
    study = small_audit(tmp_path / "run", methods=[pellucid.methods.Lime(samples=3000)])
    assert not study.failed and set(study.explanations["lime"].notes["samples"]) == {3000}


# The path of a decision ----------------------------------------------------------------------


def test_an_audit_of_an_image_network_shows_how_decisions_travelled(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    images = (rng.uniform(0, 99, (40, 1, 8, 8)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    net = fresh(small_cnn, channels=1, height=8, width=8, classes=2, base=4).eval()
    asked = {"methods": ["saliency"], "metrics": ["sparseness"], "rows": 4, "out": tmp_path / "run"}
    study = pellucid.audit(net, pellucid.read(tmp_path / "images.npz"), **asked)
    assert study.path is not None and len(study.path) == 3 and study.path.gap.max() < 1e-4
    kept = pellucid.open(tmp_path / "run")
    assert kept.path is not None and kept.path.flows.tobytes() == study.path.flows.tobytes()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "How the decision travelled" in page and study.path.links()[-2].name in page


def test_an_audit_of_a_table_has_no_path(tmp_path):
    assert small_audit(tmp_path / "run").path is None


def test_what_a_training_was_like_stands_in_the_report(tmp_path):
    net = _network(4, 6, 2)
    rows, labels = torch.randn(40, 4), torch.arange(40) % 2
    recorder = Recorder(net)
    fit(net, (rows, labels), epochs=2, listener=recorder)
    file = recorder.recording.save(tmp_path / "training")
    study = pellucid.audit(net, small_data(), methods=("occlusion",), metrics=["sparseness"], rows=4,
                           out=tmp_path / "run", timeout=20.0, recording=file)  # fmt: skip
    kept = pellucid.open(tmp_path / "run").recording
    assert kept is not None and kept.counts.tobytes() == recorder.recording.counts.tobytes()
    assert study.report is not None and "How it was trained" in study.report.read_text(encoding="utf-8")
    with pytest.raises(StoreError, match="recording differ"):
        pellucid.audit(net, small_data(), methods=("occlusion",), metrics=["sparseness"], rows=4,
                       out=tmp_path / "run", timeout=20.0)  # fmt: skip
