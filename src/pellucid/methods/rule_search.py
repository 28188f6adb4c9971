"""The search for a rule: a beam search whose candidates share their draws (KL-LUCB), many rows in step.

A question's draws are made once; what a rule makes of draw k is asked once. A rule's asked draws are the *pool* of all
its extensions: those which satisfy the added condition by themselves are trials of the extension, so one asked row
tells of many candidates. Only the few that come out best are tried on draws in which their condition is enforced;
there, too, the draws that satisfy it by themselves are known already. All that a step needs is one batch for the model,
whatever rows it is about.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..measures.best_arms import exploration_rate, kl_bound, kl_bounds
from .surroundings import Draws, Surroundings, held_by

CHUNK, CLEARLY, PRIOR, GROWTH = 256, 0.01, 4.0, 4
UNASKED = FREE = -1
Ask = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Whether the decision stays, ``Bool[b]``, for mixed rows ``Int[b, n]`` about questions ``Int[b]``."""


@dataclass(frozen=True)
class Wish:
    """What is searched for: how sure (``threshold``), how surely (``delta``, ``tolerance``, ``slack``), how hard."""

    threshold: float
    delta: float
    tolerance: float
    slack: float
    beam: int
    batch: int
    pool: int
    longest: int
    limit: int


@dataclass
class _Beam:
    """B rules of one length for each of G questions, and what their draws said.

    ``which`` ``Int[G]`` are the questions' places in the search, which goes on without those that are settled;
    ``rules`` ``Int[G, B, n]``; ``real`` ``Bool[G, B]`` (the rest is padding); ``coverage`` ``Float64[G, B]``; ``known``
    ``Int8[G, B, K]`` the answer of draw k; ``held`` ``Int[G, B, m]`` the conditions in the rules; ``asked``
    ``Int[G, B]``, up to which draw all are known, and ``hits``, in how many of these the decision stays.
    """

    which: np.ndarray
    rules: np.ndarray
    real: np.ndarray
    coverage: np.ndarray
    known: np.ndarray
    held: np.ndarray = field(init=False)
    asked: np.ndarray = field(init=False)
    hits: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.held = held_by(self.rules)
        self.asked, self.hits = np.zeros(self.real.shape, dtype=np.int64), np.zeros(self.real.shape, dtype=np.int64)

    def lengthen(self, to: int) -> None:
        """Room for as many draws."""
        if to > self.known.shape[2]:
            more = ((0, 0), (0, 0), (0, to - self.known.shape[2]))
            self.known = np.pad(self.known, more, constant_values=UNASKED)

    def take(self, kept: np.ndarray) -> _Beam:
        """The beams of some of the questions, ``Bool[G]``."""
        if kept.all():
            return self
        own = (self.which, self.rules, self.real, self.coverage, self.known)
        taken = _Beam(*(part[kept] for part in own))
        taken.asked, taken.hits = self.asked[kept], self.hits[kept]
        return taken


@dataclass
class _Candidates:
    """C extensions of each question's beam: ``parent`` and the condition ``added`` ``Int[G, C]``, what they
    ``cover``."""

    parent: np.ndarray
    added: np.ndarray
    cover: np.ndarray
    real: np.ndarray


