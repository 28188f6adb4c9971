"""Metrics of known regions against cases worked by hand and slow twins, and the doors that regions come in by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.arrays import from_arrays
from pellucid.data.dataset import Source
from pellucid.data.images import ImageEncoding
from pellucid.metrics import PointingGame, RelevanceMass, RelevanceRank
from pellucid.metrics.relevance_rank import ranked
from pellucid.modalities.image import Boxes
from pellucid.players import Patches
from pellucid.records.errors import InputError
from pellucid.removals import Constant

ALL = ("pointing_game", "relevance_mass", "relevance_rank")


class Brightness(nn.Module):
    """Answers by the sum of a picture's upper left quarter, and by that of its lower half where it has two answers."""

    def __init__(self, answers: int):
        super().__init__()
        self.answers = answers

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        parts = x[:, :, :4, :4], x[:, :, 4:]
        return torch.stack([part.flatten(1).sum(1) for part in parts[: self.answers]], dim=1)


brightness = Brightness(1)


def pictures(count: int = 3) -> torch.Tensor:
    return torch.rand(count, 2, 8, 8, generator=torch.Generator().manual_seed(5)) + 0.5


def quarter(count: int = 3) -> np.ndarray:
    mask = np.zeros((count, 8, 8), dtype=bool)
    mask[:, :4, :4] = True
    return mask


def scored(values: np.ndarray, truth: Any, metric: Any, players: Any = None, **asked: Any) -> np.ndarray:
    asked = {"controls": False, "background": torch.zeros(1, 2, 8, 8), **asked}
    x = pictures(len(values))
    return pellucid.evaluate(brightness, x, values, metrics=metric, truth=truth, players=players, **asked)[0].values


# By hand ----------------------------------------------------------------------------------------------------------


def test_four_patches_by_hand() -> None:
    values = np.array([[3.0, 1.0, -4.0, 0.0], [1.0, 2.0, 1.0, -8.0], [0.0, -1.0, 0.0, -2.0]])
    nan = float("nan")
    assert np.allclose(scored(values, quarter(), PointingGame(), Patches(4)), [1, 0, nan], equal_nan=True)
    assert np.allclose(scored(values, quarter(), RelevanceMass(), Patches(4)), [0.75, 0.25, nan], equal_nan=True)
    assert np.allclose(scored(values, quarter(), RelevanceRank(), Patches(4)), [1, 0, 0.25])  # all tie in the last
    assert np.allclose(scored(values, quarter(), PointingGame("size"), Patches(4)), [0, 0, 0])
    assert np.allclose(scored(values, quarter(), RelevanceMass("size"), Patches(4)), [3 / 8, 1 / 12, 0])


def test_a_player_half_inside_counts_by_half() -> None:
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[0, :2, :4] = True  # the upper half of the first patch
    values = np.array([[3.0, 1.0, 0.0, 0.0]])
    assert np.allclose(scored(values, mask, PointingGame(), Patches(4)), [0.5])
    assert np.allclose(scored(values, mask, RelevanceMass(), Patches(4)), [0.375])
    assert np.allclose(scored(values, mask, RelevanceRank(), Patches(4)), [0.5])


def test_large_players_do_not_win_by_their_size() -> None:
    labels = np.zeros((8, 8), dtype=int)
    labels[:2, :2] = 1  # four pixels against sixty
    players = pellucid.players.Players.shared(
        np.broadcast_to(labels, (2, 8, 8)).ravel(), ("rest", "corner"), kind="region", layout=(2, 8, 8)
    )
    mask = np.zeros((1, 8, 8), dtype=bool)
    mask[0, :2, :2] = True
    assert np.allclose(scored(np.array([[3.0, 1.0]]), mask, PointingGame(), players), [1.0])
    assert np.allclose(scored(np.array([[3.0, 1.0]]), mask, RelevanceRank(), players), [1.0])


def test_uniform_contributions_score_the_regions_share() -> None:
    values = np.ones((1, 2, 8, 8))
    for metric in ALL:
        assert np.allclose(scored(values, quarter(1), metric), 0.25), metric


@pytest.mark.parametrize("metric", ALL)
def test_where_no_region_is_known_nothing_is_judged(metric: str) -> None:
    mask = quarter()
    mask[1] = False
    assert np.isnan(scored(np.ones((3, 2, 8, 8)), mask, metric)).tolist() == [False, True, False]


def test_rank_against_a_twin_that_breaks_ties_at_random() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        heights, inside = rng.integers(0, 3, 30).astype(float), rng.random(30) < 0.4
        K, found = int(inside.sum()), []
        for _ in range(4000):
            order = np.lexsort((rng.random(30), -heights))
            found.append(inside[order[:K]].mean())
        assert np.isclose(ranked(heights, np.ones(30), inside.astype(float)), np.mean(found), atol=0.01)


# The truth beside controls ----------------------------------------------------------------------------------------


