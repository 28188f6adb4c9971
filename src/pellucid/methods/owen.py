"""Owen values: Shapley values of players who stand in groups, within groups, for hundreds and thousands of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb, prod
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..problem.hierarchy import Tree, balanced
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method

MOST_CONTEXTS = 2**15
"""(player, surroundings) pairs up to which the exact answer is written out."""
ROUNDS = 6
"""Each round of an adaptive search spends a share of 1/ROUNDS of what is left."""
LEAST_ROUND = 64
PRIOR = 4.0
"""How many samples the usual variance counts for beside a group's own."""
DEEPEST_LISTED = 12
"""Halves within halves down to which all surroundings are listed, and none is asked twice."""
NEIGHBOUR = 0.1
"""How much of its siblings' size a group is believed to hide when its own parts cancel."""


@dataclass(frozen=True)
class Owen(Method):
    """The mean marginal contribution over all orders in which no group is torn apart (Owen 1977; levels: Winter 1989).

    A group's value is shared among its parts as Shapley would, the other parts and the groups around it being there or
    not. Exact where so many evaluations are allowed; else groups are divided first where it matters most, each
    row for itself, and players of a group that was not divided share equally. Without a hierarchy of the players,
    halves of halves are taken, by their places in an image or in their order.
    """

    samples: Annotated[
        int | None, Range(4, 10_000_000), "evaluations per explained number, both ends counted; none: 4n + 2048"
    ] = None

    name: ClassVar[str] = "owen"
    title: ClassVar[str] = "Owen values"
    source: ClassVar[str] = "Owen 1977, Values of games with a priori unions; Winter 1989, A value for level structures"
    promises: ClassVar[tuple[str, ...]] = ("completeness", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        values, errors = np.zeros((2, session.questions, session.n))
        notes = {name: np.zeros(session.questions) for name in ("groups", "divided", "together")}
        exact = np.zeros(session.questions, dtype=bool)
        for levels, questions in _by_hierarchy(session):
            tree = session.design(_tree, levels.tobytes(), len(levels), session.n)
            budget = self._budget(session, tree)
            design = session.design(_everything, levels.tobytes(), len(levels), session.n)
            if design is not None and len(design[0]) <= budget - 2:
                exact[questions] = True
                ends = np.stack([session.empty[questions], session.full[questions]], axis=1)
                values[questions] = np.hstack([ends, session.values(design[0], questions)]) @ design[1]
                notes["groups"][questions] = notes["divided"][questions] = sum(map(bool, tree.children))
                continue
            for question in questions.tolist():
                search = _Search(tree, session, question)
                search.spend(budget - 2)
                values[question], errors[question] = search.shared()
                for name, found in search.reached().items():
                    notes[name][question] = found
        given = "given" if session.players.hierarchy is not None else "halves"
        told = {"hierarchy": given, "exact": bool(exact.all()), **notes}
        return Estimate(values, stderr=errors, notes=told, cautions=self._cautions(session, notes["together"]))

    def _budget(self, session: Session, tree: Tree) -> int:
        """Evaluations, both ends counted; the first division at least must be possible."""
        least = max(self.samples or 0, 2 * max(len(tree.children[0]), 1))
        allowed = session.allowance(self.samples or 4 * session.n + 2048, least=least)
        return self.samples or allowed

    def _cautions(self, session: Session, together: np.ndarray) -> tuple[Caution, ...]:
        rows = int((together.reshape(len(session), -1) > 0).any(1).sum())
        told = {"method": self.name, "rows": rows, "total": len(session)}
        return (Caution.of("groups_not_divided", "note", **told),) if rows else ()

    def cost(self, players: int) -> float:
        return float(self.samples or 4 * players + 2048)


def _by_hierarchy(session: Session) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each hierarchy ``Int[L, n]`` of the session's players, with the questions about rows that have it."""
    players, found = session.players, {}
    for row in range(1 if players.is_shared else len(session)):
        levels = players.levels_of(row)
        levels = balanced(players, row) if levels is None else levels
        found.setdefault(levels.tobytes(), (levels, []))[1].append(row)
    everyone = np.arange(session.questions)
    for levels, rows in found.values():
        yield levels, everyone if players.is_shared else everyone[np.isin(session.item(everyone), rows)]


def _tree(_: np.random.Generator, levels: bytes, depth: int, n: int) -> Tree:
    return Tree.of(np.frombuffer(levels, dtype=np.int64).reshape(depth, n))


# All of them -------------------------------------------------------------------------------


def _everything(rng: np.random.Generator, levels: bytes, depth: int, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The coalitions ``Bool[b, n]`` of the definition and weights ``Float64[2 + b, n]`` with φ = v · weights.

    v begins with nobody and everyone, which are known. None where there are too many to write out.
    """
    tree = _tree(rng, levels, depth, n)
    leaves = [node for node, children in enumerate(tree.children) if not children]
    contexts = {leaf: [2 ** len(tree.siblings(node)) for node in tree.lineage(leaf)] for leaf in leaves}
    if sum(prod(ways) for ways in contexts.values()) > MOST_CONTEXTS:
        return None
    bits = [sum(1 << int(player) for player in tree.order[a:b]) for a, b in zip(tree.start, tree.stop, strict=True)]
    place: dict[int, int] = {0: 0, (1 << n) - 1: 1}
    cells = []
    for leaf in leaves:
        player = int(tree.order[tree.start[leaf]])
        for coalition, weight in _around(tree, bits, leaf):
            for worth, sign in ((coalition | bits[leaf], weight), (coalition, -weight)):
                cells.append((place.setdefault(worth, len(place)), player, sign))
    weights = np.zeros((len(place), n))
    at, players, signs = zip(*cells, strict=True)
    np.add.at(weights, (np.array(at), np.array(players)), np.array(signs))
    coalitions = np.array([[worth >> player & 1 for player in range(n)] for worth in list(place)[2:]], dtype=bool)
    return coalitions.reshape(-1, n), weights


def _around(tree: Tree, bits: list[int], leaf: int) -> list[tuple[int, float]]:
    """Who may be there before a player comes, as bits, and how likely: at each level some of the group's siblings."""
    found = [(0, 1.0)]
    for node in tree.lineage(leaf):
        siblings = [bits[other] for other in tree.siblings(node)]
        k = len(siblings) + 1
        some = [(sum(chosen), 1 / (k * comb(k - 1, j))) for j in range(k) for chosen in combinations(siblings, j)]
        found = [(known | more, p * q) for known, p in found for more, q in some]
    return found


# Where it matters most ---------------------------------------------------------------------


class _Search:
    """One question: samples of how groups are divided, taken where the squared error is expected to fall most.

    A sample of a group draws its surroundings C (of each group around it some siblings, as many as in a random order)
    and an order of its parts, and asks for every prefix T and the rest of the group, with C and with C's mirror image.
    Their differences leave only interactions of three and more groups to chance. It says that a part is worth f + s·V,
    V being the group's own value; of each node (as a part of its parent) the sums over the samples are kept.
    """

    def __init__(self, tree: Tree, session: Session, question: int):
        self.tree, self.session, self.question = tree, session, question
        self.rng = session.noise(question)
        self.change = float(session.full[question] - session.empty[question])
        self.back = np.argsort(tree.order)
        self.parent = np.maximum(tree.parent, 0)
        self.depths = [np.flatnonzero(np.array(tree.depth) == d) for d in range(1, max(tree.depth) + 1)]
        self.size = np.array(tree.stop) - tree.start
        self.parts = np.array([len(children) for children in tree.children])
        self.cost = np.where(np.arange(len(self.parts)) == 0, 2, 4) * (self.parts - 1)  # at the top nobody is around
        self.taken = np.zeros(len(self.parts), dtype=np.int64)
        self.f, self.s, self.ff, self.fs, self.ss = np.zeros((5, len(self.parts)))
        self.ways = np.where(self.parts > 0, np.inf, 0.0)
        self.patterns: dict[int, list[int]] = {}
        for node in np.flatnonzero(self.parts == 2).tolist():
            line = tree.lineage(node)
            if len(line) <= DEEPEST_LISTED and all(self.parts[tree.parent[one]] == 2 for one in line):
                self.ways[node] = 2 ** max(len(line) - 1, 0)
                self.patterns[node] = self.rng.permutation(int(self.ways[node])).tolist()

    def spend(self, budget: int) -> None:
        """Round by round, each on what the ones before have told."""
        while True:
            most = max(budget // ROUNDS, LEAST_ROUND)
            chosen, spent = [], 0
            for node, times in self._wanted():
                times = min(times, int((budget - spent) // self.cost[node]))
                if times and spent < most:
                    chosen += [node] * times
                    spent += times * int(self.cost[node])
            if not chosen:
                return
            self._ask(chosen)
            budget -= spent

    def _wanted(self) -> list[tuple[int, int]]:
        """Groups and how many samples more to take of them, the most worthwhile first.

        What an undivided group hides is judged by its own size and a little by its siblings', in the proportion that
        held for the groups divided so far.
        """
        worth = self._worth()
        squares = self._sums(np.square(worth))
        siblings = np.maximum(self.parts[self.parent] - 1, 1)
        around = (squares[self.parent] - np.square(worth)) / siblings
        around[0] = 0.0
        hidden = (np.square(worth) + NEIGHBOUR * around) / self.size
        even = worth[self.parent] * self.size / self.size[self.parent]
        between = self._sums(np.square(worth - even) / self.size)
        known = self.taken > 0
        share = between[known].sum() / max(hidden[known].sum(), 1e-300) if known.any() else 1.0
        variance = self._variances(worth)
        spread = self._sums(np.where(np.isnan(variance), np.square(worth), variance) / self.size)
        more = np.minimum(np.maximum(self.taken // 2, 1), self.ways - self.taken)
        refined = spread / np.maximum(self.taken, 1) * more / (self.taken + more + (more == 0))
        gain = np.where(known, refined, share * hidden) / np.maximum(self.cost * more, 1)
        reached = known[self.parent] | (np.arange(len(known)) == 0)
        able = np.flatnonzero(reached & (self.parts > 0) & (more > 0) & (gain > 0))
        # Three digits, so that no rounding of the model's decides between equals.
        rank = sorted(able.tolist(), key=lambda node: (-float(f"{gain[node]:.3g}"), node))
        return [(node, int(more[node])) for node in rank]

    def _ask(self, chosen: list[int]) -> None:
        drawn = [self._drawn(node) for node in chosen]
        coalitions = np.concatenate([masks for masks, _ in drawn])[:, self.back]
        found, at = self.session.values(coalitions, [self.question])[0], 0
        for node, (masks, order) in zip(chosen, drawn, strict=True):
            own = found[at : at + len(masks)].reshape(-1, 2, len(order) - 1)
            at += len(masks)
            odd = (own[:, 0] - own[:, 1]).mean(0) / 2
            places = np.array(self.tree.children[node])[order]
            fixed, share = np.diff(odd, prepend=0.0, append=0.0), np.zeros(len(order))
            fixed[-1] = -odd[-1]
            share[[0, -1]] = 0.5
            self.taken[node] += 1
            for kept, more in zip(
                (self.f, self.s, self.ff, self.fs, self.ss),
                (fixed, share, fixed * fixed, fixed * share, share * share),
                strict=True,
            ):
                kept[places] += more

    def _drawn(self, node: int) -> tuple[np.ndarray, np.ndarray]:
        """One sample: coalitions ``Bool[b, n]`` in the tree's order, and the order of the group's parts."""
        tree, children = self.tree, self.tree.children[node]
        order = self.rng.permutation(len(children))
        prefixes = np.zeros((len(children) - 1, len(self.back)), dtype=bool)
        for place, part in enumerate(order[:-1].tolist()):
            prefixes[place:, tree.start[children[part]] : tree.stop[children[part]]] = True
        inside = slice(tree.start[node], tree.stop[node])
        rests = prefixes.copy()
        rests[:, inside] = ~prefixes[:, inside]
        if node == 0:
            return np.concatenate([prefixes, rests]), order
        around = self._surroundings(node)
        mirror = ~around
        mirror[inside] = False
        return np.concatenate([prefixes | around, rests | around, prefixes | mirror, rests | mirror]), order

    def _surroundings(self, node: int) -> np.ndarray:
        """Who is there beside a group, ``Bool[n]``: of those that can be listed, one not asked yet."""
        tree, around = self.tree, np.zeros(len(self.back), dtype=bool)
        bits = self.patterns[node].pop() << 1 if node in self.patterns else None  # the mirror image turns the innermost
        for level, one in enumerate(tree.lineage(node)):
            siblings = tree.siblings(one)
            if bits is not None:
                some = siblings if bits >> level & 1 else []
            else:
                some = self.rng.permutation(siblings)[: self.rng.integers(len(siblings) + 1)].tolist()
            for other in some:
                around[tree.start[other] : tree.stop[other]] = True
        return around

    # What is known ---------------------------------------------------------------------------

    def _sums(self, numbers: np.ndarray) -> np.ndarray:
        """Over the parts of each group."""
        return np.bincount(self.parent[1:], numbers[1:], minlength=len(numbers))

    def _worth(self) -> np.ndarray:
        """Each node's value; parts of what was not divided share by their number of players."""
        worth, taken = np.full(len(self.parts), self.change), np.maximum(self.taken, 1)
        for nodes in self.depths:
            above = self.parent[nodes]
            divided = (self.f[nodes] + self.s[nodes] * worth[above]) / taken[above]
            even = worth[above] * self.size[nodes] / self.size[above]
            worth[nodes] = np.where(self.taken[above] > 0, divided, even)
        return worth

    def _variances(self, worth: np.ndarray) -> np.ndarray:
        """The variance of one sample of each node as a part of its group.

        What the group's own samples say is drawn towards what is usual for parts of that size, since the search goes
        on where they scattered and leaves those alone that agreed by luck. NaN where no group tells what is usual;
        0 where all surroundings were asked.
        """
        taken, value = self.taken[self.parent], worth[self.parent]
        mean = (self.f + self.s * value) / np.maximum(taken, 1)
        scatter = self.ff + 2 * value * self.fs + value**2 * self.ss - taken * np.square(mean)
        free, open_ = np.maximum(taken - 1, 0), taken < self.ways[self.parent]
        scatter = np.where(free > 0, np.maximum(scatter, 0.0), 0.0)
        scale = self._energy(worth)[self.parent]
        told = (free > 0) & open_
        told[0] = False
        squares = (free * scale)[told].sum()
        usual = scatter[told].sum() / squares * scale if squares > 0 else np.full(len(worth), np.nan)
        return np.where(open_, (scatter + PRIOR * usual) / (free + PRIOR), 0.0)

    def _energy(self, worth: np.ndarray) -> np.ndarray:
        """The sum of squares of the players' values in each node: unlike the node's own value it does not cancel.

        Drawn half-way towards that of the groups around it, since a group may look small by luck.
        """
        leaves = np.flatnonzero(self.parts == 0)  # in the tree's order
        upto = np.cumsum([0.0, *np.square(worth[leaves])])
        each = (upto[self.tree.stop] - upto[self.tree.start]) / self.size
        for nodes in self.depths:
            each[nodes] = (each[nodes] + each[self.parent[nodes]]) / 2
        return each * self.size

    def shared(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and standard errors of the players, ``Float64[n]`` each; NaN where the group was not divided."""
        worth = self._worth()
        variance, total, taken = self._variances(worth), np.zeros(len(worth)), np.maximum(self.taken, 1)
        left = 1 - self.taken / np.where(self.ways > 0, self.ways, np.inf)
        for nodes in self.depths:
            above = self.parent[nodes]
            own = np.square(self.s[nodes] / taken[above]) * total[above] + variance[nodes] * left[above] / taken[above]
            total[nodes] = np.where(self.taken[above] > 0, own, np.nan)
        leaves = np.flatnonzero(self.parts == 0)
        places = self.tree.order[np.array(self.tree.start)[leaves]]
        values, errors = np.zeros((2, len(places)))
        values[places], errors[places] = worth[leaves], np.sqrt(total[leaves])
        return values, errors

    def reached(self) -> dict[str, int]:
        """How many groups there are, how many were divided, and how many players stand in one that was not."""
        together = (self.parts == 0) & (self.taken[self.parent] == 0)
        return {
            "groups": int((self.parts > 0).sum()),
            "divided": int((self.taken > 0).sum()),
            "together": int(together.sum()),
        }
