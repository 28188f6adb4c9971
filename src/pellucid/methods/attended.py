"""What methods of attention share: from tokens to players, the tokens the answer reads, and the erasure test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.attending import Attended, attention_of
from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..problem.model import Differentiable, Traceable
from ..records.amounts import Z
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method

SHARE, FEWEST_DRAWS, ENDS = 0.2, 10, 2
"""Of the tokens so many are erased; random sets are drawn at least so often; v(everyone) and v(nobody)."""
AT_ONCE = 2**24
"""Elements laid out at once."""


@dataclass(frozen=True, eq=False)
class Tokens:
    """What a method found: ``values`` ``Float64[Q, T]`` of the tokens, and ``maps`` ``[Q, ·, T]`` behind them."""

    values: np.ndarray
    maps: np.ndarray


@dataclass(frozen=True)
class AttentionMethod(Method):
    """How much each token is looked at: attention, not attribution.

    Tokens become players through what they see: an element belongs to the token whose values in the first attention
    feel it most (its patch, its step, its word), and a token's value is shared evenly by its elements. Tokens without
    elements, such as a class token, belong to nobody. An erasure test stands beside every answer: how much the target
    moves without the tokens ranked first, and without as many at random.
    """

    erased: Annotated[
        int | None, Range(1, 100_000), "tokens erased by the test, or players that hold several; none: a fifth"
    ] = None
    draws: Annotated[int, Range(FEWEST_DRAWS, 10_000), "random sets that the test compares with"] = FEWEST_DRAWS

    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    promises: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[bool] = False
    default: ClassVar[bool] = False

    def manner(self, network: Callable[[], Network]) -> None:
        """No walk; but what has no attention that can be followed is refused before a row is asked."""
        _ = attention_of(network()).chain

    def estimate(self, session: Session) -> Estimate:
        chain, owner = session.attention.chain, session.attention.owner
        found = self.tokens(session)
        values = by_player(session, found.values)
        told, cautions = erasure(session, values, self.name, self.erased, self.draws)
        bare = chain[0].answering - len(np.unique(owner[owner >= 0]))
        notes = {"layers": [each.name for each in chain], "tokens": chain[0].answering, "without_elements": bare}
        return Estimate(values, arrays={"maps": found.maps}, notes={**notes, **told}, cautions=cautions)

    @abstractmethod
    def tokens(self, session: Session) -> Tokens:
        """How much the answer looks at each token."""

    def cost(self, players: int) -> float:
        return 1.0 + ENDS + 1 + self.draws


def read(attention: Attended, joint: np.ndarray) -> np.ndarray:
    """What the answer reads of token by token values ``[Q, T, T]``: the mean over the tokens it reads, ``[Q, T]``."""
    return joint[:, attention.readers].mean(1)


def rolled_out(layers: Tensor) -> Tensor:
    """The product of the layers' matrices ``[b, L, T, T]``, the last one leftmost, ``[b, T, T]``."""
    joint = layers[:, 0]
    for place in range(1, layers.shape[1]):
        joint = layers[:, place] @ joint
    return joint


def with_residual(maps: Tensor, residual: float) -> Tensor:
    """Maps ``[…, T, T]`` beside the way around them: (1 − r)·A + r·I."""
    return (1 - residual) * maps + residual * torch.eye(maps.shape[-1], dtype=maps.dtype, device=maps.device)


def by_player(session: Session, tokens: np.ndarray) -> np.ndarray:
    """Values of tokens ``[Q, T]`` as those of players ``[Q, n]``: shared evenly by a token's elements, and added up."""
    owner, values = session.attention.owner, np.zeros((len(tokens), session.n))
    count = np.bincount(owner[owner >= 0], minlength=tokens.shape[1])
    shared = np.append(tokens / np.maximum(count, 1), np.zeros((len(tokens), 1)), axis=1)  # the last is nobody's
    for start in range(0, len(tokens), size := max(AT_ONCE // len(owner), 1)):
        chosen = np.arange(start, min(start + size, len(tokens)))
        values[chosen] = session.pool(shared[chosen][:, owner], questions=chosen)
    return values


def erasure(
    session: Session, values: np.ndarray, method: str, erased: int | None, draws: int
) -> tuple[dict[str, Any], tuple[Caution, ...]]:
    """How far the target moves without what ranks first by ``values`` ``[Q, n]``, and without as much drawn at random.

    Players of one token are erased together. The notes hold |v(everyone) − v(without them)| of each question, its mean
    over random sets, and that mean's standard error; the caution says the same of all questions together, gravely where
    attention does no better than chance.
    """
    Q, sets = session.questions, 1 + draws
    session.allowance(sets + ENDS, least=sets + ENDS)
    units, sizes = [units_of(session, question) for question in range(Q)], np.zeros(Q, dtype=int)
    present = np.ones((Q, sets, session.n), dtype=bool)
    for question, unit in enumerate(units):
        count, rng = int(unit.max()) + 1, session.noise(question)
        k = sizes[question] = min(erased or max(1, round(SHARE * count)), count)
        first = np.argsort(-np.bincount(unit, values[question]), kind="stable")[:k]
        for place in range(sets):
            present[question, place] = ~np.isin(unit, first if place == 0 else rng.choice(count, k, replace=False))
    moved = np.abs(session.full[:, None] - session.values(present))
    first, others = moved[:, 0], moved[:, 1:]
    notes = {
        "erased": sizes, "erasure_draws": draws, "erasure_first": first, "erasure_random": others.mean(1),
        "erasure_error": others.std(1, ddof=1) / np.sqrt(draws),
    }  # fmt: skip
    overall = others.mean(0)
    half = float(Z * overall.std(ddof=1) / np.sqrt(draws))
    told = {"method": method, "first": float(first.mean()), "random": float(overall.mean()), "half": half}
    better = told["first"] > told["random"] + half
    return notes, (
        Caution.of("attention_only" if better else "attention_idle", "note" if better else "yellow", **told),
    )


def units_of(session: Session, question: int) -> np.ndarray:
    """``Int[n]``: what is erased together with each player: the other players of its token, or nobody."""
    owner, labels = session.attention.owner, session.players.labels
    mine = labels[session.item(np.array([question]))[0] if len(labels) > 1 else 0]
    low, high = np.full(session.n, len(owner)), np.full(session.n, -1)
    known = mine >= 0
    np.minimum.at(low, mine[known], owner[known])
    np.maximum.at(high, mine[known], owner[known])
    apart = np.arange(session.n) + session.attention.attentions[0].answering
    return np.unique(np.where((low == high) & (low >= 0), low, apart), return_inverse=True)[1]
