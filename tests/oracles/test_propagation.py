"""DeepLIFT, DeepSHAP, LRP, guided backpropagation and deconvolution against closed forms and slow twins."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from networks import NETWORKS, built, exported
from torch import Tensor, nn

import pellucid
from pellucid.records.errors import NotApplicable

SPELLINGS = ("relu_reused", "relu_in_place", "relu_functional", "relu_clamp", "relu_where", "relu_maximum")


def explained(model: nn.Module, rows: Tensor, method: str, reference: Tensor | None = None, **options: object):
    reference = torch.zeros_like(rows[:1]) if reference is None else reference
    return pellucid.explain(model, rows, method, background=reference, **options)


class Of(nn.Module):
    """A function of rows as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


# Completeness on networks as people write them --------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
def test_deeplift_adds_up(name: str) -> None:
    for dtype, limit in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        model, rows = built(name, dtype)
        e = explained(model, rows[1:], "deeplift", rows[:1], target="all")
        assert np.nanmax(e.gap) <= limit, f"{dtype}: {np.nanmax(e.gap):.1e}"
        alone = explained(model, rows[2:3], "deeplift", rows[:1], target="all")
        assert np.abs(alone.values - e[1:2].values).max() <= 1e-5 * np.abs(e.values).max()


@pytest.mark.parametrize("name", ["relu_where", "resnet", "max_pool_ties", "layer_norm", "softmax", "vit", "lstm"])
def test_deepshap_is_the_mean_of_deeplifts(name: str) -> None:
    model, rows = built(name, torch.float64)
    e = explained(model, rows[:1], "deepshap", rows[1:])
    each = [explained(model, rows[:1], "deeplift", rows[place : place + 1]).values for place in range(1, len(rows))]
    assert np.allclose(e.values, np.mean(each, 0), atol=1e-12 * np.abs(e.values).max())
    assert np.nanmax(e.gap) <= 1e-12


@pytest.mark.parametrize("name", ["relu_where", "resnet", "vit", "encoder", "gru"])
def test_an_exported_copy_gets_the_same(name: str) -> None:
    model, rows = NETWORKS[name]()
    own = explained(model, rows, "deeplift")
    copy = explained(exported(model, rows), rows, "deeplift")
    assert np.allclose(own.values, copy.values, atol=1e-5 * np.abs(own.values).max())


@pytest.mark.parametrize("method", ["deeplift", "lrp", "guided_backprop", "deconvolution"])
def test_every_spelling_of_a_rectifier_is_the_same(method: str) -> None:
    found = []
    for name in SPELLINGS:
        model, rows = built(name, torch.float64)
        found.append(explained(model, rows, method).values)
    for other in found[1:]:
        assert np.allclose(found[0], other, rtol=0, atol=1e-13 * np.abs(found[0]).max())


def test_all_outputs_are_as_each_alone() -> None:
    model, rows = built("resnet", torch.float64)
    together = explained(model, rows, "deeplift", target="all").values
    for output in range(together.shape[-1]):
        alone = explained(model, rows, "deeplift", target=output).values
        assert np.allclose(together[..., output], alone, atol=1e-13)


# DeepLIFT in closed form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "row", "due"),
    [
        (lambda x: 2 * x[:, :1] - 3 * x[:, 1:] + 1, (1.5, 2.0), (3.0, -6.0)),
        (lambda x: 1 - torch.relu(1 - x), (2.0,), (1.0,)),  # saturated: the gradient is 0
        (lambda x: x[:, :1] * x[:, 1:], (2.0, 3.0), (3.0, 3.0)),
        (lambda x: x.amax(1, keepdim=True), (2.0, 1.0), (2.0, 0.0)),
        (lambda x: torch.maximum(x[:, :1], x[:, 1:]), (2.0, 1.0), (2.0, 0.0)),
        (lambda x: F.max_pool1d(x[:, None], 2)[:, 0], (2.0, 1.0), (2.0, 0.0)),
        (lambda x: x.amin(1, keepdim=True), (-2.0, -1.0), (-2.0, 0.0)),
        (lambda x: (x**3).sum(1, keepdim=True), (2.0, -1.0), (8.0, -1.0)),
        (lambda x: x[:, :1] / (1 + x[:, 1:]), (2.0, 1.0), (1.5, -0.5)),
        # y = 3b + c (a − 3b), c the condition b > a, which goes from 0 to 1 with b − a: its part is (1 − 6)/2 in all
        (lambda x: torch.where(x[:, 1:] > x[:, :1], x[:, :1], 3 * x[:, 1:]), (1.0, 2.0), (0.5 + 2.5, 3.0 - 5.0)),
    ],
    ids=["linear", "saturated", "product", "amax", "maximum", "pool", "amin", "cubes", "quotient", "branch"],
)
def test_deeplift_in_closed_form(function, row: tuple[float, ...], due: tuple[float, ...]) -> None:
    rows = torch.tensor([row], dtype=torch.float64)
    e = explained(Of(function), rows, "deeplift", target=0)
    assert np.allclose(e.values, [due], atol=1e-12), e.values
    assert np.nanmax(e.gap) <= 1e-12


