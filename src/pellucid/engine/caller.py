"""The caller: the one place where a model is called, batch by batch, counted and guarded."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..problem.differing import difference
from ..problem.inputs import Inputs
from ..problem.model import Beginning, Countable, Differentiable, Model, Traceable
from ..records.errors import Cancelled, EncodingError, ModelError, NotApplicable, PellucidError, shorten
from .listener import Listener
from .memory import OPAQUE_BATCH, count_row, processor, uncounted

MOST_LEARNED = 16
"""Versions and row shapes remembered per model."""
SIZES = (1, 2, 3, 7, 32)
"""Numbers of rows tried on a model that does not take a single one."""


@dataclass
class Learned:
    """What was found out about a model by asking it twice; kept weakly under the user's own object.

    ``least`` is the fewest rows it takes at once, ``fixed`` the only number where it takes no other; ``flops`` of
    one row, and the ``bytes`` that its widest operation takes and gives, are NaN where they could not be counted;
    ``inside`` holds what was found when one looked into it.
    """

    batch: int
    coupled: float = 0.0
    unstable: float = 0.0
    least: int = 1
    fixed: int | None = None
    flops: float = float("nan")
    bytes: float = float("nan")
    inside: dict[str, Any] = field(default_factory=dict)


class _OtherCount(ModelError):
    """As many rows of outputs as nobody asked for."""

    returned: int = 0


@dataclass
class Tally:
    """What was asked of the model so far, by all callers of one run: rows, gradients, seconds inside it."""

    rows: int = 0
    gradients: int = 0
    seconds: float = 0.0


_KEPT: WeakKeyDictionary[object, dict[Any, Learned]] = WeakKeyDictionary()
_LOCKS: WeakKeyDictionary[object, threading.RLock] = WeakKeyDictionary()
_GATE = threading.Lock()


def _lock_of(identity: object) -> threading.RLock:
    with _GATE:
        return _LOCKS.setdefault(identity, threading.RLock())


@dataclass
class Caller:
    """Calls one model with rows derived from one batch of inputs.

    ``batch`` is the number of rows at once: found by rule, halved for good when memory runs out. ``columns`` are those
    of a table, by which its rows are spoken of.
    """

    model: Model
    inputs: Inputs
    listener: Listener
    batch: int = 0
    tally: Tally = field(default_factory=Tally)
    learned: Learned = field(default_factory=lambda: Learned(OPAQUE_BATCH))
    columns: tuple[str, ...] = ()

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Alone with the model, which is as it was when this is left."""
        with _lock_of(self.model.identity), self.model.untouched():
            yield

    def outputs(self, flat: Tensor, rows: Tensor, ask: Callable[[Any], Tensor] | None = None) -> Tensor:
        """The outputs ``[b, K]`` of flat rows that derive from the inputs' ``rows`` (``Int[b]``).

        ``ask`` makes the single call, where more is to happen in it than that the model answers.
        """
        return self._called(len(flat), self.inputs.fold(flat, rows), ask)

    def outputs_behind(self, beginning: Beginning, hidden: Tensor) -> Tensor:
        """The outputs ``[b, K]`` of rows whose first layer's values ``Float[b, H]`` are known."""
        return self._called(len(hidden), hidden, beginning.rest)

    def slopes(
        self, flat: Tensor, rows: Tensor, totals: Callable[[Tensor], Sequence[Tensor]]
    ) -> tuple[Tensor, list[Tensor]]:
        """The outputs of flat rows, and the gradients ``[b, D]`` of scalars of them with respect to the rows.

        ``totals`` makes the scalars from the outputs; sums over rows, since no row's output depends on another row.
        Raises :class:`NotApplicable` where the outputs carry no gradient.
        """
        leaf, found = self._followed(flat, rows)
        with torch.enable_grad():
            asked = totals(found)
        last = len(asked) - 1
        grads = [
            self.differentiated(total, [leaf], keep=place < last, reached=True)[0] for place, total in enumerate(asked)
        ]
        self.tally.gradients += len(flat) * len(asked)
        return found.detach(), grads

    def curvatures(
        self, flat: Tensor, rows: Tensor, total: Callable[[Tensor], Tensor], along: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        """The gradients ``[b, D]`` of a sum over rows; then the Hessian times each direction ``[b, D]`` of ``along``.

        Raises what :meth:`slopes` raises.
        """
        with sdpa_kernel(SDPBackend.MATH):  # fused attention can be differentiated once only
            leaf, found = self._followed(flat, rows)
        with torch.enable_grad():
            slopes = self.differentiated(total(found), [leaf], again=True, reached=True)[0]
        self.tally.gradients += len(flat)
        yield slopes.detach()
        for direction in along:
            self.tally.gradients += len(flat)
            if not slopes.requires_grad:  # the gradient depends on nothing: the model is linear
                yield torch.zeros_like(leaf)
                continue
            with torch.enable_grad():
                moved = (slopes * direction).sum()
            yield self.differentiated(moved, [leaf], keep=True)[0]

    def _followed(self, flat: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Flat rows as a leaf of autograd's graph, and their outputs in it."""
        leaf = flat.detach().requires_grad_()
        with torch.enable_grad():
            found = self.outputs(leaf.clone(), rows)
        self.refuse_without_gradient(found, leaf, rows)
        return leaf, found

    def refuse_without_gradient(self, found: Tensor, flat: Tensor, rows: Tensor) -> None:
        """Raise :class:`NotApplicable` naming the layer where the gradient of outputs ``found`` is lost."""
        if found.grad_fn is None:
            assert isinstance(self.model, Differentiable)
            raise NotApplicable(
                "the model's output has no gradient",
                where=self.model.gradient_ends(self.inputs.fold(flat[:1].detach().requires_grad_(), rows[:1])),
                why="it was computed under torch.no_grad, detached, or rounded",
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            )

    def differentiated(
        self,
        total: Tensor,
        leaves: Sequence[Tensor],
        keep: bool = False,
        again: bool = False,
        reached: bool = False,
    ) -> list[Tensor]:
        """∂total/∂leaf of each leaf, zeros where it does not depend on one (refused with ``reached``).

        ``keep`` what is needed for another total, ``again`` where it is to be differentiated itself.
        """
        try:
            grads = torch.autograd.grad(
                total, leaves, allow_unused=True, retain_graph=keep or again, create_graph=again
            )
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # an operation without a derivative, or a value overwritten in place
            raise NotApplicable(
                "the model's output cannot be differentiated",
                where=self.model.name,
                why=shorten(str(error).split("\n")[0], 300),
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            ) from error
        if reached and any(grad is None for grad in grads):
            raise NotApplicable(
                "the gradient of the model's output does not reach its rows",
                where=self.model.name,
                why="an operation between them has none, such as a quantised layer",
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            )
        return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)]

    def arises(
        self, flat: Tensor, rows: Tensor, total: Callable[[Tensor], Tensor] | None = None, vanishes: bool = False
    ) -> str:
        """The layer where NaN or infinity arises for flat rows, "" where none is known; of ``total`` and its gradient.

        With ``vanishes`` the layer where that gradient becomes zero.
        """
        if not isinstance(self.model, Differentiable):
            return ""
        follow = total is not None and flat.is_floating_point()
        leaf = flat.detach().clone().requires_grad_(follow)

        def ask() -> Tensor:
            found = self.outputs(leaf.clone(), rows)
            return found if total is None else total(found)

        try:
            return self.model.arises(ask, leaf if follow else None, vanishes)
        except (PellucidError, RuntimeError):  # what it is looked for on the way to telling must be told all the same
            return ""

    def arises_at(self, row: int, total: Callable[[Tensor], Tensor] | None = None, vanishes: bool = False) -> str:
        """The same for one of the inputs' rows as it is."""
        index = torch.tensor([row])
        return "" if self.inputs.opaque is not None else self.arises(self.inputs.flat[index], index, total, vanishes)

    def counted(self, rows: int) -> None:
        """Rows were run through the model's graph rather than the model. Raises :class:`Cancelled` on request."""
        if self.listener.cancelled():
            raise Cancelled("stopped on request")
        self.tally.rows += rows
        self.listener.advanced(rows)

    def opaque(self, rows: list[Any]) -> Tensor:
        """The outputs of the opaque rows of a black box."""
        return self._called(len(rows), rows)

    def _called(self, count: int, rows: Any, ask: Callable[[Any], Tensor] | None = None) -> Tensor:
        if self.listener.cancelled():
            raise Cancelled("stopped on request")
        began = time.perf_counter()
        size = self.model.fixed_batch or self.learned.fixed or max(count, self.learned.least)
        plain = size == count or isinstance(rows, Tensor)  # what a first layer left is never padded
        found = self._answer(rows, count, ask) if plain else self._padded(rows, count, size, ask)
        self._refuse_other_count(found, count)
        self.tally.rows += count
        self.tally.seconds += time.perf_counter() - began
        self.listener.advanced(count)
        return found

    @staticmethod
    def _refuse_other_count(found: Tensor, count: int) -> None:
        if len(found) != count:
            error = _OtherCount(
                f"the model returned {len(found)} rows for {count}",
                fix="it is given several rows at once, and must return one row of outputs for each",
            )
            error.returned = len(found)
            raise error

    def _answer(self, rows: Any, count: int, ask: Callable[[Any], Tensor] | None = None) -> Tensor:
        with self.in_sentences(rows, count):
            found = (ask or self.model.outputs)(rows)
        given = next(iter(rows.values())) if isinstance(rows, Mapping) else rows
        return found.to(given.device) if isinstance(given, Tensor) else found  # layers may lie on several devices

    @contextmanager
    def in_sentences(self, rows: Any, count: int) -> Generator[None]:
        """What the model raises when it is asked about ``count`` rows is raised as a :class:`ModelError`."""
        try:
            yield
        except (PellucidError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # a stranger's code may raise anything; Ctrl-C is no Exception
            named = rows if isinstance(rows, Mapping) else {}
            shapes = [f"{name} {tuple(part.shape)}" for name, part in named.items()]
            failed = f"the model failed on a batch of {count} rows{f' ({chr(44).join(shapes)})' if shapes else ''}"
            other = self._other_width(named, error)
            told = str(error).strip().split("\n")[0]
            fix = "are these rows what it takes? A single row needs a leading dimension: row[None]"
            if other:
                fix = "give the columns that it was trained on, in their order; raw columns need encoding="
            elif isinstance(rows, list):
                fix = "it is given a list of rows, and must return a row of numbers for each"
            raise ModelError(
                other or failed,
                where=self.model.name,
                why="" if other else f"{_raised_in(self.model, error)}{type(error).__name__}: {shorten(told, 300)}",
                fix=fix,
            ) from error

    def _other_width(self, rows: Mapping[str, Tensor], error: Exception) -> str:
        """What to say where the layer that failed was given the rows themselves and takes another number of columns."""
        layer, given = _running(self.model, error)
        takes, flat = getattr(layer, "in_features", None), next(iter(rows.values()), None)
        if not isinstance(takes, int) or not isinstance(given, Tensor) or flat is None or flat.ndim != 2:
            return ""
        width = flat.shape[1]
        if len(rows) != 1 or takes == width or given.shape != flat.shape:
            return ""
        told = ", ".join(repr(shorten(name, 30)) for name in self.columns[:20])
        told += ", …" if len(self.columns) > 20 else ""
        return f"the network takes {takes:,} numbers a row, and these rows have {width:,}{told and ': ' + told}"

    def _padded(self, rows: Any, count: int, fixed: int, ask: Callable[[Any], Tensor] | None = None) -> Tensor:
        """Serve a model that takes ``fixed`` rows by repeating the last one."""
        parts = []
        for start in range(0, count, fixed):
            taken = min(fixed, count - start)
            if isinstance(rows, list):
                part: Any = rows[start : start + taken] + [rows[-1]] * (fixed - taken)
            else:
                index = torch.arange(start, start + fixed).clamp(max=count - 1)
                part = {name: tensor[index] for name, tensor in rows.items()}
            found = self._answer(part, fixed, ask)
            self._refuse_other_count(found, fixed)
            parts.append(found[:taken])
        return torch.cat(parts)

    def halve(self, error: Exception) -> None:
        """Memory ran out: go on with half the rows at once. Raises where a single row is too much."""
        if self.batch <= 1:
            raise ModelError("memory ran out with a single row at once", why=str(error).split("\n")[0]) from error
        self.batch = self.learned.batch = self.batch // 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def learn(self) -> None:
        """Find the batch size, and whether an answer depends on its neighbours or on chance."""
        if self.model.best_batch:
            self.learned = self._told(self.model.best_batch)
            self.batch = self.learned.batch
            return
        known, key = _KEPT.setdefault(self.model.identity, {}), self._key
        if key not in known:
            self.remember(self._probed(), key)  # which a call may change: a module can count its calls
        self.learned = known[key]
        self.batch = 1 if self.learned.coupled else self.learned.batch

    def _told(self, batch: int) -> Learned:
        """What a model that knows its manners says of them, once it was asked."""
        with torch.no_grad():
            self.answers([0, 1] if len(self.inputs) > 1 else [0])
        unstable, coupled = self.model.manners
        return Learned(batch, coupled, unstable)

    def remember(self, learned: Learned, key: Any = None) -> None:
        """Take ``learned`` for true of this model and rows of this shape from now on."""
        known = _KEPT.setdefault(self.model.identity, {})
        if len(known) >= MOST_LEARNED:
            known.clear()
        known[self._key if key is None else key] = learned

    @property
    def _key(self) -> Any:
        shape = tuple(self.inputs.shapes.items()) if self.inputs.opaque is None else ()
        return self.model.version, shape, len(self.inputs) > 1

    def answers(self, rows: list[int]) -> Tensor:
        """The outputs ``[b, K]`` of some of the inputs' rows as they are."""
        if self.inputs.opaque is not None:
            return self.opaque([self.inputs.opaque[row] for row in rows])
        index = torch.tensor(rows)
        return self.outputs(self.inputs.flat[index], index)

    def _probed(self) -> Learned:
        with torch.no_grad(), _full_products():
            self.learned = learned = Learned(1)
            first = self._first_answer()
            learned.unstable = difference(first, self.answers([0]))
            beside = self._beside_another()
            if beside is not None and not learned.unstable:
                learned.coupled = difference(first, beside)
            learned.batch = self._counted()
        return learned

    def _first_answer(self) -> Tensor:
        """The first row's answer; on the way it is found how many rows the model takes at once."""
        if self.model.fixed_batch:
            return self.answers([0])
        learned, failure = self.learned, None
        for size in SIZES:
            learned.least = size
            try:
                found = self.answers([0])
            except ModelError as error:
                failure = failure or error
                continue
            if size > 1 and self._takes(size + 1):
                learned.least = 1 if self._takes(1) else size
            elif isinstance(failure, _OtherCount) and failure.returned == size:
                raise failure  # it returns so many whatever it is given: that it now fits is chance
            elif size > 1:
                learned.fixed = size
            return found
        assert failure is not None
        raise failure

    def _takes(self, size: int) -> bool:
        least, self.learned.least = self.learned.least, size
        try:
            self.answers([0] * size)
        except ModelError:
            return False
        finally:
            self.learned.least = least
        return True

    def _beside_another(self) -> Tensor | None:
        """The first row's answer with another row beside it (one of zeros where there is no other); None: no telling.

        A model that fails on two rows and not on one is asked row by row from then on.
        """
        fixed = self.model.fixed_batch or self.learned.fixed
        try:
            if fixed == 1:
                return None
            if len(self.inputs) > 1:
                return self.answers([0, 1])[:1]
            if self.inputs.opaque is not None or not bool(self.inputs.flat.any()):
                return None
            pair = torch.cat([self.inputs.flat[:1], torch.zeros_like(self.inputs.flat[:1])])
            return self.outputs(pair, torch.zeros(2, dtype=torch.long))[:1]
        except (ModelError, EncodingError):  # where an encoding makes tables of them, zeros may be no row
            if not fixed and not self._takes(2):
                self.learned.fixed = 1
            return None
        except torch.OutOfMemoryError:
            return None  # the batch is halved when the work itself runs out

    def _counted(self) -> int:
        fixed = self.model.fixed_batch or self.learned.fixed
        if fixed or self.inputs.opaque is not None:
            return fixed or OPAQUE_BATCH
        if not isinstance(self.model, Countable):
            return uncounted(self.inputs.width)
        row, index = self.inputs.flat[:1].clone(), torch.zeros(1, dtype=torch.long)
        try:
            counted = count_row(lambda: self.outputs(row, index))  # the model alone: taking the row is no work of its
            self.learned.flops, self.learned.bytes = counted.flops, counted.widest
            return counted.batch(processor(row.device))
        except ModelError:  # it just answered this row, so it is the counting that it does not bear
            return uncounted(self.inputs.width)


@contextmanager
def _full_products() -> Generator[None]:
    """Without the shortened products of accelerators, whose rounding depends on the batch: at 1e-3 it would be taken
    for a row's dependence on its neighbours."""
    cudnn = torch.backends.cudnn
    if not torch.cuda.is_available():
        yield
        return
    with cudnn.flags(
        enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=False
    ):
        yield


def _raised_in(model: Model, error: Exception) -> str:
    """The innermost layer that was running when an error was raised, by its path; "" where it is none or unknown."""
    layer, _ = _running(model, error)
    path = (
        next((path for path, one in model.layers.items() if one is layer), "") if isinstance(model, Traceable) else ""
    )
    return f"in layer {shorten(path)} ({type(layer).__name__}), " if path else ""


def _running(model: Model, error: Exception) -> tuple[Any, Any]:
    """The innermost layer that was running when an error was raised, and its input; None where they are unknown."""
    known = {id(layer) for layer in model.layers.values()} if isinstance(model, Traceable) else set()
    found, step = (None, None), error.__traceback__
    while step is not None:
        here = step.tb_frame.f_locals
        if id(here.get("self")) in known:
            found = here.get("self"), here.get("input")
        step = step.tb_next
    return found
