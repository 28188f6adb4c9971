"""One training loop: the same numbers every time, resumable, and silent but for its listener.

All chance is drawn anew for each epoch from (seed, epoch), so a run that was interrupted and
resumed ends with the bits of one that was not, and nobody else's dice are touched.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..engine.listener import Listener, Silent
from ..records.errors import Cancelled, InputError, NotFiniteError, StoreError, UnknownName
from ..records.files import digest, digest_array, write_bytes

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Pair = tuple[Any, Any]
LOSSES = ("cross_entropy", "binary", "squared")
FORMAT = 1


@dataclass(frozen=True)
class Adam:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    rate: float = 1e-3
    decay: float = 0.0

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameters, lr=self.rate, weight_decay=self.decay)


@dataclass(frozen=True)
class Momentum:
    """Gradient descent with momentum."""

    rate: float = 1e-2
    momentum: float = 0.9
    decay: float = 0.0

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=self.rate, momentum=self.momentum, weight_decay=self.decay)


@dataclass(frozen=True)
class History:
    """What a training did: mean loss per epoch, and which epoch's weights the network has now.

    ``best`` counts from 0; it is the last epoch when there was no validation. ``stopped`` says
    that patience ran out before the epochs did. ``seconds`` include those before a resumption.
    """

    losses: tuple[float, ...] = ()
    validation: tuple[float, ...] = ()
    best: int = -1
    seconds: float = 0.0
    stopped: bool = False

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> History:
        return cls(**{**data, "losses": tuple(data["losses"]), "validation": tuple(data["validation"])})


@dataclass
class _Progress:
    """What changes from epoch to epoch, and what a checkpoint therefore holds."""

    history: History = field(default_factory=History)
    best: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class _Plan:
    """What does not change during a training."""

    module: nn.Module
    rows: torch.Tensor
    labels: torch.Tensor
    validation: tuple[torch.Tensor, torch.Tensor] | None
    loss: Loss
    batch_size: int
    seed: int
    device: torch.device


def fresh(factory: Callable[..., nn.Module], seed: int = 0, /, **arguments: Any) -> nn.Module:
    """A network with first weights drawn from ``seed``; the global random state stays as it was."""
    with _dice(seed, torch.device("cpu")):
        return factory(**arguments)


def fit(
    module: nn.Module,
    data: Pair,
    loss: Literal["cross_entropy", "binary", "squared"] | Loss = "cross_entropy",
    *,
    epochs: int,
    seed: int = 0,
    batch_size: int = 64,
    optimiser: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] | None = None,
    validation: Pair | None = None,
    class_weights: Literal["balanced"] | Sequence[float] | None = None,
    listener: Listener | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    patience: int | None = None,
) -> History:
    """Train ``module`` in place and leave it in evaluation mode.

    Parameters
    ----------
    data: rows ``[N, ...]`` and labels ``[N]`` or ``[N, K]``, arrays or tensors.
    loss: "cross_entropy" (class numbers), "binary" (0 and 1 against one logit), "squared", or a
        function of outputs and labels that returns the mean over the batch.
    optimiser: :class:`Adam` (the default), :class:`Momentum`, or a function of the parameters.
    validation: rows and labels of their own; the weights of the epoch with the smallest loss on
        them are kept.
    class_weights: one per class, or "balanced" (inverse frequency); for the named class losses.
    checkpoint: a file (safetensors with a JSON header) written after each epoch. When it exists
        and belongs to the same network, data and settings, training goes on from it.
    patience: stop after so many epochs without a smaller validation loss.

    Raises :class:`InputError` for data that do not fit, :class:`NotFiniteError` when the loss is
    no longer a number, :class:`Cancelled`, and :class:`StoreError` for a foreign checkpoint.
    """
    listener, optimiser = listener or Silent(), optimiser or Adam()
    if patience is not None and validation is None:
        raise InputError("patience needs validation data", fix="pass validation=(rows, labels)")
    if epochs < 0 or batch_size < 1:
        raise InputError(f"{epochs} epochs in batches of {batch_size} cannot be trained")
    plan, weights = _planned(module, data, validation, loss, class_weights, batch_size, seed)
    engine = optimiser([parameter for parameter in module.parameters() if parameter.requires_grad])
    key = _key(plan, loss, optimiser, weights) if checkpoint is not None else ""
    progress = _resumed(checkpoint, key, module, engine)
    listener.started("training", epochs)
    try:
        listener.advanced(len(progress.history.losses))
        while len(progress.history.losses) < epochs and not progress.history.stopped:
            _epoch(plan, engine, progress, listener, patience)
            if checkpoint is not None:
                _keep(checkpoint, key, module, engine, progress)
            listener.advanced()
    finally:
        module.eval()
        listener.finished()
    if progress.best:
        module.load_state_dict(progress.best)
    return progress.history


def _planned(
    module: nn.Module,
    data: Pair,
    validation: Pair | None,
    loss: str | Loss,
    class_weights: Any,
    batch_size: int,
    seed: int,
) -> tuple[_Plan, torch.Tensor | None]:
    """The plan of a training, its data checked and in the network's precision."""
    first = next((parameter for parameter in module.parameters() if parameter.is_floating_point()), torch.zeros(0))
    rows, labels = _pair(data, loss, "data", first.dtype)
    held_out = _pair(validation, loss, "validation", first.dtype) if validation is not None else None
    weights = _class_weights(class_weights, labels, loss, first.dtype)
    function = _loss(loss, weights, first.device)
    return _Plan(module, rows, labels, held_out, function, batch_size, seed, first.device), weights


