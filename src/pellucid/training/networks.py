"""Small networks for the demo and the benchmarks; each function builds one from plain numbers.

The functions serve as factories for weights files: ``factory="pellucid.training.networks:mlp"``
with ``arguments={"inputs": 30, "outputs": 2}``. Arguments can be written as JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from ..records.errors import ModelError, UnknownName

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}


def mlp(
    inputs: int, hidden: Sequence[int] = (32, 16), outputs: int = 2, activation: str = "relu", dropout: float = 0.0
) -> nn.Sequential:
    """Fully connected layers, ``Float[N, inputs] → Float[N, outputs]`` logits."""
    if activation not in ACTIVATIONS:
        raise UnknownName.among("activation", activation, ACTIVATIONS)
    layers: list[nn.Module] = []
    width = inputs
    for size in hidden:
        layers += [nn.Linear(width, size), ACTIVATIONS[activation]()]
        if dropout:
            layers.append(nn.Dropout(dropout))
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs))


def loan_network(activation: str = "tanh") -> nn.Sequential:
    """The network of the loan example, ``Float[N, 8] → Float[N, 1]``: one hidden layer of 16, one logit."""
    return mlp(8, (16,), 1, activation)


class SmallCNN(nn.Module):
    """Three batch-normed convolutions, a mean over the picture (or 4×4 parts of it) and a linear layer.

    ``Float[N, channels, height, width] → Float[N, classes]`` logits.
    """

    def __init__(self, channels: int, height: int, width: int, classes: int, base: int):
        super().__init__()
        sizes = (channels, base, 2 * base, 4 * base)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1, bias=False) for before, after in pairwise(sizes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(size) for size in sizes[1:])
        # A layer halves the picture only while at least 4 x 4 places remain, so 8 x 8 digits keep theirs.
        self.halve = tuple(min(height, width) >> (layer + 1) >= 4 for layer in range(3))
        self.head = nn.Linear(4 * base, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = images
        for convolution, norm, halve in zip(self.convolutions, self.norms, self.halve, strict=True):
            x = functional.relu(norm(convolution(x)))
            x = functional.max_pool2d(x, 2) if halve else x
        return self.head(x.mean((2, 3)))


def small_cnn(channels: int, height: int, width: int, classes: int, base: int = 16) -> SmallCNN:
    """A small convolutional network for pictures from 8×8 digits to 96×96 ultrasound."""
    if min(height, width) < 4:
        raise ModelError(f"pictures of {height} × {width} are too small", why="a side needs at least 4 pixels")
    return SmallCNN(channels, height, width, classes, base)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions with a shortcut around them (He et al. 2016, figure 5 left)."""

    def __init__(self, before: int, after: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = nn.Sequential()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        inner = functional.relu(self.first_norm(self.first(x)))
        return functional.relu(self.second_norm(self.second(inner)) + self.shortcut(x))


def resnet18_like(channels: int = 3, classes: int = 10) -> nn.Sequential:
    """A residual network of ResNet-18's shape: 7×7 stem, then widths 64-128-256-512, two blocks each.

    ``Float[N, channels, H, W] → Float[N, classes]`` logits; H, W ≥ 32. He et al. 2016, table 1;
    the weights of other libraries do not fit its names.
    """
    stem = nn.Sequential(
        nn.Conv2d(channels, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
    )
    stages, before = [], 64
    for width, stride in ((64, 1), (128, 2), (256, 2), (512, 2)):
        stages.append(nn.Sequential(BasicBlock(before, width, stride), BasicBlock(width, width, 1)))
        before = width
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, classes))


class EncoderBlock(nn.Module):
    """Self-attention, then two linear layers, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, inner: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, inner)
        self.narrow = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, tokens, width = x.shape
        parts = self.queries_keys_values(self.attention_norm(x)).view(rows, tokens, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(queries, keys, values)
        x = x + self.mix(attended.transpose(1, 2).reshape(rows, tokens, width))
        return x + self.narrow(functional.gelu(self.widen(self.norm(x))))


class TransformerEncoder(nn.Module):
    """Encoder blocks over token vectors, or over token ids when ``vocabulary`` is given; see the function."""

    def __init__(
        self, tokens: int, width: int, layers: int, heads: int, classes: int, inner: int, vocabulary: int | None
    ):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width) if vocabulary else None
        self.positions = nn.Parameter(0.02 * torch.randn(tokens, width))
        self.blocks = nn.ModuleList(EncoderBlock(width, heads, inner) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = tokens if self.embedding is None else self.embedding(tokens)
        x = x + self.positions[: x.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean(1))


def transformer_encoder(
    tokens: int = 64,
    width: int = 256,
    layers: int = 4,
    heads: int = 4,
    classes: int = 2,
    inner: int | None = None,
    vocabulary: int | None = None,
) -> TransformerEncoder:
    """A pre-norm transformer encoder with a mean over tokens.

    ``Float[N, tokens, width] → Float[N, classes]`` logits, or ``Int[N, tokens]`` with
    ``vocabulary``. ``inner`` is the width of the middle of each block's linear layers (4 × width).
    Vaswani et al. 2017; the norm stands before each part as in Xiong et al. 2020.
    """
    if width % heads:
        raise ModelError(f"a width of {width} cannot be shared among {heads} heads")
    return TransformerEncoder(tokens, width, layers, heads, classes, inner or 4 * width, vocabulary)
