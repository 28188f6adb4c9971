"""What the axes of a time series are: its channels, its steps, and the order in which they lie in a row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from typing import Any, Literal, TypeVar

from .errors import InputError, shorten

Array = TypeVar("Array", bound=Any)
Time = Literal["last", "first"]


@dataclass(frozen=True)
class SeriesAxes:
    """The axes of rows that are series, all of one shape.

    Attributes
    ----------
    channels: the names of the channels.
    steps: T, how many steps the longest row has.
    time: where the steps lie in a row of several axes: "last" ``[channels, time]``, "first" ``[time, channels]``.
    flat: True where rows have no axis of channels, ``[time]``.
    times: when each step is, as numbers or as texts such as ``"12:30"``; empty where only their order is known.
    unit: of times that are numbers, such as ``"s"``.
    units: of each channel's values; empty where they are not known.
    """

    channels: tuple[str, ...]
    steps: int
    time: Time = "last"
    flat: bool = False
    times: tuple[float, ...] | tuple[str, ...] = ()
    unit: str = ""
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.time not in ("last", "first"):
            raise InputError(f"time={self.time!r} does not say where the steps lie", fix='time="last" or time="first"')
        if self.flat and len(self.channels) != 1:
            raise InputError(f"{len(self.channels)} channels were named for series that have one")
        twice = next((name for name in self.channels if self.channels.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"two channels are named {shorten(twice)!r}", fix="give each channel a name of its own")
        if self.times and len(self.times) != self.steps:
            raise InputError(f"{len(self.times)} times were given for {self.steps} steps")
        if self.units and len(self.units) != len(self.channels):
            raise InputError(f"{len(self.units)} units were given for {len(self.channels)} channels")
        self._refuse_unsorted()

    def _refuse_unsorted(self) -> None:
        for place, (one, other) in enumerate(pairwise(self.clock)):
            if not (isfinite(one) and isfinite(other) and one < other):
                raise InputError(
                    f"the times do not rise: {shorten(other)} follows {shorten(one)}",
                    where=f"step {place + 1}",
                    fix="sort the steps by time, and give each time once",
                )

    @property
    def clock(self) -> tuple[float, ...]:
        """The times where they are numbers; empty where they are texts or not known."""
        return tuple(time for time in self.times if isinstance(time, (int, float)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        if self.flat:
            return (self.steps,)
        return (len(self.channels), self.steps) if self.time == "last" else (self.steps, len(self.channels))

    def by_channel(self, flat: Array) -> Array:
        """Elements ``[…, D]`` of an array or tensor, as they lie in a row, as ``[…, channels, steps]``."""
        laid = flat.reshape(*flat.shape[:-1], *((1, self.steps) if self.flat else self.shape))
        return laid.swapaxes(-1, -2) if self.time == "first" and not self.flat else laid

    def as_rows(self, grid: Array) -> Array:
        """``[…, channels, steps]`` as elements ``[…, D]`` in the order in which they lie in a row."""
        turned = grid.swapaxes(-1, -2) if self.time == "first" and not self.flat else grid
        return turned.reshape(*grid.shape[:-2], -1)

    def cut(self, steps: int) -> SeriesAxes:
        """The same axes of rows that end after so many steps."""
        return replace(self, steps=steps, times=self.times[:steps])

    def span(self, start: int, stop: int) -> str:
        """The steps from ``start`` to before ``stop`` in words: "steps 40–49", "12:00–12:30", "0.4–0.9 s"."""
        first, last = self.moment(start), self.moment(stop - 1)
        between = first if start == stop - 1 else f"{first}–{last}"
        if self.times:
            return f"{between} {self.unit}".strip()
        return f"step {between}" if start == stop - 1 else f"steps {between}"

    def moment(self, step: int) -> str:
        """When a step is: its time where times are known, else its number."""
        if not self.times:
            return str(step)
        when = self.times[step]
        return when if isinstance(when, str) else f"{when:.6g}"

    @property
    def is_named(self) -> bool:
        """Whether its channels have to be named to be told apart, or were given a name."""
        return len(self.channels) > 1 or self.channels != (VALUE,)

    def to_dict(self) -> dict[str, Any]:
        listed = {name: list(getattr(self, name)) for name in ("channels", "times", "units")}
        return {**vars(self), **listed}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> SeriesAxes:
        return cls(**{**data, **{name: tuple(data[name]) for name in ("channels", "times", "units")}})


VALUE = "value"
"""The name of the only channel of a series where nobody named it."""


def channel_names(count: int, given: Sequence[str] | None) -> tuple[str, ...]:
    """The channels' names, as given or by their numbers. Raises :class:`InputError` for another number of them."""
    if given is None:
        return (VALUE,) if count == 1 else tuple(f"channel {number}" for number in range(count))
    if isinstance(given, str) or len(given) != count:
        told = "one text" if isinstance(given, str) else f"{len(given)} names"
        raise InputError(f"{told} for {count} channels", fix="give one name for each channel")
    return tuple(map(str, given))
