"""What every method of explanation is: frozen settings and one function, ``estimate``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, final

from ..engine import engine
from ..engine.budget import Budget
from ..engine.estimate import Estimate
from ..engine.inside import Look, Places
from ..engine.lifting import lifted, restored
from ..engine.listener import Listener
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.manner import Manner
from ..problem.problem import Problem
from ..problem.removal import MOST_ROWS
from ..records.answer import Answer
from ..records.explanation import Explanation
from ..records.settings import Settings

if TYPE_CHECKING:
    from .smoothed import Smoothed


@dataclass(frozen=True)
class Method(Settings, ABC):
    """A method of explanation.

    A new one is one file with one class: declare what is below, write :meth:`estimate`. Batching, devices,
    float types, ragged rows, budgets, noise, caching, progress and repair are the engine's.

    Class attributes
    ----------------
    name: the file's name, in the field's spelling.
    title: the name as people write it.
    source: paper and equation.
    needs: capability types the model must have.
    kinds: the modalities it explains; empty means all.
    promises: axioms that the laws then test: ``"completeness"``, ``"null_player"``, ``"symmetry"``, ``"linearity"``,
        ``"implementation_invariance"``.
    answers: the record it answers with: an :class:`Explanation`, or another kind of answer.
    pooling: how element values become a player's: ``"sum"``, or ``"norm"`` for magnitudes.
    at_rows: True where it asks for ``session.slopes``: the pass that binds the target then gives them too.
    own_removal: what "absent" means where the method decides it and the problem's removal is left alone; "" otherwise.
    removes: False where nothing is ever absent for it: v(nobody) is then asked, and told as the record's ``base``, only
        where somebody said what "absent" means; else it is NaN.
    of_loss: True where its question is the loss: that is its target where the data carry labels and none is named.
    sampled: True where another seed gives another answer.
    background_rows: a background of more rows is reduced to so many; a method that draws single rows from it, instead
        of asking all of them for each evaluation, can take more.
    signed: False where values are magnitudes without direction.
    known_as: other names that people look for it by.
    default: whether an audit or comparison takes it where no methods are named.
    role: ``"method"``, or ``"control"`` for attributions that know nothing of the model.
    """

    title: ClassVar[str]
    source: ClassVar[str]
    needs: ClassVar[tuple[type, ...]] = ()
    kinds: ClassVar[tuple[str, ...]] = ()
    promises: ClassVar[tuple[str, ...]] = ()
    answers: ClassVar[type[Answer]] = Explanation
    pooling: ClassVar[str] = "sum"
    at_rows: ClassVar[bool] = False
    own_removal: ClassVar[str] = ""
    removes: ClassVar[bool] = True
    of_loss: ClassVar[bool] = False
    sampled: ClassVar[bool] = False
    background_rows: ClassVar[int] = MOST_ROWS
    signed: ClassVar[bool] = True
    known_as: ClassVar[tuple[str, ...]] = ()
    default: ClassVar[bool] = True
    role: ClassVar[str] = "method"

    @abstractmethod
    def estimate(self, session: Session) -> Estimate:
        """Contributions of the session's n players to each of its Q questions."""

    def manner(self, network: Callable[[], Network]) -> Manner | None:
        """The walk it asks for by ``session.walked``: the pass that binds the target then does it, where it can."""
        return None

    def look(self, places: Places) -> Look | None:
        """What it asks for by ``session.looked``: the pass that binds the target then gives it too."""
        return None

    def cost(self, players: int) -> float:
        """Evaluations per question for so many players, by default settings and without a budget."""
        return float(players)

    @final
    def smoothed(
        self, samples: int | None = None, noise: float = 0.15, how: Literal["mean", "variance", "square"] = "mean"
    ) -> Smoothed:
        """This method, asked about noisy copies of each row: see :class:`pellucid.methods.smoothed.Smoothed`."""
        from .smoothed import Smoothed  # it is a method itself

        return Smoothed(self, samples, noise, how)

    @final
    def explain(
        self,
        problem: Problem,
        *,
        seed: int = 0,
        budget: Budget | int | None = None,
        listener: Listener | None = None,
    ) -> Any:
        """Explain every row: a record of the kind in ``answers``; see :func:`pellucid.engine.engine.explain`."""
        asked = lifted(problem, self.needs)
        found = engine.explain(asked, self, seed=seed, budget=budget, listener=listener)
        return found if asked is problem else restored(found, problem, seed)
