"""Names: what to call a method where several are looked at together."""

from __future__ import annotations

from collections.abc import Sequence

from ..methods.method import Method


def labelled(methods: Sequence[Method]) -> dict[str, Method]:
    """Methods by label: the name, with the settings that differ in brackets where a name occurs twice.

    Two methods that are equal in every setting get a running number: they are asked for on purpose.
    """
    labels: dict[str, Method] = {}
    for method in methods:
        twins = [other for other in methods if other.name == method.name]
        label = method.name if len(twins) == 1 else _told_apart(method, twins)
        number, plain = 2, label
        while label in labels:
            label, number = f"{plain} #{number}", number + 1
        labels[label] = method
    return labels


def _told_apart(method: Method, twins: Sequence[Method]) -> str:
    own = method.settings()
    differing = [name for name in own if len({repr(twin.settings()[name]) for twin in twins}) > 1]
    return f"{method.name} ({', '.join(f'{name}={own[name]}' for name in differing)})" if differing else method.name
