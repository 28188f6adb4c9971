"""The sentences of findings: every language says the same with the same placeholders."""

from __future__ import annotations

import re
from string import Formatter

import pytest

from pellucid.records.messages import LANGUAGES, catalogue

ENTRIES = {code: entry for code, entry in catalogue().items() if code.startswith("findings.")}


def placeholders(template: str) -> set[tuple[str, str]]:
    return {(name, spec or "") for _, name, spec, _ in Formatter().parse(template) if name is not None}


def test_there_are_findings():
    assert {"findings.performance", "findings.calibration", "findings.slices_suppressed"} <= set(ENTRIES)


@pytest.mark.parametrize("code", sorted(ENTRIES))
def test_every_language_has_the_same_placeholders(code: str):
    entry = ENTRIES[code]
    assert set(entry) == set(LANGUAGES)
    first, second = (placeholders(entry[language]) for language in LANGUAGES)
    assert first == second
    assert all(re.fullmatch(r"[a-z_0-9]+", name) for name, _ in first)
    assert entry["en"].endswith(".")
    assert entry["zh"].endswith("。")
