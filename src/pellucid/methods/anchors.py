"""Anchors: the shortest widely valid rule that all but fixes the model's decision about a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..measures.intervals import clopper_pearson
from ..problem.removal import MANY_ROWS
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.messages import Caution
from ..records.rules import Rules
from ..records.settings import Range
from .method import Method
from .rule_search import Search, Wish
from .surroundings import Bins, Draws, Surroundings, held_by, surroundings_of

TOGETHER = 4096
"""Questions times players whose draws are held at once."""
FRESH, MOST = 1000, 50_000
SLACK, POOL = 0.05, 250
ROUNDING = 1e-6
FRESH_DRAWS = 1


@dataclass(frozen=True)
class Anchors(Method):
    """A rule A with P(the decision stays | A holds) ≥ threshold that covers as much as possible (Ribeiro et al. 2018).

    In a table a rule holds columns: numbers within the quartiles of the background between which they lie, everything
    else as it is; the rest is that of a background row drawn at random. Of pictures, words and rows with a single
    reference a rule says which players are present; each other one is there by a fair coin, and what is absent is
    filled in by the problem's removal. The decision is which output is the largest (whether it is the target); for one
    number, on which side of ``boundary`` it lies. Precision and its interval come from fresh draws that the search has
    not seen.
    """

    threshold: Annotated[float, Range(0.5, 1.0), "the least share of draws in which the decision must stay"] = 0.95
    delta: Annotated[float, Range(1e-6, 0.5), "chance that the search takes a worse rule for the best"] = 0.1
    tolerance: Annotated[float, Range(1e-3, 0.5), "differences of precision that the search may overlook"] = 0.15
    beam: Annotated[int, Range(1, 100), "rules of each length that are followed up"] = 4
    batch: Annotated[int, Range(1, 100_000), "draws by which a rule is tried at a time"] = 100
    most_conditions: Annotated[int | None, Range(0, 1000), "the longest rule; none: as long as needed"] = None
    boundary: Annotated[
        float | None, "where one number changes sides; none: 0 for a contrast, else its value with everything absent"
    ] = None
    fresh: Annotated[int | None, Range(1, 10_000_000), "draws that measure the chosen rule; none: 1000"] = None
    level: Annotated[float, Range(0.5, 0.999999), "confidence of the stated intervals"] = 0.99

    name: ClassVar[str] = "anchors"
    title: ClassVar[str] = "Anchors"
    source: ClassVar[str] = (
        "Ribeiro, Singh & Guestrin 2018, Anchors: High-Precision Model-Agnostic Explanations (AAAI), algorithms 1, 2; "
        "Kaufmann & Kalyanakrishnan 2013, Information complexity in bandit subset selection (COLT), KL-LUCB"
    )
    answers: ClassVar[type[Answer]] = Rules
    background_rows: ClassVar[int] = MANY_ROWS
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        around, decision = surroundings_of(session), _Decision(session, self.boundary)
        fresh, limit = self._shares(session)
        longest = session.n if self.most_conditions is None else self.most_conditions
        wish = Wish(
            self.threshold, self.delta, self.tolerance, SLACK, self.beam, min(self.batch, max(limit // 8, 1)), POOL,
            longest, limit,
        )  # fmt: skip
        parts, size = [], max(TOGETHER // session.n, 1)
        for start in range(0, session.questions, size):
            questions = np.arange(start, min(start + size, session.questions))
            around.attend(session.item(questions))
            search = Search(wish, around, decision.stays, questions)
            search.run()
            stays = _freshly(around, decision, questions, search.best, fresh)
            parts.append(self._described(around, search.best, stays, fresh) | {"samples": search.spent + fresh + 1.0})
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        notes = {"fresh": fresh, "drawn": "background rows" if isinstance(around, Bins) else "players on and off"}
        return Estimate(
            arrays.pop("members"),
            arrays=arrays | {"boundary": decision.shown, "positive": decision.positive},
            notes=notes,
            cautions=self._cautions(session, around, decision, arrays["precision"]),
        )

    def cost(self, players: int) -> float:
        return float(FRESH + 100 * (players + 1) * 2)

    def _shares(self, session: Session) -> tuple[int, int]:
        """Fresh draws, and the most that the search may ask; both ends and the row's own decision beside."""
        least = 2 * session.n + 16
        given = 0 if self.fresh is None else self.fresh
        allowed = session.allowance(MOST + given, least=least + given) - 3
        fresh = min(FRESH, allowed // 3) if self.fresh is None else self.fresh
        return fresh, allowed - fresh

    def _described(
        self, around: Surroundings, rules: np.ndarray, stays: np.ndarray, fresh: int
    ) -> dict[str, np.ndarray]:
        """What the record says of the rules ``Int[G, n]`` in hand: conditions, precision and coverage with
        intervals."""
        ends = np.array([around.limits(g, rule) for g, rule in enumerate(rules)])
        covered = [around.covered(g, rule[None]) for g, rule in enumerate(rules)]
        coverage = np.array([share[0] for share, _ in covered])
        within = np.array(
            [
                clopper_pearson(round(share * rows), rows, self.level) if rows else (share, share)
                for share, (_, rows) in zip(coverage.tolist(), covered, strict=True)
            ]
        )
        sure = np.array([clopper_pearson(int(count), fresh, self.level) for count in stays])
        return {
            "members": (rules >= 0).astype(np.float64), "above": ends[:, 0], "upto": ends[:, 1],
            "precision": stays / fresh, "lower": sure[:, 0], "upper": sure[:, 1],
            "coverage": coverage, "coverage_lower": within[:, 0], "coverage_upper": within[:, 1],
        }  # fmt: skip

    def _cautions(
        self, session: Session, around: Surroundings, decision: _Decision, precision: np.ndarray
    ) -> tuple[Caution, ...]:
        cautions, missed = [], (precision < self.threshold).reshape(len(session), -1).any(1)
        if missed.any():
            figures = {"rows": int(missed.sum()), "total": len(session), "lowest": float(precision.min())}
            cautions.append(Caution.of("rule_missed", threshold=self.threshold, **figures))
        if session.kind == "table" and not isinstance(around, Bins):
            cautions.append(Caution.of("rule_without_bins", "note"))
        if decision.assumed:
            cautions.append(Caution.of("rule_boundary", "note"))
        return tuple(cautions)


class _Decision:
    """What must stay: whether the target is the largest output, or on which side of a boundary a number lies.

    ``shown`` is the boundary of each question (NaN for classes), ``positive`` whether the row is the target's class, or
    above the boundary. What lies at a boundary up to rounding counts as above it.
    """

    def __init__(self, session: Session, boundary: float | None):
        classes, Q = session.bound.of_classes, session.questions
        if classes and boundary is not None:
            raise NotApplicable(
                f"a boundary of {boundary:g} was given, and the model decides between several outputs",
                fix='leave boundary= out, or ask for one number: target=("A", "B"), or a function of the outputs',
            )
        self.assumed = not classes and boundary is None and session.bound.against is None
        ends = session.empty if self.assumed else np.full(Q, boundary or 0.0)
        self.shown = np.full(Q, np.nan) if classes else ends
        everyone = np.arange(Q)
        self.session = session
        own = session.margins(np.full((Q, session.n), -1), everyone)
        self.limit = ends * (not classes) - ROUNDING * np.maximum(np.abs(own), np.abs(session.full))
        self.positive = own >= self.limit

    def stays(self, sources: np.ndarray, questions: np.ndarray) -> np.ndarray:
        """Whether the decision is the row's own, ``Bool[b]``, for mixed rows (see :meth:`Session.margins`)."""
        return (self.session.margins(sources, questions) >= self.limit[questions]) == self.positive[questions]


def _freshly(
    around: Surroundings, decision: _Decision, questions: np.ndarray, rules: np.ndarray, draws: int
) -> np.ndarray:
    """In how many of so many fresh draws the decision stays under each question's rule, ``Int[G]``."""
    drawn = Draws(around, [around.session.noise(question, FRESH_DRAWS) for question in questions.tolist()])
    drawn.more(draws)
    g, k = np.repeat(np.arange(len(questions)), draws), np.tile(np.arange(draws), len(questions))
    stays = decision.stays(around.sources(drawn, g, k, held_by(rules)[g]), questions[g])
    return stays.reshape(len(questions), draws).sum(1)
