"""Asymmetric Shapley values: only orders in which causes come before their effects are averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import ceil, log
from typing import Annotated, Any, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.errors import InputError, UnknownName, shorten
from ..records.settings import Range
from .method import Method

MOST_SETS = 2**15
"""Coalitions that causes-first orders pass through, up to which all are asked where no budget says otherwise."""
MOST_COUNTED = 2**17
"""Such coalitions up to which orders are drawn by counting; above, by a chain."""


@dataclass(frozen=True)
class AsymmetricShapley(Method):
    """The mean marginal contribution over the orders that agree with a causal order (Frye, Rowat & Feige 2020).

    Credit goes to causes: an effect earns only what it adds to them. All orders count alike; with no ``order`` it is
    Shapley's value. Exact where the coalitions that such orders pass through can be asked, else orders are drawn.
    Raises :class:`UnknownName` for a player that is not there and :class:`InputError` for an order in a circle.
    """

    order: Annotated[
        Any,
        "causes first: groups ((age, sex), (income,)), edges {age: [income]}, or text 'age, sex > income'; names or "
        "numbers of players, the others are free",
    ] = ()
    samples: Annotated[
        int | None, Range(3, 10_000_000), "evaluations per explained number, both ends counted; none: all, or 2n + 2048"
    ] = None

    name: ClassVar[str] = "asymmetric_shapley"
    title: ClassVar[str] = "Asymmetric Shapley values"
    source: ClassVar[str] = "Frye, Rowat & Feige 2020, arXiv 1910.06358, equation 9"
    promises: ClassVar[tuple[str, ...]] = ("completeness", "null_player", "linearity", "implementation_invariance")
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "order", _plainly(self.order))

    def estimate(self, session: Session) -> Estimate:
        values, errors = np.zeros((2, session.questions, session.n))
        exact, orders = [], []
        for before, questions in self._orders(session):
            design = session.design(_everything, before.tobytes(), session.n)
            given = self.samples or session.budget.allowance
            if design is not None and (not given or len(design[0]) <= given - 2):
                session.allowance(0, least=len(design[0]) + 2)
                ends = np.stack([session.empty[questions], session.full[questions]], axis=1)
                values[questions] = np.hstack([ends, session.values(design[0], questions)]) @ design[1]
                exact.append(True)
                continue
            found = self._drawn(session, before, questions)
            values[questions], errors[questions] = found[:2]
            exact.append(False)
            orders.append(found[2])
        notes = {"exact": all(exact), "orders": min(orders, default=0)}
        return Estimate(values, stderr=errors, notes=notes)

    def _orders(self, session: Session) -> list[tuple[np.ndarray, np.ndarray]]:
        """Who comes before whom, ``Bool[n, n]``, with the questions about rows whose players it speaks of."""
        everyone, shared = np.arange(session.questions), session.players.is_shared
        found: dict[bytes, tuple[np.ndarray, list[int]]] = {}
        for row in range(1 if shared else len(session)):
            before = _before(self.order, session.players.of(row))
            found.setdefault(before.tobytes(), (before, []))[1].append(row)
        return [
            (before, everyone if shared else everyone[np.isin(session.item(everyone), rows)])
            for before, rows in found.values()
        ]

    def _drawn(self, session: Session, before: np.ndarray, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """Values, standard errors ``Float64[Q, n]`` and the number of orders."""
        n = session.n
        least = max(self.samples or 0, n + 1)
        budget = self.samples or session.allowance(2 * n + 2048, least=least)
        session.allowance(budget, least=least)
        orders, apart = session.design(_some, before.tobytes(), n, max((budget - 2) // (n - 1), 1))
        total, squares = np.zeros((2, len(asked), n))
        ends = session.empty[asked, None, None], session.full[asked, None, None]
        for start in range(0, len(orders), apart):
            own = orders[start : start + apart]
            inside = np.argsort(own, axis=1)[:, None] <= np.arange(n - 1)[:, None]
            v = session.values(inside.reshape(-1, n), asked).reshape(len(asked), len(own), n - 1)
            steps = np.diff(np.concatenate([ends[0].repeat(len(own), 1), v, ends[1].repeat(len(own), 1)], 2), axis=2)
            one = np.take_along_axis(steps, np.argsort(own, axis=1)[None], 2).mean(1)
            total += one
            squares += one**2
        count = len(orders) // apart
        mean = total / count
        spread = np.maximum(squares / count - mean**2, 0.0) / max(count - 1, 1)
        return mean, np.sqrt(spread) if count > 1 else np.full_like(mean, np.nan), len(orders)

    def cost(self, players: int) -> float:
        return float(self.samples or (2**players if 2**players <= MOST_SETS else 2 * players + 2048))


# What was given ----------------------------------------------------------------------------


def _plainly(given: Any) -> tuple[Any, ...]:
    """An order as plain data: groups ``((a, b), (c,))``, or edges ``((a, (c, …)), …)``."""
    if isinstance(given, str):
        given = [[name.strip() for name in group.split(",") if name.strip()] for group in given.split(">")]
    if isinstance(given, Mapping):
        given = [(cause, _listed(effects)) for cause, effects in given.items()]
    if given is None or not isinstance(given, Sequence):
        given = () if given is None else (given,)
    if _are_edges(given):
        return tuple((cause, tuple(effects)) for cause, effects in given)
    groups = tuple(_listed(group) for group in given)
    strange = [one for group in groups for one in group if isinstance(one, bool) or not isinstance(one, (str, int))]
    if strange:
        raise InputError(
            f"{shorten(repr(strange[0]))} is neither the name nor the number of a player",
            fix='give groups (("age", "sex"), ("income",)) or edges {"age": ["income"]}',
        )
    return groups


def _listed(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple, set, frozenset)) else (given,)


def _are_edges(given: Sequence[Any]) -> bool:
    pairs = [isinstance(one, (list, tuple)) and len(one) == 2 and isinstance(one[1], (list, tuple)) for one in given]
    return bool(pairs) and all(pairs)


def _before(order: tuple[Any, ...], names: tuple[str, ...]) -> np.ndarray:
    """Who comes before whom among these players, ``Bool[n, n]``, what follows from it included."""
    before = np.zeros((len(names), len(names)), dtype=bool)
    if _are_edges(order):
        for cause, effects in order:
            for effect in effects:
                before[_place(cause, names), _place(effect, names)] = True
    else:
        groups = [[_place(one, names) for one in group] for group in order]
        for place, group in enumerate(groups):
            for later in groups[place + 1 :]:
                before[np.ix_(group, later)] = True
    edges = before.copy()
    for through in range(len(names)):
        before |= before[:, through, None] & before[None, through]
    if before.diagonal().any():
        circle = " → ".join(shorten(names[player], 30) for player in _circle(edges, before))
        raise InputError(f"the order goes in a circle: {circle}", fix="leave out one of these steps")
    return before


def _place(player: Any, names: tuple[str, ...]) -> int:
    if isinstance(player, int) and 0 <= player < len(names):
        return player
    if not isinstance(player, str) or player not in names:
        raise UnknownName.among("player", str(player), names)
    if names.count(player) > 1:
        raise InputError(f"two players are named {shorten(player)!r}", fix="say their numbers, from 0 on")
    return names.index(player)


def _circle(edges: np.ndarray, before: np.ndarray) -> list[int]:
    """A shortest walk along the edges from a player back to itself."""
    first = int(np.flatnonzero(before.diagonal())[0])
    walks = [[first]]
    while True:
        longer = [[*walk, int(step)] for walk in walks for step in np.flatnonzero(edges[walk[-1]])]
        closed = [walk for walk in longer if walk[-1] == first]
        if closed:
            return closed[0]
        walks = [walk for walk in longer if before[walk[-1], first] and len(set(walk)) == len(walk)][:1000]


# All orders --------------------------------------------------------------------------------


def _counted(before: np.ndarray, most: int) -> list[dict[int, int]] | None:
    """By size: the coalitions that hold every cause of their members, as bits, and how many orders lead to each.

    None where there are more than ``most``.
    """
    n = len(before)
    needs = [sum(1 << int(cause) for cause in np.flatnonzero(before[:, player])) for player in range(n)]
    sizes, count = [{0: 1}], 1
    for _ in range(n):
        larger: dict[int, int] = {}
        for held, ways in sizes[-1].items():
            for player in range(n):
                if not held >> player & 1 and needs[player] & ~held == 0:
                    larger[held | 1 << player] = larger.get(held | 1 << player, 0) + ways
        sizes.append(larger)
        count += len(larger)
        if count > most:
            return None
    return sizes


def _onward(sizes: list[dict[int, int]], n: int) -> dict[int, int]:
    """How many orders lead from each coalition to everyone."""
    ways = {(1 << n) - 1: 1}
    for smaller in reversed(sizes[:-1]):
        for held in smaller:
            ways[held] = sum(ways.get(held | 1 << player, 0) for player in range(n) if not held >> player & 1)
    return ways


def _everything(_: np.random.Generator, given: bytes, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """The coalitions ``Bool[b, n]`` on the way and weights ``Float64[2 + b, n]`` with φ = v · weights.

    v begins with nobody and everyone, which are known. None where there are too many coalitions.
    """
    sizes = _counted(_matrix(given, n), MOST_SETS)
    if sizes is None:
        return None
    onward, everyone = _onward(sizes, n), (1 << n) - 1
    inner = [held for size in sizes[1:-1] for held in size]
    place = {held: at for at, held in enumerate([0, everyone, *inner])}
    weights = np.zeros((len(place), n))
    for smaller, player in product(sizes[:-1], range(n)):
        for held, ways in smaller.items():
            larger = held | 1 << player
            if larger != held and larger in place:
                share = ways * onward[larger] / onward[0]
                weights[place[larger], player] += share
                weights[place[held], player] -= share
    coalitions = np.array([[held >> player & 1 for player in range(n)] for held in inner], dtype=bool)
    return coalitions.reshape(-1, n), weights


def _matrix(given: bytes, n: int) -> np.ndarray:
    return np.frombuffer(given, dtype=bool).reshape(n, n)


# Some orders -------------------------------------------------------------------------------


def _some(rng: np.random.Generator, given: bytes, n: int, count: int) -> tuple[np.ndarray, int]:
    """Uniformly drawn orders ``Int[count, n]`` that agree with who is before whom, and how many belong together.

    Where the players fall into groups one behind the other, each order is followed by the one with every group turned
    round (2 belong together); those who are bound to nobody else are mixed in at random.
    """
    before = _matrix(given, n)
    ranks = before.sum(0)
    if np.array_equal(before, ranks[:, None] < ranks) and count > 1:
        half = np.argsort(ranks + rng.random((count // 2, n)), axis=1)
        ends = np.searchsorted(np.sort(ranks), np.sort(ranks), side="left") + np.searchsorted(
            np.sort(ranks), np.sort(ranks), side="right"
        )
        turned = half[:, ends - 1 - np.arange(n)]
        return np.stack([half, turned], axis=1).reshape(-1, n), 2
    home = np.zeros(n, dtype=np.int64)
    bound = before | before.T | np.eye(n, dtype=bool)
    for player in range(n):  # the smallest player that each is bound to, through others too
        home[player] = player
    while not np.array_equal(home, spread := np.where(bound, home[None], n).min(1)):
        home = spread
    orders = np.argsort(rng.random((count, n)), axis=1)
    for part in np.unique(home):
        own = np.flatnonzero(home == part)
        places = np.nonzero(home[orders] == part)[1].reshape(count, len(own))
        inner = _of_component(rng, before[np.ix_(own, own)], count)
        np.put_along_axis(orders, places, own[inner], axis=1)
    return orders, 1


def _of_component(rng: np.random.Generator, before: np.ndarray, count: int) -> np.ndarray:
    n, ranks = len(before), before.sum(0)
    if np.array_equal(before, ranks[:, None] < ranks):
        return np.argsort(ranks + rng.random((count, n)), axis=1)
    sizes = _counted(before, MOST_COUNTED)
    return _by_chain(rng, before, count) if sizes is None else _by_counting(rng, sizes, n, count)


def _by_counting(rng: np.random.Generator, sizes: list[dict[int, int]], n: int, count: int) -> np.ndarray:
    """Each next player with the share of the orders that go on with it: exactly uniform."""
    onward, orders = _onward(sizes, n), np.zeros((count, n), dtype=np.int64)
    for order in orders:
        held = 0
        for place in range(n):
            able = [player for player in range(n) if not held >> player & 1 and held | 1 << player in onward]
            shares = [onward[held | 1 << player] / onward[held] for player in able]
            order[place] = able[min(int(np.searchsorted(np.cumsum(shares), rng.random())), len(able) - 1)]
            held |= 1 << int(order[place])
    return orders


def _by_chain(rng: np.random.Generator, before: np.ndarray, count: int) -> np.ndarray:
    """The chain of Karzanov & Khachiyan 1991: neighbours that are not bound change places, or not, by a fair coin.

    All pairs at even places at once, then all at odd ones, n² ln n times: n³ ln n single steps, more than twice what
    brings the chain of single steps near the uniform distribution (Wilson 2004, Annals of Applied Probability 14).
    """
    n = len(before)
    orders = np.tile(np.argsort(before.sum(0), kind="stable"), (count, 1))
    for _, start in product(range(ceil(n * n * log(n))), (0, 1)):
        left, right = orders[:, start : n - 1 : 2], orders[:, start + 1 :: 2]
        swap = ~before[left, right] & (rng.random(left.shape) < 0.5)
        orders[:, start : n - 1 : 2], orders[:, start + 1 :: 2] = (
            np.where(swap, right, left),
            np.where(swap, left, right),
        )
    return orders
