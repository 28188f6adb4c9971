"""Captum's gradient methods: saliency, input × gradient, integrated and expected gradients, and noise around any."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any, ClassVar

from ...methods.expected_gradients import LEAST, ExpectedGradients
from ...methods.input_x_gradient import InputXGradient as OurInputXGradient
from ...methods.integrated_gradients import IntegratedGradients as OurIntegratedGradients
from ...methods.method import Method
from ...methods.saliency import Saliency as OurSaliency
from ...methods.smoothed import SAMPLES, Smoothed
from ...records.errors import InputError, NotApplicable
from ...records.settings import is_number
from ..asked import counted
from .attribution import Attribution, product

RULES = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid")
"""Captum's rules for an integral; the most exact of them stands for all here."""
NOISE = {"smoothgrad": "mean", "smoothgrad_sq": "square", "vargrad": "variance"}
POINTS = 8
"""Points on the ways to each noisy copy of a row."""


class Saliency(Attribution):
    """The gradient at the inputs, its magnitude with ``abs``."""

    def attribute(self, inputs: Any, target: Any = None, abs: bool = True, additional_forward_args: Any = None) -> Any:
        asked = self._question(inputs, target=target, extra=additional_forward_args)
        return self._answer(OurSaliency(signed_values=not abs), asked)


class InputXGradient(Attribution):
    """The inputs times the gradient there."""

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        return self._answer(OurInputXGradient(), self._question(inputs, target=target, extra=additional_forward_args))


class IntegratedGradients(Attribution):
    """Gradients along the straight path from the baselines.

    ``n_steps`` given is exact; without it steps are added row by row until the contributions add up to 1e-3.
    ``method`` is one of captum's names, and Gauss–Legendre whichever it is. ``internal_batch_size`` is ignored: the
    engine chooses.
    """

    complete: ClassVar[bool] = True

    def __init__(self, forward_func: Callable[..., Any], multiply_by_inputs: bool = True):
        super().__init__(forward_func)
        product(multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        asked = self._question(inputs, baselines=baselines, target=target, extra=additional_forward_args)
        return self._answer(integral(n_steps, method), asked, return_convergence_delta)


class GradientShap(Attribution):
    """Gradients on the ways from random baselines to each row.

    ``baselines`` are the rows to draw from. ``n_samples`` None is 200, with standard errors in the record. With
    ``stdevs`` (one number) the row is a noisy copy of itself each time. The delta is one number for each row.
    """

    complete: ClassVar[bool] = True

    def __init__(self, forward_func: Callable[..., Any], multiply_by_inputs: bool = True):
        super().__init__(forward_func)
        product(multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int | None = None,
        stdevs: Any = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        asked = self._question(inputs, baselines=baselines, target=target, extra=additional_forward_args, spread=True)
        return self._answer(expected(n_samples, one_number(stdevs, "stdevs")), asked, return_convergence_delta)


class NoiseTunnel(Attribution):
    """Any of these methods, asked about noisy copies of each row.

    ``stdevs`` is one number in the units of the inputs. ``nt_samples`` None is 25. A row's noise depends on the row
    alone: two calls agree to the bit. The delta is that of the mean over copies, at the row.
    """

    def __init__(self, attribution_method: Attribution):
        if not isinstance(attribution_method, Attribution) or isinstance(attribution_method, NoiseTunnel):
            raise InputError(f"a {type(attribution_method).__name__} is no method to be smoothed")
        super().__init__(attribution_method.forward_func)
        self.attribution_method = attribution_method
        self.complete = attribution_method.complete  # pyright: ignore[reportAttributeAccessIssue]

    def attribute(
        self,
        inputs: Any,
        nt_type: str = "smoothgrad",
        nt_samples: int | None = None,
        nt_samples_batch_size: int | None = None,
        stdevs: Any = 1.0,
        draw_baseline_from_distrib: bool = False,
        **kwargs: Any,
    ) -> Any:
        if nt_type not in NOISE:
            raise NotApplicable(f"nt_type={nt_type!r} is not known", fix=f"use one of {', '.join(NOISE)}")
        if draw_baseline_from_distrib:
            raise NotApplicable("draw_baseline_from_distrib is not offered here", fix="use GradientShap(…, stdevs=…)")
        inner = copy(self.attribution_method)
        inner.smoothing = {
            "samples": None if nt_samples is None else counted(nt_samples, "nt_samples"),
            "noise": one_number(stdevs, "stdevs"),
            "how": NOISE[nt_type],
            "absolute": True,
        }
        return inner.attribute(inputs, **kwargs)  # pyright: ignore[reportAttributeAccessIssue]  every method has one


def integral(n_steps: int | None, method: str) -> Method:
    """Integrated gradients as captum asks for them."""
    if method not in RULES:
        raise NotApplicable(f"method={method!r} is no rule for an integral", fix=f"use one of {', '.join(RULES)}")
    return OurIntegratedGradients(steps=None if n_steps is None else counted(n_steps, "n_steps"))


def expected(n_samples: int | None, noise: float) -> Method:
    """Expected gradients, of noisy copies where there is noise."""
    given = None if n_samples is None else counted(n_samples, "n_samples")
    if not noise:
        return ExpectedGradients(given if given is None else max(given, LEAST))
    copies = SAMPLES if given is None else max(2, given // POINTS)
    return Smoothed(ExpectedGradients(POINTS if copies > 2 else LEAST), copies, noise, absolute=True)


def one_number(given: Any, name: str) -> float:
    """A standard deviation: one number, or the same for each input."""
    parts = set(given) if isinstance(given, (tuple, list)) else {given}
    if len(parts) != 1 or not is_number(only := parts.pop()) or only < 0:
        raise NotApplicable(
            f"{name}={given!r} is not one number from 0 on", fix="give one standard deviation for all inputs"
        )
    return float(only)
