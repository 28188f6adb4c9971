"""Networks on which a walk once went wrong without a word, or ended in a stranger's error."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import pellucid
from pellucid.methods import Lrp
from pellucid.records.errors import NotApplicable

D = torch.float64


def linear(given: int, made: int, **options: object) -> nn.Linear:
    return nn.Linear(given, made, **options).double()  # pyright: ignore[reportArgumentType]


class Of(nn.Module):
    """A function of itself and its inputs, with parts."""

    def __init__(self, function, **parts: object):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(self, *given)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def rows(count: int = 6) -> Tensor:
    return torch.randn(count, 5, dtype=D)


@pytest.mark.parametrize("place", range(3))
def test_a_mask_behind_a_rectifier_is_not_forgotten(place: int) -> None:
    """Whatever the first row's mask is: a rectifier times ones looks like a rectifier."""

    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(5, 4), nn.Linear(4, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            return self.outer(F.relu(self.inner(x)) * mask)

    mask = torch.ones(3, 4, dtype=torch.long)
    mask[place] = torch.tensor([1, 0, 0, 1])
    e = pellucid.explain(Masked().double(), {"x": rows(3), "mask": mask}, "deeplift", target=0)
    assert np.nanmax(e.gap) <= 1e-12


@pytest.mark.parametrize(
    "bent",
    [lambda u: torch.clamp(u * 300, 0, 255), lambda u: F.hardtanh(u * 300, 0, 255), lambda u: F.threshold(u, 2e-3, 0),
     lambda u: F.softplus(u * 1e-5, beta=1e4)],
    ids=["clamp", "hardtanh", "threshold", "softplus"],
)  # fmt: skip
def test_what_bends_elsewhere_is_no_rectifier(bent) -> None:
    model = Of(lambda s, x: s.o(bent(s.l(x))), l=linear(5, 3), o=linear(3, 2))
    e = pellucid.explain(model, rows(), "deeplift", target=0, background=torch.zeros(1, 5, dtype=D))
    assert np.nanmax(e.gap) <= 1e-10
    with pytest.raises(NotApplicable, match="no rectifier"):
        pellucid.explain(model, rows(), "guided_backprop", target=0)


def test_what_was_learned_is_dropped_with_any_change() -> None:
    """Numbers, plain tensors, hooks and an exchanged forward decide what a network computes, too."""
    x = rows()
    net = nn.Sequential(linear(5, 8), nn.LeakyReLU(0.1), linear(8, 2))
    changes = [
        lambda: setattr(net[1], "negative_slope", 0.7),
        lambda: net[1].register_forward_hook(lambda module, given, out: out * 2),
        lambda: net[1].__dict__.__setitem__("forward", torch.tanh),
    ]
    for change in [lambda: None, *changes]:
        change()
        e = pellucid.explain(net, x, "deeplift", target=0, background=x[:1])
        with torch.no_grad():
            assert np.allclose(e.full[:, 0], net(x)[:, 0].numpy())


def test_a_scripted_network_keeps_its_mode() -> None:
    net = torch.jit.script(nn.Sequential(linear(5, 8), nn.Dropout(0.5), linear(8, 2)))
    pellucid.explain(net, rows(), "integrated_gradients", target=0, background=torch.zeros(1, 5, dtype=D), steps=2)
    assert net.training and all(module.training for module in net.modules())


def test_deepshap_over_real_rows_adds_up_where_absence_is_conditional() -> None:
    net = nn.Sequential(linear(5, 8), nn.ReLU(), linear(8, 2))
    removal = pellucid.removals.ConditionalNearest(torch.randn(50, 5, dtype=D))
    e = pellucid.explain(net, rows(), "deepshap", target=0, removal=removal)
    assert np.nanmax(e.gap) <= 1e-12


def test_lrp_of_a_network_that_does_not_look() -> None:
    e = pellucid.explain(Of(lambda s, x: x.new_zeros(len(x), 2)), rows(), "lrp", target=0)
    assert (e.values == 0).all()
    probabilities = nn.Sequential(linear(5, 6), nn.ReLU(), linear(6, 4), nn.Softmax(1), linear(4, 2))
    assert np.abs(pellucid.explain(probabilities, rows(), "lrp", target=0).values).max() > 0


def test_spellings_of_a_shift_are_one_to_lrp() -> None:
    inner, outer = linear(5, 6, bias=False), linear(3, 2, bias=False)

    def values(shift) -> np.ndarray:
        model = Of(lambda s, x: s.o(shift(F.relu(s.l(x)).view(-1, 3, 2).mean(2))), l=inner, o=outer)
        return pellucid.explain(model, x, Lrp(rule="z_plus"), target=0).values

    x = rows()
    assert np.allclose(values(lambda h: h + (-1.0)), values(lambda h: h - 1.0), atol=1e-12)
    assert np.allclose(values(lambda h: torch.add(h, h * 0.5, alpha=-1)), values(lambda h: h - h * 0.5), atol=1e-12)


def test_a_factor_of_another_type_or_rank_is_left_where_it_is() -> None:
    class Double(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.outer = nn.Linear(5, 4), linear(4, 2)
            self.register_buffer("factor", torch.rand(4, dtype=D))

        def forward(self, x: Tensor) -> Tensor:
            return self.outer(F.relu(self.inner(x) * self.factor))

    zero = torch.zeros(1, 5)
    assert np.nanmax(pellucid.explain(Double(), rows().float(), "deeplift", target=0, background=zero).gap) <= 1e-5
    three = Of(
        lambda s, x: s.o((s.l(x) * torch.full((1, 1, 1), 2.0, dtype=D)).squeeze(0)), l=linear(5, 4), o=linear(4, 2)
    )
    assert np.nanmax(pellucid.explain(three, rows(), "deeplift", target=0, background=zero.double()).gap) <= 1e-12


def test_gamma_without_epsilon_stands_dead_units() -> None:
    net = nn.Sequential(linear(5, 6, bias=False), nn.ReLU(), linear(6, 2, bias=False))
    e = pellucid.explain(net, torch.zeros(2, 5, dtype=D), Lrp(rule="gamma", epsilon=0.0), target=0)
    assert (e.values == 0).all()


def test_rounding_is_no_gap() -> None:
    net, x = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)), torch.randn(1, 5)
    e = pellucid.explain(net, x.repeat(3, 1), "deeplift", target=0, background=x)
    assert (e.gap == 0).all() and "gap" not in {caution.code for caution in e.warnings}


