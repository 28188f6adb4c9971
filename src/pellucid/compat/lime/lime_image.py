"""Pictures under lime's names: ``LimeImageExplainer().explain_instance(picture, classifier_fn)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import torch

from ...methods.neighbourhoods import Distance
from ...modalities.image import RegionMean, Slic
from ...problem.inputs import WHOLE, Inputs
from ...problem.removal import Constant, Removal
from ...records.errors import InputError, NotApplicable, TargetError
from ...records.explanation import Explanation as Record
from ...records.players import Players
from ...studies.explaining import explain
from ..asked import counted
from .explanation import asked_labels, seed_of, unrecorded, weights_of

GREEN, RED = 1, 0  # the channels that lime raises: for a label, against it


@dataclass(frozen=True, eq=False)
class ImageExplanation:
    """The weights of one picture's segments, label by label.

    Attributes
    ----------
    image: ``[H, W, 3]``; segments: ``Int[H, W]``.
    local_exp: label → (segment, weight) pairs, the largest first; stderr: label → segment → standard error.
    scores: label → R² of the line (``score``: of the last label).
    intercept, local_pred: NaN, the height of the line is not recorded.
    top_labels: the labels explained, the most probable first; record: the whole record with its cautions.
    """

    image: np.ndarray
    segments: np.ndarray
    local_exp: dict[int, list[tuple[int, float]]]
    stderr: dict[int, dict[int, float]]
    intercept: dict[int, float]
    scores: dict[int, float]
    local_pred: np.ndarray
    top_labels: list[int]
    record: Record

    @property
    def score(self) -> float:
        return list(self.scores.values())[-1]

    def get_image_and_mask(
        self,
        label: int,
        positive_only: bool = True,
        negative_only: bool = False,
        hide_rest: bool = False,
        num_features: int = 5,
        min_weight: float = 0.0,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The picture with its most important segments, and a mask ``Int[H, W]`` of them (1 for, −1 against).

        With ``positive_only`` or ``negative_only`` the segments of that sign stand as they are, the rest is shown or
        hidden, and the mask is 1 there. With neither, segments for the label are tinted green, those against it red.
        """
        if label not in self.local_exp:
            raise TargetError(f"label {label} was not explained", fix=f"explained: {list(self.local_exp)}")
        if positive_only and negative_only:
            raise InputError("positive_only and negative_only exclude each other", fix="give one of them")
        large = [(segment, weight) for segment, weight in self.local_exp[label] if abs(weight) > min_weight]
        mask = np.zeros(self.segments.shape, dtype=int)
        if positive_only or negative_only:
            sign = 1 if positive_only else -1
            for segment in [segment for segment, weight in large if weight * sign > 0][:num_features]:
                mask[self.segments == segment] = 1
            shown = np.zeros_like(self.image) if hide_rest else self.image.copy()
            shown[mask == 1] = self.image[mask == 1]
            return shown, mask
        shown = np.zeros_like(self.image) if hide_rest else self.image.copy()
        for segment, weight in large[:num_features]:
            own = self.segments == segment
            mask[own] = 1 if weight > 0 else -1
            shown[own] = self.image[own]
            shown[own, GREEN if weight > 0 else RED] = np.max(self.image)
        return shown, mask

    def plot(self, label: int) -> Any:
        """The picture and, beside it, the weights of its segments (an Altair chart)."""
        if label not in self.local_exp:
            raise TargetError(f"label {label} was not explained", fix=f"explained: {list(self.local_exp)}")
        return self.record.plot("image", output=label)


