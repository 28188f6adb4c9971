"""Every method, metric and check declares what the catalogue, the faces and the docs derive from it."""

import inspect
from pathlib import Path
from typing import Any

import pytest

from pellucid.catalog import ROOMS, everything
from pellucid.records.settings import described

OWN = [
    (room, name) for room in ROOMS for name, kind in everything(room).items() if kind.__module__.startswith("pellucid.")
]
DECLARED = {
    "methods": {"name", "title", "source", "needs", "kinds", "promises", "pooling", "sampled", "signed", "role"},
    "metrics": {"name", "title", "source", "better", "low", "high", "controlled", "default"},
    "checks": {"name", "tasks", "source"},
}
CHOICES = {
    "pooling": {"sum", "norm"},
    "role": {"method", "control"},
    "better": {"higher", "lower", "neither"},
}
AXIOMS = {"completeness", "null_player", "symmetry", "linearity", "implementation_invariance"}
MODALITIES = {"table", "image", "tensor", "text", "words", "series", "graph", "multimodal", "opaque"}


def kind_of(room: str, name: str) -> Any:
    return everything(room)[name]


@pytest.mark.parametrize(("room", "name"), OWN)
def test_it_declares_what_it_is(room: str, name: str) -> None:
    kind = kind_of(room, name)
    missing = [attribute for attribute in sorted(DECLARED[room]) if not hasattr(kind, attribute)]
    assert not missing, f"{name} does not declare {', '.join(missing)}"
    assert kind.name == name
    assert kind.source.strip(), f"{name} names no source"
    for attribute, choices in CHOICES.items():
        assert getattr(kind, attribute, None) in choices | {None}, f"{name}.{attribute}"
    assert set(getattr(kind, "promises", ())) <= AXIOMS
    assert set(getattr(kind, "kinds", ())) <= MODALITIES
    assert all(isinstance(need, type) for need in getattr(kind, "needs", ()))
    assert getattr(kind, "low", 0) <= getattr(kind, "high", 0)


@pytest.mark.parametrize(("room", "name"), OWN)
def test_it_says_what_it_does(room: str, name: str) -> None:
    kind = kind_of(room, name)
    own = kind.__dict__.get("__doc__") or ""
    generated = own.startswith(f"{kind.__name__}(")  # what a dataclass writes for itself
    assert own.strip() and not generated, f"{kind.__name__} has no docstring of its own"


@pytest.mark.parametrize(("room", "name"), OWN)
def test_every_setting_says_what_it_means(room: str, name: str) -> None:
    for setting in described(kind_of(room, name)):
        assert setting.help.strip(), f"{name}.{setting.name} has no help"
        assert setting.help == setting.help.strip() and not setting.help.endswith("."), f"{name}.{setting.name}"


@pytest.mark.parametrize(("room", "name"), OWN)
def test_it_works_without_settings_and_cannot_be_changed(room: str, name: str) -> None:
    member = kind_of(room, name)()
    assert type(member).__dataclass_params__.frozen
    assert member == kind_of(room, name)() and hash(member) == hash(kind_of(room, name)())


@pytest.mark.parametrize(("room", "name"), OWN)
def test_the_file_has_its_name(room: str, name: str) -> None:
    kind = kind_of(room, name)
    file = Path(inspect.getfile(kind)).stem
    control = room == "methods" and kind.role == "control"
    assert file == ("controls" if control else name)


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_there_are_some(room: str) -> None:
    assert [name for own, name in OWN if own == room]
