"""Imported before all else: numpy's and torch's pools, and those of processes begun here, have one thread each."""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_name] = "1"  # read once, when a pool starts
