"""Interactions against their definitions, games with known answers, and the laws that tell the indices apart."""

from __future__ import annotations

from itertools import combinations
from math import comb, factorial

import numpy as np
import pytest

import pellucid
from pellucid.measures.indices import INDICES, mobius, of_game
from pellucid.methods.game_process import EVEN, ODD, Half, Readout, hyper_of
from pellucid.methods.odd_process import Hyper
from pellucid.records.errors import BudgetError, NotApplicable
from pellucid.records.interactions import parts_of
from pellucid.removals import Constant


def all_of(members, least=0, most=None):
    members = sorted(members)
    sizes = range(least, (len(members) if most is None else most) + 1)
    return [frozenset(c) for size in sizes for c in combinations(members, size)]


def place(coalition):
    return sum(1 << i for i in coalition)


def difference(v, part, context):
    """Δ_T v(S) = Σ_{L ⊆ T} (−1)^(|T| − |L|) v(S ∪ L)."""
    return sum((-1) ** (len(part) - len(inner)) * v[place(context | inner)] for inner in all_of(part))


def sii(v, n, part):
    """Grabisch & Roubens 1999: the mean of Δ_T v(S) over S without T, each size of S counting the same."""
    total = 0.0
    for context in all_of(set(range(n)) - part):
        s, t = len(context), len(part)
        total += factorial(s) * factorial(n - s - t) / factorial(n - t + 1) * difference(v, part, context)
    return total


def bii(v, n, part):
    contexts = all_of(set(range(n)) - part)
    return sum(difference(v, part, context) for context in contexts) / len(contexts)


def sti(v, n, part, largest):
    """Sundararajan et al. 2020, theorem 1: discrete derivatives; at the top size, averaged over orders."""
    if len(part) < largest:
        return difference(v, part, frozenset())
    contexts = all_of(set(range(n)) - part)
    return largest / n * sum(difference(v, part, context) / comb(n - 1, len(context)) for context in contexts)


def n_shapley(v, n, part, largest):
    """Bordt & von Luxburg 2023, definition 4.1, as the recursion over the largest size."""
    bernoulli = [1, -1 / 2, 1 / 6]
    if len(part) == largest:
        return sii(v, n, part)
    others = set(range(n)) - part
    more = sum(sii(v, n, part | inner) for inner in all_of(others, largest - len(part), largest - len(part)))
    return n_shapley(v, n, part, largest - 1) + bernoulli[largest - len(part)] * more


def faith(v, n, largest):
    """Tsai et al. 2023: the best polynomial under the Shapley kernel that is right for nobody and everyone."""
    parts = all_of(range(n), 0, largest)
    coalitions = all_of(range(n), 1, n - 1)
    design = np.array([[part <= coalition for part in parts] for coalition in coalitions], dtype=float)
    weight = np.array([(n - 1) / (comb(n, len(c)) * len(c) * (n - len(c))) for c in coalitions])
    ends = np.array([[not part for part in parts], [True] * len(parts)], dtype=float)
    worth = np.array([v[place(c)] for c in coalitions])
    size = len(parts)
    system = np.block([[design.T @ (weight[:, None] * design), ends.T], [ends, np.zeros((2, 2))]])
    right = np.concatenate([design.T @ (weight * worth), [v[0], v[-1]]])
    found = np.linalg.lstsq(system, right, rcond=None)[0][:size]
    return dict(zip(parts, found, strict=True))


def wanted(index, v, n, largest):
    parts = [frozenset(p[p >= 0].tolist()) for p in parts_of(n, largest)]
    if index == "FSII":
        found = faith(v, n, largest)
        return [found[part] for part in parts]
    rules = {
        "SII": lambda part: sii(v, n, part),
        "BII": lambda part: bii(v, n, part),
        "STII": lambda part: sti(v, n, part, largest),
        "k-SII": lambda part: n_shapley(v, n, part, largest),
    }
    return [rules[index](part) for part in parts]


