"""Records made by hand for tests of reports: no model, no torch; every user string can be swapped for a nasty one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from pellucid.records.answer import Cost
from pellucid.records.explanation import Explanation
from pellucid.records.finding import Finding
from pellucid.records.messages import Caution
from pellucid.records.players import Players
from pellucid.records.profile import ColumnProfile, Profile
from pellucid.records.schema import Column, Schema
from pellucid.records.score import Score, Scores
from pellucid.records.study import Failure, Study

Rename = Callable[[str], str]
NAMES = (
    "mean radius",
    "mean texture",
    "mean perimeter",
    "mean area",
    "mean smoothness",
    "mean compactness",
    "mean concavity",
    "mean concave points",
    "mean symmetry",
    "mean fractal dimension",
    "radius error",
    "worst radius",
    "worst texture",
    "worst perimeter",
    "worst area",
    "worst concave points",
)
METHODS = ("integrated_gradients", "shapley", "lime", "occlusion", "saliency")
SPREAD = {"integrated_gradients": 0.05, "shapley": 0.03, "lime": 0.35, "occlusion": 0.2, "saliency": 1.2, "random": 4.0}
METRICS = {
    "deletion": ("lower", 0.31, 0.55),
    "insertion": ("higher", 0.81, 0.52),
    "faithfulness_correlation": ("higher", 0.74, 0.02),
    "infidelity": ("lower", 0.012, 0.14),
    "max_sensitivity": ("lower", 0.08, 0.02),
    "sparseness": ("higher", 0.61, 0.33),
}
SENTENCE = "The film was slow at first , but the last hour is wonderful and I would not miss it"
WORDS = tuple(SENTENCE.split())


def truth_of(rows: int, n: int, seed: int = 7) -> np.ndarray:
    """``Float64[rows, n]``: contributions that fall off with the player's number."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, n)) * 0.3 * 0.8 ** np.arange(n)


def table(
    method: str = "shapley", rows: int = 8, names: tuple[str, ...] = NAMES, rename: Rename = str, **fields
) -> Explanation:
    """Rows of a table: contributions near the truth, cells, standard errors for the methods that sample."""
    rng = np.random.default_rng(len(method))
    true = truth_of(rows, len(names))
    values = true + rng.normal(size=true.shape) * SPREAD[method] * 0.1
    sampled = method in ("shapley", "lime")
    base = np.full((rows, 1), 0.372)
    exact = method in ("integrated_gradients", "shapley")
    columns = [rename(name) for name in names]
    cells = np.random.default_rng(3).gamma(3.0, 6.0, size=(rows, len(names)))
    kept = {
        "attributions": values[:, :, None],
        "players": Players.elements(columns, kind="column"),
        "base": base,
        "full": base + values.sum(1)[:, None],
        "outputs": tuple((rename(("malignant", "benign")[i % 2]),) for i in range(rows)),
        "method": method,
        "settings": {"steps": 64} if method == "integrated_gradients" else {},
        "errors": np.full((*values.shape, 1), 0.02) if sampled else None,
        "gaps": np.full((rows, 1), 0.0012) if exact else None,
        "removal": {"name": "marginal", "rows": 100},
        "cost": Cost(evaluations=1024, rows=102400, seconds=1.84),
        "rows": [dict(zip(columns, map(float, line), strict=True)) for line in cells],
        "model": "ab" * 32,
    }
    return Explanation(**(kept | fields))


def digit(kind: int) -> np.ndarray:
    """``Float64[8, 8]``, 0…1: a nought or a one in pencil."""
    y, x = np.mgrid[:8, :8] - 3.5
    ring = np.exp(-((np.hypot(x, y * 0.8) - 2.4) ** 2) / 0.5)
    bar = np.exp(-(x**2) / 0.6) * (np.abs(y) < 3.2)
    return ring if kind == 0 else bar


