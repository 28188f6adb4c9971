"""The catalogue of sentences: every language says the same, nothing that is used is missing, nothing lies unused."""

from __future__ import annotations

import ast
import re
from functools import cache
from string import Formatter

import pytest
from tree import SRC, dotted, files

from pellucid.catalog import everything
from pellucid.records.messages import LANGUAGES, catalogue

ROOMS = {code.split(".")[0] for code in catalogue()}
NAMED = {f"report.{kind}_{name}" for kind in ("method", "metric") for name in everything(f"{kind}s")}
"""Entries of the report's glossary that stand for something in the catalogue."""


def test_every_method_and_metric_is_named_in_reports() -> None:
    missing = sorted(NAMED - set(catalogue()))
    assert not missing, f"add to report.toml: {missing}"


def fields_of(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name is not None}


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_every_language_says_the_same(room: str) -> None:
    wrong = []
    for code, entry in catalogue().items():
        if code.split(".")[0] != room:
            continue
        if set(entry) != set(LANGUAGES):
            wrong.append(f"{code}: in {', '.join(entry)} only")
        elif len({frozenset(fields_of(text)) for text in entry.values()}) > 1:
            wrong.append(f"{code}: other placeholders in other languages")
        elif any(not text.strip() or text != text.strip() for text in entry.values()):
            wrong.append(f"{code}: empty, or with spaces around it")
    assert not wrong, "\n".join(wrong)


@cache
def written() -> tuple[frozenset[str], tuple[re.Pattern[str], ...]]:
    """Strings written in code and templates; and patterns, of f-strings and of strings joined to something."""
    constants: set[str] = set()
    patterns: set[str] = set()
    for file in files():
        prose = {id(node.value) for node in ast.walk(file.tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(file.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
                constants.update(node.value.split())
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(p.value) if isinstance(p, ast.Constant) else r"\w+" for p in node.values]
                patterns.add("".join(map(str, parts)))
            elif isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
                patterns.add(re.escape(str(node.left.value)) + r"\w+")
    for path in (SRC / "pellucid").rglob("*.j2"):
        text = path.read_text(encoding="utf-8")
        constants.update(re.findall(r"['\"](\w+)['\"]", text))
        patterns.update(re.escape(prefix) + r"\w+" for prefix in re.findall(r"['\"](\w+)['\"] *~", text))
    telling = [pattern for pattern in patterns if len(re.sub(r"\\w\+|\\", "", pattern)) >= 3]
    return frozenset(constants), tuple(map(re.compile, telling))


def test_nothing_lies_unused() -> None:
    constants, patterns = written()
    unused = []
    for code in set(catalogue()) - NAMED:
        names = (code, code.partition(".")[2])
        used = any(name in constants for name in names)
        if not used and not any(pattern.fullmatch(name) for pattern in patterns for name in names):
            unused.append(code)
    assert not unused, "\n".join(sorted(unused))


CALLS = {"Caution.of": "cautions.", "words": "report.", "t": "report.", "words.told": "narrative.", "say": ""}


def test_nothing_that_is_used_is_missing() -> None:
    missing = []
    for file in files():
        for name, node in file.calls():
            given = node.args[0] if node.args else None
            if name == "Finding" and len(node.args) > 1:
                prefix, given = "findings.", node.args[1]
            else:
                prefix = CALLS.get(name)
            if prefix is None or not isinstance(given, ast.Constant):
                continue
            if f"{prefix}{given.value}" not in catalogue():
                missing.append(file.at(node, f"{prefix}{given.value}"))
    for path in (SRC / "pellucid").rglob("*.j2"):
        codes = re.findall(r"\bt\('(\w+)'[,)]", path.read_text(encoding="utf-8"))
        missing += [f"{path.name}: report.{code}" for code in codes if f"report.{code}" not in catalogue()]
    assert not missing, "\n".join(missing)


def test_cautions_are_made_from_values_that_fill_them() -> None:
    """Where a caution's values are written out, they are exactly those of its sentence."""
    wrong = []
    for file in files():
        for name, node in file.calls():
            if name != "Caution.of" or not node.args or not isinstance(node.args[0], ast.Constant):
                continue
            entry = catalogue().get(f"cautions.{node.args[0].value}", {"en": ""})
            given = {keyword.arg for keyword in node.keywords}
            if None not in given and not fields_of(entry["en"]) <= given:
                wrong.append(file.at(node, f"{node.args[0].value} lacks {fields_of(entry['en']) - given}"))
    assert not wrong, "\n".join(wrong)


def test_calls_looked_at_are_the_ones_that_exist() -> None:
    seen = {name for file in files() for name, _ in file.calls()}
    assert {"Caution.of", "words", "words.told", "say", "Finding"} <= seen
    assert dotted(ast.parse("a.b(c)").body[0].value.func) == "a.b"  # pyright: ignore[reportAttributeAccessIssue]
