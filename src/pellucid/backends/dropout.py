"""Monte Carlo dropout: a network with its dropout left on, as the mean of a fixed number of thinned networks.

Gal & Ghahramani (2016, arXiv 1506.02142) keep dropout on when a network is asked, and read the mean of several answers
and their spread. Each draw of masks is a network of its own with some of the weights. Here the draws are the same for
every row: their mean is one function of the row, which repeats itself, has gradients, and can be explained like any
other; drawn anew for each call, masks would be noise between a row and the same row with something absent.
"""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Self

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from ..problem.model import Differentiable, Members
from ..records.errors import InputError, ModelError, NotApplicable, shorten
from ..records.messages import Caution
from .thinning import Looking, Masks, Noticing, Pick, Site, Sites, Thinned, Unseen

DRAWS = 30
DRAW = "draw"
"""The tensor ``Int[b]`` by which rows say which draw each of them asks."""
SETTLED = (nn.modules.batchnorm._NormBase, nn.RReLU)
"""Layers of torch that training changes in ways that are not dropout."""
ALIKE = 1e-4
NAMED = 6
"""Places that a message names."""
_NUMBERS = count()
Ask = Callable[[Mapping[str, Tensor]], Tensor]


@dataclass(frozen=True)
class Draws:
    """How many thinned networks stand for one with its dropout on, and the seed of their masks.

    The mean of ``count`` draws is off the mean of all by spread / √count; another ``seed`` shows by how much.
    """

    count: int = DRAWS
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("count", self.count, 2), ("seed", self.seed, 0)):
            if type(value) is not int or value < least:
                raise InputError(f"{name} of Draws is a whole number from {least} on, not {value!r}")

    @classmethod
    def of(cls, given: Draws | bool | int) -> Draws | None:
        """``True`` is the usual number of draws, a number so many; None: dropout is off."""
        if isinstance(given, bool):
            return cls() if given else None
        return given if isinstance(given, Draws) else cls(given)


class Thinnable(Differentiable):
    """A network of torch modules whose dropout can be left on: it is then the mean of thinned ones.

    Attributes
    ----------
    dropping: how dropout is left on; None where it is off.
    fixed_mode: dropout or batch statistics cannot be switched off.
    was_training: whether layers that answer differently in training mode were in it.
    chosen: which of several outputs is explained where the user did not say.
    """

    dropping: Dropping | None = None
    fixed_mode: bool
    was_training: bool
    chosen: dict[str, str]

    @property
    @abstractmethod
    def layers(self) -> Mapping[str, nn.Module]:
        """The user's modules by path."""

    @property
    @abstractmethod
    def parts(self) -> list[nn.Module]:
        """All modules that a pass goes through."""

    @abstractmethod
    def picked(self, rows: Mapping[str, Tensor]) -> Tensor:
        """The outputs ``[b, K]`` of one pass."""

    def asked_by(self, ask: Ask, rows: Mapping[str, Tensor]) -> Tensor:
        """The outputs of rows, for which ``ask`` makes one pass; with dropout on, of the networks that it leaves."""
        return ask(rows) if self.dropping is None else self.dropping.outputs(self, ask, rows)

    def keeping_dropout(self, draws: Draws) -> Self:
        """The same network with its dropout left on.

        Raises :class:`ModelError` for one whose dropout cannot be reached.
        """
        if self.dropping is not None:
            raise InputError("this model keeps its dropout on already", fix="give the module itself to pellucid.wrap")
        if self.fixed_mode or any(isinstance(part, torch.jit.ScriptModule) for part in self.parts):
            raise ModelError(
                "the dropout of a scripted or exported program cannot be reached",
                where=self.name,
                fix="give the torch module as it was written, before it was scripted or exported",
            )
        return self.with_draws(Dropping.of(draws))

    def with_draws(self, dropping: Dropping) -> Self:
        """A copy that is asked about these draws."""
        found = copy.copy(self)
        found.dropping = dropping
        return found

    @property
    def members(self) -> Members | None:
        dropping = self.dropping
        if dropping is None or dropping.apart:
            return None
        return Members(self.with_draws(dropping.asked_apart), DRAW, dropping.draws.count)

    def cautions(self) -> list[Caution]:
        return [] if self.dropping is None else self.dropping.cautions()

    def refuse_several(self) -> None:
        """Raise :class:`NotApplicable` for the mean of several networks, each of which has layers of its own."""
        if self.dropping is not None:
            raise NotApplicable(
                f"{self.name} keeps its dropout on: {self.dropping.draws.count} networks, each with layers of its own",
                fix="wrap the module without stochastic= to look into it",
            )


