"""Looking inside a network: places, what is seen there, answers with it changed; nothing of it is left behind."""

from __future__ import annotations

import itertools
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS
from torch import nn

import pellucid
from pellucid.backends.torch_module import TorchModel
from pellucid.doors.question import as_problem
from pellucid.engine.inside import Look
from pellucid.engine.opening import opened
from pellucid.engine.session import Session
from pellucid.records.errors import ModelError, NotApplicable, UnknownName
from pellucid.testing.laws import trace_of, with_batch


@contextmanager
def session_on(net: Any, x: torch.Tensor, target: Any = 0, batch: int | None = None, **fields) -> Iterator[Session]:
    """A session whose rows stand in the order of ``x``."""
    problem = as_problem(net, x, target=target, **fields)
    problem = problem if batch is None else with_batch(problem, batch)
    with opened(problem, "test") as run:
        ((order, session),) = run.parts
        yield session.take(np.argsort(order).tolist())


def names_of(net: nn.Module, x: torch.Tensor) -> list[str]:
    return [place.name for place in TorchModel(net).places({"inputs": x[:1]}, {"inputs": x[:2]})]


# Which places there are -------------------------------------------------------------------------


def test_calls_of_a_reused_module_have_names_of_their_own():
    assert names_of(*NETWORKS["weight_tied"]())[:3] == ["step", "step@2", "step@3"]


def test_every_tensor_of_a_recurrent_layer_is_a_place_with_the_rows_in_front():
    net, x = NETWORKS["lstm"]()
    places = {place.name: place for place in TorchModel(net).places({"inputs": x[:1]}, {"inputs": x[:2]})}
    assert places["recurrent"].shape == (5, 6) and places["recurrent"].axis == 0
    assert places["recurrent[1]"].shape == (1, 6) and places["recurrent[1]"].axis == 1


@pytest.mark.parametrize(
    ("name", "layer", "channels"),
    [
        ("resnet", "layer2", 0),
        ("convnext", "narrow", -1),
        ("vit", "norm", -1),
        ("tcn", "layers.2", 0),
        ("lstm", "recurrent", -1),
    ],
)
def test_the_axis_of_channels_is_told_by_the_layers_around(name, layer, channels):
    with session_on(*NETWORKS[name]()) as session:
        assert session.places.named(layer).channels == channels


def test_a_parametrised_layer_is_still_what_it_was():
    net = nn.Sequential(
        nn.utils.parametrizations.weight_norm(nn.Conv1d(3, 4, 1)), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2)
    )
    with session_on(net, torch.randn(2, 3, 5)) as session:
        assert session.places.named("1").channels == 0 and session.places.named("0").weighs


