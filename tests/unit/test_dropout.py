"""Dropout left on: the mean of thinned networks against slow twins, what is reached, what is refused, and no traces."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import pellucid
from pellucid.backends.dropout import Draws
from pellucid.backends.thinning import uniform
from pellucid.backends.torch_module import TorchModel
from pellucid.records.errors import InputError, ModelError, NotApplicable

M = 5


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 12), nn.Tanh(), nn.Dropout(0.3), nn.Linear(12, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(12, 3),
    ).double()  # fmt: skip


@pytest.fixture
def rows() -> Tensor:
    return torch.randn(6, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def factor(draw: int, path: str, shape: tuple[int, ...], rate: float, kind: str = "dropout", number: int = 1) -> Tensor:
    """What a thinned network multiplies with at a site, for one row."""
    stays = uniform((0, draw, path, kind, number), shape) >= rate
    return torch.from_numpy(stays / (1 - rate))


class Fixed(nn.Module):
    """The slow twin: a dropout layer with one mask written into it."""

    def __init__(self, mask: Tensor):
        super().__init__()
        self.mask = mask

    def forward(self, x: Tensor) -> Tensor:
        return x * self.mask


def thinned(net: nn.Sequential, draw: int) -> nn.Sequential:
    """One thinned network, as a network without dropout."""
    fixed = [
        Fixed(factor(draw, str(place), (1, 12), layer.p)) if isinstance(layer, nn.Dropout) else layer
        for place, layer in enumerate(net)
    ]
    return nn.Sequential(*fixed).eval()


def outputs(model: Any, rows: Tensor | dict[str, Tensor]) -> Tensor:
    with model.untouched(), torch.no_grad():
        return model.outputs(rows if isinstance(rows, dict) else {"inputs": rows})


def test_outputs_are_the_mean_of_the_thinned_networks(net: nn.Sequential, rows: Tensor) -> None:
    found = outputs(pellucid.wrap(net, stochastic=M), rows)
    expected = torch.stack([thinned(net, draw)(rows) for draw in range(M)]).mean(0)
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, net.eval()(rows), atol=1e-3)


@pytest.mark.parametrize("method", ["integrated_gradients", "shapley", "occlusion", "deeplift", "saliency", "lrp"])
def test_the_spread_is_that_of_the_thinned_networks(net: nn.Sequential, rows: Tensor, method: str) -> None:
    settings = {"steps": 33} if method == "integrated_gradients" else {}
    question = {"target": 1, "background": torch.ones(1, 4, dtype=torch.float64)}
    e = pellucid.explain(pellucid.wrap(net, stochastic=M), rows, method, **question, **settings)
    told = [pellucid.explain(thinned(net, draw), rows, method, **question, **settings).values for draw in range(M)]
    np.testing.assert_allclose(e.spread, np.std(told, axis=0, ddof=1), atol=1e-9)
    np.testing.assert_allclose(e.stderr, e.spread / np.sqrt(M), atol=1e-12)
    if method not in ("saliency", "lrp", "deeplift"):  # these are not linear in the network
        np.testing.assert_allclose(e.values, np.mean(told, axis=0), atol=1e-9)
    whole = np.array([thinned(net, draw)(rows)[:, 1].tolist() for draw in range(M)])
    np.testing.assert_allclose(e.notes["full_spread"], whole.std(0, ddof=1), atol=1e-9)
    assert e.notes["members"] == M


# What is reached ---------------------------------------------------------------------------


class Attending(nn.Module):
    """Attention of torch, with whatever it can be given."""

    def __init__(self, rate: float, first: bool, **given: Any):
        super().__init__()
        self.masks = {name: given.pop(name) for name in ("attn_mask", "key_padding_mask", "is_causal") if name in given}
        self.attention = nn.MultiheadAttention(4, 2, dropout=rate, batch_first=first, **given)
        self.first = first

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.first else x.transpose(0, 1)
        masks = {name: mask(x) if callable(mask) else mask for name, mask in self.masks.items()}
        found, weights = self.attention(x, x, x, average_attn_weights=False, **masks)
        found = found if self.first else found.transpose(0, 1)
        return torch.cat([found.flatten(1), weights.flatten(1)], 1)


class Product(nn.Module):
    """The function of attention, told its dropout as people tell it."""

    def __init__(self, rate: float, causal: bool = False, masked: bool = False):
        super().__init__()
        self.rate, self.causal, self.masked = rate, causal, masked

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.tensor([[True, True, False, True, True]]) if self.masked else None
        rate = self.rate if self.training else 0.0
        q = torch.stack([x, x * 2], 1)
        return F.scaled_dot_product_attention(q, q, q, mask, rate, self.causal).flatten(1)


class Layered(nn.Module):
    """Recurrent layers on top of each other."""

    def __init__(self, kind: type[nn.RNNBase], rate: float, **given: Any):
        super().__init__()
        self.inner = kind(4, 3, 3, dropout=rate, **given)  # pyright: ignore[reportCallIssue, reportArgumentType]
        self.first = bool(given.get("batch_first"))

    def forward(self, x: Tensor) -> Tensor:
        found, ends = self.inner(x if self.first else x.transpose(0, 1))
        found = found if self.first else found.transpose(0, 1)
        ends = ends if isinstance(ends, tuple) else (ends,)
        return torch.cat([found.flatten(1), *[end.transpose(0, 1).flatten(1) for end in ends]], 1)


class Functional(nn.Module):
    """Dropout that is no layer."""

    def __init__(self, rate: float, drop: Any = F.dropout):
        super().__init__()
        self.rate, self.drop, self.last = rate, drop, nn.Linear(20, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.drop(x.relu(), self.rate, self.training).flatten(1))


class Flattened(nn.Module):
    """Rows and steps on one axis."""

    def __init__(self, rate: float):
        super().__init__()
        self.drop = nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(x.flatten(0, 1)).unflatten(0, (-1, 5)).flatten(1)


class Placed(nn.Module):
    """Dropout of what is the same for all rows."""

    def __init__(self, rate: float):
        super().__init__()
        self.places, self.drop = nn.Parameter(torch.randn(5, 4)), nn.Dropout(rate)

    def forward(self, x: Tensor) -> Tensor:
        return (x + self.drop(self.places)).tanh().flatten(1)


class Convolved(nn.Module):
    """Whole channels are dropped."""

    def __init__(self, rate: float, drop: type[nn.Module], dims: int):
        super().__init__()
        self.conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dims - 1](5, 6, 1)
        self.drop, self.dims = drop(rate), dims  # pyright: ignore[reportCallIssue]

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape(len(x), 5, *[2, 2, 1][: self.dims - 1], -1)
        return self.drop(self.conv(x)).flatten(1)


UPPER = torch.ones(5, 5, dtype=torch.bool).triu(1)
KINDS: dict[str, Any] = {
    "attention": lambda rate: Attending(rate, True),
    "attention, steps first": lambda rate: Attending(rate, False),
    "attention, biases": lambda rate: Attending(rate, True, add_bias_kv=True, add_zero_attn=True),
    "attention, no biases": lambda rate: Attending(rate, True, bias=False),
    "attention, other sizes": lambda rate: Attending(rate, True, kdim=4, vdim=4),
    "attention, masked": lambda rate: Attending(
        rate, True, attn_mask=UPPER, key_padding_mask=lambda x: (x[..., 0] > 1) & (torch.arange(5) > 0)
    ),
    "attention, masked by numbers": lambda rate: Attending(
        rate, True, attn_mask=UPPER.double() * -2, key_padding_mask=lambda x: x[..., 0], add_zero_attn=True
    ),
    "attention, causal": lambda rate: Attending(rate, True, attn_mask=UPPER, is_causal=True),
    "product": Product,
    "product, causal": lambda rate: Product(rate, causal=True),
    "product, masked": lambda rate: Product(rate, masked=True),
    "lstm": lambda rate: Layered(nn.LSTM, rate, batch_first=True),
    "lstm, projected, both ways": lambda rate: Layered(nn.LSTM, rate, bidirectional=True, proj_size=2),
    "gru": lambda rate: Layered(nn.GRU, rate, bidirectional=True, batch_first=True),
    "rnn": lambda rate: Layered(nn.RNN, rate, bias=False),
    "function": Functional,
    "function, alpha": lambda rate: Functional(rate, F.alpha_dropout),
    "function of channels": lambda rate: Functional(rate, F.feature_alpha_dropout),
    "torch's function": lambda rate: Functional(rate, torch.dropout),
    "encoder": lambda rate: nn.Sequential(
        nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, rate, batch_first=True), 2), nn.Flatten()
    ),
    "encoder, steps first": lambda rate: Turned(nn.TransformerEncoderLayer(4, 2, 8, rate)),
    "flattened": Flattened,
    "placed": Placed,
    "alpha": lambda rate: nn.Sequential(nn.Flatten(), nn.Linear(20, 9), nn.SELU(), nn.AlphaDropout(rate)),
    "channels, 1d": lambda rate: Convolved(rate, nn.Dropout1d, 1),
    "channels, 2d": lambda rate: Convolved(rate, nn.Dropout2d, 2),
    "channels, 3d": lambda rate: Convolved(rate, nn.Dropout3d, 3),
    "channels, alpha": lambda rate: Convolved(rate, nn.FeatureAlphaDropout, 2),
    "in place": lambda rate: nn.Sequential(nn.Flatten(), nn.Linear(20, 9), nn.Dropout(rate, inplace=True)),
}


class Turned(nn.Module):
    """A layer that takes steps first."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(0, 1)).transpose(0, 1).flatten(1)


