"""Networks that begin with a linear layer: found by watching one pass, believed after trying it out.

Where a row is divided into few players, the layer's sum can be taken player by player beforehand, and rows with
something absent need not be made at all: W (b + z ∘ (x − b)) = W b + Σ_players z_g Σ_{j in g} W_j (x − b)_j.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..problem.model import Beginning

TOLERANCE = 1e-5
"""Relative difference beyond which the rest of the network does not answer as the whole."""


def first_layer(
    module: nn.Module, answer: Callable[[Mapping[str, Tensor]], Tensor], rows: Mapping[str, Tensor]
) -> Beginning | None:
    """The linear layer that alone sees the only input of ``module``, or None.

    ``answer`` gives the module's outputs. It is tried on ``rows`` with zeros and with NaN where the rows stood: an
    output that looks at the rows anywhere else would show it.
    """
    if len(rows) != 1 or isinstance(module, torch.jit.ScriptModule):
        return None
    ((name, given),) = rows.items()
    layer = _watched(module, answer, {name: given}, given)
    if layer is None:
        return None

    def rest(hidden: Tensor) -> Tensor:
        return _from(layer, answer, name, torch.zeros_like(given[:1]), hidden)

    with torch.no_grad():
        hidden, whole = layer(given.reshape(len(given), -1)), answer(rows)
        for stand_in in (torch.zeros_like(given[:1]), torch.full_like(given[:1], float("nan"))):
            found = _from(layer, answer, name, stand_in, hidden)
            if found.shape != whole.shape or not bool(
                (found - whole).abs().max() <= TOLERANCE * whole.abs().max().clamp(min=1e-12)
            ):
                return None
    bias = torch.zeros_like(layer.weight[:, 0]) if layer.bias is None else layer.bias
    return Beginning(layer.weight.detach(), bias.detach(), rest)


def _watched(
    module: nn.Module, answer: Callable[[Mapping[str, Tensor]], Tensor], rows: Mapping[str, Tensor], given: Tensor
) -> nn.Linear | None:
    """The plain linear layer that was called once, and with the rows themselves."""
    calls: list[nn.Linear] = []

    def note(layer: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        if arguments and arguments[0].data_ptr() == given.data_ptr() and arguments[0].shape == (len(given), width):
            calls.append(layer)  # pyright: ignore[reportArgumentType]

    width = given[0].numel()
    layers = [m for m in module.modules() if type(m) is nn.Linear and m.in_features == width]
    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    try:
        with torch.no_grad():
            answer(rows)
    finally:
        for hook in hooks:
            hook.remove()
    return calls[0] if len(calls) == 1 else None


def _from(
    layer: nn.Linear, answer: Callable[[Mapping[str, Tensor]], Tensor], name: str, stand_in: Tensor, hidden: Tensor
) -> Tensor:
    """The outputs where ``layer`` answers with ``hidden``, whatever it is given."""
    with _answering(layer, hidden):
        return answer({name: stand_in.expand(len(hidden), *stand_in.shape[1:])})


@contextmanager
def _answering(layer: nn.Linear, hidden: Tensor) -> Iterator[None]:
    layer.__dict__["forward"] = lambda _: hidden
    try:
        yield
    finally:
        del layer.__dict__["forward"]