class Windows(nn.Module):
    """Each row is four windows of two numbers for its inner layer."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(2, 3), nn.Linear(12, 2)

    def forward(self, x):
        return self.head(self.inner(x.reshape(-1, 2)).reshape(len(x), -1))


def test_lines_of_several_windows_are_one_row():
    net, x = Windows(), torch.randn(3, 8)
    with session_on(net, x) as session:
        assert session.places.named("inner").shape == (4, 3)
        seen = session.activations(["inner"], lambda held, _: held["inner"].flatten(1))
    np.testing.assert_allclose(seen, net.inner(x.reshape(-1, 2)).reshape(3, -1).detach(), rtol=1e-6)


def test_a_wrong_name_is_answered_with_near_misses_and_a_list():
    with session_on(*NETWORKS["resnet"]()) as session:
        with pytest.raises(UnknownName, match=r"did you mean 'layer2'.*The places are conv1"):
            session.places.named("layer3")
        assert session.places.named("layer2.relu@1").name == "layer2.relu"


def test_a_network_whose_parts_were_changed_is_looked_at_anew():
    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3)
    with session_on(net, x) as session:
        assert [place.kind for place in session.places.all] == ["Linear", "ReLU", "Linear"]
    net[1] = nn.Tanh()
    net.append(nn.Softmax(1))
    with session_on(net, x) as session:
        assert [place.kind for place in session.places.all] == ["Linear", "Tanh", "Linear", "Softmax"]


@pytest.mark.parametrize(
    "model", [lambda x: x[:, 0], nn.Linear(5, 2), torch.jit.script(nn.Sequential(nn.Linear(5, 2)))]
)
def test_what_cannot_be_looked_into_says_so(model):
    with session_on(model, torch.randn(2, 5)) as session, pytest.raises(NotApplicable, match="nothing to look at"):
        _ = session.places.all


# What is seen there -----------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, None])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_activations_and_gradients_of_every_place_are_those_of_autograd(name, batch):
    net, x = NETWORKS[name]()
    if not x.is_floating_point():
        pytest.skip("whole numbers")
    with session_on(net, x, batch=batch) as session:
        places = [place.name for place in session.places.all]

        def fold(held, slopes):
            return torch.cat([part[each].flatten(1) for each in places for part in (held, slopes)], dim=1)

        found = session.looked(Look(tuple(places), fold))
        again = session.inner_gradients(Look(tuple(places), fold), lambda q, _: session.x[q], 1, np.ones(1))
        alone = session.activations(places, lambda held, _: torch.cat([held[p].flatten(1) for p in places], dim=1))
        shapes = {place.name: place for place in session.places.all}
    np.testing.assert_allclose(found, again, rtol=1e-4, atol=1e-5)
    twin = _twin(net, x, shapes)
    np.testing.assert_allclose(
        found, np.concatenate([np.concatenate(twin[p], 1) for p in places], 1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(alone, np.concatenate([twin[p][0] for p in places], 1), rtol=1e-4, atol=1e-5)


def _twin(net, x, places):
    """Activations and gradients of output 0 row by row, by adding zeros that need gradients to what modules return."""
    found = {name: ([], []) for name in places}
    for row in x:
        calls, added, kept = {}, {}, {}

        def hook(path, calls=calls, added=added, kept=kept):
            def add(_, __, out):
                calls[path] = calls.get(path, 0) + 1
                parts = itertools.count()

                def plus(out):
                    if isinstance(out, tuple):
                        return tuple(plus(part) for part in out)
                    if out is None:
                        return None
                    part = next(parts)
                    name = path + (f"[{part}]" if part else "") + (f"@{calls[path]}" if calls[path] > 1 else "")
                    kept[name], added[name] = out.detach().clone(), torch.zeros_like(out, requires_grad=True)
                    return out + added[name]

                return plus(out)

            return add

        handles = [module.register_forward_hook(hook(path)) for path, module in net.named_modules() if path]
        net(row[None])[0, 0].backward()
        for handle in handles:
            handle.remove()
        for name in places:
            grad = added[name].grad
            found[name][0].append(kept[name].flatten().numpy())
            found[name][1].append((torch.zeros_like(kept[name]) if grad is None else grad).flatten().numpy())
    return {name: (np.array(a), np.array(g)) for name, (a, g) in found.items()}


class InPlace(nn.Module):
    """What its layer returns is overwritten three times."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        h = self.layer(x)
        h *= 2
        h[:, 0] = 0
        F.relu_(h)
        return self.head(h)


def test_what_the_network_overwrites_is_seen_as_it_was():
    net, x = InPlace(), torch.randn(4, 3)
    with session_on(net, x) as session:
        seen = session.activations(["layer"], lambda held, _: held["layer"])
        looked = session.looked(Look(("layer",), lambda held, slopes: torch.stack([held["layer"], slopes["layer"]], 1)))
    np.testing.assert_allclose(seen, net.layer(x).detach(), rtol=1e-6)
    np.testing.assert_allclose(looked[:, 0], net.layer(x).detach(), rtol=1e-6)
    slopes = 2 * (net.layer(x) > 0) * net.head.weight[0]
    slopes[:, 0] = 0
    np.testing.assert_allclose(looked[:, 1], slopes.detach(), rtol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 5, 64])
def test_a_path_is_folded_run_by_run_without_a_gap(batch):
    net: Any
    net, x = NETWORKS["gelu"]()
    path = torch.linspace(0, 1, 8)
    with session_on(net, x, batch=batch) as session:
        found = session.along(
            ["second"],
            lambda held, _, run: (held["second"][:, 1:] - held["second"][:, :-1]).sum(1),
            lambda q, j: session.x[q] * path[j][:, None],
            7,
        )
    with torch.no_grad():
        second = [net.second(net.activation(net.first(rows))) for rows in (x, torch.zeros_like(x))]
    np.testing.assert_allclose(found, second[0] - second[1], rtol=1e-4, atol=1e-6)


