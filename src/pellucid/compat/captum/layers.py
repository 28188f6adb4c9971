"""Captum's methods about a layer: what is there, what it contributes, and any method with the layer for the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ...engine.caller import Caller
from ...engine.listener import Silent
from ...methods.deeplift import DeepLift
from ...methods.deepshap import DeepShap
from ...methods.grad_cam import GradCam
from ...methods.guided_grad_cam import GuidedGradCam as OurGuidedGradCam
from ...methods.internal_influence import InternalInfluence as OurInternalInfluence
from ...methods.layer_conductance import LayerConductance as OurLayerConductance
from ...methods.layer_gradient_x_activation import LayerGradientXActivation as OurLayerGradientXActivation
from ...methods.method import Method
from ...methods.occlusion import Occlusion
from ...problem.inputs import Inputs
from ...records.errors import InputError, NotApplicable
from .attribution import Attribution, product
from .forward import ROW, Neuron
from .gradients import expected, integral, one_number
from .question import Question, like


class LayerAttribution(Attribution):
    """``Class(forward_func, layer).attribute(inputs, …)`` answers with a tensor like what the layer returns.

    A layer that is called twice in one pass, and one that returns no single tensor, are refused; ``device_ids`` is
    ignored. Explained is what the layer returns: ``attribute_to_layer_input`` is refused.
    """

    def __init__(
        self,
        forward_func: Callable[..., Any],
        layer: nn.Module,
        device_ids: Any = None,
        multiply_by_inputs: bool = True,
    ):
        super().__init__(forward_func)
        product(multiply_by_inputs)
        self.layer = _one_layer(layer)

    @staticmethod
    def interpolate(layer_attribution: Any, interpolate_dims: Any, interpolate_mode: str = "nearest") -> Any:
        """Maps ``[N, C, h, w]`` enlarged to the sides of the inputs."""
        if isinstance(layer_attribution, tuple):
            return tuple(
                LayerAttribution.interpolate(one, interpolate_dims, interpolate_mode) for one in layer_attribution
            )
        return nn.functional.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)

    def _path(self, question: Question) -> str:
        """The layer's name in the model that is asked."""
        return path_of(self.layer, question)

    def _traced(self, method: Method, question: Question, delta: bool = False) -> Any:
        """The values of the layer's units ``[N, *shape]``."""
        record = self._record(method, question)
        found = like(record.values, question.tensors[0])
        found.record = record  # pyright: ignore[reportAttributeAccessIssue]
        if not delta:
            return found
        missed = record.units[..., 0].sum(1) - (record.full - record.base)[:, 0]
        return found, like(missed, question.tensors[0])

    def _watched(self, inputs: Any, **asked: Any) -> Question:
        return self._question(inputs, watched=self.layer, **asked)


class LayerActivation(LayerAttribution):
    """What the layer returns."""

    def attribute(
        self, inputs: Any, additional_forward_args: Any = None, attribute_to_layer_input: bool = False
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        return activation(self.forward_func, self.layer, inputs, additional_forward_args)


class LayerGradientXActivation(LayerAttribution):
    """What the layer returns times the gradient there."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        asked = self._watched(inputs, target=target, extra=additional_forward_args)
        return self._traced(OurLayerGradientXActivation(layer=self._path(asked)), asked)


class LayerConductance(LayerAttribution):
    """What flows through each unit while the inputs go from the baselines to the rows."""

    complete: ClassVar[bool] = True

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
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        integral(n_steps, method)  # for its sentences
        asked = self._watched(inputs, baselines=baselines, target=target, extra=additional_forward_args)
        ours = OurLayerConductance(layer=self._path(asked), steps=n_steps if n_steps is None else max(2, n_steps))
        return self._traced(ours, asked, return_convergence_delta)


class InternalInfluence(LayerAttribution):
    """The gradient at the layer, in the mean over the way from the baselines."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        n_steps: int | None = None,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        integral(n_steps, method)
        asked = self._watched(inputs, baselines=baselines, target=target, extra=additional_forward_args)
        return self._traced(OurInternalInfluence(layer=self._path(asked), steps=n_steps), asked)


class LayerGradCam(LayerAttribution):
    """Grad-CAM's map ``[N, 1, h, w]`` in raw scale; :meth:`interpolate` enlarges it."""

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
        attr_dim_summation: bool = True,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input, attr_dim_summation=not attr_dim_summation)
        asked = self._watched(inputs, target=target, extra=additional_forward_args)
        record = self._record(GradCam(layer=self._path(asked), relu=bool(relu_attributions)), asked)
        found = like(record.maps[:, None, :, :, 0], asked.tensors[0])
        found.record = record  # pyright: ignore[reportAttributeAccessIssue]
        return found


