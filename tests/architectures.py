"""Thirty architectures as they are published, narrow: which of them can be walked back is counted.

Written from the papers, in the plain style of their usual implementations: in-place code, reshapes, functional calls.
``ARCHITECTURES[name]()`` gives a network in eval mode and two rows.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from networks import Attention, Transformer
from torch import Tensor, nn

Built = tuple[nn.Module, Tensor]


def conv_bn(given: int, made: int, size: int = 3, stride: int = 1, groups: int = 1, act: nn.Module | None = None):
    layers = [nn.Conv2d(given, made, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(made)]
    return nn.Sequential(*layers, *([] if act is None else [act]))


class Pooled(nn.Module):
    """A body, the global average, a linear head."""

    def __init__(self, body: nn.Module, width: int):
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.adaptive_avg_pool2d(self.body(x), 1).flatten(1))


# Convolutional networks ---------------------------------------------------------------------------------------------


class Basic(nn.Module):
    def __init__(self, given: int, made: int, stride: int, bottleneck: bool, groups: int = 1):
        super().__init__()
        inner = made // 2 if bottleneck else made
        steps = [conv_bn(given, inner, 1), conv_bn(inner, inner, 3, stride, groups), conv_bn(inner, made, 1)]
        self.steps = nn.ModuleList(steps if bottleneck else [conv_bn(given, made, 3, stride), conv_bn(made, made)])
        self.skip = nn.Identity() if given == made and stride == 1 else conv_bn(given, made, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for step in self.steps[:-1]:
            h = F.relu(step(h), inplace=True)
        h = self.steps[-1](h)
        h += self.skip(x)
        return F.relu_(h)


def resnet(blocks: tuple[int, ...], bottleneck: bool, groups: int = 1) -> nn.Module:
    layers, given = [conv_bn(3, 8, act=nn.ReLU(True)), nn.MaxPool2d(3, 2, 1)], 8
    for stage, count in enumerate(blocks):
        for block in range(count):
            layers.append(Basic(given, 8 * 2**stage, 2 if stage and not block else 1, bottleneck, groups))
            given = 8 * 2**stage
    return Pooled(nn.Sequential(*layers), given)


class Squeeze(nn.Module):
    """Squeeze and excitation."""

    def __init__(self, width: int, gate: nn.Module):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(width, width // 2, 1), nn.Conv2d(width // 2, width, 1), gate

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(self.up(F.relu(self.down(x.mean((2, 3), keepdim=True)))))


class Inverted(nn.Module):
    """MobileNetV2's block, V3's and EfficientNet's with squeeze and excitation."""

    def __init__(self, given: int, made: int, act: nn.Module, squeeze: nn.Module | None):
        super().__init__()
        wide = 2 * given
        middle = [] if squeeze is None else [squeeze]
        self.body = nn.Sequential(
            conv_bn(given, wide, 1, act=act),
            conv_bn(wide, wide, 3, groups=wide, act=act),
            *middle,
            conv_bn(wide, made, 1),
        )
        self.same = given == made

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x) if self.same else self.body(x)


def inverted(act: nn.Module, squeeze: Callable[[int], nn.Module | None]) -> nn.Module:
    blocks = [Inverted(a, b, act, squeeze(2 * a)) for a, b in ((8, 8), (8, 12), (12, 12))]
    return Pooled(nn.Sequential(conv_bn(3, 8, stride=2, act=act), *blocks), 12)


class ConvNeXtBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.dw, self.norm = nn.Conv2d(width, width, 7, padding=3, groups=width), nn.LayerNorm(width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 0.3))

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(F.gelu(self.up(self.norm(self.dw(x).permute(0, 2, 3, 1)))))
        return x + (self.gamma * h).permute(0, 3, 1, 2)


class DenseNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4, 3, padding=1)) for c in (3, 7, 11)
        )
        self.transition, self.head = nn.Conv2d(15, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return self.head(F.avg_pool2d(self.transition(x), 2).mean((2, 3)))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.three, self.five = conv_bn(3, 4, 1), conv_bn(3, 4, 3), conv_bn(3, 4, 5)
        self.pooled, self.head = conv_bn(3, 4, 1), nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        parts = [F.relu(layer(x)) for layer in (self.one, self.three, self.five)]
        parts.append(F.relu(self.pooled(F.max_pool2d(x, 3, 1, 1))))
        return self.head(F.adaptive_max_pool2d(torch.cat(parts, 1), 1).flatten(1))


class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.branch, self.head = conv_bn(3, 8, act=nn.ReLU()), conv_bn(4, 4, groups=4), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept, worked = self.stem(x).chunk(2, dim=1)
        h = torch.cat((kept, self.branch(worked)), dim=1)
        b, c, height, width = h.shape
        h = h.view(b, 2, c // 2, height, width).transpose(1, 2).reshape(b, c, height, width)
        return self.head(h.mean([2, 3]))


class AlexNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(inplace=True), nn.LocalResponseNorm(3), nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Dropout(),
            nn.Linear(32, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class UNet(nn.Module):
    """Two steps down and up; one answer for each class, the mean of its map."""

    def __init__(self, transposed: bool):
        super().__init__()
        self.down = nn.ModuleList(conv_bn(a, b, act=nn.ReLU(True)) for a, b in ((3, 4), (4, 8), (8, 12)))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 2, 2) if transposed
            else nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), nn.Conv2d(a, b, 1))
            for a, b in ((12, 8), (8, 4))
        )  # fmt: skip
        self.fuse = nn.ModuleList(conv_bn(2 * b, b, act=nn.ReLU(True)) for b in (8, 4))
        self.out = nn.Conv2d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for place, layer in enumerate(self.down):
            x = layer(x if place == 0 else F.max_pool2d(x, 2))
            skips.append(x)
        for up, fuse, skip in zip(self.up, self.fuse, skips[-2::-1], strict=True):
            x = fuse(torch.cat([up(x), skip], dim=1))
        return self.out(x).mean((2, 3))


# Attention ---------------------------------------------------------------------------------------------------------


class Swin(nn.Module):
    """Two blocks of windowed attention, the second shifted, with relative position biases; patch merging between."""

    def __init__(self, width: int = 8, window: int = 2):
        super().__init__()
        self.patch, self.window = nn.Conv2d(3, width, 2, 2), window
        self.norm, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.bias = nn.Parameter(torch.randn((2 * window - 1) ** 2, 2) / 2)
        steps = torch.stack(torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")).flatten(1)
        relative = (steps[:, :, None] - steps[:, None]).permute(1, 2, 0) + window - 1
        self.register_buffer("index", relative[..., 0] * (2 * window - 1) + relative[..., 1])
        self.merge, self.head = nn.Linear(4 * width, 2 * width, bias=False), nn.Linear(2 * width, 4)

    def attend(self, x: Tensor, shift: int) -> Tensor:
        b, h, w, c = x.shape
        n = self.window
        y = torch.roll(self.norm(x), (-shift, -shift), (1, 2))
        y = y.view(b, h // n, n, w // n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, n * n, c)
        q, k, v = self.qkv(y).reshape(-1, n * n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        scores = q @ k.transpose(-2, -1) * (c // 2) ** -0.5
        bias = self.bias[self.index.view(-1)].view(n * n, n * n, 2).permute(2, 0, 1)
        y = ((scores + bias[None]).softmax(-1) @ v).transpose(1, 2).reshape(-1, n * n, c)
        y = self.proj(y).view(b, h // n, w // n, n, n, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
        return x + torch.roll(y, (shift, shift), (1, 2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.attend(self.attend(self.patch(x).permute(0, 2, 3, 1), 0), self.window // 2)
        x = torch.cat([x[:, a::2, b::2] for a, b in ((0, 0), (1, 0), (0, 1), (1, 1))], -1)
        return self.head(self.merge(x).mean((1, 2)))


class RMSNorm(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        return self.weight * (h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)).to(x.dtype)


class Llama(nn.Module):
    """Rotary positions, grouped key-value heads, a causal mask, RMS norm, SwiGLU; the last token answers."""

    def __init__(self, width: int = 8):
        super().__init__()
        self.norm1, self.norm2, self.norm3 = RMSNorm(width), RMSNorm(width), RMSNorm(width)
        self.q, self.k, self.v = nn.Linear(width, width), nn.Linear(width, 4), nn.Linear(width, 4)
        self.o, self.gate, self.up = nn.Linear(width, width), nn.Linear(width, 16), nn.Linear(width, 16)
        self.down, self.head = nn.Linear(16, width), nn.Linear(width, 5, bias=False)

    @staticmethod
    def turned(x: Tensor) -> Tensor:
        t, d = x.shape[-2:]
        angles = torch.arange(t, dtype=torch.float32)[:, None] / 10000 ** (torch.arange(0, d, 2).float() / d)
        cos, sin = (f(torch.cat([angles, angles], -1)).to(x.dtype) for f in (torch.cos, torch.sin))
        one, two = x.chunk(2, -1)
        return x * cos + torch.cat([-two, one], -1) * sin

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        h = self.norm1(x)
        q = self.turned(self.q(h).view(b, t, 2, 4).transpose(1, 2))
        k = self.turned(self.k(h).view(b, t, 1, 4).transpose(1, 2)).repeat_interleave(2, 1)
        v = self.v(h).view(b, t, 1, 4).transpose(1, 2).repeat_interleave(2, 1)
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, t, d))
        h = self.norm2(x)
        x = x + self.down(F.silu(self.gate(h)) * self.up(h))
        return self.head(self.norm3(x)[:, -1])


class Perceiver(nn.Module):
    """A few learned queries attend to the rows, with torch's own attention layer."""

    def __init__(self):
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, 3, 8))
        self.attend, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(24, 4)

    def forward(self, x: Tensor) -> Tensor:
        mixed, _ = self.attend(self.latents.expand(x.shape[0], -1, -1), x, x, need_weights=False)
        return self.head(mixed.flatten(1))


class GatedMlp(nn.Module):
    """gMLP: a spatial gating unit (Liu et al. 2021)."""

    def __init__(self):
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(8, 8)
        self.gate_norm, self.spatial, self.head = nn.LayerNorm(8), nn.Conv1d(5, 5, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        u, v = F.gelu(self.wide(self.norm(x))).chunk(2, dim=-1)
        return self.head((x + self.narrow(u * self.spatial(self.gate_norm(v)))).mean(1))


# Series, sets, graphs, tables ---------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase], layers: int, both: bool):
        super().__init__()
        self.body = kind(4, 6, layers, batch_first=True, bidirectional=both, dropout=0.1 if layers > 1 else 0.0)
        self.head = nn.Linear(12 if both else 6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)[0].mean(1))


class Cells(nn.Module):
    """An LSTM cell called in a loop, with attention over its states."""

    def __init__(self):
        super().__init__()
        self.cell, self.score, self.head = nn.LSTMCell(4, 6), nn.Linear(6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(len(x), 6)
        states = []
        for step in range(x.shape[1]):
            h, c = self.cell(x[:, step], (h, c))
            states.append(h)
        H = torch.stack(states, 1)
        return self.head((torch.softmax(self.score(H), 1) * H).sum(1))


class WaveNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.gates = nn.ModuleList(nn.Conv1d(4, 8, 2, dilation=2**d) for d in range(3))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        for depth, gate in enumerate(self.gates):
            a, b = gate(F.pad(x, (2**depth, 0))).chunk(2, 1)
            x = x + torch.tanh(a) * torch.sigmoid(b)
        return self.head(x.amax(-1))


class TemporalBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 4, 3, dilation=d)) for d in (1, 2)
        )
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.transpose(1, 2)
        for layer, d in zip(self.layers, (1, 2), strict=True):
            h = F.relu(F.relu(layer(F.pad(h, (2 * d, 0)))) + h)
        return self.head(h[..., -1])


class PointNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared = nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8), nn.ReLU(), nn.Conv1d(8, 8, 1))
        self.head = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.ELU(), nn.Linear(8, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.max(self.shared(x.transpose(1, 2)), dim=2)[0])


