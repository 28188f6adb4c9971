"""The white-box jobs by captum, shap, zennit and grad-cam; called by ``whitebox.py --peers``.

    python whitebox_peers.py WEIGHTS RUNS JOB …      prints one line of JSON: versions, and ratios by job

Each library is used as its documentation says. Jobs that would take minutes ask fewer rows and are divided by those.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peers
import torch
from cases import network, rows
from clock import Unit, best_batch
from peers import WEIGHTS, Peer
from whitebox_jobs import SHARED

FORWARD = Unit("resnet_64", False, 1)
ONE, MANY = Unit("resnet_64", True, 1), Unit("resnet_64", True, 32)


def _captum(name: str, kind: str, unit: Unit, count: int, **options: Any) -> Peer:
    import captum.attr

    method = vars(captum.attr)[kind](network(name, WEIGHTS))
    x = rows(name, count)
    return unit, count, lambda: method.attribute(x, target=0, **options)


def _smooth(name: str) -> Peer:
    from captum.attr import NoiseTunnel, Saliency

    unit = Unit(name, backward=True)
    tunnel, x, batch = NoiseTunnel(Saliency(network(name, WEIGHTS))), rows(name, 1), best_batch(unit)
    options = {"nt_type": "smoothgrad", "nt_samples": 50, "nt_samples_batch_size": batch, "stdevs": 0.1}
    return unit, 50, lambda: tunnel.attribute(x, target=0, **options)


def _captum_grad_cam() -> Peer:
    from captum.attr import LayerAttribution, LayerGradCam

    net, x = network("resnet_64", WEIGHTS), rows("resnet_64", 1)
    method = LayerGradCam(net, net[4])
    return FORWARD, 1, lambda: LayerAttribution.interpolate(method.attribute(x, target=0), (64, 64))


def _grad_cam() -> Peer:
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    net, x = network("resnet_64", WEIGHTS), rows("resnet_64", 1)
    method = GradCAM(model=net, target_layers=[net[4]])
    return FORWARD, 1, lambda: method(input_tensor=x, targets=[ClassifierOutputTarget(0)])


def _ten(kind: str) -> Peer:
    unit, _, _ = first = _captum("resnet_64", kind, MANY, 32)
    import captum.attr

    method, x = vars(captum.attr)[kind](network("resnet_64", WEIGHTS)), rows("resnet_64", 32)
    return unit, first[1], lambda: [method.attribute(x, target=output) for output in range(10)]


def _zennit(composite: str, unit: Unit, count: int) -> Peer:
    import zennit.composites
    from zennit.attribution import Gradient

    net, x = network("resnet_64", WEIGHTS), rows("resnet_64", count)
    chosen = vars(zennit.composites)[composite]()
    target = torch.eye(10)[[0] * count]

    def job() -> None:
        with Gradient(model=net, composite=chosen) as attributor:
            attributor(x, target)

    return unit, count, job


def _deepshap(name: str, count: int, background: int, outputs: int) -> Peer:
    from captum.attr import DeepLiftShap

    method, x = DeepLiftShap(network(name, WEIGHTS)), rows(name, count)
    references = rows(name, background, seed=3)

    def job() -> None:
        for output in range(outputs):
            method.attribute(x, baselines=references, target=output)

    return Unit(name, backward=True), count * background * outputs, job


def _shap_deep(name: str, count: int, background: int, outputs: int) -> Peer:
    import shap

    explainer = shap.DeepExplainer(network(name, WEIGHTS), rows(name, background, seed=3))
    x = rows(name, count)
    needed = count * background * outputs
    return Unit(name, backward=True), needed, lambda: explainer.shap_values(x, check_additivity=False)


PEERS: dict[str, dict[str, Callable[[], Peer]]] = {
    **{name: peers.PEERS[name] for name in SHARED},
    "smoothgrad": {"captum": lambda: _smooth("resnet_64")},
    "smoothgrad_224": {"captum": lambda: _smooth("resnet_224")},
    "grad_cam": {"captum": _captum_grad_cam, "grad-cam": _grad_cam},
    "deeplift": {"captum": lambda: _captum("resnet_64", "DeepLift", MANY, 32)},
    "deeplift_ten": {"captum": lambda: _ten("DeepLift")},
    "lrp": {
        "zennit": lambda: _zennit("EpsilonPlus", MANY, 32),
        "captum": lambda: _captum("resnet_64", "LRP", MANY, 32),
    },
    "lrp_one": {"zennit": lambda: _zennit("EpsilonPlus", ONE, 1)},
    "guided": {
        "captum": lambda: _captum("resnet_64", "GuidedBackprop", MANY, 32),
        "zennit": lambda: _zennit("GuidedBackprop", MANY, 32),
    },
    "deepshap": {
        "captum": lambda: _deepshap("mlp", 100, 100, 1),
        "shap": lambda: _shap_deep("mlp", 100, 100, 2),  # it always explains both outputs
    },
    "deepshap_ten": {
        "captum": lambda: _deepshap("mlp_10", 64, 50, 10),
        "shap": lambda: _shap_deep("mlp_10", 64, 50, 10),
    },
}

if __name__ == "__main__":
    raise SystemExit(peers.main(PEERS, ("captum", "shap", "zennit", "grad-cam")))
