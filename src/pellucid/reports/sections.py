"""The sections of a study's chapter: the model, single cases, what matters, the data, failures, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pellucid.records.explanation import Explanation
from pellucid.records.finding import Finding
from pellucid.records.study import Study

from . import before, comparison, figures, narrative, overall, path, recorded
from .chapter import LINES, Chapter, Grid, Picture, Section, control_names, grid_of, interval, leading, shown
from .marked_text import is_text, pieces_of
from .overview import warning
from .stretches import is_series
from .words import Words, cell, cut, number, percent, quoted

# The order of columns in tables of findings, which a kept study has forgotten.
FIRST = (
    *("type", "average", "mistake", "class", "slice", "truth", "entities", "rows", "predicted"),
    *("precision", "recall", "f1", "times", "share", "example"),
)
OPEN = ("types",)  # tables of findings that are not folded up
COLUMNS, TILES, CODE = 12, 5, 4000
OUTPUTS = 6  # columns of the table of words
SWARM = 8  # so many rows, and a dot for each says more than their mean
AGREE, DISAGREE = 0.7, 0.4  # mean rank correlation of the methods on one row


def sections(chapter: Chapter) -> list[Section]:
    """Every section that has something to say, in the order of the page."""
    judged = (comparison.methods, comparison.agreement, comparison.truth)
    made = (
        _before,
        _performance,
        _cases,
        _path,
        _overall,
        _importance,
        *judged,
        _training,
        _data,
        _failed,
        _provenance,
        _command,
    )
    return [section for make in made if (section := make(chapter)) is not None]


def _before(chapter: Chapter) -> Section | None:
    """What the model was found to be before it was asked why."""
    found, words = chapter.study.preflight, chapter.words
    if found is None:
        return None
    gap = "" if words.language == "zh" else " "
    section = chapter.section("before", gap.join(before.paragraphs(found, words.language)))
    columns = [words("col_item"), words("col_value")]
    section.tables.append(Grid(words("table_before"), columns, before.facts(found, words), folded=True))
    lines = [
        [cut(reason, 300), words.joined([words.method(name) for name in names])]
        for reason, names in found.reasons.items()
    ]
    if lines:
        label = words("table_not_applicable", count=len(found.methods) - len(found.applicable))
        section.tables.append(Grid(label, [words("col_reason"), words("col_methods")], lines, folded=True))
    return section


def _performance(chapter: Chapter) -> Section | None:
    """The findings about the model, with their intervals, figures and tables."""
    study, words = chapter.study, chapter.words
    if not study.findings:
        return None
    section = chapter.section("performance", words("lead_performance"))
    for finding in study.findings:
        pictures = _finding_pictures(chapter, finding)
        entry: dict[str, Any] = warning(
            finding, words, words("finding_where", part=cut(finding.part), rows=finding.rows)
        )
        listed = [(words.metric(name), number(triple[0]), interval(triple)) for name, triple in finding.metrics.items()]
        entry["facts"] = listed[:TILES]
        entry["pictures"] = pictures
        entry["tables"] = [
            _finding_table(name, lines, words)
            for name, lines in sorted(finding.tables.items(), key=lambda table: table[0] not in OPEN)
            if lines and name != "confusion"
        ]
        if len(listed) > TILES:
            columns = [words("col_metric"), words("col_value"), words("col_interval")]
            label = words("table_metrics", count=len(listed))
            entry["tables"].insert(0, Grid(label, columns, listed, frozenset((1,)), folded=True))
        section.findings.append(entry)
    return section


def _finding_table(name: str, lines: Sequence[Mapping[str, Any]], words: Words) -> Grid:
    """One of a finding's tables, its headings and kinds of mistakes in the reader's words."""
    said = [{**line, "mistake": words(f"mistake_{line['mistake']}")} if "mistake" in line else line for line in lines]
    place = {column: number for number, column in enumerate(FIRST)}
    said = [dict(sorted(line.items(), key=lambda cell: place.get(cell[0], len(FIRST)))) for line in said]
    table = grid_of(said, words.table(name))
    columns = [words.column(column) for column in table.columns]
    return replace(table, columns=columns, folded=name not in OPEN)


def _finding_pictures(chapter: Chapter, finding: Finding) -> list[Picture]:
    words, language, pictures = chapter.words, chapter.words.language, []
    for kind, draw in (
        ("roc", figures.roc),
        ("precision_recall", figures.precision_recall),
        ("reliability", figures.reliability),
        ("predictions", figures.scatter),
    ):
        if figures.curves_named(finding, kind):
            pictures.append(chapter.picture(draw(finding, language=language), words(f"caption_{kind}")))
    if len({true for true, _, _ in figures.confusion_counts(finding)}) in range(1, 21):
        pictures.append(chapter.picture(figures.confusion(finding, language=language), words("caption_confusion")))
    return pictures


def chosen_cases(study: Study, count: int) -> list[int]:
    """Places of the rows to be shown: wrong predictions (at most half), then others; in the order of the file."""
    best = leading(study)
    total = len(study.explanations[best]) if best else 0
    wrong = [i for i, line in enumerate(study.predictions[:total]) if _wrong(line)][: max(1, count // 2)]
    rest = [i for i in range(total) if i not in wrong]
    return sorted(wrong + rest[: max(0, count - len(wrong))])


def _wrong(line: Mapping[str, Any]) -> bool:
    label, prediction = line.get("label"), line.get("prediction")
    if line.get("mistake"):
        return True  # an entity may be of the right type and have the wrong words
    if label is None or isinstance(label, float) or isinstance(prediction, float):
        return False  # unknown, or a number: not right or wrong
    return str(label) != str(prediction)


def _cases(chapter: Chapter) -> Section | None:
    """Single rows: sentences, figure, and whether the methods agree."""
    study, words = chapter.study, chapter.words
    best = leading(study)
    if not best:
        return None
    rows, explanation = chosen_cases(study, chapter.cases), study.explanations[best]
    lead = words(
        "lead_cases" if study.scores else "lead_cases_unscored",
        shown=len(rows),
        total=len(explanation),
        method=words.method(best),
    )
    section = chapter.section("cases", lead)
    section.cases = [_case(chapter, explanation, row) for row in rows]
    if study.predictions:
        lines = [
            {**line, "mistake": words(f"mistake_{line['mistake']}") if line["mistake"] else ""}
            if "mistake" in line else line for line in study.predictions
        ]  # fmt: skip
        table = grid_of(lines, words("table_predictions", count=len(lines)))
        section.tables.append(replace(table, columns=[words.column(name) for name in table.columns], folded=True))
    return section


def _case(chapter: Chapter, explanation: Explanation, row: int) -> dict[str, Any]:
    words, study = chapter.words, chapter.study
    language, line = words.language, dict(study.predictions[row]) if row < len(study.predictions) else {}
    told = {a: narrative.paragraphs(explanation, row, language, a, schema=study.schema) for a in narrative.AUDIENCES}
    gap = "" if language == "zh" else " "
    if figures.is_image(explanation):
        chart, caption = figures.image_overlay(explanation, row, language=language), "caption_picture"
    elif is_series(explanation):
        chart, caption = figures.series_bands(explanation, row, language=language), "caption_series"
    elif figures.is_answer(explanation, row):
        chart, caption = figures.answer_map(explanation, row, language=language), "caption_answer"
    else:
        chart = figures.contributions(explanation, row, language=language, schema=study.schema)
        caption = "caption_case" if explanation.errors is not None else "caption_case_exact"
    name = cut(explanation.outputs[row][0])
    return {
        "title": _title(line, cut(line.get("row", row)), shown(line.get("prediction", name)), words),
        "badges": _badges(study, line, row, words),
        "marked": _marked(explanation, row, words),
        "professional": told["professional"],
        "expert": gap.join(told["expert"]),
        "person": gap.join(told["person"]),
        "picture": chapter.picture(chart, words(caption, method=words.method(explanation.method)), signed=True),
    }


def _title(line: Mapping[str, Any], row: str, prediction: str, words: Words) -> str:
    """What a case is called: by its row, of an entity also by its words."""
    if "entity" in line:
        return words("case_title_entity", row=row, entity=quoted(line["entity"], 40), prediction=prediction)
    return words("case_title", row=row, prediction=prediction)


def _badges(study: Study, line: Mapping[str, Any], row: int, words: Words) -> list[dict[str, str]]:
    """What stands beside a case's title: probability, label, whether the methods agree."""
    badges = []
    if isinstance(line.get("probability"), (int, float)):
        badges.append({"kind": "", "text": words("badge_probability", value=percent(float(line["probability"])))})
    if line.get("label") is not None:
        kind = "yellow" if _wrong(line) else "ok"
        badges.append(
            {"kind": kind if "prediction" in line else "", "text": words("badge_label", label=shown(line["label"]))}
        )
    if line.get("mistake"):
        badges.append({"kind": "yellow", "text": words(f"mistake_{line['mistake']}")})
    controls = control_names(study)
    compared = {name: e[row] for name, e in study.explanations.items() if name not in controls and row < len(e)}
    if len(compared) > 1:
        matrix = figures.agreement(compared)
        pairs = matrix[np.tril_indices(len(matrix), -1)]
        if np.isfinite(pairs).any():
            mean = float(np.nanmean(pairs))
            code = "agree" if mean >= AGREE else "differ" if mean >= DISAGREE else "disagree"
            kind = {"agree": "ok", "differ": "yellow", "disagree": "red"}[code]
            badges.append({"kind": kind, "text": words(f"badge_{code}", value=f"{mean:.2f}".replace("-", "−"))})
    return badges