EDGES = torch.tensor([[0, 1, 2, 3, 4, 0, 2], [1, 2, 3, 4, 0, 2, 0]])


class GraphConvolution(nn.Module):
    """Two layers over a fixed graph, by a normalised adjacency or by messages along edges."""

    def __init__(self, messages: bool):
        super().__init__()
        self.one, self.two, self.messages = nn.Linear(4, 6), nn.Linear(6, 3), messages
        adjacency = torch.eye(5).index_put((EDGES[0], EDGES[1]), torch.ones(7))
        self.register_buffer("adjacency", adjacency / adjacency.sum(1, keepdim=True))

    def gathered(self, h: Tensor) -> Tensor:
        if not self.messages:
            return torch.einsum("ij,bjd->bid", self.adjacency, h)
        return h.index_add(1, EDGES[0], h[:, EDGES[1]])

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.one(self.gathered(x)))
        return self.two(self.gathered(h)).mean(1)


class GraphAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.project, self.score, self.head = nn.Linear(4, 6), nn.Linear(12, 1), nn.Linear(6, 3)
        self.register_buffer("mask", torch.eye(5).index_put((EDGES[0], EDGES[1]), torch.ones(7)) == 0)

    def forward(self, x: Tensor) -> Tensor:
        h = self.project(x)
        n = h.shape[1]
        pairs = torch.cat([h[:, :, None].expand(-1, -1, n, -1), h[:, None].expand(-1, n, -1, -1)], -1)
        scores = F.leaky_relu(self.score(pairs)[..., 0], 0.2).masked_fill(self.mask, float("-inf"))
        return self.head(F.elu(torch.softmax(scores, -1) @ h).mean(1))