class Search:
    """Rules for a block of questions, found in step.

    Afterwards ``best`` ``Int[G, n]`` are the rules, and ``spent`` ``Int[G]`` says how many rows were asked for each.
    """

    def __init__(self, wish: Wish, around: Surroundings, ask: Ask, questions: np.ndarray):
        self.wish, self.around, self.ask, self.questions = wish, around, ask, questions
        self.draws = Draws(around, [around.session.noise(int(question)) for question in questions])
        G, n = len(questions), around.n
        self.spent = np.zeros(G, dtype=np.int64)
        self.best, self.covers = np.full((G, n), FREE), np.full(G, -1.0)
        self.fallback, self.sure = np.full((G, n), FREE), np.full(G, -1.0)
        self.rate = float(np.log((1 + (wish.beam - 1) * n) / wish.delta))  # Ribeiro et al. 2018, algorithm 2
        self.possible = [around.possible(g) for g in range(G)]

    def run(self) -> None:
        """Rules of growing length, until no longer one can cover more than the best found."""
        G, n = self.best.shape
        ones, nothing = np.ones((G, 1)), np.full((G, 1, 0), UNASKED, dtype=np.int8)
        beam = _Beam(np.arange(G), np.full((G, 1, n), FREE), ones > 0, ones, nothing)
        self._settle(beam)
        for _ in range(self.wish.longest):
            beam, candidates = self._extensions(beam)
            if not len(beam.which):
                break
            beam = self._best_of(beam, candidates)
        missed = self.covers < 0
        self.best[missed] = self.fallback[missed]

    # Candidates ----------------------------------------------------------------------------

    def _extensions(self, beam: _Beam) -> tuple[_Beam, _Candidates]:
        """The beam's rules with a condition more that could still cover more than the best found.

        With it comes the beam of those questions alone that have any.
        """
        promising = beam.real & (beam.coverage > self.covers[beam.which, None])  # longer rules cover less
        promising &= (self.spent[beam.which] + self.wish.batch <= self.wish.limit)[:, None]
        kept = np.asarray(promising.any(1))
        beam, promising = beam.take(kept), promising[kept]
        own = zip(beam.which.tolist(), beam.rules, promising, strict=True)
        lists = [self._own_extensions(*question) for question in own]
        lengths = np.array([len(found[0]) for found in lists], dtype=np.int64)
        shape = (int((lengths > 0).sum()), int(lengths.max(initial=0)))
        made = _Candidates(np.zeros(shape, int), np.zeros(shape, int), np.zeros(shape), np.zeros(shape, dtype=bool))
        for g, (parent, added, cover) in enumerate(found for found in lists if len(found[0])):
            part = (g, slice(len(parent)))
            made.parent[part], made.added[part], made.cover[part], made.real[part] = parent, added, cover, True
        return beam.take(lengths > 0), made

    def _own_extensions(self, g: int, parents: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, ...]:
        """Parent, condition and coverage of each extension of one question, every rule once."""
        around = self.around
        held = parents[:, around.owner]  # what holds each condition's player so far, [B, L]
        enters = np.where(held == FREE, around.first, around.within[held, np.arange(len(around.owner))])
        cover = around.extended(g, parents)
        enters &= self.possible[g] & real[:, None] & (cover > max(self.covers[g], 0.0))
        parent, added = np.nonzero(enters)
        cover = cover[parent, added]
        if real.sum() > 1:
            rules = parents[parent]
            rules[np.arange(len(parent)), around.owner[added]] = added
            once = list({rule.tobytes(): place for place, rule in enumerate(rules)}.values())
            parent, added, cover = parent[once], added[once], cover[once]
        return parent, added, cover

    def _best_of(self, beam: _Beam, candidates: _Candidates) -> _Beam:
        """The most precise candidates as the next beam: told apart on the beam's draws, settled on their own."""
        tops = self._told_apart(beam, candidates)
        parent, added = (np.take_along_axis(part, tops, 1) for part in (candidates.parent, candidates.added))
        real, cover = (np.take_along_axis(part, tops, 1) for part in (candidates.real, candidates.cover))
        rules = np.take_along_axis(beam.rules, parent[:, :, None], 1)
        np.put_along_axis(rules, self.around.owner[added][:, :, None], added[:, :, None], 2)
        following = _Beam(beam.which, rules, real, cover, self._handed_down(beam, parent, added))
        self._settle(following)
        return following

    def _handed_down(self, beam: _Beam, parent: np.ndarray, added: np.ndarray) -> np.ndarray:
        """What the parents' draws already say of extensions: those that satisfy the condition by themselves."""
        known = beam.known[np.arange(len(parent))[:, None], parent]
        g, b, k = np.nonzero(known != UNASKED)
        at = beam.which[g]
        free = self.around.free(self.draws, at, k, added[g, b])
        known[g[~free], b[~free], k[~free]] = UNASKED
        return known

    def _told_apart(self, beam: _Beam, candidates: _Candidates) -> np.ndarray:
        """Places ``[G, B]`` of the most precise candidates, by KL-LUCB on trials from their parents' pools."""
        wish, real = self.wish, candidates.real
        G, L = len(real), len(self.around.owner)
        counts = np.zeros((2, G, beam.real.shape[1], L))  # hits and trials of each condition in each parent's pool
        seen = np.zeros_like(beam.asked)
        wanted = beam.real & real.any(1, keepdims=True)
        g, b = np.nonzero(wanted)
        affordable = np.maximum(wish.limit - self.spent[beam.which], 0) // np.maximum(wanted.sum(1), 1)
        self._fill(beam, g, b, np.minimum(wish.batch, beam.asked[g, b] + affordable[g]))
        going, step = np.flatnonzero(real.sum(1) > wish.beam), 1

        def estimated(questions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            """How precise their candidates look, and the hits and trials behind that, ``Float64[·, C]`` each."""
            self._count(beam, seen, counts)
            along, parent = questions[:, None], candidates.parent[questions]
            hits, trials = counts[:, along, parent, candidates.added[questions]]
            before = (beam.hits + 1) / (beam.asked + 2)
            means = (hits + PRIOR * before[along, parent]) / (trials + PRIOR)
            return np.where(real[questions], means, -1.0), hits, trials

        while len(going):
            means, hits, trials = estimated(going)
            rate = exploration_rate(step, real[going].sum(1), wish.delta)[:, None]
            weak, strong, gap = _undecided(means, hits, trials, real[going], rate, wish.beam)
            pair = np.concatenate([going, going]), candidates.parent[np.tile(going, 2), np.concatenate([weak, strong])]
            room, cost = (
                (beam.asked[pair] < wish.pool).reshape(2, -1),
                (GROWTH - 1) * beam.asked[pair].reshape(2, -1).sum(0),
            )
            far = (gap > wish.tolerance) & room.any(0) & (self.spent[beam.which[going]] + cost <= wish.limit)
            pair = np.unique(np.stack(pair)[:, (room & far).ravel()], axis=1)
            self._fill(beam, pair[0], pair[1], np.minimum(GROWTH * beam.asked[pair[0], pair[1]], wish.pool))
            going, step = going[far], step + 1
        means = estimated(np.arange(G))[0]
        wide = np.where(means >= wish.threshold, 1 + candidates.cover, means)
        return np.argsort(-wide, axis=1, kind="stable")[:, : wish.beam]

    def _count(self, beam: _Beam, seen: np.ndarray, counts: np.ndarray) -> None:
        """Add to ``counts`` what the pools hold beyond ``seen``."""
        g, b = np.nonzero(beam.asked > seen)
        length = (beam.asked - seen)[g, b]
        pair = np.repeat(np.arange(len(g)), length)
        k = seen[g, b][pair] + np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
        at = beam.which[g][pair]
        holds = self.around.satisfied(self.draws, at, k)
        stays = np.stack([beam.known[g[pair], b[pair], k] == 1, np.ones(len(pair), dtype=bool)]).astype(np.float32)
        stop = 0
        for place, count in enumerate(length.tolist()):  # a product for each pool; a sum over runs of all is dearer
            start, stop = stop, stop + count
            counts[:, g[place], b[place]] += stays[:, start:stop] @ holds[start:stop].astype(np.float32)
        seen[:] = beam.asked

    # Trials of the beam's own ----------------------------------------------------------------

    def _settle(self, beam: _Beam) -> None:
        """Try the beam's rules until each lies clearly on one side of the threshold; keep the best that is above."""
        wish = self.wish
        g, b = np.nonzero(beam.real)
        first = np.maximum((wish.limit - self.spent[beam.which]) // (2 * np.maximum(beam.real.sum(1), 1)), 0)
        self._fill(beam, g, b, np.minimum(wish.batch, first)[g])
        while True:
            hits, trials = beam.hits[g, b], beam.asked[g, b]
            share = hits / np.maximum(trials, 1)
            lower, upper = kl_bounds(hits, trials, self.rate)
            below, above = lower < wish.threshold - wish.slack, upper > wish.threshold + wish.slack
            undecided = np.where(share >= wish.threshold, below, above)
            dear = wish.batch * np.bincount(g[undecided], minlength=len(beam.which))
            undecided &= (self.spent[beam.which] + dear <= wish.limit)[g]
            if not undecided.any():
                break
            again, which = g[undecided], b[undecided]
            self._fill(beam, again, which, beam.asked[again, which] + wish.batch)
        self._accept(beam)

    def _accept(self, beam: _Beam) -> None:
        """Keep, of the rules that are precise enough, the one that covers most; beside it the surest of all."""
        lower, _ = kl_bounds(beam.hits, beam.asked, self.rate)
        tried, along, at = beam.real & (beam.asked > 0), np.arange(len(beam.which)), beam.which
        share = beam.hits / np.maximum(beam.asked, 1)
        enough = tried & (share >= self.wish.threshold) & (lower >= self.wish.threshold - self.wish.slack)
        place = np.where(enough, beam.coverage, -1.0).argmax(1)
        better = enough[along, place] & (beam.coverage[along, place] > self.covers[at])
        self.best[at[better]] = beam.rules[along, place][better]
        self.covers[at[better]] = beam.coverage[along, place][better]
        place = np.where(tried, lower, -1.0).argmax(1)
        surer = tried[along, place] & (lower[along, place] > self.sure[at] + CLEARLY)
        self.fallback[at[surer]] = beam.rules[along, place][surer]
        self.sure[at[surer]] = lower[along, place][surer]

    def _fill(self, beam: _Beam, g: np.ndarray, b: np.ndarray, to: np.ndarray | int) -> None:
        """Ask the draws of rules ``b`` of questions ``g`` (each pair once) up to ``to`` that are not known yet."""
        to = np.broadcast_to(to, g.shape)
        length = np.maximum(to - beam.asked[g, b], 0)
        if not length.sum():
            return
        while self.draws.rows.shape[1] < to.max():  # they come in chunks, so no question depends on another
            self.draws.more(CHUNK)
        beam.lengthen(self.draws.rows.shape[1])
        pair = np.repeat(np.arange(len(g)), length)
        k = beam.asked[g, b][pair] + np.arange(len(pair)) - np.repeat(np.cumsum(length) - length, length)
        answers = beam.known[g[pair], b[pair], k]
        new = np.flatnonzero(answers == UNASKED)
        G, B, draw = g[pair[new]], b[pair[new]], k[new]
        at = beam.which[G]
        self.spent += np.bincount(at, minlength=len(self.spent))
        sources = self.around.sources(self.draws, at, draw, beam.held[G, B])
        beam.known[G, B, draw] = answers[new] = self.ask(sources, self.questions[at])
        beam.hits[g, b] += np.bincount(pair, answers, minlength=len(g)).astype(np.int64)
        beam.asked[g, b] = np.maximum(to, beam.asked[g, b])


def _undecided(
    means: np.ndarray, hits: np.ndarray, trials: np.ndarray, real: np.ndarray, rate: np.ndarray, beam: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weakest of the best, the strongest of the rest, and by how much their bounds overlap (KL-LUCB)."""
    top, along = np.zeros(means.shape, dtype=bool), np.arange(len(means))
    np.put_along_axis(top, np.argsort(-means, axis=1, kind="stable")[:, :beam], True, 1)
    bound = kl_bound(hits, trials, rate, ~top)
    weak = np.where(top, bound, np.inf).argmin(1)
    strong = np.where(top | ~real, -np.inf, bound).argmax(1)
    return weak, strong, bound[along, strong] - bound[along, weak]
