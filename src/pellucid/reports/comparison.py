"""The sections about the methods: how they score beside controls, whether they agree, how near the truth they come."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pellucid.records.score import Score
from pellucid.records.study import Study

from . import figures
from .chapter import Chapter, Grid, Section, control_names, shown
from .words import Words, cut, number, percent


def methods(chapter: Chapter) -> Section | None:
    """How the methods were set, what they cost, and how they score beside controls."""
    study, words = chapter.study, chapter.words
    if not study.explanations:
        return None
    section = chapter.section("methods", words("lead_methods"))
    scored = [score for score in study.scores if score.method not in control_names(study)]
    if scored:
        section.pictures.append(
            chapter.picture(figures.scores_matrix(scored, language=words.language), words("caption_scores"))
        )
    for metric in dict.fromkeys(score.metric for score in scored):
        with_curves = [score for score in scored if score.metric == metric and _drawable(score)]
        if with_curves:
            caption = words("caption_curves", metric=words.metric(metric))
            section.pair.append(chapter.picture(figures.curves(with_curves, language=words.language), caption))
    section.tables.append(_settings_table(study, words))
    if study.scores:
        section.tables.append(_scores_table(scored, words))
    return section


def _drawable(score: Score) -> bool:
    return any(np.asarray(c).ndim in (1, 2) and np.isfinite(np.asarray(c)).sum() > 1 for c in score.curves.values())


def _settings_table(study: Study, words: Words) -> Grid:
    columns = [
        words(f"col_{code}") for code in ("method", "settings", "removal", "seed", "evaluations", "seconds", "gap")
    ]
    rows = []
    for name, e in study.explanations.items():
        worst = percent(float(np.nanmax(e.gaps))) if e.gaps is not None and np.isfinite(e.gaps).any() else "—"
        listed = (", ".join(f"{k}={shown(v)}" for k, v in part.items()) or "—" for part in (e.settings, e.removal))
        cost = (number(e.cost.evaluations), number(e.cost.seconds))
        rows.append([words.method(name), *(cut(text, 200) for text in listed), str(e.seed), *cost, worst])
    return Grid(words("table_settings"), columns, rows, frozenset((3, 4, 5, 6)), folded=True)


def _scores_table(scores: Sequence[Score], words: Words) -> Grid:
    codes = ("method", "metric", "value", "stderr", "better", "control", "beats", "status")
    rows = []
    for score in scores:
        sign = {"higher": 1, "lower": -1, "neither": 0}[score.better]
        known = sign and score.status == "ok" and np.isfinite(score.value) and np.isfinite(score.control)
        beats = ("yes" if (score.value - score.control) * sign > 0 else "no") if known else "unknown"
        beats = beats if score.is_telling else "few"
        status = words("status_" + score.status.replace(" ", "_")) + (
            f": {cut(score.reason, 120)}" if score.reason else ""
        )
        numbers = (number(score.value), number(score.stderr), words(f"better_{score.better}"), number(score.control))
        rows.append([words.method(score.method), words.metric(score.metric), *numbers, words(f"beats_{beats}"), status])
    return Grid(words("table_scores"), [words(f"col_{c}") for c in codes], rows, frozenset((2, 3, 5)), folded=True)


def agreement(chapter: Chapter) -> Section | None:
    study, words = chapter.study, chapter.words
    controls = control_names(study)
    compared = {name: e for name, e in study.explanations.items() if name not in controls}
    if len(compared) < 2:
        return None
    section = chapter.section("agreement", words("lead_agreement"))
    chart = figures.agreement_matrix(compared, language=words.language)
    section.pictures.append(chapter.picture(chart, words("caption_agreement")))
    return section


def truth(chapter: Chapter) -> Section | None:
    """The methods beside contributions that are known to be true: a rank correlation each, and the first case."""
    study, words, truth = chapter.study, chapter.words, chapter.study.truth
    if truth is None or not study.explanations or not len(truth):
        return None
    section = chapter.section("truth", words("lead_truth"))
    controls = control_names(study)
    compared = {name: e for name, e in study.explanations.items() if name not in controls}
    chart = figures.beside_truth(compared, truth, 0, language=words.language)
    section.pictures.append(chapter.picture(chart, words("caption_truth")))
    rows = []
    for name, explanation in study.explanations.items():
        same = explanation.attributions.shape[:2] == truth.attributions.shape[:2]
        apart = np.abs(explanation.attributions[..., 0] - truth.attributions[..., 0]) if same else np.array([np.nan])
        size = np.nanmax(np.abs(truth.attributions), initial=0.0) or 1.0
        agreed = figures.agreement({"a": explanation, "b": truth})[0, 1]
        error = float(np.nanmean(apart)) / size if np.isfinite(apart).any() else float("nan")
        rows.append([words.method(name), number(agreed), percent(error)])
    columns = [words("col_method"), words("col_truth_rank"), words("col_truth_error")]
    marked = frozenset(i for i, name in enumerate(study.explanations) if name in controls)
    section.tables.append(Grid(words("head_truth"), columns, rows, frozenset((1, 2)), marked))
    return section
