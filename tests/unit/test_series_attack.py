"""Odd series: of one step, of unequal lengths, constant, very long, with names that would run; all are explained."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.arguments import argument_names
from pellucid.data.reading import read
from pellucid.players import ChangePoints, Channels, Steps, Windows
from pellucid.records.errors import NotFiniteError
from pellucid.removals import Interpolated, OtherSegment, SegmentMean, SeriesNoise


def drawn() -> np.random.Generator:
    """The same numbers for each test, in whichever order they run."""
    return np.random.default_rng(0)


LENGTHS = (30, 1, 2, 17, 5)
REMOVALS = (
    Interpolated(), SegmentMean(), SegmentMean("segment"), SeriesNoise(), SeriesNoise(colour="own"), OtherSegment(),
)  # fmt: skip
PLAYERS = (Windows(), Windows(1), Steps(), Channels(), ChangePoints(), ChangePoints(channels="each"))


class Masked(nn.Module):
    """Two classes of series ``[b, 2, T]`` that end where the mask says."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv1d(2, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(network, x, mask):  # noqa: N805 — people call it as they like
        h = torch.relu(network.conv(x * mask[:, None]))
        return network.head((h * mask[:, None]).sum(-1) / mask.sum(1, keepdim=True))


class Plain(nn.Module):
    def __init__(self, channels=2):
        super().__init__()
        self.conv, self.head = nn.Conv1d(channels, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(torch.relu(self.conv(x)).mean(-1))


def ragged():
    return pellucid.Series([drawn().normal(size=(2, steps)).astype(np.float32) for steps in LENGTHS], ("a", "b"))


def seeded(kind, *how):
    torch.manual_seed(0)
    return kind(*how).eval()


def test_a_modules_own_name_is_no_input():
    assert argument_names(Masked()) == (("x", "mask"), False)


@pytest.mark.parametrize("removal", REMOVALS, ids=str)
def test_series_of_unequal_lengths_are_explained_as_alone(removal):
    net, rows = seeded(Masked), ragged()
    asked = {"removal": removal, "players": Windows(5), "target": 1}
    for method in ("occlusion", "exact_shapley"):
        together = pellucid.explain(net, rows[[1, 2, 3, 4]], method, **asked)
        for place, row in enumerate((1, 2, 3, 4)):
            own = pellucid.Series([rows.parts()[row]], ("a", "b"))
            alone = pellucid.explain(net, own, method, **asked | {"players": Windows(min(5, LENGTHS[row]))})
            values = together.values[place][np.isfinite(together.values[place])]
            assert np.allclose(values, alone.values[0], atol=1e-6), (method, row)


def test_some_rows_may_be_told_exactly_and_others_by_sampling():
    e = pellucid.explain(seeded(Masked), ragged(), "shapley", removal=SegmentMean(), budget=128)
    assert np.isfinite(e.values[0]).all() and np.isfinite(e.values[1]).sum() == 2
    assert np.nanmax(np.abs(e.gap)) < 1e-4 and len(e.notes["pairs"]) == len(LENGTHS)


@pytest.mark.parametrize("method", ["grad_cam", "hires_cam", "rise", "lrp", "deeplift", "integrated_gradients"])
def test_a_series_of_one_step_among_others_has_a_map(method):
    e = pellucid.explain(seeded(Masked), ragged(), method, removal=Interpolated(), budget=100)
    assert np.isfinite(e.values[1]).sum() == 2 and e.text(1)


@pytest.mark.parametrize("players", PLAYERS, ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 1), (2, 1, 1), (2, 1, 9)], ids=str)
def test_one_step_and_one_channel(shape, players):
    if players == Windows(1) and shape[2] == 1:
        pytest.skip("the same as Windows()")
    x = drawn().normal(size=shape).astype(np.float32)
    for removal in REMOVALS:
        e = pellucid.explain(seeded(Plain, shape[1]), pellucid.Series(x), "occlusion", players=players, removal=removal)
        assert (np.isfinite(e.attributions[..., 0]).sum(1) == e.players.counts).all() and e.plot(0).to_dict()


def test_what_is_constant_is_explained_by_nothing():
    rows = pellucid.Series(np.stack([np.full((3, 20), 7), drawn().normal(size=(3, 20))], 1), ("flat", "b"))
    for removal in REMOVALS:
        e = pellucid.explain(lambda x: x.sum((1, 2)), rows, "exact_shapley", players=Channels(), removal=removal)
        assert np.allclose(e.values[:, 0], 0, atol=1e-9) and np.isfinite(e.values).all()


def test_gaps_are_refused_with_their_rows():
    x = drawn().normal(size=(5, 2, 9))
    x[[1, 4], 0, 3] = np.nan, np.inf
    with pytest.raises(NotFiniteError, match=r"NaN or infinity in 2 of 5 series \(first rows 1, 4\). fill the gaps"):
        pellucid.Series(x)


def test_long_series_have_few_players_where_each_costs_an_evaluation():
    rows = pellucid.Series(drawn().normal(size=(1, 3, 10_000)).cumsum(-1).astype(np.float32))
    net = seeded(Plain, 3)
    for method, players in (("occlusion", 30), ("shapley", 30), ("saliency", 30_000), ("grad_cam", 30_000)):
        e = pellucid.explain(net, rows, method, removal=Interpolated(), budget=64 if method == "shapley" else None)
        assert len(e.players.of(0)) == players and len(str(e.plot(0).to_dict())) < 600_000, method


def test_names_of_channels_are_shown_and_never_obeyed():
    names = ("<script>x</script>|*y*`z`", "[link](javascript:1)\n\u202e${x}")
    rows = pellucid.Series(
        drawn().normal(size=(2, 2, 12)), names, units=("<i>", "\"'"), times=[f"<u>{t}" for t in range(12)]
    )
    e = pellucid.explain(lambda x: x[:, 0].sum(1), rows, "occlusion", players=Windows(4), removal=SegmentMean())
    assert "\n" not in e.text(0) and "\u202e" not in e.text(0) and "<script>" not in e._repr_html_()
    title = e.plot(0).to_dict()["vconcat"][0]["title"]
    assert title.replace("\u2060", "").startswith("<script>x") and "<script" not in title  # it could end a page's own
    frame = pd.DataFrame({"t": np.arange(12), names[0]: 1.0, names[1]: drawn().normal(size=12)})
    axes = read(frame, time="t").axes
    assert axes is not None and axes.channels == names
