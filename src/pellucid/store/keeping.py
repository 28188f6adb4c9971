"""Keeping a study: what goes into a run's folder at the end, and how it is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..records.errors import StoreError
from ..records.explanation import Explanation
from ..records.files import read_json, write_json
from ..records.finding import Finding
from ..records.flow import Flow
from ..records.importance import Importance
from ..records.messages import Caution
from ..records.preflight import Preflight
from ..records.profile import Profile
from ..records.recording import Recording
from ..records.schema import Schema
from ..records.score import Score, Scores
from ..records.study import Failure, Study
from .folder import Folder, key_of

FORMAT = 1
TRUTH = "truth of the rule"


def keep_study(folder: Folder, study: Study) -> None:
    """Write a study into its folder; ``study.json`` comes last, so what it names is there."""
    files = {}
    records = dict(study.explanations) | ({} if study.truth is None else {TRUTH: study.truth})
    for name, explanation in records.items():
        files[name] = key_of("explanation", name)
        folder.keep(files[name], explanation.to_bytes())
    if study.overall is not None:
        folder.keep(key_of("overall"), study.overall.to_bytes())
    if study.path is not None:
        folder.keep(key_of("path"), study.path.to_bytes())
    if study.recording is not None:
        folder.keep(key_of("recording"), study.recording.to_bytes())
    data: dict[str, Any] = {
        "format": FORMAT,
        "name": study.name,
        "model": dict(study.model),
        "schema": None if study.schema is None else study.schema.to_dict(),
        "profile": None if study.profile is None else study.profile.to_dict(),
        "explanations": files,
        "overall": None if study.overall is None else key_of("overall"),
        "path": None if study.path is None else key_of("path"),
        "recording": None if study.recording is None else key_of("recording"),
        "preflight": None if study.preflight is None else study.preflight.to_dict(),
        "scores": [score.to_dict() for score in study.scores],
        "findings": [finding.to_dict() for finding in study.findings],
        "failed": [vars(failure) for failure in study.failed],
        "predictions": [dict(prediction) for prediction in study.predictions],
        "provenance": dict(study.provenance),
        "warnings": [caution.to_dict() for caution in study.warnings],
    }
    write_json(folder.path / "study.json", data)


def read_study(path: str | Path) -> Study:
    """Read the study in a run's folder.

    Raises :class:`StoreError` where there is none, it is unfinished, damaged or of another version.
    """
    path = Path(path)
    file = path / "study.json"
    if not file.exists():
        unfinished = (path / "question.json").exists()
        why = "the run did not finish; start it again with the same command to go on" if unfinished else ""
        raise StoreError("there is no finished study here", where=str(path), why=why)
    data = read_json(file)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise StoreError("not a study, or one of another version", where=str(file))
    try:
        return _study(path, data)
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError("the study is damaged", where=str(file), why=f"{type(error).__name__}: {error}") from error


def _study(path: Path, data: dict[str, Any]) -> Study:
    records = {name: Explanation.load(path / "results" / key) for name, key in data["explanations"].items()}
    overall, flow, recording = (data.get(name) for name in ("overall", "path", "recording"))  # older ones have none
    before = data.get("preflight")
    return Study(
        name=data["name"],
        folder=path,
        model=data["model"],
        schema=None if data["schema"] is None else Schema.from_dict(data["schema"]),
        profile=None if data["profile"] is None else Profile.from_dict(data["profile"]),
        truth=records.pop(TRUTH, None),
        explanations=records,
        overall=None if overall is None else Importance.load(path / "results" / overall),
        path=None if flow is None else Flow.load(path / "results" / flow),
        recording=None if recording is None else Recording.load(path / "results" / recording),
        preflight=None if before is None else Preflight.from_dict(before),
        scores=Scores(Score.from_dict(score) for score in data["scores"]),
        findings=tuple(Finding.from_dict(finding) for finding in data["findings"]),
        failed=tuple(Failure(**{**failure, "rows": tuple(failure["rows"])}) for failure in data["failed"]),
        predictions=tuple(data["predictions"]),
        provenance=data["provenance"],
        warnings=tuple(Caution.from_dict(caution) for caution in data["warnings"]),
    )