@pytest.mark.parametrize("index", INDICES)
@pytest.mark.parametrize(("n", "largest"), [(1, 2), (2, 1), (2, 2), (3, 2), (4, 3), (5, 2), (6, 3), (2, 3)])
def test_the_transform_is_the_definition(index, n, largest):
    v = np.random.default_rng(n).normal(size=2**n)
    if index == "FSII" and largest >= n:  # every polynomial of full degree fits: the Möbius transform itself
        by_hand = [mobius(v[None])[0][place(p[p >= 0].tolist())] for p in parts_of(n, largest)]
    else:
        by_hand = wanted(index, v, n, largest)
    np.testing.assert_allclose(of_game(v[None], index, parts_of(n, largest))[0], by_hand, atol=1e-10)


def explained(worth, n, index="k-SII", order=2, **settings):
    """Interactions in a game v(set), asked as a black box about its only row."""

    def function(rows):
        return np.array([float(worth({i for i in range(n) if row[i] > 0.5})) for row in np.asarray(rows)])

    settings = {"index": index, "order": order, **settings}
    return pellucid.explain(function, np.ones((1, n)), "shapley_interactions", removal=Constant(0.0), **settings)


def test_a_product_of_two():
    def product(s):
        return {0, 1} <= s

    for index in INDICES:
        assert explained(product, 2, index).of(0, 1) == pytest.approx(1.0, abs=1e-12)
    assert explained(product, 2, "SII").of(0) == pytest.approx(0.5, abs=1e-12)
    assert explained(product, 2, "k-SII").of(0) == pytest.approx(0.0, abs=1e-12)  # 0.5 − 0.5
    assert explained(product, 2, "BII").of(1) == pytest.approx(0.5, abs=1e-12)
    assert explained(product, 2, "STII").of(1) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("index", INDICES)
def test_unanimity_of_three_among_five(index):
    """Möbius transform 1 at T = {0, 2, 3}: each part gets what its rule says, parts outside T nothing."""
    table = {  # order 2: one member, a pair of members
        "SII": (1 / 3, 1 / 2),
        "BII": (1 / 4, 1 / 2),
        "k-SII": (1 / 3 - 2 * 1 / 2 / 2, 1 / 2),
        "STII": (0.0, 1 / 3),
        "FSII": (-1 / 6, 1 / 2),
    }
    found = explained(lambda s: {0, 2, 3} <= s, 5, index)
    single, pair = table[index]
    assert found.of(2) == pytest.approx(single, abs=1e-12) and found.of(3, 0) == pytest.approx(pair, abs=1e-12)
    assert found.of(1) == pytest.approx(0.0, abs=1e-12) and found.of(0, 4) == pytest.approx(0.0, abs=1e-12)
    three = explained(lambda s: {0, 2, 3} <= s, 5, index, order=3)
    assert three.of(0, 2, 3) == pytest.approx(1.0, abs=1e-12)
    assert three.of(0, 1, 3) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", INDICES)
def test_what_adds_up_and_what_does_not(index, order):
    table = np.random.default_rng(3).normal(size=2**6)
    found = explained(lambda s: table[place(s)], 6, index, order)
    missed = found.values.sum() - (found.full[0, 0] - found.base[0, 0])
    if index in ("k-SII", "STII", "FSII") or (index == "SII" and order == 1):
        assert abs(missed) < 1e-9
    else:
        assert abs(missed) > 1e-3
    assert np.isnan(found.gap[0]) == (index in ("SII", "BII"))


def test_order_one_is_the_value_of_the_players():
    table = np.random.default_rng(4).normal(size=2**5)

    def worth(s):
        return table[place(s)]

    def function(rows):
        return np.array([worth({i for i in range(5) if row[i] > 0.5}) for row in np.asarray(rows)])

    for index, method in (
        ("k-SII", "exact_shapley"),
        ("STII", "exact_shapley"),
        ("FSII", "exact_shapley"),
        ("BII", "banzhaf"),
    ):
        e = pellucid.explain(function, np.ones((1, 5)), method, removal=Constant(0.0))
        np.testing.assert_allclose(explained(worth, 5, index, 1).values, e.values, atol=1e-12)


