"""Thinned networks: a pass in which dropout is on and leaves out what numbers say, not what chance says.

Every call of dropout, wherever it stands in a module's code, goes through one of torch's functions, and a mode sees
them all: layers, functions, the weights of attention, what recurrent layers do between themselves.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..records.errors import ModelError

RANDOM = torch.Tag.nondeterministic_seeded
LEFT = -1.7580993408473766
"""What a unit that alpha dropout leaves out answers with: −λα of SELU (Klambauer et al. 2017, arXiv 1706.02515)."""
MOST = 2**28
"""Bytes of masks that are kept; beyond it they are made again."""


class Site(NamedTuple):
    """A call in the code: the module whose ``forward`` makes it, the function, the line."""

    path: str
    kind: str
    line: int

    def __str__(self) -> str:
        return f"{self.path or 'forward'} ({self.kind})"


class Call(NamedTuple):
    """One call of dropout in a pass: the share it leaves out where it is ``on``, the shape of what it decides on."""

    site: Site
    rate: float
    shape: tuple[int, ...]
    on: bool


@dataclass(frozen=True)
class Sites:
    """Where a network drops.

    Attributes
    ----------
    rates: the sites that drop in training, and their rates.
    axes: the axis that rows stand on in what each site is given; None where it is the same for all rows.
    off: sites that do not drop in training either.
    noise: where training draws at random in other ways.
    """

    rates: Mapping[Site, float] = field(default_factory=dict)
    axes: Mapping[Site, int | None] = field(default_factory=dict)
    off: frozenset[Site] = frozenset()
    noise: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(str, self.rates)))


class Stays(NamedTuple):
    """Where units stay (1) or not (0), and the share ``rate`` that is left out.

    ``units`` are ``[…, 1, k, lines, …]`` for k rows, whose lines stand on ``axis``, and the next k rows have the same;
    where that is None they are of the very shape of what they decide on.
    """

    units: Tensor
    rate: float
    axis: int | None = None

    def of(self, x: Tensor) -> Tensor:
        """What stays, the larger for what does not (Srivastava et al. 2014)."""
        return self._laid(x, lambda x: x * (self.units / (1 - self.rate) if self.rate < 1 else self.units))

    def of_normalised(self, x: Tensor) -> Tensor:
        """Alpha dropout (Klambauer et al. 2017): mean and variance stay those of a self-normalising network."""
        if self.rate >= 1:
            return self.of(x)
        a = ((1 - self.rate) * (1 + self.rate * LEFT**2)) ** -0.5
        return self._laid(x, lambda x: x * (a * self.units) + a * LEFT * (1 - self.units - self.rate))

    def _laid(self, x: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        """``change`` of what is seen as ``[…, groups of k rows, k, lines, …]``: nothing is made for each row."""
        if self.axis is None:
            return change(x)
        places = (-1, *self.units.shape[self.axis + 1 : self.axis + 3])
        return change(x.unflatten(self.axis, places)).flatten(self.axis, self.axis + 2)


Pick = Callable[[Tensor], Tensor]


class Unseen(Exception):
    """A pass came to dropout where no pass was seen to come before."""


class Masks:
    """The masks of one row: a fixed function of (seed, draw, site, number of the call, place in the row).

    A place has the same fate in rows of any length, so that a text that is filled up keeps its masks.
    """

    def __init__(self, seed: int, draws: int):
        self.seed, self.draws = seed, draws
        self._known: dict[Any, Tensor] = {}
        self._bytes = 0

    def of(self, words: tuple[Any, ...], shape: tuple[int, ...], rate: float, like: Tensor) -> Tensor:
        """``Bool[draws, *shape]``: True where a unit stays."""
        key = (words, shape, rate, like.device)
        if key not in self._known:
            drawn = [uniform((self.seed, draw, *words), shape) >= rate for draw in range(self.draws)]
            made = torch.from_numpy(np.stack(drawn)).to(like.device)
            if self._bytes + made.nbytes > MOST:
                self._known, self._bytes = {}, 0
            self._known[key] = made
            self._bytes += made.nbytes
        return self._known[key]


def uniform(words: tuple[Any, ...], shape: Sequence[int]) -> np.ndarray:
    """Numbers in [0, 1) ``Float64[*shape]`` that words and a place name: splitmix64 (Steele et al. 2014) of each."""
    start = blake2b(repr(words).encode(), digest_size=8).digest()
    found = np.frombuffer(start, np.uint64)
    for size in shape:
        found = _mixed(found[..., None] + (np.arange(size, dtype=np.uint64) + np.uint64(1)) * np.uint64(GOLDEN))
    return (found.reshape(tuple(shape)) >> np.uint64(11)) * 2.0**-53


GOLDEN = 0x9E3779B97F4A7C15


def _mixed(words: np.ndarray) -> np.ndarray:
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


# Modes -------------------------------------------------------------------------------------


class _Meeting(TorchFunctionMode, ABC):
    """Meets every call of dropout in a pass; ``paths`` are the network's modules by their ids."""

    def __init__(self, paths: Mapping[int, str]):
        super().__init__()
        self.paths = paths

    @abstractmethod
    def stays(self, kind: str, shape: Sequence[int], rate: float, on: bool, like: Tensor) -> Stays | None:
        """What stays of a tensor ``like`` this one, told for ``shape``; None where all of it does."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        meet = MET.get(func)
        return func(*args, **(kwargs or {})) if meet is None else meet(self, func, args, kwargs or {})

    def site(self, kind: str) -> Site:
        """Where the function that is being called is called from."""
        frame = sys._getframe(1)
        while frame is not None:
            if frame.f_code.co_varnames[:1] == ("self",):
                owner = frame.f_locals.get("self")
                if isinstance(owner, nn.Module) and id(owner) in self.paths:
                    return Site(self.paths[id(owner)], kind, frame.f_lineno)
            frame = frame.f_back
        return Site("", kind, 0)


class Looking(_Meeting):
    """Writes the calls down and leaves nothing out; ``noise`` is what :class:`Noticing` saw drawn at random."""

    def __init__(self, paths: Mapping[int, str]):
        super().__init__(paths)
        self.calls: list[Call] = []
        self.noise: list[str] = []

    def stays(self, kind: str, shape: Sequence[int], rate: float, on: bool, like: Tensor) -> None:
        self.calls.append(Call(self.site(kind), float(rate), tuple(shape), bool(on) and rate > 0))


class Noticing(TorchDispatchMode):
    """Writes down where else a pass draws at random."""

    def __init__(self, looking: Looking):
        super().__init__()
        self.looking = looking

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if RANDOM in getattr(func, "tags", ()):
            self.looking.noise.append(str(self.looking.site(func.name().split("::")[-1].split(".")[0])))
        return func(*args, **(kwargs or {}))


class Thinned(_Meeting):
    """One pass of ``count`` rows, each through the network that a draw leaves.

    ``pick`` takes of the masks of all draws ``[m, …]`` those of k rows ``[k, …]``; the next k rows have the same.
    """

    def __init__(self, paths: Mapping[int, str], sites: Sites, masks: Masks, count: int, pick: Pick):
        super().__init__(paths)
        self.sites, self.masks, self.count, self.pick = sites, masks, count, pick
        self.numbers: Counter[tuple[str, str]] = Counter()

    def stays(self, kind: str, shape: Sequence[int], rate: float, on: bool, like: Tensor) -> Stays | None:
        site = self.site(kind)
        if site in self.sites.off:
            return None
        if site not in self.sites.rates:
            raise Unseen(str(site))
        where = (site.path, site.kind)
        self.numbers[where] += 1
        rate = float(rate) or self.sites.rates[site]
        masks, axis = self._laid((*where, self.numbers[where]), site, list(shape), rate, like)
        return Stays(masks.to(like.dtype), rate, axis)

    def _laid(
        self, words: tuple[Any, ...], site: Site, shape: list[int], rate: float, like: Tensor
    ) -> tuple[Tensor, int | None]:
        """Masks along the axis of ``shape`` that rows stand on; None: they are of this very shape."""
        axis = self.sites.axes[site]
        if axis is None:
            return self.pick(self.masks.of(words, tuple(shape), rate, like))[0], None
        if shape[axis] % self.count:
            raise ModelError(
                f"dropout met {shape[axis]} lines of {self.count} rows", where=str(site), fix="explain row by row"
            )
        shape[axis] //= self.count
        masks = self.pick(self.masks.of(words, tuple(shape), rate, like)).movedim(0, axis)
        each = masks.shape[axis] == self.count
        return (masks.flatten(axis, axis + 1), None) if each else (masks.unsqueeze(axis), axis)


# Functions that drop -----------------------------------------------------------------------

Meet = Callable[[_Meeting, Any, tuple[Any, ...], dict[str, Any]], Any]


@dataclass(frozen=True)
class _Dropout:
    """A function that drops elements, or whole channels (``of_channels``), of its only tensor."""

    kind: str
    flag: str = "training"
    default: bool = True
    of_channels: bool = False
    alpha: bool = False
    in_place: bool = False

    def __call__(self, mode: _Meeting, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        given = dict(zip(("input", "p", self.flag, "inplace"), args, strict=False)) | kwargs
        x: Tensor = given["input"]
        shape = list(x.shape)
        if self.of_channels:
            lead = 1 if self.kind == "dropout1d" and x.ndim == 2 else 2
            shape[lead:] = [1] * (x.ndim - lead)
        stays = mode.stays(self.kind, shape, given.get("p", 0.5), given.get(self.flag, self.default), x)
        if stays is None:
            return x
        made = stays.of_normalised(x) if self.alpha else stays.of(x)
        return x.copy_(made) if self.in_place or given.get("inplace", False) else made


def _product(mode: _Meeting, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """``scaled_dot_product_attention``, which drops weights; it is written out, because fused it keeps them inside."""
    names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
    given = {"attn_mask": None, "dropout_p": 0.0, "is_causal": False} | dict(zip(names, args, strict=False)) | kwargs
    q, k, v, rate = given["query"], given["key"], given["value"], given["dropout_p"]
    if given.get("enable_gqa"):
        k, v = (part.repeat_interleave(q.shape[-3] // part.shape[-3], -3) for part in (k, v))
    lead = torch.broadcast_shapes(q.shape[:-2], k.shape[:-2])
    stays = mode.stays("attention", (*lead, q.shape[-2], k.shape[-2]), rate, rate > 0, q)
    if stays is None:
        return func(**given | {"dropout_p": 0.0})
    mask = given["attn_mask"]
    if given["is_causal"]:
        mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool, device=q.device).tril()
    if mask is not None and mask.dtype == torch.bool:
        mask = _hiding(~mask, q)
    return stays.of(_weights(q, k, mask, given.get("scale"))) @ v


def _weights(q: Tensor, k: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """The weights of attention; 0 for one who may look at nothing."""
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale)
    if mask is None:
        return scores.softmax(-1)
    blind = (mask == -torch.inf).all(-1, keepdim=True)
    return (scores + mask.masked_fill(blind, 0.0)).softmax(-1).masked_fill(blind, 0.0)


def _hiding(hidden: Tensor, like: Tensor) -> Tensor:
    """What is added to scores so that what is ``hidden`` gets no weight."""
    return torch.zeros_like(hidden, dtype=like.dtype).masked_fill(hidden, -torch.inf)


_ATTENTION = (
    "query", "key", "value", "embed_dim_to_check", "num_heads", "in_proj_weight", "in_proj_bias", "bias_k", "bias_v",
    "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training", "key_padding_mask", "need_weights",
    "attn_mask",
)  # fmt: skip


def _attention(
    mode: _Meeting, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Tensor, Tensor | None]:
    """``multi_head_attention_forward``, written out for the same reason."""
    given = {"training": True, "key_padding_mask": None, "need_weights": True, "attn_mask": None}
    given |= dict(zip(_ATTENTION, args, strict=False)) | kwargs
    alone = given["query"].ndim == 2
    q, k, v = _by_heads(given, alone)
    stays = mode.stays("attention", (*q.shape[:-1], k.shape[-2]), given["dropout_p"], given["training"], q)
    if stays is None:
        return func(**given | {"training": False})
    weights = stays.of(_weights(q, k, _told_to_hide(given, q, k.shape[-2])))
    out = F.linear((weights @ v).permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"])
    weights = weights.mean(1) if given.get("average_attn_weights", True) else weights
    if alone:
        out, weights = out.squeeze(1), weights.squeeze(0)
    return out, weights if given["need_weights"] else None


def _by_heads(given: Mapping[str, Any], alone: bool) -> list[Tensor]:
    """Queries, keys and values ``Float[b, heads, ·, E / heads]`` of what is given as ``Float[·, b, ·]``."""
    own, bias, found = given.get("use_separate_proj_weight", False), given["in_proj_bias"], []
    for place, (name, short) in enumerate((("query", "q"), ("key", "k"), ("value", "v"))):
        x = given[name].unsqueeze(1) if alone else given[name]
        weight = given[f"{short}_proj_weight"] if own else given["in_proj_weight"].chunk(3)[place]
        x = F.linear(x, weight, None if bias is None else bias.chunk(3)[place])
        more = given.get(f"bias_{short}")
        if more is not None:
            x = torch.cat([x, more.expand(1, *x.shape[1:])])
        x = x.unflatten(-1, (given["num_heads"], -1)).permute(1, 2, 0, 3)
        fixed = given.get(f"static_{short}")
        x = x if fixed is None else fixed.unflatten(0, x.shape[:2])
        found.append(torch.cat([x, torch.zeros_like(x[:, :, :1])], 2) if place and given["add_zero_attn"] else x)
    return found


def _told_to_hide(given: Mapping[str, Any], q: Tensor, keys: int) -> Tensor | None:
    """What the two masks of attention add to its scores; keys that it adds by itself are seen by all."""
    total: Tensor | None = None
    for name in ("attn_mask", "key_padding_mask"):
        mask = given[name]
        if mask is None:
            continue
        mask = _hiding(mask, q) if mask.dtype == torch.bool else mask
        if name == "key_padding_mask":
            mask = mask.reshape(-1, 1, 1, mask.shape[-1])
        elif mask.ndim == 3:
            mask = mask.unflatten(0, q.shape[:2])
        total = mask if total is None else total + mask
    return total if total is None else F.pad(total, (0, keys - total.shape[-1]))


def _recurrent(mode: _Meeting, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Recurrent layers on top of each other, which drop what each gives the next: run one by one."""
    packed = not isinstance(args[3], (bool, int))
    layers, rate, on = args[5:8] if packed else args[4:7]
    if layers == 1:
        return func(*args, **kwargs)
    if packed:
        if mode.stays("between layers", (1,), rate, on, args[0]) is None:
            return func(*args, **kwargs)
        raise ModelError(
            "dropout between recurrent layers cannot be kept on in packed sequences",
            where=str(mode.site("between layers")),
            fix="give the sequences filled up, or stochastic=False",
        )
    x, states, weights, has_bias, _, _, _, both, batch_first = args
    several = isinstance(states, (tuple, list))
    held, each, ways = (states if several else (states,)), len(weights) // layers, 1 + both
    ends: list[tuple[Tensor, ...]] = []
    for layer in range(layers):
        start = tuple(state[layer * ways : (layer + 1) * ways] for state in held)
        own = weights[layer * each : (layer + 1) * each]
        x, *end = func(x, start if several else start[0], own, has_bias, 1, 0.0, False, both, batch_first)
        ends.append(tuple(end))
        if layer < layers - 1:
            stays = mode.stays("between layers", x.shape, rate, on, x)
            x = x if stays is None else stays.of(x)
    return (x, *(torch.cat(parts) for parts in zip(*ends, strict=True)))


