"""Occlusion with strides, scales and series, and its counterpart that leaves one in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import pellucid
from pellucid.catalog import find
from pellucid.records.errors import NotApplicable, UnknownName
from pellucid.removals import Constant

W = np.random.default_rng(0).normal(size=(1, 7, 9))


def image_sum(x):
    return (np.asarray(x) * W).sum((1, 2, 3)) ** 2


def by_loop(function, row, sides, steps):
    """The mean loss over the boxes that cover each place, the last box of an axis at its edge."""
    space = row.shape[1:]
    total, times, full = np.zeros(space), np.zeros(space), function(row[None])[0]
    starts = [
        sorted({*range(0, length - side + 1, step), length - side})
        for length, side, step in zip(space, sides, steps, strict=True)
    ]
    for top in starts[0]:
        for left in starts[1]:
            box = (slice(top, top + sides[0]), slice(left, left + sides[1]))
            hidden = row.copy()
            hidden[(slice(None), *box)] = 0
            total[box] += full - function(hidden[None])[0]
            times[box] += 1
    return total / times


@pytest.mark.parametrize(
    ("settings", "sizes"),
    [
        ({"window": 3, "stride": 2}, [((3, 3), (2, 2))]),
        ({"window": (2, 4), "stride": (1, 3)}, [((2, 4), (1, 3))]),
        ({"window": 3}, [((3, 3), (1, 1))]),
        ({"window": 2, "stride": 2, "scales": 2}, [((2, 2), (2, 2)), ((4, 4), (4, 4))]),
    ],
)
def test_windows_equal_a_loop_at_every_scale_and_reach_the_edges(settings, sizes):
    x = np.random.default_rng(1).normal(size=(2, 1, 7, 9))
    e = pellucid.explain(
        image_sum, x, "occlusion", players=pellucid.players.Pixels(), removal=Constant(0.0), **settings
    )
    for row, values in zip(x, e.values, strict=True):
        expected = np.mean([by_loop(image_sum, row, *pair) for pair in sizes], axis=0)
        np.testing.assert_allclose(values.reshape(7, 9), expected, atol=1e-9)


def test_a_number_slides_along_the_first_axis_of_a_series():
    """Two channels beside each other in time: f sums them with weights, so a window loses what it covers."""
    x, weights = torch.rand(1, 6, 2, dtype=torch.float64), torch.arange(12.0, dtype=torch.float64).reshape(6, 2)
    series = pellucid.players.Elements()
    e = pellucid.explain(
        lambda rows: (rows * weights.numpy()).sum((1, 2)), x.numpy(), "occlusion", players=series, window=2, stride=2
    )
    lost = (x[0] * weights).numpy().reshape(3, 2, 2).sum((1, 2))
    np.testing.assert_allclose(e.values[0], np.repeat(np.repeat(lost, 2)[:, None], 2, 1), atol=1e-12)
    one = pellucid.explain(
        lambda rows: (rows * weights.numpy()).sum((1, 2)), x.numpy(), "occlusion", players=series, window=(3, 1)
    )
    assert one.notes["windows"] == 8  # four places in time, two channels


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"window": 10}, "10 × 10 does not fit into 7 × 9"),
        ({"window": 4, "scales": 2}, "8 × 8 does not fit"),
        ({"window": 2, "stride": 3}, "leaves gaps"),
        ({"window": (2, 2, 2)}, "3 sides"),
        ({"stride": 2}, "give window="),
    ],
)
def test_windows_that_make_no_sense_are_refused(settings, told):
    x = np.zeros((1, 1, 7, 9))
    with pytest.raises(NotApplicable, match=told):
        pellucid.explain(image_sum, x, "occlusion", players=pellucid.players.Pixels(), **settings)


def test_sides_are_read_from_text_and_from_lists():
    assert find("methods", "occlusion", {"window": "8,4", "stride": "2"}).window == (8, 4)
    assert find("methods", "occlusion", {"window": [8, 4]}).window == (8, 4)
    with pytest.raises(NotApplicable, match="out of range"):
        find("methods", "occlusion", {"window": (8, 0)})


def test_one_left_in_is_what_it_does_alone():
    row, zero = np.array([[2.0, 1.0, 3.0]]), np.zeros((1, 3))

    def function(x):
        return x[:, 0] * x[:, 1] + 2 * x[:, 2] + 1

    alone = pellucid.explain(function, row, "leave_one_in", background=zero)
    np.testing.assert_allclose(alone.values, [[0.0, 0.0, 6.0]])
    w, x, background = np.array([1.0, -2.0, 0.5]), np.ones((2, 3)), np.random.default_rng(0).normal(size=(9, 3))
    line = pellucid.explain(lambda rows: rows @ w, x, "leave_one_in", background=background)
    np.testing.assert_allclose(line.values, np.tile(w * (1 - background.mean(0)), (2, 1)), atol=1e-12)


@pytest.mark.parametrize(
    ("asked", "called"), [("leave_one_out", "occlusion"), ("Feature Ablation", "occlusion"), ("sobol_indices", "sobol")]
)
def test_other_names_lead_to_the_method(asked, called):
    with pytest.raises(UnknownName, match=f"it is called '{called}' here"):
        find("methods", asked)
