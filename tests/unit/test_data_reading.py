"""Reading: what a good file becomes, and the sentence each bad one is answered with."""

from __future__ import annotations

import io
import os
import time
import zipfile

import numpy as np
import pandas as pd
import pytest

from pellucid.data.archives import read_archive
from pellucid.data.reading import read
from pellucid.records.errors import InputError, NotFiniteError, UnknownName

GOOD = "age,owns,city,approved\n" + "".join(
    f"{20 + i},{'yes' if i % 3 else 'no'},{('Rome', 'Oslo')[i % 2]},{'yn'[i % 2]}\n" for i in range(30)
)


def write(folder, text, name="loans.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def test_a_good_table(tmp_path):
    data = read(write(tmp_path, GOOD), label="approved", protected=("age",), immutable=("age",))
    assert len(data) == 30 and data.task == "classification" and data.classes == ("n", "y")
    assert [(c.name, c.type, c.role) for c in data.schema] == [
        ("age", "numeric", "feature"),
        ("owns", "boolean", "feature"),
        ("city", "categorical", "feature"),
        ("approved", "boolean", "label"),
    ]
    age = data.schema["age"]
    assert (age.low, age.high, age.protected, age.immutable) == (20, 49, True, True)
    assert data.schema["owns"].categories == ("no", "yes")
    assert list(data.features.columns) == ["age", "owns", "city"]
    assert data.labels.tolist() == [1, 0] * 15
    assert data.row_numbers.tolist() == list(range(1, 31)) and data.features.index.tolist() == list(range(1, 31))
    assert len(data.source.sha256) == 64 and data.source.path.endswith("loans.csv")


def test_selections_keep_everything_and_change_nothing(tmp_path):
    data = read(write(tmp_path, GOOD), label="approved")
    part = data[5:9]
    assert part.row_numbers.tolist() == [6, 7, 8, 9] and part.schema is data.schema and part.classes == data.classes
    assert data[[3, 1]].ids.tolist() == ["4", "2"] and len(data[-1]) == 1
    assert data[data.labels == 1].labels.tolist() == [1] * 15
    assert data.slice("city", "Oslo").features["city"].unique().tolist() == ["Oslo"]
    assert data.slice("age", 21).row_numbers.tolist() == [2]
    assert len(data.slice("approved", "y")) == 15
    assert len(data.take([])) == 0
    parts = np.concatenate([part.row_numbers for part in (data.train, data.validation, data.test)])
    assert sorted(parts) == list(range(1, 31))
    for copy in (data.features, data.frame):
        copy.loc[:, "age"] = 0
    assert data.features["age"].iloc[0] == 20
    with pytest.raises(ValueError, match="read-only"):
        data.labels[0] = 5
    with pytest.raises(UnknownName, match="did you mean 'Oslo'"):
        data.slice("city", "oslo")
    with pytest.raises(UnknownName, match="'city'"):
        data.slice("citty", "Oslo")
    with pytest.raises(InputError, match="there is no row 30"):
        data.take([30])
    with pytest.raises(InputError, match="mask has shape"):
        data[np.array([True])]


SHAPE_FAULTS = {
    "empty": ("", {}, "loans.csv: the file is empty"),
    "blank": ("\n \n", {}, "the file is empty"),
    "only a byte-order mark": ("\ufeff", {}, "the file is empty"),
    "header only": ("a,b\n", {}, "holds a header and no rows"),
    "short row": ("a,b,c\n1,2,3\n1,2\n", {}, r"loans.csv:3: expected 3 fields, found 2"),
    "long row after a quoted newline": ('a,b\n"x\ny",1\n1,2,3\n', {}, r"loans.csv:4: expected 2 fields, found 3"),
    "trailing delimiter": ("a,b\n1,2,\n", {}, "remove the delimiter at the end of the row"),
    "trailing delimiter in the header": ("a,b,\n1,2,3\n", {}, r"column 3 has no name \(the header ends"),
    "blank name": ("a,  ,c\n1,2,3\n", {}, "column 2 has no name"),
    "doubled name": ("a,b,a\n1,2,3\n", {}, r"'a' is used more than once \(columns 1 and 3\)"),
    "doubled name but for a space": ("a,b, a\n1,2,3\n", {}, "used more than once"),
    "semicolons": ("a;b\n1,5;2\n", {}, r"pass delimiter=';' \(and decimal=','"),
    "tabs": ("a\tb\n1\t2\n", {}, r"pass delimiter='\\t'"),
    "bars": ("a|b\n1|2\n", {}, r"pass delimiter='\|'"),
    "open quote": ('a,b\n1,"2\n3,4\n', {}, "not valid CSV"),
    "delimiter of two": (GOOD, {"delimiter": ";;"}, "is not one character"),
    "unknown encoding": (GOOD, {"encoding": "klingon"}, "no text encoding 'klingon'"),
    "latin-1": ("a,b\n1,2\ncafé,3\n".encode("latin-1"), {}, r"loans.csv:3: byte 0xe9 is not UTF-8.*encoding='latin-1'"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), {}, "encoding='utf-16'"),
    "utf-16 without a mark": ("a,b\n1,2\n".encode("utf-16-le"), {}, "encoding='utf-16'"),
    "binary": (b"a,b\n1,\x002222222222222222222222222\n", {}, "zero bytes"),
    "unknown label": (GOOD, {"label": "aproved"}, "did you mean 'approved'"),
    "unknown protected column": (GOOD, {"protected": ("agee",)}, "did you mean 'age'"),
    "protected as one text": (GOOD, {"protected": "age"}, "is a list of columns"),
    "unknown task": (GOOD, {"label": "approved", "task": "clasification"}, "did you mean 'classification'"),
    "bad split": (GOOD, {"split": (0.5, 0.2, 0.2)}, "three shares that add up to 1"),
    "text label as a number": (GOOD, {"label": "city", "task": "regression"}, "task='classification'"),
    "too few groups": (GOOD, {"groups": [1, 2]}, "one group per row"),
}


