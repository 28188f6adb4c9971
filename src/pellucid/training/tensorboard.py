"""Writes a recording of a training where TensorBoard reads it, through TensorBoard's own writer."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..records.errors import NotApplicable
from ..records.recording import Recording


def to_tensorboard(recording: Recording, folder: str | os.PathLike[str]) -> Path:
    """Write a recording's histograms, and losses where it has them, as an event file into ``folder``.

    Tags are ``weights/conv1.weight`` and the like, steps are epochs. Raises :class:`NotApplicable` where TensorBoard is
    not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise NotApplicable(
            "writing for TensorBoard needs tensorboard", fix="pip install 'pellucid[tensorboard]'"
        ) from error
    writer = SummaryWriter(os.fspath(folder))
    for e, epoch in enumerate(recording.epochs.tolist()):
        if np.isfinite(recording.losses[e]):
            writer.add_scalar("loss", float(recording.losses[e]), epoch)
        for s, (kind, name) in enumerate(recording.series):
            if np.isfinite(recording.low[e, s]):
                _add(writer, f"{kind}/{name}", recording, e, s)
    writer.close()
    return Path(folder)


def _add(writer: object, tag: str, recording: Recording, e: int, s: int) -> None:
    """One histogram, its bins as they were recorded."""
    counts, low, high = recording.counts[e, s], float(recording.low[e, s]), float(recording.high[e, s])
    mean, std = (float(moment) for moment in recording.moments[e, s])
    number = int(counts.sum())
    edges = np.linspace(low, high, len(counts) + 1)[1:] if high > low else low + 1e-12 * np.arange(1, len(counts) + 1)
    writer.add_histogram_raw(  # pyright: ignore[reportAttributeAccessIssue]
        tag, min=low, max=high, num=number, sum=mean * number, sum_squares=(std**2 + mean**2) * number,
        bucket_limits=edges.tolist(), bucket_counts=counts.tolist(), global_step=int(recording.epochs[e]),
    )  # fmt: skip
