"""LIME: a straight line fitted to the model's answers around one row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import SWEEP, Session
from ..measures.line import Line, expected_overlap
from ..records.messages import Caution
from ..records.settings import Range
from .method import Method
from .neighbourhoods import APART, Distance, Kernel, Moved, Neighbourhood, Switches

POOR_FIT = 0.3
FIRST = {True: 512, False: 256}
"""Rows of the first round, for tables and for players on and off."""
MOST = {True: 20_000, False: 2_000}
"""Rows at which a row's rounds end, settled or not."""
SETTLED, UNSETTLED = 0.95, 0.8
"""The expected overlap of the first players with another draw's that ends the rounds, and that is worth a caution."""
DRAWS = 128
"""Other draws looked at to tell it."""


@dataclass(frozen=True)
class Lime(Method):
    """min_g Σ π(z) (f(z) − g(z))² + penalty · Ω(g), g linear (Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938, eq. 1).

    Columns of a table are varied around the row: numbers by their own spread (the background's, else 1), categories
    by drawing another background row's. Everywhere else players are switched on and off by the
    problem's removal. A value is the effect of the player's present state against the reference under
    the fitted line; ``report="weights"`` gives the line's weights per standard deviation instead. All targets of a
    row share its sample and its passes.

    Standard errors are robust ones, by drawn pair. In the notes: the local fit (R², error), the stability (the share
    of the ``top`` players that another draw is expected to find again) and the rows drawn, which by default are
    added row by row until that share is 0.95.
    """

    samples: Annotated[
        int | None,
        Range(8, 1_000_000),
        "rows drawn around each row; none: rounds until the first players are settled, to 20000 (2000 off tables)",
    ] = None
    kernel_width: Annotated[
        float | None, Range(1e-3, 1e3), "width of the proximity kernel; none: 0.75·√n (0.25 for players on and off)"
    ] = None
    distance: Annotated[
        Distance | None, "distance in the kernel; none: euclidean for tables, cosine for players on and off"
    ] = None
    penalty: Annotated[float, Range(0, 1e6), "ridge penalty on the weights"] = 1e-3
    intercept: Annotated[bool, "fit the line's height too, so that it may miss the row itself"] = False
    complexity: Annotated[int | None, Range(1, 10_000), "Ω: the most players with a weight; none: all"] = None
    selection: Annotated[
        Literal["highest_weights", "forward"], "which players they are: largest weights, or best one after the other"
    ] = "highest_weights"
    discretise: Annotated[bool, "vary numbers over quartiles of the background, as same or other bin"] = False
    report: Annotated[Literal["effects", "weights"], "effect against the reference, or weight per spread"] = "effects"
    top: Annotated[int, Range(1, 10_000), "how many first players are to be settled"] = 5

    name: ClassVar[str] = "lime"
    title: ClassVar[str] = "LIME"
    source: ClassVar[str] = "Ribeiro, Singh & Guestrin 2016, arXiv 1602.04938, equation 1 and algorithm 1"
    promises: ClassVar[tuple[str, ...]] = ("implementation_invariance",)
    sampled: ClassVar[bool] = True

    def estimate(self, session: Session) -> Estimate:
        if session.n == 1:
            change = session.full - session.empty
            exact = {"local_r2": np.ones(len(change)), "local_error": np.zeros(len(change))}
            return Estimate(change[:, None], stderr=np.zeros((len(change), 1)), notes=exact)
        table = session.kind == "table" and session.players.is_shared
        space = self._neighbourhood(session, table)
        found = _Found.of(session)
        for items in _blocks(space):
            self._settle(space, items, self._rounds(space, table), found)
        return found.estimate(session, min(self.top, session.n - 1))

    def cost(self, players: int) -> float:
        return float(self.samples or 5000)

    def _neighbourhood(self, session: Session, table: bool) -> Neighbourhood:
        """The rows to draw: as many as were asked for, else what the budget allows; both ends beside."""
        n = session.n
        if self.samples is not None:
            session.allowance(self.samples + 2, least=self.samples + 2)
            samples = self.samples
        else:
            least = n + 2 if table else min(n + 2, 2**n)
            samples = min(session.allowance(MOST[table] + 2, least=least + 2) - 2, MOST[table])
            if not table and 2**n <= FIRST[table]:
                samples = min(samples, 2**n)
        kernel = Kernel(
            self.distance or ("euclidean" if table else "cosine"),
            self.kernel_width or (0.75 * np.sqrt(n) if table else 0.25),
        )
        return Moved(session, samples, kernel, self.discretise) if table else Switches(session, samples, kernel)

    def _rounds(self, space: Neighbourhood, table: bool) -> list[int]:
        """How many rows there are after each round."""
        if self.samples is not None or space.exact:
            return [space.samples]
        counts = [max(FIRST[table], APART * space.session.n)]
        while counts[-1] < space.samples:
            counts.append(2 * counts[-1])
        return [min(count, space.samples) for count in counts]

    def _settle(self, space: Neighbourhood, items: np.ndarray, rounds: list[int], found: _Found) -> None:
        """Round after round for those of the rows ``items`` whose first players are not settled yet."""
        session, T = space.session, space.session.targets
        points, counts, known = np.zeros((0, session.n)), np.zeros(0), np.zeros((len(items) * T, 0))
        for start, stop in pairwise([0, *rounds]):
            new_points, new_counts = space.seen(int(items[0]), slice(start, stop))
            points, counts = np.vstack([points, new_points]), np.append(counts, new_counts)
            known = np.hstack([known, space.answers(items, slice(start, stop))])
            questions = (items[:, None] * T + np.arange(T)).ravel()
            line = Line.through(points, counts, self.penalty, self.intercept)
            self._fit(space, line, known - session.full[questions, None], questions, found)
            open_ = (found.stability[questions] < SETTLED).reshape(-1, T).any(1)
            if not open_.any():
                return
            items, known = items[open_], known[np.repeat(open_, T)]

    def _fit(self, space: Neighbourhood, line: Line, answers: np.ndarray, questions: np.ndarray, found: _Found) -> None:
        """Slopes, errors, fit and stability of ``questions`` whose changes are ``answers [q, b]``."""
        session, slopes = space.session, line.slopes(answers)
        n, count = session.n, self.complexity or session.n
        noise = session.design(_noise, n)
        moments = line.moments(answers) if count < n else None
        factors = space.effect if self.report == "effects" else np.ones_like(space.effect)
        residuals = None if moments is not None else line.residuals(answers, slopes)
        for place, question in enumerate(questions.tolist()):
            kept, own, slope = np.arange(n), line, slopes[place]
            if moments is not None:
                kept = line.chosen(slope, moments[place], count, self.selection == "forward")
                own = line.narrowed(kept)
                slope = own.slopes(answers[place, None])[0]
            left = own.residuals(answers[place, None], slope[None]) if residuals is None else residuals[place, None]
            factor = factors[question // session.targets, kept]
            shifts = np.zeros((1, len(kept))) if space.exact else own.shifts(left[0], space.paired) * factor
            found.put(question, kept, slope * factor, shifts, min(self.top, n - 1), noise)
            found.r2[question], found.error[question] = (part[0] for part in own.quality(answers[place, None], left))
        found.samples[questions] = answers.shape[1]


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found of each question so far; later rounds overwrite earlier ones."""

    values: np.ndarray
    errors: np.ndarray
    r2: np.ndarray
    error: np.ndarray
    stability: np.ndarray
    samples: np.ndarray

    @classmethod
    def of(cls, session: Session) -> _Found:
        wide, one = (session.questions, session.n), session.questions
        return cls(np.zeros(wide), np.zeros(wide), *(np.full(one, np.nan) for _ in range(4)))

    def put(
        self, question: int, kept: np.ndarray, values: np.ndarray, shifts: np.ndarray, top: int, noise: np.ndarray
    ) -> None:
        """Values and their errors for the players ``kept``; 0 without an error for those left out."""
        self.values[question], self.errors[question] = 0.0, np.nan
        self.values[question, kept] = values
        self.errors[question, kept] = np.sqrt(np.square(shifts).sum(0))
        first = min(top, len(kept) - 1)
        self.stability[question] = expected_overlap(values, shifts, first, noise) if first else np.nan

    def estimate(self, session: Session, top: int) -> Estimate:
        notes = {"local_r2": self.r2, "local_error": self.error, "samples": self.samples}
        notes |= {"stability": self.stability, "top": top}
        cautions = []
        total = len(session)
        poor = int((self.r2 < POOR_FIT).reshape(total, -1).any(1).sum())
        if poor:
            lowest = float(self.r2.min())
            cautions.append(Caution.of("poor_local_fit", "yellow", rows=poor, total=total, lowest=lowest))
        loose = int((self.stability < UNSETTLED).reshape(total, -1).any(1).sum())
        if loose:
            worst = {"lowest": float(np.nanmin(self.stability)), "samples": int(self.samples.max())}
            cautions.append(Caution.of("unsettled_top", "note", k=top, rows=loose, total=total, **worst))
        return Estimate(self.values, stderr=self.errors, notes=notes, cautions=tuple(cautions))


def _blocks(space: Neighbourhood) -> Iterator[np.ndarray]:
    """Rows whose answers are held at once; one by one where the line sees something else around each."""
    session = space.session
    size = max(SWEEP // (space.samples * session.targets), 1) if space.shared else 1
    for start in range(0, len(session), size):
        yield np.arange(start, min(start + size, len(session)))


def _noise(rng: np.random.Generator, n: int) -> np.ndarray:
    return rng.standard_normal((DRAWS, n))
