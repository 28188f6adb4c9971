"""Series: declared axes, players and their names, unequal lengths, known spans, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.catalog import everything
from pellucid.doors.question import as_problem
from pellucid.doors.regions import as_regions
from pellucid.players import ChangePoints, Channels, Elements, Steps, Windows
from pellucid.records.errors import InputError, NotApplicable, NotFiniteError, RemovalError
from pellucid.records.regions import Spans
from pellucid.records.series import SeriesAxes
from pellucid.removals import Interpolated, Marginal, OtherSegment, SegmentMean, SeriesNoise
from pellucid.studies.evaluating import removal_of

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 2, 12)).astype(np.float32)


def total(x):
    return np.asarray(x).reshape(len(x), -1).sum(1)


def players_of(rows, units, **declared):
    return as_problem(total, pellucid.Series(rows, **declared), players=units).players


# What is declared --------------------------------------------------------------------------


def test_the_axes_are_what_was_said():
    assert pellucid.Series(X).axes.shape == (2, 12)
    assert pellucid.Series(X, time="first").axes.channels == tuple(f"channel {i}" for i in range(12))
    assert pellucid.Series(X[:, 0]).axes == SeriesAxes(("value",), 12, flat=True)
    declared = pellucid.Series(
        torch.from_numpy(X), ("heat", "load"), times=np.arange(12) / 2, unit="s", units=("°C", "%")
    )
    assert declared.axes.times[3] == 1.5
    assert SeriesAxes.from_dict(declared.axes.to_dict()) == declared.axes
    assert np.asarray(declared).shape == X.shape


def test_channels_and_steps_are_found_in_rows_of_either_order():
    last, first = SeriesAxes(("a", "b"), 3), SeriesAxes(("a", "b"), 3, "first")
    assert last.by_channel(np.arange(6)).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert first.by_channel(np.arange(6)).tolist() == [[0, 2, 4], [1, 3, 5]]
    for axes in (last, first):
        flat = torch.arange(12.0).reshape(2, 6)
        assert torch.equal(axes.as_rows(axes.by_channel(flat)), flat)


@pytest.mark.parametrize(
    ("declared", "message"),
    [
        ({"values": X, "channels": ("a",)}, "1 names for 2 channels. give one name for each channel"),
        ({"values": X, "channels": "ab"}, "one text for 2 channels"),
        ({"values": X, "channels": ("a", "a")}, "two channels are named 'a'"),
        ({"values": X, "times": range(5)}, "5 times were given for 12 steps"),
        ({"values": X, "times": [0, 1, 1, *range(2, 11)]}, "step 2: the times do not rise: 1.0 follows 1.0. sort"),
        ({"values": X, "units": ("V",)}, "1 units were given for 2 channels"),
        ({"values": X, "time": "middle"}, "time='middle' does not say where the steps lie"),
        ({"values": X[0, 0]}, "not (12,). a single series needs a leading dimension: series[None]"),
        ({"values": X.astype(str)}, "the series hold <U32 values, not numbers"),
        ({"values": [X[0], X[0, :1]]}, "the series have different channels"),
        ({"values": [X[0], X[0, 0]]}, "a list of series holds arrays [channels, time] or [time], not (2, 12), (12,)"),
        ({"values": [X[0], X[0, :, :0]]}, "row 1: a series without steps has nothing to explain"),
        ({"values": X, "lengths": [12, 12, 12, 13]}, "lengths are 4 whole numbers from 1 to 12, one for each series"),
    ],
)  # fmt: skip
def test_what_cannot_be_series_is_refused(declared, message):
    with pytest.raises(InputError) as error:
        pellucid.Series(**declared)
    assert message in str(error.value)


def test_gaps_are_named_by_row():
    holed = X.copy()
    holed[2, 1, 3] = np.nan
    with pytest.raises(NotFiniteError, match=r"NaN or infinity in 1 of 4 series \(first rows 2\).*fill the gaps"):
        pellucid.Series(holed)


def test_times_are_texts_as_short_as_tell_them_apart():
    import pandas as pd

    hourly = pd.date_range("2024-05-01", periods=12, freq="30min")
    assert pellucid.Series(X, times=hourly).axes.times[1] == "00:30"
    daily = pd.date_range("2024-05-01", periods=12)
    assert pellucid.Series(X, times=daily).axes.times[1] == "2024-05-02"
    with pytest.raises(InputError, match="the times do not rise"):
        pellucid.Series(X, times=daily[::-1])
    mixed = [pd.Timestamp("2024-05-01"), *pd.date_range("2024-05-02", periods=11, tz="UTC")]
    with pytest.raises(InputError, match="all of them with a time zone, or all without"):
        pellucid.Series(X, times=mixed)


# Players -----------------------------------------------------------------------------------


def test_players_are_named_by_channel_and_time():
    assert players_of(X, Windows(5)).names[0] == (
        "channel 0, steps 0–4", "channel 0, steps 5–9", "channel 0, steps 10–11",
        "channel 1, steps 0–4", "channel 1, steps 5–9", "channel 1, steps 10–11",
    )  # fmt: skip
    assert players_of(X, Windows(6, "together")).names[0] == ("steps 0–5", "steps 6–11")
    assert players_of(X[:, :1], Windows(6)).names[0] == ("steps 0–5", "steps 6–11")
    assert players_of(X[:, :1], Windows(6), channels=("heat",)).names[0][0] == "heat, steps 0–5"
    assert players_of(X, Channels(), channels=("heat", "load")).names[0] == ("heat", "load")
    assert players_of(X, Steps("together")).names[0][7] == "step 7"
    timed = players_of(X, Windows(6, "together"), times=np.arange(12) / 10, unit="s")
    assert timed.names[0] == ("0–0.5 s", "0.6–1.1 s")
    clock = players_of(X, Windows(6, "together"), times=[f"12:{minute:02}" for minute in range(12)])
    assert clock.names[0] == ("12:00–12:05", "12:06–12:11")


@pytest.mark.parametrize("time", ["last", "first"])
def test_every_element_is_a_step_in_the_rows_own_order(time):
    rows = X if time == "last" else X.swapaxes(1, 2)
    players = players_of(rows, Steps(), time=time)
    assert players.every_element
    assert players.names[0][1] == ("channel 0, step 1" if time == "last" else "channel 1, step 0")
    e = pellucid.explain(total, pellucid.Series(rows, time=time), "occlusion", players=Steps())
    assert np.allclose(e.values, rows, atol=1e-5)


def test_windows_of_no_length_are_about_thirty_two():
    assert players_of(RNG.normal(size=(1, 1, 150)), Windows()).most == 15
    assert players_of(RNG.normal(size=(1, 6, 100)), Windows()).most == 30
    assert players_of(RNG.normal(size=(1, 40, 100)), Windows()).most == 160
    assert players_of(RNG.normal(size=(1, 1, 3)), Windows()).most == 3


def test_windows_may_stand_in_longer_ones_of_a_channel_or_of_a_time():
    by_channel = players_of(X, Windows(3, nested="channels")).hierarchy[0]
    assert by_channel.tolist() == [[0] * 4 + [1] * 4, [0, 0, 1, 1, 4, 4, 5, 5]]
    by_time = players_of(X, Windows(3, nested="times")).hierarchy[0]
    assert by_time.tolist() == [[0, 0, 1, 1] * 2, [0, 1, 2, 3] * 2]
    assert players_of(X, Windows(12, "together", nested="channels")).hierarchy is None
    rows = np.repeat([[0.0, 5.0, 0.0, 5.0], [0.0, 5.0, 5.0, 5.0]], 3, axis=1)[:, None]
    segments = players_of(rows, ChangePoints(nested="channels"))
    assert segments.counts.tolist() == [4, 2]
    assert segments.hierarchy.tolist() == [[[0, 0, 1, 1]], [[0, 1, -1, -1]]]


def test_players_of_the_default_are_windows_or_steps():
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    assert pellucid.explain(net, pellucid.Series(X)).players.kind == "step"
    assert pellucid.explain(net, pellucid.Series(X), "kernel_shapley").players.kind == "window"
    assert pellucid.explain(net, X, "saliency").players.kind == "element", "a bare tensor stays one"


def test_axes_go_with_players_of_any_kind_and_into_the_record(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    e = pellucid.explain(net, pellucid.Series(X, ("heat", "load")), "saliency", players=Elements())
    assert e.players.axes.channels == ("heat", "load")
    path = tmp_path / "e.npz"
    e.save(path)
    assert pellucid.Explanation.load(path).players.axes == e.players.axes
    assert e[1:3].players.axes == e.players.axes


@pytest.mark.parametrize(
    ("units", "message"),
    [
        (Windows(13), "windows of 13 steps do not fit series of 12"),
        (Windows(0), "windows of 0 steps do not fit"),
        (Windows(3, "apart"), "channels='apart' is not known"),
    ],
)
def test_windows_that_do_not_fit_are_refused(units, message):
    with pytest.raises(NotApplicable, match=message):
        players_of(X, units)


def test_bare_arrays_are_not_taken_for_series():
    with pytest.raises(NotApplicable) as error:
        pellucid.explain(total, X, "occlusion", players=Windows(3))
    assert "not known to be series" in str(error.value) and "pellucid.Series(rows)" in str(error.value)
    with pytest.raises(RemovalError, match="'Interpolated' is for series, and these rows are tensors"):
        pellucid.explain(total, X, "occlusion", removal=Interpolated())


@pytest.mark.parametrize(
    ("removal", "message"),
    [
        (SegmentMean("row"), "SegmentMean('row') is not known"),
        (SeriesNoise(draws=0), "makes no rows"),
        (SeriesNoise(colour="red"), 'colour "white" or "own"'),
        (OtherSegment(draws=0), "OtherSegment of 0 draws makes no rows"),
    ],
)
def test_removals_that_make_nothing_are_refused(removal, message):
    with pytest.raises(RemovalError) as error:
        pellucid.explain(total, pellucid.Series(X), "occlusion", removal=removal)
    assert message in str(error.value)


# Unequal lengths ---------------------------------------------------------------------------

RAGGED = [RNG.normal(size=(2, length)).astype(np.float32) for length in (12, 7, 9, 7)]


class Lengths(nn.Module):
    """The mean over a series' own steps, through an LSTM."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.cells, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x, lengths):
        hidden, _ = self.cells(x.mT)
        there = (torch.arange(x.shape[-1]) < lengths[:, None])[..., None]
        return self.head((hidden * there).sum(1) / lengths[:, None])