class FactorisationMachine(nn.Module):
    """DeepFM: pairwise products by the square of a sum, beside a deep part and a cross layer."""

    def __init__(self):
        super().__init__()
        self.factors = nn.Parameter(torch.randn(6, 4) / 2)
        self.cross, self.deep = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 8), nn.Mish(), nn.Linear(8, 1))

    def forward(self, x: Tensor) -> Tensor:
        v = x[..., None] * self.factors
        pairs = 0.5 * (v.sum(1) ** 2 - (v**2).sum(1)).sum(1, keepdim=True)
        return pairs + self.deep(x * self.cross(x) + x)


class TabTransformer(nn.Module):
    """A token for each column, torch's own encoder, a class token."""

    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(6, 8)), nn.Parameter(torch.randn(6, 8))
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True, activation="gelu")
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x[..., None] * self.weight + self.bias
        return self.head(self.encoder(torch.cat([self.token.expand(len(x), -1, -1), tokens], 1))[:, 0])


class Similarity(nn.Module):
    """A shared embedding, compared with prototypes by cosine, answered with a temperature."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
        self.prototypes = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return 10 * F.normalize(self.embed(x), dim=-1) @ F.normalize(self.prototypes, dim=-1).T


class Sparsemax(nn.Module):
    """TabNet's mask: a projection onto the simplex, which sorts."""

    def __init__(self):
        super().__init__()
        self.mask, self.head = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        z = self.mask(x)
        ordered = z.sort(-1, descending=True).values
        total = ordered.cumsum(-1) - 1
        support = (ordered - total / torch.arange(1, 7) > 0).sum(-1, keepdim=True)
        return self.head(x * (z - total.gather(-1, support - 1) / support).clamp(min=0))


def _made(build: Callable[[], nn.Module], *shape: int) -> Callable[[], Built]:
    def builder() -> Built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            return build().eval().requires_grad_(False), torch.randn(3, *shape)

    return builder


IMAGE = (3, 16, 16)
ARCHITECTURES: dict[str, Callable[[], Built]] = {
    "ResNet-18": _made(lambda: resnet((2, 2, 2, 2), False), *IMAGE),
    "ResNet-50": _made(lambda: resnet((3, 4, 6, 3), True), *IMAGE),
    "ResNeXt": _made(lambda: resnet((1, 1), True, groups=4), *IMAGE),
    "AlexNet": _made(AlexNet, 3, 24, 24),
    "DenseNet": _made(DenseNet, *IMAGE),
    "Inception": _made(Inception, *IMAGE),
    "MobileNetV2": _made(lambda: inverted(nn.ReLU6(True), lambda width: None), *IMAGE),
    "MobileNetV3": _made(lambda: inverted(nn.Hardswish(True), lambda width: Squeeze(width, nn.Hardsigmoid())), *IMAGE),
    "EfficientNet": _made(lambda: inverted(nn.SiLU(True), lambda width: Squeeze(width, nn.Sigmoid())), *IMAGE),
    "ShuffleNetV2": _made(ShuffleNet, *IMAGE),
    "ConvNeXt": _made(
        lambda: Pooled(nn.Sequential(nn.Conv2d(3, 8, 4, 4), ConvNeXtBlock(8), ConvNeXtBlock(8)), 8), *IMAGE
    ),
    "U-Net, transposed": _made(lambda: UNet(True), *IMAGE),
    "U-Net, bilinear": _made(lambda: UNet(False), *IMAGE),
    "Swin": _made(Swin, *IMAGE),
    "transformer, fused attention": _made(lambda: Transformer(True), 5, 8),
    "transformer, written out": _made(lambda: Transformer(False), 5, 8),
    "GPT block": _made(lambda: nn.Sequential(Attention(8, 2, True), nn.Flatten(), nn.Linear(40, 3)), 5, 8),
    "Llama": _made(Llama, 5, 8),
    "Perceiver": _made(Perceiver, 7, 8),
    "gMLP": _made(GatedMlp, 5, 8),
    "LSTM, two layers, both ways": _made(lambda: Recurrent(nn.LSTM, 2, True), 5, 4),
    "GRU": _made(lambda: Recurrent(nn.GRU, 1, False), 5, 4),
    "LSTM cells with attention": _made(Cells, 5, 4),
    "WaveNet": _made(WaveNet, 8, 4),
    "TCN, weight norm": _made(TemporalBlock, 8, 4),
    "PointNet": _made(PointNet, 9, 3),
    "graph convolution, adjacency": _made(lambda: GraphConvolution(False), 5, 4),
    "graph convolution, messages": _made(lambda: GraphConvolution(True), 5, 4),
    "graph attention": _made(GraphAttention, 5, 4),
    "DeepFM with cross layer": _made(FactorisationMachine, 6),
    "FT-Transformer": _made(TabTransformer, 6),
    "prototypes by cosine": _made(Similarity, 6),
    "TabNet (sparsemax)": _made(Sparsemax, 6),
}
"""All of them by name; the last one sorts, which has no rule."""