class LimeImageExplainer:
    """Lines fitted to a model's answers as segments of one picture are switched off.

    ``kernel_width`` is lime's; ``random_state`` None is 0. ``verbose`` and ``feature_selection`` are ignored, a
    ``kernel`` of one's own is refused.
    """

    def __init__(
        self,
        kernel_width: float = 0.25,
        kernel: Any = None,
        verbose: bool = False,
        feature_selection: str = "auto",
        random_state: Any = None,
    ):
        if kernel is not None:
            raise NotApplicable("kernel= is not offered here", fix="give kernel_width=")
        self.kernel_width, self.seed = kernel_width, seed_of(random_state)

    def explain_instance(
        self,
        image: Any,
        classifier_fn: Callable[[np.ndarray], Any],
        labels: Sequence[int] = (1,),
        hide_color: Any = None,
        top_labels: int | None = 5,
        num_features: int = 100_000,
        num_samples: int = 1000,
        batch_size: int = 10,
        segmentation_fn: Callable[[np.ndarray], np.ndarray] | None = None,
        distance_metric: str = "cosine",
        model_regressor: Any = None,
        random_seed: int | None = None,
        progress_bar: bool = True,
    ) -> ImageExplanation:
        """The weights of a picture's segments.

        ``image`` is ``[H, W, 3]``, or ``[H, W]`` (then shown to the model as three equal channels); ``classifier_fn``
        maps ``[b, H, W, 3]`` to ``[b, K]``. Absent segments take their own mean colour, or ``hide_color`` (a value or
        a colour). ``segmentation_fn`` maps the picture to ``Int[H, W]``; none: regions of like colour (SLIC).
        ``batch_size`` and ``progress_bar`` are ignored; a regressor of one's own is refused.
        """
        if model_regressor is not None or distance_metric not in get_args(Distance):
            fix = f"leave model_regressor out; distances: {', '.join(get_args(Distance))}"
            raise NotApplicable("a regressor or distance of one's own", fix=fix)
        picture = np.asarray(image)
        picture = np.stack([picture] * 3, axis=-1) if picture.ndim == 2 else picture
        if picture.ndim != 3:
            raise InputError(f"a picture of shape {picture.shape}", fix="give [height, width, 3]")
        segments = np.asarray(segmentation_fn(picture)) if segmentation_fn is not None else _regions(picture)
        if segments.shape != picture.shape[:2]:
            raise InputError(f"segments of shape {segments.shape} for a picture of {picture.shape[:2]}")
        known, places = np.unique(segments, return_inverse=True)

        def channels_first(rows: np.ndarray) -> Any:
            return classifier_fn(np.ascontiguousarray(np.moveaxis(rows, 1, -1)))

        record = explain(
            channels_first, _channels_first(picture), "lime", target="all",
            players=_players(known, places, picture.shape),
            removal=_hidden(picture, hide_color), samples=num_samples,
            kernel_width=self.kernel_width, distance=distance_metric, intercept=True,
            seed=self.seed if random_seed is None else random_seed,
            complexity=num_features if counted(num_features, "num_features") < len(known) else None,
        )  # fmt: skip
        chosen = asked_labels(record.full[0], labels, top_labels)
        weights, errors, scores = weights_of(record, {label: label for label in chosen})
        named = {label: [(int(known[i]), weight) for i, weight in pairs] for label, pairs in weights.items()}
        told = {label: {int(known[i]): error for i, error in own.items()} for label, own in errors.items()}
        unknown = np.array([np.nan])
        return ImageExplanation(picture, segments, named, told, unrecorded(chosen), scores, unknown, chosen, record)


def _channels_first(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(picture, -1, 0))[None]


def _regions(picture: np.ndarray) -> np.ndarray:
    inputs = Inputs({WHOLE: torch.from_numpy(_channels_first(picture).copy())})
    return Slic().make(inputs).map_of(0)[0]


def _players(known: np.ndarray, places: np.ndarray, shape: tuple[int, ...]) -> Players:
    """A player for each segment, all channels together; the picture lies channels first."""
    height, width, channels = shape
    labels = np.broadcast_to(places.reshape(height, width), (channels, height, width)).reshape(-1)
    names = [f"segment {segment}" for segment in known.tolist()]
    return Players.shared(labels, names, kind="region", layout=(channels, height, width))


def _hidden(picture: np.ndarray, hide_color: Any) -> Removal:
    """What an absent segment looks like: its own mean colour, or the one given."""
    if hide_color is None:
        return RegionMean()
    return Constant(_channels_first(np.broadcast_to(np.asarray(hide_color, picture.dtype), picture.shape)))
