"""What stands at the head and the foot of a report: summaries, key figures, warnings, the glossary."""

from __future__ import annotations

from collections.abc import Sequence

from pellucid.records.finding import Finding
from pellucid.records.messages import Caution
from pellucid.records.study import Study

from . import figures
from .chapter import control_names, interval, leading
from .words import Words, clean, cut, number

MAIN = ("performance", "entities")
"""The checks whose first finding says how good the model is."""


def summary(study: Study, words: Words) -> str:
    """One paragraph: what was examined, how good the model is, what mattered, how many warnings."""
    counts = {"cases": len(study.predictions) or max([len(e) for e in study.explanations.values()], default=0)}
    counts["methods"] = len(study.explanations)
    metrics = len({score.metric for score in study.scores})
    parts = [words("sum_what", metrics=metrics, **counts) if metrics else words("sum_unscored", **counts)]
    first = next((finding for finding in study.findings if finding.check in MAIN), None)
    parts += [words.of(first)] if first is not None else []
    best = leading(study)
    if best and not figures.is_image(study.explanations[best]) and study.explanations[best].players.is_shared:
        top = [cut(name, 40) for name, *_ in figures.mean_importance(study.explanations[best])[:3]]
        if top:
            parts.append(
                words("sum_matters", names=words.joined([f"“{name}”" for name in top]), method=words.method(best))
            )
    if study.failed:
        parts.append(words("sum_failed", count=len(study.failed)))
    return ("" if words.language == "zh" else " ").join(parts)


def _is_ahead(study: Study, method: str) -> bool:
    """Whether a method was told from the controls by some metric, and no control did better by any."""
    verdicts = [score.verdict for score in study.scores if score.method == method and score.controls]
    return "ok" in verdicts and "control is better" not in verdicts


def facts(study: Study, words: Words) -> list[tuple[str, str, str]]:
    """The figures of a study's head: (name, value, note). Warnings are all that the page lists, notes among them."""
    found = []
    first = next((f for f in study.findings if f.check in MAIN and f.metrics), None)
    for name, triple in list(first.metrics.items())[:2] if first is not None else []:
        found.append((words.metric(name), number(triple[0]), interval(triple)))
    best = leading(study)
    if best:
        found.append(
            (words("fact_best"), words.method(best), words("fact_best_note") if _is_ahead(study, best) else "")
        )
    told = [severity for severity, _ in dict.fromkeys((c.severity, words.of(c)) for c in study.ranked_warnings)]
    counts = {severity: told.count(severity) for severity in ("red", "yellow", "note")}
    found.append((words("fact_warnings"), str(len(told)), words("fact_warnings_note", **counts)))
    found.append((words("fact_failed"), str(len(study.failed)), ""))
    return found


def warning(caution: Caution | Finding, words: Words, where: str = "") -> dict[str, str]:
    return {"severity": caution.severity, "text": words.of(caution), "where": where}


def terms(studies: Sequence[Study], words: Words) -> list[dict[str, str]]:
    """The glossary: every method and metric met that we know, once."""
    methods = {name for s in studies for name in [*s.explanations, *control_names(s)]}
    methods |= {found.method for s in studies for found in (s.overall, s.path) if found is not None}
    metrics = {score.metric for s in studies for score in s.scores}
    metrics |= {name for s in studies for finding in s.findings for name in finding.metrics}
    found = []
    for kind, names, name_of in (("method", methods, words.method), ("metric", metrics, words.metric)):
        known = [name for name in sorted(names) if words.meaning(kind, name)]
        found += [{"name": name_of(name), "code": clean(name), "meaning": words.meaning(kind, name)} for name in known]
    return found
