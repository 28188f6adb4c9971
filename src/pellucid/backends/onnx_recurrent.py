"""ONNX's recurrent operators (RNN, GRU, LSTM) as torch's own layers, the gates put in torch's order.

Operators: onnx.ai/onnx/operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from .onnx_known import Beyond, Call
from .onnx_layers import DATA, Built, Given, constants, weighted

GATES = {"LSTM": (0, 2, 3, 1), "GRU": (1, 0, 2), "RNN": (0,)}
"""Where torch's gates stand among ONNX's: of input, output, forget, cell; of update, reset, hidden."""
USUAL = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
X, LENGTHS, HIDDEN, CELL, PEEPHOLES = 0, 4, 5, 6, 7


class Recurrent(nn.Module):
    """A recurrent layer of torch, called the way ONNX calls it: rows ``[time, b, inputs]``, every direction apart.

    Returns all hidden states ``[time, directions, b, hidden]``, the last ones ``[directions, b, hidden]`` and, for an
    LSTM, the last cells.
    """

    def __init__(self, layer: nn.RNNBase, reverse: bool, lengths: np.ndarray | None):
        super().__init__()
        self.layer, self.reverse, self.lengths = layer, reverse, lengths

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        if self.lengths is not None and any(self.lengths != len(x)):
            raise Beyond("recurrent layers over rows of unequal length")
        x = x.flip(0) if self.reverse else x
        started = () if not states else (states[0] if len(states) == 1 else tuple(s.contiguous() for s in states),)
        found, last = self.layer(x, *started)
        found = found.flip(0) if self.reverse else found
        time, rows, width = found.shape
        hidden = self.layer.hidden_size
        found = found.reshape(time, rows, width // hidden, hidden).transpose(1, 2)
        return found, *(last if isinstance(last, tuple) else (last,))


def recurrent(call: Call, given: Given) -> Built:
    _refuse_unusual(call, given)
    held = constants(given, 1, 2, 3)
    if held is None or held[0] is None or held[1] is None:
        raise Beyond(f"{call.op} whose weights depend on a row")
    weight, again, bias = held
    directions, gates, width = weight.shape
    hidden = again.shape[-1]
    kinds: dict[str, Any] = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
    layer = kinds[call.op](width, hidden, bidirectional=directions == 2, device="meta", **_shape_of(call, directions))
    bias = np.zeros((directions, 2 * gates), weight.dtype) if bias is None else bias
    weights: dict[str, np.ndarray] = {}
    for place in range(directions):
        ends = "l0" + ("_reverse" if place else "")
        parts = {"weight_ih": weight[place], "weight_hh": again[place]}
        parts |= {"bias_ih": bias[place, :gates], "bias_hh": bias[place, gates:]}
        weights |= {f"{name}_{ends}": _in_order(part, call.op) for name, part in parts.items()}
    lengths = given[LENGTHS] if len(given) > LENGTHS else None
    states = tuple(place for place in (HIDDEN, CELL) if len(given) > place and not _is_nothing(given[place]))
    if call.op == "LSTM" and len(states) == 1:
        raise Beyond("LSTM with one of its two first states")
    weighted(layer, **weights)
    return Recurrent(layer, call.get("direction") == "reverse", lengths), (X, *states)


def _refuse_unusual(call: Call, given: Given) -> None:
    directions = 2 if call.get("direction") == "bidirectional" else 1
    usual = USUAL[call.op] * directions
    asked = call.get("activations", usual)
    if asked != usual and not (call.op == "RNN" and asked == ["Relu"] * directions):
        raise Beyond(f"{call.op} with {', '.join(asked)}")
    if call.op == "GRU" and not call.get("linear_before_reset"):
        raise Beyond("GRU that resets before it multiplies")
    if call.get("clip") or call.get("input_forget") or call.get("layout"):
        raise Beyond(f"{call.op} with clipping, coupled gates or rows first")
    if len(given) > PEEPHOLES and given[PEEPHOLES] is not None:
        raise Beyond("LSTM with peepholes")
    if len(given) > LENGTHS and given[LENGTHS] is DATA:
        raise Beyond(f"{call.op} over rows of unequal length")


def _is_nothing(state: Any) -> bool:
    """Whether a first state is left out, or zeros, with which torch begins by itself for any number of rows."""
    return state is None or (state is not DATA and not state.any())


def _shape_of(call: Call, directions: int) -> dict[str, Any]:
    return {"nonlinearity": "relu"} if call.get("activations") == ["Relu"] * directions else {}


def _in_order(part: np.ndarray, op: str) -> np.ndarray:
    gates = np.split(part, len(GATES[op]))
    return np.concatenate([gates[place] for place in GATES[op]])
