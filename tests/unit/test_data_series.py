"""Time series from files: arrays and tables of measurements, and what is refused about their times."""

import numpy as np
import pandas as pd
import pytest

import pellucid
from pellucid.records.errors import InputError, UnknownName

STEPS = 40


def long_table(**changes):
    """Three series of two channels, of 40, 40 and 30 steps, one label each."""
    rng = np.random.default_rng(0)
    parts = []
    for name, length, label in (("a", 40, "calm"), ("b", 40, "wild"), ("c", 30, "calm")):
        parts.append(pd.DataFrame({
            "unit": name, "hour": np.arange(length), "heat": rng.normal(size=length), "load": rng.normal(size=length),
            "state": label,
        }))  # fmt: skip
    return pd.concat(parts, ignore_index=True).assign(**changes)


def one_long(**changes):
    rng = np.random.default_rng(1)
    broken = np.isin(np.arange(100), [33, 34, 71])
    return pd.DataFrame({"t": np.arange(100), "value": rng.normal(size=100), "broken": broken.astype(int)}).assign(
        **changes
    )


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


# Tables ------------------------------------------------------------------------------------


def test_rows_with_one_id_are_a_series_of_its_own_length():
    data = pellucid.read(long_table(), time="hour", id="unit", label="state")
    assert data.content.shape == (3, 2, 40) and data.lengths.tolist() == [40, 40, 30]
    assert data.axes.channels == ("heat", "load") and data.axes.times == ()
    assert data.ids.tolist() == ["a", "b", "c"] and data.classes == ("calm", "wild")
    assert data.labels.tolist() == [0, 1, 0] and data.evidence is None
    assert np.allclose(data.content[1, 1], long_table()["load"][40:80], atol=1e-6)


def test_series_are_cut_into_windows_that_stay_with_their_series():
    data = pellucid.read(long_table(), time="hour", id="unit", label="state", window=10, stride=5)
    assert len(data) == 7 + 7 + 5 and data.lengths is None
    assert data.ids[:2].tolist() == ["a from 0", "a from 5"]
    of = {name: set(data.splits[[one.startswith(name) for one in data.ids]]) for name in "abc"}
    assert all(len(splits) == 1 for splits in of.values())


def test_a_long_series_is_tested_on_its_end_and_no_step_is_in_two_splits():
    data = pellucid.read(one_long(), time="t", label="broken", window=10, stride=2)
    starts = [int(name.removeprefix("from ")) for name in data.ids]
    of = [[start for start, own in zip(starts, data.splits, strict=True) if own == split] for split in range(3)]
    assert max(of[0]) + 10 <= min(of[1]) and max(of[1]) + 10 <= min(of[2])


def test_steps_that_are_marked_are_the_windows_evidence():
    data = pellucid.read(one_long(), time="t", label="broken", window=20)
    assert data.labels.tolist() == [0, 1, 0, 1, 0] and data.classes == ("0", "1")
    assert data.evidence.passages == ((), ((13, 15),), (), ((11, 12),), ())
    assert data.test.evidence.passages == ((),)
    whole = pellucid.read(one_long(broken=1), time="t", label="broken", window=50)
    assert whole.evidence is None, "a mark on everything marks nothing"


def test_a_number_to_be_told_is_the_windows_last():
    data = pellucid.read(one_long(broken=np.arange(100) / 3), time="t", label="broken", window=20, task="regression")
    assert np.allclose(data.labels, [19 / 3, 13, 59 / 3, 79 / 3, 33])


def test_dates_give_times_that_all_windows_share():
    frame = one_long(t=pd.date_range("2024-01-01", periods=100, freq="30s").astype(str))
    data = pellucid.read(frame, time="t", label="broken", window=10)
    assert data.axes.times[:3] == (0.0, 30.0, 60.0) and data.axes.unit == "s"
    assert data.ids[1] == "from 2024-01-01 00:05:00" and data.mended == ()


def test_irregular_times_are_told_beside_the_explanation():
    when = np.arange(100)
    when[50:] += 7
    data = pellucid.read(one_long(t=when), time="t", label="broken", window=10)
    assert [caution.code for caution in data.mended] == ["irregular_times"]
    assert "1 of 99 steps between measurements are not of the usual length (1; the longest is 8)" in str(data.mended[0])
    e = pellucid.explain(lambda x: x.sum((1, 2)), data.test, "occlusion")
    assert "irregular_times" in [caution.code for caution in e.warnings]
    assert "时间" in data.mended[0].text("zh")


