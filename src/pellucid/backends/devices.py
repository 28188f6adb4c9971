"""Networks whose weights lie on several devices: on which of them they take their rows.

The device of the weights that come first is nearly always the one; where it is not, others are tried. What a map of
devices says about a network is not asked for: the weights lie where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MIXED = "on the same device"
"""What torch says of tensors that lie on two."""


class Entrance:
    """Where the rows of one module go in. ``devices`` are those of its weights, in their order."""

    def __init__(self) -> None:
        self.devices: tuple[torch.device, ...] = ()
        self.known = True

    def look(self, module: nn.Module) -> torch.device | None:
        """The device that rows are to be put on; None for a module without weights, which takes them anywhere."""
        found = tuple(dict.fromkeys(parameter.device for parameter in module.parameters()))
        if set(found) != set(self.devices):
            self.devices, self.known = found, len(found) < 2
        return self.devices[0] if self.devices else None

    def answer(self, call: Callable[[Mapping[str, Tensor]], Any], rows: Mapping[str, Tensor]) -> Any:
        """What ``call`` returns for rows put on the right device: the first on which it returns anything.

        Where it fails on all, what it raised is raised: what speaks of something else than devices, if anything does.
        """
        if self.known:
            return call(rows if len(self.devices) < 2 else _on(self.devices[0], rows))
        failures: list[Exception] = []
        for device in self.devices:
            try:
                found = call(_on(device, rows))
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001 — a stranger's code may raise anything here
                failures.append(error)
                continue
            self.devices, self.known = (device, *(other for other in self.devices if other != device)), True
            return found
        raise next((failure for failure in failures if MIXED not in str(failure)), failures[0])


def beside(found: Any, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``tensors`` on the device of the first tensor in what a module returned."""
    parts = [found] if isinstance(found, Tensor) else found.values() if isinstance(found, Mapping) else found
    first = next((part for part in parts if isinstance(part, Tensor)), None) if isinstance(parts, Iterable) else None
    return dict(tensors) if first is None else _on(first.device, tensors)


def _on(device: torch.device, rows: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.to(device) for name, tensor in rows.items()}