@pytest.mark.parametrize("name", SHAPE_FAULTS)
def test_faults_of_shape(tmp_path, name):
    text, arguments, message = SHAPE_FAULTS[name]
    path = write(tmp_path, text)
    with pytest.raises((InputError, UnknownName), match=message) as caught:
        read(path, **arguments)
    assert len(str(caught.value).splitlines()) <= 10


def column(cells, name="x"):
    return f"{name},y\n" + "".join(f'"{cell}",{place % 2}\n' for place, cell in enumerate(cells))


CELL_FAULTS = {
    "decimal comma": (["1,5", "2,25", "3,0"], r"column 'x': .*'1,5'. pass decimal=','"),
    "decimal comma and thousands": (["1.234,5", "2.000,25"], r"pass decimal=',' and thousands='.'"),
    "thousands": (["1,234,567", "2,345.5"], "pass thousands=','"),
    "thousands or decimal": (["1,234", "2,345"], "pass thousands=',', or decimal=','"),
    "numbers and a few words": ([*range(40), "12a", "?"], r"2 of 42 cells are no numbers, e.g. '12a' \(rows 41, 42\)"),
    "infinity": (["1.5", "-inf", "2"], r"column 'x': 1 infinite values in 3 rows \(row 2\)"),
    "beyond 32 bits": (["1.5", "1e39", "2"], r"beyond the largest 32-bit float in 3 rows \(row 2\)"),
    "large ids": (["9007199254740993", "5", "7"], r"column 'x', row 1: the whole number 9007199254740993 loses digits"),
    "large ids with a gap": (["9007199254740993", "", "7"], "beyond 2\\*\\*53"),
}


@pytest.mark.parametrize("name", CELL_FAULTS)
def test_faults_of_cells(tmp_path, name):
    cells, message = CELL_FAULTS[name]
    with pytest.raises(InputError, match=message):
        read(write(tmp_path, column(cells)), label="y")


def test_the_proposed_arguments_settle_it(tmp_path):
    path = write(tmp_path, "x;y\n1.234,5;0\n2,25;1\n")
    data = read(path, label="y", delimiter=";", decimal=",", thousands=".")
    assert data.features["x"].tolist() == [1234.5, 2.25]
    ids = write(tmp_path, column(["9007199254740993", "9007199254740992"]), "ids.csv")
    assert read(ids, label="y", id="x").ids.tolist() == ["9007199254740993", "9007199254740992"]
    latin = write(tmp_path, "name,y\ncafé,1\n".encode("latin-1"), "latin.csv")
    assert read(latin, encoding="latin-1").features["name"].tolist() == ["café"]
    wide = write(tmp_path, "name,y\ncafé,1\n".encode("utf-16"), "wide.csv")
    assert read(wide, encoding="utf-16").features["name"].tolist() == ["café"]


