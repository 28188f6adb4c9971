"""Functions of tables get tables, with names, types and every kind of cell; of images, images as they were given."""

import datetime
from math import factorial

import numpy as np
import pandas as pd
import pytest

import pellucid
from pellucid import PellucidError
from pellucid.data.frame_codes import FrameCodes


def shapley_by_definition(value, n: int) -> list[float]:
    """Equation 4 of Shapley 1953, over all sets."""
    table = {bits: value(np.array([bits >> i & 1 for i in range(n)], dtype=bool)) for bits in range(2**n)}
    weights = [factorial(s) * factorial(n - s - 1) / factorial(n) for s in range(n)]
    return [
        sum(weights[bits.bit_count()] * (table[bits | 1 << i] - table[bits]) for bits in table if not bits >> i & 1)
        for i in range(n)
    ]


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    count = 40
    return pd.DataFrame(
        {
            "price": rng.normal(50, 10, count),
            "pieces": rng.integers(1, 6, count),
            "size": pd.Categorical(rng.choice(["S", "M", "L"], count), ["S", "M", "L"], ordered=True),
            "note": rng.choice(["gift", "", None], count),
            "day": pd.date_range("2024-01-01", periods=count, tz="Europe/Berlin"),
            "paid": rng.random(count) < 0.5,
            "id": 2**60 + rng.integers(0, 9, count),
            7: [[1, "1", 1.0, True, (1,), datetime.date(2024, 2, 29)][place] for place in rng.integers(0, 6, count)],
        }
    ).astype({"price": np.float32})


def test_every_cell_comes_back_as_it_was(orders):
    codes = FrameCodes.of(orders)
    numbers = codes.encode(orders)
    assert numbers.dtype == np.float64 and np.isfinite(numbers).all()
    back = codes.decode(numbers)
    pd.testing.assert_frame_equal(back, orders)
    assert [type(cell) for cell in back[7]] == [type(cell) for cell in orders[7]]
    assert codes.types["size"] == codes.types["id"] == "categorical" and codes.types["paid"] == "boolean"


def test_a_cell_has_the_same_code_in_every_table(orders):
    alone = FrameCodes.of(orders).encode(orders.iloc[[5]])
    np.testing.assert_array_equal(alone[0], FrameCodes.of(orders).encode(orders.iloc[::-1])[-6])


def cost(frame: pd.DataFrame) -> pd.Series:
    """Fails unless it is given what ``orders`` is: names, order of sizes, whole numbers, dates of a zone."""
    assert frame["pieces"].dtype == np.int64 and frame["price"].dtype == np.float32
    large = (frame["size"] > "S").astype(float)
    gift = frame["note"].eq("gift").astype(float)
    return frame["price"] * frame["pieces"] * (1 + large) + gift * 9 + frame["day"].dt.dayofyear * frame["paid"]


@pytest.mark.parametrize("method", ["exact_shapley", "kernel_shapley", "permutation_shapley"])
def test_a_function_of_tables_is_given_tables(orders, method):
    names = ["price", "pieces", "size", "note", "day", "paid"]
    rows, background = orders[names][:2], orders[names][10:13]
    e = pellucid.explain(cost, rows, method, background=background)
    assert e.players.names == (tuple(names),)

    def value(row: int, present: np.ndarray) -> float:
        mixed = background.copy()
        for place in np.flatnonzero(present):
            mixed[names[place]] = [rows.iloc[row, place]] * len(mixed)
        return float(cost(mixed.astype(orders[names].dtypes)).mean())

    wanted = [shapley_by_definition(lambda present, row=row: value(row, present), 6) for row in range(2)]
    np.testing.assert_allclose(e.values, wanted, atol=1e-3 if method != "exact_shapley" else 1e-9)
    np.testing.assert_array_equal(e.full[:, 0], cost(rows).astype(float))


def test_dicts_are_rows_of_a_table(orders):
    plain = orders[["price", "pieces", "note"]]
    asked = lambda frame: frame["price"] * frame["pieces"] + frame["note"].eq("gift")  # noqa: E731
    found = pellucid.explain(asked, plain[:2].to_dict("records"), "exact_shapley", background=plain[5:9])
    wanted = pellucid.explain(asked, plain[:2], "exact_shapley", background=plain[5:9])
    np.testing.assert_allclose(found.values, wanted.values, rtol=1e-6)
    one = pellucid.explain(asked, plain[:1].to_dict("records")[0], "exact_shapley", background=plain[5:9])
    np.testing.assert_allclose(one.values, wanted.values[:1], rtol=1e-6)


def test_a_function_of_arrays_is_still_given_arrays():
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [4, 5, 6]})
    found = pellucid.explain(lambda x: x[:, 0] * x[:, 1], frame[:2], "exact_shapley", background=frame[2:])
    np.testing.assert_allclose(found.full[:, 0], [4, 10])
    with pytest.raises(PellucidError, match="KeyError: 'income'"):  # of a function of tables the table's error is told
        pellucid.explain(lambda x: x["income"], frame)


