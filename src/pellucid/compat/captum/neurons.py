"""Captum's methods about one neuron: any method, with what the neuron says for the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from torch import nn

from ...methods.neuron_attribution import NeuronAttribution as OurNeuronAttribution
from ...records.errors import NotApplicable
from .attribution import Attribution
from .forward import Neuron
from .gradients import GradientShap, IntegratedGradients, SignedSaliency, integral
from .layers import LayerAttribution
from .perturbations import FeatureAblation
from .propagation import Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop


class NeuronAttribution(LayerAttribution):
    """``Class(forward_func, layer).attribute(inputs, neuron_selector, …)``, further options as those of :attr:`of`.

    The selector is a place in what the layer returns for a row (a number or a tuple of them; slices are summed), or a
    function of what it returns for a batch.
    """

    of: ClassVar[type[Attribution]]

    def attribute(
        self, inputs: Any, neuron_selector: Any, attribute_to_neuron_input: bool = False, **options: Any
    ) -> Any:
        self._refuse(attribute_to_neuron_input=attribute_to_neuron_input)
        inner = self.of(self.forward_func)
        inner.neuron = Neuron(self.layer, neuron_selector)
        return inner.attribute(inputs, **options)  # pyright: ignore[reportAttributeAccessIssue]  every method has one


class NeuronGradient(NeuronAttribution):
    """The gradient of the neuron at the inputs, with its sign."""

    of: ClassVar[type[Attribution]] = SignedSaliency


class NeuronIntegratedGradients(NeuronAttribution):
    """Integrated gradients of the neuron."""

    of: ClassVar[type[Attribution]] = IntegratedGradients


class NeuronGradientShap(NeuronAttribution):
    """Expected gradients of the neuron."""

    of: ClassVar[type[Attribution]] = GradientShap


class NeuronDeepLift(NeuronAttribution):
    """DeepLIFT of the neuron."""

    of: ClassVar[type[Attribution]] = DeepLift


class NeuronDeepLiftShap(NeuronAttribution):
    """DeepLIFT of the neuron, averaged over the baselines."""

    of: ClassVar[type[Attribution]] = DeepLiftShap


class NeuronGuidedBackprop(NeuronAttribution):
    """Guided backpropagation from the neuron."""

    of: ClassVar[type[Attribution]] = GuidedBackprop


class NeuronDeconvolution(NeuronAttribution):
    """Deconvolution from the neuron."""

    of: ClassVar[type[Attribution]] = Deconvolution


class NeuronFeatureAblation(NeuronAttribution):
    """What the neuron loses when a feature is set to its baseline."""

    of: ClassVar[type[Attribution]] = FeatureAblation


class NeuronConductance(LayerAttribution):
    """What of the inputs goes through the neuron to the output; ``neuron_selector`` is a number or a tuple of them."""

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: Any = None,
        multiply_by_inputs: bool = True,
    ):
        super().__init__(forward_func, layer)
        self._refuse(multiply_by_inputs=not multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: str = "riemann_trapezoid",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_neuron_input=attribute_to_neuron_input)
        integral(n_steps, method)  # for its sentences
        if callable(neuron_selector):
            raise NotApplicable("a neuron_selector that is a function", fix="give a number or a tuple of numbers")
        asked = self._watched(inputs, baselines=baselines, target=target, extra=additional_forward_args)
        ours = OurNeuronAttribution(layer=self._path(asked), unit=neuron_selector, steps=n_steps)
        return self._answer(ours, asked)