@dataclass(eq=False)
class Dropping:
    """The draws of one network, and where it drops; found out by passes in both modes when it is first asked.

    Rows may say by :data:`DRAW` which one each of them asks; without it they ask for the mean of all. ``number`` tells
    this from all others there have been.
    """

    draws: Draws
    found: Found
    apart: bool = False
    number: int = field(default_factory=lambda: next(_NUMBERS))

    @classmethod
    def of(cls, draws: Draws) -> Dropping:
        return cls(draws, Found(Masks(draws.seed, draws.count)))

    @cached_property
    def asked_apart(self) -> Dropping:
        """The same draws, for rows that say which."""
        return Dropping(self.draws, self.found, apart=True)

    def outputs(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor]) -> Tensor:
        """The outputs ``[b, K]`` of rows. Raises :class:`ModelError` where nothing drops."""
        plain = {name: tensor for name, tensor in rows.items() if name != DRAW}
        if self.found.sites is None:
            self.found.look(model, ask, plain)
        try:
            return self._outputs(model, ask, plain, rows.get(DRAW))
        except Unseen as unseen:
            if get_proxy_mode() is not None:
                raise NotApplicable(f"dropout is called while operations are followed only: {unseen}") from unseen
        self.found.look(model, ask, plain)
        return self._outputs(model, ask, plain, rows.get(DRAW))

    def _outputs(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor], which: Tensor | None) -> Tensor:
        each, found, b = self.draws.count, self.found, _many(rows)
        if found.together and which is None:
            repeated = {name: tensor.repeat_interleave(each, 0) for name, tensor in rows.items()}
            outputs = found.thinned(model, ask, repeated, lambda masks: masks)
            return outputs.unflatten(0, (b, each)).mean(1)
        if which is None:
            return torch.stack([found.of_draw(model, ask, rows, draw) for draw in range(each)]).mean(0)
        if found.together:
            return found.thinned(model, ask, rows, lambda masks: masks[which])
        parts = torch.stack([found.of_draw(model, ask, rows, draw) for draw in which.unique().tolist()])
        return parts[torch.searchsorted(which.unique(), which), torch.arange(b, device=which.device)]

    def cautions(self) -> list[Caution]:
        """What is explained, and what of chance in training is not."""
        sites = self.found.sites
        if sites is None:
            return []
        found = [Caution.of("dropout_on", "note", draws=self.draws.count, places=_listed(sites.names))]
        if sites.noise:
            found.append(Caution.of("noise_off", "yellow", places=_listed(sites.noise)))
        return found


@dataclass(eq=False)
class Found:
    """What is known of a network that drops.

    ``together`` says that draws asked side by side answer as each alone, so that one pass can be of several.
    """

    masks: Masks
    sites: Sites | None = None
    together: bool = False
    version: tuple[int, ...] = ()

    def meet(self, version: tuple[int, ...]) -> None:
        """Forget where a network dropped whose parts or settings have changed."""
        if version != self.version:
            self.sites, self.version = None, version

    def look(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor]) -> None:
        """See where ``model`` drops in training, and that it comes there in evaluation too.

        Raises :class:`ModelError` where it drops nowhere, or somewhere in training only.
        """
        seen, known = _seen(model, ask, rows), self.sites or Sites()
        self.sites = Sites(
            {**known.rates, **seen.rates}, {**known.axes, **seen.axes}, known.off | seen.off,
            tuple(dict.fromkeys([*known.noise, *seen.noise])),
        )  # fmt: skip
        whole = model.fixed_batch is None and None not in self.sites.axes.values()
        self.together = whole and self._alike(model, ask, rows)

    def thinned(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor], pick: Pick) -> Tensor:
        assert self.sites is not None
        with Thinned(_paths(model), self.sites, self.masks, _many(rows), pick):
            return ask(rows)

    def of_draw(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor], draw: int) -> Tensor:
        return self.thinned(model, ask, rows, lambda masks: masks[draw : draw + 1])

    def _alike(self, model: Thinnable, ask: Ask, rows: Mapping[str, Tensor]) -> bool:
        """Whether two draws answer one row side by side as they do one after the other."""
        one = {name: tensor.detach()[:1] for name, tensor in rows.items()}
        two = {name: tensor.repeat_interleave(2, 0) for name, tensor in one.items()}
        try:
            with torch.no_grad():
                apart = torch.cat([self.of_draw(model, ask, one, draw) for draw in (0, 1)])
                beside = self.thinned(model, ask, two, lambda masks: masks[:2])
        except (torch.OutOfMemoryError, Unseen):
            raise
        except Exception:  # noqa: BLE001 — a network that takes one number of rows only may raise anything
            return False
        return apart.shape == beside.shape and torch.allclose(apart, beside, rtol=ALIKE, atol=ALIKE)


