"""Training: one loop for any network, resumable to the bit (``fit``), and small networks to train (``networks``)."""