def image(
    method: str = "shapley", rows: int = 6, patch: int = 1, channels: int = 1, rename: Rename = str, **fields
) -> Explanation:
    """Pictures of 8 × 8 pixels; players are pixels (``patch=1``) or square patches, shared by the channels."""
    rng = np.random.default_rng(len(method))
    pictures = np.stack([digit(i % 2) for i in range(rows)])
    sides = 8 // patch
    labels = np.arange(sides * sides).reshape(sides, sides).repeat(patch, 0).repeat(patch, 1)
    heat = (pictures - 0.4) * 0.1 + rng.normal(size=pictures.shape) * 0.02 * (0.3 + SPREAD[method])
    values = heat.reshape(rows, sides, patch, sides, patch).sum((2, 4)).reshape(rows, -1)
    layout = (channels, 8, 8)
    names = [f"{'pixel' if patch == 1 else 'patch'} {i // sides},{i % sides}" for i in range(sides * sides)]
    players = Players.shared(
        np.broadcast_to(labels, layout).ravel(), names, kind="pixel" if patch == 1 else "patch", layout=layout
    )
    base = np.full((rows, 1), 0.1)
    kept = {
        "attributions": values[:, :, None],
        "players": players,
        "base": base,
        "full": base + values.sum(1)[:, None],
        "outputs": tuple((rename(f"digit {i % 2}"),) for i in range(rows)),
        "method": method,
        "gaps": np.full((rows, 1), 0.2 if method == "shapley" else 0.001),
        "cost": Cost(evaluations=512, rows=51200, seconds=0.9),
        "rows": np.broadcast_to(pictures[:, None], (rows, *layout)).copy(),
    }
    return Explanation(**(kept | fields))


def text(method: str = "occlusion", rename: Rename = str, **fields) -> Explanation:
    """Two sentences of unequal length, a word a player."""
    rng = np.random.default_rng(5)
    lengths = (len(WORDS), 6)
    labels = np.full((2, len(WORDS)), -1)
    values = np.full((2, len(WORDS), 1), np.nan)
    for row, length in enumerate(lengths):
        labels[row, :length] = np.arange(length)
        values[row, :length, 0] = rng.normal(size=length) * 0.1
    names = tuple(tuple(rename(word) for word in WORDS[:length]) for length in lengths)
    kept = {
        "attributions": values,
        "players": Players(labels, names, kind="word"),
        "base": np.full((2, 1), 0.5),
        "full": 0.5 + np.nansum(values, axis=1),
        "outputs": ((rename("positive"),), (rename("negative"),)),
        "method": method,
        "rows": [" ".join(line) for line in names],
    }
    return Explanation(**(kept | fields))


def scores(methods: tuple[str, ...] = METHODS, rows: int = 8) -> Scores:
    """Six metrics of every method, with curves for deletion and insertion; one of them failed."""
    rng = np.random.default_rng(11)
    found = []
    for metric, (better, good, control) in METRICS.items():
        for method in methods:
            worse = min(1.0, SPREAD[method] * 0.7)
            values = good + (control - good) * worse + rng.normal(size=rows) * 0.02
            x = np.linspace(0, 1, 15)
            falls = metric == "deletion"
            curve = 0.95 * np.exp(-x * (4 - 3 * worse)) if falls else 0.95 - 0.85 * np.exp(-x * (5 - 3 * worse))
            curves = {metric: np.stack([x, curve], axis=1)} if metric in ("deletion", "insertion") else {}
            broken = metric == "infidelity" and method == "saliency"
            found.append(
                Score(
                    metric,
                    method,
                    np.full(rows, np.nan) if broken else values,
                    better,
                    controls={"random": control, "input_magnitude": control * 0.97},
                    curves=curves,
                    evaluations=200,
                    status="failed" if broken else "ok",
                    reason="needs contributions that add up" if broken else "",
                )
            )
    return Scores(found)