def test_a_right_explanation_scores_all_and_the_random_control_the_share() -> None:
    x = pictures(8)
    e = pellucid.explain(brightness, x, "integrated_gradients", background=torch.zeros(1, 2, 8, 8), target=0)
    found = pellucid.evaluate(brightness, x, e, truth=quarter(8))
    scores = {score.metric: score for score in found}
    assert set(ALL) < set(scores) and "truth_correlation" not in scores
    for metric in ALL:
        assert np.isclose(scores[metric].value, 1), metric
        assert np.isclose(scores[metric].controls["random"], 0.25, atol=0.12), metric
        assert 0 <= scores[metric].controls["edge_filter"] < 0.6, metric


def test_several_targets_are_judged_by_one_region() -> None:
    both, x = Brightness(2), pictures()
    e = pellucid.explain(both, x, "integrated_gradients", background=torch.zeros(1, 2, 8, 8), target="all")
    (score,) = pellucid.evaluate(both, x, e, metrics="relevance_mass", truth=quarter(), controls=False)
    assert np.allclose(score.values, 0.5)  # all of the one, nothing of the other


def test_regions_of_a_table_are_players() -> None:
    def first(x: np.ndarray) -> np.ndarray:
        return np.asarray(x)[:, 0]

    x = np.ones((2, 3))
    e = pellucid.explain(first, x, "exact_shapley", background=np.zeros((1, 3)))
    truth = np.array([[True, False, False], [False, True, True]])
    (score,) = pellucid.evaluate(first, x, e, metrics="pointing_game", truth=truth, controls=False)
    assert np.allclose(score.values, [1, 0])


def test_ragged_regions() -> None:
    x = pictures(4)
    e = pellucid.explain(brightness, x, "occlusion", players=pellucid.players.Slic(6), target=0)
    found = pellucid.evaluate(brightness, x, e, metrics=list(ALL), truth=quarter(4))
    for score in found:
        assert score.status == "ok" and (score.values > 0.3).all(), score.metric


# Doors ------------------------------------------------------------------------------------------------------------


def test_boxes_hold_the_pixels_whose_middle_is_in_them() -> None:
    boxes = Boxes([[[0, 0, 4, 4]], [[1.4, 0, 2.6, 1.0], [6, 6, 8, 8]], []])
    masks = boxes.masks(8, 8)
    assert np.array_equal(masks[0], quarter(1)[0])
    assert np.argwhere(masks[1]).tolist() == [[0, 1], [0, 2], [6, 6], [6, 7], [7, 6], [7, 7]]
    assert not masks[2].any()
    flat = Boxes(np.array([[0.0, 0, 4, 4]] * 3))
    assert np.array_equal(flat.masks(8, 8), quarter())
    values = np.random.default_rng(1).normal(size=(3, 2, 8, 8))
    for metric in ALL:
        assert np.array_equal(scored(values, flat, metric), scored(values, quarter(), metric)), metric
        assert np.array_equal(scored(values, torch.from_numpy(quarter()), metric), scored(values, quarter(), metric))


@pytest.mark.parametrize("corners", [[[4, 0, 0, 4]], [[0, 0, np.nan, 4]], [[0, 0, 4]], [[[0, 0], [4, 4]]]])
def test_what_is_no_box_is_refused(corners: Any) -> None:
    with pytest.raises(InputError, match="box"):
        Boxes(corners)


def test_regions_that_do_not_fit_are_refused() -> None:
    values = np.ones((3, 2, 8, 8))
    with pytest.raises(InputError, match="of 2 rows, but 3"):
        scored(values, quarter(2), "pointing_game")
    with pytest.raises(InputError, match=r"the shape \(3, 7, 8\)"):
        scored(values, quarter()[:, 1:], "pointing_game")


@pytest.mark.parametrize("metric", ALL)
def test_without_regions_there_is_nothing_to_say(metric: str) -> None:
    x = pictures()
    (score,) = pellucid.evaluate(brightness, x, np.ones((3, 2, 8, 8)), metrics=metric, controls=False)
    assert score.status == "skipped" and "Boxes" in score.reason


def test_an_audit_judges_by_the_boxes_of_all_rows(tmp_path: Any) -> None:
    rng = np.random.default_rng(2)
    images = rng.integers(0, 100, (40, 8, 8), dtype=np.uint8)
    images[:20, :4, :4] += 120
    data = from_arrays(images, labels=np.arange(40) < 20, source=Source("", ""), seed=0)

    class Net(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return brightness(x) @ torch.tensor([[-1.0, 1.0]])

    boxes = Boxes(np.tile([0.0, 0, 4, 4], (40, 1)))
    asked = {
        "methods": ["occlusion"],
        "rows": 4,
        "out": tmp_path / "run",
        "encoding": ImageEncoding((8, 8)),
        "players": Patches(2),
    }
    study = pellucid.audit(Net(), data, metrics=list(ALL), truth=boxes, target=1, removal=Constant(0.0), **asked)
    assert not study.failed
    assert [round(score.value, 6) for score in study.scores] == [1, 1, 1]
    with pytest.raises(InputError, match="of every row of the data"):
        pellucid.audit(Net(), data, truth=Boxes(np.ones((3, 4))), **{**asked, "out": tmp_path / "other"})
