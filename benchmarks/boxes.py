"""Do explanations lie where the evidence is known to be? Small networks on pictures with boxes, beside controls.

    python benchmarks/boxes.py [--write] [--data FOLDER] [--audits FOLDER] [--rows 64]

Trains a small convolutional network on each data set in a minute or two, explains test pictures that it gets right,
pixel by pixel, and scores the pointing game, relevance mass and relevance rank; controls are scored on the very same
pictures. With ``--audits`` each network is audited, too, so that the pictures can be looked at. Data sets that are
absent are left out.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from pages import publish
from report import machine, versions

import pellucid
from pellucid.data.arrays import from_arrays
from pellucid.data.dataset import Dataset, Source
from pellucid.data.images import ImageEncoding
from pellucid.modalities.image import Boxes
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import small_cnn

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "boxes.md"
DATA = ROOT / "../shared/data"
METHODS = ("grad_cam", "deeplift", "lrp", "integrated_gradients", "saliency")
CONTROLS = ("random", "input_magnitude", "edge_filter")
METRICS = ("pointing_game", "relevance_mass", "relevance_rank")


@dataclass(frozen=True)
class Pictures:
    """A data set in memory: raw pictures with labels, and where what decides the label lies, if that is known."""

    title: str
    data: Dataset
    boxes: Boxes | None
    epochs: int


def signs(folder: Path) -> Pictures:
    """Traffic signs of twelve classes; the box is the sign's."""
    kept = np.load(folder / "gtsrb_small" / "gtsrb12_35.npz", allow_pickle=False)
    both = {name: np.concatenate([kept[f"{name}_train"], kept[f"{name}_test"]]) for name in ("X", "y", "roi")}
    split = np.repeat(["train", "test"], [len(kept["y_train"]), len(kept["y_test"])])
    return Pictures("traffic signs", _data(both["X"], both["y"], kept["class_names"], split), Boxes(both["roi"]), 20)


def cells(folder: Path) -> Pictures:
    """Quarters of blood smears: is there a white cell? The boxes are those of white cells; without one, there are none.

    A cell belongs to the quarter that its middle lies in, and a quarter that only cuts one is left out.
    """
    kept = np.load(folder / "bccd_blood_cells" / "bccd_128x96.npz", allow_pickle=False)
    white = kept["box_kind"] == 1
    pictures, labels, boxes, splits = [], [], [], []
    for place, picture in enumerate(kept["images"]):
        own = kept["box_xyxy"][white & (kept["box_image"] == place)].astype(np.float64)
        for top, left in ((0, 0), (0, 64), (48, 0), (48, 64)):
            moved = own - [left, top, left, top]
            cut = np.clip(moved, 0, [64, 48, 64, 48])
            area = (cut[:, 2] - cut[:, 0]) * (cut[:, 3] - cut[:, 1])
            middle = (moved[:, :2] + moved[:, 2:]) / 2
            held = ((middle >= 0) & (middle < [64, 48])).all(1)
            if (area[~held] > 0).any() and not held.any():
                continue
            pictures.append(picture[top : top + 48, left : left + 64])
            labels.append(int(held.any()))
            boxes.append(cut[area > 0])
            splits.append("train" if kept["split"][place] == "train" else "test")
    names = np.array(["no white cell", "white cell"])
    data = _data(np.array(pictures), np.array(labels), names, np.array(splits))
    return Pictures("white blood cells", data, Boxes(boxes), 20)


def breasts(folder: Path) -> Pictures:
    """Breast ultrasound: normal, benign, malignant; where the lesion lies is not known."""
    kept = np.load(folder / "busi_ultrasound" / "busi_96.npz", allow_pickle=False)
    return Pictures(
        "breast ultrasound", _data(kept["images"], kept["labels"], kept["class_names"], kept["split"]), None, 20
    )


SETS: dict[str, Callable[[Path], Pictures]] = {
    "gtsrb_small": signs,
    "bccd_blood_cells": cells,
    "busi_ultrasound": breasts,
}


def _data(images: np.ndarray, labels: np.ndarray, names: np.ndarray, split: np.ndarray) -> Dataset:
    return from_arrays(
        images, labels=labels.astype(np.int64), class_names=names, own_split=split, source=Source("", ""), seed=0
    )


def trained(pictures: Pictures) -> tuple[torch.nn.Module, ImageEncoding, float, float]:
    """A network, its encoding, its accuracy on the test pictures, and the seconds that training took."""
    data, encoding = pictures.data, ImageEncoding(pictures.data.array.shape[1:])
    channels, height, width = encoding.model_shape
    settings = {"channels": channels, "height": height, "width": width, "classes": len(data.classes), "base": 8}
    network, began = fresh(small_cnn, 0, **settings), time.perf_counter()
    parts = (data.train, data.validation, data.test)
    train, validation, test = ((encoding.encode(part.features), part.labels) for part in parts)
    fit(network, train, epochs=pictures.epochs, seed=0, batch_size=32, validation=validation)
    with torch.no_grad():
        right = network(torch.as_tensor(test[0])).argmax(1).numpy() == test[1]
    return network, encoding, float(right.mean()), time.perf_counter() - began


