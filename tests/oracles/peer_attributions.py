"""Run by the interpreter that has captum and shap: explains one network with them and saves the numbers.

Arguments: where the weights and rows are (npz), where the attributions go (npz).
"""

import sys

import numpy as np
import torch
from captum.attr import IntegratedGradients, Occlusion, Saliency
from shap import KernelExplainer


def main(given: str, out: str) -> None:
    data = np.load(given)
    tensors = {name: torch.from_numpy(data[name]) for name in data.files}

    def net(x):
        hidden = torch.tanh(x @ tensors["first"].T + tensors["bias"])
        return hidden @ tensors["second"].T

    x, zero = tensors["x"], torch.zeros(1, tensors["x"].shape[1], dtype=torch.float64)
    found = {
        "integrated_gradients": IntegratedGradients(net).attribute(x, baselines=zero, target=1, n_steps=64),
        "saliency": Saliency(net).attribute(x, target=1),
        "occlusion": Occlusion(net).attribute(x, sliding_window_shapes=(1,), baselines=0.0, target=1),
    }
    explainer = KernelExplainer(lambda rows: net(torch.from_numpy(rows)).numpy(), data["background"])
    explained = explainer(data["x"])
    saved = {name: value.detach().numpy() for name, value in found.items()}
    saved |= {"shap_values": explained.values, "shap_base": explained.base_values, "shap_data": explained.data}
    np.savez(out, **saved)


if __name__ == "__main__":
    main(*sys.argv[1:])