@pytest.mark.parametrize("function", [F.gelu, F.silu, torch.sigmoid, torch.tanh, F.softplus])
def test_tiny_differences_get_the_slope(function) -> None:
    for step in (0.0, 1e-12, 1e-7, 1e-3):
        for dtype in (torch.float32, torch.float64):
            reference = torch.tensor([[0.7, -0.4]], dtype=dtype)
            rows = reference + step
            e = explained(Of(lambda x: function(x) @ torch.ones(2, 1, dtype=x.dtype)), rows, "deeplift", reference)
            slopes = torch.func.grad(lambda u: function(u).sum())((rows + reference).double() / 2)
            due = (slopes * (rows.double() - reference.double())).numpy()
            limit = 1e-5 if dtype == torch.float32 else 1e-6
            assert np.abs(e.values - due).max() <= limit * max(np.abs(due).max(), 1e-12), (step, dtype)


def test_softmax_does_not_change_with_a_shift() -> None:
    rows = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    reference = torch.randn(1, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for function in (torch.softmax, torch.log_softmax, lambda x, d: torch.logsumexp(x, d, keepdim=True)):
        plain = explained(Of(lambda x, f=function: f(x, -1)), rows, "deeplift", reference, target=0)
        turned = explained(Of(lambda x, f=function: f(x + 800.0, -1)), rows, "deeplift", reference, target=0)
        assert np.nanmax(plain.gap) <= 1e-12
        assert np.allclose(plain.values, turned.values, atol=1e-10)


def test_a_masked_softmax_has_no_holes() -> None:
    mask = torch.tensor([0.0, 0.0, -torch.inf, 0.0], dtype=torch.float64)
    rows = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    e = explained(Of(lambda x: torch.softmax(x + mask, -1)), rows, "deeplift", target=1)
    assert np.nanmax(e.gap) <= 1e-12
    assert (e.values[:, 2] == 0).all()


def test_batch_norm_folded_and_not() -> None:
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    body = nn.Sequential(conv, norm, nn.ReLU(), nn.Flatten(), nn.Linear(3 * 16, 2)).double().eval()
    folded = torch.nn.utils.fusion.fuse_conv_bn_eval(conv, norm)
    other = nn.Sequential(folded, nn.ReLU(), nn.Flatten(), body[4]).eval()
    rows = torch.randn(3, 2, 6, 6, dtype=torch.float64)
    for method in ("deeplift", "lrp"):
        a, b = explained(body, rows, method).values, explained(other, rows, method).values
        assert np.allclose(a, b, atol=1e-12 * np.abs(a).max())


@pytest.mark.parametrize("window", [(3, 2, 1), (2, 2, 0), (3, 1, 1)])
def test_max_pool_against_its_definition(window: tuple[int, int, int]) -> None:
    """Windows with ties and over the edge, against the rule written out window by window."""
    kernel, stride, padding = window
    generator = torch.Generator().manual_seed(3)
    row, reference = (torch.randint(-2, 3, (1, 1, 5, 5), generator=generator).double() for _ in range(2))
    weight = torch.randn(1, 1, 3, 3, dtype=torch.float64, generator=generator)
    out = F.max_pool2d(row, kernel, stride, padding).shape[-2:]
    weight = torch.randn(*out, dtype=torch.float64, generator=generator)
    model = Of(lambda x: (F.max_pool2d(x, kernel, stride, padding)[:, 0] * weight).sum((1, 2))[:, None])
    e = explained(model, row, "deeplift", reference)
    due = _pooled(row[0, 0], reference[0, 0], weight, kernel, stride, padding)
    assert np.allclose(e.values.reshape(5, 5), due, atol=1e-12)


def _pooled(x: Tensor, ref: Tensor, weight: Tensor, kernel: int, stride: int, padding: int) -> np.ndarray:
    found = np.zeros(x.shape)
    for i in range(weight.shape[0]):
        for j in range(weight.shape[1]):
            cells = [
                (r, c)
                for r in range(i * stride - padding, i * stride - padding + kernel)
                for c in range(j * stride - padding, j * stride - padding + kernel)
                if 0 <= r < x.shape[0] and 0 <= c < x.shape[1]
            ]
            a, b = ({cell: float(t[cell]) for cell in cells} for t in (x, ref))
            high, low = max(a.values()), max(b.values())
            both = [cell for cell in cells if a[cell] == high and b[cell] == low]
            winners = both or [cell for cell in cells if (a if high > low else b)[cell] == max(high, low)]
            for cell in winners:
                slope = (
                    1 / len(both) if both else (high - low) / len(winners) / (a[cell] - b[cell]) if high != low else 0
                )
                found[cell] += float(weight[i, j]) * slope * (a[cell] - b[cell])
    return found


def test_reveal_cancel_by_hand() -> None:
    """min(x₀, x₁) = x₀ − relu(x₀ − x₁) at (2, 1): Δ⁺ = 2, Δ⁻ = −1, so relu gives 1.5 and −0.5 (section 3.5.3)."""
    model = Of(lambda x: x[:, :1] - F.relu(x[:, :1] - x[:, 1:]))
    row = torch.tensor([[2.0, 1.0]], dtype=torch.float64)
    assert np.allclose(explained(model, row, "deeplift", rule="reveal_cancel").values, [[0.5, 0.5]])
    assert np.allclose(explained(model, row, "deeplift").values, [[0.0, 1.0]])


@pytest.mark.parametrize("name", ["relu_where", "gelu", "layer_norm", "resnet", "softmax", "vit", "unet", "lstm"])
def test_reveal_cancel_adds_up(name: str) -> None:
    model, rows = built(name, torch.float64)
    e = explained(model, rows[1:], "deeplift", rows[:1], rule="reveal_cancel")
    assert np.nanmax(e.gap) <= 1e-10
    rescaled = explained(model, rows[1:], "deeplift", rows[:1])
    assert np.abs(e.values - rescaled.values).max() > 1e-6 * np.abs(e.values).max()


def test_reveal_cancel_against_its_definition() -> None:
    """Two layers, unit by unit: Δ⁺ and Δ⁻ of each hidden unit by weights' signs, multipliers on the way back."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)).double()
    row, start = torch.randn(2, 1, 3, dtype=torch.float64)
    e = explained(model, row, "deeplift", start, rule="reveal_cancel")
    W, v = model[0].weight.detach(), model[2].weight.detach()[0]
    u0, delta = model[0](start)[0].detach(), (row - start)[0]
    due = torch.zeros(3, dtype=torch.float64)
    for j in range(4):
        z = W[j] * delta
        up, down = float(z[z > 0].sum()), float(z[z < 0].sum())
        g = lambda t: max(t, 0.0)  # noqa: E731
        at = float(u0[j])
        both = g(at + up + down)
        above = (g(at + up) - g(at) + both - g(at + down)) / 2
        below = (g(at + down) - g(at) + both - g(at + up)) / 2
        for i in range(3):
            share = above / up if z[i] > 0 else below / down
            due[i] += v[j] * share * z[i]
    assert np.allclose(e.values[0], due.numpy(), atol=1e-12)


# LRP ------------------------------------------------------------------------------------------------------------


def bias_free(model: nn.Module) -> nn.Module:
    for module in model.modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            if "bias" in name or name == "running_mean":
                tensor.data.zero_()
    return model


@pytest.mark.parametrize(
    "name",
    [*SPELLINGS, "gelu", "silu", "residual", "weight_tied", "layer_norm", "gated", "max_pool_ties", "resnet", "grouped",
     "convnext", "unet", "tcn", "encoder", "mixer", "lstm"],
)  # fmt: skip
def test_lrp_conserves_without_biases(name: str) -> None:
    model, rows = built(name, torch.float64)
    e = explained(bias_free(model), rows, "lrp", rule="epsilon", epsilon=0.0)
    assert np.allclose(e.notes["kept"], 1, atol=1e-5)
    assert np.allclose(np.array(list(e.notes["conserved"].values())), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["relu_functional", "residual", "resnet"])
def test_lrp_0_of_rectifiers_is_gradient_times_input(name: str) -> None:
    model, rows = built(name, torch.float64)
    leaf = rows.clone().requires_grad_()
    (slope,) = torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)
    e = explained(model, rows, "lrp", rule="epsilon", epsilon=0.0, target=0)
    due = (slope * rows).numpy()
    assert np.allclose(e.values, due, atol=1e-12)


def twin(rule: str, model: nn.Sequential, x: Tensor, low: float = -2.0, high: float = 2.0) -> Tensor:
    """Two linear layers with a rectifier between them, one contribution after the other."""
    first, _, second = model
    hidden = torch.relu(first(x))
    R = second(hidden) * torch.eye(second.out_features, dtype=x.dtype)[0]
    R = _layer(rule.replace("_flat", "").replace("_box", ""), hidden, second, R)
    return _layer(rule, x, first, R, low, high)


def _layer(rule: str, x: Tensor, layer: nn.Linear, R: Tensor, low: float = 0.0, high: float = 0.0) -> Tensor:
    """R_i = Σ_j s_ij R_j for one row; s is told by the rule, biases take their share."""
    W, b = layer.weight, layer.bias
    z = x[:, None] * W.T  # [i, j]
    if rule.endswith("_flat"):
        return (torch.ones_like(z) / len(x)) @ R
    if rule.endswith("_box"):
        z = z - low * W.T.clamp(min=0) - high * W.T.clamp(max=0)
        return (z / z.sum(0)) @ R
    if rule == "z_plus":
        return (z.clamp(min=0) / (z.clamp(min=0).sum(0) + b.clamp(min=0))).nan_to_num(0) @ R  # a dead unit
    if rule == "alpha_beta":
        up = z.clamp(min=0) / (z.clamp(min=0).sum(0) + b.clamp(min=0))
        down = z.clamp(max=0) / (z.clamp(max=0).sum(0) + b.clamp(max=0))
        return (2 * up.nan_to_num(0) - down.nan_to_num(0)) @ R
    if rule == "gamma":
        y = z.sum(0) + b
        own = torch.where(y > 0, z.clamp(min=0), z.clamp(max=0))
        bias = torch.where(y > 0, b.clamp(min=0), b.clamp(max=0))
        raised = z + 0.25 * own
        return (raised / (raised.sum(0) + b + 0.25 * bias)) @ R
    return (z / (z.sum(0) + b)) @ R


@pytest.mark.parametrize("rule", ["epsilon", "z_plus", "gamma", "alpha_beta", "epsilon_flat", "gamma_box"])
def test_lrp_rules_against_a_slow_twin(rule: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)).double()
    model[0].weight.data[:, 0].abs_()  # no hidden unit without positive contributions
    rows = torch.rand(3, 4, dtype=torch.float64) * 2 - 0.5
    rows[:, 0].abs_()
    asked = {"epsilon_flat": "epsilon_plus_flat", "gamma_box": "epsilon_gamma_box"}.get(rule, rule)
    due = rule
    if rule == "gamma_box":  # dense layers behind the first take epsilon in this composite
        due = "epsilon_box"
    e = explained(model, rows, "lrp", rule=asked, epsilon=0.0, low=-2.0, high=2.0, target=0)
    with torch.no_grad():
        twins = torch.stack([twin(due, model, row) for row in rows])
    assert np.allclose(e.values, twins.numpy(), atol=1e-10), np.abs(e.values - twins.numpy()).max()


def test_epsilon_takes_a_known_share() -> None:
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    e = explained(model, torch.tensor([[3.0, 1.0]], dtype=torch.float64), "lrp", rule="epsilon", epsilon=0.5)
    assert np.allclose(e.values, [[3 / 1.5, -2 / 1.5]])
    assert np.allclose(e.notes["kept"], 1 / 1.5)


def test_lrp_halves_products_and_gives_attention_to_the_values() -> None:
    rows = torch.tensor([[2.0, 3.0]], dtype=torch.float64)
    e = explained(Of(lambda x: x[:, :1] * x[:, 1:]), rows, "lrp")
    assert np.allclose(e.values, [[3.0, 3.0]])

    def attended(x: Tensor) -> Tensor:
        scores = torch.softmax(x[:, :, None] * x[:, None], -1)
        return (scores @ x[:, :, None]).sum((1, 2))[:, None]

    e = explained(Of(attended), rows, "lrp")
    weights = torch.softmax(rows[0, :, None] * rows[0, None], -1).sum(0)
    assert np.allclose(e.values, (weights * rows[0]).numpy())


def test_a_rule_for_first_layers_needs_first_layers() -> None:
    class Skipping(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x) + x

    with pytest.raises(NotApplicable, match="alone see the inputs"):
        explained(Skipping(), torch.randn(2, 3), "lrp", rule="epsilon_plus_flat")


# Guided backpropagation and deconvolution -----------------------------------------------------------------------


def test_guided_backprop_and_deconvolution_by_hand() -> None:
    """y = 2·relu(x₀ − x₁) − 3·relu(x₁) at (3, 1): the second rectifier's gradient is negative and does not pass."""
    model = Of(lambda x: 2 * F.relu(x[:, :1] - x[:, 1:]) - 3 * F.relu(x[:, 1:]))
    e = explained(model, torch.tensor([[3.0, 1.0], [1.0, 3.0]]), "guided_backprop")
    assert np.allclose(e.values, [[2.0, -2.0], [0.0, 0.0]])
    e = explained(model, torch.tensor([[3.0, 1.0], [1.0, 3.0]]), "deconvolution")
    assert np.allclose(e.values, [[2.0, -2.0], [2.0, -2.0]])


def test_uses_of_a_rectifier_meet_before_it_clamps() -> None:
    """h = relu(x) is used by 3h and −2h: together 1, not the clamped 3 + 0."""

    def used_twice(x: Tensor) -> Tensor:
        h = F.relu(x)
        return 3 * torch.tanh(h) - 2 * torch.tanh(h)

    e = explained(Of(used_twice), torch.tensor([[0.5]]), "guided_backprop")
    assert np.allclose(e.values, 1 - np.tanh(0.5) ** 2)


@pytest.mark.parametrize("method", ["guided_backprop", "deconvolution"])
def test_without_a_rectifier_it_is_refused(method: str) -> None:
    model, rows = NETWORKS["gelu"]()
    with pytest.raises(NotApplicable, match="no rectifier"):
        explained(model, rows, method)


# What cannot be walked --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda x: x.sort(1).values, r"aten\.sort"),
        (lambda x: F.dropout(x, 0.5, training=True), "draws at random"),
        (lambda x: x if x.sum() > 0 else -x, "followed operation by operation|do not tell"),
        (lambda x: x - x.mean(0), "do not tell"),
        (lambda x: x.prod(1, keepdim=True), r"aten\.prod"),
    ],
    ids=["sort", "dropout", "branching", "coupled", "prod"],
)
def test_what_has_no_rule_is_refused_by_name(function, told: str) -> None:
    with pytest.raises(NotApplicable, match=told) as caught:
        explained(Of(function), torch.randn(3, 3, generator=torch.Generator().manual_seed(0)), "deeplift")
    if "aten" in told:
        assert "test_propagation.py:" in str(caught.value)