def test_what_flows_through_all_units_of_a_layer_is_the_gradient():
    net, x = NETWORKS["relu_functional"]()
    with session_on(net, x) as session:
        found = session.through("second", lambda _, slopes, __: slopes, lambda q, _: session.x[q], 1, np.ones(1))
        np.testing.assert_allclose(found, session.slopes, rtol=1e-5, atol=1e-7)


# Answers with something changed -----------------------------------------------------------------

Pair = namedtuple("Pair", ["first", "second"])


class Tuples(nn.Module):
    """An inner module that returns a named tuple of a tensor and a dict of one."""

    class Inner(nn.Module):
        def forward(self, x):
            return Pair(x * 2, {"more": x * 3, "whole": torch.ones(len(x), dtype=torch.long)})

    def __init__(self):
        super().__init__()
        self.inner = self.Inner()

    def forward(self, x):
        pair = self.inner(x)
        return pair.first + 10 * pair.second["more"]


def test_tensors_inside_tuples_and_dicts_are_changed_one_by_one():
    x = torch.arange(6.0).reshape(3, 2) + 1
    with session_on(Tuples(), x) as session:
        for name, expected in (("inner", 30 * x[:, 0]), ("inner[1]", 2 * x[:, 0])):
            found = session.changed(name, lambda rows, *_: torch.zeros_like(rows), 1)
            np.testing.assert_allclose(found[:, 0], expected)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_each_row_and_variant_is_changed_on_its_own(batch):
    net: Any
    net, x = NETWORKS["relu_functional"]()
    with session_on(net, x, target="all", batch=batch) as session:

        def change(rows, items, which):
            left = rows.clone()
            left[torch.arange(len(left)), which] = items.to(left)
            return left

        found = session.changed("second", change, 8)
    for row in range(len(x)):
        for unit in range(8):
            with torch.no_grad():
                hidden = net.second(F.relu(net.first(x[row])))
                hidden[unit] = row
                expected = net.last(F.relu(hidden))
            np.testing.assert_allclose(found[row * 3 : row * 3 + 3, unit], expected, rtol=1e-5, atol=1e-6)


class Early(nn.Module):
    """Counts the rows that pass its first layer; how it goes on behind the second is told by ``ways``."""

    def __init__(self, ways: str):
        super().__init__()
        self.one, self.two, self.out, self.joined = (nn.Linear(*s) for s in ((3, 9), (9, 9), (9, 2), (18, 2)))
        self.ways, self.rows = ways, 0

    def forward(self, x):
        first = torch.tanh(self.one(x))
        self.rows += len(x)
        second = torch.tanh(self.two(first))
        if self.ways == "skip":
            return self.out(second + first)
        if self.ways == "joined":
            return self.joined(torch.cat([second, first], 1))
        if self.ways == "counted":
            return self.out(second.reshape(len(x), 9))
        return self.out(second - second.mean(0) * (len(x) != len(second)))


@pytest.mark.parametrize(("ways", "once"), [("skip", True), ("joined", False), ("counted", False), ("coupled", False)])
def test_what_lies_before_a_place_is_asked_once_where_the_network_allows_it(ways, once):
    torch.manual_seed(1)
    net, x = Early(ways), torch.randn(4, 3)
    seen: list[int] = []
    net.one.register_forward_hook(lambda _, given, __: seen.append(len(given[0])))

    def change(rows, items, which):
        left = rows.clone()
        left[torch.arange(len(left)), which] = items.to(left)
        return left

    with session_on(net, x, target="all") as session:
        session.changed("two", change, 9)  # tries it out
        seen.clear()
        found = session.changed("two", change, 9)
    assert sum(seen) == (4 if once else 36)
    with torch.no_grad():
        first = torch.tanh(net.one(x))
        for unit in range(9):
            second = net.two(first)
            second[:, unit] = torch.arange(4.0)
            second = torch.tanh(second)
            expected = net.out(second + first) if ways == "skip" else net.out(second)
            expected = net.joined(torch.cat([second, first], 1)) if ways == "joined" else expected
            np.testing.assert_allclose(found[:, unit].reshape(4, 2), expected, rtol=1e-4, atol=1e-6)


