"""Telling it: a study's report and tables, written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..data.writing import write_csv
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.explanation import Explanation
from ..records.files import write_bytes
from ..records.schema import Schema
from ..records.study import Study
from ..reports import html, tables
from ..store.folder import TABLES

MOST = 50
"""Rows that a page about one explanation shows."""


def publish(study: Study, language: str = "en") -> Study:
    """Write ``report.html`` and the tables as CSV into the study's folder; returns the study."""
    if study.folder is not None:
        write_report([study], study.folder / "report.html", language)
        for name in TABLES:
            write_csv(study.folder / f"{name}.csv", getattr(tables, name)(study))
    return study


def write_page(found: Answer, path: str | Path, language: str = "en", schema: Schema | None = None) -> Path:
    """A report's page about one explanation, its first :data:`MOST` rows each with sentences and figure.

    Raises :class:`NotApplicable` for an answer that is no contributions.
    """
    if not isinstance(found, Explanation):
        raise NotApplicable(
            f"a page shows contributions, and {found.method} answers with {found.record}", fix="keep it as .npz"
        )
    study = Study(found.model or found.method, explanations={found.method: found}, schema=schema)
    text = html.render([study], language=language, cases=min(len(found), MOST))
    write_bytes(path, text.encode("utf-8", "replace"))
    return Path(path)


def write_report(studies: Sequence[Study], path: str | Path, language: str = "en", title: str | None = None) -> Path:
    """One offline HTML file about one study or several."""
    text = html.render(studies, language=language, title=title)
    write_bytes(path, text.encode("utf-8", "replace"))
    return Path(path)
