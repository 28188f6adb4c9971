"""The parts of scikit-learn that are layers of a network, in float64: scalers, projections, linear models, MLPs.

A step is known by its exact class, never by a class that inherits from it: what a stranger changed is not seen here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class NoTwin(Exception):
    """A step has no twin; the sentence says which and why."""


class Affine(nn.Module):
    """Each column on its own: (x − center) · factor + shift, in that order, so that large centers cost no digits."""

    center: Tensor
    factor: Tensor
    shift: Tensor

    def __init__(self, center: Any, factor: Any, shift: Any, width: int):
        super().__init__()
        for name, value in (("center", center), ("factor", factor), ("shift", shift)):
            self.register_buffer(name, _doubles(np.broadcast_to(value, (width,))))

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.center) * self.factor + self.shift


class Chosen(nn.Module):
    """Some of the columns, in their order."""

    places: Tensor

    def __init__(self, places: Any):
        super().__init__()
        self.register_buffer("places", torch.from_numpy(np.array(places, dtype=np.int64)))

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.places)


class BothClasses(nn.Module):
    """The probability p of the second class as 1 − p, p."""

    def forward(self, p: Tensor) -> Tensor:
        return torch.cat([1 - p, p], dim=1)


class Shares(nn.Module):
    """Scores over their sum, as one-against-the-rest makes probabilities of them."""

    def forward(self, p: Tensor) -> Tensor:
        return p / p.sum(1, keepdim=True)


class Exponential(nn.Module):
    """exp, the inverse of a logarithmic link."""

    def forward(self, x: Tensor) -> Tensor:
        return x.exp()


Layers = list[tuple[str, nn.Module]]


def _doubles(values: Any) -> Tensor:
    return torch.from_numpy(np.array(values, dtype=np.float64))


def linear(weight: Any, bias: Any) -> nn.Linear:
    """A layer with these weights ``[K, D]`` and biases ``[K]`` (or one for all)."""
    weight = np.atleast_2d(np.asarray(weight, dtype=np.float64))
    layer = nn.Linear(weight.shape[1], weight.shape[0], device="meta")  # no first weights are drawn
    layer.weight = nn.Parameter(_doubles(weight), requires_grad=False)
    layer.bias = nn.Parameter(_doubles(np.broadcast_to(bias, (len(weight),))), requires_grad=False)
    return layer


# Steps that prepare the rows ---------------------------------------------------------------


def _standard(step: Any) -> Layers:
    center = 0.0 if step.mean_ is None or not step.with_mean else step.mean_
    scale = 1.0 if step.scale_ is None else step.scale_
    return [("", Affine(center, 1 / np.asarray(scale), 0.0, step.n_features_in_))]


def _min_max(step: Any) -> Layers:
    low, high = step.feature_range
    layers: Layers = [("", Affine(step.data_min_, step.scale_, low, step.n_features_in_))]
    return layers + ([("clip", nn.Hardtanh(float(low), float(high)))] if step.clip else [])


def _max_abs(step: Any) -> Layers:
    layers: Layers = [("", Affine(0.0, 1 / step.scale_, 0.0, step.n_features_in_))]
    return layers + ([("clip", nn.Hardtanh(-1.0, 1.0))] if getattr(step, "clip", False) else [])


def _robust(step: Any) -> Layers:
    center = 0.0 if step.center_ is None else step.center_
    scale = 1.0 if step.scale_ is None else step.scale_
    return [("", Affine(center, 1 / np.asarray(scale), 0.0, step.n_features_in_))]


def _projection(step: Any) -> Layers:
    weight = np.asarray(step.components_, dtype=np.float64)
    if getattr(step, "whiten", False):
        weight = weight / np.sqrt(step.explained_variance_)[:, None]
    mean = getattr(step, "mean_", None)
    return [("", linear(weight, 0.0 if mean is None else -weight @ mean))]


def _selection(step: Any) -> Layers:
    return [("", Chosen(step.get_support(indices=True)))]


def _nothing(step: Any) -> Layers:
    return []


PREPARING: dict[str, Callable[[Any], Layers]] = {
    "StandardScaler": _standard,
    "MinMaxScaler": _min_max,
    "MaxAbsScaler": _max_abs,
    "RobustScaler": _robust,
    "PCA": _projection,
    "TruncatedSVD": _projection,
    "VarianceThreshold": _selection,
    "SelectKBest": _selection,
    "SelectPercentile": _selection,
    "SelectFromModel": _selection,
    "RFE": _selection,
    "RFECV": _selection,
    "SequentialFeatureSelector": _selection,
}


# Steps that answer -------------------------------------------------------------------------

ACTIVATIONS: dict[str, Callable[[], nn.Module | None]] = {
    "identity": lambda: None,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "logistic": nn.Sigmoid,
    "softmax": lambda: nn.Softmax(dim=1),
    "exp": Exponential,
}


def _mlp(step: Any) -> Iterator[Layers]:
    """A multilayer perceptron; a single logistic output is the second of two classes, or the only one of many."""
    layers: Layers = []
    for place, (weight, bias) in enumerate(zip(step.coefs_, step.intercepts_, strict=True), start=1):
        last = place == len(step.coefs_)
        layers.append(("output" if last else f"hidden{place}", linear(weight.T, bias)))
        kind = step.out_activation_ if last else step.activation
        if kind not in ACTIVATIONS:
            raise NoTwin(f"its activation {kind!r} is not known here")
        if (activation := ACTIVATIONS[kind]()) is not None:
            layers.append((kind if last else f"{kind}{place}", activation))
    both: Layers = [("classes", BothClasses())] if hasattr(step, "classes_") and step.n_outputs_ == 1 else []
    yield layers + both


def _linear(step: Any) -> Iterator[Layers]:
    """A linear model under each of the heads that its class may have: which it is, a comparison tells."""
    try:
        line = linear(step.coef_, step.intercept_)
    except (AttributeError, TypeError, ValueError) as error:  # such as the weights of a kernel, or sparse ones
        raise NoTwin("its weights are no table of numbers") from error
    heads: list[Layers] = [[]]
    if hasattr(step, "predict_proba"):
        logistic: Layers = [("logistic", nn.Sigmoid())]
        shares: Layers = [*logistic, ("shares", Shares())]
        if line.out_features == 1:
            heads = [[*logistic, ("classes", BothClasses())]]
        else:
            heads = [shares] if _known(step) == "SGDClassifier" else [[("softmax", nn.Softmax(dim=1))], shares]
    elif not hasattr(step, "decision_function"):
        heads.append([("exp", Exponential())])
    for head in heads:
        yield [("output", line), *head]


ANSWERING: dict[str, Callable[[Any], Iterator[Layers]]] = {
    "MLPClassifier": _mlp,
    "MLPRegressor": _mlp,
} | dict.fromkeys(
    (
        "LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "ElasticNet", "ElasticNetCV", "Lars", "LarsCV",
        "LassoLars", "LassoLarsCV", "LassoLarsIC", "OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV",
        "BayesianRidge", "ARDRegression", "HuberRegressor", "QuantileRegressor", "TheilSenRegressor", "SGDRegressor",
        "PassiveAggressiveRegressor", "MultiTaskLasso", "MultiTaskElasticNet", "LinearSVR", "PoissonRegressor",
        "GammaRegressor", "TweedieRegressor", "LogisticRegression", "LogisticRegressionCV", "SGDClassifier",
        "RidgeClassifier", "RidgeClassifierCV", "Perceptron", "PassiveAggressiveClassifier", "LinearSVC",
        "LinearDiscriminantAnalysis",
    ),
    _linear,
)  # fmt: skip


def _known(step: Any) -> str:
    """The name of a class of scikit-learn's own, "" for any other."""
    kind = type(step)
    return kind.__name__ if kind.__module__.startswith("sklearn.") else ""


