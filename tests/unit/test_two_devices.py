"""Networks whose weights lie on two devices, one of them made up: the same numbers as on one, and nothing moved."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from torch.utils import backend_registration

PROGRAM = Path(__file__).parents[1] / "two_devices.py"


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the program found; torch can be told of a device once in a process only."""
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        pytest.skip("this torch cannot be given a device that is written in Python")
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, str(PROGRAM)], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths},
        check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", ["straight", "swapped"])
@pytest.mark.parametrize("rows", ["table", "dispatched", "image", "tokens"])
def test_numbers_are_those_of_the_network_on_one_device(found: dict[str, Any], way: str, rows: str) -> None:
    told = found[way][rows]
    assert len(told) >= 3
    assert {method: gap for method, gap in told.items() if isinstance(gap, str) or gap > 1e-6} == {}


def test_the_preflight_lists_both(found: dict[str, Any]) -> None:
    assert found["devices"] == ["cpu", "elsewhere:0"]


@pytest.mark.parametrize(
    ("network", "where", "told"),
    [
        ("broken", "in layer 1 (Linear)", "on the same device"),
        ("narrow", "the network takes 4 numbers a row", "these rows have 3"),
    ],
)
def test_what_fails_on_both_is_told_with_its_place(found: dict[str, Any], network: str, where: str, told: str) -> None:
    assert where in found[network] and told in found[network]
