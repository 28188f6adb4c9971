"""The methods of explanation, one a file; ``pellucid.methods.Lime`` finds a class by its name."""

import sys

from ..records.room import attribute_finder


def _base() -> type:
    from .method import Method

    return Method


__getattr__ = attribute_finder(sys.modules[__name__], _base)
