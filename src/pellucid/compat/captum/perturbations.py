"""Captum's methods that take features away: ablation, occlusion, permutation, Shapley values, local lines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...methods.exact_shapley import ExactShapley
from ...methods.kernel_shapley import KernelShapley
from ...methods.lime import Lime as OurLime
from ...methods.method import Method
from ...methods.occlusion import Occlusion as OurOcclusion
from ...methods.permutation_shapley import PermutationShapley
from ...records.errors import InputError, NotApplicable, RemovalError
from ...records.settings import is_number
from ..asked import counted
from .attribution import Attribution
from .question import Question, like

LEAST = 2
"""Rows that a permutation needs."""


class FeatureAblation(Attribution):
    """What the output loses when a feature is set to its baseline.

    Features are elements, or those of ``feature_mask`` (one for all rows, or one for each). Batches are the engine's:
    ``perturbations_per_eval`` and ``show_progress`` are ignored, here and below.
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, mask=feature_mask
        )
        return self._answer(OurOcclusion(), asked)


class Occlusion(Attribution):
    """What the output loses when a window is set to its baseline; an element gets the mean over its windows.

    ``sliding_window_shapes`` has a side for each axis of one row, ``strides`` (None: 1) likewise or one for all. The
    last window of an axis ends at its edge.
    """

    def attribute(
        self,
        inputs: Any,
        sliding_window_shapes: Any,
        strides: Any = None,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, thin=True, kind="tensor"
        )
        if len(asked.tensors) != 1:
            raise NotApplicable("a window slides over one input", fix="explain the inputs one by one")
        shape = tuple(asked.tensors[0].shape[1:])
        window = _sides(sliding_window_shapes, shape, "sliding_window_shapes")
        steps = (1,) * len(shape) if strides is None else _sides(strides, shape, "strides")
        return self._answer(OurOcclusion(window=(*window, 1), stride=(*steps, 1)), asked)


class FeaturePermutation(Attribution):
    """What a row loses when a feature is taken from another row of the batch, in the mean over all of them.

    Captum draws one permutation; this is its expectation, and nothing is left to chance.
    """

    def __init__(self, forward_func: Callable[..., Any], perm_func: Any = None):
        super().__init__(forward_func)
        self._refuse(perm_func=perm_func)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=inputs, target=target, extra=additional_forward_args, mask=feature_mask, spread=True
        )
        if len(asked.tensors[0]) < LEAST:
            raise RemovalError("one row has no other to take features from", fix="give a batch of rows")
        return self._answer(OurOcclusion(), asked)


class ShapleyValueSampling(Attribution):
    """Shapley values from random orders, each walked forward and back; ``n_samples`` orders, None: what settles them.

    Standard errors are in the record.
    """

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int | None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, mask=feature_mask
        )
        features = int(asked.labels.max()) + 1
        samples = None if n_samples is None else max(counted(n_samples, "n_samples") * (features - 1), 1) + 2
        return self._answer(PermutationShapley(samples), asked)


class ShapleyValues(Attribution):
    """Shapley values from all coalitions: nothing is sampled, so there is a limit to the features."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, mask=feature_mask
        )
        return self._answer(ExactShapley(), asked)


class _OfLines(Attribution):
    """What KernelShap and Lime share: with ``return_input_shape=False`` values come by feature, ``[N, features]``."""

    def _of_line(self, method: Method, asked: Question, return_input_shape: bool) -> Any:
        if return_input_shape:
            return self._answer(method, asked)
        record = self._record(method, asked)
        found = like(record.attributions[..., 0], asked.tensors[0])
        found.record = record  # pyright: ignore[reportAttributeAccessIssue]
        return found


class KernelShap(_OfLines):
    """Shapley values from a weighted line; ``n_samples`` None is 2n + 2048, and too few are refused."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int | None = None,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, mask=feature_mask
        )
        samples = None if n_samples is None else counted(n_samples, "n_samples")
        return self._of_line(KernelShapley(samples), asked, return_input_shape)


class Lime(_OfLines):
    """A line fitted to the outputs as features are switched off; a model or a kernel of one's own is refused.

    ``n_samples`` None: rounds until the first features are settled.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        interpretable_model: Any = None,
        similarity_func: Any = None,
        perturb_func: Any = None,
    ):
        super().__init__(forward_func)
        self._refuse(
            interpretable_model=interpretable_model, similarity_func=similarity_func, perturb_func=perturb_func
        )

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        n_samples: int | None = None,
        perturbations_per_eval: int = 1,
        return_input_shape: bool = True,
        show_progress: bool = False,
    ) -> Any:
        asked = self._question(
            inputs, baselines=baselines, target=target, extra=additional_forward_args, mask=feature_mask, kind="tensor"
        )
        samples = None if n_samples is None else counted(n_samples, "n_samples")
        return self._of_line(OurLime(samples), asked, return_input_shape)


def _sides(given: Any, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """A side for each axis of a row. Raises :class:`InputError` where there are too few or too many."""
    sides = tuple(np.ravel(given).tolist()) if not is_number(given) else (given,) * len(shape)
    if len(sides) != len(shape):
        raise InputError(
            f"{name}={given!r} has {len(sides)} sides, a row has {len(shape)} axes: {shape}",
            fix="give one for each axis, the rows' own left out",
        )
    return tuple(counted(side, name) for side in sides)
