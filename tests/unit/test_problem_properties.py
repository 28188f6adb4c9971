"""Properties of the small parts on which everything rests: cuts, edges, players, pooling, binding, removal."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from pellucid.doors.question import as_problem, as_target
from pellucid.engine.memory import cut, edges
from pellucid.engine.opening import opened
from pellucid.problem.inputs import Inputs
from pellucid.problem.removal import path_start
from pellucid.problem.target import All, Class, Contrast, EachRow, Predicted, Top
from pellucid.records.errors import PellucidError, TargetError
from pellucid.records.explanation import Explanation
from pellucid.records.players import Players
from pellucid.removals import Constant, Marginal

sizes = st.integers(1, 40)
finite = st.floats(-1e6, 1e6, width=32)


@given(st.integers(0, 500), st.integers(1, 200))
def test_edges_are_the_fewest_near_equal_parts(total, size):
    parts = edges(total, size)
    assert parts[0][0] == 0 and parts[-1][1] == total
    assert all(a[1] == b[0] for a, b in pairwise(parts))
    lengths = [stop - start for start, stop in parts]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1
    assert len(parts) == max(1, -(-total // size))


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(1, 60))
def test_a_cut_covers_every_cell_once_with_no_part_too_large(shape, batch):
    parts = cut(tuple((0, size) for size in shape), batch)
    seen = np.zeros(shape, dtype=int)
    for part in parts:
        place = tuple(slice(*edge) for edge in part)
        assert 1 <= np.prod([b - a for a, b in part]) <= batch
        seen[place] += 1
    assert (seen == 1).all()


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(2, 60))
def test_what_was_cut_is_cut_again_by_half_a_batch_without_end(shape, batch):
    parts = cut(tuple((0, size) for size in shape), batch)
    again = [inner for part in parts for inner in cut(part, max(batch // 2, 1))]
    assert sum(np.prod([b - a for a, b in part]) for part in again) == np.prod(shape)


@st.composite
def label_maps(draw):
    n = draw(st.integers(1, 6))
    width = draw(st.integers(n, 12))
    labels = np.array([*range(n), *draw(st.lists(st.integers(-3, n - 1), min_size=width - n, max_size=width - n))])
    return np.random.default_rng(draw(st.integers(0, 99))).permutation(labels), n


@given(label_maps())
def test_players_lay_values_over_their_elements_and_nobody_gets_one(made):
    labels, n = made
    players = Players.shared(labels, [f"p{i}" for i in range(n)])
    assert players.most == n and (players.labels >= -1).all()
    laid = players.spread(np.arange(n, dtype=float), 0)
    for place, label in enumerate(labels):
        assert np.isnan(laid[place]) if label < 0 else laid[place] == label
    back = Players.from_dict(players.to_dict(), players.labels)
    assert back.names == players.names and np.array_equal(back.labels, players.labels)


@given(label_maps(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_pooling_sums_or_norms_what_each_player_owns(made, rows, targets, seed):
    labels, n = made
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(labels)))
    players = Players.shared(labels, [f"p{i}" for i in range(n)])
    problem = as_problem(lambda r: np.asarray(r)[:, :1] * np.ones(targets), x, players=players, target="all")
    with opened(problem, "test") as run:
        session = run.parts[0][1]
        values = rng.normal(size=(rows * targets, len(labels)))
        for pooling in ("sum", "norm"):
            found = session.pool(values, pooling)
            for player in range(n):
                own = values[:, labels == player]
                wanted = own.sum(1) if pooling == "sum" else np.sqrt((own**2).sum(1))
                np.testing.assert_allclose(found[:, player], wanted, atol=1e-12)


@given(label_maps(), st.integers(0, 50))
@settings(max_examples=40, deadline=None)
def test_only_the_absent_are_filled_in_and_nobodys_elements_always_stay(made, seed):
    labels, n = made
    rng = np.random.default_rng(seed)
    x, background = rng.normal(size=(3, len(labels))), rng.normal(size=(2, len(labels)))
    weights = rng.normal(size=(len(labels), 2))
    players = Players.shared(labels, [f"p{i}" for i in range(n)])
    coalitions = rng.random((4, n)) < 0.5
    wanted = np.zeros((3, 2, 4))
    for row in range(3):
        for place, present in enumerate(coalitions):
            for absent in background:
                keep = np.array([label < 0 or present[label] for label in labels])
                wanted[row, :, place] += np.tanh(np.where(keep, x[row], absent) @ weights) / 2
    problem = as_problem(lambda r: np.tanh(r @ weights), x, removal=Marginal(background), players=players, target="all")
    with opened(problem, "test") as run:
        rows, session = run.parts[0]
        np.testing.assert_allclose(session.values(coalitions), wanted[rows].reshape(6, 4), atol=1e-12)
        own = np.repeat(coalitions[None], 6, axis=0)  # each question its own coalitions
        own[1:] = rng.random((5, 4, n)) < 0.5
        np.testing.assert_allclose(session.values(own)[0], wanted[rows[0], 0], atol=1e-12)
        everyone = session.values(np.ones((1, n), dtype=bool))[:, 0]
        np.testing.assert_allclose(everyone, session.full, atol=1e-12)
        np.testing.assert_allclose(
            session.values(coalitions, [5, 0, 2]), wanted[rows].reshape(6, 4)[[5, 0, 2]], atol=1e-12
        )


@given(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4)), elements=finite), st.data())
def test_binding_targets(outputs, data):
    """Whatever is asked, what is selected are the numbers named, of any rows in any order."""
    N, K = outputs.shape
    names = tuple(f"class {k}" for k in range(K))
    column = data.draw(st.integers(-K, K - 1))
    other = data.draw(st.integers(0, K - 1))
    each = data.draw(st.lists(st.integers(-K, K - 1), min_size=N, max_size=N))
    k = data.draw(st.integers(1, K))
    found = torch.from_numpy(outputs)
    rows = torch.tensor(data.draw(st.lists(st.integers(0, N - 1), min_size=1, max_size=6)))
    asked = outputs[rows.numpy()]
    wanted = {
        Predicted(): outputs.argmax(1)[rows.numpy()][:, None],
        Class(column): np.full((len(rows), 1), column % K),
        Class(names[other]): np.full((len(rows), 1), other),
        All(): np.tile(np.arange(K), (len(rows), 1)),
        EachRow(tuple(each)): np.array(each)[rows.numpy()][:, None] % K,
        EachRow(tuple(names[e % K] for e in each)): np.array(each)[rows.numpy()][:, None] % K,
    }
    for target, columns in wanted.items():
        bound = target.bind(found, names)
        np.testing.assert_array_equal(bound.select(found[rows], rows), np.take_along_axis(asked, columns, 1))
        part = bound.take(rows.tolist())
        np.testing.assert_array_equal(
            part.select(found[rows], torch.arange(len(rows))), np.take_along_axis(asked, columns, 1)
        )
        assert [[names.index(name) for name in own] for own in part.names] == columns.tolist()
    top = Top(k).bind(found, names).select(found, torch.arange(N)).numpy()
    np.testing.assert_array_equal(top, -np.sort(-outputs, axis=1)[:, :k])
    if column % K != other:
        contrast = Contrast(column, names[other]).bind(found, names)
        np.testing.assert_array_equal(contrast.select(found[rows], rows)[:, 0], asked[:, column % K] - asked[:, other])
    for wrong in (K, -K - 1, "no such"):
        with pytest.raises(TargetError):
            Class(wrong).bind(found, names)


no_targets = st.one_of(
    st.none(), st.floats(), st.booleans(), st.binary(), st.tuples(st.integers(), st.integers(), st.integers()),
    st.lists(st.floats(), min_size=1), st.dictionaries(st.text(), st.integers()),
)  # fmt: skip


@given(no_targets)
def test_what_is_no_target_is_refused_in_a_sentence(given_target):
    with pytest.raises(PellucidError):
        as_target(given_target)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=4, max_side=4), elements=finite), st.integers(0, 9))
def test_flat_and_folded_are_one_and_ids_go_with_the_rows(array, seed):
    inputs = Inputs({"inputs": torch.from_numpy(array)}, raw=array)
    flat = inputs.flat
    assert flat.shape == (len(array), inputs.width)
    np.testing.assert_array_equal(inputs.fold(flat, slice(None))["inputs"].numpy(), array)
    order = np.random.default_rng(seed).permutation(len(array))
    taken = inputs.take(order)
    assert taken.ids == tuple(inputs.ids[i] for i in order)
    np.testing.assert_array_equal(taken.raw, array[order])


@given(arrays(np.float64, (5, 4), elements=st.floats(-10, 10)))
def test_a_path_starts_at_the_mean_and_for_categories_at_a_pattern_that_occurs(background):
    codes = torch.from_numpy(background)
    start = path_start(codes[None], torch.tensor([0, 1, 1, 2]), ("numeric", "categorical", "numeric"))[0].numpy()
    np.testing.assert_allclose(start[[0, 3]], background.mean(0)[[0, 3]], atol=1e-12)
    patterns, counts = np.unique(background[:, 1:3], axis=0, return_counts=True)
    assert any(np.array_equal(start[1:3], pattern) for pattern in patterns[counts == counts.max()])


def test_everyone_present_gives_the_row_back_bit_for_bit():
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)) * 1e-30
    seen = []

    def notes(rows):
        seen.append(np.array(rows))
        return rows[:, 0]

    problem = as_problem(notes, x.numpy(), removal=Constant(3.0))
    with opened(problem, "test") as run:
        seen.clear()
        run.parts[0][1].values(np.ones((2, 6), dtype=bool))
        assert {row.tobytes() for batch in seen for row in batch} == {row.tobytes() for row in x.numpy()}


def test_a_part_of_an_explanation_speaks_of_its_own_rows():
    import pellucid

    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(3, 9), torch.nn.ReLU(), torch.nn.Linear(9, 2))
    x = torch.randn(6, 3)
    e = pellucid.explain(net, x, "integrated_gradients")
    for which in (2, -1, slice(1, 4), [5, 0], np.array([True, False, True, False, False, True])):
        part = e[which]
        rows = np.atleast_1d(np.arange(6)[which])
        np.testing.assert_array_equal(part.values, e.values[rows])
        assert part.notes["steps"] == [e.notes["steps"][row] for row in rows]
        assert part.ids == tuple(e.ids[row] for row in rows) and len(part.rows) == len(rows)
        assert pellucid.evaluate(net, x[rows], part, metrics="completeness_gap", controls=False)[0].value < 2e-3
    assert isinstance(e[0], Explanation)
    with pytest.raises(PellucidError, match="row 6 of a record of 6 rows"):
        e[6]
    with pytest.raises(PellucidError, match="the explanation is of other rows"):
        pellucid.evaluate(net, x[[1, 0]], e[:2])
