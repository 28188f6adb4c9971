"""How each answer looks on the command line: sentences and tables, or one JSON object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..records.messages import say
from .running import DONE, PARTLY, Desk

if TYPE_CHECKING:
    from ..records.answer import Answer
    from ..records.explanation import Explanation
    from ..records.inspection import Inspection
    from ..records.preflight import Preflight
    from ..records.schema import Schema
    from ..records.score import Scores
    from ..records.study import Failure, Study
    from ..studies.comparing import Comparison, Difference

HALF = "± 95 %"
GRAVEST = 3
FAILURES = 10
DIFFERENCES = 30
MOST_LINES = 100
EMPTY = {"kinds": "all", "needs": "any model"}
COLOUR = {"red": "bold red", "yellow": "yellow", "note": ""}


def studies(desk: Desk, found: Sequence[Study], report: Path | None, language: str) -> int:
    """Where the report lies, the gravest warnings, and what failed. Returns the exit code."""
    from ..studies.listing import summary, warnings_of

    page, warnings = desk.page, warnings_of(found, language)
    failed = [failure for study in found for failure in study.failed]
    page.record(
        {"report": report, "warnings": warnings, "studies": [summary(study, language) for study in found]}
        | {"failed": sum(failure.status != "skipped" for failure in failed)}
    )
    page.say(say("terminal.report_lies", language, path=report))
    if warnings:
        page.say(say("terminal.gravest", language, count=len(warnings)))
    else:
        page.say(say("terminal.no_warnings", language))
    for warning in warnings[:GRAVEST]:
        grave = say(f"report.severity_{warning['severity']}", language)
        page.say(
            f"  • {say('narrative.caution', language, severity=grave, caution=warning['text'])}",
            COLOUR[warning["severity"]],
        )
    return failures(desk, failed, language)


def failures(desk: Desk, failed: Sequence[Failure], language: str) -> int:
    """The units of work that gave no result. Returns the exit code: what was skipped is no failure."""
    from ..studies.listing import failure_rows

    page = desk.page
    bad = sum(failure.status != "skipped" for failure in failed)
    if not failed:
        page.say(say("terminal.none_failed", language))
        return DONE
    page.say(say("terminal.some_failed", language, failed=bad, skipped=len(failed) - bad))
    for row in failure_rows(failed)[:FAILURES]:
        rows = "" if len(row["rows"]) != 1 else f" (row {row['rows'][0]})"
        page.say(f"  • {row['method']}{rows}: {row['status']}: {row['reason']}")
    if len(failed) > FAILURES:
        page.say("  " + say("terminal.more_failed", language, count=len(failed) - FAILURES))
    return PARTLY if bad else DONE


def answer(
    desk: Desk,
    found: Answer,
    schema: Schema | None,
    language: str,
    audience: str,
    top: int,
    kept: Path | None,
    numbers: Sequence[int] = (),
) -> None:
    """An explanation row by row; of any other kind of answer, what it says of itself and its table.

    ``numbers`` are the places of the rows in the data, from 1 on.
    """
    from ..records.explanation import Explanation
    from ..records.flow import Flow
    from ..records.importance import Importance
    from ..records.interactions import Interactions
    from ..records.rules import Rules
    from ..records.sets import Sets
    from ..records.trace import Trace

    if isinstance(found, Explanation):
        return explanation(desk, found, schema, language, audience, top, kept, numbers)
    page = desk.page
    arrays = {name: getattr(found, name) for name in (*found.by_row, *found.shared) if name != "background"}
    page.record(found.to_dict() | arrays | ({} if kept is None else {"file": kept}))
    if isinstance(found, (Flow, Importance, Interactions, Rules, Sets, Trace)):
        told = [found.text(row, language, audience) for row in range(len(found))]
    else:
        told = [repr(found)]
    for line in "\n".join(told).splitlines():
        page.say(line)
    page.table([_rounded(line) for line in found.to_frame().head(MOST_LINES).to_dict("records")])
    if kept is not None:
        page.say(say("terminal.written", language, path=kept))
    return None


def preflight(desk: Desk, found: Preflight, language: str, kept: Path | None) -> None:
    """What the model is, what to be careful of, and why methods do not apply."""
    from ..reports.words import Words, cut

    page, words = desk.page, Words(language)
    page.record(found.to_dict() | ({} if kept is None else {"file": kept}))
    for line in found.text(language).splitlines():
        page.say(line)
    for caution in found.warnings:
        page.say(f"  • {caution.marked(language)}", COLOUR[caution.severity])
    for reason, names in found.reasons.items():
        page.say(f"  – {cut(reason, 200)}: {words.joined(names)}")
    if kept is not None:
        page.say(say("terminal.written", language, path=kept))


def inspection(desk: Desk, found: Inspection, language: str, kept: Path | None) -> None:
    """What is to be noticed, and a table of the layers."""
    table = found.to_frame().to_dict("records")
    desk.page.record({"layers": table, "model": found.model} | ({} if kept is None else {"file": kept}))
    desk.page.say(found.text(language))
    desk.page.table([_rounded(line) for line in table])
    if kept is not None:
        desk.page.say(say("terminal.written", language, path=kept))


def _rounded(line: Mapping[Any, Any]) -> dict[str, Any]:
    """A line of a table with its fractions rounded."""
    from ..reports.words import number

    return {str(name): number(cell) if isinstance(cell, float) else cell for name, cell in line.items()}


def explanation(
    desk: Desk,
    found: Explanation,
    schema: Schema | None,
    language: str,
    audience: str,
    top: int,
    kept: Path | None,
    numbers: Sequence[int] = (),
) -> None:
    """Each row in sentences, and its players in a table."""
    from ..reports.narrative import paragraphs
    from ..reports.stretches import summed
    from ..reports.words import Words

    page = desk.page
    page.record(_as_data(found) | ({} if kept is None else {"file": kept}))
    for row in range(0 if page.json else len(found)):
        for output, name in enumerate(found.outputs[row]):
            told = {"row": row, "output": name}
            if row < len(numbers):
                page.say(say("terminal.row_of", language, number=int(numbers[row]), **told), "bold")
            else:
                page.say(say("terminal.row", language, **told), "bold")
            for paragraph in paragraphs(found, row, language, audience, output=output, schema=schema):
                page.say(paragraph)
            together = summed(found, row, output, Words(language))
            lines = _stretches(together[:top]) if together else _players(found, row, output, schema, top)
            page.table(lines, numbers=("value", HALF))
            hidden = (len(together) or len(found.players.of(row))) - top
            if hidden > 0:
                page.say(say("terminal.more_players", language, count=hidden))
            page.say()
    if kept is not None:
        page.say(say("terminal.written", language, path=kept))


def _as_data(found: Explanation) -> dict[str, Any]:
    """The whole record; ``attributions`` is [row][player][output]."""
    arrays = {"attributions": found.attributions, "base": found.base, "full": found.full}
    return found.to_dict() | arrays | {"errors": found.errors, "gaps": found.gaps}


def _stretches(together: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """The stretches that the sentences speak of, by the same names."""
    from ..reports.words import number

    return [{"player": name, "value": number(total, signed=True)} for name, total in together]


def _players(
    found: Explanation, row: int, output: int, schema: Schema | None, top: int
) -> list[dict[str, Any]]:  # fmt: skip
    from ..records.amounts import Z
    from ..reports.words import cells, cut, number

    own = cells(found, row, schema)
    lines = []
    for name, value, error in found.top(top, row, output):
        line = {"player": cut(name), "cell": cut(own.get(name, ""), 30), "value": number(value, signed=True)}
        lines.append(line if found.errors is None else line | {HALF: number(Z * error)})
    return lines if own else [{key: cell for key, cell in line.items() if key != "cell"} for line in lines]


def scores(desk: Desk, found: Scores) -> int:
    """Scores beside their controls, and what they warn of. Returns the exit code."""
    from ..studies.listing import score_rows

    rows = score_rows(found)
    desk.page.record({"scores": rows, "warnings": [str(caution) for caution in found.warnings]})
    _score_table(desk, rows)
    for caution in dict.fromkeys(caution.marked() for caution in found.warnings):
        desk.page.say(f"• {caution}")
    return PARTLY if any(row["status"] == "failed" for row in rows) else DONE


def _score_table(desk: Desk, rows: Sequence[Mapping[str, Any]]) -> None:
    from ..reports.words import number

    shown = [
        {
            "method": row["method"],
            "metric": row["metric"],
            "value": number(row["value"]),
            "stderr": number(row["stderr"]),
            "control": number(row["control"]),
            "better": row["better"],
            "status": "" if row["status"] == "ok" else row["status"],
        }
        for row in rows
    ]
    desk.page.table(shown, numbers=("value", "stderr", "control"))
    for row in rows:
        if row["reason"]:
            desk.page.say(f"  • {row['metric']} of {row['method']}: {row['reason']}")


def comparison(desk: Desk, found: Comparison, language: str) -> int:
    """The ranking, the scores behind it, and the methods that gave no answer. Returns the exit code."""
    from ..reports.words import number
    from ..studies.listing import failure_rows, score_rows

    ranking = [{"method": name, "mean rank": rank} for name, rank in found.ranking]
    rows = score_rows(found.scores)
    desk.page.record({"ranking": ranking, "scores": rows, "failed": failure_rows(found.failed)})
    desk.page.say(say("terminal.ranking", language))
    shown = [{"": place, **line, "mean rank": number(line["mean rank"])} for place, line in enumerate(ranking, 1)]
    desk.page.table(shown, numbers=("", "mean rank"))
    desk.page.say()
    _score_table(desk, rows)
    return failures(desk, found.failed, language) if found.failed else DONE


def difference(desk: Desk, found: Difference, language: str) -> None:
    page = desk.page
    page.record(found.to_dict())
    if found.identical:
        page.say(say("terminal.identical", language))
        return
    page.say(say("terminal.different", language, count=len(found.places)))
    page.table([{name: place[name] for name in ("path", "first", "second")} for place in found.places[:DIFFERENCES]])
    if len(found.places) > DIFFERENCES:
        page.say(f"… {len(found.places) - DIFFERENCES} more (--json lists them)")


def written(desk: Desk, path: Path, language: str) -> None:
    desk.page.record({"report": path})
    desk.page.say(say("terminal.written", language, path=path))


def cards(desk: Desk, room: str, name: str | None) -> None:
    """The methods or metrics, or all that one of them says of itself."""
    from ..studies import listing

    if name is not None:
        card = listing.card(room, name)
        desk.page.record(card)
        return _card(desk, card)
    found = listing.cards(room)
    desk.page.record({room: found})
    column = "promises" if room == "methods" else "better"
    desk.page.table([{"name": card["name"], "title": card["title"], column: _text(card[column])} for card in found])
    return None


def _card(desk: Desk, card: Mapping[str, Any]) -> None:
    page = desk.page
    page.say(card["title"], "bold")
    page.say(card["meaning"])
    for key, value in card.items():
        if key not in ("title", "meaning", "settings"):
            page.say(f"{key.replace('_', ' ')}: {_text(value, EMPTY.get(key, '–'))}")
    if card["settings"]:
        page.say()
        page.table([_setting(setting) for setting in card["settings"]])


def _setting(setting: Mapping[str, Any]) -> dict[str, str]:
    limits = "" if setting["low"] is None else f"{setting['low']:,.10g} to {setting['high']:,.10g}"
    default = "none" if setting["default"] is None else str(setting["default"])
    named = {"setting": setting["name"], "type": setting["type"], "default": default}
    return named | {"range": limits, "meaning": setting["help"]}


def _text(value: Any, empty: str = "–") -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{_text(cell)} for {key} players" for key, cell in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or empty
    return f"{value:.6g}" if isinstance(value, float) else str(value)
