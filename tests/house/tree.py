"""The source as the house tests read it: every file with its syntax tree, and what it imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


@dataclass(frozen=True)
class File:
    """One Python file below ``src``."""

    path: Path

    @cached_property
    def module(self) -> str:
        """The dotted name: ``pellucid.records.files``; a package's ``__init__`` has the package's name."""
        parts = self.path.relative_to(SRC).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def name(self) -> str:
        """The path below the package: ``records/files.py``."""
        return self.path.relative_to(SRC / "pellucid").as_posix()

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @cached_property
    def room(self) -> str:
        """The first name below the package; ``front`` for what users type: pellucid, .removals, .players, .targets."""
        return room_of(self.module)

    def at(self, node: ast.AST, what: str = "") -> str:
        """A place a person can click on."""
        return f"{self.name}:{getattr(node, 'lineno', 1)} {what}".rstrip()

    def calls(self) -> Iterator[tuple[str, ast.Call]]:
        """Every call with the dotted name it is written with: ``np.random.seed``, ``.read_text`` for methods."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call):
                yield dotted(node.func), node

    def imports(self) -> Iterator[tuple[str, ast.AST]]:
        """Modules imported anywhere in the file (in functions and for types, too), by absolute name."""
        package = self.module if self.path.name == "__init__.py" else self.module.rpartition(".")[0]
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    above = package.split(".")[: len(package.split(".")) - node.level + 1]
                    base = ".".join([*above, base]).rstrip(".")
                for alias in node.names:
                    inner = f"{base}.{alias.name}"
                    yield (inner if inner in modules() else f"{base}:{alias.name}"), node
            elif isinstance(node, ast.Call) and dotted(node.func).endswith("import_module"):
                yield from ((given.value, node) for given in node.args if isinstance(given, ast.Constant))


def dotted(node: ast.AST) -> str:
    """``a.b.c`` as written; a call or subscript in front leaves an empty first part: ``.read_text``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def room_of(module: str) -> str:
    first = module.split(":")[0].split(".")[1:2]
    return "front" if not first or first[0] in ("removals", "players", "targets") else first[0]


@cache
def files() -> tuple[File, ...]:
    return tuple(File(path) for path in sorted((SRC / "pellucid").rglob("*.py")))


@cache
def modules() -> frozenset[str]:
    return frozenset(file.module for file in files())
