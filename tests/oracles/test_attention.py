"""Attention methods against closed forms, hand graphs and slow twins that hold on to what they compute."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from networks import built, exported
from scipy.optimize import linprog
from torch import Tensor, nn

import pellucid
from pellucid.catalog import find
from pellucid.methods.attention_flow import flow
from pellucid.records.attention import AttentionMaps
from pellucid.records.errors import BudgetError, InputError, NotApplicable
from pellucid.reports import attending
from pellucid.training.networks import transformer_encoder

METHODS = ("attention_rollout", "attention_flow", "attention_gradient", "value_zeroing")
UNSEEING = -1e9
"""A logit whose weight is exactly zero."""


class Given(nn.Module):
    """Layers x ← keep · x + softmax(B_l) x of given logits ``[T, T]``, which the row only seems to change."""

    def __init__(self, *logits: Tensor, keep: float = 1.0, pick: int | None = None):
        super().__init__()
        self.logits, self.keep, self.pick = [each.double() for each in logits], keep, pick

    def forward(self, x: Tensor) -> Tensor:
        for logits in self.logits:
            weights = torch.softmax(logits + 0 * (x @ x.mT), dim=-1)
            x = self.keep * x + weights @ x
        read = x.mean(1) if self.pick is None else x[:, self.pick]
        return read.cumsum(-1)


def tokens(count: int = 2, T: int = 4, width: int = 3) -> Tensor:
    return torch.randn(count, T, width, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def identity(T: int = 4) -> Tensor:
    return UNSEEING * (1 - torch.eye(T))


def explained(net: Any, x: Any, method: str, **asked: Any) -> Any:
    settings = {name: asked.pop(name) for name in ("residual", "erased", "draws") if name in asked}
    return pellucid.explain(net, x, find("methods", method, settings), **{"target": 0, **asked})


def by_token(e: Any, T: int) -> np.ndarray:
    """Values of elements ``[N, T · width]`` as those of tokens."""
    return e.attributions[..., 0].reshape(len(e), T, -1).sum(2)


# Where attention is -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_fused_written_out_and_exported_attention_are_one(method: str) -> None:
    net, rows = built("transformer_fused")
    plain, _ = built("transformer_plain")
    due = explained(net, rows, method).attributions
    assert np.allclose(explained(plain, rows, method).attributions, due, atol=1e-12)
    assert np.allclose(explained(exported(net, rows), rows, method).attributions, due, atol=1e-9)


def test_the_maps_are_those_that_the_module_returns() -> None:
    net, rows = built("encoder")
    layer = net.encoder.layers[0]
    _, due = layer.self_attn(rows, rows, rows, need_weights=True, average_attn_weights=False)
    e = explained(net, rows, "attention_maps")
    assert [layer.name for layer in e.layers] == ["encoder.layers.0.self_attn"]
    assert np.allclose(e.of("encoder.layers.0.self_attn"), due.detach().numpy(), atol=1e-12)


def test_maps_sum_to_one_and_a_causal_mask_shows() -> None:
    causal = torch.full((4, 4), UNSEEING).triu(1)
    e = explained(Given(causal, torch.zeros(4, 4)), tokens(), "attention_maps")
    first, second = (e.of(layer.name) for layer in e.layers)
    assert np.allclose(first.sum(-1), 1) and np.allclose(second, 0.25)
    assert not np.triu(first[0, 0], 1).any() and np.allclose(first[0, 0, 3], 0.25)
    assert len({layer.name for layer in e.layers}) == 2


def test_einsum_with_the_weights_as_second_factor() -> None:
    class Turned(Given):
        def forward(self, x: Tensor) -> Tensor:
            weights = torch.softmax(self.logits[0] + 0 * (x @ x.mT), dim=-1)
            return (x.mT @ weights.mT).mT[:, 0].cumsum(-1)

    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(2))
    e = explained(Turned(logits), tokens(), "attention_maps")
    assert np.allclose(e.values[:, 0], torch.softmax(logits, -1).double().numpy(), atol=1e-7)
    due = explained(Given(logits, keep=0.0, pick=0), tokens(), "attention_rollout")
    assert np.allclose(explained(Turned(logits), tokens(), "attention_rollout").values, due.values, atol=1e-7)


@pytest.mark.parametrize("name", ["mixer", "resnet", "lstm", "gated", "softmax"])
def test_a_network_without_attention_is_refused(name: str) -> None:
    net, rows = built(name)
    with pytest.raises(NotApplicable, match="no attention"):
        explained(net, rows, "attention_rollout")


def test_a_black_box_is_refused() -> None:
    with pytest.raises(NotApplicable, match="attention_maps needs a model that is differentiable"):
        explained(lambda x: np.asarray(x).sum((1, 2)), tokens().numpy(), "attention_maps")


class Crossed(nn.Module):
    """Two tokens of its own ask five of the row; then they ask each other."""

    def forward(self, x: Tensor) -> Tensor:
        own = x[:, :2] * 0.5 + 1
        h = torch.softmax(own @ x.mT, dim=-1) @ x
        return (torch.softmax(h @ h.mT, dim=-1) @ h).mean(1)


class Towers(nn.Module):
    """Two attentions that do not see each other."""

    def forward(self, x: Tensor) -> Tensor:
        one, other = (torch.softmax(x @ x.mT * scale, dim=-1) @ x for scale in (0.5, 2.0))
        return (one + other).mean(1)


class Windows(nn.Module):
    """Attention of two heads within two windows of a row of four tokens."""

    def forward(self, x: Tensor) -> Tensor:
        h = x.unflatten(1, (2, 2)).flatten(0, 1)
        h = torch.softmax(h @ h.mT, dim=-1) @ h
        return h.unflatten(0, (-1, 2)).flatten(1, 2).mean(1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("net", "why"),
    [(Crossed(), "2 tokens ask 5"), (Towers(), "do not follow one another"), (Windows(), "within windows")],
    ids=lambda given: type(given).__name__,
)
def test_what_cannot_be_rolled_out_is_refused_and_its_maps_are_shown(net: nn.Module, why: str, method: str) -> None:
    x = tokens(T=5 if isinstance(net, Crossed) else 4)
    with pytest.raises(NotApplicable, match=why):
        explained(net, x, method)
    shown = explained(net, x, "attention_maps")
    assert all(np.allclose(shown.of(layer.name).sum(-1), 1) for layer in shown.layers)
    assert any(caution.code.startswith("attention_") for caution in shown.warnings)


# Tokens and players -----------------------------------------------------------------------------------------------


def test_a_patch_gets_its_token_and_the_class_token_is_nobodys() -> None:
    net, rows = built("vit")
    e = explained(net, rows, "attention_rollout", players=pellucid.players.Patches(4))
    assert np.allclose(e.maps[..., 0].sum(2), 1)
    assert np.allclose(e.attributions[..., 0], e.maps[:, 0, 1:, 0], atol=1e-12)  # read from the class token's line
    pixels = explained(net, rows, "attention_rollout", players=pellucid.players.Patches(1)).attributions[..., 0]
    patches = pixels.reshape(4, 2, 4, 2, 4).sum((2, 4)).reshape(4, 4)
    assert np.allclose(patches, e.attributions[..., 0], atol=1e-12)


def test_several_tokens_of_one_player_add_up() -> None:
    net, rows = built("vit")
    fine = explained(net, rows, "attention_flow", players=pellucid.players.Patches(4)).attributions[..., 0]
    whole = explained(net, rows, "attention_flow", players=pellucid.players.Patches(8)).attributions[..., 0]
    assert np.allclose(whole[:, 0], fine.sum(1))


# Rollout and flow -------------------------------------------------------------------------------------------------


def test_identity_attention_rolls_out_to_the_identity() -> None:
    e = explained(Given(identity(), identity(), pick=1), tokens(), "attention_rollout")
    assert np.allclose(e.maps[..., 0], np.eye(4)) and np.allclose(by_token(e, 4), [0, 1, 0, 0])


@pytest.mark.parametrize("residual", [0.0, 0.5, 0.9])
def test_uniform_attention_has_a_closed_form(residual: float) -> None:
    L, T = 3, 4
    e = explained(Given(*[torch.zeros(T, T)] * L, pick=2), tokens(), "attention_rollout", residual=residual)
    due = residual**L * np.eye(T) + (1 - residual**L) / T
    assert np.allclose(e.maps[..., 0], due) and np.allclose(by_token(e, T), due[2])


def test_rollout_of_a_mean_over_tokens_reads_all_of_them() -> None:
    logits = [torch.randn(4, 4, generator=torch.Generator().manual_seed(seed)).double() for seed in (3, 4)]
    e = explained(Given(*logits), tokens(), "attention_rollout")
    one, two = (torch.softmax(each, -1).numpy() / 2 + np.eye(4) / 2 for each in logits)
    assert np.allclose(e.maps[0, ..., 0], two @ one)
    assert np.allclose(by_token(e, 4), (two @ one).mean(0)) and np.allclose(by_token(e, 4).sum(1), 1)


def test_flow_on_a_hand_graph() -> None:
    first, second = np.array([[0.75, 0.25], [0.5, 0.5]]), np.array([[0.6, 0.4], [0.2, 0.8]])
    alone, both = (flow(np.stack([first, second]), np.array(read)) for read in ([True, False], [True, True]))
    assert np.allclose(alone, [1.0, 0.65], atol=1e-8)  # to 1: 0.25 of the 0.6 by way of 0, and 0.4 by way of 1
    assert np.allclose(both, [1.0, 0.75], atol=1e-8)  # to 1: no more than 0.25 + 0.5 lead there


def test_flow_is_that_of_a_linear_program() -> None:
    rng = np.random.default_rng(0)
    layers = rng.dirichlet(np.ones(3) / 2, size=(3, 3))
    for readers in ([True, False, True], [False, True, False]):
        due = [_by_program(layers, np.array(readers), token) for token in range(3)]
        assert np.allclose(flow(layers, np.array(readers)), due, atol=1e-7)


def _by_program(layers: np.ndarray, readers: np.ndarray, sink: int) -> float:
    """The maximum flow as the linear program that it is by definition."""
    L, T, _ = layers.shape
    edges = [
        ((layer + 1, i), (layer, j), layers[layer, i, j]) for layer in range(L) for i in range(T) for j in range(T)
    ]
    edges += [("answer", (L, i), 1 / readers.sum()) for i in np.flatnonzero(readers)]
    inner = [(layer, i) for layer in range(L + 1) for i in range(T) if (layer, i) != (0, sink)]
    balance = np.array([[float(b == node) - float(a == node) for a, b, _ in edges] for node in inner])
    into = [-float(b == (0, sink)) for _, b, _ in edges]
    found = linprog(into, A_eq=balance, b_eq=np.zeros(len(inner)), bounds=[(0, size) for *_, size in edges])
    return -found.fun


def test_flow_of_identity_attention_goes_straight_down() -> None:
    e = explained(Given(identity(), pick=3), tokens(), "attention_flow")
    assert np.allclose(by_token(e, 4), [0, 0, 0, 1], atol=1e-8)


# Gradient-weighted attention --------------------------------------------------------------------------------------


def _held(net: Any, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """A plain transformer's answer written out once more, and the weights of each block, for autograd to reach."""
    h, held = x + net.place, []
    for block in net.blocks:
        b, t, d = h.shape
        q, k, v = block.qkv(block.norm1(h)).reshape(b, t, 3, block.heads, d // block.heads).permute(2, 0, 3, 1, 4)
        weights = torch.softmax(q @ k.mT / (d // block.heads) ** 0.5, -1)
        held.append(weights)
        h = h + block.proj((weights @ v).transpose(1, 2).reshape(b, t, d))
        h = h + block.fc2(torch.nn.functional.gelu(block.fc1(block.norm2(h))))
    return net.head(net.norm(h).mean(1)), held


def test_gradient_weighted_attention_against_a_twin() -> None:
    net, rows = built("transformer_fused")
    e = explained(net, rows, "attention_gradient", target="all")
    for target in range(3):
        answer, held = _held(net, rows)
        slopes = torch.autograd.grad(answer[:, target].sum(), held)
        relevance = torch.eye(5, dtype=torch.float64).expand(4, 5, 5)
        for weights, slope in zip(held, slopes, strict=True):
            relevance = relevance + (weights * slope).clamp(min=0).mean(1) @ relevance
        due = (relevance - torch.eye(5)).detach().numpy()
        assert np.allclose(e.maps[..., target], due, atol=1e-12)
        assert np.allclose(e.attributions[..., target].reshape(4, 5, 8).sum(2), due.mean(1), atol=1e-12)


def test_gradient_weighted_attention_of_what_does_not_use_it_is_nothing() -> None:
    class Aside(Given):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * torch.tensor([1.0, 0.0, 0.0]) + x[:, 0]

    e = explained(Aside(torch.zeros(4, 4)), tokens(), "attention_gradient", target=2)
    assert not e.values.any()


# Value zeroing ----------------------------------------------------------------------------------------------------


def _without_value(net: Any, x: Tensor, token: int) -> list[Tensor]:
    """Each block's output with the value of one token zeroed in that block alone; −1 for none.

    The last one's reaches to where tokens are pooled, so the final norm is part of it.
    """
    h, found = x + net.place, []
    for block in net.blocks:
        outputs = []
        for zeroed in (token, -1):
            b, t, d = h.shape
            q, k, v = block.qkv(block.norm1(h)).reshape(b, t, 3, block.heads, d // block.heads).permute(2, 0, 3, 1, 4)
            if zeroed >= 0:
                v = v * (torch.arange(t) != zeroed)[:, None]
            mixed = torch.softmax(q @ k.mT / (d // block.heads) ** 0.5, -1) @ v
            made = h + block.proj(mixed.transpose(1, 2).reshape(b, t, d))
            outputs.append(made + block.fc2(torch.nn.functional.gelu(block.fc1(block.norm2(made)))))
        found.append(outputs[0])
        h = outputs[1]
    return [*found[:-1], net.norm(found[-1])]


def test_value_zeroing_against_a_twin() -> None:
    net, rows = built("transformer_fused")
    e = explained(net, rows, "value_zeroing")
    with torch.no_grad():
        whole = _without_value(net, rows, -1)
        each = [_without_value(net, rows, token) for token in range(5)]
    joint = torch.eye(5, dtype=torch.float64)
    for block in range(2):
        turned = [1 - torch.cosine_similarity(each[token][block], whole[block], -1) for token in range(5)]
        changes = torch.stack(turned, -1)
        joint = changes / changes.sum(-1, keepdim=True) @ joint
    assert np.allclose(e.maps[..., 0], joint.numpy(), atol=1e-9)
    assert np.allclose(by_token(e, 5), joint.mean(1).numpy(), atol=1e-9)


def test_a_token_that_nobody_looks_at_gets_nothing() -> None:
    logits = torch.zeros(4, 4)
    logits[:, 2] = UNSEEING
    for method in ("value_zeroing", "attention_gradient"):
        e = explained(Given(logits, logits), tokens(), method)
        assert not by_token(e, 4)[:, 2].any() and by_token(e, 4)[:, [0, 1, 3]].any(1).all(), method


def test_single_precision_is_zeroed_as_exactly_as_double() -> None:
    (net, rows), (single, few) = built("vit"), built("vit", torch.float32)
    due = explained(net, rows, "value_zeroing").attributions
    assert np.allclose(explained(single, few, "value_zeroing").attributions, due, atol=1e-4 * due.max())


# The erasure test -------------------------------------------------------------------------------------------------


def test_erasing_what_is_looked_at_moves_the_answer_more_than_chance() -> None:
    logits = torch.zeros(10, 10)
    logits[:, 4] = 50.0
    x = tokens(count=6, T=10) + 2
    e = explained(Given(logits, keep=0.0, pick=0), x, "attention_rollout", residual=0.0, erased=1, draws=50)
    assert np.allclose(e.notes["erasure_first"], x[:, 4, 0].abs().numpy())  # without token 4 the answer is 0
    assert e.notes["erased"] == [1.0] * 6 and e.notes["erasure_draws"] == 50
    share = np.array(e.notes["erasure_random"]) / np.array(e.notes["erasure_first"])
    assert ((share >= 0) & (share < 0.4)).all() and np.isclose(share.mean(), 0.1, atol=0.05)  # one draw in ten
    (caution,) = [caution for caution in e.warnings if caution.code.startswith("attention_")]
    assert caution.code == "attention_only" and caution.severity == "note"


def test_attention_that_leads_nowhere_is_called_idle() -> None:
    class Misled(Given):
        """Looks at token 4, whose value is taken out again, and answers by token 1."""

        def forward(self, x: Tensor) -> Tensor:
            weights = torch.softmax(self.logits[0] + 0 * (x @ x.mT), dim=-1)
            return (weights @ (x * 1e-12)).mean(1) + x[:, 1]

    logits = torch.zeros(10, 10)
    logits[:, 4] = 50.0
    e = explained(Misled(logits), tokens(T=10), "attention_rollout", residual=0.0, erased=1)
    assert [c.severity for c in e.warnings if c.code == "attention_idle"] == ["yellow"]
    assert "no better than chance" in e.text()


def test_a_budget_below_the_erasure_test_is_an_error() -> None:
    with pytest.raises(BudgetError, match="needs at least 13"):
        explained(Given(torch.zeros(4, 4)), tokens(), "attention_rollout", budget=8)


# What is said and drawn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [*METHODS, "attention_maps"])
def test_attention_is_never_called_attribution(method: str) -> None:
    net, rows = built("vit")
    e = explained(net, rows, method)
    assert "attention, not attribution" in e.text().lower() and "Erasure test" in e.text()
    assert "注意力，而非归因" in e.text(language="zh") and "删除检验" in e.text(language="zh")
    assert "Attention, not attribution" in e.plot().to_json()
    assert '"title": "contribution' not in e.plot().to_json() and "Raised" not in e.text()
    assert "attention, not attribution" in repr(e)


def test_a_record_of_maps_survives_a_file(tmp_path: Any) -> None:
    net, rows = built("transformer_plain")
    e = explained(net, rows, "attention_maps", target="all")
    again = AttentionMaps.load(e.save(tmp_path / "maps"))
    assert np.array_equal(again.of("blocks.1"), e.of("blocks.1")) and again.text(1) == e.text(1)
    assert e.of("blocks.1").shape == (4, 2, 5, 5, 3)
    head, asking, answering, weight = e.hardest("blocks.0", 2)
    assert weight == e.of("blocks.0")[2, head, asking, answering, 0] == e.of("blocks.0")[2].max()
    with pytest.raises(InputError, match="no language"):
        attending.paragraphs(e, language="fr")
    with pytest.raises(InputError, match="output 7"):
        e.plot(output=7)


def test_token_ids_are_followed_behind_their_embedding() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        settings = {"tokens": 6, "width": 8, "layers": 2, "heads": 2, "classes": 3, "inner": 16}
        net = transformer_encoder(vocabulary=20, **settings).double().eval()
        behind = transformer_encoder(**settings).double().eval()
    behind.load_state_dict({name: value for name, value in net.state_dict().items() if "embedding" not in name})
    ids = torch.randint(1, 20, (3, 6), generator=torch.Generator().manual_seed(1))
    vectors = net.embedding(ids).detach()
    for method in METHODS:
        e, due = explained(net, ids, method), explained(behind, vectors, method)
        assert np.allclose(e.values, due.values.sum(-1), atol=1e-9), method
        assert e.notes["tokens"] == 6 and e.notes["without_elements"] == 0
    start = net.embedding(torch.zeros(1, 6, dtype=torch.long)).detach()
    deep, due = explained(net, ids, "deeplift"), explained(behind, vectors, "deeplift", background=start)
    assert np.allclose(deep.values, due.values.sum(-1), atol=1e-9) and (deep.gap < 1e-9).all()
