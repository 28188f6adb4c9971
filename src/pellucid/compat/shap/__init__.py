"""Shap's names over Pellucid: ``from pellucid.compat import shap`` instead of ``import shap``.

Explainers answer with :class:`Explanation` (``values``, ``base_values``, ``data``, ``feature_names``, cut like shap's,
with standard errors in ``error_std`` and the whole record, cautions included, in ``record``). Plots are Altair charts.
"""

from ...records.sliced import Sliced as Explanation
from . import links, maskers, plots
from .backgrounds import kmeans, sample
from .explainers import (
    DeepExplainer,
    ExactExplainer,
    Explainer,
    GradientExplainer,
    KernelExplainer,
    LinearExplainer,
    PartitionExplainer,
    PermutationExplainer,
    SamplingExplainer,
    TreeExplainer,
)
from .plots import bar as bar_plot
from .plots import force as force_plot
from .plots import image as image_plot
from .plots import initjs, summary_plot
from .plots import waterfall as waterfall_plot

__all__ = [
    "DeepExplainer", "ExactExplainer", "Explainer", "Explanation", "GradientExplainer", "KernelExplainer",
    "LinearExplainer", "PartitionExplainer", "PermutationExplainer", "SamplingExplainer", "TreeExplainer", "bar_plot",
    "force_plot", "image_plot", "initjs", "kmeans", "links", "maskers", "plots", "sample", "summary_plot",
    "waterfall_plot",
]  # fmt: skip
