"""Looking inside: activations at places of a network, gradients with respect to them, and answers with them changed.

Everything is asked batch by batch and folded by the method as it comes: activations of all rows are kept only where
they are the answer. Rows, places, targets and questions are those of a session; see :mod:`pellucid.engine.session`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ..problem.model import Inspectable, Place
from ..records.errors import ModelError, NotApplicable, NotFiniteError, UnknownName, shorten
from .caller import Caller
from .slopemaking import Recipe, SlopeMaker

T = TypeVar("T")
Seen = Mapping[str, Tensor]
"""Activations, or gradients with respect to them, by place: ``Float64[b, *shape]``."""
Fold = Callable[[Seen, Seen], Tensor]
"""What a method makes of the activations and gradients of b rows: ``[b, …]``."""
Flow = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activations, gradients ``[b, *shape]``, questions ``Int[b]``) → how much of each unit goes on to the input."""
LISTED = 40
"""Names of places that a message lists."""


@dataclass(frozen=True)
class Look:
    """What a method wants to see at the rows themselves: places, and what it makes of what is there.

    Looks with equal folds are one: a fold that is a frozen dataclass is remembered, a function only as itself.
    """

    places: tuple[str, ...]
    fold: Fold


class Places:
    """The places inside a caller's model; found once per version of the model and shape of the rows."""

    def __init__(self, caller: Caller):
        self._caller = caller

    @property
    def all(self) -> tuple[Place, ...]:
        """Every place that a pass goes through, in the order in which it leaves them.

        Raises :class:`NotApplicable` for a model that cannot be looked into.
        """
        return self.once("places", self._found)

    def once(self, what: str, find: Callable[[], T]) -> T:
        """What ``find`` says, asked once and then remembered of this model and rows of this shape as ``what``."""
        known, name = self._caller.learned.inside, f"{what} of {self._caller.inputs.shapes}"
        if name not in known:
            known[name] = find()
        return known[name]

    def _found(self) -> tuple[Place, ...]:
        model, inputs, learned = self._caller.model, self._caller.inputs, self._caller.learned
        found: tuple[Place, ...] = ()
        if isinstance(model, Inspectable) and inputs.opaque is None:
            fixed = model.fixed_batch or learned.fixed
            counts = (fixed, fixed) if fixed else (learned.least, learned.least + 1)
            indices = [torch.zeros(count, dtype=torch.long) for count in counts]
            few, more = (inputs.fold(inputs.flat[index], index) for index in indices)
            with self._caller.in_sentences(more, counts[1]):
                found = model.places(few, more)
            self._caller.tally.rows += sum(counts)
        if not found:
            raise NotApplicable(
                f"there is nothing to look at inside {model.name}",
                why="places are the outputs of a network's inner modules, and this one calls none that can be watched",
                fix="give the torch module as it was written, before it was scripted, exported or put into a function",
            )
        return found

    def named(self, name: str) -> Place:
        """The place of this name. Raises :class:`UnknownName` with near misses and a list."""
        known = {place.name: place for place in self.all}
        found = known.get(name) or known.get(name.removesuffix("@1"))
        if found is None:
            close = get_close_matches(name, known, n=3, cutoff=0.5)
            near = f"did you mean {', '.join(map(repr, close))}? " if close else ""
            more = f", … ({len(known)} in all)" if len(known) > LISTED else ""
            raise UnknownName(
                f"there is no place named {shorten(name)!r} inside {self._caller.model.name}",
                fix=f"{near}The places are {', '.join(list(known)[:LISTED])}{more}",
            )
        return found

    @property
    def canvas(self) -> tuple[int, int, int]:
        """(channels, height, width) of a row seen as a picture."""
        return self._caller.inputs.canvas

    def tried(self, places: Sequence[Place]) -> Seen:
        """The gradients of the sum of all outputs with respect to the places, at the first row, ``[1, *shape]``."""
        rows, index = self._caller.inputs.flat[:1].clone(), torch.zeros(1, dtype=torch.long)
        return seen(self._caller, rows, index, places, lambda found: [found.sum()])[2][0]