def performance(rename: Rename = str, classes: tuple[str, ...] = ("benign", "malignant")) -> Finding:
    """A finding with intervals, tables and curves, as the check "performance" writes it."""
    x = np.linspace(0, 1, 30)
    names = [rename(name) for name in classes]
    counts = [[(90 if i == j else 4) for j in range(len(names))] for i in range(len(names))]
    confusion = [
        {"truth": a, "predicted": b, "rows": counts[i][j], "share": counts[i][j] / sum(counts[i])}
        for i, a in enumerate(names)
        for j, b in enumerate(names)
    ]
    per_class = [
        {"class": name, "rows": 94, "precision": 0.957, "precision_low": 0.91, "precision_high": 0.985}
        for name in names
    ]
    slices = [
        {
            "slice": rename("site = north"),
            "rows": 88,
            "suppressed": False,
            "accuracy": 0.966,
            "accuracy_low": 0.92,
            "accuracy_high": 0.99,
        },
        {
            "slice": rename("site = south"),
            "rows": 4,
            "suppressed": True,
            "accuracy": np.nan,
            "accuracy_low": np.nan,
            "accuracy_high": np.nan,
        },
    ]
    return Finding(
        "performance",
        "performance",
        "note",
        {
            "accuracy": 0.957,
            "rows": 188,
            "level": 0.95,
            "low": 0.921,
            "high": 0.984,
            "majority": names[0],
            "chance": 0.62,
        },
        metrics={
            "accuracy": (0.957, 0.921, 0.984),
            "balanced_accuracy": (0.951, 0.912, 0.981),
            "f1_macro": (0.953, 0.92, 0.98),
            "roc_auc": (0.991, 0.982, 0.998),
            "log_loss": (0.121, 0.08, 0.17),
            "brier": (0.031, 0.02, 0.05),
            "above_chance": (0.33, 0.26, 0.4),
            "chance": (0.62, np.nan, np.nan),
        },
        tables={"classes": per_class, "confusion": confusion, "slices": slices},
        curves={
            f"roc: {names[-1]}": np.stack([x, x**0.12], 1),
            f"precision_recall: {names[-1]}": np.stack([x, 1 - 0.25 * x**6], 1),
        },
        rows=188,
    )


def calibration() -> Finding:
    x = np.linspace(0.5, 0.98, 8)
    values = {"stated": 0.94, "reached": 0.9, "ece": 0.041}
    bins = [{"confidence": float(c), "accuracy": float(c**1.2), "rows": 20} for c in x]
    return Finding(
        "calibration",
        "calibration_overconfident",
        "yellow",
        values,
        metrics={"ece": (0.041, 0.022, 0.064)},
        tables={"bins": bins},
        curves={"reliability": np.stack([x, x**1.2], 1)},
        rows=188,
    )


def schema(names: tuple[str, ...] = NAMES, rename: Rename = str) -> Schema:
    numeric = [
        Column(rename(name), "numeric", unit="mm" if i == 0 else "", immutable=i == 3) for i, name in enumerate(names)
    ]
    site = Column(rename("site"), "categorical", categories=(rename("north"), rename("south")), protected=True)
    return Schema((*numeric, site, Column(rename("diagnosis"), "categorical", role="label")))


