"""Bad models, line by line: what is mended and told, and what is refused with the layer and what to do.

Where another file holds a line already, docs/notes/faults.md says which; this one holds the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.records.errors import PellucidError

X = torch.randn(9, 3, generator=torch.Generator().manual_seed(0))
W = torch.tensor([[1.0, -2.0, 0.5], [0.0, 1.0, 1.0]])


class Returning(nn.Module):
    """A linear network with something done to its answer."""

    def __init__(self, wrapping: Callable[[Tensor], Any]):
        super().__init__()
        self.weight, self.wrapping = nn.Parameter(W.clone()), wrapping

    def forward(self, x: Tensor) -> Any:
        return self.wrapping(x @ self.weight.T)


TAKEN: dict[str, tuple[Callable[[Tensor], Any], Callable[[Tensor], Tensor]]] = {
    "truth values": (lambda y: y > 0, lambda y: (y > 0).float()),
    "whole numbers": (lambda y: (y > 0).long(), lambda y: (y > 0).float()),
    "one number a row": (lambda y: y[:, 0], lambda y: y),
    "a model output": (lambda y: type("ModelOutput", (dict,), {})(logits=y, loss=None), lambda y: y),
    "a tuple with None": (lambda y: (y, None), lambda y: y),
    "bfloat16": (lambda y: y.bfloat16(), lambda y: y.bfloat16().float()),
}


@pytest.mark.parametrize("name", TAKEN)
def test_odd_answers_are_numbers_all_the_same(name: str) -> None:
    wrapping, plain = TAKEN[name]
    found = pellucid.explain(Returning(wrapping), X, "exact_shapley", target=0)
    change = plain(X @ W.T)[:, 0] - plain(torch.zeros(1, 2))[:, 0]
    np.testing.assert_allclose(found.values.sum(1), change.numpy(), atol=1e-5)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "an error inside": (
        lambda: nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.ReLU(), nn.Linear(5, 2))),
        r"Sequential: the model failed on a batch of 1 rows.*in layer 1\.1 \(Linear\), RuntimeError"),
    "nothing": (lambda: Returning(lambda y: None), r"the model returns NoneType with nothing usable"),
    "complex": (lambda: Returning(lambda y: y.to(torch.complex64)), r"complex.*real part or an absolute value"),
    "several heads": (lambda: Returning(lambda y: {"left": y, "right": y}), r"left: .*, right: .*output="),
    "no columns": (lambda: Returning(lambda y: y[:, :0]), r"has no columns: there is nothing to explain"),
    "texts": (lambda: lambda x: np.array(["yes"] * len(x)), r"returned <U3 values.*predict_proba"),
    "without data": (lambda: nn.Linear(3, 2, device="meta"), r"have no data \(meta device\)\. load the weights first"),
    "lazy": (lambda: nn.LazyLinear(2), r"a lazy parameter has no shape yet"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_its_place(name: str) -> None:
    make, told = REFUSED[name]
    with pytest.raises(PellucidError, match=f"(?s){told}"):
        pellucid.explain(make(), X, "exact_shapley", target=0)


def test_memory_that_runs_out_gives_what_small_batches_give() -> None:
    class Greedy(nn.Module):
        def __init__(self, limit: int):
            super().__init__()
            torch.manual_seed(1)
            self.net, self.limit = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2)), limit

        def forward(self, x: Tensor) -> Tensor:
            if len(x) > self.limit:
                raise torch.OutOfMemoryError("out of memory")
            return self.net(x)

    plain = pellucid.explain(Greedy(10**9), X, "kernel_shapley", background=X)
    tight = pellucid.explain(Greedy(5), X, "kernel_shapley", background=X)
    assert tight.cost.batch < plain.cost.batch
    np.testing.assert_allclose(tight.values, plain.values, atol=1e-5 * np.abs(plain.values).max())


def test_wrappings_are_taken_off_before_it_is_looked_at() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    for wrapped in (nn.DataParallel(net), torch.compile(net), nn.DataParallel(torch.compile(net))):
        found = pellucid.preflight(wrapped, X)
        assert found.parameters == 26 and found.capabilities == {"gradients": "", "layers": "", "operations": ""}


def test_what_outputs_mean_is_read_alike_by_losses_and_by_the_preflight() -> None:
    labels = np.arange(9) % 2
    for last, meaning in ((nn.Softmax(1), "probabilities"), (nn.Identity(), "scores")):
        network = nn.Sequential(Returning(lambda y: y), last)
        assert pellucid.preflight(network, X).meaning == meaning
        found = pellucid.explain(network, X, "exact_shapley", target=pellucid.targets.Loss(labels))
        logits = X @ W.T
        due = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="none")
        np.testing.assert_allclose(found.full[:, 0], due.numpy(), atol=1e-5)  # never a softmax of a softmax
