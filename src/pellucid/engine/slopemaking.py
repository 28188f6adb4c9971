"""Asking for gradients: at the rows, at points of a method's own, and how fast they change themselves.

The half of a session that needs a model which can be differentiated. Gradients are handed on batch by batch; none is
kept longer than its batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..problem.model import Differentiable
from ..records.errors import NotApplicable, NotFiniteError
from .budget import Spent
from .rowmaking import RowMaker

Recipe = Callable[[Tensor, Tensor], Tensor]
"""(questions ``Int[b]``, indices ``Int[b]``) → points ``[b, D]``."""
Folded = Callable[[slice, slice, Tensor, Tensor], None]
"""What is done with a batch of gradients: (which of the asked questions, which indices, points, gradients
``[g, c, D]``)."""
Curved = Callable[[slice, slice, Tensor, Iterator[Tensor]], None]
"""Likewise: (which of the asked questions, which indices, gradients ``[g, c, D]``, their changes ``[g, c, D]`` along
one direction after another)."""


class SlopeMaker(RowMaker):
    """Gradients of the questions that a session asks."""

    spent: Spent
    _slopes: Tensor | None

    @property
    def differentiable(self) -> bool:
        floats = not self.opaque and self.x.is_floating_point()
        return isinstance(self._problem.model, Differentiable) and floats and not self._problem.blank

    @cached_property
    def slopes(self) -> np.ndarray:
        """∂target/∂x at the rows themselves, ``Float64[Q, D]``.

        A method that says ``at_rows = True`` gets them from the very pass that bound the target.
        Raises what :meth:`gradients` raises.
        """
        if self._slopes is None:
            return self.gradients(lambda questions, _: self.x[self.item(questions)], 1, np.ones(1))
        self.spent.add(gradient_steps=1)
        every = torch.arange(self.questions)
        self._refuse_nan_slope(self._slopes, every, self.x[self.item(every)])
        return self._slopes.double().cpu().numpy()

    def gradients(
        self, points: Recipe, count: int, weights: np.ndarray, questions: Any = None, times: Tensor | None = None
    ) -> np.ndarray:
        """Σ_j weights[j] · ∂target/∂x at point j, ``Float64[Q, D]``, summed as it goes.

        ``weights`` are ``Float[count]`` for all questions or ``Float[Q, count]``, each question's own; ``times``
        ``[N, D]`` is what a question's sum is multiplied by, its row's.
        ``points(questions, indices)`` makes the points ``[b, D]`` for ``Int[b]`` questions and indices
        0 … count − 1. Raises :class:`NotApplicable` where the model gives no gradient.
        """
        self._refuse_without_gradient()
        factors = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.x.device)
        size = self.questions if questions is None else len(questions)
        out = torch.zeros((size, self.x.shape[1]), dtype=torch.float64, device=self.x.device)

        def fold(g: slice, c: slice, _: Tensor, slopes: Tensor) -> None:
            own = factors[g, None, c] if factors.ndim == 2 else factors[c]
            out[g] += (own @ slopes.double()).reshape(len(slopes), -1)

        self.each_gradient(points, count, fold, questions)
        if times is not None:
            asked = torch.arange(self.questions) if questions is None else torch.as_tensor(np.asarray(questions))
            out *= times if size == len(times) == self.questions else times[self.item(asked)]
        return out.cpu().numpy()

    def each_gradient(self, points: Recipe, count: int, fold: Folded, questions: Any = None) -> None:
        """Hand the gradient at every point to ``fold``, a batch at a time; for what :meth:`gradients` cannot sum.

        The points of a question come in the order of their indices. Raises what :meth:`gradients` raises.
        """
        self._refuse_without_gradient()
        chosen = torch.arange(self.questions) if questions is None else torch.as_tensor(np.asarray(questions))
        self.spent.add(gradient_steps=count * len(chosen) / self.questions)

        def work(g: slice, c: slice) -> None:
            made, asked = _points(points, chosen, g, c)
            slopes = self._gradient(made, asked)
            shape = (g.stop - g.start, c.stop - c.start, made.shape[1])
            fold(g, c, made.reshape(shape), slopes.reshape(shape))

        self._each_block((len(chosen), count), work)

    def each_curvature(
        self,
        points: Recipe,
        count: int,
        directions: Callable[[Tensor], Iterator[Tensor]],
        fold: Curved,
        questions: Any = None,
    ) -> None:
        """Hand the gradient at every point, and how it changes along some directions, to ``fold``, a batch at a time.

        ``directions`` makes them one after another, ``[b, D]`` for ``Int[b]`` questions; a change is the Hessian times
        a direction, and is counted as another gradient. Raises what :meth:`gradients` raises.
        """
        self._refuse_without_gradient()
        chosen = torch.arange(self.questions) if questions is None else torch.as_tensor(np.asarray(questions))

        def work(g: slice, c: slice) -> None:
            made, asked = _points(points, chosen, g, c)
            shape, before = (g.stop - g.start, c.stop - c.start, made.shape[1]), self._caller.tally.gradients
            along = (one.repeat_interleave(shape[1], dim=0) for one in directions(chosen[g]))
            items = self.item(asked)
            given = self._caller.curvatures(made, items, self._total(asked, items), along)
            found = (self._finite_slopes(one, asked, made).reshape(shape) for one in given)
            fold(g, c, next(found), found)
            self.spent.add(gradient_steps=(self._caller.tally.gradients - before) / self.questions)

        self._each_block((len(chosen), count), work)

    @property
    def shares(self) -> bool:
        """Whether a player can be present to a share, and :meth:`share_slopes` be asked.

        The model has gradients, and what stands for the absent does not depend on who is present.
        """
        return self.differentiable and not self._target.averaged and not self._removal.conditional

    def share_slopes(self, coalitions: np.ndarray, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """v(S) ``Float64[Q', b]`` of shared ``coalitions`` ``Bool[b, n]`` and its derivatives, in one pass.

        The derivatives ``Float64[Q', b, n]`` are those in each player's share, which mixes its own values and those of
        the absent as in :meth:`Session.blends`: Σ over its elements of (own − reference) · ∂target/∂element, on
        average over the reference rows. Raises what :meth:`gradients` raises, and :class:`NotApplicable` where nobody
        can be present to a share.
        """
        self._refuse_without_gradient()
        if not self.shares:
            raise NotApplicable(
                "players cannot be present to a share here",
                why="what stands for the absent depends on who is present, or a loss is taken of a mean answer",
                fix="give background=rows, or removal=Marginal(rows); or ask for no gradients",
            )
        values = np.zeros((len(questions), len(coalitions)))
        slopes = np.zeros((*values.shape, self.n))
        index = torch.as_tensor(questions, dtype=torch.long)
        self.spent.add(*[values.size / self.questions] * 2)

        def work(q: slice, c: slice, s: slice) -> None:
            chosen = index[q].repeat_interleave(c.stop - c.start)
            repeated = np.repeat(coalitions[None, c], q.stop - q.start, axis=0)
            rows = self._filled(repeated, chosen, s)
            asked = chosen.repeat_interleave(s.stop - s.start)
            items = self.item(asked)
            found, (slope,) = self._caller.slopes(rows, items, lambda found: [self._total(asked, items)(found)])
            told = self._of_questions(self._select(found, items), asked).double().cpu().numpy()
            shape = (q.stop - q.start, c.stop - c.start, s.stop - s.start)
            self._refuse_nan(told.reshape(shape).sum(2), questions[q], lambda at: ~coalitions[c][at[1]])
            self._refuse_nan_slope(slope, asked, rows)
            moved = self._by_share(slope.reshape(len(chosen), shape[2], -1), self.item(chosen), s)
            values[q, c] += told.reshape(shape).sum(2) / self.draws
            slopes[q, c] += moved.reshape(*shape[:2], self.n) / self.draws

        self._each_block((*values.shape, self.draws), work)
        return values, slopes

    def _by_share(self, slopes: Tensor, items: Tensor, s: slice) -> np.ndarray:
        """Gradients ``[b, s, D]`` as derivatives in the players' shares, summed over the references, ``[b, n]``."""
        drawn = self.references[:, s] if len(self.references) == 1 else self.references[items][:, s]
        moved = (slopes.double() * (self.x[items][:, None].double() - drawn.double())).sum(1)
        if not self.players.every_element:
            labels = self._labels if len(self._labels) == 1 else self._labels[items]
            cells = torch.where(labels >= 0, labels, self.n).expand(len(moved), -1)
            moved = moved.new_zeros((len(moved), self.n + 1)).scatter_add_(1, cells, moved)[:, : self.n]
        return moved.cpu().numpy()

    def _gradient(self, points: Tensor, questions: Tensor) -> Tensor:
        """∂target/∂x at each of a batch of points, ``[b, D]``."""
        items = self.item(questions)
        grad = self._caller.slopes(points, items, lambda found: [self._total(questions, items)(found)])[1][0]
        self._refuse_nan_slope(grad, questions, points)
        return grad

    def _total(self, questions: Tensor, items: Tensor) -> Callable[[Tensor], Tensor]:
        """The sum of the questions' numbers among the outputs of their rows: no row's depends on another row."""
        return lambda found: self._of_questions(self._select(found, items), questions).sum()

    def _refuse_without_gradient(self) -> None:
        if not self.differentiable:
            raise NotApplicable(
                "this model gives no gradients for these rows",
                why="its inputs are not floating-point numbers" if not self.opaque else "it is a black box",
                fix="use a method that only asks for outputs, such as kernel_shapley, lime or occlusion",
            )

    def _finite_slopes(self, grads: Tensor, questions: Tensor, points: Tensor) -> Tensor:
        self._refuse_nan_slope(grads, questions, points)
        return grads

    def _refuse_nan_slope(self, grads: Tensor, questions: Tensor, points: Tensor) -> None:
        """Raise :class:`NotFiniteError` for gradients ``[b, D]`` at ``points`` that are no numbers, with the layer."""
        if bool(torch.isfinite(grads.sum())):
            return
        bad = torch.nonzero(~torch.isfinite(grads).all(1)).flatten()[:1].cpu()
        if len(bad):
            items = self.item(questions[bad])
            layer = self._caller.arises(points[bad], items, self._total(questions[bad], items))
            raise NotFiniteError(
                "the gradient is NaN or infinite",
                where=self._row_name(int(items)),
                why=f"it becomes so in {layer}" if layer else "",
                fix="mend the layer (a root or a logarithm of 0 has no finite slope), or use a method that only asks "
                "for outputs, such as kernel_shapley, lime or occlusion",
            )


def _points(points: Recipe, chosen: Tensor, g: slice, c: slice) -> tuple[Tensor, Tensor]:
    """The points ``[b, D]`` of a block of questions and indices, and whose they are ``Int[b]``."""
    asked = chosen[g].repeat_interleave(c.stop - c.start)
    return points(asked, torch.arange(c.start, c.stop).repeat(g.stop - g.start)), asked
