"""Odd rows and odd models under the methods that look inside: a right answer, or a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.records.errors import InputError, ModelError, NotApplicable, PellucidError

WALKS = ("deeplift", "deepshap", "lrp", "guided_backprop", "deconvolution")
INSIDE = ("grad_cam", "layer_activation", "layer_gradient_x_activation", "layer_conductance", "neuron_attribution")
SLOPES = ("saliency", "integrated_gradients", "smoothgrad")
ALL = (*WALKS, *INSIDE, *SLOPES)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.fc = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(4 * 64, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))


class Behind(Net):
    """The network with something done to its rows before and to its answer after."""

    def __init__(self, before: Callable[[Tensor], Tensor] = lambda x: x, after: Callable[[Tensor], Any] = lambda y: y):
        super().__init__()
        self.before, self.after = before, after

    def forward(self, x: Tensor) -> Any:
        return self.after(super().forward(self.before(x)))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.cell = nn.Embedding(12, 4), nn.GRU(4, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(torch.relu(self.cell(self.embedding(tokens))[0]).mean(1))


def rows(count: int = 2) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def explained(model: Any, x: Any, method: str, **asked: Any) -> Any:
    return pellucid.explain(model, x, method, target=1, **asked)


def quietly(make: Callable[[], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch deprecates its own scripting and quantisation
        return make()


# The same answer ---------------------------------------------------------------------------------

ALIKE: dict[str, Callable[[], tuple[Any, Any]]] = {
    "not contiguous": lambda: (Net().eval(), rows().transpose(2, 3).contiguous().transpose(2, 3)),
    "channels last": lambda: (Net().eval(), rows().contiguous(memory_format=torch.channels_last)),
    "float64 rows": lambda: (Net().eval(), rows().double()),
    "an array": lambda: (Net().eval(), rows().numpy()),
    "rows with gradients": lambda: (Net().eval(), rows().requires_grad_()),
    "inference rows": lambda: (Net().eval(), torch.inference_mode()(lambda: rows() * 1)()),
    "compiled": lambda: (torch.compile(Net().eval(), backend="eager"), rows()),
    "data parallel": lambda: (nn.DataParallel(Net().eval()), rows()),
    "frozen": lambda: (Net().eval().requires_grad_(False), rows()),
}


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("name", ALIKE)
def test_odd_makes_of_rows_and_models_get_the_same(name: str, method: str) -> None:
    due = np.asarray(explained(Net().eval(), rows(), method).values)
    model, x = ALIKE[name]()
    found = np.asarray(explained(model, x, method).values)
    assert np.abs(found - due).max() <= 1e-5 * np.abs(due).max()


@pytest.mark.parametrize("method", ALL)
def test_expanded_rows_are_the_same_row(method: str) -> None:
    one = np.asarray(explained(Net().eval(), rows()[:1], method).values)
    found = np.asarray(explained(Net().eval(), rows()[:1].expand(3, -1, -1, -1), method).values)
    assert found.shape[0] == 3
    assert np.abs(found - one).max() <= 1e-5 * np.abs(one).max()


@pytest.mark.parametrize("method", [*WALKS, *SLOPES])
@pytest.mark.parametrize("make", [torch.jit.script, lambda net: torch.jit.trace(net, rows())], ids=["script", "trace"])
def test_scripted_networks(method: str, make: Callable[[nn.Module], Any]) -> None:
    due = explained(Net().eval(), rows(), method).values
    found = explained(quietly(lambda: make(Net().eval())), rows(), method).values
    assert np.abs(found - due).max() <= 1e-5 * np.abs(due).max()


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_near_single(method: str, dtype: torch.dtype) -> None:
    net, x = Net().eval().to(dtype), rows().to(dtype)
    found, due = explained(net, x, method), explained(Net().to(dtype).float().eval(), x.float(), method)
    assert net.conv.weight.dtype == dtype
    allowed = 0.05 * np.abs(due.values).max()
    if method == "smoothgrad":  # rows of other bytes have another noise
        allowed = allowed + 6 * found.stderr
    assert (np.abs(found.values - due.values) <= allowed).all()


@pytest.mark.parametrize("method", [*WALKS, *SLOPES, "grad_cam", "layer_conductance"])
def test_a_network_that_writes_over_its_rows(method: str) -> None:
    x = rows()
    given = x.clone()
    due = np.asarray(explained(Behind(lambda x: x * 2).eval(), x, method).values)
    found = np.asarray(explained(Behind(lambda x: x.mul_(2)).eval(), x, method).values)
    assert torch.equal(x, given)
    assert np.abs(found - due).max() <= 1e-5 * np.abs(due).max()


# Tokens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", WALKS[:4] + SLOPES[:2])
def test_tokens_are_explained_by_their_vectors_and_it_is_told(method: str) -> None:
    net, x = Tokens().eval(), torch.randint(1, 12, (3, 6), generator=torch.Generator().manual_seed(3))
    e = explained(net, x, method)
    assert e.values.shape == x.shape and "by_embeddings" in [caution.code for caution in e.warnings]
    alone = explained(net, x[1:2], method).values[0]
    assert np.abs(alone - e.values[1]).max() <= 1e-5 * np.abs(e.values).max()
    if method in ("deeplift", "deepshap"):
        with torch.no_grad():
            change = (net(x) - net(torch.zeros_like(x)))[:, 1].numpy()
        np.testing.assert_allclose(e.values.sum(1), change, atol=1e-6)


def test_an_embedding_that_is_asked_twice_is_not_mistaken() -> None:
    """Positions looked up in the same table are no tokens: told by value where gradients are asked, else refused."""

    class Both(Tokens):
        def forward(self, tokens: Tensor) -> Tensor:
            places = torch.arange(tokens.shape[1]).expand(tokens.shape)
            return self.head(torch.tanh(self.cell(self.embedding(tokens) + self.embedding(places))[0]).mean(1))

    x = torch.randint(6, 12, (2, 6), generator=torch.Generator().manual_seed(4))
    net = Both().eval()
    e = explained(net, x, "integrated_gradients")
    with torch.no_grad():
        change = (net(x) - net(torch.zeros_like(x)))[:, 1].numpy()
    np.testing.assert_allclose(e.values.sum(1), change, atol=3e-3 * np.abs(e.values).sum(1).max())
    with pytest.raises(NotApplicable):
        explained(net, x, "deeplift")


# No slope ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("saliency", "zero_gradient"), ("smoothgrad", "zero_gradient"), ("guided_backprop", "nothing_back"),
        ("lrp", "nothing_back"), ("grad_cam", "empty_map"),
    ],
)  # fmt: skip
def test_all_zero_is_told(method: str, told: str) -> None:
    e = explained(Behind(after=lambda y: torch.relu(y - 1e4)).eval(), rows(), method)
    assert not np.asarray(e.values).any()
    assert [caution.code for caution in e.warnings if caution.code.startswith(told)]


@pytest.mark.parametrize("method", [*SLOPES, *INSIDE[2:]])
def test_an_output_without_a_gradient_is_refused(method: str) -> None:
    with pytest.raises(NotApplicable, match="no gradient"):
        explained(Behind(after=lambda y: y.detach().round()).eval(), rows(), method)


def test_a_quantised_network_is_refused_by_what_needs_slopes_and_taken_by_what_removes() -> None:
    def made() -> nn.Module:
        net = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 3)).eval()
        return torch.ao.quantization.quantize_dynamic(net, {nn.Linear}, dtype=torch.qint8)

    net = quietly(made)
    for method in (*WALKS, *SLOPES):
        with pytest.raises(NotApplicable):
            explained(net, rows(), method)
    assert np.isfinite(explained(net, rows(), "occlusion").values).all()


# Refused in sentences ----------------------------------------------------------------------------

BAD: dict[str, tuple[Callable[[], tuple[Any, Any]], type[PellucidError] | tuple[type[PellucidError], ...], str]] = {
    "meta": (lambda: (Net().to("meta"), rows()), ModelError, "no data"),
    "rows on meta": (lambda: (Net().eval(), rows().to("meta")), InputError, "no data"),
    "complex rows": (lambda: (Net().eval(), rows().to(torch.complex64)), InputError, "complex"),
    "complex answer": (lambda: (Behind(after=lambda y: y * 1j).eval(), rows()), ModelError, "complex"),
    "no rows": (lambda: (Net().eval(), rows()[:0]), InputError, "no rows"),
    "NaN rows": (lambda: (Net().eval(), rows() / 0 * 0), PellucidError, "NaN"),
    "NaN answer": (lambda: (Behind(after=lambda y: (y - 1e3).log()).eval(), rows()), ModelError, "NaN"),
    "bytes": (
        lambda: (Net().eval(), (rows() * 255).byte()), (ModelError, NotApplicable), "unsigned char|whole numbers"
    ),
    "a sparse tensor": (lambda: (Net().eval(), rows().to_sparse()), InputError, "sparse"),
    "too few channels": (lambda: (Net().eval(), rows()[:, :2]), ModelError, "channels"),
}  # fmt: skip


@pytest.mark.parametrize("method", ALL)
@pytest.mark.parametrize("name", BAD)
def test_refused_in_a_sentence(name: str, method: str) -> None:
    make, error, told = BAD[name]
    with pytest.raises(error, match=told):
        explained(*make(), method)


@pytest.mark.parametrize("method", INSIDE)
def test_what_was_scripted_cannot_be_looked_into(method: str) -> None:
    with pytest.raises(NotApplicable, match="nothing to look at inside"):
        explained(quietly(lambda: torch.jit.script(Net().eval())), rows(), method)
