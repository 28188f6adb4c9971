"""Published architectures: nearly all can be walked back, exactly, and the one that cannot says why."""

import numpy as np
import pytest
import torch
from architectures import ARCHITECTURES

import pellucid
from pellucid.records.errors import NotApplicable

REFUSED = {"TabNet (sparsemax)"}


@pytest.mark.parametrize("name", sorted(ARCHITECTURES.keys() - REFUSED))
def test_deeplift_adds_up(name: str) -> None:
    """To 1e-12 in double precision; to 1e-8 where a network computes in single somewhere, as Llama's norms do."""
    model, rows = ARCHITECTURES[name]()
    model, rows = model.double(), rows.double()
    e = pellucid.explain(model, rows[:2], "deeplift", background=rows[2:])
    assert np.nanmax(e.gap) <= (1e-8 if name == "Llama" else 1e-12), f"{np.nanmax(e.gap):.1e}"
    with torch.no_grad():
        assert np.allclose(e.full[:, 0], model(rows[:2]).amax(1).numpy())


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_be_walked_names_its_operation(name: str) -> None:
    model, rows = ARCHITECTURES[name]()
    with pytest.raises(NotApplicable, match=r"architectures.py:\d+: there is no rule for the operation aten\.sort"):
        pellucid.explain(model, rows[:2], "deeplift", background=rows[2:])


def test_at_most_a_tenth_is_refused() -> None:
    assert len(ARCHITECTURES) >= 30
    assert len(REFUSED) / len(ARCHITECTURES) <= 0.1
