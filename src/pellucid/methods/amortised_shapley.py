"""Amortised Shapley: for thousands of rows, a small network learns from cheap estimates of some of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..records.messages import Caution
from ..records.settings import Range
from ..training.fit import Adam, fit, fresh
from ..training.networks import mlp
from .kernel_shapley import KernelShapley
from .method import Method

FEWEST = 400
"""With fewer rows there is too little to learn from and too little to save: all are estimated one by one."""
HELD_OUT = 64
GROUPS = 16
"""Training rows are asked by so many designs: one design for all would teach its own errors."""
HIDDEN, EPOCHS, PATIENCE, BATCH = (128, 128), 300, 30, 64
RATE = 2e-3
SMALL, LARGE = 0.05, 0.25
"""Held-out squared errors, as shares of the squared values, from which on a caution is yellow and red."""


@dataclass(frozen=True)
class AmortisedShapley(Method):
    """A network from a row to its Shapley values, trained on cheap unbiased estimates as noisy targets.

    Covert, Kim, Lee, Zou & Hashimoto 2024, arXiv 2401.15866 (stochastic amortisation): the noise of the targets
    averages out over rows. Values are shifted so that they add up to the change (Jethani et al. 2022, arXiv
    2107.07436). The standard errors are what held-out rows, estimated with a far greater budget, tell: their mean
    squared error, the same for every row; the held-out rows keep those estimates. With fewer than
    400 rows, and where rows are no numbers or have players of their own, each is estimated by kernel Shapley.
    """

    taught: Annotated[
        int | None, Range(200, 1_000_000), "rows that are estimated to learn from; none: an eighth, 512 at least"
    ] = None
    samples: Annotated[
        int | None, Range(4, 1_000_000), "evaluations of each of them, both ends counted; none: 2n + 32"
    ] = None

    name: ClassVar[str] = "amortised_shapley"
    title: ClassVar[str] = "Amortised Shapley"
    source: ClassVar[str] = "Covert, Kim, Lee, Zou & Hashimoto 2024, arXiv 2401.15866"
    promises: ClassVar[tuple[str, ...]] = ("completeness",)
    sampled: ClassVar[bool] = True
    default: ClassVar[bool] = False

    def estimate(self, session: Session) -> Estimate:
        n, N = session.n, len(session)
        if N < FEWEST or session.opaque or not session.players.is_shared or n < 2:
            found = KernelShapley().estimate(session)
            return Estimate(found.values, stderr=found.stderr, notes={**found.notes, "learned_from": 0})
        samples, best = self.samples or 2 * n + 32, 8 * n + 512
        count = min(self.taught or max(512, N // 8), N - HELD_OUT)
        session.allowance(samples, least=int(np.ceil((count * samples + HELD_OUT * best) / N)))
        order = session.design(_shuffled, N)
        held, taught = order[:HELD_OUT], order[HELD_OUT : HELD_OUT + count]
        reference, certainty = self._estimated(session, held, best)
        values, _ = self._estimated(session, taught, samples, GROUPS)
        inputs, change = _inputs(session), (session.full - session.empty).reshape(N, -1)
        found = _learned(inputs, change, taught, values, session.seed)
        missed = np.square(found[held] - reference)
        spread = np.sqrt(np.maximum(missed - np.square(certainty), 0.0).mean(0))
        stderr = np.broadcast_to(spread, found.shape).copy()
        found[held], stderr[held] = reference, certainty
        found += (change - found.sum(2))[..., None] / n
        share = float(missed.sum() / max(np.square(reference).sum(), 1e-300))
        notes = {"learned_from": count, "samples": samples, "held_out": HELD_OUT, "held_out_error": share}
        return Estimate(found.reshape(-1, n), stderr=stderr.reshape(-1, n), notes=notes, cautions=self._cautions(share))

    def _estimated(
        self, session: Session, rows: np.ndarray, samples: int, groups: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Kernel Shapley of some rows ``[R, T, n]`` and its standard errors, by as many designs as there are groups."""
        shape = (len(rows), session.targets, session.n)
        values, errors = np.zeros(shape), np.zeros(shape)
        for group in range(groups):
            own = np.arange(group, len(rows), groups)
            part = session.part(rows[own].tolist(), samples).reseeded(session.seed + group)
            found = KernelShapley(samples=samples).estimate(part)
            values[own] = found.values.reshape(len(own), *shape[1:])
            told = np.full_like(found.values, np.inf) if found.stderr is None else found.stderr
            errors[own] = np.where(np.isnan(told), np.inf, told).reshape(len(own), *shape[1:])
        return values, errors

    def _cautions(self, share: float) -> tuple[Caution, ...]:
        if share <= SMALL:
            return ()
        return (Caution.of("amortised", "red" if share > LARGE else "yellow", method=self.name, share=share),)

    def cost(self, players: int) -> float:
        return float(self.samples or 2 * players + 32)


def _shuffled(rng: np.random.Generator, N: int) -> np.ndarray:
    return rng.permutation(N)


def _inputs(session: Session) -> np.ndarray:
    """What the network reads of each row, ``Float64[N, ·]``: its elements, its change, and which outputs are asked."""
    rows = session.x.double().cpu().numpy()
    if np.isnan(rows).any():
        rows = np.concatenate([np.nan_to_num(rows), np.isnan(rows)], axis=1)
    change = (session.full - session.empty).reshape(len(rows), -1)
    columns = session.bound.columns.cpu().numpy()
    differ = [column == which for column in columns.T for which in np.unique(column) if not (column == which).all()]
    read = np.concatenate([rows, change, *(np.asarray(one, dtype=np.float64)[:, None] for one in differ)], axis=1)
    spread = read.std(0)
    return (read - read.mean(0)) / np.where(spread > 0, spread, 1.0)


def _learned(inputs: np.ndarray, change: np.ndarray, rows: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """Values ``[N, T, n]`` of all rows: a linear fit to those of some, and a network for what that leaves."""
    R, T, n = values.shape
    targets = (values - change[rows][..., None] / n).reshape(R, -1)
    linear = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    known = linear[rows]
    slopes = np.linalg.solve(known.T @ known + np.eye(known.shape[1]), known.T @ targets)
    rest = targets - known @ slopes
    scale = float(rest.std()) or 1.0
    network = fresh(mlp, seed, inputs=inputs.shape[1], hidden=HIDDEN, outputs=T * n, activation="gelu")
    cut, read = R - R // 6, torch.from_numpy(inputs).float()
    labels = torch.from_numpy(rest / scale).float()
    taught = read[torch.from_numpy(rows)]

    def misfit(outputs: Tensor, wanted: Tensor) -> Tensor:
        missed = (outputs - wanted).reshape(-1, T, n)
        return (missed - missed.mean(2, keepdim=True)).square().mean()

    fit(
        network, (taught[:cut], labels[:cut]), misfit, epochs=EPOCHS, seed=seed, batch_size=BATCH,
        optimiser=Adam(RATE, 1e-3), validation=(taught[cut:], labels[cut:]), patience=PATIENCE,
    )  # fmt: skip
    with torch.no_grad():
        bent = network(read).double().numpy() * scale
    found = (linear @ slopes + bent).reshape(len(inputs), T, n)
    return found + (change - found.sum(2))[..., None] / n
