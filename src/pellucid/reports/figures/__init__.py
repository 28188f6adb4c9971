"""Figures: pure functions from records to Altair charts, in the reader's language.

What came from data stands in a chart's values only, never in field names or expressions.
"""

from .adding_up import force, waterfall
from .answers import answer_map, is_answer
from .attention import attention_grid
from .contributions import beside_truth, contributions, importance, mean_importance
from .curves import curves, curves_named, precision_recall, reliability, roc, scatter
from .flows import decision_flow
from .images import heat_map, image_grid, image_overlay, importance_map, is_image
from .interactions import heatmap, network
from .matrices import advantage, agreement, agreement_matrix, confusion, confusion_counts, scores_matrix
from .overall import overall
from .profiles import correlations, distribution, distributions, missing, ranked_columns
from .recording import spread_over_epochs
from .rules import rule_list, rule_overlay
from .series import series_bands, series_overall
from .sets import set_list
from .swarms import beeswarm, summary
from .text import marked_text, word_weights, words_overall
from .units import strongest_units

__all__ = [
    "advantage", "agreement", "agreement_matrix", "answer_map", "attention_grid", "beeswarm", "beside_truth",
    "confusion", "confusion_counts", "contributions", "correlations", "curves", "curves_named", "decision_flow",
    "distribution", "distributions", "force", "heat_map", "heatmap", "image_grid", "image_overlay", "importance",
    "importance_map", "is_answer", "is_image", "marked_text", "mean_importance", "missing", "network", "overall",
    "precision_recall", "ranked_columns", "reliability", "roc", "rule_list", "rule_overlay", "scatter",
    "scores_matrix", "series_bands", "series_overall", "set_list", "spread_over_epochs", "strongest_units",
    "summary", "waterfall", "word_weights", "words_overall",
]  # fmt: skip
