"""Names: what to call a method where several are looked at together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..methods.method import Method


def labelled(methods: Sequence[Method]) -> dict[str, Method]:
    """Methods by label: the name, with the settings that differ in brackets where a name occurs twice.

    Two methods that are equal in every setting get a running number: they are asked for on purpose.
    """
    labels = labels_of([(method.name, method.settings()) for method in methods])
    return dict(zip(labels, methods, strict=True))


def labels_of(named: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """One label for each (name, settings), no two alike; made as :func:`labelled` makes them."""
    labels: list[str] = []
    for name, own in named:
        twins = [settings for other, settings in named if other == name]
        label = name if len(twins) == 1 else _told_apart(name, own, twins)
        number, plain = 2, label
        while label in labels:
            label, number = f"{plain} #{number}", number + 1
        labels.append(label)
    return labels


def _told_apart(name: str, own: Mapping[str, Any], twins: Sequence[Mapping[str, Any]]) -> str:
    differing = [key for key in own if len({repr(twin.get(key)) for twin in twins}) > 1]
    return f"{name} ({', '.join(f'{key}={_short(own[key])}' for key in differing)})" if differing else name


def _short(setting: Any) -> Any:
    """A setting that is itself a choice by its name."""
    return setting.get("name", setting) if isinstance(setting, Mapping) else setting
