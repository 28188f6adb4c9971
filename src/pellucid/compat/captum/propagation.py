"""Captum's methods that pass the output back through the network, on operations rather than modules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from torch import nn

from ...methods.deconvolution import Deconvolution as OurDeconvolution
from ...methods.deeplift import DeepLift as OurDeepLift
from ...methods.deepshap import DeepShap
from ...methods.guided_backprop import GuidedBackprop as OurGuidedBackprop
from ...methods.lrp import Lrp
from ...records.errors import NotApplicable
from .attribution import Attribution, product
from .forward import modules_of
from .question import like


class DeepLift(Attribution):
    """Differences to the baselines, passed back: exact for every operation that has a rule, whatever way it is written.

    ``eps`` is ignored: there is no threshold below which a difference counts as none.
    """

    complete: ClassVar[bool] = True

    def __init__(self, model: Callable[..., Any], multiply_by_inputs: bool = True, eps: float = 1e-10):
        super().__init__(model)
        product(multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(custom_attribution_func=custom_attribution_func)
        asked = self._question(inputs, baselines=baselines, target=target, extra=additional_forward_args)
        return self._answer(OurDeepLift(), asked, return_convergence_delta)


class DeepLiftShap(Attribution):
    """DeepLIFT from every one of the baselines, averaged. The delta is one number for each row."""

    complete: ClassVar[bool] = True

    def __init__(self, model: Callable[..., Any], multiply_by_inputs: bool = True):
        super().__init__(model)
        product(multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(custom_attribution_func=custom_attribution_func)
        asked = self._question(inputs, baselines=baselines, target=target, extra=additional_forward_args, spread=True)
        return self._answer(DeepShap(), asked, return_convergence_delta)


class GuidedBackprop(Attribution):
    """Gradients that pass a rectifier only where they are positive; a network without one is refused."""

    def __init__(self, model: Callable[..., Any]):
        super().__init__(model)

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        asked = self._question(inputs, target=target, extra=additional_forward_args)
        return self._answer(OurGuidedBackprop(), asked)


class Deconvolution(Attribution):
    """What is positive of the gradient passes a rectifier, whatever its input was."""

    def __init__(self, model: Callable[..., Any]):
        super().__init__(model)

    def attribute(self, inputs: Any, target: Any = None, additional_forward_args: Any = None) -> Any:
        asked = self._question(inputs, target=target, extra=additional_forward_args)
        return self._answer(OurDeconvolution(), asked)


class LRP(Attribution):
    """Relevance by the ε-rule, captum's default; rules written into modules are refused with what to use instead.

    The delta is the output less the sum of the relevance. LRP is said to be patented, and free for personal and
    scientific use only: decide for yourself.
    """

    complete: ClassVar[bool] = True

    def __init__(self, model: Callable[..., Any]):
        super().__init__(model)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        verbose: bool = False,
    ) -> Any:
        if any(_rules(module) for module in modules_of(self.forward_func)):
            raise NotApplicable(
                "a rule was written into a module",
                why="rules belong to operations here, so that F.relu and a reused module have them too",
                fix='pellucid.explain(model, rows, "lrp", rule="epsilon_plus") and its other rules',
            )
        asked = self._question(inputs, target=target, extra=additional_forward_args)
        found = self._answer(Lrp(rule="epsilon", epsilon=1e-9), asked)
        if not return_convergence_delta:
            return found
        record = (found[0] if isinstance(found, tuple) else found).record
        left = record.full[:, 0] - np.nansum(record.attributions[..., 0], axis=1)
        return found, like(left, asked.tensors[0])


def _rules(module: nn.Module) -> bool:
    return any("rule" in inner.__dict__ for inner in module.modules())
