"""Odd parts with their slopes: which pairs are asked, the pilot that decides whether slopes pay, and the answer.

A value with its gradient counts as three evaluations. Half of what a row may cost goes to pairs near half of the
players, with slopes, and half to pairs of all sizes without. Half-way a pilot asks which tells more at the same cost:
pairs are left out and predicted with slopes, and without from as many evaluations. In the end slopes are kept only
where they help to predict the pairs that have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..engine.session import Session
from .coalition_design import BLOCK, Pairs, pairs_by_size
from .odd_games import SAMPLED, Data, Games, How, OddParts, OddPartsAndSlopes, read
from .odd_process import Reading

FEWEST, MOST = 16, 128
"""So many players make slopes worth a pilot: a slope tells of all players at once."""
BUDGETS = (2.0, 7.0)
"""Evaluations a player between which they may pay."""
PRICE = 3
"""Evaluations that a value with its gradient counts as."""
ENDS = 2 + 2 * PRICE
"""Evaluations at everyone and nobody, first their values, then both again with gradients."""
LEAST = ENDS + 2 * PRICE + 2
"""The ends, and one pair with slopes and one without."""
SHARE = 0.5
"""Of the other evaluations, what goes to pairs with slopes."""
SMALLER = 0.35
"""Pairs with slopes have between this share of the players and half of them."""
MOST_SLOPES = 1000
"""Slopes at most in one process: its arithmetic grows with the third power."""
PAYS = 0.5
"""Where left-out pairs are missed by less than this share, squared, slopes go on."""
ROUNDING = 1e-9
"""Slopes that differ by less than this share of the largest are those of an additive game."""


def may_pay(session: Session, budget: int) -> bool:
    """Whether a pilot is worth while: a model with gradients, many players, few evaluations, one target a row.

    Values of several targets come from the same evaluations, their gradients do not.
    """
    (least, most), n = BUDGETS, session.n
    return session.shares and session.targets == 1 and FEWEST <= n <= MOST and least * n <= budget <= most * n


@dataclass(frozen=True, eq=False)
class SlopeDesign:
    """Pairs with slopes ``middle [G, n]`` and without ``plain [V, n]``, one coalition of each.

    The pilot sees the first ``tried`` of both. Then come all of ``middle`` and the first ``beside`` of ``plain``; or,
    where slopes do not pay, all of ``plain``.
    """

    middle: np.ndarray
    plain: np.ndarray
    tried: tuple[int, int]
    beside: int

    @property
    def tested(self) -> int:
        """Pairs that the pilot leaves out, so that what is left costs, with slopes, what all cost without."""
        with_slopes, without = self.tried
        return max(min((PRICE - 1) * with_slopes, without - 1), 1)


def drawn(rng: np.random.Generator, n: int, budget: int) -> SlopeDesign:
    """A design for so many evaluations, both ends counted."""
    left = budget - ENDS
    most = max(MOST_SLOPES // n - 1, 1)
    middle = min(max(int(SHARE * left) // (2 * PRICE), 1), most)
    tried = (middle + 1) // 2
    beside = (left - 2 * PRICE * middle) // 2
    plain = pairs_by_size(rng, n, (left - 2 * PRICE * tried) // 2)
    shares = SMALLER + (0.5 - SMALLER) * ((rng.random() + np.arange(middle) * (np.sqrt(5) - 1) / 2) % 1)
    sizes = np.maximum(np.round(shares * n), 1)
    first = np.array([rng.permutation(n) < size for size in sizes])
    first ^= rng.random(middle)[:, None] < 0.5
    return SlopeDesign(first, rng.permutation(plain), (tried, max(min(beside, PRICE * tried), 1)), beside)


class SlopeEstimate:
    """Values and standard errors of all questions of a session, by odd parts and slopes; ``always``: without a pilot.

    A question is decided on its own where it is fitted on its own; what is fitted together is decided together.
    """

    def __init__(self, session: Session, budget: int, how: How, always: bool):
        self.session, self.always = session, always
        self.how: How = how
        self.design: SlopeDesign = session.design(drawn, session.n, budget)
        self.change = session.full - session.empty
        self.values = np.zeros((session.questions, session.n))
        self.errors = np.zeros_like(self.values)
        self.ratio = np.full(session.questions, np.nan)
        self.went, self.kept = (np.zeros(session.questions, dtype=bool) for _ in range(2))
        self._answers: dict[bool, _Answer] = {}
        self._all_go: bool | None = None
        for block in self._blocks():
            self._begin(block)

    def _blocks(self) -> list[np.ndarray]:
        """Runs of all targets of some rows, as many at once as memory allows."""
        T, held = self.session.targets, 2 * len(self.design.plain) + len(self.design.middle) * self.session.n
        rows = max(BLOCK // held // T, SAMPLED)
        every = np.arange(self.session.questions)
        return np.split(every, range(rows * T, len(every), rows * T))

    def _begin(self, block: np.ndarray) -> None:
        """Ask what the pilot needs, and go on as it says."""
        with_slopes, without = self.design.tried
        everyone = np.ones((1, self.session.n), dtype=bool)
        asked = self._sloped(np.vstack([everyone, self.design.middle[:with_slopes]]), block)
        plain = self._plain(slice(0, without), block)
        goes = np.ones(len(block), dtype=bool)
        if not self.always:
            goes = self._pilot(block, asked, plain)
        for went in (True, False):
            own = np.flatnonzero(goes == went)
            if len(own):
                self._finish(block[own], went, (asked[0][own], asked[1][own]), plain[own])

    def _finish(
        self, questions: np.ndarray, went: bool, asked: tuple[np.ndarray, np.ndarray], plain: np.ndarray
    ) -> None:
        """Ask what is left, and answer."""
        with_slopes, without = self.design.tried
        odd, slopes = asked
        if went and with_slopes < len(self.design.middle):
            more, steep = self._sloped(self.design.middle[with_slopes:], questions)
            odd, slopes = np.hstack([odd, more]), np.hstack([slopes, steep])
        stop = self.design.beside if went else len(self.design.plain)
        plain = np.hstack([plain, self._plain(slice(without, stop), questions)])
        if went not in self._answers:
            signs = self._signs(odd.shape[1] - 1, plain.shape[1])
            self._answers[went] = _Answer(signs, odd.shape[1], self.how)
        odd = np.hstack([odd[:, 1:], plain])
        found = self._answers[went].solved(self.change[questions], odd, slopes, self.always)
        self.values[questions], self.errors[questions], self.kept[questions] = found
        self.went[questions] = went

    def notes(self) -> dict[str, Any]:
        """What was decided of each question, and why."""
        whys = {
            (True, True): "the pilot: left-out pairs are missed less with slopes",
            (True, False): "the pilot was for slopes, but in the end pairs are missed more with them",
            (False, True): "the pilot: slopes cost more than they tell; what it asked still helps",
            (False, False): "the pilot: left-out pairs are missed more with slopes",
        }
        why = [
            "asked for" if self.always else whys[went, kept] for went, kept in zip(self.went, self.kept, strict=True)
        ]
        middle, plain = len(self.design.middle), len(self.design.plain)
        pairs = np.where(self.went, middle + min(self.design.beside, plain), self.design.tried[0] + plain)
        return {"pairs": pairs, "gradients": self.kept, "pilot": self.ratio, "because": np.array(why, dtype=object)}

    def _sloped(self, first: np.ndarray, questions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Odd parts ``[q, k]`` of pairs and their slopes ``[q, k, n]`` in the signs."""
        v, g = self.session.share_slopes(Pairs(first, False).coalitions, questions)
        return (v[:, 0::2] - v[:, 1::2]) / 2, (g[:, 0::2] + g[:, 1::2]) / 4

    def _plain(self, part: slice, questions: np.ndarray) -> np.ndarray:
        v = self.session.values(Pairs(self.design.plain[part], False).coalitions, questions)
        return (v[:, 0::2] - v[:, 1::2]) / 2

    def _pilot(self, block: np.ndarray, asked: tuple[np.ndarray, np.ndarray], plain: np.ndarray) -> np.ndarray:
        """Which questions go on with slopes, ``Bool[q]``: pooled ones all go the way of the first."""
        if self._all_go is not None:
            return np.full(len(block), self._all_go)
        odd, slopes = asked
        games = Data.of(self.change[block], np.hstack([odd[:, 1:], plain]), slopes)
        trial = _Trial(self._signs(odd.shape[1] - 1, plain.shape[1]), odd.shape[1], self.design.tested)
        if self.how == "row":
            self.ratio[block] = [trial.ratio(games.of_games(np.array([game]))) for game in range(len(block))]
        else:
            self.ratio[:] = trial.ratio(games.of_games(np.arange(min(len(block), SAMPLED))))
            self._all_go = bool(self.ratio[0] < PAYS)
        return self.ratio[block] < PAYS

    def _signs(self, middle: int, plain: int) -> np.ndarray:
        first = np.vstack([self.design.middle[:middle], self.design.plain[:plain]])
        return np.vstack([np.ones(self.session.n), 2.0 * first - 1])


