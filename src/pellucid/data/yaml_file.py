"""Reading a small YAML file of settings: data only, no objects, no aliases, no doubled keys."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..records.errors import PellucidError, shorten

LARGEST_FILE = 2**20


class _Loader(yaml.SafeLoader):
    """YAML without objects, without aliases (they can grow without bound) and without doubled keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.MarkedYAMLError(problem="aliases are not allowed here", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a name", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# A category or a column named no, yes, on or off is a text here, as it is in YAML 1.2.
_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, what: str, error: type[PellucidError]) -> Any:
    """The content of the file, ``{}`` where it is empty. Raises ``error`` with the line that is wrong.

    ``what`` the file is goes into the message: ``"schema file"``.
    """
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise error(f"the {what} is larger than {LARGEST_FILE:,} bytes", where=path.name)
        content = _Loader(path.read_text(encoding="utf-8-sig")).get_single_data()
    except OSError as problem:
        raise error(f"could not read the {what}", where=str(path), why=str(problem.strerror)) from problem
    except UnicodeDecodeError as problem:
        raise error(f"the {what} is not UTF-8 text", where=f"{path.name}:byte {problem.start}") from problem
    except (yaml.YAMLError, RecursionError, ValueError) as problem:
        mark = getattr(problem, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        why = getattr(problem, "problem", None) or shorten(problem, 200)
        raise error(f"the {what} is not valid YAML", where=f"{path.name}{line}", why=why) from problem
    return {} if content is None else content
