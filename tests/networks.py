"""Small networks as people really write them, each with a few example rows: what every white-box method is tested on.

``NETWORKS[name]()`` gives a network in eval mode and rows ``Float32[4, …]``, the same on every call; ``built(name,
dtype)`` the same in another float type, ``exported`` a copy that went through ``torch.export``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROWS = 4
Built = tuple[nn.Module, Tensor]


# Multilayer perceptrons, the rectifier spelled in many ways -------------------------------------------------------


class Perceptron(nn.Module):
    """5 → 12 → 8 → 3 with one activation, a function or a module that is used twice."""

    def __init__(self, activation: Callable[[Tensor], Tensor]):
        super().__init__()
        self.first, self.second, self.last = nn.Linear(5, 12), nn.Linear(12, 8), nn.Linear(8, 3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.second(self.activation(self.first(x)))))


class ResidualPerceptron(nn.Module):
    """Two blocks whose sums are written in place, as in many a ResNet."""

    def __init__(self):
        super().__init__()
        self.into, self.one, self.two, self.out = (nn.Linear(*s) for s in ((5, 8), (8, 8), (8, 8), (8, 3)))
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu(self.into(x))
        for layer in (self.one, self.two):
            skip = h
            h = layer(h)
            h += skip
            h = self.relu(h)
        return self.out(h)


class Normalised(nn.Module):
    """Layer norm before each rectifier."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(5, 12), nn.LayerNorm(12), nn.ReLU(), nn.Linear(12, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Gated(nn.Module):
    """A gated perceptron: SiLU(Wx) ∘ Vx."""

    def __init__(self):
        super().__init__()
        self.gate, self.value, self.out = nn.Linear(5, 12), nn.Linear(5, 12), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.silu(self.gate(x)) * self.value(x))


class Classifier(nn.Module):
    """Answers with probabilities: a softmax is its last operation."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.body(x), dim=1)


class WeightTied(nn.Module):
    """One linear layer applied three times, with an in-place write of a slice between."""

    def __init__(self):
        super().__init__()
        self.step, self.out = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.clone()
        for _ in range(3):
            h = F.relu(self.step(h)) + x
        h[:, 0] = 0
        return self.out(h)


# Convolutions ------------------------------------------------------------------------------------------------------


class TiedPooling(nn.Module):
    """Max pooling over rectified, coarsely rounded rows: many windows have several winners."""

    def __init__(self):
        super().__init__()
        self.convolution, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(36, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.max_pool2d(F.relu(self.convolution(F.max_pool2d(x, 2))), 2).flatten(1))


class Block(nn.Module):
    """A residual block with batch norm; a 1 × 1 convolution where the shapes differ."""

    def __init__(self, given: int, made: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made)
        self.conv2, self.bn2 = nn.Conv2d(made, made, 3, 1, 1, bias=False), nn.BatchNorm2d(made)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Sequential(nn.Conv2d(given, made, 1, stride, bias=False), nn.BatchNorm2d(made))

    def forward(self, x: Tensor) -> Tensor:
        h = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        h += self.downsample(x)
        return self.relu(h)


class ResNet(nn.Module):
    """Convolution, batch norm, max pooling, two residual blocks, global average."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = Block(6, 6, 1), Block(6, 10, 2)
        self.avgpool, self.fc = nn.AdaptiveAvgPool2d(1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(torch.flatten(self.avgpool(self.layer2(self.layer1(h))), 1))


class Grouped(nn.Module):
    """Grouped, depthwise and dilated convolutions, group norm, hard swish: a MobileNet in small."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, groups=3), nn.GroupNorm(2, 6), nn.ReLU6(),
            nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), nn.Conv2d(6, 8, 1), nn.Hardswish(),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8 * 16, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class ConvNeXt(nn.Module):
    """Depthwise convolution, channels-last layer norm, GELU, a learned scale on the residual branch."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 2, 2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)
        self.scale, self.head = nn.Parameter(torch.full((8,), 0.5)), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        h = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        h = self.scale * self.narrow(F.gelu(self.wide(h)))
        return self.head((x + h.permute(0, 3, 1, 2)).mean((2, 3)))


class UNet(nn.Module):
    """One step down, one up by a transposed convolution, a concatenated skip; answers by the mean of each map."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(8, 4, 2, 2), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        skip = F.relu(self.down(x))
        h = F.relu(self.deep(F.max_pool2d(skip, 2)))
        return self.out(torch.cat([self.up(h), skip], 1)).mean((2, 3))


class TemporalConvolution(nn.Module):
    """Dilated causal convolutions over a series, padded on the left, with residuals."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv1d(c, 6, 3, dilation=2**d) for d, c in enumerate((2, 6, 6)))
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x
        for depth, layer in enumerate(self.layers):
            made = F.leaky_relu(layer(F.pad(h, (2 * 2**depth, 0))), 0.1)
            h = made + h if made.shape == h.shape else made
        return self.head(h[:, :, -1])


# Attention and recurrence ------------------------------------------------------------------------------------------


class Attention(nn.Module):
    """A pre-norm transformer block; attention fused into one operation, or written out."""

    def __init__(self, width: int, heads: int, fused: bool):
        super().__init__()
        self.heads, self.fused = heads, fused
        self.norm1, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            mixed = torch.softmax(q @ k.transpose(-2, -1) / (d // self.heads) ** 0.5, dim=-1) @ v
        x = x + self.proj(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class Transformer(nn.Module):
    """Two blocks over a sequence of vectors; answers by the mean token."""

    def __init__(self, fused: bool):
        super().__init__()
        self.place = nn.Parameter(torch.randn(1, 5, 8) / 4)
        self.blocks = nn.Sequential(Attention(8, 2, fused), Attention(8, 2, fused))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(x + self.place)).mean(1))


class VisionTransformer(nn.Module):
    """Patches of 4 × 4, a class token, two blocks with fused attention."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8) / 4)
        self.place = nn.Parameter(torch.randn(1, 5, 8) / 4)
        self.blocks = nn.Sequential(Attention(8, 2, True), Attention(8, 2, True))
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), tokens], 1) + self.place
        return self.head(self.norm(self.blocks(tokens))[:, 0])


class Encoder(nn.Module):
    """PyTorch's own encoder layer, whose fast path is another code in eval mode."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 1), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x)[:, 0])


class Mixer(nn.Module):
    """An MLP-Mixer block: one perceptron across tokens, one across channels."""

    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(8), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(5, 10), nn.GELU(), nn.Linear(10, 5))
        self.channels = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.tokens(self.norm1(x).mT).mT
        x = x + self.channels(self.norm2(x))
        return self.head(x.mean(1))


class Recurrent(nn.Module):
    """An LSTM or GRU over five steps; answers from the last one."""

    def __init__(self, kind: type[nn.LSTM] | type[nn.GRU]):
        super().__init__()
        self.recurrent, self.head = kind(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.recurrent(x)[0][:, -1])


# The table ---------------------------------------------------------------------------------------------------------


def _made(build: Callable[[], nn.Module], *shape: int, levels: int | None = None) -> Callable[[], Built]:
    """A builder with weights, running statistics and rows of its own seed; ``levels`` rounds the rows coarsely."""

    def builder() -> Built:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(17)
            net = build().eval()
            for module in net.modules():
                if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)):
                    module.weight.data.mul_(2)  # as made they leave all but nothing of the input
                if isinstance(module, nn.BatchNorm2d):
                    nn.init.normal_(module.running_mean, std=0.2)
                    nn.init.uniform_(module.running_var, 0.5, 1.5)
                    nn.init.uniform_(module.weight, 0.5, 1.5)
                    nn.init.normal_(module.bias, std=0.2)
            rows = torch.randn(ROWS, *shape)
        return net, rows if levels is None else (rows * levels).round() / levels

    return builder


