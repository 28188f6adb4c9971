"""Rows of tokens as networks are given them: filled up, hidden, and told of types only where these are asked for."""

from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
import tokenizers
import torch
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import PreTrainedTokenizerFast

import pellucid
from pellucid.backends.tokenizer import Tokenizer
from pellucid.data.text_encoding import Vocabulary
from pellucid.removals import Hide, Replace

TEXT = "a fine film with a dull end"
WORDS = Vocabulary.of([TEXT])


class Untold(nn.Module):
    """A network that is not told which tokens are there: the mean over all it is given."""

    def __init__(self):
        super().__init__()
        self.vectors, self.out = nn.Embedding(len(WORDS), 4), nn.Linear(4, 1)

    def forward(self, ids):
        return self.out(self.vectors(ids).mean(1))


class Blank(Untold):
    """Nor this one, and what fills a row up is nothing to it: a sum over vectors, that of padding being zero."""

    def __init__(self):
        super().__init__()
        self.vectors = nn.Embedding(len(WORDS), 4, padding_idx=WORDS.pad)

    def forward(self, ids):
        return self.out(self.vectors(ids).sum(1))


class Typed(nn.Module):
    """A network that cannot be called without types."""

    def __init__(self):
        super().__init__()
        self.vectors, self.out = nn.Embedding(len(WORDS), 4), nn.Linear(4, 1)

    def forward(self, ids, attention_mask, token_type_ids):
        there = attention_mask[..., None].float()
        return self.out((self.vectors(ids + token_type_ids) * there).sum(1) / there.sum(1).clamp(min=1))


def _without(ask, tokens: torch.Tensor, absent: Sequence[int]) -> float:
    """The answer to one row of tokens, alone, without those at some places."""
    kept = [place for place in range(tokens.shape[1]) if place not in absent]
    with torch.no_grad():
        return float(ask(tokens[:, kept]))


def _shapley(ask, tokens: torch.Tensor, players: Sequence[int]) -> np.ndarray:
    """Shapley values of the tokens at some places, by every order in which they are deleted."""
    found = np.zeros(len(players))
    orders = list(permutations(range(len(players))))
    for order in orders:
        for count, player in enumerate(order):
            before, after = ([players[one] for one in order[:stop]] for stop in (count, count + 1))
            found[player] += _without(ask, tokens, before) - _without(ask, tokens, after)
    return found / len(orders)


def test_a_network_that_is_told_of_no_padding_is_given_none():
    torch.manual_seed(0)
    net = Untold()
    e = pellucid.explain(pellucid.wrap(net, encoding=WORDS), ["a fine dull film"], "exact_shapley", removal=Replace())
    tokens = torch.from_numpy(WORDS.encode(["a fine dull film"]).tokens)
    empty = torch.tensor([[WORDS.pad]])  # nothing cannot be asked for
    wanted = _shapley(lambda ids: net(ids if ids.shape[1] else empty), tokens, range(4))
    assert np.abs(e.values[0] - wanted).max() < 1e-6


def test_types_are_given_where_a_network_cannot_do_without():
    torch.manual_seed(0)
    net = Typed()
    e = pellucid.explain(pellucid.wrap(net, encoding=WORDS), [TEXT], "occlusion", removal=Replace())
    tokens = torch.from_numpy(WORDS.encode([TEXT]).tokens)

    def ask(ids):
        return net(ids, torch.ones_like(ids), torch.zeros_like(ids))

    wanted = [_without(ask, tokens, ()) - _without(ask, tokens, [place]) for place in range(7)]
    assert np.abs(e.values[0] - wanted).max() < 1e-6


def _explained(net, tokenizer, method: str, removal) -> np.ndarray:
    model = pellucid.wrap(net.eval(), encoding=tokenizer)
    return pellucid.explain(model, ["The film was great"], method, removal=removal, target=0).values[0]


def _ids(tokenizer) -> torch.Tensor:
    return torch.tensor([tokenizer("The film was great")["input_ids"]])


def _tiny(**more) -> dict:
    return {
        "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
        "max_position_embeddings": 64, "initializer_range": 0.3, "num_labels": 2, **more,
    }  # fmt: skip


def test_the_padding_is_that_by_which_the_network_finds_the_last_token():
    pytest.importorskip("transformers")
    from language_models import word_level
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    words = word_level()
    words.pad_token = None
    net = LlamaForSequenceClassification(LlamaConfig(vocab_size=len(words), pad_token_id=3, **_tiny()))
    found = _explained(net, words, "exact_shapley", Replace())
    wanted = _shapley(lambda ids: net(ids).logits[0, 0], _ids(words), range(1, 5))
    assert np.abs(found - wanted).max() < 1e-5


def test_a_hidden_token_keeps_its_place_where_places_are_counted_without_padding():
    pytest.importorskip("transformers")
    from language_models import word_level
    from transformers import RobertaConfig, RobertaForSequenceClassification

    torch.manual_seed(0)
    words = word_level()
    config = RobertaConfig(vocab_size=len(words), pad_token_id=0, **_tiny())
    net = RobertaForSequenceClassification(config)
    found, ids = _explained(net, words, "occlusion", Hide()), _ids(words)
    with torch.no_grad():
        full, wanted = net(ids).logits[0, 0], []
        for place in range(1, 5):
            seen = torch.ones_like(ids)
            seen[0, place] = 0
            wanted.append(float(full - net(ids, attention_mask=seen).logits[0, 0]))
    assert np.abs(found - wanted).max() < 1e-5


