"""Interpreters that have the peers: each an environment of its own, made once.

``boosted`` has shap, shapiq and LightGBM on Python 3.12, which shapiq's newer estimators need; ``captum`` lies on top
of the environment that runs the benchmark, so that PyTorch is not installed twice.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

BOOSTED = ("shap>=0.52", "shapiq>=1.6", "lightgbm")
"""What the names of the environments stand for is what they are made of."""
CAPTUM = ("captum",)


def environments(folder: Path) -> dict[str, Path]:
    """Interpreter by environment, made in ``folder`` where it is not there yet; what cannot be made is told."""
    found = {}
    for name, (base, wanted, below) in {
        "boosted": (_python(3, 12), BOOSTED, False),
        "captum": (Path(sys.executable), CAPTUM, True),
    }.items():
        if base is None:
            print(f"no Python 3.12 for {', '.join(wanted)}: left out", file=sys.stderr)
            continue
        python = folder / name / "bin" / "python"
        if not (folder / name / "ready").exists():
            _make(folder / name, base, wanted, below)
        found[name] = python
    return found


def _make(home: Path, base: Path, wanted: tuple[str, ...], below: bool) -> None:
    """An environment with these distributions; ``below``, it sees those of the running interpreter too."""
    subprocess.run([base, "-m", "venv", home], check=True)
    python = home / "bin" / "python"
    if below:
        places = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        (Path(places.stdout.strip()) / "below.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    (home / "ready").touch()


def _python(major: int, minor: int) -> Path | None:
    """An interpreter of this version: the running one, on the path, or pyenv's newest."""
    if sys.version_info[:2] == (major, minor):
        return Path(sys.executable)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for python in sorted(pyenv.glob(f"{major}.{minor}.*/bin/python"), reverse=True):
        return python
    named = shutil.which(f"python{major}.{minor}")
    return Path(named) if named else None
