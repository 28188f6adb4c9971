"""The record of interactions: its order of parts, looking up, tables, files, rows with fewer players, bad requests."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

import pellucid
from pellucid.records.errors import InputError, NotApplicable, StoreError, UnknownName
from pellucid.records.interactions import Interactions, parts_of
from pellucid.records.players import Players

NAMES = ("age", "income", "sex", "purpose")


def model(rows):
    """x₀x₁ + 2 x₁x₂ − x₀x₁x₂ + 3 x₃, and its negative."""
    a, b, c, d = np.asarray(rows, dtype=np.float64).T
    worth = a * b + 2 * b * c - a * b * c + 3 * d
    return np.stack([worth, -worth], axis=1)


def found(order=3, target=0, **settings):
    players = Players.elements(NAMES, kind="column")
    rows = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 0.5, 0.0, -1.0]])
    return pellucid.explain(
        model, rows, "shapley_interactions", index="STII", order=order, target=target, players=players,
        background=np.zeros((1, 4)), **settings,
    )  # fmt: skip


@pytest.mark.parametrize("largest", [1, 2, 3])
def test_parts_of_fewer_players_come_first(largest):
    whole = parts_of(6, largest)
    codes = [sum(1 << i for i in part if i >= 0) for part in whole]
    assert codes == sorted(codes)
    assert len(codes) == sum(len(list(combinations(range(6), size))) for size in range(1, largest + 1))
    for n in range(1, 6):
        np.testing.assert_array_equal(parts_of(n, largest), whole[: len(parts_of(n, largest))])


def test_looking_up_by_names_and_places_in_any_order():
    e = found()
    assert e.of("income", "sex") == pytest.approx(2.0) == e.of(2, 1) == e.of("sex", 1)
    assert e.of("age", "sex", "income") == pytest.approx(-1.0)
    assert e.of("purpose") == pytest.approx(3.0) and e.of("purpose", row=1) == pytest.approx(-3.0)
    assert e.of("age", "income", row=-1) == pytest.approx(1.0)
    assert e.error_of("age", "income") == 0.0 and np.isnan(replace(e, errors=None).error_of("age"))
    for place, part in enumerate(e.parts):
        assert e.of(*part[part >= 0].tolist()) == e.values[0, place]


def test_bad_requests_are_sentences():
    e = found(order=2)
    with pytest.raises(UnknownName, match="did you mean 'income'"):
        e.of("incom", "age")
    for bad in ((), ("age", "age"), (0, 1, 2)):
        with pytest.raises(InputError, match="name 1 to 2 different players"):
            e.of(*bad)
    with pytest.raises(InputError, match="player 9 of 4"):
        e.of(9)
    with pytest.raises(InputError, match="parts of 1 to 2 players"):
        e.order(3)
    with pytest.raises(UnknownName, match="did you mean 'k-SII'"):
        pellucid.methods.ShapleyInteractions(index="kSII")
    with pytest.raises(NotApplicable, match="from 1 to 3"):
        pellucid.methods.ShapleyInteractions(order=4)
    with pytest.raises(InputError, match="interactions must be"):
        replace(e, parts=e.parts[:-1])


def test_matrices_tables_and_the_strongest():
    e = found()
    pairs = e.order(2)
    np.testing.assert_allclose(pairs, pairs.T)
    assert np.isnan(np.diag(pairs)).all() and pairs[0, 1] == e.of(0, 1)
    assert e.order(3)[2, 0, 1] == e.of(0, 1, 2) and e.errors_of_order(1).shape == (4,)
    assert [names for names, _, _ in e.top(2)] == [("purpose",), ("income", "sex")]
    assert e.top(1, size=3)[0][:2] == (("age", "income", "sex"), pytest.approx(-1.0))
    frame = e.to_frame()
    assert len(frame) == 2 * 14 and list(frame) == ["row", "output", "size", "players", "value", "stderr"]
    assert frame[frame["players"] == "income × sex"]["value"].tolist() == pytest.approx([2.0, 0.0])
    assert "Interactions (STII) of 2 rows" in repr(e) and "income × sex" in repr(e)


def test_rows_of_it_and_files_of_it(tmp_path):
    e = found(target="all")
    assert e.values.shape == (2, 14, 2) and e.of("purpose", output=1) == pytest.approx(-3.0)
    one = e[1]
    assert len(one) == 1 and one.of("purpose") == e.of("purpose", row=1)
    back = Interactions.load(e.save(tmp_path / "e"))
    assert back.values.tobytes() == e.values.tobytes() and back.parts.tolist() == e.parts.tolist()
    assert back.index == "STII" and back.largest == 3 and back.gap.tolist() == e.gap.tolist()
    with pytest.raises(StoreError, match="holds interactions"):
        pellucid.Explanation.load(tmp_path / "e.npz")


def count(texts):
    return np.array([[text.count("good") * (1 - 2 * ("not" in text)) + len(text) / 7] for text in texts], dtype=float)


def test_rows_with_fewer_players_have_the_first_places():
    e = pellucid.explain(count, [["not", "good"], ["a", "good", "day", "not"], ["good"]], "shapley_interactions")
    assert e.values.shape == (3, 10)
    assert np.isfinite(e.values).sum(1).tolist() == [3, 10, 1]
    assert e.of("not", "good") == pytest.approx(-2.0) == e.of("good", "not", row=1)
    assert e.order(2, row=0).shape == (2, 2) and e[2].order(1).shape == (1,)
    assert len(e.to_frame()) == 14


def test_a_model_that_never_changes_and_a_background_that_is_the_row():
    given = {"method": "shapley_interactions", "background": np.zeros((1, 3))}
    flat = pellucid.explain(lambda x: np.full(len(x), 0.25), np.ones((2, 3)), **given)
    assert not flat.values.any() and flat.gap.tolist() == [0.0, 0.0]
    same = pellucid.explain(lambda x: x.prod(1), np.ones((1, 3)), "shapley_interactions", background=np.ones((1, 3)))
    assert not same.values.any() and {c.code for c in same.warnings} >= {"flat_output"}
