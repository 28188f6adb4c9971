"""What an explanation can speak of, by name: ``pellucid.players.Patches(8)``."""

from .modalities.image import Patches, Pixels, Quadtree, Slic
from .modalities.series import ChangePoints, Channels, Steps, Windows
from .modalities.tabular import ColumnBlocks, ColumnGroups, Columns, CorrelatedColumns
from .modalities.text import Characters, Passages, Sentences, Tokens, Words
from .problem.units import Elements
from .records.players import Players

__all__ = [
    "ChangePoints",
    "Channels",
    "Characters",
    "ColumnBlocks",
    "ColumnGroups",
    "Columns",
    "CorrelatedColumns",
    "Elements",
    "Passages",
    "Patches",
    "Pixels",
    "Players",
    "Quadtree",
    "Sentences",
    "Slic",
    "Steps",
    "Tokens",
    "Windows",
    "Words",
]