MET: dict[Any, Meet] = {
    F.dropout: _Dropout("dropout"),
    F.dropout1d: _Dropout("dropout1d", of_channels=True),
    F.dropout2d: _Dropout("dropout2d", of_channels=True),
    F.dropout3d: _Dropout("dropout3d", of_channels=True),
    F.alpha_dropout: _Dropout("alpha_dropout", default=False, alpha=True),
    F.feature_alpha_dropout: _Dropout("feature_alpha_dropout", default=False, of_channels=True, alpha=True),
    torch.dropout: _Dropout("dropout", "train"),
    torch.dropout_: _Dropout("dropout", "train", in_place=True),
    torch.feature_dropout: _Dropout("feature_dropout", "train", of_channels=True),
    torch.feature_dropout_: _Dropout("feature_dropout", "train", of_channels=True, in_place=True),
    torch.alpha_dropout: _Dropout("alpha_dropout", "train", alpha=True),
    torch.alpha_dropout_: _Dropout("alpha_dropout", "train", alpha=True, in_place=True),
    torch.feature_alpha_dropout: _Dropout("feature_alpha_dropout", "train", of_channels=True, alpha=True),
    torch.feature_alpha_dropout_: _Dropout(
        "feature_alpha_dropout", "train", of_channels=True, alpha=True, in_place=True
    ),
    F.scaled_dot_product_attention: _product,
    F.multi_head_attention_forward: _attention,
    torch.lstm: _recurrent,
    torch.gru: _recurrent,
    torch.rnn_tanh: _recurrent,
    torch.rnn_relu: _recurrent,
}  # pyright: ignore[reportAssignmentType]
"""Every function of torch through which dropout is done."""