def watched(
    caller: Caller, flat: Tensor, rows: Tensor, places: Sequence[Place], *, differentiate: bool
) -> tuple[Tensor, dict[str, list[Tensor]]]:
    """The outputs ``[b, K]`` of flat rows, and the tensors at the places as the model left them, pass by pass.

    With ``differentiate`` outputs can be differentiated with respect to those tensors; where nothing before a place
    carries gradients, they begin there. What the network does to a tensor in place later on does not reach them.
    """
    kept: dict[str, list[Tensor]] = {place.name: [] for place in places}
    model = caller.model
    assert isinstance(model, Inspectable)
    keep = _keep_for_gradient if differentiate else _keep

    def ask(tensors: Mapping[str, Tensor]) -> Tensor:
        with model.visited({name: partial(keep, into) for name, into in kept.items()}):
            return model.outputs(tensors)

    found = caller.outputs(flat, rows, ask)
    missed = next((name for name, parts in kept.items() if not parts), None)
    if missed is not None:
        raise ModelError(f"the model did not pass {missed!r} for these rows", fix="choose a place it always passes")
    return found, kept


def _keep(into: list[Tensor], tensor: Tensor) -> None:
    into.append(tensor.clone())


def _keep_for_gradient(into: list[Tensor], tensor: Tensor) -> Tensor:
    kept = tensor if tensor.requires_grad else tensor.detach().requires_grad_()
    into.append(kept)
    with torch.enable_grad():
        return kept.clone()


def seen(
    caller: Caller,
    flat: Tensor,
    rows: Tensor,
    places: Sequence[Place],
    totals: Callable[[Tensor], Sequence[Tensor]],
) -> tuple[Tensor, Seen, list[Seen]]:
    """Outputs ``[b, K]`` of flat rows, activations at places, and the gradients of each scalar that ``totals`` makes.

    Raises :class:`NotApplicable` where the outputs carry no gradient.
    """
    with torch.enable_grad():
        found, kept = watched(caller, flat, rows, places, differentiate=True)
        _refuse_unfelt(found, places)
        asked = totals(found)
    leaves = [part for place in places for part in kept[place.name]]
    count = len(flat)
    gradients: list[Seen] = []
    for each, total in enumerate(asked):
        left = iter(caller.differentiated(total, leaves, keep=each < len(asked) - 1))
        slopes = {place: [next(left) for _ in kept[place.name]] for place in places}
        gradients.append({place.name: _rows(place, parts, flat) for place, parts in slopes.items()})
    caller.tally.gradients += count * len(asked)
    activations = {place.name: _rows(place, kept[place.name], flat) for place in places}
    return found.detach(), activations, gradients


def _refuse_unfelt(found: Tensor, places: Sequence[Place]) -> None:
    if found.grad_fn is None:
        raise NotApplicable(
            f"the output has no gradient with respect to {', '.join(place.name for place in places)}",
            why="the model does not use what is returned there, or goes on without gradients",
            fix="choose another place, or a method that only asks for outputs, such as unit_ablation or occlusion",
        )


def _rows(place: Place, parts: Sequence[Tensor], flat: Tensor) -> Tensor:
    """What passes of flat rows ``[b, D]`` left at a place, ``Float64[b, *shape]``; what only filled a batch falls away.

    It lies where the rows do: the layers of one network may lie on several devices.
    """
    each = [place.by_row(part.detach()) for part in parts]
    return (each[0] if len(each) == 1 else torch.cat(each))[: len(flat)].to(flat.device, torch.float64)


