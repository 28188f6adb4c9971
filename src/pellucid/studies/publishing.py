"""Telling it: a study's report and tables, written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.writing import write_csv
from ..records.files import write_bytes
from ..records.study import Study
from ..reports import html, tables
from ..store.folder import TABLES


def publish(study: Study, language: str = "en") -> Study:
    """Write ``report.html`` and the tables as CSV into the study's folder; returns the study."""
    if study.folder is not None:
        write_report([study], study.folder / "report.html", language)
        for name in TABLES:
            write_csv(study.folder / f"{name}.csv", getattr(tables, name)(study))
    return study


def write_report(studies: Sequence[Study], path: str | Path, language: str = "en", title: str | None = None) -> Path:
    """One offline HTML file about one study or several."""
    text = html.render(studies, language=language, title=title)
    write_bytes(path, text.encode("utf-8", "replace"))
    return Path(path)