def _epoch(
    plan: _Plan, engine: torch.optim.Optimizer, progress: _Progress, listener: Listener, patience: int | None
) -> None:
    """One pass over the rows, and the entry it makes in the history."""
    begun, history = time.perf_counter(), progress.history
    number = len(history.losses)
    with _dice(digest(str(plan.seed), str(number)), plan.device):
        loss = _pass(plan, engine, number, listener)
    best, judged, stopped = number, history.validation, False
    if plan.validation is not None:
        judged = (*judged, _judge(plan))
        if judged[-1] < min(judged[:-1], default=math.inf):
            progress.best = {name: value.detach().clone() for name, value in plan.module.state_dict().items()}
        else:
            best = history.best
        stopped = patience is not None and number - best >= patience
    seconds = history.seconds + time.perf_counter() - begun
    progress.history = History((*history.losses, loss), judged, best, seconds, stopped)


def _pass(plan: _Plan, engine: torch.optim.Optimizer, number: int, listener: Listener) -> float:
    """The mean loss over one shuffled pass, each batch followed by a step."""
    plan.module.train()
    count, total = len(plan.rows), 0.0
    # Near-equal batches: a last batch of one row would break batch norm, a short one would weigh too much.
    for index in torch.randperm(count).tensor_split(math.ceil(count / plan.batch_size)):
        if listener.cancelled():
            raise Cancelled("the training was stopped", where=f"epoch {number}")
        engine.zero_grad(set_to_none=True)
        loss = plan.loss(plan.module(plan.rows[index].to(plan.device)), plan.labels[index].to(plan.device))
        if not torch.isfinite(loss):
            raise NotFiniteError(
                f"the loss became {loss.item()}", where=f"epoch {number}", fix="lower the rate, or scale the inputs"
            )
        loss.backward()
        engine.step()
        total += loss.item() * len(index)
    return total / count


def _judge(plan: _Plan) -> float:
    """The mean validation loss in evaluation mode."""
    assert plan.validation is not None
    rows, labels = plan.validation
    plan.module.eval()
    total = 0.0
    with torch.no_grad():
        for index in torch.arange(len(rows)).tensor_split(math.ceil(len(rows) / max(plan.batch_size, 256))):
            outputs = plan.module(rows[index].to(plan.device))
            total += plan.loss(outputs, labels[index].to(plan.device)).item() * len(index)
    if not math.isfinite(total):
        raise NotFiniteError(f"the validation loss became {total}", fix="lower the rate, or scale the inputs")
    return total / len(rows)


