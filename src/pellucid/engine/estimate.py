"""What a method hands back: numbers per question and player, and what it decided on the way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from ..operations.manner import Manner
from ..records.answer import Answer
from ..records.messages import Caution
from .inside import Look, Places
from .walking import Network


@dataclass(frozen=True, eq=False)
class Estimate:
    """The answer to one session.

    Attributes
    ----------
    values: ``Float64[Q, n]`` (``[T, n]`` for an answer about all rows together; of another width where the record
        does not speak of each player).
    stderr: the same shape, or None for a method that does not sample.
    arrays: further arrays of the record that the method answers with, by the record's names: ``[Q, …]``.
    base: ``Float64[Q]`` where the method starts elsewhere than at v(nobody) (a path starts at f(mean), not at the
        mean of f); None otherwise.
    full: ``Float64[Q]`` where the method speaks of another number than the target itself (how far it moves from
        what it was: 0 with everyone present); None otherwise.
    notes: what was decided and reached, as data (steps used, local R², the estimator chosen).
    cautions: reasons to believe it less.
    pooling: how element values became a group's, where a setting decided it; None: as the method declares.
    complete: whether the values should add up to v(everyone) − v(nobody), likewise.
    """

    values: np.ndarray
    stderr: np.ndarray | None = None
    base: np.ndarray | None = None
    full: np.ndarray | None = None
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    pooling: str | None = None
    complete: bool | None = None


class Estimator(Protocol):
    """What the engine needs to know of a method."""

    name: ClassVar[str]
    needs: ClassVar[tuple[type, ...]]
    kinds: ClassVar[tuple[str, ...]]
    promises: ClassVar[tuple[str, ...]]
    answers: ClassVar[type[Answer]]
    pooling: ClassVar[str]
    at_rows: ClassVar[bool]
    own_removal: ClassVar[str]
    removes: ClassVar[bool]

    def estimate(self, session: Any) -> Estimate: ...

    def manner(self, network: Callable[[], Network]) -> Manner | None: ...

    def look(self, places: Places) -> Look | None: ...

    def settings(self) -> dict[str, Any]: ...