def _marked(explanation: Explanation, row: int, words: Words) -> dict[str, Any]:
    """A text in its pieces, shaded by their contributions, and the key to it; empty for other data."""
    if not is_text(explanation):
        return {}
    pieces = [
        {"text": words("left_out", count=piece.left_out) if piece.left_out else piece.text, "shade": piece.shade,
         "amount": piece.amount, "rest": bool(piece.left_out)}
        for piece in pieces_of(explanation, row)
    ]  # fmt: skip
    looks = {look for piece in pieces for look in piece["shade"].split()}
    return {"pieces": pieces, "unclear": "q" in looks, "asked": "e" in looks}


def _overall(chapter: Chapter) -> Section | None:
    """What the model needs over all test rows: a figure with intervals, and sentences."""
    found, words = chapter.study.overall, chapter.words
    if found is None:
        return None
    gap = "" if words.language == "zh" else " "
    lead = gap.join([words("lead_overall"), overall.paragraphs(found, words.language)[0]])
    section = chapter.section("overall", lead)
    said = {"method": words.method(found.method), "rows": f"{len(found.ids):,}"}
    chart = figures.overall(found, language=words.language)
    section.pictures.append(chapter.picture(chart, words("caption_overall", **said)))
    return section


def _path(chapter: Chapter) -> Section | None:
    """What passes through the network's layers at a few rows: a flow figure of each, and sentences."""
    study, words = chapter.study, chapter.words
    if study.path is None:
        return None
    gap = "" if words.language == "zh" else " "
    section = chapter.section("path", words("lead_path", method=words.method(study.path.method)))
    for row in range(len(study.path)):
        line = dict(study.predictions[row]) if row < len(study.predictions) else {}
        name = shown(line.get("prediction", cut(study.path.outputs[row][0])))
        title = _title(line, cut(line.get("row", row)), name, words)
        told = gap.join([f"{title}.", *path.paragraphs(study.path, row, words.language)])
        chart = figures.decision_flow(study.path, row, language=words.language, beside=False)
        section.pictures.append(chapter.picture(chart, told, signed=True))
    return section


