"""Planted shapes: they lie in their boxes, come again with their seed, and are read as a folder of pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import pellucid
from pellucid.data.planted_shapes import SHAPES, PlantedShapes
from pellucid.records.errors import UnknownName


def test_a_shape_touches_the_sides_of_its_box_and_stands_alone_in_bright_colour():
    for shape in PlantedShapes(side=24).drawn(40, seed=3):
        rows, columns = np.nonzero((shape.picture >= 120).all(-1))
        left, top, right, bottom = shape.box
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)
        assert min(left, top) >= 0 and max(right, bottom) <= 24


def test_shapes_of_one_size_differ_in_their_outline():
    x, y = np.meshgrid(np.linspace(-1, 1, 21), np.linspace(-1, 1, 21))
    masks = [shape(x, y) for shape in SHAPES.values()]
    assert all((a != b).mean() > 0.1 for i, a in enumerate(masks) for b in masks[:i])


def test_one_seed_draws_one_set():
    first, again, other = (list(PlantedShapes().drawn(5, seed)) for seed in (1, 1, 2))
    assert all(np.array_equal(a.picture, b.picture) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0].picture, other[0].picture)


def test_a_written_folder_is_read_with_its_classes(tmp_path: Path):
    pytest.importorskip("PIL")
    data = pellucid.read(PlantedShapes(("cross", "circle"), side=16).written(tmp_path, 10))
    assert data.classes == ("circle", "cross") and data.shape == (16, 16, 3)
    assert np.bincount(data.labels).tolist() == [10, 10]


def test_an_unknown_shape_is_told_by_its_name():
    with pytest.raises(UnknownName, match="circel"):
        PlantedShapes(("circel",))