class _Trial:
    """Predicts the last pairs of a design with slopes, and without from as much as these cost."""

    def __init__(self, signs: np.ndarray, sloped: int, tested: int):
        self.steep, self.flat = OddPartsAndSlopes(signs, sloped), OddParts(signs)
        self.rows = np.arange(len(signs))
        self.tested = self.rows[-tested:]

    def ratio(self, games: Data) -> float:
        """Mean squared errors of the tested pairs, with slopes over without.

        With slopes all of them are left out at once; without, one by one, so that the others' evaluations are those
        that slopes cost more.
        """
        without = games.first(len(self.rows))
        steep = self.steep.process(self.steep.fit(games.data)).left_out(games.data, self.tested)
        flat = self.flat.process(self.flat.fit(without.data)).each_left_out(without.data)[self.tested]
        return float(np.square(steep).mean() / max(np.square(flat).mean(), 1e-300))


class _Answer:
    """Games of one design, solved with their slopes and without; each keeps the better."""

    def __init__(self, signs: np.ndarray, sloped: int, how: How):
        self.signs, self.rows, self.sloped = signs, len(signs), sloped
        self.steep = Games(OddPartsAndSlopes(signs, sloped), how)
        self.flat = Games(OddParts(signs), how)
        self._kept: bool | None = None

    def solved(
        self, change: np.ndarray, odd: np.ndarray, slopes: np.ndarray, always: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Values and standard errors ``[q, n]``, and which games were solved with slopes ``Bool[q]``."""
        values, errors, additive = self._additive(change, odd, slopes)
        kept, left = np.ones(len(change), dtype=bool), np.flatnonzero(~additive)
        if not len(left):
            return values, errors, kept
        games = Data.of(change[left], odd[left], slopes[left])
        if always:
            values[left], errors[left] = self.steep.solved(games)
            return values, errors, kept
        without = games.first(self.rows)
        for (part, steep), (_, flat) in zip(self.steep.each(games), self.flat.each(without), strict=True):
            own, plain, place = games.of_games(part), without.of_games(part), left[part]
            kept[place] = self._helps(steep, flat, own, plain)
            values[place], errors[place] = read(steep, own) if kept[place[0]] else read(flat, plain)
        return values, errors, kept

    def _helps(self, steep: Reading, flat: Reading, games: Data, without: Data) -> bool:
        """Whether the slopes of others help to predict pairs that have none; of pooled games the first tell."""
        if self._kept is not None:
            return self._kept
        test = slice(self.sloped, self.rows)
        missed = [
            np.square(process.each_left_out(data)[test, :SAMPLED]).mean(0)
            for process, data in ((steep, games.data), (flat, without.data))
        ]
        helps = bool(np.median(missed[0] / np.maximum(missed[1], 1e-300)) <= 1)
        if self.steep.how == "pooled":
            self._kept = helps
        return helps

    def _additive(
        self, change: np.ndarray, odd: np.ndarray, slopes: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Twice the slope, where it is the same at all pairs and gives their odd parts: the exact answer."""
        slope = slopes.mean(1)
        alike = np.abs(slopes - slope[:, None]).max((1, 2)) <= ROUNDING * np.abs(slope).max(1)
        line = np.abs(odd - slope @ self.signs[1:].T).max(1) <= ROUNDING * np.abs(odd).max(1)
        values = 2 * slope
        values += ((change - values.sum(1)) / values.shape[1])[:, None]
        return values, np.zeros_like(values), alike & line