@pytest.mark.parametrize(
    ("frame", "settings", "message"),
    [
        (one_long(t=np.r_[np.arange(50), 48, 48, np.arange(52, 100)]), {},
         "two measurements at the time 48: rows 49 and 51, and 2 such rows in all. give each moment once, or name the "
         "column that tells series apart: id=…"),
        (long_table(hour=np.r_[np.arange(40), np.arange(40), 3, np.arange(29)]),
         {"time": "hour", "id": "unit", "label": "state", "window": None},
         "series 'c' has two measurements at the time 3: rows 81 and 85, and 1 such rows in all. give each "
         "moment once."),
        (one_long(t=["2024-01-01 00:00", *pd.date_range("2024-01-02", periods=99, tz="UTC").astype(str)]), {},
         "all with a zone or all without"),
        (one_long(t=["soon"] * 100), {}, "neither numbers nor dates of one time zone"),
        (one_long(t=[None, *range(99)]), {}, "has rows without a time (row 1)"),
        (one_long(value=[np.nan, *np.zeros(99)]), {}, "channel 'value' has gaps: 1 of 100 rows are empty"),
        (one_long(value="high"), {}, "channel 'value' holds no numbers"),
        (one_long(value=[np.inf, *np.zeros(99)]), {}, "column 'value' holds infinity (row 1)"),
        (long_table(), {"time": "hour", "label": "state"}, "channel 'unit' holds no numbers (first rows 1, 2, 3). "
         "where it tells series apart, id='unit'; where each row is one channel's value, channel='unit', value='…'"),
        (long_table(unit=[None, *"a" * 109]), {"time": "hour", "id": "unit", "label": "state"},
         "column 'unit' has rows without a name (row 1)"),
        (long_table(state=["calm"] * 50 + ["wild"] * 60),
         {"time": "hour", "id": "unit", "label": "state", "window": None},
         "the label of series 'b' changes between rows 41 and 51: from 'calm' to 'wild'. give one label "
         "for each series"),
        (one_long(), {"protected": ["value"]}, "protected= is said of tables whose rows are no moments"),
        (one_long(), {"time": None}, "window= is said of time series. name the column that says when: time='hour'"),
        (one_long(), {"channel": "value"}, "channel='value' needs value= beside it. where each row is one channel's "
         "value, one column names the channel and one holds the value. channel='sensor', value='reading'"),
        (one_long(), {"id": "t"}, "column 't' is named for time= and id=. name a column for each"),
        (one_long(), {"window": 101}, "no series has the 101 steps of a window; the longest has 100"),
        (one_long(), {"window": None}, "the table is one series of 100 steps. say how many steps the network sees"),
        (one_long(), {"window": 0}, "window=0 is no number of steps"),
        (one_long(), {"stride": "1.5"}, "stride='1.5' is no number of steps"),
        (one_long(broken=["on", "off"] * 50), {},
         "the label of the series changes between rows 1 and 2: from 'on' to 'off'"),
        (one_long()[["t", "broken"]], {}, "no channels beside time, id and label"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(frame, settings, message):
    with pytest.raises(InputError) as error:
        pellucid.read(frame, **({"time": "t", "label": "broken", "window": 20} | settings))
    assert message in str(error.value)


def test_rows_are_sorted_by_time_and_that_is_told():
    want = pellucid.read(long_table(), time="hour", id="unit", label="state")
    mixed = long_table().sample(frac=1, random_state=0)
    data = pellucid.read(mixed, time="hour", id="unit", label="state")
    order = [data.ids.tolist().index(name) for name in "abc"]
    assert np.array_equal(data.content[order], want.content) and data.labels[order].tolist() == [0, 1, 0]
    assert [one.code for one in data.mended] == ["times_sorted"] and "rows were sorted by time" in str(data.mended[0])
    apart = long_table().sort_values("hour", kind="stable")  # series side by side, each in order: nothing to tell
    assert pellucid.read(apart, time="hour", id="unit", label="state").mended == ()
    alone = pellucid.read(one_long().iloc[::-1], time="t", label="broken", window=10)
    assert np.array_equal(alone.content, pellucid.read(one_long(), time="t", label="broken", window=10).content)
    assert str(alone.mended[0]).startswith("99 of 100 rows were earlier than the row before them")
    assert (alone.mended[0].severity, alone.mended[0].code) == ("yellow", "times_sorted_as_one")
    assert "按时间排序" in alone.mended[0].text("zh")
    with pytest.raises(UnknownName, match="hours"):
        pellucid.read(long_table(), time="hours", id="unit", label="state")


def test_numbers_that_are_no_classes_are_a_quantity():
    parts = {"a": 0.5, "b": 2.25, "c": 10.0}
    data = pellucid.read(long_table(state=long_table()["unit"].replace(parts)), time="hour", id="unit", label="state")
    assert data.task == "regression" and data.labels.tolist() == [0.5, 2.25, 10]
    parts = {"a": 10, "b": 9, "c": 10}
    data = pellucid.read(long_table(state=long_table()["unit"].replace(parts)), time="hour", id="unit", label="state")
    assert data.classes == ("9", "10") and data.labels.tolist() == [1, 0, 1]


def test_series_of_one_group_stay_in_one_split():
    frame = pd.concat(
        [long_table(unit=f"{unit}", state=unit % 2, ward=f"ward {unit % 5}").head(4) for unit in range(40)]
    )
    data = pellucid.read(frame, time="hour", id="unit", label="state", groups="ward")
    assert data.content.shape == (40, 2, 4), "the ward is no channel"
    assert all(len(set(data.splits[data.groups == ward])) == 1 for ward in set(data.groups))
    frame.iloc[1, frame.columns.get_loc("ward")] = "ward 9"
    with pytest.raises(InputError, match="the group of series '0' changes between rows 1 and 2: from 'ward 0'"):
        pellucid.read(frame, time="hour", id="unit", label="state", groups="ward")


def test_one_series_without_a_label_is_one_row():
    data = pellucid.read(one_long().drop(columns="broken"), time="t")
    assert data.content.shape == (1, 1, 100) and data.task is None
    e = pellucid.explain(lambda x: x[:, 0, -1], data, "occlusion", players=pellucid.players.Windows(25))
    assert np.flatnonzero(e.values[0]).tolist() == [3], "the forecast that the last value stays"


def test_times_over_the_end_of_summer_time_are_one_clock():
    when = ["2024-10-27 02:00+02:00", "2024-10-27 02:30+02:00", "2024-10-27 02:00+01:00", "2024-10-27 02:30+01:00"]
    data = pellucid.read(one_long().head(4).assign(t=when, broken=0), time="t", label="broken", window=4)
    assert data.axes.times == (0.0, 1800.0, 3600.0, 5400.0) and data.mended == ()


# Long tables: a row for each value -----------------------------------------------------------


def melted(**changes):
    frame = long_table().rename(columns={"state": "y"})
    long = frame.melt(["unit", "hour", "y"], ["heat", "load"], "sensor", "reading")
    return long.assign(**changes)


LONG = {"time": "hour", "id": "unit", "channel": "sensor", "value": "reading", "label": "y"}


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ""])
def test_a_row_for_each_value_is_read_as_the_same_series(tmp_path, suffix):
    frame = melted().sample(frac=1, random_state=1).sort_values(["unit", "hour"], kind="stable")
    path = tmp_path / f"long{suffix}"
    if suffix:
        getattr(frame, f"to_{suffix[1:]}")(path, index=False)
    data = pellucid.read(path if suffix else frame, **LONG)
    want = pellucid.read(long_table(), time="hour", id="unit", label="state")
    places = [data.axes.channels.index(name) for name in want.axes.channels]
    assert np.array_equal(data.content[:, places], want.content) and data.lengths.tolist() == [40, 40, 30]
    assert data.ids.tolist() == ["a", "b", "c"] and data.labels.tolist() == [0, 1, 0] and data.mended == ()
    cut = pellucid.read(path if suffix else frame, **LONG, window=10, stride=5)
    assert len(cut) == 19 and cut.axes.steps == 10


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (melted().drop(index=[7, 130]), "channel 'heat' has gaps: it was not measured at 1 of 110 moments, first of "
         "series 'a' at 7 (row 117 has another channel's value). bring the channels to common times"),
        (pd.concat([melted(), melted().iloc[[5, 6]]]), "series 'a' has two measurements in channel 'sensor' at the "
         "time 5: rows 6 and 221, and 2 such rows in all. give each measurement once"),
        (melted(reading=[None, *range(219)]), "channel 'reading' has gaps: 1 of 220 rows are empty (row 1)"),
        (melted(sensor=["heat", None] * 110), "column 'sensor' has rows without a name"),
        (melted(reading="high"), "channel 'reading' holds no numbers (first rows 1, 2, 3)"),
        (melted(y=["calm"] * 110 + ["wild"] * 110), "column 'y' says two things of one moment (first rows 111, 112, "
         "113 and rows above). give each moment of a series one label"),
    ],
)  # fmt: skip
def test_long_tables_that_cannot_be_read_are_refused(frame, message):
    with pytest.raises(InputError) as error:
        pellucid.read(frame, **LONG)
    assert message in str(error.value)


