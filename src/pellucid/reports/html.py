"""The report: one HTML file that works offline, prints, and trusts nothing that came from data.

The page's content security policy allows this file's own two scripts and one style sheet, by their
hashes, and pictures inside the file; nothing can be fetched and nothing can be evaluated. Data reach
the page as escaped text, or as JSON that our script hands to Vega's expression interpreter.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pellucid import __version__
from pellucid.records.answer import Answer
from pellucid.records.errors import InputError
from pellucid.records.importance import Importance
from pellucid.records.inspection import Inspection
from pellucid.records.messages import LANGUAGES, RANK
from pellucid.records.preflight import Preflight
from pellucid.records.recording import Recording
from pellucid.records.study import Study

from . import before, export, inspected, overall, recorded
from .chapter import CASES, Chapter, embedded
from .figures.theme import DARK
from .overview import facts, summary, terms, warning
from .sections import sections
from .words import Words, clean, cut

if TYPE_CHECKING:
    from jinja2 import Environment

FIRST_WARNINGS = 5


def render(studies: Sequence[Study], *, language: str = "en", title: str | None = None, cases: int = CASES) -> str:
    """One offline HTML page about one study or several.

    ``cases`` is how many single rows of each study are shown. The same studies give the same page, byte
    for byte. Raises :class:`InputError` for no study or an unknown language.
    """
    from markupsafe import Markup

    studies = [studies] if isinstance(studies, Study) else list(studies)
    if not studies:
        raise InputError("there is no study to report on")
    if language not in LANGUAGES:
        raise InputError(f"there is no language {cut(language)!r}", fix=f"choose among {', '.join(LANGUAGES)}")
    words = Words(language)
    name = cut(studies[0].name) if len(studies) == 1 else words("title")
    style, script = _source("report.css"), _source("report.js")
    warnings = _ranked(studies, words)
    page = _environment().get_template("report.html.j2")
    html = page.render(
        t=words,
        language=language,
        title=cut(title, 200) if title is not None else name,
        policy=_policy([export.bundle(), script], style),
        style=Markup(style),
        bundle=Markup(export.bundle()),
        script=Markup(script),
        night=Markup(embedded(DARK)),
        studies=[_chapter(study, f"study-{place}", words, cases) for place, study in enumerate(studies, 1)],
        warnings=warnings,
        first_warnings=warnings[:FIRST_WARNINGS],
        terms=terms(studies, words),
        version=__version__,
    )
    return html.strip() + "\n"


def _chapter(study: Study, anchor: str, words: Words, cases: int) -> dict[str, Any]:
    from markupsafe import Markup

    chapter = Chapter(study, anchor, words, Markup, cases)
    return {
        "anchor": anchor,
        "name": cut(study.name),
        "summary": summary(study, words),
        "facts": facts(study, words),
        "sections": sections(chapter),
    }


def _ranked(studies: Sequence[Study], words: Words) -> list[dict[str, str]]:
    """The warnings of all studies, the gravest first; one that several studies share is said once."""
    found: dict[tuple[str, str], list[str]] = {}
    for study in studies:
        for caution in study.ranked_warnings:
            places = found.setdefault((caution.severity, words.of(caution)), [])
            if cut(study.name) not in places:
                places.append(cut(study.name))
    ranked = sorted(found.items(), key=lambda entry: RANK[entry[0][0]])  # pyright: ignore[reportArgumentType]
    several = len(studies) > 1
    return [
        {"severity": severity, "text": text, "where": " · ".join(places) if several else ""}
        for (severity, text), places in ranked
    ]


@cache
def _environment() -> Environment:
    """Templates that escape everything, refuse unknown names, and print clean text only."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def finalize(value: Any) -> Any:
        return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    return Environment(
        loader=PackageLoader("pellucid.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )


@cache
def _source(name: str) -> str:
    from importlib.resources import files

    return (files("pellucid.reports") / "templates" / name).read_text(encoding="utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """The content security policy: nothing but these texts and pictures inside the file."""

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    listed = " ".join(map(digest, scripts))
    return (
        f"default-src 'none'; script-src {listed}; style-src {digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def snippet(answer: Answer, told: Callable[..., list[str]], *, language: str = "en") -> str:
    """A fragment for notebooks: the first row's figure, and what ``told`` says of it. Without scripts."""
    words = Words(language)
    still = export.data_uri(answer.plot(0, language=language)) if len(answer) else ""
    paragraphs = told(answer, 0, language) if len(answer) else []
    head, warnings = f"{len(answer)} × {words.method(answer.method)}", [warning(one, words) for one in answer.warnings]
    return _fragment(words, head, still, paragraphs, warnings)


def overall_snippet(importance: Importance, *, language: str = "en") -> str:
    """A fragment for notebooks: what matters over all rows, as a figure and in sentences. Without scripts."""
    words = Words(language)
    still, told = export.data_uri(importance.plot(language=language)), overall.paragraphs(importance, language)
    warnings = [warning(one, words) for one in importance.warnings]
    return _fragment(words, words.method(importance.method), still, told, warnings)


def inspection_snippet(found: Inspection, *, language: str = "en") -> str:
    """A fragment for notebooks: the units of a network that do nothing, and the facts. Without scripts."""
    still, told = export.data_uri(found.plot(language=language)), inspected.paragraphs(found, language)
    return _fragment(Words(language), cut(found.model), still, told)


def recording_snippet(found: Recording, *, language: str = "en") -> str:
    """A fragment for notebooks: how the weights were spread over the epochs, and what is to be noticed."""
    still, told = export.data_uri(found.plot(language=language)), recorded.paragraphs(found, language)
    return _fragment(Words(language), cut(found.notes["model"]), still, told)


def preflight_snippet(found: Preflight, *, language: str = "en") -> str:
    """A fragment for notebooks: what a model is, and what to be careful of. Without scripts."""
    words = Words(language)
    warnings = [warning(one, words) for one in found.warnings]
    return _fragment(words, cut(found.model), "", before.paragraphs(found, language), warnings)


def card(study: Study, *, language: str = "en") -> str:
    """A fragment for notebooks: a study's paragraph and its gravest warnings. Without scripts."""
    words = Words(language)
    return _fragment(words, cut(study.name), "", [summary(study, words)], _ranked([study], words)[:FIRST_WARNINGS])


def _fragment(words: Words, head: str, still: str, told: Sequence[str], warnings: Sequence[dict[str, str]] = ()) -> str:
    page = _environment().get_template("snippet.html.j2")
    return page.render(t=words, head=head, still=still, told=told, warnings=warnings)
