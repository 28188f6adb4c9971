"""Raw time series through the encoding of a network: scaled, turned, brought to its length, explained in raw units."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.encoding import load_encoding
from pellucid.data.series_encoding import SeriesEncoding
from pellucid.players import Windows
from pellucid.records.errors import EncodingError, InputError, NotFiniteError, PellucidError, UnknownName
from pellucid.records.explanation import Explanation
from pellucid.removals import Interpolated, SegmentMean

RNG = np.random.default_rng(0)
LEVEL, SPREAD = np.array([40.0, -3.0]), np.array([5.0, 0.01])
N, T = 6, 24
RAW = (RNG.normal(size=(N, 2, T)) * SPREAD[:, None] + LEVEL[:, None]).astype(np.float32)
NAMES, UNITS = ("pressure", "flow"), ("mmHg", "l/s")


def raw(values=RAW, **said):
    return pellucid.Series(values, NAMES, units=UNITS, **said)


def ragged():
    return pellucid.Series([one[:, :end] for one, end in zip(RAW, (24, 20, 9, 24, 1, 12), strict=True)], NAMES)


class Net(nn.Module):
    """A network of scaled series ``[b, channels, time]``."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Conv1d(2, 4, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(4 * T, 2))

    def forward(self, x):
        return self.layers(x)


class Inside(nn.Module):
    """The same network with the scaling inside."""

    def __init__(self, net, encoding):
        super().__init__()
        self.net = net
        self.register_buffer("center", torch.tensor(encoding.center).float()[:, None])
        self.register_buffer("scale", torch.tensor(encoding.scale).float()[:, None])

    def forward(self, x):
        return self.net((x - self.center) / self.scale)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Net().eval()


# What it makes ---------------------------------------------------------------------------------


def test_center_and_scale_are_those_of_the_steps_that_are_there():
    series = ragged()
    found, parts = SeriesEncoding.fit(series), series.parts()
    steps = np.concatenate([part[1].astype(np.float64) for part in parts])
    assert np.isclose(found.center[1], steps.mean()) and np.isclose(found.scale[1], steps.std())
    least = SeriesEncoding.fit(series, "minmax")
    assert np.isclose(least.center[0], np.concatenate([part[0] for part in parts]).min())
    assert SeriesEncoding.fit(series, "none").center == (0.0, 0.0)
    assert SeriesEncoding.fit(pellucid.Series(np.full((3, 5), 7.0))).scale == (1.0,), "constant: centred only"


def test_only_training_rows_are_learned_from(tmp_path):
    split = np.array(["train"] * 3 + ["validation", "test", "test"])
    np.savez(tmp_path / "s.npz", series=RAW, channel_names=np.array(NAMES), y=np.arange(N) % 2, split=split)
    data = pellucid.read(tmp_path / "s.npz")
    found = SeriesEncoding.fit(data)
    assert np.allclose(found.center, RAW[:3].astype(np.float64).mean((0, 2)))
    assert np.allclose(found.encode(data.train).std((0, 2)), 1, atol=1e-4)
    with pytest.raises(InputError, match="without train rows"):
        SeriesEncoding.fit(data.test)
    with pytest.raises(InputError, match="without time series"):
        SeriesEncoding.fit(pellucid.read(pd.DataFrame({"a": [1.0, 2.0]})))


@pytest.mark.parametrize("time", ["last", "first"])
def test_axes_are_turned_as_the_network_takes_them_and_back(time):
    encoding = SeriesEncoding.fit(raw(), time=time, steps=T, dtype="float64")
    want = (RAW - np.array(encoding.center)[:, None]) / np.array(encoding.scale)[:, None]
    want, back = (want, RAW) if time == "last" else (want.swapaxes(1, 2), RAW.swapaxes(1, 2))
    turned = raw(np.ascontiguousarray(RAW.swapaxes(1, 2)), time="first")
    for given in (raw(), turned, back, list(back)):
        assert np.allclose(encoding.encode(given), want)
    assert np.allclose(encoding.decode(want), back, atol=1e-6)
    flow = encoding.groups["flow"]
    assert np.allclose(want.reshape(N, -1)[:, flow], encoding.encode(raw()).reshape(N, -1)[:, flow])
    assert len(flow) == T and flow[1] - flow[0] == (1 if time == "last" else 2)