def test_a_network_that_reads_at_the_end_of_the_row_is_given_rows_of_one_length():
    pytest.importorskip("transformers")
    from language_models import word_level
    from transformers import XLNetConfig, XLNetForSequenceClassification

    torch.manual_seed(0)
    words = word_level()
    words.padding_side = "left"
    config = XLNetConfig(vocab_size=len(words), d_model=16, n_layer=1, n_head=2, d_inner=32, pad_token_id=0)
    net = XLNetForSequenceClassification(config).eval()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.3)
    found = _explained(net, words, "exact_shapley", Replace())
    wanted = _shapley(lambda ids: net(ids).logits[0, 0], _ids(words), range(1, 5))
    assert np.abs(found - wanted).max() < 1e-5


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize(
    "text",
    ["the film was wonderful and the end was dull", ("the film was wonderful", "a dull film was the end of a film")],
    ids=["one", "two"],
)
def test_what_is_too_long_is_cut_as_the_tokenizer_cuts_it(side: str, text: str | tuple[str, str]) -> None:
    tokenizer = saved_tokenizer(side)
    given = (text,) if isinstance(text, str) else text
    due = tokenizer(*given, truncation=True)["input_ids"]
    found = Tokenizer(tokenizer).encode([text])
    assert found.tokens[0].tolist() == due
    assert found.cut[0] == len(tokenizer(*given)["input_ids"]) - len(due) > 0
    shown = text if isinstance(text, str) else "\n".join(text)
    words = [shown[start:stop] for start, stop in found.spans[0] if start < stop]
    assert words == tokenizer.decode(due, skip_special_tokens=True).split()


def saved_tokenizer(side: str) -> PreTrainedTokenizerFast:
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *["the", "film", "was", "wonderful", "and", "end", "dull", "a", "of"]]
    made = tokenizers.Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = Whitespace()
    made.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        model_max_length=8, truncation_side=side,
    )  # fmt: skip


class Placed(nn.Module):
    """Words and their places, the table of places first: both are looked up, one is the words'."""

    def __init__(self):
        super().__init__()
        self.places, self.words, self.out = nn.Embedding(32, 4), nn.Embedding(len(WORDS), 4), nn.Linear(4, 1)

    def forward(self, ids, attention_mask):
        places = self.places(torch.arange(ids.shape[1], device=ids.device).expand_as(ids))
        return self.out(((self.words(ids) + places) * attention_mask[..., None]).sum(1))


def test_gradients_go_through_the_table_of_words_wherever_it_stands() -> None:
    torch.manual_seed(0)
    net = Placed().eval()
    found = pellucid.explain(pellucid.wrap(net, encoding=WORDS), [TEXT], "integrated_gradients", removal=Hide())
    ids = torch.tensor(WORDS.encode([TEXT]).tokens[0])
    due = (net.words(ids) @ net.out.weight[0]).detach().double().numpy()
    np.testing.assert_allclose(found.attributions[0, :, 0], due, atol=1e-6)


@pytest.mark.parametrize("method", ["occlusion", "exact_shapley"])
def test_hidden_words_that_are_read_as_padding_are_told(method: str):
    def told(net: nn.Module, method: str = method, **how) -> bool:
        model = pellucid.wrap(net.eval(), encoding=WORDS)
        found = pellucid.explain(model, ["a fine dull film"], method, **how)
        return "hidden_is_padding" in [caution.code for caution in found.warnings]

    assert told(Untold()) and not told(Untold(), removal=Replace())
    assert not told(Typed()) and not told(Blank())
    assert told(Untold(), "integrated_gradients")


@pytest.mark.parametrize("removal", [Hide(), Replace()])
def test_gradients_start_where_a_network_that_is_not_told_sees_padding(removal):
    """Where every word is hidden, and as near as a vector in each place comes to where every word is deleted."""
    torch.manual_seed(1)
    model = pellucid.wrap(Untold().eval(), encoding=WORDS)
    found = pellucid.explain(model, [TEXT], "integrated_gradients", target=0, removal=removal)
    due = pellucid.explain(model, [TEXT], "exact_shapley", target=0, removal=Hide())
    np.testing.assert_allclose(found.base, due.base, atol=1e-6)
    deleted = "deleted_in_place" in [caution.code for caution in found.warnings]
    assert deleted == isinstance(removal, Replace)


@pytest.mark.parametrize("side", ["left", "right"])
def test_where_texts_were_filled_up_in_training_is_no_reason_to_ask_for_each_length(side: str):
    """What fills a row up is ignored by a network that is told, on whichever side it was in training."""
    pytest.importorskip("transformers")
    from language_models import word_level
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(0)
    words = word_level()
    words.padding_side = side
    net = LlamaForSequenceClassification(LlamaConfig(vocab_size=len(words), pad_token_id=0, **_tiny())).eval()
    model, texts = pellucid.wrap(net, encoding=words), ["The film was great", "The film", "Great great film was was"]
    assert model.fills_up({"tokens": torch.from_numpy(model.encoding.encode(texts).tokens)})
    e = pellucid.explain(model, texts, "exact_shapley", removal=Replace(), target=0)
    for row, text in enumerate(texts):
        ids = torch.tensor([words(text)["input_ids"]])
        wanted = _shapley(lambda kept: net(kept).logits[0, 0], ids, range(1, ids.shape[1]))
        assert np.abs(e.values[row, : len(wanted)] - wanted).max() < 1e-5
