"""What "absent" can mean, by name: ``pellucid.removals.Blur(2.0)``."""

from .backends.proposals import Proposed
from .modalities.image import Blur, Noise, RegionMean
from .modalities.series import Interpolated, OtherSegment, SegmentMean, SeriesNoise
from .modalities.tabular import Mode
from .modalities.text import Hide, Replace
from .problem.conditional import ConditionalGaussian, ConditionalNearest
from .problem.removal import Constant, Marginal

__all__ = [
    "Blur",
    "ConditionalGaussian",
    "ConditionalNearest",
    "Constant",
    "Hide",
    "Interpolated",
    "Marginal",
    "Mode",
    "Noise",
    "OtherSegment",
    "Proposed",
    "RegionMean",
    "Replace",
    "SegmentMean",
    "SeriesNoise",
]
