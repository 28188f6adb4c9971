"""A scikit-learn pipeline, explained by its gradients and audited: encoder, scaler and MLP, kept as a .skops file.

python examples/sklearn_pipeline.py [--out runs/sklearn_pipeline]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import make_column_transformer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import pellucid


def loans(count: int, seed: int = 0) -> pd.DataFrame:
    """People who ask for a loan; income, debt and whether they own their home decide, luck has a share."""
    dice = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": dice.integers(20, 75, count),
            "income": dice.lognormal(8, 0.4, count).round(),
            "debt": dice.exponential(4000, count).round(),
            "home": dice.choice(["rents", "owns", "parents"], count, p=[0.5, 0.35, 0.15]),
        }
    )
    score = frame.income / 1500 - frame.debt / 5000 + (frame.home == "owns") - 1.3 + dice.normal(0, 0.4, count)
    return frame.assign(paid_back=np.where(score > 0, "yes", "no"))


def fitted(rows: pd.DataFrame, labels: np.ndarray) -> Pipeline:
    columns = make_column_transformer(
        (StandardScaler(), ["age", "income", "debt"]), (OneHotEncoder(handle_unknown="ignore"), ["home"])
    )
    network = MLPClassifier((16, 8), alpha=1e-2, max_iter=400, random_state=0)
    return make_pipeline(columns, network).fit(rows, labels)


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    data = pellucid.read(loans(800), label="paid_back")
    train = data.train.features
    skops.io.dump(fitted(train, np.array(data.classes)[data.train.labels]), out / "loans.skops")

    model = pellucid.load(out / "loans.skops")  # no pickle: only types that are known
    rows = data.test.features[:5]
    for method in ("integrated_gradients", "shapley"):  # the MLP has gradients, the four raw columns are the players
        print(pellucid.explain(model, rows, method, target="yes", background=train))
    methods = ["shapley", "integrated_gradients"]
    study = pellucid.audit(model, data, out=out / "audit", methods=methods, rows=6)
    print(f"The report: {study.report}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/sklearn_pipeline"))
    main(parser.parse_args().out)
