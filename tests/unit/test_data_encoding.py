"""Encodings: the numbers a network gets, compared with slow ones made by hand and with scikit-learn."""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd
import pytest

from pellucid.data.encoding import Encoding, load_encoding
from pellucid.data.images import ImageEncoding
from pellucid.data.reading import read
from pellucid.data.transformers import from_sklearn
from pellucid.records.errors import EncodingError, InputError, NotFiniteError, StoreError


def table(n=200, seed=0):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "income": rng.normal(50, 10, n),
            "owns": rng.choice(["no", "yes"], n),
            "city": rng.choice(["Rome", "Oslo", "Bern"], n, p=[0.5, 0.3, 0.2]),
            "school": rng.choice(["none", "degree", "primary"], n),
            "y": rng.choice(["a", "b"], n),
        }
    )
    frame.loc[::10, "income"] = np.nan
    frame["city"] = frame["city"].where(np.arange(n) % 12 > 0, None)
    frame["owns"] = frame["owns"].where(np.arange(n) % 9 > 0, None)
    return frame


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("schema") / "s.yaml"
    path.write_text("columns: {school: {type: ordinal, categories: ['none', primary, degree]}}")
    return read(table(), label="y", schema=path)


@pytest.fixture(scope="module")
def encoding(data):
    return Encoding.fit(data)


def by_hand(train, row):
    """One row, one number at a time."""
    incomes = [v for v in train["income"] if v == v]
    steps = {"none": 0, "primary": 1, "degree": 2}
    schools = [steps[v] for v in train["school"]]

    def unit(value, values):
        return (value - np.mean(values)) / np.std(values)

    gone = {name: pd.isna(row[name]) for name in ("income", "owns", "city")}
    out = [unit(row["age"], list(train["age"]))]
    out += [0.0 if gone["income"] else unit(row["income"], incomes), float(gone["income"])]
    out += [float(row["owns"] == "yes"), float(gone["owns"])]
    names = train["city"].dropna().value_counts().index
    out += [float(row["city"] == name) for name in names] + [float(gone["city"])]
    return [*out, unit(steps[row["school"]], schools)]


def test_encode_agrees_with_a_slow_twin(data, encoding):
    train, test = data.train.frame, data.test.frame
    expected = [by_hand(train, row) for _, row in test.iterrows()]
    found = encoding.encode(test)
    assert found.dtype == np.float32 and found.shape == (len(test), encoding.width) == (len(test), 10)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert encoding.elements == (
        "age", "income", "income=missing", "owns", "owns=missing",
        "city=Rome", "city=Oslo", "city=Bern", "city=missing", "school",
    )  # fmt: skip
    assert encoding.groups == {"age": [0], "income": [1, 2], "owns": [3, 4], "city": [5, 6, 7, 8], "school": [9]}
    assert encoding.types["school"] == "ordinal" and encoding.types["city"] == "categorical"


def test_it_is_fitted_on_train_rows_only(data, encoding):
    assert Encoding.fit(data.train) == encoding
    changed = data.frame
    changed.loc[data.test.row_numbers, "age"] += 1000
    assert Encoding.fit(read(changed, label="y", schema=data.schema)).columns[0] == encoding.columns[0]


def test_columns_are_matched_by_name(data, encoding):
    rows = data.test.features
    mixed = rows[rows.columns[::-1]].assign(extra="x")
    assert (encoding.encode(mixed) == encoding.encode(rows)).all()
    assert (encoding.encode(data.test) == encoding.encode(rows)).all()
    dicts = rows.astype(object).to_dict("records")
    assert (encoding.encode(dicts) == encoding.encode(rows)).all()
    assert encoding.encode(dicts[0]).shape == (1, encoding.width)
    with pytest.raises(EncodingError, match="needs column 'age', which the rows lack"):
        encoding.encode(rows.drop(columns="age"))
    with pytest.raises(EncodingError, match="row 1: the network needs column 'age'"):
        encoding.encode([dicts[0], {k: v for k, v in dicts[1].items() if k != "age"}])
    with pytest.raises(EncodingError, match="not a ndarray"):
        encoding.encode(rows.to_numpy())
    with pytest.raises(EncodingError, match="same name"):
        encoding.encode(pd.concat([rows, rows[["age"]]], axis=1))