def test_a_mask_that_swallows_the_scores_passes_nothing() -> None:
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 2)

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            q, k, v = self.qkv(x).chunk(3, -1)
            hidden = (1 - mask.to(x.dtype)).unsqueeze(1) * torch.finfo(x.dtype).min
            return self.out(((q @ k.mT + hidden).softmax(-1) @ v).mean(1))

    mask = torch.ones(4, 5, dtype=torch.long)
    mask[3] = 0
    given = {"x": torch.randn(4, 5, 4, dtype=D), "mask": mask}
    assert np.nanmax(pellucid.explain(Masked().double(), given, "deeplift", target=0).gap) <= 1e-12


@pytest.mark.parametrize(
    "function",
    [
        lambda s, x: torch.where((x > 0) & (x.flip(1) > 0.1), x, -x),
        lambda s, x: x.clamp(torch.full((5,), -0.3), x.flip(1).abs()),
        lambda s, x: torch.where((x > 0.2) | (x.flip(1) > 0), x * x, x),
        lambda s, x: torch.fmax(x, x.flip(1)),
    ],
    ids=["and", "bounds", "or", "fmax"],
)
def test_conditions_and_bounds_of_several_values(function) -> None:
    e = pellucid.explain(Of(function), rows(), "deeplift", target=0, background=rows()[:1])
    assert np.nanmax(e.gap) <= 1e-12


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda s, x: torch.fft.fft(x).abs(), "no rule for the operation"),
        (lambda s, x: x.scatter(1, torch.zeros(len(x), 1, dtype=torch.long), x[:, 1:2], reduce="multiply"), "no rule"),
        (lambda s, x: x if x.sum() > 0 else -x, "takes a value out of a tensor"),
    ],
    ids=["complex", "scattered product", "branch"],
)
def test_refusals_are_sentences(function, told: str) -> None:
    with pytest.raises(NotApplicable, match=told):
        pellucid.explain(Of(function), rows(), "deeplift", target=0, background=torch.zeros(1, 5, dtype=D))
