"""The best batch size, told from one counted row before any work is done.

Not the largest batch: giant batches leave the processor's caches. The rule looks at three
quantities of a forward pass of one row (operation by operation):

* *need*: a matrix product runs at full speed from about 512 positions on, a convolution from 128;
  an operation that uses each weight on m positions of a row needs 512/m (128/m) rows;
* *spread*: enough work that the fixed cost of launching the operations stays below 2 %;
* *fit*: as many rows as keep the widest operation's input and output within 1 MiB of cache.

B = max(need, min(spread, fit)), capped by memory, rounded to a power of two. An accelerator has no cache to fit, more
positions to fill and work to hide its launches behind: there B = max(need, spread), capped by the memory that is free.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from math import log2, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

OPAQUE_BATCH = 256
"""Rows at once for a black box, whose operations cannot be counted; more where rows are short."""
LARGEST_BATCH = 8192
OVERHEAD = 0.02
CACHE = 2**20
POSITIONS = {"convolution": 128, "product": 512}


@dataclass(frozen=True)
class Processor:
    """What a batch is chosen for.

    ``speed`` in FLOPs a second; ``launch`` of an operation in seconds; ``cache`` and ``memory`` in bytes; ``positions``
    is how many times as many positions as a core a product needs to run at full speed; ``largest`` the most rows in a
    call.
    """

    speed: float = 80e9
    launch: float = 10e-6
    cache: float = CACHE
    memory: float = 2 * 2**30
    positions: int = 1
    largest: int = LARGEST_BATCH


CORE = Processor()
SPEED = CORE.speed


def processor(device: torch.device) -> Processor:
    """A core, or an accelerator with a quarter of the memory that it has free: a walk back keeps what it passed."""
    if device.type != "cuda":
        return CORE
    free, _ = torch.cuda.mem_get_info(device)
    return Processor(2e13, 40e-6, float("inf"), free / 4, 64, 2**17)


def uncounted(width: int) -> int:
    """Rows of ``width`` numbers at once for a model whose operations cannot be counted.

    Each call may cost milliseconds before the first row (a DataFrame, a pool of threads), so short rows come in
    numbers: as many as fit the cache.
    """
    return max(OPAQUE_BATCH, 2 ** int(log2(min(CACHE, LARGEST_BATCH * 4 * width) / (4 * width))))


@dataclass
class Count:
    """What one forward pass of one row does."""

    operations: int = 0
    flops: float = 0.0
    widest: float = 1.0
    held: float = 1.0
    """Bytes of everything that was made, which a pass with gradients keeps."""
    needs: list[tuple[float, float]] = field(default_factory=list)
    """(FLOPs, rows needed) of each product and convolution."""

    def batch(self, on: Processor = CORE) -> int:
        """The best number of rows at once."""
        need = self._need() * on.positions
        per_row = max(self.flops, 1.0) / on.speed
        spread = self.operations * on.launch / OVERHEAD / per_row
        best = max(need, min(spread, on.cache / self.widest))
        room = 4 * self.widest if on is CORE else self.held
        best = min(best, on.memory / room, on.largest)
        return max(1, 2 ** (round if on is CORE else int)(log2(max(best, 1.0))))

    def _need(self) -> float:
        """The 80th percentile, weighted by FLOPs, of the rows its products need."""
        if not self.needs:
            return 1.0
        flops, needs = map(np.array, zip(*sorted(self.needs, key=lambda pair: -pair[1]), strict=True))
        share = np.cumsum(flops) / flops.sum()
        return float(needs[min(int(np.searchsorted(share, 0.2)), len(needs) - 1)])


class Counter(TorchDispatchMode):
    """Counts operations, FLOPs and activation bytes while a model runs one row."""

    def __init__(self) -> None:
        super().__init__()
        self.count = Count()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: shielding this mode from the compiler would import the compiler, a second or two, on first use."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        packet = func._overloadpacket
        in_parts = torch._C._dispatch_has_kernel_for_dispatch_key  # pyright: ignore[reportPrivateUsage]
        if not in_parts(func.name(), "CompositeImplicitAutograd"):
            self._add(packet, args, kwargs, out)
        return out

    def _add(self, packet: Any, args: tuple[Any, ...], kwargs: Any, out: Any) -> None:
        tensors = [arg for arg in args if isinstance(arg, Tensor)]
        made = [value for value in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(value, Tensor)]
        if not made or (tensors and made[0].data_ptr() == tensors[0].data_ptr() and made[0].numel()):
            return  # a view moves nothing
        count = self.count
        count.operations += 1
        flowing = _flowing(packet, tensors)
        count.held += sum(t.numel() * t.element_size() for t in made)
        count.widest = max(count.widest, float(sum(t.numel() * t.element_size() for t in [*flowing, *made])))
        if packet not in flop_registry:
            return
        flops = float(flop_registry[packet](*args, **kwargs, out_val=out))
        count.flops += flops
        weights = _weights(packet, tensors)
        if weights and flops:
            kind = "convolution" if "conv" in str(packet) else "product"
            count.needs.append((flops, POSITIONS[kind] / max(flops / (2 * weights), 1e-9)))


def _flowing(packet: Any, tensors: list[Tensor]) -> list[Tensor]:
    """The arguments that grow with the batch: of a layer's product only its input, not its weights."""
    name = str(packet)
    if "addmm" in name:
        return tensors[1:2]
    return tensors[:1] if "conv" in name or name.endswith(".mm") else tensors


def _weights(packet: Any, tensors: list[Tensor]) -> int:
    """How many weights the operation uses: the second factor, or the third of ``addmm``."""
    factors = tensors[1:] if "addmm" in str(packet) else tensors
    return prod(factors[1].shape) if len(factors) > 1 else 0


def count_row(run: Any) -> Count:
    """Count ``run()``, a forward pass of one row, with the fused transformer path off (it hides the work)."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad(), Counter() as counter:
            run()
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    return counter.count


def edges(total: int, size: int) -> list[tuple[int, int]]:
    """Cut ``total`` into the fewest near-equal parts of at most ``size`` (998 by 512 gives 499 + 499)."""
    parts = max(1, -(-total // max(size, 1)))
    marks = [total * part // parts for part in range(parts + 1)]
    return list(pairwise(marks))


def cut(block: tuple[tuple[int, int], ...], batch: int) -> list[tuple[tuple[int, int], ...]]:
    """Cut a block (one edge per axis) into near-equal parts of at most ``batch`` cells, the last axis whole first."""
    takes, room = [], batch
    for start, stop in reversed(block):
        take = max(1, min(stop - start, room))
        takes.append(take)
        room = room // take if take == stop - start else 0
    axes = []
    for (start, stop), take in zip(block, reversed(takes), strict=True):
        axes.append([(start + a, start + b) for a, b in edges(stop - start, take)])
    parts: list[tuple[tuple[int, int], ...]] = [()]
    for axis in axes:
        parts = [(*part, edge) for part in parts for edge in axis]
    return parts