def test_further_columns_of_a_long_table_are_left_out_and_told():
    data = pellucid.read(melted(site="north", quality=1), **LONG)
    assert data.axes.channels == ("heat", "load")
    told = str(data.mended[0])
    assert told == "Columns beside the time, the channel and its value were left out: site, quality."


# Arrays ------------------------------------------------------------------------------------


def test_arrays_are_series_where_the_file_says_so(tmp_path):
    x, y = np.zeros((6, 3, 8), np.float32), np.arange(6) % 2
    named = pellucid.read(saved(tmp_path / "a.npz", series=x, y=y))
    assert named.axes.shape == (3, 8) and named.mended == ()
    channels = pellucid.read(
        saved(tmp_path / "b.npz", X=x.swapaxes(1, 2), y=y, channel_names=np.array(["a", "b", "c"]))
    )
    assert channels.axes.channels == ("a", "b", "c") and channels.axes.time == "first" and channels.mended == ()
    ends = pellucid.read(
        saved(tmp_path / "c.npz", X=x, y=y, lengths=np.array([8, 7, 6, 8, 8, 5]), times=np.arange(8) / 2)
    )
    assert ends.lengths.tolist() == [8, 7, 6, 8, 8, 5] and ends.axes.times[1] == 0.5
    line = pellucid.read(saved(tmp_path / "d.npz", X=x[:, :1], y=y))
    assert line.axes.channels == ("value",) and line.mended == ()
    flat = pellucid.read(saved(tmp_path / "e.npz", X=x[:, 0], y=y), kind="series")
    assert flat.axes.flat and flat.axes.shape == (8,)


