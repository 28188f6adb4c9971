"""The end of a benchmark: its page is printed, and written where that is asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def publish(lines: Iterable[str], page: Path, write: bool) -> None:
    """Print the lines of a page of ``docs/benchmarks``, and keep them there with ``write``."""
    text = "\n".join(lines) + "\n"
    print(text)
    if write:
        page.write_text(text, encoding="utf-8")