class OnlyFour(nn.Module):
    """Takes four rows, no more and no fewer."""

    def __init__(self):
        super().__init__()
        self.layer, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x):
        return self.head(F.relu(self.layer(x)).reshape(4, 4))


def test_a_model_of_a_fixed_batch_is_looked_into_as_well():
    net, x = OnlyFour(), torch.randn(6, 3)
    model = pellucid.wrap(net)
    model.fixed_batch = 4
    with session_on(model, x) as session:
        seen = session.activations(["layer"], lambda held, _: held["layer"])
        looked = session.looked(Look(("layer",), lambda held, slopes: slopes["layer"]))
        gone = session.changed("layer", lambda rows, items, which: items[:, None].to(rows).expand_as(rows), 2)
    np.testing.assert_allclose(seen, net.layer(x).detach(), rtol=1e-5)
    np.testing.assert_allclose(looked, ((net.layer(x) > 0) * net.head.weight[0]).detach(), rtol=1e-5)
    expected = [net.head(torch.full((1, 4), float(row)))[0, 0].item() for row in range(6)]
    np.testing.assert_allclose(gone, np.array(expected)[:, None].repeat(2, 1), rtol=1e-4, atol=1e-6)


# Nothing is left behind -------------------------------------------------------------------------


class Failing(nn.Module):
    """Fails at its third layer once it has been told to."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)
        self.calls, self.after = 0, 10**9

    def forward(self, x):
        hidden = self.one(x)
        self.calls += 1
        if self.calls > self.after:
            raise RuntimeError("broken")
        return self.two(hidden)


@pytest.mark.parametrize("after", range(1, 8))
def test_hooks_are_gone_after_an_exception_inside_the_forward(after):
    net = Failing()
    net.one.register_forward_hook(lambda *_: None)
    problem = as_problem(net, torch.randn(4, 3))
    before, net.after = trace_of(problem), after
    with pytest.raises(ModelError, match="broken"), opened(problem, "test") as run:
        session = run.parts[0][1]
        session.looked(Look(("one",), lambda held, slopes: slopes["one"]))
        session.activations(["one", "two"], lambda held, _: held["one"])
        session.changed("one", lambda rows, *_: rows, 2)
        net.after = 0
        session.changed("one", lambda rows, *_: rows, 1)
    net.after = 10**9
    assert trace_of(problem) == before
    assert len(net.one._forward_hooks) == 1


def test_a_fold_that_fails_leaves_nothing_either():
    net, x = NETWORKS["resnet"]()
    problem = as_problem(net, x)
    before = trace_of(problem)

    def fold(*_):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), opened(problem, "test") as run:
        run.parts[0][1].looked(Look(("layer1",), fold))
    assert trace_of(problem) == before


# The pass that binds the target -----------------------------------------------------------------


def test_one_pass_binds_the_target_and_sees_what_the_method_looks_at(monkeypatch):
    net, x = NETWORKS["resnet"]()
    pellucid.explain(net, x, "grad_cam")  # learns the batch, and where the map is
    asked = []
    outputs = TorchModel.outputs
    monkeypatch.setattr(TorchModel, "outputs", lambda model, rows: asked.append(0) or outputs(model, rows))
    once = pellucid.explain(net, x, "grad_cam")
    assert len(asked) == 1
    at_once = pellucid.explain(net, x, "grad_cam", target=lambda found: found.max(1).values)
    np.testing.assert_allclose(once.maps, at_once.maps, rtol=1e-6)


def test_another_look_is_asked_anew():
    net, x = NETWORKS["relu_functional"]()
    with session_on(net, x) as session:
        first = session.looked(Look(("second",), lambda held, slopes: slopes["second"]))
        second = session.looked(Look(("first",), lambda held, slopes: slopes["first"]))
    assert first.shape != second.shape