def test_a_target_of_several_outputs_is_refused() -> None:
    model, rows = NETWORKS["relu_module"]()
    with pytest.raises(NotApplicable, match="function of several outputs"):
        explained(model, rows, "deeplift", target=lambda outputs: outputs.square().sum(1))
    e = explained(model, rows, "deeplift", target=(0, 1))
    assert np.nanmax(e.gap) <= 1e-5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_walked_in_single(dtype: torch.dtype) -> None:
    model, rows = built("relu_functional", torch.float32)
    due = explained(model, rows, "deeplift", target=0).values
    e = explained(model.to(dtype), rows.to(dtype), "deeplift", target=0)
    assert np.abs(e.values - due).max() <= 0.05 * np.abs(due).max()


def test_tokens_are_walked_by_their_embeddings() -> None:
    """A token's part is the sum over its vector; the reference token is looked up likewise."""

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 2)

        def forward(self, ids: Tensor) -> Tensor:
            return self.head(F.gelu(self.embed(ids)).mean(1))

    torch.manual_seed(0)
    model = Tokens().eval()
    rows, start = torch.tensor([[3, 5, 3], [1, 1, 7]]), torch.zeros(1, 3, dtype=torch.long)
    e = explained(model, rows, "deeplift", start, target=0)
    with torch.no_grad():
        vectors, absent = model.embed(rows), model.embed(start)
        due = ((F.gelu(vectors) - F.gelu(absent)) / 3 @ model.head.weight[0]).numpy()
    assert np.allclose(e.values, due, atol=1e-6)
    assert "by_embeddings" in {caution.code for caution in e.warnings}
