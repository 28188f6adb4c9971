"""Changing what is inside: the network's answers with the activation at a place replaced, in many ways for each row.

What lies before the place is the same for all ways. Where the network allows it, a row goes through it once and is
multiplied at the place; whether it does is tried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod

import numpy as np
import torch
from torch import Tensor

from ..problem.model import Inspectable, Place
from ..records.errors import PellucidError
from .inside import Inside

Change = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(activation ``[b, *shape]``, rows ``Int[b]``, variants ``Int[b]``) → what the network goes on with instead."""
WORTH = 8
"""Ways of changing a row, from which on it is worth to ask what lies before the place once for all of them."""
AT_ONCE = 2**22
"""Activations made at once where a row is multiplied at a place: a batch is measured by what lies before it."""
TRIED, TOLERANCE = 3, 1e-5
"""Ways on which it is tried, and the largest relative difference that is put down to rounding."""


class Changing(Inside):
    """The part of a session that changes what is inside the network."""

    def changed(self, name: str, change: Change, variants: int) -> np.ndarray:
        """The targets with the activation at a place changed in so many ways, ``Float64[Q, variants]``.

        ``change(activation, rows, which)`` gets ``[b, *shape]`` in the model's own type, and answers in it; it must
        leave what it was given as it is. Raises :class:`NotFiniteError` where an output is no number then.
        """
        place = self.places.named(name)
        once = variants >= WORTH and self._multiplies(place, change)
        out = np.zeros((len(self), variants, self.targets))

        def work(g: slice, c: slice) -> None:
            items = torch.arange(g.start, g.stop).repeat_interleave(c.stop - c.start)
            which = torch.arange(c.start, c.stop).repeat(g.stop - g.start)
            found = self._selected(place, change, items, which, once)
            self._refuse_nan(found, (items * self.targets).numpy(), None)
            out[g, c] = found.reshape(g.stop - g.start, -1, self.targets)

        self.spent.add(variants)
        if once:
            few = variants * prod(place.shape) <= AT_ONCE
            for item in range(len(self)):
                self._each_way(variants, few, lambda c, item=item: work(slice(item, item + 1), c))
        else:
            self._each_block((len(self), variants), work)
        return np.moveaxis(out, 1, 2).reshape(self.questions, variants)

    def _each_way(self, variants: int, few: bool, work: Callable[[slice], None]) -> None:
        """``work`` for all ways at once where these are ``few`` numbers, else batch by batch."""
        try:
            if few:
                return work(slice(0, variants))
        except torch.OutOfMemoryError:
            pass
        return self._each_block((variants,), work)

    def _selected(self, place: Place, change: Change, items: Tensor, which: Tensor, once: bool) -> np.ndarray:
        """All targets ``[b, T]`` of rows changed at a place; ``once``: of a single row, which goes there only once."""
        model, done = self._caller.model, [0]
        assert isinstance(model, Inspectable)

        def visit(tensor: Tensor) -> Tensor:
            rows = place.by_row(tensor)
            rows = rows.expand(len(items), *rows.shape[1:]) if once else rows
            mine = (torch.arange(len(rows)) + done[0]).clamp(max=len(items) - 1)  # a filled batch repeats the last
            done[0] += len(rows)
            return place.as_returned(change(rows, items[mine], which[mine]))

        def ask(tensors: Mapping[str, Tensor]) -> Tensor:
            with model.visited({place.name: visit}):
                return model.outputs({name: tensor[:1] for name, tensor in tensors.items()} if once else tensors)

        with torch.no_grad():
            flat = self.x[items[:1]].expand(len(items), -1) if once else self.x[items]
            found = self._caller.outputs(flat, items, ask)
            return self._select(found, items).double().cpu().numpy()

    def _multiplies(self, place: Place, change: Change) -> bool:
        """Whether a row that is multiplied at the place is answered as the same row asked so often."""
        learned, model = self._caller.learned, self._caller.model
        if model.fixed_batch or learned.fixed or learned.least > 1 or learned.coupled:
            return False

        def find() -> bool:
            items, which = torch.zeros(TRIED, dtype=torch.long), torch.arange(TRIED)
            plain = self._selected(place, change, items, which, once=False)
            try:
                found = self._selected(place, change, items, which, once=True)
            except PellucidError:  # something behind the place holds on to the number of rows
                return False
            scale = np.abs(plain).max(initial=1e-12)
            return found.shape == plain.shape and bool(np.abs(found - plain).max(initial=0) <= TOLERANCE * scale)

        return self.places.once(f"multiplies at {place.name}", find)
