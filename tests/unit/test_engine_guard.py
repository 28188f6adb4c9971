"""Leave no trace: whatever happens inside forward, the user's model, tensors and random states are as they were."""

from __future__ import annotations

import collections
import random

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.records.errors import Cancelled, ModelError
from pellucid.removals import Constant


class Messy(nn.Module):
    """Does what forwards should not do: changes its input, keeps state, adds attributes, registers hooks."""

    def __init__(self, fail_at=None, error=None):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.norm = nn.Linear(4, 6), nn.BatchNorm1d(6)
        self.drop, self.second = nn.Dropout(0.5), nn.Sequential(nn.ReLU(inplace=True), nn.Linear(6, 2))
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("fleeting", torch.zeros(3), persistent=False)
        self.log, self.table, self.seen = [], {"a": {"deep": 1}}, {1}
        self.queue, self.plain = collections.deque([1], maxlen=3), torch.zeros(2)
        self.fail_at, self.error, self.count = fail_at, error, 0

    def forward(self, x):
        self.count += 1
        self.last = x
        self.calls += 1
        self.fleeting.data.add_(1)
        self.log.append(1)
        self.table["a"]["deep"] += 1
        self.table[self.count] = x
        self.seen.add(self.count)
        self.queue.append(2)
        self.plain += 1
        self.first.register_forward_hook(lambda *_: None)
        torch.rand(3), np.random.rand(2), random.random()
        h = self.first(x.mul_(1.0).add_(0.0))
        torch.nn.functional.batch_norm(h, self.norm.running_mean, self.norm.running_var, training=len(h) > 1)
        h = self.drop(self.norm(h))
        h += h * 0.5
        if self.fail_at is not None and self.count >= self.fail_at:
            raise self.error
        return self.second(h)


def snapshot(module):
    """Everything of a module and of the world that a call could change, as comparable data."""
    return {
        "modes": [m.training for m in module.modules()],
        "state": {name: value.detach().numpy().tobytes() for name, value in module.state_dict().items()},
        "buffers": [(name, value.data_ptr(), value.numpy().tobytes()) for name, value in module.named_buffers()],
        "parameters": [(id(p), p.requires_grad, id(p.grad)) for p in module.parameters()],
        "gradients": [None if p.grad is None else p.grad.numpy().tobytes() for p in module.parameters()],
        "hooks": [
            (name, len(value)) for m in module.modules() for name, value in vars(m).items() if name.endswith("hooks")
        ],
        "attributes": [sorted(vars(m)) for m in module.modules()],
        "objects": [[id(value) for value in vars(m).values()] for m in module.modules()],
        "log": (list(module.log), str(module.table), set(module.seen), list(module.queue), module.plain.tolist()),
        "count": module.count,
        "random": (
            torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate(),
        ),
        "modes of torch": (torch.is_grad_enabled(), torch.get_default_dtype()),
    }  # fmt: skip


def prepared(**fields):
    net = Messy(**fields)
    net.train()
    net.second.eval()
    net.first.weight.requires_grad_(False)
    net.second[1].bias.grad = torch.ones(2)
    return net, torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


METHODS = {
    "saliency": {},
    "integrated_gradients": {"steps": 8},
    "occlusion": {},
    "lime": {"samples": 30},
    "exact_shapley": {},
    "kernel_shapley": {"samples": 14},
}


@pytest.mark.parametrize("method", METHODS)
def test_after_success(method):
    net, x = prepared()
    before, given = snapshot(net), x.clone()
    e = pellucid.explain(net, x, method, removal=Constant(0.0), **METHODS[method])
    assert snapshot(net) == before
    assert torch.equal(x, given) and not x.requires_grad
    assert "train_mode" in [caution.code for caution in e.warnings]


@pytest.mark.parametrize("method", ["integrated_gradients", "kernel_shapley"])
@pytest.mark.parametrize("fail_at", [1, 6])
@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt(), torch.OutOfMemoryError("no room")])
def test_after_a_failure_inside_forward(method, fail_at, error):
    net, x = prepared(fail_at=fail_at, error=error)
    before, given = snapshot(net), x.clone()
    wanted = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else (ModelError, torch.OutOfMemoryError)
    with pytest.raises(wanted) as caught:
        pellucid.explain(net, x, method, removal=Constant(0.0), **METHODS[method])
    assert snapshot(net) == before
    assert torch.equal(x, given)
    if isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError):
        assert "RuntimeError: broken" in str(caught.value) and caught.value.__cause__ is error


class Stop:
    """A listener that asks to stop after some steps."""

    def __init__(self, after):
        self.left = after

    def started(self, what, total):
        pass

    def advanced(self, steps=1):
        self.left -= 1

    def finished(self):
        pass

    def cancelled(self):
        return self.left < 0


@pytest.mark.parametrize("after", [-1, 3])
def test_after_cancelling(after):
    net, x = prepared()
    before = snapshot(net)
    with pytest.raises(Cancelled):
        pellucid.explain(net, x, "integrated_gradients", removal=Constant(0.0), listener=Stop(after))
    assert snapshot(net) == before


