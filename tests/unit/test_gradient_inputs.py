"""What gradients are asked of: tokens, half precision, odd layouts, complex numbers, networks without a gradient."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from networks import NETWORKS, built
from torch import nn

import pellucid
from pellucid.methods import (
    ExpectedGradients,
    InputXGradient,
    IntegratedGradients,
    IntegratedHessians,
    Saliency,
    SmoothGrad,
    VarGrad,
)
from pellucid.records.errors import InputError, ModelError, NotApplicable
from pellucid.removals import Constant

FAMILY = [
    Saliency(), InputXGradient(), SmoothGrad(5), VarGrad(5), IntegratedGradients(8),
    IntegratedGradients(20, "guided"), ExpectedGradients(8), IntegratedHessians(4),
]  # fmt: skip
family = pytest.mark.parametrize("method", FAMILY, ids=lambda method: f"{method.name}-{getattr(method, 'path', '')}")


class Sentences(nn.Module):
    """Tokens, looked up, with places added and padding masked by the tokens themselves."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.words, self.places, self.head = nn.Embedding(20, 6), nn.Embedding(9, 6), nn.Linear(6, 3)

    def forward(self, ids):
        seen = torch.tanh(self.words(ids) + self.places(torch.arange(ids.shape[1])))
        there = (ids > 0).to(seen)[..., None]
        return self.head((seen * there).sum(1) / there.sum(1).clamp(min=1))


TOKENS = torch.tensor([[3, 7, 1, 19, 4], [5, 5, 2, 0, 0], [9, 1, 8, 8, 0]])


# Tokens ------------------------------------------------------------------------------------------------------------


def test_tokens_are_explained_by_their_embeddings():
    net = Sentences()
    vectors = net.words(TOKENS).detach().requires_grad_()

    def behind(given):
        seen = torch.tanh(given + net.places(torch.arange(5)))
        there = (TOKENS > 0).to(seen)[..., None]
        return net.head((seen * there).sum(1) / there.sum(1).clamp(min=1))

    (slopes,) = torch.autograd.grad(behind(vectors)[:, 1].sum(), vectors)
    e = pellucid.explain(net, TOKENS, "saliency", target=1)
    np.testing.assert_allclose(e.values, slopes.norm(dim=2).numpy(), rtol=1e-5)
    assert e.players.most == 5 and not e.values[1, 3:].any()  # padding is looked up, and masked away
    (note,) = [caution for caution in e.warnings if caution.code == "by_embeddings"]
    assert note.values["layer"] == "words"
    path = pellucid.explain(net, TOKENS, "integrated_gradients", target=1, removal=Constant(2))
    other = behind(net.words(torch.full_like(TOKENS, 2)))[:, 1].detach().numpy()
    np.testing.assert_allclose(path.base[:, 0], other, rtol=1e-5)
    assert path.gap.max() <= 1e-3
    scores = pellucid.evaluate(net, TOKENS, path).to_frame()  # by removing tokens, which is the original question
    assert np.isfinite(scores.set_index("metric").value["faithfulness_correlation"])


@family
def test_every_method_of_the_family_takes_tokens(method):
    net = Sentences()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    background = torch.tensor([[1, 2, 3, 4, 5], [9, 8, 7, 6, 5]])
    e = pellucid.explain(net, TOKENS, method, target=0, background=background)
    assert len(e) == 3 and e.players.most == 5
    if e.background is not None:
        assert e.background.shape == (2, 5)  # the tokens that were given, not their vectors
    alone = pellucid.explain(net, TOKENS[1:2], method, target=0, background=background)
    name = e.of_estimate["values"]
    np.testing.assert_allclose(getattr(alone, name)[0], getattr(e, name)[1], atol=1e-6)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert not any(module._forward_hooks for module in net.modules())


class Counted(nn.Module):
    """Whole numbers that are no tokens."""

    def forward(self, x):
        return x.float().sum(1, keepdim=True)


class Twice(Sentences):
    """The same tokens, looked up twice: which vector is a token's?"""

    def forward(self, ids):
        return super().forward(ids) + self.head(self.words(ids).mean(1))


@pytest.mark.parametrize("net", [Counted(), Twice()])
@family
def test_whole_numbers_that_are_not_looked_up_once_are_refused_with_a_sentence(net, method):
    with pytest.raises(NotApplicable, match=r"floating-point numbers|no gradients"):
        pellucid.explain(net, TOKENS, method)