def test_what_stands_for_no_cell_is_told(orders):
    with pytest.raises(PellucidError, match=r"column `size` holds no cell that 0 could stand for\. .*background=rows"):
        pellucid.explain(cost, orders[:2], "exact_shapley")
    with pytest.raises(PellucidError, match="the network needs column 'day', which the rows lack"):
        pellucid.explain(cost, orders[:2], background=orders.drop(columns="day"))
    strange = orders.astype({"price": object})
    strange.iloc[3, 0] = "free"
    with pytest.raises(PellucidError, match=r"column `price` holds numbers in the explained rows and 'free' here"):
        pellucid.explain(cost, orders[:2], background=strange)
    with pytest.raises(PellucidError, match="two columns are named 'a'"):
        pellucid.explain(cost, pd.DataFrame([[1, 2]], columns=["a", "a"]))
    hole = orders.assign(price=orders["price"].where(orders.index != 1))
    with pytest.raises(PellucidError, match="column `price`: 1 NaN in 3 rows"):
        pellucid.explain(cost, hole[:3], background=orders[10:])


def test_a_forest_behind_an_encoder_explains_raw_columns(orders):
    sklearn = pytest.importorskip("sklearn")
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    assert sklearn
    frame = orders[["price", "pieces", "size", "paid"]]
    before = make_column_transformer((OneHotEncoder(), ["size"]), remainder="passthrough")
    fitted = make_pipeline(before, RandomForestClassifier(5, random_state=0)).fit(frame, orders["paid"])
    e = pellucid.explain(fitted, frame.iloc[:4, ::-1], "exact_shapley", target="True", background=frame[10:])
    assert e.players.names == (("price", "pieces", "size", "paid"),)
    np.testing.assert_allclose(e.full[:, 0], fitted.predict_proba(frame[:4])[:, 1])


# Pictures ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((16, 24, 3), (20, 16, 3), (12, 12, 3))]


def left_half(pictures) -> np.ndarray:
    """The mean of each picture's left half, which fails for anything but bytes, channels last."""
    found = []
    for picture in pictures:
        pixels = np.asarray(picture)
        assert (
            pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.shape[0] in (12, 16, 20)
        )
        found.append(pixels[:, : pixels.shape[1] // 2].mean())
    return np.array(found)


def as_pil(photos):
    return [pytest.importorskip("PIL.Image").fromarray(photo) for photo in photos]


@pytest.mark.parametrize("given", [list, as_pil], ids=["list", "PIL"])
def test_pictures_of_several_sizes_are_explained_each_by_its_own_patches(given, photos):
    e = pellucid.explain(left_half, given(photos), "occlusion", players=pellucid.players.Patches(4))
    np.testing.assert_array_equal(e.full[:, 0], left_half(photos))
    assert [len(names) for names in e.players.names] == [24, 20, 9]
    for row, photo in enumerate(photos):
        height, width = photo.shape[:2]
        wanted = np.zeros((height // 4, width // 4))
        for top in range(0, height, 4):
            for left in range(0, width // 2, 4):
                half = photo[top : top + 4, left : min(left + 4, width // 2)]
                wanted[top // 4, left // 4] = half.sum() / (height * (width // 2) * 3)
        np.testing.assert_allclose(e.values[row, : wanted.size], wanted.ravel(), atol=1e-9)
        assert np.isnan(e.values[row, wanted.size :]).all()
        labels = e.players.map_of(row)
        assert (labels[:, height:] == -1).all() and (labels[:, :, width:] == -1).all()


@pytest.mark.parametrize("players", [pellucid.players.Slic(5), pellucid.players.Pixels(), None])
@pytest.mark.parametrize("removal", [pellucid.removals.RegionMean(), pellucid.removals.Blur(1.0), None])
def test_every_way_to_divide_and_remove_keeps_to_the_picture(players, removal, photos):
    e = pellucid.explain(left_half, photos, "occlusion", players=players, removal=removal)
    np.testing.assert_array_equal(e.full[:, 0], left_half(photos))
    for row, photo in enumerate(photos):  # of what lies to the right of the middle nothing depends
        spread = e.players.spread(e.values[row, : len(e.players.of(row))], row)[0]
        assert not np.nan_to_num(spread[:, photo.shape[1] // 2 + 4 :]).any() or players is not None
        assert np.isnan(spread[photo.shape[0] :]).all() and np.isnan(spread[:, photo.shape[1] :]).all()
        assert np.isfinite(spread[: photo.shape[0], : photo.shape[1]]).all()


def test_arrays_with_channels_last_come_back_so(photos):
    whole = np.stack([photos[0], photos[0][::-1]])
    e = pellucid.explain(left_half, whole, "occlusion", players=pellucid.players.Patches(8))
    np.testing.assert_array_equal(e.full[:, 0], left_half(whole))
    assert e.values.shape == (2, 6) and e.rows.shape == whole.shape
    one = pellucid.explain(left_half, whole, "occlusion", players=pellucid.players.Patches(8), background=whole[:1] * 0)
    np.testing.assert_allclose(one.values, e.values, atol=1e-9)


def test_pictures_that_are_not_alike_are_told(photos):
    pil = as_pil(photos)
    with pytest.raises(PellucidError, match=r"the pictures are CMYK, RGB.*image.convert"):
        pellucid.explain(left_half, [pil[0], pil[1].convert("CMYK")])
    with pytest.raises(PellucidError, match="a quadtree divides pictures of one size"):
        pellucid.explain(left_half, photos, "occlusion", players=pellucid.players.Quadtree(4))