def test_arrays_are_not_cut(tmp_path):
    path = saved(tmp_path / "s.npz", series=np.zeros((3, 2, 40)))
    with pytest.raises(InputError, match=r"s.npz: window= is said of tables of series, and these are arrays"):
        pellucid.read(path, time="last", window=10)


def test_what_only_the_shape_speaks_for_is_told(tmp_path):
    path = saved(tmp_path / "x.npz", X=np.zeros((6, 3, 8), np.float32), y=np.arange(6) % 2)
    guessed = pellucid.read(path)
    assert guessed.axes.shape == (3, 8)
    assert "taken for time series of 3 channels and 8 steps, because of its shape alone" in str(guessed.mended[0])
    assert pellucid.read(path, kind="series").mended == ()
    assert pellucid.read(path, time="first").axes.shape == (3, 8)
    assert pellucid.read(path, time="first").axes.channels == tuple(f"channel {i}" for i in range(8))
    assert pellucid.read(path, kind="images").axes is None
    with pytest.raises(InputError, match="time='middle' does not say where the steps lie"):
        pellucid.read(path, time="middle")
    with pytest.raises(UnknownName, match="images"):
        pellucid.read(path, kind="image")


def test_pictures_and_bytes_stay_what_they_are(tmp_path):
    y = np.arange(6) % 2
    assert pellucid.read(saved(tmp_path / "a.npz", images=np.zeros((6, 8, 8), np.float32), y=y)).axes is None
    assert pellucid.read(saved(tmp_path / "b.npz", X=np.zeros((6, 8, 8), np.uint8), y=y)).axes is None
    assert pellucid.read(saved(tmp_path / "c.npz", X=np.zeros((6, 8), np.float32), y=y)).axes is None
