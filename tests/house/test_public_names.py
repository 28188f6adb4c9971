"""The names users type stay fixed, exist, and cost nothing before they are used."""

import inspect
import json
import subprocess
import sys

import pytest

import pellucid

PUBLIC = {
    "__version__",
    "Asked",
    "Budget",
    "Draws",
    "Encoding",
    "Explanation",
    "PellucidError",
    "Series",
    "audit",
    "compare",
    "diff",
    "evaluate",
    "explain",
    "explain_answer",
    "explain_context",
    "explain_entities",
    "inspect",
    "load",
    "methods",
    "metrics",
    "open",
    "players",
    "preflight",
    "read",
    "removals",
    "targets",
    "testing",
    "training",
    "wrap",
}
HEAVY = ("torch", "numpy", "pandas", "sklearn", "altair", "pyarrow", "pydantic", "jinja2")


def test_the_list_is_the_written_one() -> None:
    assert set(pellucid.__all__) == PUBLIC
    assert len(pellucid.__all__) == len(PUBLIC)


@pytest.mark.parametrize("name", sorted(PUBLIC - {"__version__"}))
def test_every_name_resolves_and_says_what_it_is(name: str) -> None:
    found = getattr(pellucid, name)
    assert inspect.getdoc(found), f"pellucid.{name} has no docstring"


def test_an_unknown_name_is_told_what_there_is() -> None:
    with pytest.raises(AttributeError, match="explain"):
        pellucid.explane  # noqa: B018


def test_importing_costs_next_to_nothing() -> None:
    code = "import sys, json, pellucid; print(json.dumps(sorted(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(told.stdout)}
    assert not loaded & set(HEAVY)