@pytest.mark.parametrize("change", [lambda t: "\ufeff" + t, lambda t: t.replace("\n", "\r\n"), lambda t: t + "\n\n"])
def test_harmless_differences_change_nothing(tmp_path, change):
    plain = read(write(tmp_path, GOOD, "plain.csv"), label="approved")
    other = read(write(tmp_path, change(GOOD)), label="approved")
    assert other.frame.equals(plain.frame) and other.schema == plain.schema
    assert (other.splits == plain.splits).all()


def test_missing_labels_are_named(tmp_path):
    with pytest.raises(InputError, match=r"label column 'y': 2 of 4 rows are empty \(rows 2, 4\)"):
        read(write(tmp_path, "x,y\n1,a\n2,\n3,b\n4,NA\n"), label="y")


def test_a_hostile_quote_is_cheap(tmp_path):
    path = tmp_path / "bomb.csv"
    with open(path, "wb") as file:
        file.write(b'a,b\n1,"')
        for _ in range(64):
            file.write(b"\n" * 2**20)
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"bomb.csv:\d+: the line is not valid CSV.*field larger than"):
        read(path)
    assert time.perf_counter() - start < 1


def test_too_many_columns(tmp_path):
    with pytest.raises(InputError, match="100,001 columns; at most 100,000"):
        read(write(tmp_path, ",".join(f"c{n}" for n in range(100_001)) + "\n1\n"))


def test_paths_that_cannot_be_read(tmp_path):
    loop = tmp_path / "loop.csv"
    loop.symlink_to(loop)
    for path, message in [
        (tmp_path / "none.csv", "no such file"),
        (tmp_path, "the folder cannot be read"),
        (loop, "cannot be opened"),
        ("a\0b.csv", "cannot be opened"),
        (write(tmp_path, b"x", "model.pkl"), "files ending in '.pkl' are not read"),
        (7, "cannot read a int"),
    ]:
        with pytest.raises(InputError, match=message):
            read(path)


def test_hostile_names_are_only_names(tmp_path):
    names = ["<script>alert(1)</script>", "=1+1", "年龄", "\u202egnol", "x" * 10_000, "__proto__"]
    frame = pd.DataFrame({name: [1.5, 2.5] for name in names})
    assert [c.name for c in read(frame).schema] == names


# ------------------------------------------------------------------ frames and types


def test_types_are_inferred(tmp_path):
    n = 40
    frame = pd.DataFrame(
        {
            "customer_id": np.arange(n) + 1000,
            "flag": np.arange(n) % 2,
            "truth": (np.arange(n) % 2).astype(bool),
            "maybe": [None if i == 3 else "Yes" if i % 2 else "No" for i in range(n)],
            "steps": ["0", "1", "2", "3+"] * 10,
            "amount": np.linspace(0, 1, n),
            "holes": [np.nan, 1.0, 2.0, 3.0] * 10,
            "cat": pd.Categorical(["a", "b"] * 20),
            "nothing": [None] * n,
            "target": np.linspace(0, 100, n),
        }
    )
    data = read(frame, label="target")
    found = {c.name: (c.type, c.role, c.missing) for c in data.schema}
    assert found == {
        "customer_id": ("categorical", "id", 0),
        "flag": ("boolean", "feature", 0),
        "truth": ("boolean", "feature", 0),
        "maybe": ("boolean", "feature", 1),
        "steps": ("categorical", "feature", 0),
        "amount": ("numeric", "feature", 0),
        "holes": ("numeric", "feature", 10),
        "cat": ("categorical", "feature", 0),
        "nothing": ("numeric", "feature", 40),
        "target": ("numeric", "label", 0),
    }
    assert data.task == "regression" and data.labels.dtype == np.float64
    assert data.ids[0] == "1000" and data.source.path == ""
    assert data.schema["maybe"].categories == ("No", "Yes") and data.schema["flag"].categories == ("0", "1")
    assert len(data.slice("holes", None)) == 10


def test_whole_number_labels(tmp_path):
    few = read(pd.DataFrame({"x": range(40), "y": [3, 1] * 20}), label="y")
    assert few.task == "classification" and few.classes == ("1", "3") and few.labels[:2].tolist() == [1, 0]
    many = pd.DataFrame({"x": range(40), "y": range(40)})
    assert read(many, label="y").task == "regression"
    assert len(read(many, label="y", task="classification").classes) == 40
    truth = read(pd.DataFrame({"x": range(4), "y": [True, False] * 2}), label="y")
    assert truth.classes == ("False", "True") and truth.labels.tolist() == [1, 0, 1, 0]


