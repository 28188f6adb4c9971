"""Inspects a network over many rows: its units, activations, gradients, weights, and what drives single units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ..data.dataset import Dataset
from ..doors.question import as_problem
from ..engine.inside import Look, Seen
from ..engine.listener import Listener
from ..engine.opening import opened
from ..engine.session import Session
from ..measures.units import LEAST, alignment, plane, twins
from ..problem.model import Place, Traceable
from ..records.errors import InputError, NotApplicable
from ..records.inspection import QUANTILES, Inspection
from ..records.trace import Layer
from .preflight import preflight_of

TOP, SHOWN, EMBEDDED, FILTERS = 5, 6, 3, 64
"""Rows kept of each unit; units whose rows are pictured; layers whose embeddings are drawn; filters kept."""
BOUNDS = {"Sigmoid": (0.0, 1.0), "Hardsigmoid": (0.0, 1.0), "Tanh": (-1.0, 1.0), "Hardtanh": (-1.0, 1.0),
          "ReLU6": (0.0, 6.0), "Softsign": (-1.0, 1.0)}  # fmt: skip
NEAR, MOSTLY, STEP = 0.01, 0.95, 0.01
"""What share of the range counts as at a bound; at how many places that makes a unit saturated; how far a step is."""
FACTS = 5
SAMPLED = 65_536
"""Numbers of a layer at a row that its quantiles are taken of."""


def inspect(
    model: Any,
    rows: Any,
    *,
    layers: Sequence[str] | None = None,
    before: Any = None,
    target: Any = "predicted",
    embedding: Literal["pca", "tsne"] = "pca",
    seed: int = 0,
    listener: Listener | None = None,
) -> Inspection:
    """What the layers and units of a network do over ``rows``, and what its weights look like.

    Parameters
    ----------
    model, rows: as for :func:`pellucid.explain`; a Dataset's labels name the rows.
    layers: the places to look at; all of them where none are named.
    before: the same network at another checkpoint: its activations and weights stand beside.
    target: whose gradients are measured.
    embedding: how rows are laid out in a plane: principal components, or t-SNE (needs scikit-learn).

    Raises :class:`NotApplicable` for a model that cannot be looked into, :class:`UnknownName` for a layer.
    """
    if embedding not in ("pca", "tsne"):
        raise InputError(f"there is no embedding {embedding!r}", fix='choose "pca" or "tsne"')
    found = preflight_of(as_problem(model, rows, target=target, seed=seed), listener=listener, whole=False)
    seen = _Seen(*_looked(model, rows, layers, target, seed, listener))
    other = None if before is None else _Seen(*_looked(before, rows, layers, target, seed, listener))
    module = _module(seen.model)
    weights, norms, parameters = _weights(module)
    shown = seen.embedded()
    planes = [_plane(seen.of(place, 0), embedding, seed) for place in shown]
    return Inspection(
        layers=tuple(Layer(place.name, place.kind, (seen.sizes[i],)) for i, place in enumerate(seen.places)),
        parameters=parameters,
        **seen.facts,
        **_since(seen, other, module),
        weights=weights,
        norms=norms,
        embeddings=np.array([found for found, _ in planes]),
        variances=np.array([shares for _, shares in planes]),
        labels=_labels(rows, seen.outputs),
        shown_layers=tuple(seen.places[place].name for place in shown),
        filters=_filters(module),
        alignment=float("nan") if seen.line is None else seen.line,
        model=seen.model.name,
        seed=seed,
        preflight=found,
        notes={"embedding": embedding, "pictured": seen.pictured_name, "rows": len(seen.outputs)},
    )


def _looked(
    model: Any, rows: Any, layers: Sequence[str] | None, target: Any, seed: int, listener: Listener | None
) -> tuple[Any, ...]:
    """What is to be known of the model at the rows, all asked within one visit."""
    problem = as_problem(model, rows, target=target, seed=seed)
    with opened(problem, "inspect", seed=seed, listener=listener, ends=False) as run:
        if len(run.parts) != 1:
            raise NotApplicable("an inspection needs rows of one shape", why="these rows differ in length")
        ((order, session),) = run.parts
        places = session.places.all if layers is None else tuple(session.places.named(name) for name in layers)
        back = np.argsort(order)
        names = [place.name for place in places]
        told = session.activations(names, partial(_facts, places))[back]
        quantiles = session.activations(names, partial(_quantiles, places))
        slopes = line = None
        if session.differentiable:
            slopes = session.looked(Look(tuple(names), _Slopes(places))).reshape(len(back), -1)
            line = _aligned(session)
        sizes = [_units(place) for place in places]
        pictured = _pictured(session, problem, places, sizes, told, order)
        return problem.model, places, sizes, told, quantiles.mean(0), slopes, line, run.outputs[back], pictured


@dataclass(eq=False)
class _Seen:
    """What was seen of a model at the rows: :data:`FACTS` numbers of each unit of each place at each row."""

    model: Any
    places: tuple[Place, ...]
    sizes: list[int]
    told: np.ndarray
    quantiles: np.ndarray
    slopes: np.ndarray | None
    line: float | None
    outputs: np.ndarray
    pictured: dict[str, Any]

    @property
    def pictured_name(self) -> str | None:
        return self.pictured.get("layer")

    def of(self, place: int, fact: int) -> np.ndarray:
        """One fact about a place's units, ``[N, U]``: 0 mean, 1 largest, 2 least, 3 place of the largest, 4 bounded."""
        start = FACTS * sum(self.sizes[:place])
        return self.told[:, start : start + FACTS * self.sizes[place]].reshape(len(self.told), FACTS, -1)[:, fact]

    def embedded(self) -> list[int]:
        """The places whose embeddings are drawn: spread over those with several units."""
        wide = [place for place, size in enumerate(self.sizes) if size > 1] or [0]
        return sorted({wide[int(i)] for i in np.linspace(0, len(wide) - 1, EMBEDDED).round()})

    @property
    def facts(self) -> dict[str, np.ndarray]:
        """The record's arrays about activations, gradients and units."""
        units, dead, saturated, twin, top, values = [], [], [], [], [], []
        for place in range(len(self.places)):
            mean, high, low, _, bounded = (self.of(place, fact) for fact in range(FACTS))
            units.append(np.stack([mean.mean(0), mean.std(0), low.min(0), high.max(0)], 1))
            dead.append((high.max(0) == low.min(0)) & (len(high) >= LEAST))
            saturated.append(bounded.mean(0) >= MOSTLY)
            twin.append(twins(mean, high))
            order = np.argsort(-high, axis=0, kind="stable")[:TOP].T
            top.append(order)
            values.append(np.take_along_axis(high.T, order, 1))
        found = {"units": units, "dead": dead, "saturated": saturated, "twins": twin, "top": top, "top_values": values}
        arrays = {name: np.concatenate(parts) for name, parts in found.items()}
        arrays["activations"] = self.quantiles
        if self.slopes is not None:
            squares, felt = np.split(self.slopes[:, : len(self.places)], 1)[0], self.slopes[:, len(self.places) :]
            arrays["gradients"] = np.sqrt(squares.mean(0))
            edges = np.cumsum(self.sizes)[:-1]
            arrays["silent"] = np.array([(part.max(0) == 0).mean() for part in np.split(felt, edges, axis=1)])
        return arrays | {name: value for name, value in self.pictured.items() if name != "layer"}


