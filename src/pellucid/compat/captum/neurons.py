"""Captum's methods about one neuron: any method, with what the neuron says for the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import nn

from ...methods.neuron_attribution import NeuronAttribution as OurNeuronAttribution
from ...records.errors import NotApplicable
from .attribution import Attribution
from .forward import Neuron
from .gradients import GradientShap, IntegratedGradients, Saliency, integral
from .layers import LayerAttribution
from .perturbations import FeatureAblation
from .propagation import Deconvolution, DeepLift, DeepLiftShap, GuidedBackprop

Inner = TypeVar("Inner", bound=Attribution)


class NeuronAttribution(LayerAttribution):
    """``Class(forward_func, layer).attribute(inputs, neuron_selector, …)`` answers with tensors like the inputs.

    The selector is a place in what the layer returns for a row (a number or a tuple of them; slices are summed), or a
    function of what it returns for a batch. ``attribute_to_neuron_input`` is refused.
    """

    def _asking(self, method: type[Inner], neuron_selector: Any, attribute_to_neuron_input: bool) -> Inner:
        """A method that asks the neuron."""
        self._refuse(attribute_to_neuron_input=attribute_to_neuron_input)
        inner = method(self.forward_func)
        inner.neuron = Neuron(self.layer, neuron_selector)
        return inner


class NeuronGradient(NeuronAttribution):
    """The gradient of the neuron at the inputs, with its sign."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        inner = self._asking(Saliency, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, abs=False, additional_forward_args=additional_forward_args)


class NeuronIntegratedGradients(NeuronAttribution):
    """Integrated gradients of the neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        inner = self._asking(IntegratedGradients, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, baselines, None, additional_forward_args, n_steps, method)


class NeuronGradientShap(NeuronAttribution):
    """Expected gradients of the neuron."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        n_samples: int | None = None,
        stdevs: Any = 0.0,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        inner = self._asking(GradientShap, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, baselines, n_samples, stdevs, None, additional_forward_args)


class NeuronDeepLift(NeuronAttribution):
    """DeepLIFT of the neuron."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, multiply_by_inputs: bool = True):
        super().__init__(model, layer, None, multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(custom_attribution_func=custom_attribution_func)
        inner = self._asking(DeepLift, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, baselines, None, additional_forward_args)


class NeuronDeepLiftShap(NeuronAttribution):
    """DeepLIFT of the neuron, averaged over the baselines."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, multiply_by_inputs: bool = True):
        super().__init__(model, layer, None, multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(custom_attribution_func=custom_attribution_func)
        inner = self._asking(DeepLiftShap, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, baselines, None, additional_forward_args)


class NeuronGuidedBackprop(NeuronAttribution):
    """Guided backpropagation from the neuron."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, device_ids: Any = None):
        super().__init__(model, layer)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        inner = self._asking(GuidedBackprop, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, additional_forward_args=additional_forward_args)


class NeuronDeconvolution(NeuronAttribution):
    """Deconvolution from the neuron."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, device_ids: Any = None):
        super().__init__(model, layer)

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        additional_forward_args: Any = None,
        attribute_to_neuron_input: bool = False,
    ) -> Any:
        inner = self._asking(Deconvolution, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, additional_forward_args=additional_forward_args)


class NeuronFeatureAblation(NeuronAttribution):
    """What the neuron loses when a feature is set to its baseline."""

    def attribute(
        self,
        inputs: Any,
        neuron_selector: Any,
        baselines: Any = None,
        additional_forward_args: Any = None,
        feature_mask: Any = None,
        attribute_to_neuron_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        inner = self._asking(FeatureAblation, neuron_selector, attribute_to_neuron_input)
        return inner.attribute(inputs, baselines, None, additional_forward_args, feature_mask)


class NeuronConductance(NeuronAttribution):
    """What of the inputs goes through the neuron to the output; ``neuron_selector`` is a number or a tuple of them."""

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