def test_decode_undoes_encode(data, encoding):
    rows = data.test.features
    back = encoding.decode(encoding.encode(rows))
    assert list(back.columns) == list(rows.columns) and back["age"].tolist() == rows["age"].tolist()
    np.testing.assert_allclose(back["income"], rows["income"], rtol=1e-6)
    for name in ("owns", "city", "school"):
        assert back[name].isna().tolist() == rows[name].isna().tolist()
        assert back[name].dropna().tolist() == rows[name].dropna().tolist()
    assert (encoding.encode(back) == encoding.encode(rows)).all()
    with pytest.raises(EncodingError, match=r"\[N, 10\], got \[3, 2\]"):
        encoding.decode(np.zeros((3, 2)))


def test_truth_values_come_back_as_they_were():
    frame = pd.DataFrame({"bits": [0, 1] * 10, "truths": [True, False] * 10, "y": [0, 1] * 10})
    data = read(frame, label="y")
    encoding = Encoding.fit(data)
    assert encoding.width == 2
    back = encoding.decode(encoding.encode(data))
    assert back["bits"].dtype == np.int64 and back["truths"].dtype == bool
    assert back["bits"].tolist() == frame["bits"].tolist() and back["truths"].tolist() == frame["truths"].tolist()
    assert (encoding.encode([{"bits": "1", "truths": "yes"}]) == 1).all()
    with pytest.raises(InputError, match="'perhaps' is neither '0' nor '1'"):
        encoding.encode([{"bits": "perhaps", "truths": True}])


def test_unseen_categories_are_zeros_and_counted(data, encoding):
    rows = data.test.features.head(6).copy()
    rows["city"] = ["Rome", "Paris", "Paris", None, "Oslo", "Bern"]
    rows.loc[rows.index[0], "school"] = "kindergarten"
    found = encoding.encode(rows)
    assert (found[1:3, 5:9] == 0).all() and (found[3, 5:9] == [0, 0, 0, 1]).all() and found[0, 9] == 0
    assert encoding.unseen(rows) == {"city": 2, "school": 1}
    assert "city holds 2 values" in encoding.cautions(rows)[0].text()
    assert encoding.decode(found)["city"].isna().tolist() == [False, True, True, True, False, False]
    assert encoding.unseen(data.test) == {}


def test_what_training_never_saw_is_refused(data, encoding):
    rows = data.frame
    rows["age"] = rows["age"].astype(float)
    rows.loc[[3, 9, 14, 20], "age"] = np.nan
    with pytest.raises(InputError, match=r"column `age`: 4 NaN in 200 rows \(first rows 3, 9, 14\). training had no"):
        encoding.encode(rows)
    rows = data.frame
    rows.loc[7, "income"] = np.inf
    with pytest.raises(NotFiniteError, match=r"column `income`: 1 infinite or too large values in 200 rows \(row 7\)"):
        encoding.encode(rows)
    with pytest.raises(InputError, match=r"column `age`: 1 cells are no numbers, e.g. 'old' \(row 0\)"):
        encoding.encode([{**data.features.iloc[0].to_dict(), "age": "old"}])
    with pytest.raises(InputError, match="neither a number nor a text"):
        encoding.encode([{**data.features.iloc[0].to_dict(), "city": [1]}])


def test_scalings():
    frame = pd.DataFrame({"x": [1.0, 3.0, 5.0, 7.0], "same": [0.1] * 4, "y": [0, 1, 0, 1]})
    data = read(frame, label="y", split=(1, 0, 0))
    assert Encoding.fit(data, "none").encode(data)[:, 0].tolist() == [1, 3, 5, 7]
    np.testing.assert_allclose(Encoding.fit(data, "minmax").encode(data)[:, 0], [0, 1 / 3, 2 / 3, 1], rtol=1e-6)
    standard = Encoding.fit(data).encode(data)
    np.testing.assert_allclose(standard[:, 0], np.array([-3, -1, 1, 3]) / np.sqrt(5), rtol=1e-6)
    assert (standard[:, 1] == 0).all()
    with pytest.raises(Exception, match="did you mean 'standardise'"):
        Encoding.fit(data, "standardize")  # pyright: ignore[reportArgumentType]