def profile(names: tuple[str, ...] = NAMES, rename: Rename = str) -> Profile:
    rng = np.random.default_rng(2)
    columns = []
    for i, name in enumerate(names):
        low, high = (np.histogram(rng.gamma(*shape), bins=16, range=(0, 20))[0] for shape in ((3, 2, 300), (6, 2, 200)))
        columns.append(
            ColumnProfile(
                rename(name),
                "numeric",
                500,
                (0, 0, 14, 0, 60)[i % 5],
                480,
                8.2,
                4.1,
                (0.1, 4.0, 7.6, 11.2, 19.8),
                tuple(np.linspace(0, 20, 17).tolist()),
                (),
                tuple((low + high).tolist()),
                {rename("benign"): tuple(low.tolist()), rename("malignant"): tuple(high.tolist())},
                "mm" if i == 0 else "",
            )
        )
    labels = {rename("benign"): (200, 60), rename("malignant"): (100, 140)}
    columns.append(
        ColumnProfile(
            rename("site"),
            "categorical",
            500,
            0,
            2,
            categories=(rename("north"), rename("south")),
            counts=(300, 200),
            by_label=labels,
        )
    )
    base = rng.normal(size=(60, 3))
    matrix = np.corrcoef((base @ rng.normal(size=(3, len(names))) + rng.normal(size=(60, len(names)))).T)
    strength = {column.name: 0.9 - 0.05 * (i % 16) for i, column in enumerate(columns)}
    return Profile(
        rows=500,
        splits={"train": 312, "validation": 62, "test": 126},
        columns=tuple(columns),
        names=tuple(rename(name) for name in names),
        correlation=matrix,
        association=strength,
        labels={rename("benign"): 300, rename("malignant"): 200},
        warnings=(
            Caution.of(
                "twin_columns", "yellow", first=rename("mean radius"), second=rename("mean perimeter"), value=0.998
            ),
        ),
    )


def study(
    kind: str = "table", name: str = "Breast cancer", rename: Rename = str, names: tuple[str, ...] = NAMES
) -> Study:
    """A whole study of a table, of pictures or of sentences."""
    made: dict[str, Explanation] = {
        method: table(method, rename=rename, names=names) if kind == "table" else image(method, rename=rename)
        for method in (*METHODS, "random")
    }
    if kind == "text":
        made = {"occlusion": text(rename=rename), "lime": text("lime", rename=rename)}
    first = next(iter(made.values()))
    predictions = tuple(
        {
            "row": 100 + i,
            "prediction": first.outputs[i][0],
            "probability": 0.97 - 0.06 * i,
            "label": rename("benign") if i == 2 else first.outputs[i][0],
        }
        for i in range(len(first))
    )
    warnings = (
        Caution.of("beaten_by_control", "red", method="saliency", control="random", metric="deletion"),
        Caution.of("methods_disagree", "yellow", value=0.41),
        Caution.of("leakage", "yellow", column=rename("worst area"), measure="AUC", value=0.997),
        Caution.of("short_class", "yellow", name=rename("malignant"), rows=12),
        Caution.of("train_mode", "note"),
        Caution.of("failed_items", "note", method="lime", items=2, reason=rename("out of memory")),
    )
    return Study(
        name=rename(name),
        model={"architecture": rename("MLP 64-64"), "parameters": 6210, "weights": "9f" * 32},
        schema=schema(names, rename) if kind == "table" else None,
        profile=profile(names, rename) if kind == "table" else None,
        explanations=made,
        scores=scores(tuple(m for m in made if m != "random")) if kind != "text" else Scores(),
        findings=(
            performance(rename, ("benign", "malignant") if kind == "table" else ("digit 0", "digit 1")),
            calibration(),
        ),
        failed=(
            Failure("lime", (3, 7), "failed", rename("the weighted fit is singular"), 0.4),
            Failure("deeplift", tuple(range(8)), "timed out", "60 s are over", 60.0),
        ),
        predictions=predictions,
        truth=table("shapley", names=names, rename=rename, attributions=truth_of(8, len(names))[:, :, None])
        if kind == "table"
        else None,
        provenance={
            "seed": 0,
            "created": "2026-11-03T10:12:44Z",
            "versions": {"pellucid": "0.1.0", "torch": "2.13.0", "numpy": "2.4.0"},
            "hashes": {"data": "c3" * 32, "model": "9f" * 32},
            "hardware": {"cpu": rename("x86-64"), "cores": 2},
            "command": "pellucid audit net.pt2 loans.csv --label approved --out runs/loan --seed 0",
        },
        warnings=warnings,
    )