class Masked(Lengths):
    def forward(self, x, mask):
        return super().forward(x, mask.sum(1))


class Padded(Lengths):
    def forward(self, x, src_key_padding_mask):
        return super().forward(x, (~src_key_padding_mask).sum(1))


@pytest.mark.parametrize("network", [Lengths, Masked, Padded])
@pytest.mark.parametrize("method", ["kernel_shapley", "integrated_gradients", "occlusion", "lime", "saliency"])
@pytest.mark.parametrize("removal", [Interpolated(), SegmentMean(), SeriesNoise(draws=2), OtherSegment(draws=2)])
def test_unequal_series_are_explained_as_each_alone(network, method, removal):
    e = pellucid.explain(
        network().eval(), pellucid.Series(RAGGED), method, players=Windows(3), removal=removal, budget=80
    )
    assert e.players.counts.tolist() == [8, 6, 6, 6]
    for row in (0, 1):
        alone = pellucid.explain(
            network().eval(), pellucid.Series([RAGGED[row]]), method, players=Windows(3), budget=80,
            removal=removal,
        )  # fmt: skip
        n = alone.players.most
        assert e.players.names[row] == alone.players.names[0]
        assert np.allclose(e.values[row, :n], alone.values[0], atol=1e-5 * np.abs(alone.values).max() + 1e-8)
        assert np.isnan(e.values[row, n:]).all()