def test_save_and_load(tmp_path, encoding, data):
    path = tmp_path / "encoding.json"
    encoding.save(path)
    assert load_encoding(path) == Encoding.load(path) == encoding
    assert (load_encoding(path).encode(data) == encoding.encode(data)).all()
    content = json.loads(path.read_text())
    before = set(sys.modules)
    for change, message in [
        ({"kind": "os.system"}, "no encoding of a known kind"),
        ({"class": "os.system"}, "encoding.json: .*class: Extra inputs"),
        ({"version": 2}, "version"),
        ({"numbers": "log"}, "numbers"),
        ({"columns": []}, "columns"),
        ({"columns": [*content["columns"], content["columns"][0]]}, "named twice"),
        ({"columns": [{**content["columns"][0], "scale": 0}]}, "columns.0.scale"),
        ({"columns": [{**content["columns"][0], "fill": None}]}, "columns.0.fill"),
    ]:
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(EncodingError, match=message) as caught:
            load_encoding(path)
        assert str(path) in str(caught.value)
    assert not any(name.startswith("os.system") for name in set(sys.modules) - before)
    path.write_text(json.dumps(content)[:50])
    with pytest.raises(StoreError, match=r"encoding\.json:1:\d+: the file is not valid JSON"):
        load_encoding(path)


def test_too_many_inputs_name_the_column():
    frame = pd.DataFrame({"note": [f"text {n}" for n in range(100_002)], "y": [0, 1] * 50_001})
    with pytest.raises(InputError, match="column 'note' alone has 100,002 categories"):
        Encoding.fit(read(frame, label="y", split=(1, 0, 0)))


def test_encoding_is_fast():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({f"n{i}": rng.normal(size=10_000) for i in range(10)})
    frame = frame.assign(
        **{f"c{i}": rng.choice(list("abcdefgh"), 10_000) for i in range(10)}, y=rng.integers(0, 2, 10_000)
    )
    encoding = Encoding.fit(read(frame, label="y"))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        encoding.encode(frame)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.05


# ------------------------------------------------------------------ images


@pytest.mark.parametrize(
    ("shape", "first", "mean", "std"),
    [((5, 4), False, 0.5, 0.25), ((5, 4, 3), False, (0.1, 0.2, 0.3), (1, 2, 3)), ((3, 5, 4), True, (0,), (1,))],
)
def test_images(tmp_path, shape, first, mean, std):
    raw = np.random.default_rng(0).integers(0, 256, (7, *shape), dtype=np.uint8)
    encoding = ImageEncoding(shape, mean=mean, std=std, channels_first=first)
    out = encoding.encode(raw)
    channels = 1 if len(shape) == 2 else 3
    assert out.shape == (7, channels, 5, 4) and out.dtype == np.float32 and encoding.width == channels * 20
    value = raw[2, 4, 1] if len(shape) == 2 else raw[2, 1, 4, 1] if first else raw[2, 4, 1, 1]
    middle = mean if np.isscalar(mean) else mean[min(1, len(mean) - 1)]
    spread = std if np.isscalar(std) else std[min(1, len(std) - 1)]
    assert out[2, min(1, channels - 1), 4, 1] == pytest.approx((value / 255 - middle) / spread, abs=1e-6)
    np.testing.assert_allclose(encoding.decode(out), raw, atol=1e-3)
    path = tmp_path / "e.json"
    encoding.save(path)
    assert load_encoding(path) == encoding
    with pytest.raises(EncodingError, match="add the leading axis"):
        encoding.encode(raw[0])
    with pytest.raises(EncodingError, match="expected raw images"):
        encoding.encode(raw[:, :2])
    with pytest.raises(NotFiniteError):
        encoding.encode(raw * np.float32(np.nan))


def test_image_settings_that_do_not_fit():
    with pytest.raises(EncodingError, match="2 numbers for 3 channels"):
        ImageEncoding((4, 4, 3), mean=(0.5, 0.5))
    with pytest.raises(EncodingError, match="above 0"):
        ImageEncoding((4, 4), std=(0.0,))
    with pytest.raises(EncodingError, match="shape"):
        ImageEncoding((4,))