class Inside(SlopeMaker):
    """The half of a session that looks into the network."""

    _seen: tuple[Look, Tensor] | None

    @property
    def places(self) -> Places:
        """Where one can look. Raises :class:`NotApplicable` for a model that cannot be looked into."""
        return Places(self._caller)

    def activations(self, names: Sequence[str], fold: Callable[[Seen, Tensor], Tensor]) -> np.ndarray:
        """What ``fold`` makes of the activations at some places, batch by batch, for each row: ``Float64[N, …]``.

        ``fold`` also gets the places ``Int[b]`` that the rows have in the session.
        """
        places = [self.places.named(name) for name in names]
        parts: dict[int, np.ndarray] = {}

        def work(part: slice) -> None:
            with torch.no_grad():
                index = torch.arange(part.start, part.stop)
                flat = self.x[part].clone()
                _, kept = watched(self._caller, flat, index, places, differentiate=False)
                held = {place.name: _rows(place, kept[place.name], flat) for place in places}
                parts[part.start] = self._finite(fold(held, index), index * self.targets)

        self.spent.add(1)
        self._each_block((len(self),), work)
        return np.concatenate([parts[start] for start in sorted(parts)])

    def looked(self, look: Look) -> np.ndarray:
        """What the look makes of activations and gradients of the target at the rows themselves, ``Float64[Q, …]``.

        A method whose :meth:`look` it is gets it from the very pass that bound the target.
        """
        self.spent.add(gradient_steps=1)
        if self._seen is None or self._seen[0] != look:
            places = [self.places.named(name) for name in look.places]
            parts: dict[int, Tensor] = {}

            def work(part: slice) -> None:
                items = torch.arange(part.start, part.stop)

                def totals(found: Tensor) -> list[Tensor]:
                    return list(self._select(found, items).sum(0))

                _, held, slopes = seen(self._caller, self.x[part].clone(), items, places, totals)
                parts[part.start] = torch.stack([look.fold(held, each) for each in slopes], dim=1)

            self._each_block((len(self),), work)
            self._seen = look, torch.cat([parts[start] for start in sorted(parts)]).flatten(0, 1)
        return self._finite(self._seen[1], torch.arange(self.questions))

    def inner_gradients(
        self, look: Look, points: Recipe, count: int, weights: np.ndarray, questions: np.ndarray | None = None
    ) -> np.ndarray:
        """Σ_j weights[j] · what the look makes of activations and gradients at point j, ``Float64[Q, …]``.

        Points and weights are those of :meth:`gradients`, and so is what is raised.
        """
        self._refuse_without_gradient()
        places = [self.places.named(name) for name in look.places]
        chosen = torch.arange(self.questions) if questions is None else torch.as_tensor(questions)
        factors = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.x.device)
        sums: list[Tensor] = []

        def work(g: slice, c: slice) -> None:
            asked = chosen[g].repeat_interleave(c.stop - c.start)
            steps = torch.arange(c.start, c.stop).repeat(g.stop - g.start)
            held, slopes = self._at(points(asked, steps), asked, places)
            made = look.fold(held, slopes).double()
            if not sums:
                sums.append(made.new_zeros((len(chosen), *made.shape[1:])))
            own = factors[g, c] if factors.ndim == 2 else factors[c].expand(g.stop - g.start, -1)
            sums[0][g] += torch.einsum("gc,gc...->g...", own, made.reshape(*own.shape, *made.shape[1:]))

        self.spent.add(gradient_steps=count * len(chosen) / self.questions)
        self._each_block((len(chosen), count), work)
        return self._finite(sums[0], chosen)

    def along(
        self,
        names: Sequence[str],
        fold: Callable[[Seen, Seen, slice], Tensor],
        points: Recipe,
        intervals: int,
        questions: np.ndarray | None = None,
    ) -> np.ndarray:
        """Summed over runs of neighbouring points: what ``fold`` makes of each, ``Float64[Q, …]``.

        The points 0 … ``intervals`` of a path are asked run by run, each run beginning where the one before ended.
        ``fold(activations, gradients, run)`` gets ``Float64[g, k + 1, *shape]`` for the k intervals ``run`` of g
        questions and makes ``[g, …]`` of them.
        """
        self._refuse_without_gradient()
        places = [self.places.named(name) for name in names]
        chosen = torch.arange(self.questions) if questions is None else torch.as_tensor(questions)
        sums: list[Tensor] = []

        def work(g: slice, c: slice) -> None:
            shape = (g.stop - g.start, c.stop - c.start + 1)
            asked = chosen[g].repeat_interleave(shape[1])
            steps = torch.arange(c.start, c.stop + 1).repeat(shape[0])
            held, slopes = self._at(points(asked, steps), asked, places)
            runs = [{name: each.reshape(*shape, *each.shape[1:]) for name, each in of.items()} for of in (held, slopes)]
            made = fold(runs[0], runs[1], c).double()
            if not sums:
                sums.append(made.new_zeros((len(chosen), *made.shape[1:])))
            sums[0][g] += made

        self.spent.add(gradient_steps=(intervals + 1) * len(chosen) / self.questions)
        self._each_block((len(chosen), intervals), work)
        return self._finite(sums[0], chosen)

    def through(self, name: str, flow: Flow, points: Recipe, count: int, weights: np.ndarray) -> np.ndarray:
        """Σ_j weights[j] · the gradient that flows through one place to the input at point j, ``Float64[Q, D]``.

        ``flow(activations, gradients, questions)`` says how much of each unit is to flow, ``[b, *shape]``: the
        gradients themselves for all that the target feels, those of one unit for that unit's share. Points and
        weights are those of :meth:`gradients`.
        """
        self._refuse_without_gradient()
        place = self.places.named(name)
        factors = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.x.device)
        out = torch.zeros((self.questions, self.x.shape[1]), dtype=torch.float64, device=self.x.device)

        def work(g: slice, c: slice) -> None:
            asked = torch.arange(g.start, g.stop).repeat_interleave(c.stop - c.start)
            steps = torch.arange(c.start, c.stop).repeat(g.stop - g.start)
            made = points(asked, steps)
            grads = self._flowing(made, asked, place, flow)
            self._refuse_nan_slope(grads, asked, made)
            stacked = grads.double().reshape(g.stop - g.start, -1, grads.shape[1])
            out[g] += (factors[c] @ stacked).reshape(len(stacked), -1)

        self.spent.add(gradient_steps=2 * count)
        self._each_block((self.questions, count), work)
        return out.cpu().numpy()

    def _flowing(self, points: Tensor, questions: Tensor, place: Place, flow: Flow) -> Tensor:
        leaf, items = points.detach().requires_grad_(), self.item(questions)
        with torch.enable_grad():
            found, kept = watched(self._caller, leaf.clone(), items, [place], differentiate=True)
            self._caller.refuse_without_gradient(found, leaf, items)
            parts = kept[place.name]
            slopes = self._caller.differentiated(self._total(questions, items)(found), parts, keep=True)
            rows = torch.cat([place.by_row(part) for part in parts])[: len(points)]
            held, slope = _rows(place, parts, points), _rows(place, slopes, points)
            total = (flow(held, slope, questions).to(rows) * rows).sum()
        self._caller.tally.gradients += 2 * len(points)
        return self._caller.differentiated(total, [leaf])[0]

    def _at(self, points: Tensor, questions: Tensor, places: Sequence[Place]) -> tuple[Seen, Seen]:
        """Activations and gradients of each question's own target at a batch of points."""
        parts = [self._at_batch(points[s], questions[s], places) for s in self._runs(len(points))]
        if len(parts) == 1:
            return parts[0]
        held, slopes = zip(*parts, strict=True)
        return tuple({name: torch.cat([part[name] for part in each]) for name in each[0]} for each in (held, slopes))  # pyright: ignore[reportReturnType]

    def _runs(self, count: int) -> list[slice]:
        """A batch with the last point of a run beside the others is one batch, but for a model asked row by row."""
        size = 1 if self._caller.batch == 1 else count
        return [slice(start, start + size) for start in range(0, count, size)]

    def _at_batch(self, points: Tensor, questions: Tensor, places: Sequence[Place]) -> tuple[Seen, Seen]:
        items = self.item(questions)
        total = self._total(questions, items)
        _, held, slopes = seen(self._caller, points.clone(), items, places, lambda found: [total(found)])
        return held, slopes[0]

    def _finite(self, made: Tensor, questions: Tensor) -> np.ndarray:
        """What was folded, as an array. Raises :class:`NotFiniteError` naming the first row where it is no number."""
        array = made.double().cpu().numpy()
        if not np.isfinite(array.sum()) and not np.isfinite(array).all():
            asked = questions[np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))[:1]]
            item = self.item(asked)
            layer = self._caller.arises(self.x[item], item, self._total(asked, item))
            raise NotFiniteError(
                "what is seen inside the network is NaN or infinite",
                where=self._row_name(int(item)),
                why=f"it becomes so in {layer}" if layer else "",
            )
        return array
