"""Absent words drawn from what a masked language model expects in their places."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.data.text_encoding import Vocabulary
from pellucid.doors.question import as_problem
from pellucid.doors.wrap import wrap
from pellucid.records.errors import RemovalError
from pellucid.removals import Proposed

TEXTS = ["red good blue", "good red", "blue blue good red red"]
WORDS = {"red": 2, "blue": 3, "good": 4, "[mask]": 5}


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(WORDS, mask="[mask]")


class Colours(nn.Module):
    """Expects red with the odds of 3 to 1 against blue at every masked place, and never anything else."""

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits = torch.full((*ids.shape, 6), -30.0)
        logits[..., 2], logits[..., 3] = np.log(3.0), 0.0
        logits[..., 0] = 50.0  # a token of the network's own, which must never be proposed
        return logits


class Counts(nn.Module):
    """The number of good words, and of red ones."""

    def forward(self, ids: Tensor) -> Tensor:
        return torch.stack([(ids == 4).sum(1), (ids == 2).sum(1)], 1).double()


def test_what_is_present_stays_and_what_is_absent_is_drawn(vocabulary: Vocabulary) -> None:
    model = wrap(Counts(), encoding=vocabulary)
    problem = as_problem(model, TEXTS, removal=Proposed(Colours().eval(), draws=400))
    rows, players = problem.inputs.flat, problem.players
    present = torch.from_numpy(players.labels != 0)[:, None]  # without the first word
    filled = problem.removal.fill(
        rows, present, problem.removal.references(problem.inputs, players, 0), slice(None), players
    )
    assert filled.shape == (3, 1, 400, 5)
    assert (filled[0, 0, :, 1:] == rows[0, 1:]).all()
    assert (filled[1, 0, :, 2:] == -1).all()
    share = (filled[:, 0, :, 0] == 2).double().mean().item()
    assert set(filled[0, 0, :, 0].tolist()) == {2, 3}
    assert abs(share - 0.75) < 0.06


def test_values_are_means_over_what_could_stand_there(vocabulary: Vocabulary) -> None:
    model = wrap(Counts(), encoding=vocabulary)
    found = pellucid.explain(model, TEXTS, "exact_shapley", removal=Proposed(Colours().eval(), draws=300), target=1)
    # A word that is red has 1 where 3 of 4 proposals have, any other 0 where they have 3 of 4.
    expected = {"red": 0.25, "blue": -0.75, "good": -0.75}
    for row, text in enumerate(TEXTS):
        own = [expected[word] for word in text.split()]
        np.testing.assert_allclose(found.attributions[row, : len(own), 0], own, atol=0.08)


def test_a_text_alone_is_as_in_a_batch_and_the_seed_moves_it(vocabulary: Vocabulary) -> None:
    model, removal = wrap(Counts(), encoding=vocabulary), Proposed(Colours().eval(), draws=7)
    together = pellucid.explain(model, TEXTS, "exact_shapley", removal=removal, target=1)
    alone = pellucid.explain(model, TEXTS[1:2], "exact_shapley", removal=removal, target=1)
    np.testing.assert_allclose(alone.attributions[0], together.attributions[1, :2], atol=1e-9)
    other = pellucid.explain(model, TEXTS, "exact_shapley", removal=removal, target=1, seed=5)
    assert not np.allclose(other.attributions[2], together.attributions[2])


def test_what_cannot_propose_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(RemovalError, match="proposes no words"):
        Proposed(lambda ids: ids)
    with pytest.raises(RemovalError, match="in training mode"):
        Proposed(Colours())
    with pytest.raises(RemovalError, match="no mask to ask proposals for"):
        bare = wrap(Counts(), encoding=Vocabulary({"red": 2}))
        pellucid.explain(bare, TEXTS, "occlusion", removal=Proposed(Colours().eval()))
