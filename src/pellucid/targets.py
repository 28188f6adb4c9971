"""Which number is explained, by name: ``pellucid.targets.Loss(y)``."""

from .problem.loss import Loss
from .problem.target import All, Class, Computed, Contrast, EachRow, Predicted, Top, Total

__all__ = ["All", "Class", "Computed", "Contrast", "EachRow", "Loss", "Predicted", "Top", "Total"]
