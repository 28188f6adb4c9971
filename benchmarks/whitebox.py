"""How fast inside the network: gradients, propagation and class activation over the bare passes they need.

    python benchmarks/whitebox.py [--only NAME …] [--runs 7] [--peers PYTHON] [--write]

``--peers`` is an interpreter that has captum, shap, zennit and grad-cam and the same PyTorch. Measured as
``speed.py`` measures.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import speed
from whitebox_jobs import jobs

PAGE = speed.PAGE.with_name("whitebox.md")

if __name__ == "__main__":
    raise SystemExit(speed.main(jobs(), PAGE, "Speed inside the network", "whitebox.py", "whitebox_peers.py"))