def refuse_without_layers(step: Any, last: bool) -> None:
    """Raise :class:`NoTwin` where a step, the ``last`` or one before it, is none of those known here."""
    if last and _known(step) not in ANSWERING:
        raise NoTwin(f"a {type(step).__name__} is no network and no linear model: it has no derivative here")
    if not last and not _is_nothing(step) and _known(step) not in PREPARING:
        raise NoTwin(f"a {type(step).__name__} has no derivative here")


def _is_nothing(step: Any) -> bool:
    return step is None or (isinstance(step, str) and step == "passthrough")


def with_heads(steps: list[tuple[str, Any]]) -> Iterator[nn.Module]:
    """The networks that a pipeline's steps could be: one for each head that its last step may have."""
    before: Layers = []
    for name, step in steps[:-1]:
        before += _named(name, [] if _is_nothing(step) else PREPARING[_known(step)](step))
    name, last = steps[-1]
    for layers in ANSWERING[_known(last)](last):
        yield nn.Sequential(OrderedDict([*before, *_named(name, layers)])).eval()


def _named(step: str, layers: Layers) -> Layers:
    """Layers under the name of their step; a step without a name leaves them theirs."""
    return [("_".join(filter(None, (step.replace(".", "·"), own))), layer) for own, layer in layers]


def typical_rows(module: nn.Module, width: int, count: int) -> Tensor:
    """Rows ``Float64[·, width]`` about the data that a network's scaler was fitted on, or about zero; seeded.

    Half of them are near and far by turns. Under a linear model the others have scores of about one: where all scores
    are large, softmax, shares and steps say the same.
    """
    parts, rng = list(module.children()), np.random.default_rng(0)
    scaler = parts[0] if isinstance(parts[0], Affine) else None
    rows = torch.from_numpy(rng.normal(size=(count, width)) * 10 ** rng.uniform(-3, 0.5, (count, 1)))
    lines = [part for part in parts if isinstance(part, nn.Linear)]
    if len(lines) == 1 and lines[0].in_features == width:
        scores = torch.from_numpy(rng.normal(size=(count, lines[0].out_features)))
        rows = torch.cat([rows, (scores - lines[0].bias) @ torch.linalg.pinv(lines[0].weight, rtol=1e-6).T])
    if scaler is None:
        return rows
    return scaler.center + (rows - scaler.shift) / torch.where(scaler.factor == 0, 1.0, scaler.factor)
