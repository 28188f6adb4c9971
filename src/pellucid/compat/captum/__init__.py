"""Captum's names over Pellucid: ``from pellucid.compat.captum.attr import IntegratedGradients``."""

from . import attr

__all__ = ["attr"]