def test_all_sizes_of_k_sii_keep_the_shapley_value():
    """Of each player: main effect, half of its pairs, a third of its triples sum to its Shapley value."""
    table = np.random.default_rng(5).normal(size=2**5)
    shapley = explained(lambda s: table[place(s)], 5, "SII", 1).values[0]
    for order in (2, 3):
        found = explained(lambda s: table[place(s)], 5, "k-SII", order)
        split = np.zeros(5)
        for members, value in zip(found.parts, found.values[0], strict=True):
            members = members[members >= 0]
            split[members] += value / len(members)
        np.testing.assert_allclose(split, shapley, atol=1e-10)


def test_a_model_with_a_background_and_two_targets():
    background = np.random.default_rng(6).normal(size=(7, 3))
    x = np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 3.0]])

    def function(rows):
        rows = np.asarray(rows)
        return np.stack([rows[:, 0] * rows[:, 1] + rows[:, 2], rows[:, 0] * rows[:, 2]], axis=1)

    e = pellucid.explain(function, x, "shapley_interactions", target="all", background=background)
    centre = background.mean(0)
    for row in range(2):
        moved = x[row] - centre
        assert e.of(0, 1, row=row) == pytest.approx(moved[0] * moved[1] + np.cov(background.T, ddof=0)[0, 1])
        assert e.of(0, 2, row=row, output=1) == pytest.approx(moved[0] * moved[2] + np.cov(background.T, ddof=0)[0, 2])
        assert e.of(0, 1, row=row, output=1) == pytest.approx(0.0, abs=1e-12)


# Estimated ---------------------------------------------------------------------------------

WEIGHTS = np.random.default_rng(8).normal(size=(10, 6)) / 2


def smooth(rows):
    rows = np.asarray(rows, dtype=np.float64)
    return np.tanh(rows @ WEIGHTS).sum(1) + rows[:, 0] * rows[:, 1] - rows[:, 2] * rows[:, 3] * rows[:, 4]


def told(index, function=smooth, n=10, **settings):
    return pellucid.explain(
        function, np.ones((1, n)), "shapley_interactions", index=index, removal=Constant(0.0), **settings
    )


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("index", INDICES)
def test_what_is_read_off_the_process_is_the_index_of_its_covariance(index, order):
    """The closed form against the transform of the covariance over all coalitions, taken once and twice."""
    n, parts = 5, parts_of(5, order)
    rng = np.random.default_rng(order)
    cube = 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1) - 1
    signs, hyper = cube[rng.permutation(2**n)[:7]], Hyper(rng.uniform(0.1, 0.6, n), 2.0, 1e-3)
    for parity, rise in ((ODD, np.sinh), (EVEN, np.cosh)):

        def covariance(a, b, rise=rise, parity=parity):
            line = 10 / n * a @ b.T if parity == ODD else 10.0
            return line + 2.0 * rise((a * hyper.relevance) @ b.T) / rise(hyper.tau)

        crossed, own = Half(parity, signs, np.zeros(7), hyper)._covariances(Readout.of(index, parts, n))
        np.testing.assert_allclose(crossed, of_game(covariance(signs, cube), index, parts), atol=1e-9)
        twice = of_game(of_game(covariance(cube, cube), index, parts).T, index, parts)
        np.testing.assert_allclose(own, np.diag(twice), atol=1e-9)


