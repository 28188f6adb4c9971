"""Anchors by alibi and by anchor-exp, measured in an interpreter that has them; called by ``anchors.py --peers``.

    python anchors_peers.py CASE.npz      prints one line of JSON: versions; CPU seconds and rules of each

Both get a table of numbers and codes, and a function that turns such rows into the network's inputs by table look-up.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from time import process_time
from typing import Any

import numpy as np

Rule = list[dict[str, Any]]


def predictor(case: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Class probabilities ``[b, 2]`` of coded rows."""
    sizes, hot, scaled = case["sizes"], case["hot"], case["scaled"]
    layers = [(case[f"w{i}"].T.copy(), case[f"b{i}"]) for i in range(3)]
    plain = np.flatnonzero(~hot)
    starts = np.cumsum([0, *np.where(hot, sizes, 1)])
    width, places = starts[-1], starts[:-1]
    centers = np.where(sizes > 0, 0.0, scaled[:, 0])[plain]
    scales = np.where(sizes > 0, 1.0, scaled[:, 1])[plain]

    def scores(rows: np.ndarray) -> np.ndarray:
        made = np.zeros((len(rows), width), dtype=np.float32)
        made[:, places[plain]] = (rows[:, plain] - centers) / scales
        made[np.arange(len(rows))[:, None], places[hot] + rows[:, hot].astype(np.int64)] = 1.0
        for place, (weight, bias) in enumerate(layers):
            made = made @ weight + bias
            made = np.maximum(made, 0) if place < 2 else made
        odds = np.exp(made - made.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True)

    return scores


def counting(scores: Callable[[np.ndarray], np.ndarray]) -> tuple[Callable[[np.ndarray], np.ndarray], list[int]]:
    """The same function, and how many rows it was asked so far."""
    made = [0]

    def counted(rows: np.ndarray) -> np.ndarray:
        made[0] += len(rows)
        return scores(rows)

    return counted, made


def by_alibi(case: Any, scores: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    from alibi.explainers import AnchorTabular

    sizes = case["sizes"]
    names = [f"c{i}" for i in range(len(sizes))]
    categories = {i: [str(k) for k in range(size)] for i, size in enumerate(sizes.tolist()) if size}
    counted, made = counting(scores)
    explainer = AnchorTabular(counted, names, categorical_names=categories, seed=0)
    explainer.fit(case["train"], disc_perc=(25, 50, 75))
    explainer.explain(case["asked"][0], threshold=0.95, delta=0.1, tau=0.15, batch_size=100)
    before = made[0]
    began = process_time()
    found = [explainer.explain(row, threshold=0.95, delta=0.1, tau=0.15, batch_size=100) for row in case["asked"]]
    seconds = process_time() - began
    return {
        "seconds": seconds,
        "made": made[0] - before,
        "rules": [[_read(text) for text in one.anchor] for one in found],
    }


def by_anchor_exp(case: Any, scores: Callable[[np.ndarray], np.ndarray]) -> dict[str, Any]:
    from anchor.anchor_tabular import AnchorTabularExplainer

    sizes = case["sizes"]
    names = [f"c{i}" for i in range(len(sizes))]
    categories = {i: [str(k) for k in range(size)] for i, size in enumerate(sizes.tolist()) if size}
    np.random.seed(0)
    explainer = AnchorTabularExplainer(["bad", "good"], names, case["train"], categories)

    counted, made = counting(scores)

    def classes(rows: np.ndarray) -> np.ndarray:
        return counted(rows).argmax(1)

    def explain(row: np.ndarray) -> Any:
        return explainer.explain_instance(row, classes, threshold=0.95, delta=0.1, tau=0.15, batch_size=100)

    explain(case["asked"][0])
    before = made[0]
    began = process_time()
    found = [explain(row) for row in case["asked"]]
    seconds = process_time() - began
    return {
        "seconds": seconds,
        "made": made[0] - before,
        "rules": [[_read(text) for text in one.names()] for one in found],
    }


def _read(text: str) -> dict[str, Any]:
    """A condition as it is written (``c3 = 2``, ``1.00 < c5 <= 7.50``, ``c5 > 7.50``) as data."""
    parts = text.split()
    column = next(int(part[1:]) for part in parts if part.startswith("c"))
    if "=" in parts:
        return {"column": column, "equals": float(parts[-1])}
    above = upto = None
    if parts[0].startswith("c"):
        above, upto = (float(parts[2]), None) if parts[1] == ">" else (None, float(parts[2]))
    else:
        above, upto = float(parts[0]), float(parts[4])
    return {"column": column, "above": above, "upto": upto}


def main() -> None:
    with np.load(sys.argv[1]) as archive:
        case = {name: archive[name] for name in archive.files}
    scores = predictor(case)
    with contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, Any] = {"alibi": by_alibi(case, scores), "anchor-exp": by_anchor_exp(case, scores)}
    found["versions"] = {"alibi": version("alibi"), "anchor-exp": version("anchor_exp")}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