def _many(rows: Mapping[str, Tensor]) -> int:
    return len(next(iter(rows.values())))


def _paths(model: Thinnable) -> dict[int, str]:
    return {id(layer): path for path, layer in model.layers.items()}


def _seen(model: Thinnable, ask: Ask, rows: Mapping[str, Tensor]) -> Sites:
    """Where a network drops, from a pass in training mode and passes of different numbers of rows in evaluation."""
    many, failure = _many(rows), None
    for counts in dict.fromkeys([(1, 2), (many, 2 * many), (many,)]):
        few = [{name: t.detach()[:1].repeat(n, *[1] * (t.ndim - 1)) for name, t in rows.items()} for n in counts]
        try:
            with _in_training(model) as (paths, settle):
                trained = _looked(ask, few[-1], paths)
                settle()
                passes = [_looked(ask, part, paths) for part in few]
        except (torch.OutOfMemoryError, ModelError):
            raise
        except Exception as error:  # noqa: BLE001 — a stranger's code may take other numbers of rows, or labels
            failure = failure or error
            continue
        return _sites(trained, passes, counts)
    assert failure is not None
    raise ModelError(
        "where this network drops could not be seen",
        where=model.name,
        why=f"it fails in training mode: {type(failure).__name__}: {shorten(str(failure), 200)}",
        fix="stochastic=False explains it in evaluation mode",
    ) from failure


def _looked(ask: Ask, rows: Mapping[str, Tensor], paths: Mapping[int, str]) -> Looking:
    looking = Looking(paths)
    with Noticing(looking), looking:
        ask(rows)
    return looking


def _sites(trained: Looking, passes: list[Looking], counts: tuple[int, ...]) -> Sites:
    rates = {call.site: call.rate for call in trained.calls if call.on}
    shapes = [{call.site: call.shape for call in reversed(each.calls)} for each in passes]  # of each site's first call
    noise = tuple(name for name in dict.fromkeys(trained.noise) if name not in passes[-1].noise)
    missing = [site for site in rates if any(site not in seen for seen in shapes)]
    if missing:
        raise ModelError(
            "dropout is called in training only and cannot be kept on",
            where=_listed(tuple(map(str, missing))),
            fix="call it always and let it be told the mode: F.dropout(x, p, self.training)",
        )
    if not rates:
        raise ModelError(
            "no dropout to keep on: a pass through the network meets none with a rate above 0",
            why=f"what is drawn in training is no dropout: {_listed(noise)}" if noise else "",
            fix="leave stochastic= away; the network answers the same in both modes"
            if not noise
            else "stochastic=False explains it in evaluation mode",
        )
    off = frozenset(site for seen in shapes for site in seen if site not in rates)
    return Sites(rates, {site: _axis(site, shapes, counts) for site in rates}, off, noise)


def _axis(site: Site, shapes: list[dict[Site, tuple[int, ...]]], counts: tuple[int, ...]) -> int | None:
    """The axis that grew with the number of rows; the first one where only one number could be tried."""
    sizes = [seen[site] for seen in shapes]
    if len(counts) == 1:
        return 0
    grown = [axis for axis, (few, more) in enumerate(zip(*sizes, strict=True)) if few != more]
    if len(grown) > 1 or any(sizes[0][axis] * counts[1] != sizes[1][axis] * counts[0] for axis in grown):
        raise ModelError("which axis the rows stand on cannot be told where dropout is", where=str(site))
    return grown[0] if grown else None


@contextmanager
def _in_training(model: Thinnable) -> Iterator[tuple[dict[int, str], Callable[[], None]]]:
    """The network in training mode, but for layers whose training is no dropout; and how it is taken out of it."""
    was = model.was_training
    try:
        with model.untouched(), torch.no_grad():
            changed = [part for part in model.parts if not isinstance(part, SETTLED)]
            for part in changed:
                part.training = True

            def settle() -> None:
                for part in changed:
                    part.training = False

            yield _paths(model), settle
    finally:
        model.was_training = was


def _listed(names: tuple[str, ...]) -> str:
    more = f", … ({len(names)} in all)" if len(names) > NAMED else ""
    return ", ".join(shorten(name, 60) for name in names[:NAMED]) + more