def test_evaluation_leaves_no_trace_either():
    net, x = prepared()
    e = pellucid.explain(net, x, "integrated_gradients", removal=Constant(0.0), steps=8)
    before, given = snapshot(net), x.clone()
    pellucid.evaluate(net, x, e)
    assert snapshot(net) == before and torch.equal(x, given)


def test_a_model_in_training_mode_is_explained_as_in_evaluation_mode():
    torch.manual_seed(2)
    net, x = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(0.5), nn.Linear(6, 2)), torch.randn(5, 4)
    values = pellucid.explain(net, x, "exact_shapley", removal=Constant(0.0), target=0).values
    assert net.training
    net.eval()
    np.testing.assert_array_equal(
        values, pellucid.explain(net, x, "exact_shapley", removal=Constant(0.0), target=0).values
    )


class Rewrites(nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        self.weight.data.mul_(1.5)  # no counter of changes sees this
        return x[:, :4] @ self.weight[:4]


def test_a_model_that_rewrites_its_weights_is_refused_and_put_back():
    net = Rewrites()
    with pytest.raises(ModelError, match=r"weight: the model rewrites its own weights"):
        pellucid.explain(net, torch.ones(2, 4), "occlusion")
    assert net.weight.tolist() == [1.0] * 4


class Steps(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4))

    def forward(self, x):
        with torch.enable_grad():
            loss = (x.detach() @ self.weight.detach().requires_grad_()).sum()
            loss.backward()
        torch.set_grad_enabled(False)
        torch.set_default_dtype(torch.float64)
        return x @ self.weight


def test_modes_of_torch_that_forward_leaves_behind_are_put_back():
    pellucid.explain(Steps(), torch.ones(2, 4), "occlusion")
    assert torch.is_grad_enabled() and torch.get_default_dtype() == torch.float32


def test_a_user_tensor_with_gradients_is_left_alone():
    x = torch.ones(2, 3, requires_grad=True)
    x.grad = torch.full((2, 3), 7.0)
    pellucid.explain(nn.Linear(3, 2), x, "saliency")
    assert x.requires_grad and x.grad.tolist() == [[7.0] * 3] * 2


def test_global_states_do_not_matter_and_are_not_moved():
    def draws(rows):
        return np.asarray(rows).sum(1) + 0 * np.random.rand(len(rows))

    x = np.ones((2, 14))
    np.random.seed(3)
    before = np.random.get_state()[1].tobytes()
    pellucid.explain(draws, x, "kernel_shapley", samples=60)
    assert np.random.get_state()[1].tobytes() == before


def test_a_black_box_that_plays_with_its_rows_spoils_nothing():
    def plays(texts):
        found = np.array([float(len(text)) for text in texts])
        for text in texts:
            text.clear()
        return found

    rows = [["a", "b", "c"], ["d", "e"]]
    e = pellucid.explain(plays, rows, "exact_shapley")
    np.testing.assert_allclose(e.values, [[1, 1, 1], [1, 1, np.nan]])
    assert rows == [["a", "b", "c"], ["d", "e"]]

    def overwrites(array):
        found = array.sum(1)
        array[:] = 7.0
        return found

    x = np.ones((2, 3))
    np.testing.assert_allclose(pellucid.explain(overwrites, x, "exact_shapley").values, 1.0)
    assert (x == 1).all()


def test_a_shortcut_added_in_place_and_views_of_the_input():
    class Shortcut(nn.Module):
        def forward(self, x):
            shortcut = x[:, 1:].clone()
            x += 1
            y = 2 * torch.nn.functional.relu_(x)
            y[:, 1:] += shortcut
            y[:, 0] = 0
            return y.sum(1)

    x = torch.tensor([[1.0, -2.0, 3.0]])
    for method in ("saliency", "integrated_gradients", "exact_shapley"):
        pellucid.explain(Shortcut(), x, method)
        assert x.tolist() == [[1.0, -2.0, 3.0]]
    # 2·relu(x + 1) + x of the last two, against zeros
    values = pellucid.explain(Shortcut(), x, "exact_shapley").values
    np.testing.assert_allclose(values, [[0.0, -4.0, 9.0]], atol=1e-12)
    assert pellucid.explain(Shortcut(), x, "saliency", signed_values=True).values.tolist() == [[0.0, 1.0, 3.0]]


def test_a_model_that_overwrites_what_its_gradient_needs_is_told_so():
    class Overwrites(nn.Module):
        def forward(self, x):
            y = torch.exp(x)
            y += 1
            return y.sum(1)

    x = torch.ones(2, 3)
    with pytest.raises(
        pellucid.PellucidError, match=r"cannot be differentiated.*modified by an inplace.*kernel_shapley"
    ):
        pellucid.explain(Overwrites(), x, "saliency")
    np.testing.assert_allclose(pellucid.explain(Overwrites(), x, "exact_shapley").values, np.e - 1, rtol=1e-6)
