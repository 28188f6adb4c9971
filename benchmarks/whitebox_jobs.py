"""The jobs inside the network: what is asked of Pellucid, how many bare rows that needs, and the bar it has to keep."""

from __future__ import annotations

from clock import Unit
from jobs import Job, explain
from jobs import jobs as gradients

import pellucid

SHARED = ("saliency_16", "saliency_1", "ig_image", "ig_image_224", "ig_tokens", "ig_table_1k")
"""Jobs of the other benchmark that are about gradients."""


def jobs() -> dict[str, Job]:
    """All jobs by name. Propagation is divided by forward and backward passes of the same batch."""
    one, many = Unit("resnet_64", True, 1), Unit("resnet_64", True, 32)
    forward = Unit("resnet_64", False, 1)
    back, table = Unit("resnet_64", True), Unit("mlp", True)
    pixels = {"players": pellucid.players.Pixels()}
    found = [
        Job("smoothgrad", "SmoothGrad, 50 copies, one image", back, 50, 1.15,
            explain("resnet_64", 1, "smoothgrad", samples=50)),
        Job("smoothgrad_224", "SmoothGrad, 50 copies, one image at 224²", Unit("resnet_224", True), 50, 1.2,
            explain("resnet_224", 1, "smoothgrad", samples=50)),
        Job("vargrad", "VarGrad, 50 copies, one image", back, 50, 1.15, explain("resnet_64", 1, "vargrad", samples=50)),
        Job("expected_gradients", "expected gradients, 50 points, 20 rows, one image", back, 50, 1.3,
            explain("resnet_64", 1, "expected_gradients", background=20, samples=50)),
        Job("smoothgrad_table", "SmoothGrad, 50 copies, 1,000 rows", table, 50_000, 2.0,
            explain("mlp", 1_000, "smoothgrad", samples=50)),
        Job("grad_cam", "Grad-CAM, one image, ÷ a forward pass of batch 1", forward, 1, 1.15,
            explain("resnet_64", 1, "grad_cam")),
        Job("deeplift", "DeepLIFT, 32 images, ÷ the same batch", many, 32, 2.0,
            explain("resnet_64", 32, "deeplift", **pixels)),
        Job("deeplift_ten", "DeepLIFT of all ten outputs, 32 images, ÷ the same batch", many, 32, 10.0,
            explain("resnet_64", 32, "deeplift", target="all", **pixels)),
        Job("lrp", "LRP ε-plus, 32 images, ÷ the same batch", many, 32, 2.0,
            explain("resnet_64", 32, "lrp", rule="epsilon_plus", **pixels)),
        Job("lrp_one", "LRP ε-plus, one image, ÷ a pass of batch 1", one, 1, None,
            explain("resnet_64", 1, "lrp", rule="epsilon_plus", **pixels)),
        Job("guided", "guided backpropagation, 32 images, ÷ the same batch", many, 32, None,
            explain("resnet_64", 32, "guided_backprop", **pixels)),
        Job("deepshap", "DeepSHAP, background 100, 1,000 rows", table, 100_000, 2.0,
            explain("mlp", 1_000, "deepshap", background=100)),
        Job("deepshap_ten", "DeepSHAP, background 50, 10 outputs, 64 rows", Unit("mlp_10", True), 32_000, None,
            explain("mlp_10", 64, "deepshap", background=50, target="all")),
    ]  # fmt: skip
    shared = {name: gradients()[name] for name in SHARED}
    return {**shared, **{job.name: job for job in found}}