# ------------------------------------------------------------------ scikit-learn

sklearn = pytest.importorskip("sklearn")


def raw_rows(n=60):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "a": rng.choice(["b_c", "d"], n),
            "a_b": rng.choice(["c", "e"], n),
            "age": rng.normal(size=n),
            "age_group": rng.normal(size=n),
            "rest": rng.normal(size=n),
        }
    )


def test_a_column_transformer_is_traced_to_its_columns():
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = raw_rows()
    rows.loc[4, "age"] = np.nan
    numbers = Pipeline([("fill", SimpleImputer(add_indicator=True)), ("scale", StandardScaler())])
    transformer = ColumnTransformer(
        [("hot", OneHotEncoder(), ["a", "a_b"]), ("numbers", numbers, ["age_group", "age"])], remainder="passthrough"
    ).fit(rows)
    encoding = from_sklearn(transformer, list(rows.columns))
    expected = transformer.transform(rows)
    np.testing.assert_allclose(encoding.encode(rows[rows.columns[::-1]]), expected.astype(np.float32))
    assert encoding.groups == {"a": [0, 1], "a_b": [2, 3], "age": [5, 6], "age_group": [4], "rest": [7]}
    assert encoding.types == {
        "a": "categorical", "a_b": "categorical", "age": "numeric", "age_group": "numeric", "rest": "numeric",
    }  # fmt: skip
    for name in rows.columns:  # an independent look: changing a column changes its own inputs only
        other = rows.copy()
        other[name] = np.roll(other[name].to_numpy(), 1)
        moved = np.flatnonzero((transformer.transform(other) != expected).any(axis=0))
        assert set(moved) <= set(encoding.groups[name])
    with pytest.raises(InputError, match=r"the transformer refused the rows.*unknown categories"):
        encoding.encode(rows.assign(a="new"))
    with pytest.raises(EncodingError, match="'age'"):
        encoding.encode(rows.drop(columns="age"))


def test_single_steps():
    from sklearn.compose import ColumnTransformer
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rows = raw_rows()
    numbers = ["age", "age_group", "rest"]
    scaled = from_sklearn(StandardScaler().fit(rows[numbers].to_numpy()), numbers)
    assert scaled.groups == {"age": [0], "age_group": [1], "rest": [2]}
    np.testing.assert_allclose(scaled.decode(scaled.encode(rows)), rows[numbers], atol=1e-5)
    hot = from_sklearn(OneHotEncoder(drop="first").fit(rows[["a", "a_b"]]), ["a", "a_b"])
    assert hot.groups == {"a": [0], "a_b": [1]} and hot.width == 2
    both = ColumnTransformer([("s", StandardScaler(), numbers), ("h", OneHotEncoder(), ["a"]), ("d", "drop", ["a_b"])])
    mixed = from_sklearn(both.fit(rows), list(rows.columns))
    back = mixed.decode(mixed.encode(rows))
    assert back["a"].tolist() == rows["a"].tolist() and back["a_b"].isna().all() and mixed.groups["a_b"] == []
    with pytest.raises(EncodingError, match="belongs to no single raw column"):
        from_sklearn(PCA(2).fit(rows[numbers]), numbers)
    with pytest.raises(EncodingError, match="not fitted"):
        from_sklearn(StandardScaler(), numbers)
    with pytest.raises(EncodingError, match="was fitted on age, age_group"):
        from_sklearn(StandardScaler().fit(rows[["age", "age_group"]]), ["age_group", "age"])
    with pytest.raises(InputError, match="column `age`: NaN or infinity after the transformer"):
        scaled.encode(rows.assign(age=np.nan))


def test_rare_categories_share_one_output():
    from sklearn.preprocessing import OneHotEncoder

    rows = pd.DataFrame({"a": ["x"] * 9 + ["y"], "b": ["u"] * 5 + ["v"] * 4 + ["w"]})
    transformer = OneHotEncoder(min_frequency=2, sparse_output=False).fit(rows)
    encoding = from_sklearn(transformer, ["a", "b"])
    assert encoding.width == transformer.transform(rows).shape[1] == 5
    assert encoding.groups == {"a": [0, 1], "b": [2, 3, 4]}