def test_a_network_that_is_not_told_the_ends_is_refused_unless_the_filling_is_said():
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    with pytest.raises(InputError) as error:
        pellucid.explain(net, pellucid.Series(RAGGED), "occlusion")
    assert "7 to 12 steps" in str(error.value) and "Series(…, fill=0.0)" in str(error.value)
    said = pellucid.explain(net, pellucid.Series(RAGGED, fill=0.0), "occlusion", players=Windows(3))
    array = np.zeros((4, 2, 12), np.float32)
    for row, series in enumerate(RAGGED):
        array[row, :, : series.shape[1]] = series
    filled = pellucid.Series(array, lengths=[12, 7, 9, 7])
    assert np.array_equal(pellucid.explain(net, filled, "occlusion", players=Windows(3)).values, said.values, True)
    assert said.players.counts.tolist() == [8, 6, 6, 6]


def test_series_of_one_length_given_as_a_list_are_a_plain_batch():
    given = pellucid.Series(list(X))
    assert given.lengths is None and np.array_equal(given.content, X)


# Methods -----------------------------------------------------------------------------------


class Temporal(nn.Module):
    """A small convolutional network over time, strided once."""

    def __init__(self, first=False):
        super().__init__()
        torch.manual_seed(1)
        self.first = first
        self.one, self.two = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 6, 3, 2, padding=1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = x.mT if self.first else x
        return self.head(torch.relu(self.two(torch.relu(self.one(x)))).mean(-1))