NETWORKS: dict[str, Callable[[], Built]] = {
    "relu_module": _made(lambda: nn.Sequential(nn.Linear(5, 12), nn.ReLU(), nn.Linear(12, 3)), 5),
    "relu_reused": _made(lambda: Perceptron(nn.ReLU()), 5),
    "relu_in_place": _made(lambda: Perceptron(nn.ReLU(inplace=True)), 5),
    "relu_functional": _made(lambda: Perceptron(F.relu), 5),
    "relu_clamp": _made(lambda: Perceptron(lambda t: t.clamp(min=0)), 5),
    "relu_where": _made(lambda: Perceptron(lambda t: torch.where(t > 0, t, torch.zeros_like(t))), 5),
    "relu_maximum": _made(lambda: Perceptron(lambda t: torch.maximum(t, torch.zeros_like(t))), 5),
    "gelu": _made(lambda: Perceptron(nn.GELU()), 5),
    "silu": _made(lambda: Perceptron(F.silu), 5),
    "softplus": _made(lambda: Perceptron(nn.Softplus()), 5),
    "residual": _made(ResidualPerceptron, 5),
    "weight_tied": _made(WeightTied, 5),
    "layer_norm": _made(Normalised, 5),
    "gated": _made(Gated, 5),
    "softmax": _made(Classifier, 5),
    "max_pool_ties": _made(TiedPooling, 1, 12, 12, levels=1),
    "resnet": _made(ResNet, 3, 8, 8),
    "grouped": _made(Grouped, 3, 8, 8),
    "convnext": _made(ConvNeXt, 3, 8, 8),
    "unet": _made(UNet, 3, 8, 8),
    "tcn": _made(TemporalConvolution, 2, 9),
    "vit": _made(VisionTransformer, 3, 8, 8),
    "transformer_fused": _made(lambda: Transformer(True), 5, 8),
    "transformer_plain": _made(lambda: Transformer(False), 5, 8),
    "encoder": _made(Encoder, 5, 8),
    "mixer": _made(Mixer, 5, 8),
    "lstm": _made(lambda: Recurrent(nn.LSTM), 5, 8),
    "gru": _made(lambda: Recurrent(nn.GRU), 5, 8),
}
"""All of them by name. All ``relu_…`` but ``relu_module`` are one function in several spellings."""


def built(name: str, dtype: torch.dtype = torch.float64) -> Built:
    """A network of the table and its rows in a float type."""
    net, rows = NETWORKS[name]()
    return net.to(dtype), rows.to(dtype)


def exported(net: nn.Module, rows: Tensor) -> nn.Module:
    """A copy of ``net`` that went through ``torch.export`` with any number of rows."""
    program = torch.export.export(net, (rows,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    return program.module(check_guards=False)