def _units(place: Place) -> int:
    """How many units a place has: channels of maps, features of vectors and sequences."""
    return place.shape[place.channels if len(place.shape) > 1 else 0] if place.shape else 1


def _by_unit(place: Place, rows: Tensor) -> Tensor:
    """``[b, *shape]`` as ``[b, units, places]``."""
    if len(place.shape) < 2:
        return rows.reshape(len(rows), -1, 1)
    return (rows if place.channels == 0 else rows.movedim(-1, 1)).flatten(2)


def _facts(places: tuple[Place, ...], seen: Seen, _: Tensor) -> Tensor:
    """Of each unit of each place: mean, largest, least, where it is largest, the share of places at a bound."""
    found = []
    for place in places:
        values = _by_unit(place, seen[place.name])
        high, at = values.max(2)
        low, top = BOUNDS.get(place.kind, (-np.inf, np.inf))
        near = NEAR * (top - low) if np.isfinite(top - low) else 0.0
        bounded = ((values <= low + near) | (values >= top - near)).double().mean(2)
        found.append(torch.stack([values.mean(2), high, values.amin(2), at.double(), bounded], 1).flatten(1))
    return torch.cat(found, 1)


def _quantiles(places: tuple[Place, ...], seen: Seen, _: Tensor) -> Tensor:
    """The quantiles of each place's numbers at each row, ``[b, L, 9]``; of very many numbers, of an even part."""
    points = torch.tensor(QUANTILES, dtype=torch.float64)
    found = []
    for place in places:
        values = seen[place.name].flatten(1).double()
        step = -(-values.shape[1] // SAMPLED)
        found.append(torch.quantile(values[:, ::step], points.to(values.device), dim=1).T)
    return torch.stack(found, 1)


@dataclass(frozen=True)
class _Slopes:
    """The mean square of the gradient at each place, then the largest |gradient| at each unit of each place."""

    places: tuple[Place, ...]

    def __call__(self, activations: Seen, gradients: Seen) -> Tensor:
        squares = [gradients[place.name].flatten(1).double().square().mean(1, keepdim=True) for place in self.places]
        felt = [_by_unit(place, gradients[place.name]).abs().amax(2).double() for place in self.places]
        return torch.cat([*squares, *felt], 1)


def _aligned(session: Session) -> float:
    """How alike the gradients at a row and a little way to the next row are."""
    ones = np.ones(1)
    there = session.gradients(lambda questions, _: session.x[session.item(questions)], 1, ones)

    def beside(questions: Tensor, _: Tensor) -> Tensor:
        items = session.item(questions)
        return session.x[items] + STEP * (session.x[(items + 1) % len(session)] - session.x[items])

    return alignment(there, session.gradients(beside, 1, ones))


def _pictured(
    session: Session, problem: Any, places: tuple[Place, ...], sizes: list[int], told: np.ndarray, order: np.ndarray
) -> dict[str, Any]:
    """Of the last feature maps' most varied units: the pictures they are largest at, and which regions drove them."""
    maps = [place for place, each in enumerate(places) if len(each.shape) == 3]
    raw = problem.inputs.raw
    if not maps or not session.differentiable or problem.kind != "image" or not isinstance(raw, np.ndarray):
        return {}
    at, shape = maps[-1], next(iter(problem.inputs.shapes.values()))
    place, start = places[at], FACTS * sum(sizes[:at])
    own = told[:, start : start + FACTS * sizes[at]].reshape(len(told), FACTS, -1)
    high, where = own[:, 1], own[:, 3].astype(int)
    units = np.argsort(-high.std(0), kind="stable")[:SHOWN]
    top = np.argsort(-high[:, units], axis=0, kind="stable")[:TOP].T
    stands = np.argsort(order)  # of a row of the caller's, its place in the session
    regions = []
    for unit, rows in zip(units, top, strict=True):
        found = _felt(session.take(stands[rows].tolist()), place, int(unit), where[rows, unit])
        regions.append([_box(np.abs(one).reshape(shape)) for one in found])
    return {"shown_units": units, "regions": np.array(regions), "pictures": raw[top], "layer": place.name}


def _felt(part: Session, place: Place, unit: int, at: np.ndarray) -> np.ndarray:
    """The gradient at the input of one number of a unit, at another place of it for each row: ``Float64[N, D]``."""
    chosen = torch.as_tensor(at)

    def flow(held: Tensor, _: Tensor, questions: Tensor) -> Tensor:
        one = torch.zeros(held.shape, dtype=held.dtype, device=held.device)
        places, rows = chosen[part.item(questions)].to(one.device), torch.arange(len(one))
        if place.channels == 0:
            one.view(len(one), held.shape[1], -1)[rows, unit, places] = 1
        else:
            one.view(len(one), -1, held.shape[-1])[rows, places, unit] = 1
        return one

    found = part.through(place.name, flow, lambda questions, _: part.x[part.item(questions)], 1, np.ones(1))
    return found.reshape(len(at), part.targets, -1)[:, 0]


def _box(sizes: np.ndarray) -> tuple[int, int, int, int]:
    """The smallest box with all gradients of at least a fifth of the largest: top, left, bottom, right."""
    flat = sizes.max(0) if sizes.shape[0] <= 4 else sizes.max(-1)
    strong = np.argwhere(flat >= 0.2 * flat.max()) if flat.max() > 0 else np.array([[0, 0], np.array(flat.shape) - 1])
    (top, left), (bottom, right) = strong.min(0), strong.max(0) + 1
    return int(top), int(left), int(bottom), int(right)


def _module(model: Any) -> nn.Module:
    if not isinstance(model, Traceable):
        raise NotApplicable("the weights of this model cannot be seen", fix="give the torch module itself")
    return model.layers[""]


def _weights(module: nn.Module) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Quantiles ``[P, 9]`` and norms ``[P]`` of the parameters, and their names."""
    named = {name: value.detach().double().flatten().cpu().numpy() for name, value in module.named_parameters()}
    quantiles = [np.quantile(value, QUANTILES) for value in named.values()]
    return np.array(quantiles).reshape(-1, 9), np.array([np.linalg.norm(v) for v in named.values()]), tuple(named)


def _since(seen: _Seen, other: _Seen | None, module: nn.Module) -> dict[str, np.ndarray]:
    """What another checkpoint had instead. Raises :class:`InputError` where it is of another network."""
    if other is None:
        return {}
    then, now = (dict(each.named_parameters()) for each in (_module(other.model), module))
    if {name: value.shape for name, value in then.items()} != {name: value.shape for name, value in now.items()}:
        raise InputError("before= is another network", why="its parameters have other names or shapes")
    moved = []
    for name, value in now.items():
        start = then[name].detach().double()
        size = float(start.norm())
        moved.append(float((value.detach().double() - start).norm()) / size if size else float("nan"))
    quantiles, _, _ = _weights(_module(other.model))
    return {"activations_before": other.quantiles, "weights_before": quantiles, "moved": np.array(moved)}


def _filters(module: nn.Module) -> np.ndarray | None:
    """The first two-dimensional convolution's weights, at most 64 of its filters."""
    first = next((each for each in module.modules() if isinstance(each, nn.Conv2d) and max(each.kernel_size) > 1), None)
    return None if first is None else first.weight.detach()[:FILTERS].double().cpu().numpy()


def _plane(values: np.ndarray, how: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    found, shares = plane(values)
    if how == "pca":
        return found, shares
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise NotApplicable("t-SNE needs scikit-learn", fix="pip install 'pellucid[tables]'") from error
    if len(values) < 4:
        raise InputError("t-SNE needs at least four rows", fix='take embedding="pca"')
    perplexity = min(30.0, (len(values) - 1) / 3)
    return TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(values), np.full(2, np.nan)


def _labels(rows: Any, outputs: np.ndarray) -> tuple[str, ...]:
    """What the data call each row, else the output that is largest; "" for a single number."""
    if isinstance(rows, Dataset) and rows.labels is not None:
        return tuple(map(str, rows.labels))
    if outputs.shape[1] == 1:
        return ("",) * len(outputs)
    return tuple(f"output {column}" for column in outputs.argmax(1))