def test_frames_that_cannot_be_used():
    for frame, message in [
        (pd.DataFrame({"when": pd.to_datetime(["2020-01-01"])}), "holds dates"),
        (pd.DataFrame({"x": [[1], [2]]}), "row 1: a cell holds a list"),
        (pd.DataFrame({"x": [1 + 2j]}), "complex numbers"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "used more than once"),
        (pd.DataFrame({"a": []}), "no rows"),
        (pd.DataFrame({"x": pd.Series(["\ud800", "b"], dtype=object)}), "half a character"),
        (pd.Series([1, 2]), "cannot read a Series"),
    ]:
        with pytest.raises(InputError, match=message):
            read(frame)


def test_groups_of_a_table_stay_together():
    frame = pd.DataFrame({"patient": np.repeat(np.arange(50), 4), "x": np.arange(200), "y": [0, 1] * 100})
    data = read(frame, label="y", groups="patient")
    assert data.schema["patient"].role == "ignored"
    assert all(len(set(data.splits[data.groups == group])) == 1 for group in set(data.groups))
    assert 0.5 < len(data.train) / 200 < 0.7


# ------------------------------------------------------------------ schema files

SCHEMA = """
description: loans
columns:
  age: {unit: years, range: [18, 100], immutable: true, description: at the application}
  city: {type: ordinal, categories: [Oslo, Rome], protected: true}
  owns: {role: ignored}
  approved: {role: label, categories: [y, n], type: ordinal}
"""


def test_a_schema_file_wins(tmp_path):
    data = read(write(tmp_path, GOOD), schema=write(tmp_path, SCHEMA, "schema.yaml"))
    age, city = data.schema["age"], data.schema["city"]
    assert (age.unit, age.low, age.high, age.immutable, age.description) == (
        "years",
        18,
        100,
        True,
        "at the application",
    )
    assert city.type == "ordinal" and city.categories == ("Oslo", "Rome") and city.protected
    assert data.label == "approved" and data.classes == ("y", "n")
    assert [c.name for c in data.schema.features] == ["age", "city"]
    again = read(write(tmp_path, GOOD), schema=data.schema)
    assert again.schema["city"] == city and again.label == "approved"


SCHEMA_FAULTS = {
    "columns: {age: {colour: red}}": "columns.age.colour: Extra inputs.*a column may have: type, role",
    "columns: {age: {type: date}}": "columns.age.type: Input should be",
    "columns: {age: {type: ordinal}}": "ordinal column needs its categories",
    "columns: {age: {range: [5, 1]}}": "the lower first",
    "columns: {age: {unit: a, unit: b}}": "schema.yaml:1: .*'unit' stands twice",
    "columns: {age: &a {unit: x}, city: *a}": "aliases are not allowed",
    "columns: !!python/object/apply:os.system [ls]": "not valid YAML",
    "columns: [": "schema.yaml:.* not valid YAML",
    "- 1": "schema.yaml: the schema file says nothing of columns.*write .columns:",
    "class: os.system": "class: Extra inputs",
    "columns: {agee: {unit: years}}": "did you mean 'age'",
    "columns: {age: {range: [21, 100]}}": r"1 values outside the declared range 21 to 100 \(row 1\)",
    "columns: {city: {type: categorical, categories: [Oslo]}}": "'Rome' .*declared: 'Oslo'",
    "columns: {city: {type: numeric}}": "30 of 30 cells are no numbers, e.g. 'Rome'",
    "columns: {age: {type: boolean}}": "is declared boolean and holds",
    "columns: {age: {role: label}, city: {role: label}}": "two columns are the label",
}


@pytest.mark.parametrize("text", SCHEMA_FAULTS)
def test_schema_files_that_are_wrong(tmp_path, text):
    with pytest.raises((InputError, UnknownName), match=SCHEMA_FAULTS[text]):
        read(write(tmp_path, GOOD), schema=write(tmp_path, text, "schema.yaml"))


def test_schema_words_are_texts(tmp_path):
    text = "columns: {owns: {type: boolean, categories: [no, yes]}}"
    data = read(write(tmp_path, GOOD), schema=write(tmp_path, text, "schema.yaml"))
    assert data.schema["owns"].categories == ("no", "yes")


# ------------------------------------------------------------------ Parquet