def test_one_channel_may_lie_flat():
    encoding = SeriesEncoding.fit(pellucid.Series(RAW[:, 0]), dtype="float64")
    assert encoding.encode(RAW[:, 0]).shape == (N, T) and encoding.encode(RAW[:, :1]).shape == (N, T)
    assert encoding.decode(encoding.encode(RAW[:, 0])).shape == (N, T)


def test_channels_are_matched_by_name():
    encoding = SeriesEncoding.fit(raw())
    other = pellucid.Series(np.stack([RAW[:, 1], RAW[:, 0] * 0, RAW[:, 0]], 1), ("flow", "noise", "pressure"))
    assert np.array_equal(encoding.encode(other), encoding.encode(raw()))
    assert np.array_equal(encoding.encode(RAW), encoding.encode(raw())), "without names: in order"
    with pytest.raises(EncodingError, match=r"needs channel 'flow'.*they have 'pressure', 'heat'.*as in training"):
        encoding.encode(pellucid.Series(RAW, ("pressure", "heat")))
    with pytest.raises(EncodingError, match="needs channel 'pressure'"):
        encoding.encode(RAW[:, :1])


@pytest.mark.parametrize(("fitted", "kept"), [("first", slice(0, 8)), ("last", slice(-8, None))])
def test_longer_series_are_cut_and_that_is_said(net, fitted, kept):
    encoding = SeriesEncoding.fit(raw(times=np.arange(T) / 2), steps=8, fitted=fitted)
    series, shown = encoding.read(raw(times=np.arange(T) / 2))
    assert np.allclose(shown, RAW[..., kept]) and series.axes.times == tuple((np.arange(T) / 2)[kept])
    assert str(series.cautions[0]) == (
        "6 of 6 series are longer than the 8 steps that the network takes: 96 of their steps were cut off and explain "
        "nothing."
    )
    assert series.lengths is None and series.axes.units == UNITS


def test_resampled_series_lie_on_straight_lines():
    encoding = SeriesEncoding.fit(raw(), "none", steps=47, fitted="resample", dtype="float64")
    series, shown = encoding.read(raw(times=np.arange(T)))
    assert np.allclose(shown[..., ::2], RAW) and np.allclose(shown[..., 1::2], (RAW[..., 1:] + RAW[..., :-1]) / 2)
    assert np.allclose(series.axes.times, np.arange(47) / 2) and series.cautions[0].code == "series_resampled"
    unequal, shown = encoding.read(ragged())
    assert unequal.lengths is None and np.allclose(shown[4], RAW[4, :, :1]), "a single step becomes a level"


def test_shorter_series_are_filled_up_and_their_lengths_told():
    encoding = SeriesEncoding.fit(ragged(), fill=-9.0)
    series, _ = encoding.read(ragged())
    assert series.lengths.tolist() == [24, 20, 9, 24, 1, 12]
    assert (series.content[2, :, 9:] == -9).all() and np.abs(series.content[2, :, :9]).max() < 9
    short = SeriesEncoding.fit(ragged(), fill=0.0, steps=10).read(ragged())[0]
    assert short.shape == (N, 2, 10) and short.lengths.tolist() == [10, 10, 9, 10, 1, 10]


# Beside the weights ----------------------------------------------------------------------------


