"""A study's results as DataFrames, for those who write them to CSV or Parquet.

Cells are the data's own values, not escaped for any format: whoever writes a file escapes for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pellucid.records.study import Study

if TYPE_CHECKING:
    import pandas as pd


def predictions(study: Study) -> pd.DataFrame:
    """One line per explained row: what was predicted, with which probability, and the label where known."""
    import pandas as pd

    return pd.DataFrame([dict(line) for line in study.predictions])


def contributions(study: Study) -> pd.DataFrame:
    """A long table over all methods: method, row, output, player, value, stderr."""
    import pandas as pd

    parts = []
    for method, explanation in study.explanations.items():
        part = explanation.to_frame()
        part.insert(0, "method", method)
        parts.append(part)
    names = ["method", "row", "output", "player", "value", "stderr"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def scores(study: Study) -> pd.DataFrame:
    """Columns: method, metric, value, stderr, better, control, status."""
    return study.scores.to_frame()


def findings(study: Study, language: str = "en") -> pd.DataFrame:
    """One line per figure of a finding: check, part, severity, sentence, metric, value, low, high.

    A finding without figures has one line with an empty metric.
    """
    import pandas as pd

    from .words import Words

    words, lines = Words(language), []
    for finding in study.findings:
        head = {"check": finding.check, "part": finding.part, "severity": finding.severity, "text": words.of(finding)}
        figures = list(finding.metrics.items()) or [("", (float("nan"),) * 3)]
        lines += [
            head | {"metric": name, "value": value, "low": low, "high": high} for name, (value, low, high) in figures
        ]
    names = ["check", "part", "severity", "text", "metric", "value", "low", "high"]
    return pd.DataFrame(lines, columns=names)


def failed(study: Study) -> pd.DataFrame:
    """One line per unit of work that gave no result: method, rows, status, reason, seconds."""
    import pandas as pd

    lines = [{**vars(failure), "rows": " ".join(map(str, failure.rows))} for failure in study.failed]
    return pd.DataFrame(lines, columns=["method", "rows", "status", "reason", "seconds"])
