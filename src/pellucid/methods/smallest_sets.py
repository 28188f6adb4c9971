"""The search for the smallest set of players of which something holds: by size where that goes, else greedily."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.answer import Answer
from ..records.messages import Caution
from ..records.sets import ASKED, Sets
from ..records.settings import Range
from .method import Method

EXACT, MOST = 15, 2**12
ROUNDING, TINY = 1e-6, 1e-300


@dataclass(frozen=True)
class SmallestSets(Method):
    """Base of methods that look for the fewest players of which something holds.

    An answer is kept where v lies on the row's side of a cut: ``share`` of the way from v(nobody) to v(everyone), or
    ``boundary`` where that is given. All sets of one size are asked before those of the next, as far as the budget
    goes: then the set is the smallest, and how many others there are is known. Beyond, players are taken in the order
    of their effects until it holds, and those that can be left out are, the least needed first, until none can.
    """

    share: Annotated[float, Range(1e-6, 1.0), "share of the change from nobody to everyone that must be kept"] = 0.9
    boundary: Annotated[float | None, "the value that must not be crossed, in place of a share"] = None

    answers: ClassVar[type[Answer]] = Sets
    absent: ClassVar[bool] = False
    """Whether the set is asked by its absence."""

    @abstractmethod
    def estimate(self, session: Session) -> Estimate:
        """The set of each question."""

    def cost(self, players: int) -> float:
        return float(2**players if players <= EXACT else MOST)

    def searched(self, session: Session) -> Estimate:
        """The smallest set of each question, with what is known of it."""
        search = _Search(session, self.share, self.boundary, self.absent)
        allowed = session.allowance(int(self.cost(session.n)), least=3 * session.n + 4) - 2
        search.by_size(allowed)
        search.greedily(allowed)
        lacking = ~search.found.reshape(len(session), -1).all(1)
        cautions = ()
        if lacking.any():
            cautions = (Caution.of("set_lacking", rows=int(lacking.sum()), total=len(session)),)
        arrays = {
            "reached": search.reached, "cut": search.cut, "found": search.found, "smallest": search.smallest,
            "irreducible": search.irreducible, "others": search.others,
        }  # fmt: skip
        notes = {"asked": ASKED[self.absent], "sizes": search.sizes}
        return Estimate(search.sets.astype(np.float64), arrays=arrays, notes=notes, cautions=cautions)


class _Search:
    """The sets found so far, one for each question.

    ``sizes`` is how many sizes were asked whole, ``spent`` the evaluations that one question took at most.
    """

    def __init__(self, session: Session, share: float, boundary: float | None, absent: bool):
        self.session, self.absent, Q, n = session, absent, session.questions, session.n
        empty, full = session.empty, session.full
        self.cut = empty + share * (full - empty) if boundary is None else np.full(Q, boundary)
        self.side = np.where(full >= empty, 1.0, -1.0) if boundary is None else np.where(full >= boundary, 1.0, -1.0)
        far = np.where(np.isfinite(self.cut), np.abs(full - self.cut), 0.0)
        self.slack = ROUNDING * np.maximum(np.abs(full - empty), far) + TINY
        self.sets, self.found = np.zeros((Q, n), dtype=bool), np.zeros(Q, dtype=bool)
        self.smallest, self.irreducible = np.zeros(Q, dtype=bool), np.zeros(Q, dtype=bool)
        self.others, self.reached = np.full(Q, np.nan), np.where(absent, full, empty)
        self.sizes, self.spent = 0, np.zeros(Q, dtype=np.int64)
        nothing, everyone = (self._held(ends, np.arange(Q)) for ends in ((full, empty) if absent else (empty, full)))
        self._keep(np.flatnonzero(nothing), np.zeros(n, dtype=bool), self.reached[nothing], others=0.0)
        self.open = ~nothing
        self.certain = everyone  # everyone does it, so the greedy search has somewhere to start

    def _held(self, values: np.ndarray, questions: np.ndarray) -> np.ndarray:
        return self._room(values, questions) >= -self.slack[questions].reshape(-1, *[1] * (values.ndim - 1))

    def _room(self, values: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """By how much it holds of sets with these values: above the cut, or for absent sets beyond it."""
        shape = (-1, *[1] * (values.ndim - 1))
        slack = self.slack[questions].reshape(shape)
        room = (values - self.cut[questions].reshape(shape)) * self.side[questions].reshape(shape)
        room = np.round(room / slack) * slack  # what differs by rounding is equal, and the first among equals is taken
        return -room - 2 * slack if self.absent else room

    def _keep(self, questions: np.ndarray, sets: np.ndarray, reached: np.ndarray, others: np.ndarray | float) -> None:
        """Take sets for smallest."""
        self.sets[questions], self.reached[questions], self.others[questions] = sets, reached, others
        self.found[questions] = self.smallest[questions] = self.irreducible[questions] = True

    def _values(self, sets: np.ndarray, questions: np.ndarray) -> np.ndarray:
        self.spent[questions] += sets.shape[-2]
        return self.session.values(~sets if self.absent else sets, questions)

    # All sets of one size after the other ----------------------------------------------------

    def by_size(self, allowed: int) -> None:
        """Ask all sets of 1, 2, … players while there is room for them and for the greedy search."""
        n = self.session.n
        for size in range(1, n):
            asked = np.flatnonzero(self.open)
            rest = sum(comb(n, k) for k in range(size, n))
            spent = int(self.spent.max())
            reserve = 0 if spent + rest <= allowed else _greedy_cost(n)
            if not len(asked) or spent + comb(n, size) + min(reserve, allowed) > allowed:
                break
            sets = np.zeros((comb(n, size), n), dtype=bool)
            members = np.array(list(combinations(range(n), size)))
            np.put_along_axis(sets, members, True, 1)
            values = self._values(sets, asked)
            room, held = self._room(values, asked), self._held(values, asked)
            best, count = np.where(held, room, -np.inf).argmax(1), held.sum(1)
            some = count > 0
            self._keep(asked[some], sets[best[some]], values[some, best[some]], count[some] - 1.0)
            self.open[asked[some]] = False
            self.sizes = size
        if self.sizes == n - 1:
            last = np.flatnonzero(self.open & self.certain)
            ends = self.session.empty if self.absent else self.session.full
            self._keep(last, np.ones(n, dtype=bool), ends[last], others=0.0)
            self.open[:] = False

    # Greedily ----------------------------------------------------------------------------------

    def greedily(self, allowed: int) -> None:
        """For what is open: players by their effect until it holds, then leave out whoever can be left out."""
        asked = np.flatnonzero(self.open & self.certain)
        if not len(asked):
            return
        sets = self._prefixes(asked, self._order(asked))
        self.sets[asked], self.found[asked] = sets, True
        self.open[asked] = False
        active = asked
        while len(active):
            size = int(self.sets[active].sum(1).max())
            active = active[self.spent[active] + size <= allowed]
            if not len(active):
                break
            active = self._left_out(active, size)
        self.smallest[asked] = self.sets[asked].sum(1) == self.sizes + 1

    def _order(self, asked: np.ndarray) -> np.ndarray:
        """Players by what they do alone and what is lost without them, the most first: ``Int[·, n]``."""
        alone, n = np.eye(self.session.n, dtype=bool), self.session.n
        both = self._values(np.concatenate([alone, ~alone]), asked)
        effect = (both[:, :n] - both[:, n:]) * self.side[asked, None]
        return np.argsort(effect if self.absent else -effect, axis=1, kind="stable")

    def _prefixes(self, asked: np.ndarray, order: np.ndarray) -> np.ndarray:
        """The first players in order that do it together, ``Bool[·, n]``."""
        n = self.session.n
        rank = np.argsort(order, axis=1)
        prefixes = rank[:, None] < np.arange(1, n + 1)[:, None]
        values = self._values(prefixes, asked)
        held = self._held(values, asked)
        held[:, -1] = True  # everyone does it; asked again, rounding must not say otherwise
        first = held.argmax(1)
        self.reached[asked] = np.take_along_axis(values, first[:, None], 1)[:, 0]
        return np.take_along_axis(prefixes, first[:, None, None], 1)[:, 0]

    def _left_out(self, active: np.ndarray, size: int) -> np.ndarray:
        """Leave out of each set the member whose loss does least; the questions for which that went are returned."""
        sets = self.sets[active]
        members = np.argsort(~sets, axis=1, kind="stable")[:, :size]  # shorter sets repeat what is no member
        without = np.repeat(sets[:, None], size, axis=1)
        np.put_along_axis(without, members[:, :, None], False, 2)
        values = self._values(without, active)
        real = np.take_along_axis(sets, members, 1)
        room = np.where(real & self._held(values, active), self._room(values, active), -np.inf)
        best = room.argmax(1)
        along = np.arange(len(active))
        went = np.isfinite(room[along, best])
        self.irreducible[active[~went]] = True
        self.sets[active[went]] = without[along, best][went]
        self.reached[active[went]] = values[along, best][went]
        return active[went]


def _greedy_cost(n: int) -> int:
    return 3 * n + n * (n + 1) // 2
