"""What captum's classes have in common: a question is read, asked, and answered with tensors that know their record."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ...methods.controls import InputMagnitude
from ...methods.method import Method
from ...methods.smoothed import Smoothed
from ...records.errors import InputError, NotApplicable
from ...records.explanation import Explanation
from ...records.messages import Caution
from .forward import Neuron
from .question import Question, as_tensors, like


class Attribution:
    """``Class(forward_func).attribute(inputs, …)`` answers with tensors like the inputs: shape, type and device.

    Each tensor carries the whole record as ``.record``: settings, cost, gap, standard errors, cautions, which are
    Python warnings too. ``forward_func`` is a torch module or a function of tensors; the module is put in
    evaluation mode for the call, whatever mode it is in, and left as it was. Raises the errors of
    :mod:`pellucid.records.errors`.
    """

    complete: ClassVar[bool] = False
    """Whether contributions add up to a change of the output, so that there is a convergence delta."""

    def __init__(self, forward_func: Callable[..., Any]):
        if not callable(forward_func):
            raise InputError(
                f"a {type(forward_func).__name__} is no forward function", fix="give a torch module or a function"
            )
        self.forward_func = forward_func
        self.neuron: Neuron | None = None
        self.smoothing: dict[str, Any] | None = None

    def has_convergence_delta(self) -> bool:
        """Whether ``return_convergence_delta`` has a meaning here."""
        return self.complete

    def compute_convergence_delta(
        self,
        attributions: Any,
        start_point: Any,
        end_point: Any,
        target: Any = None,
        additional_forward_args: Any = None,
    ) -> Tensor:
        """What contributions miss, ``[N]``: their sum less f(end) − f(start); one start may stand for all rows."""
        ends = Question(self.forward_func, end_point, start_point, target, additional_forward_args)
        starts = ends.parted(ends.baseline_rows().expand(len(ends.tensors[0]), -1))
        begun = replace(ends, inputs=tuple(starts) if isinstance(end_point, tuple) else starts[0], baselines=None)
        change = self._record(InputMagnitude(), replace(ends, baselines=None)).full
        change = change - self._record(InputMagnitude(), begun).full
        parts = as_tensors(attributions, "attributions")
        summed = sum(part.double().reshape(len(part), -1).sum(1) for part in parts)
        return like(torch.as_tensor(summed).cpu().numpy() - change[:, 0], ends.tensors[0])

    # For the classes -----------------------------------------------------------------------------

    def _question(self, inputs: Any, **asked: Any) -> Question:
        return Question(self.forward_func, inputs, neuron=self.neuron, **asked)

    def _record(self, method: Method, question: Question) -> Any:
        """The record, whose cautions are told."""
        asked = method if self.smoothing is None else Smoothed(method, **self.smoothing)
        record = asked.explain(question.problem())
        among = record.target.get("among", 1)
        if among > 1:
            unsaid = Caution.of("target_unsaid", "yellow", outputs=among)
            record = replace(record, warnings=(*record.warnings, unsaid))
        told = [str(caution) for caution in record.warnings if caution.severity != "note"]
        if told:
            warnings.warn(" ".join(told), stacklevel=4)
        return record

    def _answer(self, method: Method, question: Question, delta: bool = False) -> Any:
        """Tensors like the inputs, with the convergence delta ``[N]`` behind them where it is asked for."""
        record = self._record(method, question)
        labels = np.broadcast_to(question.labels, (len(record), question.labels.shape[1]))
        found = question.shaped(np.take_along_axis(record.attributions[..., 0], labels, axis=1))
        for part in found if isinstance(found, tuple) else (found,):
            part.record = record
        return (found, delta_of(record, question)) if delta else found

    def _refuse(self, **unusual: Any) -> None:
        """Raise :class:`NotApplicable` for the first option that was given something else than nothing."""
        for name, value in unusual.items():
            if value is not None and value is not False:
                raise NotApplicable(f"{name}= is not offered here", fix="leave it out")


def delta_of(record: Explanation, question: Question) -> Tensor:
    """Σφ − (f(x) − f(x′)) of each row, ``[N]``."""
    summed = np.nansum(record.attributions[..., 0], axis=1)
    return like(summed - (record.full - record.base)[:, 0], question.tensors[0])


def product(multiply_by_inputs: bool) -> None:
    """Raise :class:`NotApplicable` for attributions that were not to be multiplied by the inputs."""
    if not multiply_by_inputs:
        raise NotApplicable(
            "multiply_by_inputs=False is not offered here",
            why="what is left would add up to nothing that could be checked",
            fix="divide the attributions by inputs − baselines where these differ, or use Saliency",
        )