def test_it_is_kept_as_json(tmp_path, net):
    encoding = SeriesEncoding.fit(raw(), time="first", steps=T, fitted="last", fill=0.5, dtype="float64")
    encoding.save(tmp_path / "encoding.json")
    assert SeriesEncoding.load(tmp_path / "encoding.json") == encoding == load_encoding(tmp_path / "encoding.json")
    model = pellucid.wrap(net, encoding=tmp_path / "encoding.json")
    assert model.encoding == encoding


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"scale": [1.0, 0.0]}, "scale.1: Input should be greater than 0"),
        ({"center": [1.0]}, "each channel has one center and one scale"),
        ({"time": "middle"}, "time: Input should be 'last' or 'first'"),
        ({"steps": 0}, "steps: Input should be greater than or equal to 1"),
        ({"channels": []}, "channels: Tuple should have at least 1 item"),
        ({"center": [1.0, float("nan")]}, "not JSON|finite number"),
        ({"surprise": 1}, "surprise: Extra inputs are not permitted"),
    ],
)
def test_a_damaged_file_names_the_field(tmp_path, change, message):
    content = SeriesEncoding.fit(raw()).to_dict() | change
    (tmp_path / "e.json").write_text(json.dumps(content))
    with pytest.raises(PellucidError, match=message) as error:
        load_encoding(tmp_path / "e.json")
    assert "e.json" in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fitted": "middle"}, "no fitted named 'middle'"),
        ({"steps": 0}, "a network of 0 steps sees nothing"),
        ({"fitted": "last"}, "fitted='last' needs a length. say how many: steps="),
        ({"flat": True}, "2 channels were named for series that have one"),
        ({"dtype": "int8"}, "no dtype named 'int8'"),
    ],
)
def test_settings_that_say_nothing_are_refused(settings, message):
    with pytest.raises(PellucidError) as error:
        SeriesEncoding.fit(raw(), **settings)
    assert message in str(error.value)
    with pytest.raises(UnknownName, match="scaling of numbers"):
        SeriesEncoding.fit(raw(), "standardize")  # pyright: ignore[reportArgumentType]


# Explanations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "removal"),
    [
        ("shapley", {"removal": Interpolated()}), ("occlusion", {"removal": SegmentMean()}),
        ("shapley", {"background": RAW[3:]}), ("lime", {"removal": Interpolated()}),
        ("integrated_gradients", {"background": RAW[3:]}), ("deepshap", {"background": RAW[3:]}),
    ],
)  # fmt: skip
def test_raw_series_are_explained_as_by_the_network_with_scaling_inside(net, method, removal):
    encoding = SeriesEncoding.fit(raw())
    asked = {"players": Windows(6), "budget": 200} | removal
    outer = pellucid.explain(pellucid.wrap(net, encoding=encoding), raw(RAW[:2]), method, **asked)
    inner = pellucid.explain(Inside(net, encoding).eval(), raw(RAW[:2]), method, **asked)
    assert np.allclose(outer.values, inner.values, atol=2e-4 * np.abs(inner.values).max())


def test_records_speak_in_raw_units(net, tmp_path):
    model = pellucid.wrap(net, encoding=SeriesEncoding.fit(raw()))
    rows = raw(RAW[:2], times=np.arange(T) / 2, unit="s")
    e = pellucid.explain(model, rows, "occlusion", players=Windows(6), removal=Interpolated())
    assert np.allclose(e.rows, RAW[:2]) and e.players.names[0][0] == "pressure, 0–2.5 s"
    assert e.players.axes.units == UNITS
    drawn = [point["y"] for rows in e.plot(0).to_dict()["datasets"].values() for point in rows if "y" in point]
    assert np.isclose(min(drawn), RAW[0].min(), atol=1e-5) and np.isclose(max(drawn), RAW[0].max(), atol=1e-4)
    e.save(tmp_path / "e.npz")
    assert np.allclose(Explanation.load(tmp_path / "e.npz").rows, RAW[:2])


def test_a_tensor_is_what_the_network_eats(net):
    encoding = SeriesEncoding.fit(raw())
    model = pellucid.wrap(net, encoding=encoding)
    asked = {"method": "occlusion", "players": Windows(6), "removal": Interpolated()}
    eaten = pellucid.explain(model, torch.from_numpy(encoding.encode(raw())), **asked)
    assert np.array_equal(eaten.values, pellucid.explain(model, raw(), **asked).values)
    assert np.allclose(eaten.rows, RAW, atol=1e-4)


