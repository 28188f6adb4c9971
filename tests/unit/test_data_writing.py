"""Written tables hold no live formula, and come back exactly."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.data.writing import escaped, read_csv_back, unescaped, write_csv
from pellucid.records.errors import InputError

NASTY = [
    "=1+1", "+1", "-0.3", "@SUM(A1)", "\t=1", "\r=1", " =1", "  @x", "＝1", "＋1", "－1", "＠x",
    "'=1", "''=1", "'", "'quoted'", "it's", "=cmd|' /C calc'!A0", 'a"b', '"', "a,b", "a\nb", "a\r\nb",
    "", " ", "NA", "nan", "True", "12", "1e5", "\u202egnol", "年龄", "\ud800", "x" * 10_000, "\ufeff",
    "<script>alert(1)</script>", "\n", "\0", "-", "–1",
]  # fmt: skip


def test_nasty_cells_and_names_come_back(tmp_path):
    names = pd.Index([name or "empty" for name in NASTY], dtype=object)
    frame = pd.DataFrame([[cell] * len(NASTY) for cell in NASTY], dtype=object).set_axis(names, axis=1)
    path = tmp_path / "t.csv"
    write_csv(path, frame)
    back = read_csv_back(path)
    assert list(back.columns) == list(names)
    for place in range(len(names)):
        assert back.iloc[:, place].tolist() == NASTY
    with open(path, encoding="utf-8", errors="surrogatepass", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not any(cell.lstrip(" ")[:1] in set("=+-@＝＋－＠\t\r\n") - {""} and cell.strip(" ") for cell in cells)


def test_numbers_stay_numbers(tmp_path):
    frame = pd.DataFrame(
        {
            "float": [-0.3, 1e-300, np.nan, 0.1 + 0.2],
            "int": [-(2**63), 2**63 - 1, 0, -1],
            "bool": [True, False, True, False],
            "text": ["a", None, "-1", ""],
        }
    )
    path = tmp_path / "t.csv"
    write_csv(path, frame)
    assert path.read_text().splitlines()[1].startswith("-0.3,-9223372036854775808,True,")
    back = read_csv_back(path)
    assert back["float"].dtype == np.float64 and back["int"].dtype == np.int64 and back["bool"].dtype == bool
    for name in ("float", "int", "bool"):
        np.testing.assert_array_equal(back[name], frame[name])
    assert back["text"].isna().tolist() == [False, True, False, False] and back["text"].tolist()[2:] == ["-1", ""]
    assert pd.read_csv(path)["float"].tolist()[0] == -0.3


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_escaping_is_undone(text):
    assert unescaped(escaped(text)) == text
    assert not escaped(text).lstrip().startswith(tuple("=+-@＝＋－＠"))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), min_size=1, max_size=5))
def test_any_table_comes_back(tmp_path_factory, rows):
    frame = pd.DataFrame({"=t": pd.Series([t for t, _ in rows], dtype=object), "x": [x for _, x in rows]})
    path = tmp_path_factory.mktemp("w") / "t.csv"
    write_csv(path, frame)
    back = read_csv_back(path)
    assert back["=t"].tolist() == frame["=t"].tolist() and back["x"].tolist() == frame["x"].tolist()


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "t.csv"
    for text, message in [
        ('"a"\nplain\n', "t.csv:2: the cell was not written by write_csv"),
        ('"a"\n"b"x\n', "t.csv:2: the cell"),
        ('"a","b"\n1\n', "expected 2 fields, found 1"),
        ("", "the file is empty"),
    ]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_csv_back(path)