class GuidedGradCam(LayerAttribution):
    """Guided backpropagation times the enlarged Grad-CAM, like the inputs; the map is enlarged bilinearly."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, device_ids: Any = None):
        super().__init__(model, layer)

    def attribute(
        self,
        inputs: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        interpolate_mode: str = "bilinear",
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        asked = self._watched(inputs, target=target, extra=additional_forward_args)
        return self._answer(OurGuidedGradCam(layer=self._path(asked)), asked)


# The layer for the inputs ------------------------------------------------------------------------


class _Behind(LayerAttribution):
    """Methods for which what the layer returns takes the place of the inputs; token ids are explained this way."""

    complete: ClassVar[bool] = True

    def _asked(self, method: Method, inputs: Any, baselines: Any, extra: Any, delta: bool, **asked: Any) -> Any:
        at = activation(self.forward_func, self.layer, inputs, extra)
        rows = self._starts(inputs, baselines, extra)
        question = self._question(at, baselines=rows, extra=extra, behind=(self.layer, inputs), **asked)
        return self._answer(method, question, delta)

    def _starts(self, inputs: Any, baselines: Any, extra: Any) -> Tensor:
        """What the layer returns for the baselines."""
        before = Question(self.forward_func, inputs, baselines)
        parts = before.parted(before.baseline_rows())
        if len(parts[0]) != len(before.tensors[0]) and extra is not None:  # further arguments belong to rows
            parts = [part.expand(len(before.tensors[0]), *part.shape[1:]) for part in parts]
        return activation(self.forward_func, self.layer, tuple(parts), extra)


class LayerIntegratedGradients(_Behind):
    """Integrated gradients with what the layer returns for the inputs: at an embedding, those of the tokens.

    The path is straight in the layer. Baselines are inputs; None is zeros.
    """

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
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        ours = integral(n_steps, method)
        return self._asked(ours, inputs, baselines, additional_forward_args, return_convergence_delta, target=target)


class LayerDeepLift(_Behind):
    """DeepLIFT from the layer on."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, multiply_by_inputs: bool = True):
        super().__init__(model, layer, None, multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input, custom_attribution_func=custom_attribution_func)
        extra, delta = additional_forward_args, return_convergence_delta
        return self._asked(DeepLift(), inputs, baselines, extra, delta, target=target)


class LayerDeepLiftShap(_Behind):
    """DeepLIFT from the layer on, averaged over the baselines."""

    def __init__(self, model: Callable[..., Any], layer: nn.Module, multiply_by_inputs: bool = True):
        super().__init__(model, layer, None, multiply_by_inputs)

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
        custom_attribution_func: Any = None,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input, custom_attribution_func=custom_attribution_func)
        extra, delta = additional_forward_args, return_convergence_delta
        return self._asked(DeepShap(), inputs, baselines, extra, delta, target=target, spread=True)


class LayerGradientShap(_Behind):
    """Gradients at the layer on the ways from what it returns for random baselines."""

    def attribute(
        self,
        inputs: Any,
        baselines: Any,
        n_samples: int | None = None,
        stdevs: Any = 0.0,
        target: Any = None,
        additional_forward_args: Any = None,
        return_convergence_delta: bool = False,
        attribute_to_layer_input: bool = False,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        ours = expected(n_samples, one_number(stdevs, "stdevs"))
        extra, delta = additional_forward_args, return_convergence_delta
        return self._asked(ours, inputs, baselines, extra, delta, target=target, spread=True)


class LayerFeatureAblation(_Behind):
    """What the output loses when a unit of the layer is set to a baseline, a number or like what the layer returns."""

    complete: ClassVar[bool] = False

    def attribute(
        self,
        inputs: Any,
        layer_baselines: Any = None,
        target: Any = None,
        additional_forward_args: Any = None,
        layer_mask: Any = None,
        attribute_to_layer_input: bool = False,
        perturbations_per_eval: int = 1,
    ) -> Any:
        self._refuse(attribute_to_layer_input=attribute_to_layer_input)
        extra = additional_forward_args
        at = activation(self.forward_func, self.layer, inputs, extra)
        question = self._question(
            at, baselines=layer_baselines, target=target, extra=extra, mask=layer_mask, behind=(self.layer, inputs)
        )
        return self._answer(Occlusion(), question)


# Small steps -------------------------------------------------------------------------------------


def path_of(layer: nn.Module, question: Question) -> str:
    """A layer's name in the model of a question. Raises :class:`InputError` where it is no part of it."""
    model = question.model(along=True)
    found = next((name for name, module in getattr(model, "layers", {}).items() if module is layer), None)
    if found is None:
        raise InputError(
            f"this {type(layer).__name__} is no part of the model, as far as can be seen",
            fix="give the module itself as forward_func, or a function of it",
        )
    return found


def activation(function: Callable[..., Any], layer: nn.Module, inputs: Any, extra: Any = None) -> Tensor:
    """What a layer returns for the inputs, ``[N, …]``."""
    shapes: list[torch.Size] = []

    def flattened(found: Tensor) -> Tensor:
        shapes.append(found.shape)
        return found.flatten(1)

    question = Question(function, inputs, extra=extra, neuron=Neuron(layer, flattened))
    count = len(question.tensors[0])
    model = question.model(along=True)
    rows = model.place({**dict(zip(question.names, question.tensors, strict=True)), ROW: torch.arange(count)})
    assert not isinstance(rows, list)
    caller = Caller(model, Inputs(rows), Silent())
    with caller.guarded(), torch.no_grad():
        found = model.outputs(rows)
    return found.unflatten(1, shapes[-1][1:])


def _one_layer(layer: Any) -> nn.Module:
    if not isinstance(layer, nn.Module):
        raise NotApplicable(
            f"layer={type(layer).__name__} is not one module", fix="give one layer, and ask about the next one after it"
        )
    return layer
