"""Every method of the catalogue obeys every law, on every problem it applies to."""

import pytest

from pellucid.catalog import everything
from pellucid.testing import check_method

EXPECTED = {"saliency": 9, "integrated_gradients": 9, "lime_neighbours": 9, "edge_filter": 2}
"""Methods that do not apply to all twelve problems (no gradients, no images), and to how many they do."""


@pytest.mark.parametrize("name", everything("methods"))
def test_laws(name: str) -> None:
    applied = check_method(everything("methods")[name]())
    assert len(applied) == EXPECTED.get(name, 12 if name != "input_magnitude" else 11)