@contextmanager
def _dice(seed: int | str, device: torch.device) -> Iterator[None]:
    """Within, torch's dice are cast from ``seed``; after, they lie as they lay."""
    number = seed if isinstance(seed, int) else int(seed[:15], 16)
    devices = [device] if device.type == "cuda" else []
    with (
        torch.random.fork_rng(devices=devices),
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        torch.default_generator.manual_seed(number)  # torch.manual_seed would reach into every GPU as well
        for one in devices:
            with torch.cuda.device(one):
                torch.cuda.manual_seed(number)
        yield


def _pair(data: Pair, loss: Any, name: str, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and labels as tensors of the types that the network and the loss need."""
    rows, labels = (part if torch.is_tensor(part) else torch.as_tensor(np.array(part)) for part in data)
    if len(rows) != len(labels) or len(rows) == 0:
        raise InputError(f"{name} has {len(rows)} rows and {len(labels)} labels")
    if rows.is_floating_point():
        broken = ~torch.isfinite(rows).reshape(len(rows), -1).all(1)
        if broken.any():
            raise NotFiniteError(f"{name} holds NaN or infinity", where=f"row {int(broken.nonzero()[0])}")
        rows = rows.to(dtype)
    if loss == "cross_entropy":
        labels = labels.long()
    elif loss in LOSSES or labels.is_floating_point():
        labels = labels.to(dtype)
    return rows, labels


def _class_weights(asked: Any, labels: torch.Tensor, loss: Any, dtype: torch.dtype) -> torch.Tensor | None:
    """One weight per class; "balanced" gives every class the same sum."""
    if asked is None:
        return None
    if loss not in ("cross_entropy", "binary"):
        raise InputError("class weights need a loss over classes", fix="pass loss='cross_entropy' or 'binary'")
    if not isinstance(asked, str):
        return torch.as_tensor(asked, dtype=dtype)
    if asked != "balanced":
        raise UnknownName.among("class weighting", asked, ("balanced",))
    counts = torch.bincount(labels.long().flatten(), minlength=2).to(dtype)
    return torch.where(counts > 0, counts.sum() / (counts > 0).sum() / counts.clamp(min=1), 0.0)


def _loss(loss: str | Loss, weights: torch.Tensor | None, device: torch.device) -> Loss:
    """The function behind a loss's name."""
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise UnknownName.among("loss", loss, LOSSES)
    weights = weights.to(device) if weights is not None else None

    def cross_entropy(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(outputs, labels, weight=weights)

    def binary(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        labels = labels.reshape(outputs.shape)
        each = weights[labels.long()] if weights is not None else None
        return functional.binary_cross_entropy_with_logits(outputs, labels, weight=each)

    def squared(outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(outputs, labels.reshape(outputs.shape))

    return {"cross_entropy": cross_entropy, "binary": binary, "squared": squared}[loss]


# ---------------------------------------------------------------- checkpoints


def _key(plan: _Plan, loss: Any, optimiser: Any, weights: torch.Tensor | None) -> str:
    """What makes two trainings the same, but for the number of epochs and the patience."""
    tensors = [plan.rows, plan.labels, *(plan.validation or ()), *(() if weights is None else (weights,))]
    begin = [value for value in plan.module.state_dict().values() if isinstance(value, torch.Tensor)]
    name = loss if isinstance(loss, str) else f"{loss.__module__}:{getattr(loss, '__qualname__', type(loss).__name__)}"
    chosen = repr(optimiser) if hasattr(optimiser, "__dataclass_fields__") else getattr(optimiser, "__qualname__", "")
    return digest(
        str(plan.seed),
        str(plan.batch_size),
        name,
        chosen,
        ",".join(plan.module.state_dict()),
        *map(_hash, tensors + begin),
    )


def _hash(tensor: torch.Tensor) -> str:
    plain = tensor.detach().cpu().contiguous()
    return digest_array(plain.view(torch.uint8).numpy() if plain.dtype == torch.bfloat16 else plain.numpy())


def _keep(
    path: str | os.PathLike[str], key: str, module: nn.Module, engine: torch.optim.Optimizer, progress: _Progress
) -> None:
    """Write everything that the next epoch needs, in one file and one step."""
    from safetensors.torch import save

    tensors = {f"now/{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in progress.best.items()}
    plain: dict[str, dict[str, Any]] = {}
    for index, state in engine.state_dict()["state"].items():
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                tensors[f"optimiser/{index}/{name}"] = value
            else:
                plain.setdefault(str(index), {})[name] = value
    head = {"format": FORMAT, "key": key, "history": progress.history.to_dict(), "optimiser": plain}
    body = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    text = json.dumps(head, allow_nan=True)
    write_bytes(path, save(body, metadata={"pellucid": text, "sha256": _seal(text, body)}))


def _seal(text: str, tensors: Mapping[str, torch.Tensor]) -> str:
    """A checksum over the header, and every tensor with its name."""
    return digest(text, *(part for name in sorted(tensors) for part in (name, _hash(tensors[name]))))


def _resumed(
    path: str | os.PathLike[str] | None, key: str, module: nn.Module, engine: torch.optim.Optimizer
) -> _Progress:
    """Where a former run stood, its weights and the optimiser's memory put back; or a beginning."""
    if path is None or not Path(path).exists():
        return _Progress()
    head, tensors = _read(path)
    if head.get("format") != FORMAT or head.get("key") != key:
        raise StoreError(
            "the checkpoint belongs to another network, data set or setting",
            where=str(path),
            fix="begin from fresh(factory, seed) with the same settings, or give another checkpoint",
        )
    module.load_state_dict(_under("now/", tensors))
    state: dict[int, dict[str, Any]] = {int(index): dict(values) for index, values in head["optimiser"].items()}
    for name, value in _under("optimiser/", tensors).items():
        index, entry = name.split("/", 1)
        state.setdefault(int(index), {})[entry] = value
    engine.load_state_dict({"state": state, "param_groups": engine.state_dict()["param_groups"]})
    return _Progress(History.from_dict(head["history"]), _under("best/", tensors))


def _under(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The header and the tensors of a checkpoint, whole or not at all."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            marks = file.metadata() or {}
        text = marks["pellucid"]
        if _seal(text, tensors) != marks["sha256"]:
            raise StoreError("the checkpoint is damaged", where=str(path), why="its checksum does not match")
        return json.loads(text), tensors
    except (SafetensorError, OSError, KeyError, ValueError, RuntimeError) as error:
        raise StoreError("the checkpoint is damaged or not ours", where=str(path), why=str(error)) from error
