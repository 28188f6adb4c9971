"""Questions put so that they can be differentiated: tokens by their embeddings, half precision in single."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.model import Differentiable, Embedded
from ..problem.problem import Problem
from ..problem.removal import TensorRemoval
from ..records.answer import Answer
from ..records.errors import PellucidError
from ..records.messages import Caution
from ..records.players import Players
from .engine import answers, shared_rows

TRIED = 8
"""Rows on which two precisions are compared, or the embedding is looked for."""


def lifted(problem: Problem, needs: tuple[type, ...]) -> Problem:
    """The same question in a form that can be differentiated, where a method ``needs`` that.

    The problem itself where it is so already, or cannot be without losing what else the method needs.
    """
    wanted = Differentiable in needs and isinstance(problem.model, Differentiable)
    if not wanted or problem.inputs.opaque is not None:
        return problem
    single = _in_single(problem)
    found = _by_embeddings(single)
    return found if all(isinstance(found.model, need) for need in needs) else single


def restored(found: Answer, problem: Problem, seed: int) -> Answer:
    """What was found out about a lifted problem, with the players and reference rows of the problem itself."""
    background, removal = found.background, problem.removal
    if background is not None and isinstance(removal, TensorRemoval):
        references = removal.references(problem.inputs, problem.players, seed)
        background = shared_rows(removal.background(problem.inputs, references))
    return replace(found, players=problem.players, background=background)


def _in_single(problem: Problem) -> Problem:
    """A copy of a network in half precision, in float32, with a note of how far its answers are from the network's.

    Where the copy does not run the problem is left as it is: its gradients then have a few digits.
    """
    model, inputs = problem.model, problem.inputs
    assert isinstance(model, Differentiable)
    single = model.in_single()
    if single is model:
        return problem
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in inputs.tensors.items()}
    copied = replace(problem, model=single, inputs=_same_rows(tensors, inputs))
    few = range(min(TRIED, len(inputs)))
    try:
        one, other = answers(problem.take(few)), answers(copied.take(few))
    except PellucidError:
        return problem
    difference = float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-12))
    return replace(copied, cautions=(*problem.cautions, Caution.of("in_single", "note", difference=difference)))


def _by_embeddings(problem: Problem) -> Problem:
    """Tokens as the vectors that the network looks up for them; a player owns its tokens' vectors."""
    model, inputs = problem.model, problem.inputs
    assert isinstance(model, Differentiable)
    removal = problem.removal
    one_of_numbers = len(inputs.elements) == 1 and not inputs.flat.is_floating_point()
    if not one_of_numbers or not isinstance(removal, TensorRemoval) or removal.conditional:
        return problem
    try:
        with model.untouched():
            found = model.embedded({name: tensor[:TRIED].clone() for name, tensor in inputs.tensors.items()})
    except PellucidError:
        raise
    except Exception:  # noqa: BLE001 — whatever a stranger's code raises, the binding pass meets and tells
        return problem
    if found is None:
        return problem
    (tokens,) = inputs.elements
    vectors = found.look_up(inputs.tensors[tokens])
    labels = np.repeat(problem.players.labels, vectors.shape[-1], axis=1)
    along = {**inputs.along, found.name: inputs.along[tokens]} if inputs.along else {}
    return replace(
        problem,
        model=found.model,
        inputs=_same_rows({found.name: vectors, **inputs.tensors}, inputs, along=along, fills=found.fills),
        players=replace(problem.players, labels=labels, layout=()),
        removal=_OfTokens(removal, found, vectors.shape[-1]),
        kind="tensor",
        cautions=(*problem.cautions, *_told(removal, found)),
    )


def _told(removal: TensorRemoval, found: Embedded) -> list[Caution]:
    told = [Caution.of("by_embeddings", "note", layer=found.layer)]
    return [*told, Caution.of("deleted_in_place", "note")] if removal.deletes else told


def _same_rows(tensors: Mapping[str, Tensor], inputs: Inputs, **known: Any) -> Inputs:
    """Other tensors for the same rows, and what is ``known`` of them: they keep their names, and so their noise."""
    made = replace(inputs, tensors=tensors, **known)
    made.__dict__["ids"] = inputs.ids
    return made


@dataclass(frozen=True, eq=False)
class _OfTokens(TensorRemoval):
    """What stands for absent tokens, by its embeddings."""

    inner: TensorRemoval
    found: Embedded
    width: int
    conditional: ClassVar[bool] = False

    def settings(self) -> dict[str, Any]:
        return self.inner.settings()

    def references(self, inputs: Inputs, players: Players, seed: int) -> Tensor:
        own = {name: tensor for name, tensor in inputs.tensors.items() if name != self.found.name}
        given = replace(players, labels=players.labels[:, :: self.width])
        tokens = self.inner.references(_same_rows(own, inputs), given, seed)
        return self.found.look_up(tokens).flatten(2)