def test_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    frame = pd.read_csv(io.StringIO(GOOD))
    path = tmp_path / "loans.parquet"
    frame.to_parquet(path)
    data = read(path, label="approved")
    assert data.schema == read(frame, label="approved").schema
    content = path.read_bytes()
    for size in (0, 3, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(InputError, match=rf"loans.parquet: the (file is empty|Parquet file \({size:,} bytes\))"):
            read(path)


# ------------------------------------------------------------------ NPZ


def images(n=60, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 6, 5), dtype=np.uint8), rng.integers(0, 3, n).astype(np.int8)


def test_arrays_with_their_own_split_and_names(tmp_path):
    pixels, labels = images()
    own = np.array(["test" if i % 5 == 0 else "train" for i in range(60)])
    groups = np.arange(60) // 5 * 2 + (np.arange(60) % 5 == 0)
    path = tmp_path / "scans.npz"
    np.savez(path, images=pixels, labels=labels, split=own, class_names=["a", "b", "c"], scan=groups)
    data = read(path, groups="scan")
    assert data.schema is None and data.shape == (6, 5) and data.classes == ("a", "b", "c")
    assert data.features.dtype == np.float32 and data.array.dtype == np.uint8
    assert set(data.test.row_numbers - 1) == set(np.flatnonzero(own == "test"))
    assert len(data.validation) > 0 and not set(data.validation.groups) & set(data.train.groups)
    assert (data[3:5].array == pixels[3:5]).all() and len(data.slice("labels", "b")) == (labels == 1).sum()
    with pytest.raises(InputError, match=r"groups stand in more than one split, e\.g\. '0' in train and test"):
        np.savez(path, images=pixels, labels=labels, split=own, scan=np.zeros(60, dtype=int))
        read(path, groups="scan")


def test_other_layouts(tmp_path):
    pixels, labels = images()
    path = tmp_path / "a.npz"
    np.savez(path, X_train=pixels[:40], y_train=labels[:40], X_test=pixels[40:], y_test=labels[40:])
    data = read(path)
    assert (data.array == pixels).all() and (data.labels == labels).all() and len(data.test) == 20
    np.savez(path, frames=pixels, steering=np.linspace(-1, 1, 60))
    data = read(path, label="steering")
    assert data.task == "regression" and len(data.train) == 36


def test_archives_that_are_wrong(tmp_path):
    pixels, labels = images()
    path = tmp_path / "scans.npz"

    def check(message, **arguments):
        with pytest.raises((InputError, UnknownName), match=message):
            read(path, **arguments)

    np.savez(path, images=pixels.astype(float) * np.nan, labels=labels)
    check(r"NaN or infinity in 60 of 60 rows \(first rows 1, 2, 3\)")
    np.savez(path, images=pixels, labels=labels[:-1])
    check(r"'labels' has shape \(59,\) for 60 rows")
    np.savez(path, images=pixels, labels=labels, class_names=["a"])
    check("1 class_names")
    np.savez(path, images=pixels, labels=labels, split=["trian"] * 60)
    check("did you mean 'train'")
    np.savez(path, labels=labels)
    check("no array with one item per row")
    check("did you mean 'labels'", label="label")
    np.savez(path, images=np.array([object()] * 3), allow_pickle=True)
    check("holds Python objects")
    np.savez(path, images=pixels, labels=labels)
    content = path.read_bytes()
    for size in (1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:size])
        check(rf"scans.npz: the archive \({size:,} bytes\) is truncated or damaged")
    broken = bytearray(content)
    broken[len(content) // 3] ^= 1
    path.write_bytes(bytes(broken))
    check("truncated or damaged")
    path.write_bytes(b"")
    check("the file is empty")


def npy_header(shape):
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


def test_archives_that_would_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("images.npy", npy_header((2**40, 2**10)) + b"\0" * 8)
    with pytest.raises(InputError, match=r"should have .* bytes and has 8"):
        read_archive(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("images.npy", npy_header((2**23 + 2**17,)) + b"\0" * (2**26 + 2**20))
    with pytest.raises(InputError, match="decompression bomb"):
        read_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(10_001):
            archive.writestr(f"{number}.npy", b"")
    with pytest.raises(InputError, match="10,001 members"):
        read_archive(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../evil.txt", b"x")
    with pytest.raises(InputError, match="not an array"):
        read_archive(path)
    assert os.listdir(tmp_path) == ["bomb.npz"]


def test_not_finite_has_its_own_class(tmp_path):
    with pytest.raises(NotFiniteError):
        read(pd.DataFrame({"x": [1.0, np.inf]}))
