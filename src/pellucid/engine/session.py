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
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from ..problem.model import Differentiable
from ..problem.problem import Problem
from ..problem.removal import OpaqueRemoval, TensorRemoval, path_start
from ..problem.target import BoundTarget
from ..records.errors import BudgetError, NotApplicable, NotFiniteError, shorten
from .budget import Budget
from .cache import shared_design
from .caller import Caller
from .memory import edges

T = TypeVar("T")
Recipe = Callable[[Tensor, Tensor], Tensor]
SWEEP = 2**21
"""Values held at once while a shared design is swept over all questions."""


class Session:
    """One problem's rows with equal n, ready to be asked.

    Attributes
    ----------
    n: the number of players of every row.
    questions: Q.
    names: the players' names of each row.
    types: the players' types where the rows share them (``"numeric"``, ``"categorical"``, …).
    kind: the modality.
    seed: the call's seed.
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
    ):
        self._problem, self._caller, self._budget = problem, caller, budget
        self.inputs, self.players = problem.inputs, problem.players
        self._target, self._full, self._nobody, self._slopes = target, full, nobody, slopes
        self._rows = list(rows)
        self._key, self.seed = key, seed
        self.n = self.players.most
        self.kind, self.types = problem.kind, self.players.types
        self._tables: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self.evaluations = 0.0
        self.gradient_steps = 0.0
        if not self.opaque:
            self.x = self.inputs.flat
            self._labels = torch.from_numpy(self.players.labels.copy()).to(self.x.device)

    # What there is -------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def questions(self) -> int:
        return len(self.inputs) * self._target.count

    @property
    def opaque(self) -> bool:
        """True for the rows of a black box that are not tensors."""
        return self.inputs.opaque is not None

    @property
    def differentiable(self) -> bool:
        return isinstance(self._problem.model, Differentiable) and not self.opaque and self.x.is_floating_point()

    def names(self, question: int) -> tuple[str, ...]:
        return self.players.of(question // self._target.count)

    def item(self, questions: Any) -> Any:
        """The row of each question."""
        return questions // self._target.count

    @cached_property
    def full(self) -> np.ndarray:
        """v(everyone), ``Float64[Q]``: known since the target was bound."""
        if self._full is None:
            self._full = self._outputs_of(self.x, torch.arange(self.questions))
        return self._full

    @cached_property
    def empty(self) -> np.ndarray:
        """v(nobody), ``Float64[Q]``."""
        self.evaluations += 1
        nobody = np.zeros((1, self.n), dtype=bool)
        if not self.opaque and len(self.references) == 1 and self._all_owned and not self._carries:
            return self._empty_shared()
        return self._values(nobody, np.arange(self.questions))[:, 0]

    def _empty_shared(self) -> np.ndarray:
        """With nobody present all rows are the same reference rows: ask once, select per row."""
        with torch.no_grad():
            found = self._reference_outputs() if self._nobody is None else self._nobody
            total = torch.zeros((len(self), self._target.count), dtype=torch.float64)
            for draw in found:
                total += self._select(draw.expand(len(self), -1), torch.arange(len(self))).double().cpu()
        means = (total / len(found)).numpy().reshape(-1)
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
    def references(self) -> Tensor:
        """The rows that stand in for what is absent, ``[R, S, D]``, R = 1 or N."""
        removal = self._problem.removal
        if not isinstance(removal, TensorRemoval):
            raise NotApplicable("rows that are not tensors have no reference rows")
        return removal.references(self.inputs, self.players, self.seed)

    @cached_property
    def start(self) -> Tensor:
        """Where a path begins, ``[R, D]``: the references' mean, the mode for categories."""
        return path_start(self.references, self._labels[0], self.types)

    @cached_property
    def start_values(self) -> np.ndarray:
        """The target at :attr:`start`, ``Float64[Q]``: of a single reference row it is v(nobody)."""
        if self.references.shape[:2] == (1, 1) and self._all_owned and not self._carries:
            return self.empty
        everyone = np.arange(self.questions)
        return self.outputs(self.start.expand(len(self), -1)[self.item(everyone)], everyone)

    @cached_property
    def slopes(self) -> np.ndarray:
        """∂target/∂x at the rows themselves, ``Float64[Q, D]``.

        A method that says ``at_rows = True`` gets them from the very pass that bound the target.
        Raises what :meth:`gradients` raises.
        """
        if self._slopes is None:
            return self.gradients(lambda questions, _: self.x[self.item(questions)], 1, np.ones(1))
        self.gradient_steps += 1
        self._refuse_nan_slope(self._slopes, torch.arange(self.questions))
        return self._slopes.double().cpu().numpy()

    @property
    def draws(self) -> int:
        """S, model rows per evaluation."""
        return 1 if self.opaque else self.references.shape[1]

    # Randomness ----------------------------------------------------------------------------

    def noise(self, question: int, *purpose: int) -> np.random.Generator:
        """A generator that depends on the seed, the method and the row's id alone, not on its place."""
        identity = int(self.inputs.ids[self.item(question)][:16], 16)
        words = [self.seed, *map(ord, self._key), identity % 2**32, identity >> 32, *purpose]
        return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))

    def design(self, build: Callable[..., T], *args: Any) -> T:
        """``build(rng, *args)`` for a design shared by all rows: made once per (seed, method, arguments)."""
        return shared_design(build, self.seed, self._key, args)

    def allowance(self, default: int, least: int = 1) -> int:
        """Evaluations per question that a method may plan: the budget's, or ``default`` where there is none.

        Both ends and the binding pass count as two of them. Raises :class:`BudgetError` below ``least``.
        """
        per_row = self._caller.tally.seconds / max(self._caller.tally.rows, 1)
        allowed = self._budget.allowance(self.questions, self.draws, per_row)
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
        self.evaluations += coalitions.shape[-2] * len(questions) / self.questions
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

    def outputs(self, points: Tensor | np.ndarray | list[Any], questions: Any) -> np.ndarray:
        """The target at points of a method's own, ``Float64[b]``: ``points[i]`` is a row for ``questions[i]``.

        Points are ``[b, D]`` in model space (opaque rows for a black box that takes such).
        """
        questions = torch.as_tensor(np.asarray(questions), dtype=torch.long)
        self.evaluations += len(points) / self.questions
        if not len(points):
            return np.zeros(0)
        if self.opaque:
            return self._outputs_opaque(list(points), questions)
        return self._outputs_of(torch.as_tensor(points).to(self.x), questions)

    def gradients(self, points: Recipe, count: int, weights: np.ndarray, questions: Any = None) -> np.ndarray:
        """Σ_j weights[j] · ∂target/∂x at point j, ``Float64[Q, D]``, summed as it goes.

        ``weights`` are ``Float[count]`` for all questions or ``Float[Q, count]``, each question's own.
        ``points(questions, indices)`` makes the points ``[b, D]`` for ``Int[b]`` questions and indices
        0 … count − 1. Raises :class:`NotApplicable` where the model gives no gradient.
        """
        if not self.differentiable:
            raise NotApplicable(
                "this model gives no gradients for these rows",
                why="its inputs are not floating-point numbers" if not self.opaque else "it is a black box",
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            )
        chosen = torch.arange(self.questions) if questions is None else torch.as_tensor(np.asarray(questions))
        self.gradient_steps += count * len(chosen) / self.questions
        factors = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.x.device)
        out = torch.zeros((len(chosen), self.x.shape[1]), dtype=torch.float64, device=self.x.device)

        def work(g: slice, c: slice) -> None:
            asked = chosen[g].repeat_interleave(c.stop - c.start)
            steps = torch.arange(c.start, c.stop).repeat(g.stop - g.start)
            grads = self._gradient(points(asked, steps), asked).double()
            stacked = grads.reshape(g.stop - g.start, -1, grads.shape[1])
            own = factors[g, None, c] if factors.ndim == 2 else factors[c]
            out[g] += (own @ stacked).reshape(len(stacked), -1)

        self._each_block((len(chosen), count), work)
        return out.cpu().numpy()

    def pool(self, values: np.ndarray, pooling: str = "sum") -> np.ndarray:
        """Element values ``[Q, D]`` as player values ``[Q, n]``: their sum, or their Euclidean norm."""
        if self.players.every_element:
            return np.abs(values) if pooling == "norm" else values
        labels = np.repeat(np.broadcast_to(self.players.labels, (len(self), values.shape[1])), self._target.count, 0)
        cells = np.where(labels >= 0, labels, self.n) + (self.n + 1) * np.arange(len(values))[:, None]
        summed = np.square(values) if pooling == "norm" else values
        pooled = np.bincount(cells.ravel(), summed.ravel(), minlength=len(values) * (self.n + 1))
        pooled = pooled.reshape(len(values), self.n + 1)[:, : self.n]
        return np.sqrt(pooled) if pooling == "norm" else pooled

    def at(self, flat: Tensor) -> Session:
        """The same questions (target, players, noise) about other rows ``[N, D]``."""
        other = copy(self)
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

    def take(self, places: Sequence[int]) -> Session:
        """The questions about some of the rows."""
        places = list(places)
        other = copy(self)
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

    def reseeded(self, seed: int, key: str | None = None) -> Session:
        """The same questions with other randomness."""
        other = copy(self)
        other.__dict__.pop("references", None)
        other.seed, other._key = seed, key or self._key
        return other

    def _forget(self) -> None:
        """Drop what was worked out for other rows."""
        for name in ("full", "empty", "references", "start", "start_values", "slopes"):
            self.__dict__.pop(name, None)
        self._nobody = self._slopes = None

    # How rows are made ---------------------------------------------------------------------

    @property
    def _carries(self) -> bool:
        return len(self.inputs.elements) < len(self.inputs.tensors)

    @cached_property
    def _all_owned(self) -> bool:
        """Whether every element belongs to some player."""
        return bool((self._labels >= 0).all())

    @cached_property
    def _column(self) -> int | None:
        """The output that all questions are about, where it is one; it is then a slice, nothing is gathered."""
        target = self._target
        if target.function is not None or target.against is not None or target.count > 1:
            return None
        return int(target.columns[0, 0]) if bool((target.columns == target.columns[0, 0]).all()) else None

    def _select(self, found: Tensor, items: Tensor) -> Tensor:
        """The asked numbers ``[b, T]`` among the outputs of rows about ``items``."""
        if self._column is None:
            return self._target.select(found, items)
        return found[:, self._column : self._column + 1]

    def _items_of(self, items: Tensor, times: int) -> Tensor:
        """Each item so many times over; where nothing asks whose a row is, no index is made."""
        if self._column is not None and not self._carries:
            return items
        return items.repeat_interleave(times)

    def _each_block(self, sizes: tuple[int, ...], work: Callable[..., None]) -> None:
        """``work(slice, …)`` for near-equal blocks of at most one batch; smaller ones once memory has run out.

        ``work`` writes its result last, so a block that ran out of memory has written nothing.
        """
        stack = [tuple((0, size) for size in sizes)]
        while stack:
            block = stack.pop()
            parts = cut(block, self._caller.batch)
            if len(parts) > 1:
                stack.extend(reversed(parts))
                continue
            try:
                work(*(slice(*edge) for edge in block))
            except torch.OutOfMemoryError as error:
                self._caller.halve(error)
                stack.append(block)

    def _present(self, coalitions: Tensor, items: Tensor) -> Tensor:
        """Players present ``Bool[…, b, n]`` as elements present ``Bool[…, b, D]``; nobody's are always there."""
        coalitions = coalitions.to(self.x.device)
        if self.players.every_element:
            return coalitions
        padded = torch.nn.functional.pad(coalitions, (0, 1), value=True)
        if len(self._labels) == 1:
            return padded[..., self._labels[0]]
        labels = self._labels[items]
        if coalitions.ndim == 2:
            return padded[:, labels].movedim(1, 0)
        return padded.gather(-1, _index(labels, self.n)[:, None].expand(*padded.shape[:-1], -1))

    def _grid(self, coalitions: Tensor, items: Tensor) -> Tensor:
        """v of every item at every shared coalition, ``Float64[I, T, b]``."""
        references, shared_map = self.references, len(self._labels) == 1
        out = torch.zeros((len(items), self._target.count, len(coalitions)), dtype=torch.float64)
        every = self._present(coalitions, items) if shared_map and len(coalitions) * self.x.shape[1] < 2**26 else None

        def work(g: slice, c: slice, s: slice) -> None:
            present = every[c][None] if every is not None else self._present(coalitions[c], items[g])
            if present.ndim == 2:
                present = present[None]
            drawn = references[:, s] if len(references) == 1 else references[items[g]][:, s]
            rows = torch.where(present[:, :, None], self.x[items[g]][:, None, None], drawn[:, None])
            shape = rows.shape[:3]
            index = self._items_of(items[g], shape[1] * shape[2])
            picked = self._select(self._caller.outputs(rows.reshape(-1, rows.shape[-1]), index), index)
            picked = picked.double().cpu().reshape(*shape, -1)
            self._refuse_nan_block(picked, items[g], coalitions[c])
            out[g, :, c] += picked.sum(2).transpose(1, 2)

        self._each_block((len(items), len(coalitions), self.draws), work)
        return out.div_(self.draws)

    def _gather(self, coalitions: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """v of every question at coalitions of its own, ``Float64[Q', b]``."""
        out = np.zeros(coalitions.shape[:2])
        index = torch.from_numpy(questions)

        def work(q: slice, c: slice, s: slice) -> None:
            chosen = index[q].repeat_interleave(c.stop - c.start)
            rows = self._filled(coalitions[q, c], chosen, s)
            asked = chosen.repeat_interleave(s.stop - s.start)
            found = self._asked(rows, asked).reshape(out[q, c].shape[0], c.stop - c.start, -1)
            self._refuse_nan(found.sum(-1), questions[q], lambda at: ~coalitions[q, c][at])
            out[q, c] += found.sum(-1)

        self._each_block((*coalitions.shape[:2], self.draws), work)
        return out / self.draws

    def _filled(self, coalitions: np.ndarray, questions: Tensor, s: slice) -> Any:
        """The rows of (question, coalition) pairs with the absent filled in, for some reference rows."""
        items = self.item(questions)
        if self.opaque:
            removal = self._problem.removal
            assert isinstance(removal, OpaqueRemoval) and self.inputs.opaque is not None
            absent = ~coalitions.reshape(len(items), self.n)
            return [self._without(removal, int(item), gone) for item, gone in zip(items, absent, strict=True)]
        flat = torch.from_numpy(np.ascontiguousarray(coalitions)).reshape(len(items), 1, self.n)
        present = self._present(flat, items)
        drawn = self.references[:, s] if len(self.references) == 1 else self.references[items][:, s]
        rows = torch.where(present, self.x[items][:, None], drawn)
        return rows.reshape(-1, rows.shape[-1])

    def _without(self, removal: OpaqueRemoval, item: int, gone: np.ndarray) -> Any:
        row = self.inputs.opaque[item]  # pyright: ignore[reportOptionalSubscript]
        labels = self.players.labels[0 if self.players.is_shared else item][: len(row)]
        return removal.fill(row, np.append(gone, False)[labels])

    def _asked(self, rows: Any, questions: Tensor) -> np.ndarray:
        """The target of one batch of rows, each about its own question, ``Float64[b]``."""
        items = self.item(questions)
        found = self._caller.opaque(rows) if self.opaque else self._caller.outputs(rows, items)
        return self._of_questions(self._select(found, items), questions).double().cpu().numpy()

    def _of_questions(self, picked: Tensor, questions: Tensor) -> Tensor:
        """Each question's own of the T targets of its row: ``[b, T] → [b]``."""
        if self._target.count == 1:
            return picked[:, 0]
        return picked.gather(1, (questions % self._target.count)[:, None].to(picked.device))[:, 0]

    def _outputs_of(self, points: Tensor, questions: Tensor) -> np.ndarray:
        out = np.zeros(len(points))

        def work(part: slice) -> None:
            with torch.no_grad():
                found = self._asked(points[part].clone(), questions[part])
            self._refuse_nan(found, questions[part].numpy(), None)
            out[part] = found

        self._each_block((len(points),), work)
        return out

    def _outputs_opaque(self, rows: list[Any], questions: Tensor) -> np.ndarray:
        out = np.zeros(len(rows))

        def work(part: slice) -> None:
            out[part] = self._asked(rows[part], questions[part])

        self._each_block((len(rows),), work)
        self._refuse_nan(out, questions.numpy(), None)
        return out

    def _gradient(self, points: Tensor, questions: Tensor) -> Tensor:
        """∂target/∂x at each of a batch of points, ``[b, D]``."""
        items = self.item(questions)

        def total(found: Tensor) -> list[Tensor]:
            return [self._of_questions(self._select(found, items), questions).sum()]

        grad = self._caller.slopes(points, items, total)[1][0]
        self._refuse_nan_slope(grad, questions)
        return grad

    # What is not a number ------------------------------------------------------------------

    def _row_name(self, item: int) -> str:
        return f"row {self._rows[item]}"

    def _refuse_nan_slope(self, grads: Tensor, questions: Tensor) -> None:
        if bool(torch.isfinite(grads.sum())):
            return
        bad = torch.nonzero(~torch.isfinite(grads).all(1)).flatten()
        if len(bad):
            where = self._row_name(int(self.item(questions[bad[0]])))
            raise NotFiniteError("the gradient is NaN or infinite", where=where)

    def _refuse_nan_block(self, picked: Tensor, items: Tensor, coalitions: Tensor) -> None:
        if bool(torch.isfinite(picked.sum())):
            return
        bad = ~torch.isfinite(picked).all(-1).all(-1)
        if bool(bad.any()):
            sizes = (~coalitions).sum(-1).expand(bad.shape).masked_fill(~bad, self.n + 1)
            place = int(sizes.argmin())
            item, at = place // bad.shape[1], place % bad.shape[1]
            self._raise_nan(int(items[item]), (~coalitions[at]).numpy())

    def _refuse_nan(self, found: np.ndarray, questions: np.ndarray, absent: Callable[[Any], np.ndarray] | None) -> None:
        if np.isfinite(found.sum()):
            return
        bad = np.argwhere(~np.isfinite(found))
        if len(bad) and absent is None:
            self._raise_nan(int(self.item(questions[bad[0][0]])), None)
        elif len(bad):
            sets = [absent(tuple(at)) for at in bad]  # pyright: ignore[reportOptionalCall]
            least = min(range(len(bad)), key=lambda i: int(np.sum(sets[i])))
            self._raise_nan(int(self.item(questions[bad[least][0]])), sets[least])

    def _raise_nan(self, item: int, absent: np.ndarray | None) -> None:
        names = [] if absent is None else [shorten(self.players.of(item)[i], 30) for i in np.flatnonzero(absent)[:5]]
        more = "" if absent is None or absent.sum() <= 5 else f" and {int(absent.sum()) - 5} more"
        raise NotFiniteError(
            "the model's output is NaN or infinite",
            where=self._row_name(item),
            why=f"with {', '.join(names)}{more} absent" if names else "",
            fix="check the row and the values that stand for what is absent",
        )


def _index(labels: Tensor, nobody: int) -> Tensor:
    return torch.where(labels >= 0, labels, nobody)


def cut(block: tuple[tuple[int, int], ...], batch: int) -> list[tuple[tuple[int, int], ...]]:
    """Cut a block (one edge per axis) into near-equal parts of at most ``batch`` cells, the last axis whole first."""
    takes, room = [], batch
    for start, stop in reversed(block):
        take = max(1, min(stop - start, room))
        takes.append(take)
        room = room // take if take == stop - start else 0
    axes = []
    for (start, stop), take in zip(block, reversed(takes), strict=True):
        axes.append([(start + a, start + b) for a, b in edges(stop - start, take)])
    parts: list[tuple[tuple[int, int], ...]] = [()]
    for axis in axes:
        parts = [(*part, edge) for part in parts for edge in axis]
    return parts
