"""Writes constraints.txt: the versions, in this environment, of everything that pellucid[all,dev] pulls in.

Run it in an environment whose tests have passed: ``.venv/bin/python .ci/constraints.py > constraints.txt``.
"""

import sys
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HEAD = """\
# The versions with which Pellucid's tests passed, on Python {python}, for repeatable set-ups.
# Install torch by its pin first, then the rest; `make` does so.
"""


def closure(name: str, extras: frozenset[str], seen: dict[tuple[str, str], None]) -> None:
    """Collect (distribution, extra) pairs reachable from ``name[extras]``."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        sys.exit(f"{name} is not installed here, so no version of it was tested")
    for extra in extras | {""}:
        if (canonicalize_name(name), extra) in seen:
            continue
        seen[canonicalize_name(name), extra] = None
        for text in found.requires or ():
            needed = Requirement(text)
            marker = needed.marker
            if marker is None or marker.evaluate({"extra": extra}):
                if marker is not None and not extra and "extra" in str(marker):
                    continue
                closure(needed.name, frozenset(needed.extras), seen)


def main() -> None:
    seen: dict[tuple[str, str], None] = {}
    closure("pellucid", frozenset({"all", "dev"}), seen)
    names = sorted({name for name, _ in seen} - {"pellucid"})
    pins = [f"{name}=={distribution(name).version.split('+')[0]}" for name in names]
    head = HEAD.format(python=".".join(map(str, sys.version_info[:2])))
    sys.stdout.write(head + "\n".join(pins) + "\n")


if __name__ == "__main__":
    main()
