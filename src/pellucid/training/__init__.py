"""Training: one loop for any network, resumable to the bit (``fit``), a ``recorder`` for it, and small ``networks``."""
