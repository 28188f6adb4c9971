"""How many rows at once: models that refuse some numbers, couple their rows, or run out of memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.backends.torch_module import TorchModel
from pellucid.doors.question import as_problem
from pellucid.engine.memory import uncounted
from pellucid.engine.opening import opened
from pellucid.records.errors import ModelError
from pellucid.removals import Constant

torch.manual_seed(0)
BODY = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).double()
X = torch.randn(5, 4, dtype=torch.float64)
BACKGROUND = torch.randn(9, 4, dtype=torch.float64)
METHODS = {
    "saliency": {}, "integrated_gradients": {"steps": 8}, "occlusion": {}, "lime": {"samples": 40},
    "exact_shapley": {}, "kernel_shapley": {"samples": 12},
}  # fmt: skip


class Choosy(nn.Module):
    """The same network, which takes only some numbers of rows and notes which it was given."""

    def __init__(self, takes, error=None):
        super().__init__()
        self.body, self.takes, self.error, self.notes = BODY, takes, error or ValueError, {"sizes": set()}
        self.seen = Seen()

    def forward(self, x):
        if not self.takes(len(x)):
            raise self.error(f"{len(x)} rows")
        self.seen.add(len(x))
        return self.body(x)


class Seen(set):
    """Not one of the plain containers that the guard puts back: a diary that survives the call."""


def explained(net, method, x=X, **fields):
    return pellucid.explain(net, x, method, background=BACKGROUND, target=1, **METHODS[method], **fields).values


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "takes",
    [lambda n: n > 1, lambda n: n == 1, lambda n: n == 7, lambda n: n == 32, lambda n: n >= 3],
    ids=["not one", "one only", "seven only", "32 only", "three or more"],
)
def test_a_model_that_takes_only_some_numbers_of_rows(method, takes):
    net = Choosy(takes)
    np.testing.assert_allclose(explained(net, method), explained(BODY, method), atol=1e-10)
    assert net.seen and all(takes(size) for size in net.seen)


def test_a_model_that_takes_no_number_of_rows_names_the_first():
    with pytest.raises(ModelError, match=r"Choosy: the model failed on a batch of 1 rows.*ValueError: 1 rows"):
        explained(Choosy(lambda n: False), "occlusion")


class Squeezing(nn.Module):
    def forward(self, x):
        return BODY(x).squeeze()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_that_squeezes_a_single_row_away(method):
    np.testing.assert_allclose(explained(Squeezing(), method, X[:1]), explained(BODY, method, X[:1]), atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_running_out_of_memory_halves_the_batch_and_changes_nothing(method, limit):
    net = Choosy(lambda n: n <= limit, torch.OutOfMemoryError)
    np.testing.assert_allclose(explained(net, method), explained(BODY, method), atol=1e-10)
    assert max(net.seen) <= limit


def test_a_single_row_too_much_for_the_memory_is_told():
    with pytest.raises((ModelError, torch.OutOfMemoryError)):
        explained(Choosy(lambda n: False, torch.OutOfMemoryError), "occlusion")


def test_what_memory_allowed_is_remembered_and_recorded():
    net = Choosy(lambda n: n <= 4, torch.OutOfMemoryError)
    e = pellucid.explain(net, X, "exact_shapley", background=BACKGROUND)
    assert e.cost.batch <= 4
    failures = []
    net.error = lambda text: failures.append(text) or torch.OutOfMemoryError(text)
    pellucid.explain(net, X, "exact_shapley", background=BACKGROUND)
    assert not failures


class Coupled(nn.Module):
    def forward(self, x):
        return BODY(x - x.mean(0) * (len(x) > 1))


@pytest.mark.parametrize("method", ["exact_shapley", "integrated_gradients", "occlusion"])
@pytest.mark.parametrize("rows", [1, 5])
def test_rows_that_depend_on_their_neighbours_are_asked_alone(method, rows):
    e = pellucid.explain(Coupled(), X[:rows], method, background=BACKGROUND, target=1, **METHODS[method])
    np.testing.assert_allclose(e.values, explained(BODY, method, X[:rows]), atol=1e-10)
    assert "batch_coupled" in [caution.code for caution in e.warnings] and e.cost.batch == 1


def test_a_single_row_has_a_neighbour_made_for_it_to_tell_coupled_rows():
    class Centred(nn.Module):
        def forward(self, x):
            return BODY(x - x.mean(0))

    e = pellucid.explain(Centred(), X[:1], "exact_shapley", background=BACKGROUND)
    assert "batch_coupled" in [caution.code for caution in e.warnings]
    assert np.abs(e.values).max() < 1e-12  # alone, every row is its own mean


class Dice(nn.Module):
    def forward(self, x):
        return BODY(torch.nn.functional.dropout(x, 0.5, training=True))


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return BODY(x) * self.calls


@pytest.mark.parametrize("net", [Dice(), Counting()], ids=["dice", "state"])
def test_answers_that_differ_from_call_to_call_are_told(net):
    e = pellucid.explain(net, X, "occlusion", background=BACKGROUND, target=1)
    assert "not_repeatable" in [caution.code for caution in e.warnings]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("fixed", [1, 3, 16])
def test_a_batch_that_is_baked_in(method, fixed):
    net = Choosy(lambda n: n == fixed)
    values = explained(TorchModel(net, fixed_batch=fixed), method)
    np.testing.assert_allclose(values, explained(BODY, method), atol=1e-10)
    assert net.seen == {fixed}


def test_costs_count_every_row_of_ragged_batches():
    calls = []

    def length(texts):
        calls.append(len(texts))
        return np.array([float(len(text)) for text in texts])

    rows = [["a"] * size for size in (2, 3, 3, 4)]
    e = pellucid.explain(length, rows, "exact_shapley")
    assert e.cost.rows == sum(calls)
    assert e.cost.rows >= 4 + 8 + 8 + 16


def test_metrics_count_what_they_spend():
    calls = []

    def linear(rows):
        calls.append(len(rows))
        return np.asarray(rows).sum(1)

    e = pellucid.explain(linear, X.numpy(), "kernel_shapley", samples=12, removal=Constant(0.0))
    calls.clear()
    scores = pellucid.evaluate(linear, X.numpy(), e, metrics=["max_sensitivity"], controls=False)
    assert scores[0].evaluations > scores[0].settings["moves"] * 10
    assert scores[0].evaluations * len(X) <= sum(calls)


def test_a_model_without_gradients_of_its_batch_is_not_asked_twice_for_the_same():
    """The binding pass is v(everyone): a plan of 2ⁿ coalitions is no more than that, ends included, and the probes."""
    calls = []

    def linear(rows):
        calls.append(len(rows))
        return np.asarray(rows).sum(1)

    pellucid.explain(linear, X[:1].numpy(), "exact_shapley", removal=Constant(0.0))
    assert sum(calls) <= 2**4 + 8


def test_what_an_evaluation_costs_is_counted_and_unknown_for_a_black_box():
    net, rows = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Linear(5, 1)), torch.randn(2, 3)
    with opened(as_problem(net, rows, background=torch.randn(7, 3)), "any") as run:
        assert run.parts[0][1].flops == 7 * 2 * (3 * 5 + 5)
    with opened(as_problem(lambda x: x.sum(1), rows.numpy()), "any") as run:
        assert np.isnan(run.parts[0][1].flops)


@pytest.mark.parametrize(("width", "rows"), [(1, 8192), (10, 8192), (64, 4096), (3 * 32 * 32, 256), (10**7, 256)])
def test_short_rows_of_a_black_box_come_in_numbers(width, rows):
    """A call of an estimator costs milliseconds before its first row: 256 rows of ten numbers would be all waiting."""
    assert uncounted(width) == rows


def test_a_function_of_short_rows_is_called_few_times():
    calls = []

    def model(x):
        calls.append(len(x))
        return x.sum(1)

    pellucid.explain(model, np.ones((4, 8)), "exact_shapley", background=np.zeros((50, 8)) + np.arange(50)[:, None])
    assert sum(calls) > 50_000 and max(calls) <= 8192 and len(calls) < 30