@pytest.fixture
def steps() -> Tensor:
    return torch.randn(4, 5, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def built(kind: str, rate: float) -> nn.Module:
    torch.manual_seed(3)
    return KINDS[kind](rate).double()


@pytest.mark.parametrize("kind", KINDS)
def test_with_next_to_nothing_dropped_it_is_the_network_itself(kind: str, steps: Tensor) -> None:
    found = outputs(pellucid.wrap(built(kind, 1e-12), stochastic=2), steps)
    torch.testing.assert_close(found, built(kind, 1e-12).eval()(steps), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_answered_the_same_whatever_stands_beside_it(kind: str, steps: Tensor) -> None:
    model = pellucid.wrap(built(kind, 0.4), stochastic=M)
    whole = outputs(model, steps)
    assert not torch.allclose(whole, outputs(pellucid.wrap(built(kind, 0.4)), steps), atol=1e-4)
    torch.testing.assert_close(outputs(model, steps), whole, rtol=0, atol=0)
    torch.testing.assert_close(outputs(model, steps.flip(0)).flip(0), whole, rtol=1e-9, atol=1e-9)
    alone = torch.cat([outputs(model, row[None]) for row in steps])
    torch.testing.assert_close(alone, whole, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_may_say_which_draw_they_ask(kind: str, steps: Tensor) -> None:
    model = pellucid.wrap(built(kind, 0.4), stochastic=M)
    members = model.members
    assert members is not None
    which = torch.arange(M).repeat_interleave(len(steps))
    told = outputs(members.model, {"inputs": steps.repeat(M, 1, 1), members.name: which}).unflatten(0, (M, -1))
    torch.testing.assert_close(told.mean(0), outputs(model, steps), rtol=1e-9, atol=1e-9)
    assert float(told.std(0).max()) > 1e-3


MEAN = ("attention", "attention, steps first", "attention, biases", "product", "product, causal", "product, masked",
        "function", "torch's function", "flattened", "in place", "alpha", "channels, 2d")  # fmt: skip


@pytest.mark.parametrize("kind", MEAN)
def test_where_what_follows_is_linear_many_draws_come_to_the_network_itself(kind: str, steps: Tensor) -> None:
    found = outputs(pellucid.wrap(built(kind, 0.3), stochastic=4000), steps)
    plain = built(kind, 0.3).eval()(steps)
    if kind == "alpha":  # keeps mean and variance of what is normalised, of which these few units are not quite
        assert float((found - plain).abs().mean().detach()) < 0.5
        return
    torch.testing.assert_close(found, plain, rtol=0, atol=0.1)


def test_layers_of_recurrent_networks_drop_what_they_give_the_next(steps: Tensor) -> None:
    net = built("lstm", 0.4)
    lstm = net.inner
    found = outputs(pellucid.wrap(net, stochastic=2), steps)
    told = []
    for draw in range(2):
        x = steps
        for layer in range(3):
            one = nn.LSTM(x.shape[-1], 3, batch_first=True).double()
            names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            one.load_state_dict({f"{name}_l0": getattr(lstm, f"{name}_l{layer}").detach() for name in names})
            x = one(x)[0].detach()
            if layer < 2:
                x = x * factor(draw, "inner", (1, 5, 3), 0.4, "between layers", layer + 1)
        told.append(x.flatten(1))
    torch.testing.assert_close(found[:, :15], torch.stack(told).mean(0))


def test_alpha_dropout_answers_as_torch_does_for_the_same_units(steps: Tensor) -> None:
    rate = 0.3
    net: Any = built("alpha", rate)
    found = outputs(pellucid.wrap(net, stochastic=2), steps)
    before = net[:3](steps)
    left, share = -1.7580993408473766, 1 - rate
    told = []
    for draw in range(2):
        stays = (factor(draw, "3", (1, 9), rate, "alpha_dropout") > 0).double()
        a = (share + left**2 * share * (1 - share)) ** -0.5
        told.append(a * (before * stays + left * (1 - stays)) - a * (1 - share) * left)
    torch.testing.assert_close(found, torch.stack(told).mean(0))


def test_channels_are_dropped_whole(steps: Tensor) -> None:
    model = pellucid.wrap(built("channels, 2d", 0.5), stochastic=2).members
    assert model is not None
    found = outputs(model.model, {"inputs": steps, "draw": torch.ones(4, dtype=torch.long)}).unflatten(1, (6, -1))
    gone = (found == 0).all(2)
    assert gone.any() and not gone.all() and bool(((found == 0).any(2) == gone).all())


def test_masks_are_drawn_as_often_as_the_rate_says_and_a_place_keeps_its_fate_in_longer_rows() -> None:
    found = uniform((0, 1, "a", "dropout", 1), (1, 400, 500))
    assert abs(float((found < 0.3).mean()) - 0.3) < 0.005
    assert abs(np.corrcoef(found[0, :-1].ravel(), found[0, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(found.ravel(), uniform((0, 2, "a", "dropout", 1), (1, 400, 500)).ravel())[0, 1]) < 0.01
    np.testing.assert_array_equal(uniform((0, 1, "a", "dropout", 1), (1, 7, 9)), found[:, :7, :9])
    np.testing.assert_allclose(uniform((0, 1, "a"), (2,)), GOLDEN, rtol=1e-12)


GOLDEN = (0.3582030191118224, 0.09907318019799283)
"""The same on every machine and in every process."""


# As a model like any other -----------------------------------------------------------------


def test_contributions_add_up_and_only_the_draws_are_in_doubt(net: nn.Sequential, rows: Tensor) -> None:
    model = pellucid.wrap(net, stochastic=M)
    e = pellucid.explain(model, rows, "integrated_gradients", target=0)
    assert e.gap.max() < 1e-3
    assert pellucid.explain(model, rows, "shapley", target=0).gap.max() < 1e-9
    assert pellucid.explain(model, rows, "deeplift", target=0).gap.max() < 1e-9


def test_reruns_orders_and_blocks_change_nothing(net: nn.Sequential, rows: Tensor) -> None:
    model = pellucid.wrap(net, stochastic=M)
    how: dict[str, Any] = {"target": 0, "samples": 8}
    e = pellucid.explain(model, rows, "smoothgrad", **how)
    again = pellucid.explain(pellucid.wrap(net, stochastic=M), rows.flip(0), "smoothgrad", **how)
    np.testing.assert_array_equal(again.values[::-1], e.values)
    np.testing.assert_array_equal(again.spread[::-1], e.spread)
    alone = pellucid.explain(model, rows[2:3], "smoothgrad", **how)
    np.testing.assert_allclose(alone.spread[0], e.spread[2], atol=1e-9)


def test_another_seed_draws_other_masks(net: nn.Sequential, rows: Tensor) -> None:
    one, other = (outputs(pellucid.wrap(net, stochastic=Draws(M, seed=seed)), rows) for seed in (0, 1))
    assert not torch.allclose(one, other, atol=1e-3)


def test_what_was_learned_of_the_network_without_is_not_taken_for_it(net: nn.Sequential, rows: Tensor) -> None:
    def told(model: Any) -> np.ndarray:
        return pellucid.explain(model, rows, "deeplift", target=0).values

    plain, mean = told(net), told(pellucid.wrap(net, stochastic=M))
    assert np.abs(plain - mean).max() > 1e-3
    np.testing.assert_array_equal(told(net), plain)
    other = told(pellucid.wrap(net, stochastic=Draws(M, seed=1)))
    assert np.abs(other - mean).max() > 1e-3
    np.testing.assert_array_equal(told(pellucid.wrap(net, stochastic=M)), mean)


def test_another_rate_is_seen(net: Any, rows: Tensor) -> None:
    model = pellucid.wrap(net, stochastic=M)
    before = outputs(model, rows)
    net[2].p = 0.6
    assert not torch.allclose(outputs(model, rows), before, atol=1e-3)
    net[2].p = net[6].p = 0.0
    with pytest.raises(ModelError, match="no dropout to keep on"):
        outputs(model, rows)


def test_a_network_that_mixes_its_rows_is_asked_draw_by_draw(rows: Tensor) -> None:
    class Mixing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.drop(x)
            return x - x.mean(0, keepdim=True) + x.sum(1, keepdim=True)

    e = pellucid.explain(pellucid.wrap(Mixing(), stochastic=M), rows, "occlusion", target=0)
    assert "batch_coupled" in [caution.code for caution in e.warnings]
    told = [(rows * factor(draw, "drop", (1, 4), 0.4)).sum(1) for draw in range(M)]
    np.testing.assert_allclose(e.full[:, 0], torch.stack(told).mean(0).numpy())


def test_a_network_that_takes_only_pairs_of_rows(rows: Tensor) -> None:
    class Pairs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.4)

        def forward(self, x: Tensor) -> Tensor:
            return self.drop(x.reshape(2, 4)).reshape(2, 4)

    e = pellucid.explain(pellucid.wrap(Pairs(), stochastic=M), rows, "occlusion", target=0)
    told = [rows[:, 0] * factor(draw, "drop", (1, 4), 0.4)[0, 0] for draw in range(M)]
    np.testing.assert_allclose(e.full[:, 0], torch.stack(told).mean(0).numpy())


def test_a_path_that_some_rows_take_is_seen_when_they_take_it() -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.dropout(x, 0.5, self.training) if bool((x > 0).all()) else F.dropout(x, 0.2, self.training) * 2

    x = torch.tensor([[-1.0, 2.0], [3.0, 4.0]])
    model = pellucid.wrap(Branching(), stochastic=M)
    found = outputs(model, x[:1]), outputs(model, x[1:])
    told = [
        torch.stack([row * factor(d, "", (1, 2), rate) for d in range(M)]).mean(0)
        for row, rate in zip(x, (0.2, 0.5), strict=True)
    ]
    torch.testing.assert_close(found, (told[0].float() * 2, told[1].float()))


def test_budgets_of_rows_are_for_both_halves() -> None:
    wide = nn.Sequential(nn.Linear(14, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 1))
    model, x = pellucid.wrap(wide, stochastic=M), torch.randn(4, 14)
    e = pellucid.explain(model, x, "permutation_shapley", budget=pellucid.Budget(rows=2400))
    assert 1200 < e.cost.rows <= 2500


def test_interactions_are_of_the_mean(net: nn.Sequential, rows: Tensor) -> None:
    found = pellucid.explain(pellucid.wrap(net, stochastic=M), rows, "shapley_interactions", target=0)
    assert "dropout_on" in [caution.code for caution in found.warnings]


# No traces ---------------------------------------------------------------------------------


class Failing(nn.Module):
    """Raises in its ninth call, after having drawn noise."""

    def __init__(self) -> None:
        super().__init__()
        self.drop, self.last, self.calls = nn.Dropout(0.5), nn.Linear(4, 2), [0]

    def forward(self, x: Tensor) -> Tensor:
        self.calls[0] += 1
        self.calls[1:] = [int(torch.randint(9, (1,))), np.random.randint(9), random.randint(0, 9)]
        if self.calls[0] > 8:
            raise RuntimeError("enough")
        return self.last(self.drop(x))


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_the_module_and_the_generators_are_left_as_they_were(
    net: nn.Sequential, rows: Tensor, fails: bool, training: bool
) -> None:
    module: Any = Failing().double() if fails else net
    module.train(training)
    if not fails:
        module[2].train(not training)
    flags = [part.training for part in module.modules()]
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    attributes = [set(vars(part)) for part in module.modules()]
    drawn = torch.get_rng_state(), repr(np.random.get_state()), random.getstate()
    model = pellucid.wrap(module, stochastic=M)
    if fails:
        with pytest.raises(ModelError, match="enough"):
            pellucid.explain(model, rows, "integrated_gradients", target=0)
    else:
        pellucid.explain(model, rows, "integrated_gradients", target=0)
        assert float(module[4].num_batches_tracked) == 0
    assert [part.training for part in module.modules()] == flags
    assert [set(vars(part)) for part in module.modules()] == attributes
    for name, tensor in module.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), drawn[0]) and random.getstate() == drawn[2]
    assert repr(np.random.get_state()) == drawn[1]
    assert all(parameter.requires_grad for parameter in module.parameters())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


# What is said ------------------------------------------------------------------------------


class OnlyInTraining(nn.Module):
    """Dropout that evaluation never comes to."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.5) if self.training else x


class Packed(nn.Module):
    """Dropout between the layers of a packed sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.GRU(1, 3, 2, batch_first=True, dropout=0.5).double()

    def forward(self, x: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x[..., None], [x.shape[1]] * len(x), batch_first=True)
        return self.inner(packed)[1][-1]


class WithLabels(nn.Module):
    """In training it wants what explanations have not."""

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            raise ValueError("targets should not be None")
        return x


REFUSED = {
    "no dropout": (lambda: nn.Linear(4, 2).double(), "no dropout to keep on.*above 0"),
    "rate 0": (lambda: nn.Sequential(nn.Linear(4, 2), nn.Dropout(0.0)).double(), "no dropout to keep on"),
    "other noise": (lambda: nn.RReLU(), "no dropout to keep on"),
    "in training only": (OnlyInTraining, r"forward \(dropout\): dropout is called in training only.*self.training"),
    "packed": (Packed, "inner.*packed sequences"),
    "labels": (WithLabels, "could not be seen.*targets should not be None"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_kept_on_is_refused_by_name(case: str, rows: Tensor) -> None:
    build, message = REFUSED[case]
    with pytest.raises(ModelError, match=message):
        pellucid.explain(pellucid.wrap(build(), stochastic=M), rows, "occlusion", target=0)


def test_what_is_no_torch_module_as_written_is_refused(net: nn.Sequential) -> None:
    with pytest.raises(ModelError, match=r"torch modules.*FunctionModel"):
        pellucid.wrap(lambda x: x, stochastic=True)
    with pytest.raises(ModelError, match="scripted or exported"):
        pellucid.wrap(torch.jit.script(net), stochastic=True)
    with pytest.raises(InputError, match="already"):
        pellucid.wrap(pellucid.wrap(net, stochastic=True), stochastic=True)
    for wrong in (1, -3, 2.5, "yes"):
        with pytest.raises(InputError, match="count of Draws is a whole number from 2 on"):
            pellucid.wrap(net, stochastic=wrong)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match="seed of Draws"):
        Draws(seed=-1)


def test_its_layers_are_those_of_several_networks(net: nn.Sequential, rows: Tensor) -> None:
    with pytest.raises(NotApplicable, match="keeps its dropout on: 5 networks"):
        pellucid.explain(pellucid.wrap(net, stochastic=M), rows, "layer_activation", target=0)


def test_the_preflight_and_the_record_say_what_it_is(net: nn.Sequential, rows: Tensor) -> None:
    model = pellucid.wrap(net.train(), stochastic=M)
    found = pellucid.preflight(model, rows)
    told = {caution.code: caution.text() for caution in found.warnings}
    assert "mean of 5 thinned networks (dropout in 2 (dropout), 6 (dropout))" in told["dropout_on"]
    assert "train_mode" not in told and not found.unstable and not found.coupled
    e = pellucid.explain(model, rows, "occlusion", target=0)
    assert [caution.code for caution in e.warnings].count("dropout_on") == 1
    assert "spread" in e.to_frame()


def test_doubt_about_the_strongest_contribution_is_told() -> None:
    model = pellucid.wrap(nn.Sequential(nn.Dropout(0.9), nn.Linear(2, 1)), stochastic=20)
    e = pellucid.explain(model, torch.ones(3, 2), "occlusion")
    assert {caution.code: caution.text() for caution in e.warnings}["draws_disagree"].startswith(
        "occlusion: for 3 of 3 rows"
    )
    sure = pellucid.explain(
        pellucid.wrap(nn.Sequential(nn.Dropout(0.01), nn.Linear(2, 1)), stochastic=20), torch.ones(3, 2), "occlusion"
    )
    assert "draws_disagree" not in [caution.code for caution in sure.warnings]


def test_noise_of_other_kinds_is_named() -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Tensor) -> Tensor:
            x = self.drop(x)
            return x + torch.randn_like(x) if self.training else x

    e = pellucid.explain(pellucid.wrap(Noisy(), stochastic=M), torch.ones(2, 3), "occlusion", target=0)
    assert "forward (randn_like)" in {caution.code: caution.text() for caution in e.warnings}["noise_off"]


def factory() -> nn.Module:
    """For a file of weights."""
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 2))


def test_files_are_loaded_with_it(tmp_path: Any) -> None:
    net = factory()
    torch.save(net.state_dict(), tmp_path / "net.pt")
    model = pellucid.load(factory, weights=tmp_path / "net.pt", stochastic=M)
    assert isinstance(model, TorchModel)
    torch.testing.assert_close(
        outputs(model, torch.ones(2, 4)), outputs(pellucid.wrap(net, stochastic=M), torch.ones(2, 4))
    )
