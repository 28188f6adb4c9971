"""Dropout left on in networks of tokens: the vectors behind the embedding, and texts filled up beside longer ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from language_models import built
from torch import Tensor, nn

import pellucid
from pellucid.data.text_encoding import Vocabulary
from pellucid.records.joining import joined

TEXTS = ["a fine film with a dull end", "a dull end", "fine"]
WORDS = Vocabulary.of(TEXTS)
M = 4


class Reader(nn.Module):
    """A transformer that is told which tokens are there."""

    def __init__(self, vocabulary: int):
        super().__init__()
        self.vectors = nn.Embedding(vocabulary, 8)
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, 0.3, batch_first=True), 2, enable_nested_tensor=False
        )
        self.drop, self.out = nn.Dropout(0.4), nn.Linear(8, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        there = attention_mask[..., None].to(self.out.weight.dtype)
        seen = self.layers(self.vectors(ids), src_key_padding_mask=~attention_mask.bool())
        return self.out(self.drop((seen * there).sum(1) / there.sum(1).clamp(min=1)))


def reader() -> nn.Module:
    torch.manual_seed(0)
    return Reader(len(WORDS)).double()


def told(model: Any, texts: list[str], method: str, **how: Any) -> Any:
    return pellucid.explain(model, texts, method, target=1, **how)


@pytest.mark.parametrize("method", ["exact_shapley", "integrated_gradients", "deeplift", "saliency"])
def test_a_text_is_explained_the_same_beside_longer_ones(method: str) -> None:
    model = pellucid.wrap(reader(), encoding=WORDS, stochastic=M)
    e = told(model, TEXTS, method)
    assert not {"batch_coupled", "not_repeatable", "place_coupled"} & {caution.code for caution in e.warnings}
    for row, text in enumerate(TEXTS):
        alone, n = told(model, [text], method), len(text.split())
        np.testing.assert_allclose(alone.values[0], e.values[row, :n], atol=1e-6)
        np.testing.assert_allclose(alone.spread[0], e.spread[row, :n], atol=1e-6)
    assert np.isfinite(e.spread[0]).all() and (e.spread[0] > 0).all()
    if method != "exact_shapley":  # torch's fast path answers NaN where all tokens are hidden; it is not taken here
        plain = told(pellucid.wrap(reader(), encoding=WORDS), TEXTS, method)
        assert np.nanmax(np.abs(plain.values - e.values)) > 1e-4


def test_contributions_of_vectors_add_up() -> None:
    model = pellucid.wrap(reader(), encoding=WORDS, stochastic=M)
    assert told(model, TEXTS, "integrated_gradients").gap.max() < 1e-3


def test_numbers_of_tokens_are_explained_behind_their_embedding() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.vectors, self.drop, self.out = nn.Embedding(9, 4), nn.Dropout(0.5), nn.Linear(12, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.drop(self.vectors(x).tanh()).flatten(1))

    torch.manual_seed(0)
    net, rows = Plain().double(), torch.tensor([[1, 2, 3], [4, 5, 6]])
    e = pellucid.explain(pellucid.wrap(net, stochastic=M), rows, "integrated_gradients", target=1)
    members = pellucid.wrap(net, stochastic=M).members
    assert members is not None
    by_hand = []
    for draw in range(M):
        vectors = net.vectors(rows).detach()
        total = torch.zeros_like(vectors)
        start = net.vectors(torch.zeros_like(rows)).detach()
        for step in (np.arange(2000) + 0.5) / 2000:
            leaf = (start + step * (vectors - start)).requires_grad_()
            stays = _mask(members, draw)
            out = net.out((leaf.tanh() * stays).flatten(1))[:, 1].sum()
            total += torch.autograd.grad(out, leaf)[0] / 2000
        by_hand.append(((vectors - start) * total).sum(2).numpy())
    np.testing.assert_allclose(e.values, np.mean(by_hand, axis=0), atol=1e-3)
    np.testing.assert_allclose(e.spread, np.std(by_hand, axis=0, ddof=1), atol=2e-3)


def _mask(members: Any, draw: int) -> Tensor:
    kept: list[Tensor] = []

    def note(_: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        kept.append(found / given[0])

    handle = members.model.module.drop.register_forward_hook(note)
    with members.model.untouched(), torch.no_grad():
        members.model.outputs({"inputs": torch.tensor([[1, 2, 3]]), "draw": torch.tensor([draw])})
    handle.remove()
    return kept[-1]


@pytest.mark.parametrize("name", ["bert_classes", "distilbert_classes"])
def test_networks_of_transformers(name: str) -> None:
    network, tokenizer = built(name)
    model = pellucid.wrap(network, encoding=tokenizer, stochastic=M)
    texts = ["The film was great.", "A dull story."]
    for method in ("integrated_gradients", "occlusion"):
        e = told(model, texts, method)
        assert np.isfinite(e.spread[0]).all() and e.spread[0].max() > 0
        alone = told(model, texts[1:], method)
        n = np.isfinite(alone.values[0]).sum()
        np.testing.assert_allclose(alone.values[0][:n], e.values[1][:n], atol=2e-4 * np.nanmax(np.abs(e.values)))
    text = {caution.code: caution.text() for caution in e.warnings}["dropout_on"]
    assert "attention" in text and "4 thinned networks" in text


def test_parts_of_a_batch_keep_their_spreads() -> None:
    model = pellucid.wrap(reader(), encoding=WORDS, stochastic=M)
    whole = told(model, TEXTS, "occlusion")
    parts = [(rows, told(model, [TEXTS[row] for row in rows], "occlusion")) for rows in ([0, 1], [2])]
    one = joined(parts, whole.players, whole.ids)
    assert one.spread is not None
    np.testing.assert_allclose(one.spread, whole.spread, atol=1e-6)
    np.testing.assert_allclose(one.notes["full_spread"], whole.notes["full_spread"], atol=1e-6)