def test_a_network_is_told_where_raw_series_end():
    class Told(nn.Module):
        def forward(self, x, mask):
            return torch.where(mask[:, None], x, 0.0).sum((1, 2))[:, None]

    encoding = SeriesEncoding.fit(ragged())
    asked = {"method": "occlusion", "players": Windows(6), "removal": SegmentMean()}
    e = pellucid.explain(pellucid.wrap(Told(), encoding=encoding), ragged(), **asked)
    want = [encoding.encode(ragged()[[row]]).sum() for row in range(N)]
    assert np.allclose(e.full[:, 0], want, atol=1e-5)
    long = pellucid.wrap(Net().eval(), encoding=encoding)
    with pytest.raises(InputError, match=r"1 to 24 steps.*SeriesEncoding.fit\(data, fill=0.0\)"):
        pellucid.explain(long, ragged(), **asked)
    filled = pellucid.wrap(Net().eval(), encoding=SeriesEncoding.fit(ragged(), fill=0.0))
    assert len(pellucid.explain(filled, ragged(), **asked)) == N


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
@pytest.mark.parametrize("time", ["first", "last"])
def test_what_one_short_series_is_filled_up_with_is_no_step_of_it(method, time):
    """Alone in its batch a series has the same steps, and the same answers, as beside longer ones."""

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.out = nn.Linear(2 * T, 2)

        def forward(self, x):
            return self.out(x.flatten(1)).tanh()

    encoding = SeriesEncoding.fit(raw(), steps=T, fill=0.0, time=time)
    model, short = pellucid.wrap(Whole(), encoding=encoding), RAW[1][:, :9]
    alone = pellucid.explain(model, pellucid.Series([short], NAMES), method, target=1)
    beside = pellucid.explain(model, pellucid.Series([RAW[0], short], NAMES), method, target=1)
    names = [f"{name}, step {step}" for name in NAMES for step in range(9)]
    assert alone.players.of(0) == beside.players.of(1) == tuple(names)
    assert alone.values.shape == (1, 18)
    np.testing.assert_allclose(alone.values[0], beside.values[1, :18], atol=1e-6)
    assert np.isnan(beside.values[1, 18:]).all()


def test_rows_of_another_kind_are_refused(net):
    model = pellucid.wrap(net, encoding=SeriesEncoding.fit(raw()))
    with pytest.raises(EncodingError, match=r"raw series are needed, not a DataFrame"):
        pellucid.explain(model, pd.DataFrame({"pressure": [1.0], "flow": [2.0]}))
    with pytest.raises(NotFiniteError, match="NaN or infinity in 1 of 6 series"):
        pellucid.explain(model, np.where(np.arange(N)[:, None, None] == 2, np.nan, RAW))
    tiny = SeriesEncoding(NAMES, (0.0, 0.0), (1e-300, 1.0))
    with pytest.raises(NotFiniteError, match="6 series are too large for float32"):
        tiny.encode(RAW)


def test_features_of_series_keep_their_axes(tmp_path):
    np.savez(tmp_path / "s.npz", series=RAW, channel_names=np.array(NAMES), y=np.arange(N) % 2)
    data = pellucid.read(tmp_path / "s.npz")
    assert data.features.axes.channels == NAMES and np.array_equal(np.asarray(data.features), RAW)
    torch.manual_seed(0)
    e = pellucid.explain(Net().eval(), data.features[1:3], "occlusion", players=Windows(6))
    assert e.players.names[0][0] == "pressure, steps 0–5" and e.values.shape == (2, 8)
    with pytest.raises(InputError, match="there are no rows to explain"):
        pellucid.explain(Net().eval(), data.features[:0], "occlusion")
    part = data.features[np.arange(N) == 4]
    assert part.shape == (1, 2, T) and np.array_equal(part.content[0], RAW[4])
