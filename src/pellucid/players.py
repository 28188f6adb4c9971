"""What an explanation can speak of, by name: ``pellucid.players.Patches(8)``."""

from .modalities.image import Patches, Pixels, Slic
from .modalities.tabular import Columns
from .problem.units import Elements, Words
from .records.players import Players

__all__ = ["Columns", "Elements", "Patches", "Pixels", "Players", "Slic", "Words"]