def _importance(chapter: Chapter) -> Section | None:
    study, words = chapter.study, chapter.words
    best = leading(study)
    if not best or not len(study.explanations[best]):
        return None
    explanation = study.explanations[best]
    section = chapter.section("importance", words("lead_words" if is_text(explanation) else "lead_importance"))
    said = {"method": words.method(best), "rows": len(explanation)}
    if is_text(explanation):
        chart = figures.words_overall(explanation, language=words.language)
        section.pictures.append(chapter.picture(chart, words("caption_words", **said)))
        section.tables.append(_words_table(explanation, words))
    elif is_series(explanation) and explanation.players.is_shared:
        chart = figures.series_overall(explanation, language=words.language)
        section.pictures.append(chapter.picture(chart, words("caption_series_mean", **said)))
    elif not figures.is_image(explanation):
        chart = figures.importance(explanation, language=words.language)
        section.pictures.append(chapter.picture(chart, words("caption_importance", **said)))
        if len(explanation) >= SWARM and explanation.players.kind == "column":
            chart = figures.beeswarm(explanation, language=words.language, schema=study.schema)
            section.pictures.append(chapter.picture(chart, words("caption_swarm", **said)))
    elif explanation.players.is_shared:
        chart = figures.importance_map(explanation, language=words.language)
        section.pictures.append(chapter.picture(chart, words("caption_importance_map", **said)))
    return section if section.pictures else None


def _words_table(explanation: Explanation, words: Words) -> Grid:
    """The words of all texts: how often they stand there, and what they do on average for each output explained."""
    found = figures.word_weights(explanation)[:LINES]
    outputs = list(dict.fromkeys(row[0] for row in explanation.outputs))[:OUTPUTS]
    columns = [words(f"col_{code}") for code in ("word", "times", "texts", "per_text")]
    columns += [words("col_for_output", output=cut(name, 30)) for name in outputs]
    rows = [
        [cut(w.word), str(w.times), str(w.texts), number(w.size)]
        + [number(w.means[name], signed=True) if name in w.means else "" for name in outputs]
        for w in found
    ]
    label = words("table_words", count=len(rows))
    return Grid(label, columns, rows, frozenset(range(1, len(columns))), folded=True)