@pytest.mark.parametrize(
    "method", ["grad_cam", "hires_cam", "layer_cam", "score_cam", "ablation_cam", "eigen_cam", "rise"]
)
def test_maps_of_a_temporal_network_lie_over_time(method):
    """The same network of series [channels, time] and [time, channels] gives the same, turned."""
    found = []
    for first in (False, True):
        rows = X.swapaxes(1, 2) if first else X
        series = pellucid.Series(rows, time="first" if first else "last")
        e = pellucid.explain(Temporal(first).eval(), series, method, players=Steps(), target=1)
        values = e.values.swapaxes(1, 2) if first else e.values
        assert values.shape == (4, 2, 12)
        if method != "rise":
            assert e.notes["grid"] == [1, 6]
            assert np.allclose(values[:, 0], values[:, 1]), "a step's value is shared by its channels"
        found.append(values)
    assert np.allclose(*found, atol=1e-6 * np.abs(found[0]).max()) or method == "rise"


def test_the_map_of_a_linear_head_adds_up_to_the_target():
    """HiResCAM's cells add up to the target less the bias; enlarged twofold with held ends to twice that."""
    net = Temporal().eval()
    e = pellucid.explain(net, pellucid.Series(X), "hires_cam", players=Steps(), target=2)
    assert np.allclose(e.attributions[:, :, 0].sum(1) / 2, e.full[:, 0] - net.head.bias[2].item(), atol=1e-4)


def test_a_window_slides_along_time_over_all_channels():
    e = pellucid.explain(Temporal().eval(), pellucid.Series(X), "occlusion", players=Steps(), window=4, stride=4)
    assert e.notes["windows"] == 3
    assert np.allclose(e.values[:, 0, :4], e.values[:, 1, :1])


def test_the_control_finds_what_stands_out():
    x = np.zeros((2, 2, 60), np.float32)
    x[0, 1, 30] = 4.0
    e = pellucid.explain(total, pellucid.Series(x), "local_deviation", players=Windows(10))
    assert e.players.names[0][int(e.values[0].argmax())] == "channel 1, steps 30–39"
    assert not e.values[1].any()
    assert everything("methods")["local_deviation"].role == "control"


# Known spans -------------------------------------------------------------------------------


def test_spans_are_shares_of_windows():
    problem = as_problem(total, pellucid.Series(X), players=Windows(6, "together"))
    spans = Spans.of_steps(12, [[(3, 9)], [(0, 1), (11, 12)], [(0, 12)], []])
    assert as_regions(problem, spans).inside.tolist() == [[0.5, 0.5], [1 / 6, 1 / 6], [1.0, 1.0], [0.0, 0.0]]
    mask = spans.masks(12)
    assert np.array_equal(as_regions(problem, mask).inside, as_regions(problem, spans).inside)
    assert np.array_equal(as_regions(problem, np.repeat(mask[:, None], 2, 1)).inside, as_regions(problem, spans).inside)
    assert len(spans[np.array([1, 2])]) == 2


def test_spans_and_masks_that_could_mean_two_things_are_refused():
    with pytest.raises(InputError, match=r"row 2: the passage \[5, 14\) does not lie in a row of 12"):
        Spans.of_steps(12, [[(0, 3)], [(5, 14)]])
    twelve = as_problem(total, pellucid.Series(X), players=Windows(2))
    with pytest.raises(InputError, match="could be of the 12 steps or of the 12 players"):
        as_regions(twelve, np.zeros((4, 12), bool))
    assert as_regions(twelve, Spans.of_steps(12, [[(0, 2)]] * 4)).inside[:, 0].tolist() == [1.0] * 4


def test_a_background_is_of_series_too():
    e = pellucid.explain(total, pellucid.Series(X), "occlusion", players=Windows(6), background=pellucid.Series(X[:2]))
    f = pellucid.explain(total, pellucid.Series(X), "occlusion", players=Windows(6), removal=Marginal(X[:2]))
    assert np.allclose(e.values, f.values)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    "removal",
    [Interpolated(), SegmentMean("segment"), SeriesNoise(draws=3), OtherSegment(draws=3), OtherSegment(X[2:], draws=3)],
)
def test_a_record_says_what_absent_meant(removal, rows, tmp_path):
    """An explanation from a file is judged by the very removal it was made with, of one series as of many."""
    series = pellucid.Series(X[:rows])
    e = pellucid.explain(total, series, "occlusion", players=Windows(3), removal=removal)
    e.save(tmp_path / "e.npz")
    kept = pellucid.Explanation.load(tmp_path / "e.npz")
    found = pellucid.evaluate(total, series, kept, metrics="abpc")
    due = pellucid.evaluate(total, series, e, metrics="abpc", removal=removal)
    assert np.allclose(found["abpc"].values, due["abpc"].values, equal_nan=True)
    again = pellucid.explain(total, series, "occlusion", players=Windows(3), removal=removal_of(kept))
    assert np.allclose(again.values, e.values)
