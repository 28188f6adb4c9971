"""Pellucid opens up trained neural networks and says how far each explanation can be trusted.

The verbs (``load``, ``wrap``, ``read``, ``explain``, ``evaluate``, ``compare``, ``audit``, ``open``,
``diff``) and the names ``methods``, ``metrics``, ``removals``, ``players`` and ``Budget`` are
fetched when first used, so that importing the package costs next to nothing.
"""

__version__ = "0.1.0"
