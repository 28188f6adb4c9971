"""The laws, for whoever writes a method: ``pellucid.testing.check_method(MyMethod())``."""

from .laws import check_method

__all__ = ["check_method"]
