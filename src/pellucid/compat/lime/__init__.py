"""Lime's names over Pellucid: ``from pellucid.compat import lime``, or ``….lime import lime_tabular``."""

from . import lime_image, lime_tabular, lime_text

__all__ = ["lime_image", "lime_tabular", "lime_text"]
