"""Making rows: how items, coalitions and reference rows become batches for the caller, and batches become numbers.

The half of a session that no method sees. Two ways of making rows suffice: the *grid* (a design shared by all
questions, blocks made by broadcasting, nothing gathered) and the *gather* (coalitions of each question's own, and
the opaque rows of a black box).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from math import isfinite, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.inputs import Inputs
from ..problem.problem import Problem
from ..problem.removal import OpaqueRemoval, TensorRemoval
from ..problem.target import BoundTarget
from ..records.errors import NotApplicable, NotFiniteError, shorten
from ..records.players import Players
from .caller import Caller
from .folding import Fold, fold_of
from .memory import cut


class RowMaker:
    """Rows with equal n, their target and their caller; :class:`Session` asks it on behalf of a method."""

    inputs: Inputs
    players: Players
    x: Tensor
    n: int
    removal_seed: int
    _problem: Problem
    _caller: Caller
    _target: BoundTarget
    _labels: Tensor
    _rows: list[int]

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def bound(self) -> BoundTarget:
        """What is asked of these rows, bound once and for all."""
        return self._target

    @property
    def questions(self) -> int:
        return len(self.inputs) * self._target.count

    @property
    def targets(self) -> int:
        """T, how many numbers of each row are explained."""
        return self._target.count

    @property
    def opaque(self) -> bool:
        """True for the rows of a black box that are not tensors."""
        return self.inputs.opaque is not None

    def item(self, questions: Any) -> Any:
        """The row of each question."""
        return questions // self._target.count

    @property
    def _removal(self) -> TensorRemoval:
        removal = self._problem.removal
        if not isinstance(removal, TensorRemoval):
            raise NotApplicable("rows that are not tensors have no reference rows")
        return removal

    @cached_property
    def references(self) -> Tensor:
        """The rows that stand in for what is absent, ``[R, S, D]``, R = 1 or N (with nobody present, all of them)."""
        return self._removal.references(self.inputs, self.players, self.removal_seed)

    @cached_property
    def background(self) -> Tensor:
        """The rows ``[R, S, D]`` that tell of the data: the references, or where conditional ones come from."""
        return self._removal.background(self.inputs, self.references)

    @property
    def draws(self) -> int:
        """S, model rows per evaluation."""
        return 1 if self.opaque else self.references.shape[1]

    @property
    def flops(self) -> float:
        """Floating-point operations of one evaluation, over all its model rows; NaN for a model that hides them."""
        return self._caller.learned.flops * self.draws

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
        if target.rule is not None or target.against is not None or target.count > 1:
            return None
        return int(target.columns[0, 0]) if bool((target.columns == target.columns[0, 0]).all()) else None

    def _select(self, found: Tensor, items: Tensor) -> Tensor:
        """The asked numbers ``[b, T]`` among the outputs of rows about ``items``."""
        if self._column is None:
            return self._target.select(found, items)
        return found[:, self._column : self._column + 1]

    @property
    def _width(self) -> int:
        """How many numbers of one model row are summed over reference rows."""
        return self._target.averaged or self._target.count

    def _summed(self, found: Tensor, items: Tensor) -> Tensor:
        """What of the outputs is summed over reference rows ``[b, W]``: the asked numbers, or all K outputs."""
        return found if self._target.averaged else self._select(found, items)

    def _of_means(self, means: Tensor, items: Tensor) -> Tensor:
        """The asked numbers ``[I, T, b]`` of what was averaged ``[I, W, b]``."""
        if not self._target.averaged:
            return means
        count = means.shape[2]
        outputs = means.transpose(1, 2).reshape(-1, means.shape[1])
        return self._target.select(outputs, items.repeat_interleave(count)).reshape(len(items), count, -1).mT

    def _items_of(self, items: Tensor, times: int) -> Tensor:
        """Each item so many times over; where nothing asks whose a row is, no index is made."""
        if self._column is not None and not self._carries:
            return items
        return items.repeat_interleave(times)

    def _each_block(self, sizes: tuple[int, ...], work: Callable[..., None], most: int | None = None) -> None:
        """``work(slice, …)`` for near-equal blocks of at most one batch; smaller ones once memory has run out.

        ``most`` is the number of cells in a block where it is not the batch; it shrinks with the batch.

        ``work`` writes its result last, so a block that ran out of memory has written nothing.
        """
        stack, per_row = [tuple((0, size) for size in sizes)], (most or self._caller.batch) / self._caller.batch
        while stack:
            block = stack.pop()
            size = max(1, int(self._caller.batch * per_row))
            if prod(stop - start for start, stop in block) > size:
                parts = cut(block, size)
                if len(parts) > 1:
                    stack.extend(reversed(parts))
                    continue
            try:
                work(*(slice(*edge) for edge in block))
            except torch.OutOfMemoryError as error:
                self._caller.halve(error)
                stack.append(block)

    def _present(self, coalitions: Tensor, items: Tensor, elements: bool = False) -> Tensor:
        """Players present ``Bool[…, b, n]`` as elements present ``Bool[…, b, D]``; nobody's are always there.

        Shares ``Float[…]`` likewise. With ``elements`` those of the elements are given, ``[b, D]``.
        """
        coalitions = coalitions.to(self.x.device)
        if elements:
            return coalitions if self._all_owned else torch.where(self._labels_of(items) < 0, 1.0, coalitions)
        if self.players.every_element:
            return coalitions
        padded = torch.nn.functional.pad(coalitions, (0, 1), value=True)
        if len(self._labels) == 1:
            return padded[..., self._labels[0]]
        labels = self._labels[items]
        if coalitions.ndim == 2:
            return padded[:, labels].movedim(1, 0)
        return padded.gather(-1, _index(labels, self.n)[:, None].expand(*padded.shape[:-1], -1))

    def _players_of(self, items: Tensor) -> Players:
        """The players of these items, for a removal that looks at them; any where it does not."""
        return self.players.take(items.tolist()) if self._removal.conditional else self.players

    def _labels_of(self, items: Tensor) -> Tensor:
        """The labels ``Int[D]`` that rows share, or those of each, ``Int[b, 1, D]``."""
        return self._labels[0] if len(self._labels) == 1 else self._labels[items][:, None]

    def _grid(self, coalitions: Tensor, items: Tensor, elements: bool = False) -> Tensor:
        """v of every item at every shared coalition, ``Float64[I, T, b]``.

        Coalitions ``Float[b, n]`` (``[b, D]`` with ``elements``) hold players to a share: they are mixed in.
        """
        if self._fold is not None and not elements:
            return self._folded_grid(self._fold, coalitions, items)
        references, shared_map = self.references, len(self._labels) == 1
        mix = _chosen if self._problem.kind == "text" else _mixed
        fill = self._removal.fill if coalitions.dtype == torch.bool else mix
        out = self._sums(len(items), len(coalitions))
        few = shared_map and len(coalitions) * self.x.shape[1] < 2**26
        every = self._present(coalitions, items, elements) if few else None
        there = items.to(self.x.device)  # an index that had to be carried there would be waited for, block by block

        def work(g: slice, c: slice, s: slice) -> None:
            present = every[c][None] if every is not None else self._present(coalitions[c], items[g], elements)
            if present.ndim == 2:
                present = present[None]
            drawn = references[:, s] if len(references) == 1 else references[there[g]][:, s]
            rows = fill(self.x[there[g]], present, drawn, s, self._players_of(items[g]))
            shape = rows.shape[:3]
            index = self._items_of(items[g], shape[1] * shape[2])
            picked = self._summed(self._caller.outputs(rows.reshape(-1, rows.shape[-1]), index), index)
            out[g, :, c] += picked.double().reshape(*shape, -1).sum(2).mT

        self._each_block((len(items), len(coalitions), self.draws), work)
        return self._means(out, items, None if elements else coalitions)

    def _sums(self, items: int, coalitions: int) -> Tensor:
        """Where the numbers of blocks are summed up ``Float64[I, W, b]``: beside the rows, so that an accelerator need
        not wait for what is done with them."""
        return torch.zeros((items, self._width, coalitions), dtype=torch.float64, device=self.x.device)

    def _means(self, sums: Tensor, items: Tensor, coalitions: Tensor | None) -> Tensor:
        """The asked numbers ``[I, T, b]`` on the processor, of sums over reference rows."""
        sums = sums.cpu()
        self._refuse_nan_sums(sums, items, coalitions)
        return self._of_means(sums.div_(self.draws), items)

    @cached_property
    def _fold(self) -> Fold | None:
        """The first layer summed up by players, where that saves most of the work."""
        shared = not self.opaque and len(self._labels) == 1 and len(self.inputs.tensors) == 1
        shared = shared and not self._problem.blank  # what is missing times 0 is missing
        if not shared or self._removal.conditional or self._caller.learned.fixed or self._problem.model.fixed_batch:
            return None
        return fold_of(self._problem.model, self.inputs, self._labels[0], self.n, self._caller.learned.flops)

    def _folded_grid(self, fold: Fold, coalitions: Tensor, items: Tensor) -> Tensor:
        """The same where the network begins with a linear layer: rows with something absent are not made."""
        references = self.references
        out = self._sums(len(items), len(coalitions))
        present = coalitions.to(self.x)

        def work(g: slice, c: slice, s: slice) -> None:
            drawn = references[:, s] if len(references) == 1 else references[items[g]][:, s]
            hidden = fold.hidden(self.x[items[g]], drawn, present[c])
            index = self._items_of(items[g], hidden.shape[1] * hidden.shape[2])
            found = self._caller.outputs_behind(fold.beginning, hidden.reshape(-1, hidden.shape[-1]))
            out[g, :, c] += self._summed(found, index).double().reshape(*hidden.shape[:3], -1).sum(1).mT

        self._each_block((len(items), len(coalitions), self.draws), work)
        return self._means(out, items, coalitions)

    def _gather(self, coalitions: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """v of every question at coalitions of its own, ``Float64[Q', b]``."""
        out = torch.zeros((len(questions), self._target.averaged or 1, coalitions.shape[1]), dtype=torch.float64)
        index = torch.from_numpy(questions)

        def work(q: slice, c: slice, s: slice) -> None:
            chosen = index[q].repeat_interleave(c.stop - c.start)
            rows = self._filled(coalitions[q, c], chosen, s)
            asked = chosen.repeat_interleave(s.stop - s.start)
            found = self._asked(rows, asked).reshape(q.stop - q.start, c.stop - c.start, s.stop - s.start, -1)
            total = found.sum(2)
            self._refuse_nan(total.sum(-1).numpy(), questions[q], lambda at: ~coalitions[q, c][at])
            out[q, :, c] += total.mT

        self._each_block((*coalitions.shape[:2], self.draws), work)
        return self._of_means(out.div_(self.draws), self.item(index))[:, 0].numpy()

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
        rows = self._removal.fill(self.x[items], present, drawn, s, self._players_of(items))
        return rows.reshape(-1, rows.shape[-1])

    @cached_property
    def _stacked(self) -> Tensor:
        """All reference rows, then the rows themselves: ``[R·S + N, D]``."""
        return torch.cat([self.references.flatten(0, 1), self.x])

    def _mixed(self, sources: np.ndarray, items: Tensor) -> Any:
        """Rows whose player i is taken from reference row ``sources[b, i]``, from the row itself where that is −1."""
        if self.opaque:
            removal = self._problem.removal
            assert isinstance(removal, OpaqueRemoval)
            return [self._without(removal, int(item), gone) for item, gone in zip(items, sources >= 0, strict=True)]
        if self._removal.conditional:
            raise NotApplicable(
                "players cannot be drawn one by one where what is absent depends on what is present",
                fix="give background=rows, or removal=Marginal(rows)",
            )
        small = self._stacked.numel() <= np.iinfo(np.int32).max  # half of what is moved below are these numbers
        number = np.dtype(np.int32 if small else np.int64)
        item, labels, width = items.numpy().astype(number)[:, None], self.players.labels, self._stacked.shape[1]
        shift = self.draws * item if len(self.references) > 1 else 0
        own = len(self._stacked) - len(self) + item
        places = np.where(sources < 0, own, sources.astype(number, copy=False) + shift) * number.type(width)
        if not self.players.every_element:
            if (labels < 0).any():  # nobody's elements are the row's own
                places = np.concatenate([places, own * number.type(width)], axis=1)
            shared = self.players.is_shared
            places = np.take(places, labels[0], axis=1) if shared else np.take_along_axis(places, labels[item[:, 0]], 1)
        places += np.arange(width, dtype=number)
        flat = torch.from_numpy(places.reshape(-1)).to(self.x.device)
        return self._stacked.reshape(-1).index_select(0, flat).reshape(len(sources), width)

    def _margins(self, sources: np.ndarray, questions: Tensor) -> np.ndarray:
        """The margins of one batch of mixed rows, each about its own question, ``Float64[b]``."""
        items = self.item(questions)
        rows = self._mixed(sources, items)
        found = self._caller.opaque(rows) if self.opaque else self._caller.outputs(rows, items)
        return self._target.margins(found, items, questions % self._target.count).double().cpu().numpy()

    def _without(self, removal: OpaqueRemoval, item: int, gone: np.ndarray) -> Any:
        row = self.inputs.opaque[item]  # pyright: ignore[reportOptionalSubscript]
        if not gone.any():
            return row
        labels = self.players.labels[0 if self.players.is_shared else item][: len(row)]
        return removal.fill(row, np.append(np.where(gone, np.arange(self.n), -1), -1)[labels])

    def _asked(self, rows: Any, questions: Tensor) -> Tensor:
        """What is summed of one batch of rows, each about its own question, ``Float64[b, ·]``."""
        items = self.item(questions)
        found = self._caller.opaque(rows) if self.opaque else self._caller.outputs(rows, items)
        if not self._target.averaged:
            found = self._of_questions(self._select(found, items), questions)[:, None]
        return found.double().cpu()

    def _of_questions(self, picked: Tensor, questions: Tensor) -> Tensor:
        """Each question's own of the T targets of its row: ``[b, T] → [b]``."""
        if self._target.count == 1:
            return picked[:, 0]
        return picked.gather(1, (questions % self._target.count)[:, None].to(picked.device))[:, 0]

    def _every_output(self, points: Any, items: Tensor) -> np.ndarray:
        """All targets at points ``[b, D]`` (or a list of opaque rows) about ``items``, ``Float64[b, T]``."""
        out = np.zeros((len(points), self.targets))

        def work(part: slice) -> None:
            own = items[part]
            with torch.no_grad():
                if self.opaque:
                    found = self._caller.opaque(points[part])
                else:
                    found = self._caller.outputs(points[part].clone(), own)
                picked = self._select(found, own).double().cpu().numpy()
            if not np.isfinite(picked.sum()):
                self._refuse_nan(picked, (own * self.targets).numpy(), None)
            out[part] = picked

        if len(points):
            self._each_block((len(points),), work)
        return out

    # What is not a number ------------------------------------------------------------------

    def _row_name(self, item: int) -> str:
        return f"row {self._rows[item]}"

    def _refuse_nan_sums(self, sums: Tensor, items: Tensor, coalitions: Tensor | None) -> None:
        if isfinite(sums.sum().item()):  # of a single number Python asks in a tenth of the time that torch takes
            return
        bad = ~torch.isfinite(sums).all(1)
        if not bool(bad.any()):
            return
        if coalitions is None:
            self._raise_nan(int(items[int(bad.any(1).int().argmax())]), None)
        else:
            coalitions = coalitions > 0  # a share is as good as there
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
        layer = self._breaks_at(item, absent)
        told = [f"with {', '.join(names)}{more} absent" if names else "", f"it becomes so in {layer}" if layer else ""]
        raise NotFiniteError(
            "the model's output is NaN or infinite",
            where=self._row_name(item),
            why=", ".join(filter(None, told)),
            fix="check the row and the values that stand for what is absent",
        )

    def _breaks_at(self, item: int, absent: np.ndarray | None) -> str:
        """The layer where the answer to a row stops being finite, with players ``absent``; "" where none is known."""
        if self.opaque:
            return ""
        own = torch.tensor([item])
        rows = self.x[own]
        if absent is not None:
            rows = self._filled(~absent[None, None], own * self._target.count, slice(0, self.draws))
        return self._caller.arises(rows, own.expand(len(rows)))


def _mixed(rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
    """Rows ``[g, c, s, D]`` of which each element is its own to the share in ``present``; whole numbers are rounded."""
    share = present[:, :, None]
    mixed = rows[:, None, None] * share + references[:, None] * (1 - share)
    return mixed if rows.is_floating_point() else mixed.round().to(rows.dtype)


def _chosen(rows: Tensor, present: Tensor, references: Tensor, draws: slice, players: Players) -> Tensor:
    """The same of tokens, of which no two can be mixed: each is the row's own from a share of one half on."""
    return torch.where(present[:, :, None] >= 0.5, rows[:, None, None], references[:, None])


def _index(labels: Tensor, nobody: int) -> Tensor:
    return torch.where(labels >= 0, labels, nobody)