@dataclass(frozen=True)
class Judged:
    """A data set's results: metric → method → (mean, standard error)."""

    pictures: Pictures
    accuracy: float
    seconds: float
    rows: int
    share: float
    scores: dict[str, dict[str, tuple[float, float]]]


def judged(pictures: Pictures, network: torch.nn.Module, encoding: ImageEncoding, rows: int) -> tuple[int, float, dict]:
    """Scores of test pictures that are classed rightly and hold a box: how many, the boxes' mean share, the scores."""
    test, boxes = pictures.data.test, pictures.boxes
    assert boxes is not None and test.labels is not None
    x = torch.as_tensor(encoding.encode(test.features))
    with torch.no_grad():
        right = network(x).argmax(1).numpy() == test.labels
    own = boxes[test.row_numbers - 1]
    held = np.array([len(each) > 0 for each in own.corners])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero(right & held))[:rows]
    asked = {"removal": pellucid.removals.Blur(), "players": pellucid.players.Pixels()}
    explained = {name: pellucid.explain(network, x[chosen], name, **asked) for name in (*METHODS, *CONTROLS)}
    masks = own[chosen].masks(*x.shape[2:])
    found = pellucid.evaluate(network, x[chosen], explained, metrics=list(METRICS), truth=masks, controls=False)
    scores: dict[str, dict[str, tuple[float, float]]] = {metric: {} for metric in METRICS}
    for score in found:
        known = score.values[np.isfinite(score.values)]
        scores[score.metric][score.method] = (float(known.mean()), float(known.std(ddof=1) / len(known) ** 0.5))
    return len(chosen), float(masks.mean()), scores


ABOUT = """
Small convolutional networks (`pellucid.training.networks.small_cnn`, base 8), trained on each data set's train split.
Test pictures that are classed rightly and hold a box are explained pixel by pixel, for the predicted class, absent
meaning blurred. What raises the output counts (`counts="raising"`). ± is half of a 95 % interval over pictures.
Controls know nothing of the network and are scored on the very same pictures; “share” is the boxes' mean share of the
picture, which uniform contributions would score. Made by `python benchmarks/boxes.py --write`.
"""


def lines(results: list[Judged]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Boxes: do explanations lie where the evidence is known to be?"
    yield ABOUT
    yield f"{date.today()}, {machine()}; {versions()}."
    yield ""
    for one in results:
        train, test = len(one.pictures.data.train), len(one.pictures.data.test)
        known = f"{one.rows} pictures, share {one.share:.3f}" if one.rows else "no boxes are known: looked at only"
        yield f"- **{one.pictures.title}**: {train} train and {test} test pictures, {one.pictures.epochs} epochs in"
        yield f"  {one.seconds:.0f} s, accuracy {one.accuracy:.1%}; {known}."
    for one in results:
        if not one.rows:
            continue
        yield ""
        yield f"## {one.pictures.title.capitalize()}"
        yield ""
        yield "| method | " + " | ".join(METRICS) + " |"
        yield "|---|" + "---|" * len(METRICS)
        for method in (*METHODS, *CONTROLS):
            figures = (one.scores[metric][method] for metric in METRICS)
            told = " | ".join(f"{mean:.3f} ± {1.96 * error:.3f}" for mean, error in figures)
            yield f"| {'control: ' if method in CONTROLS else ''}{method} | {told} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds the data sets")
    parser.add_argument("--rows", type=int, default=64, help="pictures explained of each data set")
    parser.add_argument("--audits", type=Path, help="audit each network into this folder")
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    results = []
    for name in given.only:
        if not (given.data / name).exists():
            print(f"{name} is not in {given.data}: left out")
            continue
        pictures = SETS[name](given.data)
        network, encoding, accuracy, seconds = trained(pictures)
        found = judged(pictures, network, encoding, given.rows) if pictures.boxes else (0, float("nan"), {})
        results.append(Judged(pictures, accuracy, seconds, *found))
        print(f"{pictures.title}: {accuracy:.1%} in {seconds:.0f} s")
        if given.audits:
            asked = {
                "methods": list(METHODS),
                "rows": 8,
                "truth": pictures.boxes,
                "name": pictures.title,
                "fresh": True,
            }
            pellucid.audit(network, pictures.data, encoding=encoding, out=given.audits / name, **asked)
    publish(lines(results), PAGE, given.write)


if __name__ == "__main__":
    main()