# Precision and layout ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@family
def test_half_precision_is_explained_in_single(dtype, method):
    net, x = NETWORKS["gelu"]()
    half = copy.deepcopy(net).to(dtype)
    before = [parameter.clone() for parameter in half.parameters()]
    e = pellucid.explain(half, x.to(dtype), method, target=1)
    single = pellucid.explain(copy.deepcopy(half).float(), x.to(dtype).float(), method, target=1)
    name = e.of_estimate["values"]
    scale = np.abs(getattr(single, name)).max()
    if not e.notes.get("samples"):  # another row is another noise
        np.testing.assert_allclose(getattr(e, name), getattr(single, name), atol=1e-6 * scale)
    (note,) = [caution for caution in e.warnings if caution.code == "in_single"]
    assert 0 <= note.values["difference"] < 0.05
    assert all(torch.equal(a, b) and b.dtype == dtype for a, b in zip(before, half.parameters(), strict=True))


def test_a_network_that_insists_on_half_precision_is_explained_as_it_is():
    class Insists(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 2).to(torch.bfloat16)

        def forward(self, x):
            return self.layer(x.to(torch.bfloat16))

    e = pellucid.explain(Insists(), torch.randn(3, 4), "saliency", target=0)
    assert np.isfinite(e.values).all() and "in_single" not in [caution.code for caution in e.warnings]


@family
def test_rows_may_lie_anyhow_in_memory(method):
    net, x = built("gelu")
    name = method.answers.of_estimate["values"]
    wanted = getattr(pellucid.explain(net, x, method, target=0), name)
    turned = x.t().contiguous().t()
    strided = torch.stack([x, -x], dim=2)[:, :, 0]
    for rows in (turned, strided):
        assert not rows.is_contiguous()
        np.testing.assert_array_equal(getattr(pellucid.explain(net, rows, method, target=0), name), wanted)
    spread = x[:1].expand(3, 5)
    found = getattr(pellucid.explain(net, spread, method, target=0), name)
    one = getattr(pellucid.explain(net, x[:1], method, target=0), name)
    np.testing.assert_allclose(found, np.repeat(one, 3, axis=0), atol=1e-10)
    wants = x.clone().requires_grad_()
    np.testing.assert_array_equal(getattr(pellucid.explain(net, wants, method, target=0), name), wanted)
    assert wants.grad is None


def test_images_may_lie_channels_last():
    net, x = built("resnet")
    for method in FAMILY[:5]:
        wanted = pellucid.explain(net, x, method, target=0).values
        turned = pellucid.explain(net, x.to(memory_format=torch.channels_last), method, target=0).values
        np.testing.assert_allclose(turned, wanted, atol=1e-12, err_msg=method.name)


@family
def test_complex_numbers_are_told(method):
    net, x = built("gelu")
    with pytest.raises(InputError, match="complex"):
        pellucid.explain(net, x.to(torch.complex128), method)

    class Spectrum(nn.Module):
        def forward(self, x):
            return torch.fft.fft(x, dim=1)

    with pytest.raises(ModelError, match="complex"):
        pellucid.explain(Spectrum(), x, method)


# No gradient -------------------------------------------------------------------------------------------------------


class Cut(nn.Module):
    def forward(self, x):
        return x.detach() * 2


class Unfollowed(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(5, 4), nn.Linear(4, 2)

    def forward(self, x):
        with torch.no_grad():
            hidden = self.body(x)
        return self.head(hidden)


class Rounded(nn.Module):
    def forward(self, x):
        return x.argmax(1)


@pytest.mark.parametrize(
    ("net", "where"),
    [
        (nn.Sequential(nn.Linear(5, 4), nn.Sequential(nn.ReLU(), Cut()), nn.Linear(4, 2)), r"1\.1 \(Cut\)"),
        (Unfollowed(), r"body \(Linear\)"),
        (Rounded(), "Rounded"),
    ],
)
@family
def test_a_lost_gradient_names_the_layer(net, where, method):
    with pytest.raises(NotApplicable, match=f"{where}: the model's output has no gradient"):
        pellucid.explain(net.float(), torch.randn(3, 5), method)
    assert not any(module._forward_hooks for module in net.modules())


class Detour(torch.autograd.Function):
    """An operation that autograd knows and that passes nothing on."""

    @staticmethod
    def forward(ctx, x):
        return x * 1.0

    @staticmethod
    def backward(ctx, *grads):
        return None


class Passed(nn.Module):
    def forward(self, x):
        return Detour.apply(x)


@family
def test_a_gradient_that_does_not_arrive_is_not_a_gradient_of_zero(method):
    with pytest.raises(NotApplicable, match="does not reach its rows"):
        pellucid.explain(Passed(), torch.randn(3, 2), method)


class Root(nn.Module):
    def forward(self, x):
        return x.abs().sqrt()


def test_an_infinite_gradient_names_the_row():
    x = torch.tensor([[1.0, 2.0], [0.0, 3.0]])
    for method in ("saliency", "input_x_gradient"):
        with pytest.raises(pellucid.PellucidError, match="row 1: the gradient is NaN or infinite"):
            pellucid.explain(Root(), x, method, target=0)