def _training(chapter: Chapter) -> Section | None:
    """How the network was trained: weights, gradients and activations over the epochs."""
    found, words = chapter.study.recording, chapter.words
    if found is None or not len(found):
        return None
    section = chapter.section("training", recorded.text(found, words.language))
    for kind in ("weights", "gradients", "activations"):
        if found.of(kind):
            chart = figures.spread_over_epochs(found, kind, language=words.language)
            section.pictures.append(chapter.picture(chart, words("caption_recording", kind=words(f"recorded_{kind}"))))
    return section


def _data(chapter: Chapter) -> Section | None:
    """The data set: sizes, columns, distributions, correlations, missing cells."""
    study, words = chapter.study, chapter.words
    profile, language = study.profile, words.language
    if profile is None:
        return None
    splits = words.joined([f"{cut(name, 30)} {count:,}" for name, count in profile.splits.items()])
    section = chapter.section("data", words("lead_data", rows=f"{profile.rows:,}", splits=splits or "—"))
    for column in figures.ranked_columns(profile, COLUMNS):
        section.grid.append(chapter.picture(figures.distribution(column, legend=False, language=language)))
        section.legend = section.legend or [cut(label) for label in column.by_label]
    if len(profile.names) > 1:
        chart = figures.correlations(profile, language=language)
        section.pair.append(chapter.picture(chart, words("caption_correlations")))
    if any(column.missing for column in profile.columns):
        section.pair.append(chapter.picture(figures.missing(profile, language=language), words("caption_missing")))
    if profile.columns:
        section.tables.append(_columns_table(study, words))
    return section


def _columns_table(study: Study, words: Words) -> Grid:
    codes = (
        "column",
        "type",
        "unit",
        "missing",
        "distinct",
        "mean",
        "std",
        "low",
        "median",
        "high",
        "association",
        "flags",
    )
    rows = []
    profile = study.profile
    for column in profile.columns if profile is not None else ():
        known = study.schema[column.name] if study.schema is not None and column.name in study.schema else None
        flags = [
            words(f"flag_{flag}") for flag in ("protected", "immutable") if known is not None and getattr(known, flag)
        ]
        q = column.quantiles
        strength = profile.association.get(column.name, float("nan")) if profile is not None else float("nan")
        numbers = [number(v) for v in (column.mean, column.std, q[0], q[2], q[4], strength)]
        head = (cut(column.name), cut(column.type, 20), cut(column.unit, 20))
        rows.append([*head, str(column.missing), str(column.distinct), *numbers, ", ".join(flags)])
    return Grid(words("table_columns", count=len(rows)), [words(f"col_{c}") for c in codes], rows[:LINES],
                frozenset(range(3, 11)), folded=True)  # fmt: skip


def _failed(chapter: Chapter) -> Section | None:
    study, words = chapter.study, chapter.words
    if not study.failed:
        return None
    section = chapter.section("failed", words("lead_failed"))
    rows = [
        [words.method(f.method), cut(", ".join(map(str, f.rows))), words("status_" + f.status.replace(" ", "_")),
         cut(f.reason, 300), number(f.seconds)]
        for f in study.failed[:LINES]
    ]  # fmt: skip
    columns = [words(f"col_{code}") for code in ("method", "rows", "status", "reason", "seconds")]
    section.tables.append(Grid(section.title, columns, rows, frozenset((4,))))
    return section


def _provenance(chapter: Chapter) -> Section | None:
    study, words = chapter.study, chapter.words
    told = {key: value for key, value in study.provenance.items() if key != "command"}  # it has a section of its own
    lines = [*_flat(study.model, words("the_model")), *_flat(told)]
    if not lines:
        return None
    section = chapter.section("provenance", words("lead_provenance"))
    columns = [words("col_item"), words("col_value")]
    section.tables.append(Grid(section.title, columns, lines[:LINES], mono=True))
    return section


def _flat(value: Any, path: str = "") -> list[list[str]]:
    """Nested data as lines (path, value)."""
    if isinstance(value, Mapping):
        return [line for key, item in value.items() for line in _flat(item, f"{path} › {key}" if path else str(key))]
    if isinstance(value, (list, tuple)) and value and isinstance(value[0], Mapping):
        return [line for place, item in enumerate(value) for line in _flat(item, f"{path} › {place}")]
    if isinstance(value, (list, tuple)):
        return [[cut(path, 200), cut(", ".join(map(str, value)), 300)]]
    return [[cut(path, 200), cut(cell(value) or "—", 300)]]


def _command(chapter: Chapter) -> Section | None:
    command = chapter.study.provenance.get("command")
    if not command:
        return None
    section = chapter.section("command", chapter.words("lead_command"))
    section.code = cut(command if isinstance(command, str) else " ".join(map(str, command)), CODE)
    return section
