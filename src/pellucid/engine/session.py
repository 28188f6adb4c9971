"""A session: rows with the same number of players, and the few questions a method may ask of the model.

Everything a method would otherwise have to do itself happens here: which rows to make, how many at
once, in which order, on which device, in which float type, counted and checked for NaN.

Shapes: N rows, T targets each, Q = N·T questions (question q is target q % T of row q // T), n players,
D elements, S reference rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from functools import cached_property
from hashlib import blake2b
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..problem.problem import Problem
from ..problem.removal import path_start
from ..problem.target import BoundTarget
from ..records.errors import BudgetError, NotApplicable
from .attending import Attending
from .budget import Budget, Spent
from .cache import shared_design
from .caller import Caller
from .changing import Changing
from .inside import Look
from .walking import Walk, Walked

T = TypeVar("T")
SWEEP = 2**21
"""Values held at once while a shared design is swept over all questions."""


class Session(Changing, Attending):
    """One problem's rows with equal n, ready to be asked.

    Attributes
    ----------
    n: the number of players of every row.
    questions: Q.
    names: the players' names of each row.
    types: the players' types where the rows share them (``"numeric"``, ``"categorical"``, …).
    kind: the modality.
    seed: the method's noise.
    removal_seed: the reference rows' noise, the call's own seed however the session is reseeded.
    """

    def __init__(
        self,
        problem: Problem,
        caller: Caller,
        target: BoundTarget,
        full: np.ndarray,
        rows: Sequence[int],
        *,
        key: str,
        seed: int,
        budget: Budget,
        nobody: Tensor | None = None,
        slopes: Tensor | None = None,
        seen: tuple[Look, Tensor] | None = None,
        walked: tuple[Walk, Walked] | None = None,
    ):
        self._problem, self._caller, self.budget = problem, caller, budget
        self.inputs, self.players = problem.inputs, problem.players
        self._target, self._full, self._nobody, self._slopes, self._seen = target, full, nobody, slopes, seen
        self._walked = walked
        self._rows = list(rows)
        self._key, self.seed, self.removal_seed = key, seed, seed
        self.n = self.players.most
        self.kind, self.types = problem.kind, self.players.types
        self._tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.spent = Spent(gradient_steps=float(walked is not None))
        if not self.opaque:
            self.x = self.inputs.flat
            self._labels = torch.from_numpy(self.players.labels.copy()).to(self.x.device)

    # What there is -------------------------------------------------------------------------

    @property
    def rows_at_once(self) -> int:
        """Rows the model is asked at once."""
        return self._caller.batch

    def names(self, question: int) -> tuple[str, ...]:
        return self.players.of(question // self._target.count)

    @cached_property
    def full(self) -> np.ndarray:
        """v(everyone), ``Float64[Q]``: known since the target was bound."""
        if self._full is None:
            self._full = self._every_output(self.x, torch.arange(len(self))).reshape(-1)
        return self._full

    @cached_property
    def empty(self) -> np.ndarray:
        """v(nobody), ``Float64[Q]``."""
        self.spent.add(1)
        nobody = np.zeros((1, self.n), dtype=bool)
        if not self.opaque and len(self.references) == 1 and self._all_owned and not self._carries:
            return self._empty_shared()
        return self._values(nobody, np.arange(self.questions))[:, 0]

    def _empty_shared(self) -> np.ndarray:
        """With nobody present all rows are the same reference rows: ask once, select per row."""
        with torch.no_grad():
            found = self._reference_outputs() if self._nobody is None else self._nobody
            items = torch.arange(len(self))
            total = self._sums(len(self), 1)[:, :, 0]
            for draw in found if len(found) <= len(self) else ():
                total += self._summed(draw.expand(len(self), -1), items).double()
            for item in items if len(found) > len(self) else ():
                total[item] = self._summed(found, item.expand(len(found))).double().sum(0)
            means = self._of_means((total.cpu() / len(found))[:, :, None], items).numpy().reshape(-1)
        self._refuse_nan(means, np.arange(self.questions), lambda _: np.ones(self.n, dtype=bool))
        return means

    def _reference_outputs(self) -> Tensor:
        """The outputs ``[S, K]`` of the shared reference rows; a single one was asked together with the rows."""
        draws = self.references[0]
        index = torch.zeros(len(draws), dtype=torch.long)
        answers: dict[int, Tensor] = {}

        def work(part: slice) -> None:
            answers[part.start] = self._caller.outputs(draws[part].clone(), index[part])

        self._each_block((len(draws),), work)
        return torch.cat([answers[start] for start in sorted(answers)])

    @cached_property
    def start(self) -> Tensor:
        """Where a path begins, ``[R, D]``: the background's mean, the mode for categories."""
        return path_start(self.background, self._labels[0], self.types)

    @cached_property
    def start_values(self) -> np.ndarray:
        """The target at :attr:`start`, ``Float64[Q]``: of a single reference row it is v(nobody)."""
        if self.background.shape[:2] == (1, 1) and self._all_owned and not self._carries:
            return self.empty
        return self.outputs_all(self.start.expand(len(self), -1), np.arange(len(self))).reshape(-1)

    # Randomness ----------------------------------------------------------------------------

    def noise(self, question: int, *purpose: int) -> np.random.Generator:
        """A generator that depends on the seed, the method and the row's id alone, not on its place."""
        return np.random.Generator(np.random.SFC64(self._stream(question, *purpose)))

    def _stream(self, question: int, *purpose: int) -> np.random.SeedSequence:
        identity = int(self.inputs.ids[self.item(question)][:16], 16)
        words = [self.seed, *map(ord, self._key), identity % 2**32, identity >> 32, *purpose]
        # The same bits either way; numpy takes three times as long to read a list.
        entropy = np.array(words, dtype=np.uint32) if max(words) < 2**32 else words
        return np.random.SeedSequence(entropy)

    def keys(self) -> np.ndarray:
        """64 bits ``Int64[N]`` of each row, for numbers that are made where they are used: they depend on what
        :meth:`noise` depends on."""
        streams = (self._stream(row * self.targets) for row in range(len(self)))
        return np.concatenate([stream.generate_state(1, np.uint64) for stream in streams]).view(np.int64)

    def design(self, build: Callable[..., T], *args: Any) -> T:
        """``build(rng, *args)`` for a design shared by all rows: made once per (seed, method, arguments)."""
        return shared_design(build, self.seed, self._key, args)

    def allowance(self, default: int, least: int = 1) -> int:
        """Evaluations per question that a method may plan: the budget's, or ``default`` where there is none.

        Both ends and the binding pass count as two of them. Raises :class:`BudgetError` below ``least``; a setting
        that demands a number is exact and asks for that number at least.
        """
        allowed = self.budget.allowance
        if allowed is None:
            return max(default, least)
        if allowed < least:
            raise BudgetError(
                f"{self._key} needs at least {least} evaluations here, the budget allows {allowed}",
                fix="raise the budget, or choose a method that needs less",
            )
        return allowed

    # Questions to the model ----------------------------------------------------------------

    def values(self, coalitions: np.ndarray, questions: Any = None) -> np.ndarray:
        """v(S), ``Float64[Q, b]``: the mean target with only the players of S present.

        ``coalitions`` is ``Bool[b, n]``, shared by all questions, or ``Bool[Q, b, n]``, each question's own.
        ``questions`` (``Int[Q']``) restricts the answer to some questions, in that order.
        """
        questions = np.arange(self.questions) if questions is None else np.asarray(questions)
        coalitions = np.asarray(coalitions, dtype=bool)
        self.spent.add(coalitions.shape[-2] * len(questions) / self.questions)
        return self._values(coalitions, questions)

    def _values(self, coalitions: np.ndarray, questions: np.ndarray) -> np.ndarray:
        if 0 in (coalitions.shape[-2], len(questions)):
            return np.zeros((len(questions), coalitions.shape[-2]))
        with torch.no_grad():
            if coalitions.ndim == 2 and not self.opaque:
                items = np.unique(self.item(questions))
                table = self._grid(torch.from_numpy(coalitions), torch.from_numpy(items))
                if len(questions) == self.questions and bool((np.diff(questions) == 1).all()):
                    return table.reshape(len(questions), -1).numpy()
                place = np.searchsorted(items, self.item(questions))
                return table[place, questions % self._target.count].numpy()
            if coalitions.ndim == 2:
                coalitions = np.broadcast_to(coalitions, (len(questions), *coalitions.shape))
            return self._gather(coalitions, questions)

    def table(self, build: Callable[..., np.ndarray], *args: Any) -> tuple[np.ndarray, np.ndarray]:
        """A shared design ``Bool[b, n]`` and the values ``Float64[Q, b]`` of its coalitions, asked once per session."""
        design = self.design(build, *args)
        if id(design) not in self._tables:
            self._tables[id(design)] = (design, self.values(design))
        return self._tables[id(design)]

    def sweep(self, coalitions: np.ndarray, multiple: int = 1) -> Iterator[tuple[slice, np.ndarray]]:
        """``values`` of a shared design part by part, so that a method can fold what it needs and keep nothing.

        Yields (slice of the coalitions, ``Float64[Q, ·]``); parts are multiples of ``multiple`` long.
        """
        size = max(SWEEP // max(self.questions, 1) // multiple, 1) * multiple
        for start in range(0, len(coalitions), size):
            part = slice(start, min(start + size, len(coalitions)))
            yield part, self.values(coalitions[part])

    def blends(self, shares: Tensor, *, elements: bool = False) -> np.ndarray:
        """``values`` where players are present to a share only, ``Float64[Q, b]``.

        ``shares`` are ``Float[b, n]``, 0 to 1, shared by all questions, or ``Float[b, D]`` with ``elements``, each
        element's own. An element is then share · its own + (1 − share) · what the model is given with nobody present;
        whole numbers are rounded. Shares of 0 and 1 are absent and present. Raises :class:`NotApplicable` for opaque
        rows, which cannot be mixed.
        """
        if self.opaque:
            raise NotApplicable(
                "rows that are not tensors cannot be mixed with what stands for the absent",
                fix="use a method that removes players whole",
            )
        if self._problem.blank:
            raise NotApplicable(
                "cells of these rows are missing, and cannot be there to a share",
                fix="use a method that removes players whole, such as shapley or occlusion",
            )
        self.spent.evaluations += len(shares)
        kind = self.x.dtype if self.x.is_floating_point() else torch.float32
        with torch.no_grad():
            found = self._grid(shares.to(kind), torch.arange(len(self)), elements)
        return found.reshape(self.questions, -1).numpy()

    def outputs(self, points: Tensor | np.ndarray | list[Any], questions: Any) -> np.ndarray:
        """The target at points of a method's own, ``Float64[b]``: ``points[i]`` is a row for ``questions[i]``.

        Points are ``[b, D]`` in model space (opaque rows for a black box that takes such).
        """
        questions = torch.as_tensor(np.asarray(questions), dtype=torch.long)
        self.spent.add(len(points) / self.questions)
        found = self._every_output(self._points(points), self.item(questions))
        return np.take_along_axis(found, (questions % self.targets).numpy()[:, None], axis=1)[:, 0]

    def outputs_all(self, points: Tensor | np.ndarray | list[Any], items: Any) -> np.ndarray:
        """All T targets at points of a method's own, ``Float64[b, T]``: ``points[i]`` is for row ``items[i]``.

        What :meth:`outputs` says of a question's points, for methods that ask the same points for all targets.
        """
        self.spent.add(len(points) / len(self))
        return self._every_output(self._points(points), torch.as_tensor(np.asarray(items), dtype=torch.long))

    def margins(self, sources: np.ndarray, questions: Any) -> np.ndarray:
        """How clearly the target is decided for rows put together player by player, ``Float64[b]``.

        Player i of row b is taken from reference row ``sources[b, i]`` (of the question's own, where rows have their
        own), from the explained row where that is −1; in opaque rows anything else means absent. A class leads the
        largest other output by so much; what is one number (see ``bound.of_classes``) is that number itself.
        """
        chosen = np.asarray(questions)
        index, out = torch.from_numpy(chosen).long(), np.zeros(len(sources))
        self.spent.add(len(sources) / self.questions)

        def work(part: slice) -> None:
            with torch.no_grad():
                found = self._margins(sources[part], index[part])
            self._refuse_nan(found[:, None], chosen[part], None)
            out[part] = found

        if len(sources):
            self._each_block((len(sources),), work)
        return out

    def _points(self, points: Tensor | np.ndarray | list[Any]) -> Any:
        return list(points) if self.opaque else torch.as_tensor(points).to(self.x)

    def pool(self, values: np.ndarray, pooling: str = "sum", questions: Any = None) -> np.ndarray:
        """Element values ``[Q, D]`` as player values ``[Q, n]``: their sum, or their Euclidean norm.

        With ``questions`` (``Int[b]``) the values ``[b, D]`` are those of some questions, in that order.
        """
        if self.players.every_element:
            return np.abs(values) if pooling == "norm" else values
        labels = self.players.labels
        if len(labels) > 1:
            labels = labels[self.item(np.arange(self.questions) if questions is None else np.asarray(questions))]
        cells = np.where(labels >= 0, labels, self.n) + (self.n + 1) * np.arange(len(values))[:, None]
        summed = np.square(values) if pooling == "norm" else values
        pooled = np.bincount(cells.ravel(), summed.ravel(), minlength=len(values) * (self.n + 1))
        pooled = pooled.reshape(len(values), self.n + 1)[:, : self.n]
        return np.sqrt(pooled) if pooling == "norm" else pooled

    def pool_there(self, values: Tensor, pooling: str = "sum", questions: Any = None) -> Tensor:
        """The same for values ``Float64[Q, D]`` that stay on the device they are on."""
        if self.players.every_element:
            return values.abs() if pooling == "norm" else values
        return torch.from_numpy(self.pool(values.cpu().numpy(), pooling, questions)).to(values.device)

    def at(self, flat: Tensor) -> Session:
        """The same questions (target, players, noise) about other rows ``[N, D]``."""
        other = copy(self)
        other.spent = copy(self.spent)
        other._forget()
        inputs = copy(self.inputs)
        folded = self.inputs.fold(flat.to(self.x), slice(None))
        object.__setattr__(inputs, "tensors", {**self.inputs.tensors, **folded})
        inputs.__dict__.pop("flat", None)
        inputs.__dict__["ids"] = self.inputs.ids
        other._tables = {}
        other.inputs, other.x, other._full = inputs, inputs.flat, None
        other._caller = copy(self._caller)
        other._caller.inputs = inputs
        return other

    def copies(self, points: Tensor, numbers: Sequence[int], evaluations: int | None = None) -> Session:
        """The same questions about c other rows for each, ``points`` ``[N, c, D]``; copies of a row stand together.

        ``numbers`` tell a row's copies apart: each has a noise of its own by its number. ``evaluations`` is
        the budget of each copy, and what is asked of them counts as asked of the whole.
        """
        other = self.take(np.repeat(np.arange(len(self)), len(numbers)).tolist()).at(points.flatten(0, 1))
        names = [f"{identity} {number}" for identity in self.inputs.ids for number in numbers]
        other.inputs.__dict__["ids"] = tuple(blake2b(name.encode(), digest_size=16).hexdigest() for name in names)
        other.budget = Budget(evaluations=evaluations)
        other.spent = Spent(within=self.spent, share=float(len(numbers)))
        return other

    def part(self, places: Sequence[int], evaluations: int) -> Session:
        """Some of the rows with a budget of their own for each, for a method that asks more of some than of others.

        What is asked of them counts as asked of the whole.
        """
        other = self.take(places)
        other.budget = Budget(evaluations=evaluations)
        other.spent = Spent(within=self.spent, share=len(other) / len(self))
        return other

    def take(self, places: Sequence[int]) -> Session:
        """The questions about some of the rows."""
        places = list(places)
        other = copy(self)
        other.spent = copy(self.spent)
        other._forget()
        other.inputs, other.players = self.inputs.take(places), self.players.take(places)
        other._target = self._target.take(places)
        other._full = self.full.reshape(len(self), -1)[places].reshape(-1)
        other._rows = [self._rows[place] for place in places]
        kept = self._tables.items()
        asked = [place * self._target.count + t for place in places for t in range(self._target.count)]
        other._tables = {key: (design, values[asked]) for key, (design, values) in kept}
        other._caller = copy(self._caller)
        other._caller.inputs = other.inputs
        if not self.opaque:
            other.x = other.inputs.flat
            other._labels = torch.from_numpy(other.players.labels.copy()).to(self.x.device)
        return other

    def of_means(self) -> Session:
        """The same questions with a loss, or a function, taken of the mean output over reference rows.

        v(S) is then the loss of the mean answer (what SAGE asks), not the mean of the losses. What is asked of it
        counts as asked of the whole.
        """
        other = copy(self)
        for name in ("empty", "start_values"):
            other.__dict__.pop(name, None)
        other._target, other._tables = self._target.of_means(), {}
        return other

    def decoded(self, points: Tensor) -> Any:
        """Points ``[b, D]`` as raw rows (a DataFrame), None where the model's encoding is not between these players."""
        encoding, players = self._problem.model.encoding, self.players
        if self.opaque or players.kind != "column" or not hasattr(encoding, "decode"):
            return None
        if not set(players.of(0)) <= set(getattr(encoding, "groups", ())):
            return None
        return encoding.decode(points.double().cpu().numpy())

    def reseeded(self, seed: int, key: str | None = None) -> Session:
        """The same questions, the method's noise drawn anew; what stands for the absent is the problem's and stays."""
        other = copy(self)
        other.spent = copy(self.spent)
        other.seed, other._key = seed, key or self._key
        return other

    def _forget(self) -> None:
        """Drop what was worked out for other rows."""
        for name in ("full", "empty", "references", "background", "_stacked", "start", "start_values", "slopes"):
            self.__dict__.pop(name, None)
        self._nobody = self._slopes = self._seen = self._walked = None
