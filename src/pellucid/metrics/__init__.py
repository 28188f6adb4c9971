"""The metrics of explanations, one a file; ``pellucid.metrics.Abpc`` finds a class by its name."""

import sys

from ..records.room import attribute_finder


def _base() -> type:
    from .metric import Metric

    return Metric


__getattr__ = attribute_finder(sys.modules[__name__], _base)
