"""Attention flow: how much can flow from the answer to each token, attention being the pipes' capacity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.attending import Maps
from ..engine.session import Session
from ..records.settings import Range
from .attended import AttentionMethod, Tokens, with_residual

WHOLE = 2**30
"""Capacities are counted in so many parts of 1, whole numbers being what the solver takes."""


@dataclass(frozen=True)
class AttentionFlow(AttentionMethod):
    """The maximum flow from the answer to each input token (Abnar & Zuidema 2020, arXiv 2005.00928, section 3).

    Layers of tokens are joined by edges of capacity Â_ij, Â = ½ A + ½ I and A the mean over heads; the answer is joined
    to the tokens it reads by edges of capacity 1 over their number. Each token's flow is found by itself, so they do
    not add up to 1.
    """

    residual: Annotated[float, Range(0.0, 1.0), "share of each token that is passed on beside attention"] = 0.5

    name: ClassVar[str] = "attention_flow"
    title: ClassVar[str] = "Attention flow (attention, not attribution)"
    source: ClassVar[str] = "Abnar & Zuidema 2020, arXiv 2005.00928, section 3"

    def tokens(self, session: Session) -> Tokens:
        def fold(maps: Maps, _: Maps) -> Tensor:
            return with_residual(torch.stack([each.mean(1) for each in maps], dim=1), self.residual)

        readers = session.attention.readers
        found = [flow(layers, readers) for layers in session.attended(fold)[:: session.targets]]
        flows = np.repeat(found, session.targets, axis=0)
        return Tokens(flows, flows[:, None])


def flow(layers: np.ndarray, readers: np.ndarray) -> np.ndarray:
    """The maximum flow ``Float64[T]`` from the answer to each token below layers ``[L, T, T]``, first layer first.

    ``readers`` ``Bool[T]`` are the tokens that the answer reads.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_flow

    L, T, _ = layers.shape
    ends, starts, sizes = [], [], []
    for layer in range(L):  # from token i above the layer to token j below it
        above, below = np.nonzero(layers[layer] > 0)
        starts.append((layer + 1) * T + above)
        ends.append(layer * T + below)
        sizes.append(layers[layer, above, below])
    read = np.flatnonzero(readers)
    starts.append(np.full(len(read), (L + 1) * T))
    ends.append(L * T + read)
    sizes.append(np.full(len(read), 1 / len(read)))
    whole = np.minimum(np.rint(np.concatenate(sizes) * WHOLE), WHOLE).astype(np.int32)
    count = (L + 1) * T + 1
    graph = csr_array((whole, (np.concatenate(starts), np.concatenate(ends))), shape=(count, count), dtype=np.int32)
    return np.array([maximum_flow(graph, count - 1, token).flow_value for token in range(T)]) / WHOLE