@pytest.mark.parametrize("parity", [ODD, EVEN])
def test_the_gradient_of_the_likelihood(parity):
    rng = np.random.default_rng(0)
    signs = np.vstack([np.ones(4), 2.0 * rng.integers(0, 2, (9, 4)) - 1])
    data, x = rng.normal(size=10), np.array([0.3, 0.1, -0.2, 0.3, 0.0, 0.5, -3.0])

    def objective(at):
        return Half(parity, signs, data, hyper_of(at)).objective(at)

    steps = [(objective(x + 1e-5 * e)[0] - objective(x - 1e-5 * e)[0]) / 2e-5 for e in np.eye(7)]
    np.testing.assert_allclose(objective(x)[1], steps, atol=1e-6)


@pytest.mark.parametrize("index", INDICES)
def test_estimates_are_near_the_exact_answer_and_add_up(index):
    exact, estimate = told(index), told(index, samples=300)
    error = np.square(estimate.values - exact.values).sum() / np.square(exact.values).sum()
    assert error < 0.02 and not estimate.notes["exact"] and estimate.notes["pairs"] == 149
    assert (np.isnan(estimate.gap[0]) and index in ("SII", "BII")) or estimate.gap[0] < 1e-8
    assert (estimate.stderr > 0).all()


@pytest.mark.parametrize(("index", "order"), [("k-SII", 2), ("SII", 3), ("STII", 2), ("FSII", 2), ("BII", 2)])
def test_standard_errors_of_interactions_cover_the_truth(index, order):
    """Nominal 90 %."""
    truth = told(index, order=order).values
    runs = [told(index, order=order, samples=120, seed=seed) for seed in range(30)]
    hits = [np.abs(e.values - truth) <= 1.645 * e.stderr for e in runs]
    assert 0.78 <= np.mean(hits) <= 0.98


def test_a_product_of_two_among_thirty():
    def product(rows):
        rows = np.asarray(rows)
        return rows[:, 3] * rows[:, 17] + rows[:, 5]

    e = told("k-SII", product, 30, budget=400)
    assert e.top(2)[0][0] in (("x5",), ("x3", "x17")) and e.of(3, 17) == pytest.approx(1.0, abs=0.05)
    assert np.abs(np.delete(np.abs(e.values[0]), [np.argmax(e.values[0] == e.of(5))])).max() < 1.05
    assert abs(e.of(3)) < 0.05 and abs(e.of(0, 1)) < 0.02


def test_a_row_alone_is_as_in_a_batch_and_seeds_are_seeds():
    rows = np.random.default_rng(9).normal(size=(3, 10))
    given = {"method": "shapley_interactions", "samples": 90, "removal": Constant(0.0)}
    every = pellucid.explain(smooth, rows, **given)
    for row in range(3):
        alone = pellucid.explain(smooth, rows[row : row + 1], **given)
        np.testing.assert_allclose(alone.values[0], every.values[row], atol=1e-6)
    assert pellucid.explain(smooth, rows, **given).values.tobytes() == every.values.tobytes()
    assert not np.array_equal(pellucid.explain(smooth, rows, seed=1, **given).values, every.values)


def test_too_small_a_budget_and_too_many_parts_are_refused():
    with pytest.raises(BudgetError, match="at least 122 evaluations"):
        told("k-SII", lambda rows: np.asarray(rows).sum(1), 30, budget=121)
    with pytest.raises(NotApplicable, match="at least 122 evaluations, samples=60"):
        told("k-SII", lambda rows: np.asarray(rows).sum(1), 30, samples=60)
    with pytest.raises(NotApplicable, match="166,750 parts"):
        told("k-SII", lambda rows: np.asarray(rows).sum(1), 100, order=3)


def test_a_model_that_never_changes_and_one_that_adds_up():
    flat = told("k-SII", lambda rows: np.full(len(rows), 0.25), 20)
    assert not flat.values.any() and not flat.stderr.any()
    weights = np.arange(1.0, 21.0)
    line = told("k-SII", lambda rows: np.asarray(rows) @ weights, 20, budget=200)
    np.testing.assert_allclose(line.order(1), weights, atol=1e-3)
    assert np.nanmax(np.abs(line.order(2))) < 1e-3
