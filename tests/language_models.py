"""Tiny folders of the transformers library, made here without any download: what every text test is made on.

``built(name)`` gives a model in eval mode and its tokenizer (for ``vit_images`` its image processor), the same on every
call; ``saved(name, folder)`` writes both the way their own library does. The weights are random and large enough that
every token matters; a test that needs a model which knows something trains it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    DistilBertForQuestionAnswering,
    DistilBertForSequenceClassification,
    DistilBertForTokenClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
)

TEXTS = (
    "The film was wonderful, and the actors were great.",
    "A dull, boring story. I did not like it at all!",
    "Anna Schmidt lives in Berlin. She works for Siemens.",
    "Where does the young painter from Paris live today?",
    "Naïve café owners don't always enjoy unbelievable prices…",
    "这部电影非常好看。我不喜欢那个演员。",
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "An unhappy ending ruined the otherwise brilliant performance.",
)
"""What the tokenizers learn from: English with accents and contractions, and Chinese."""

CLASSES = ("bad", "good")
TAGS = ("O", "B-person", "I-person", "B-place", "I-place")
LONGEST = 64
"""Tokens that the models of text take at most."""
SEED = 17


# Tokenizers --------------------------------------------------------------------------------------------------------


def word_piece(texts: Iterable[str] = TEXTS, size: int = 200, longest: int = LONGEST) -> PreTrainedTokenizerFast:
    """BERT's own: lower case, accents off, Chinese by character, pieces that begin with ``##``."""
    normalise, split = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [word for text in texts for word, _ in split.pre_tokenize_str(normalise.normalize_str(text))]
    vocabulary = {piece: place for place, piece in enumerate(_pieces(words, size))}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalise, split  # pyright: ignore[reportAttributeAccessIssue]
    made.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue]
    ends = [(name, made.token_to_id(name)) for name in ("[CLS]", "[SEP]")]
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=longest, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]",
        sep_token="[SEP]", mask_token="[MASK]",
    )  # fmt: skip


def _pieces(words: list[str], size: int) -> list[str]:
    """Every character, then what covers most of the words: their own trainer breaks ties by chance."""
    covers: Counter[str] = Counter()
    for word in words:
        covers.update({word[:stop]: stop for stop in range(2, len(word) + 1)})
        covers.update({f"##{word[start:]}": len(word) - start for start in range(1, len(word))})
    single = sorted({letter for word in words for letter in word})
    alphabet = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *single, *(f"##{letter}" for letter in single)]
    ranked = sorted(covers.keys() - set(alphabet), key=lambda piece: (-covers[piece], piece))
    return alphabet + ranked[: max(0, size - len(alphabet))]


def byte_level(texts: Iterable[str] = TEXTS, size: int = 400, longest: int = LONGEST) -> PreTrainedTokenizerFast:
    """GPT-2's own: merges of bytes, so that nothing is unknown and one character may be several tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    made.post_processor = processors.ByteLevel(trim_offsets=True)  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["<|endoftext|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    made.train_from_iterator(texts, trainer)
    end = "<|endoftext|>"
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=longest, bos_token=end, eos_token=end, unk_token=end
    )


def word_level(texts: Iterable[str] = TEXTS, longest: int = LONGEST) -> PreTrainedTokenizerFast:
    """Whole words and marks between them, ``<s>`` in front; what it never saw is ``<unk>``."""
    special = ["<pad>", "<unk>", "<s>", "</s>"]
    made = Tokenizer(models.WordLevel(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    made.train_from_iterator(texts, trainers.WordLevelTrainer(special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(  # pyright: ignore[reportAttributeAccessIssue]
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", made.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, model_max_length=longest, pad_token="<pad>", unk_token="<unk>", bos_token="<s>",
        eos_token="</s>",
    )  # fmt: skip


# Models ------------------------------------------------------------------------------------------------------------


def _bert(kind: type, **more: Any) -> tuple[Any, Any]:
    words = word_piece()
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=LONGEST, initializer_range=0.2, pad_token_id=0, **more,
    )  # fmt: skip
    return kind(config), words


def _distilbert(kind: type, **more: Any) -> tuple[Any, Any]:
    words = word_piece()
    config = DistilBertConfig(
        vocab_size=len(words), dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=LONGEST,
        initializer_range=0.2, pad_token_id=0, **more,
    )  # fmt: skip
    return kind(config), words


def _gpt2(kind: type, **more: Any) -> tuple[Any, Any]:
    words = byte_level()
    if "num_labels" in more:
        words.pad_token = words.eos_token
        more["pad_token_id"] = 0
    config = GPT2Config(
        vocab_size=len(words), n_embd=32, n_layer=2, n_head=4, n_positions=LONGEST, initializer_range=0.2,
        bos_token_id=0, eos_token_id=0, **more,
    )  # fmt: skip
    return kind(config), words


def _llama() -> tuple[Any, Any]:
    words = word_level()
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        intermediate_size=64, max_position_embeddings=LONGEST, initializer_range=0.2, pad_token_id=0,
        bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    return LlamaForCausalLM(config), words


def _vit() -> tuple[Any, Any]:
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=16, patch_size=4,
        initializer_range=0.2, **_named(CLASSES),
    )  # fmt: skip
    return ViTForImageClassification(config), ViTImageProcessorPil(size={"height": 16, "width": 16})


def _named(labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "num_labels": len(labels),
        "id2label": dict(enumerate(labels)),
        "label2id": {name: place for place, name in enumerate(labels)},
    }


MODELS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "bert_classes": lambda: _bert(BertForSequenceClassification, **_named(CLASSES)),
    "bert_tags": lambda: _bert(BertForTokenClassification, **_named(TAGS)),
    "bert_questions": lambda: _bert(BertForQuestionAnswering),
    "bert_masked": lambda: _bert(BertForMaskedLM),
    "distilbert_classes": lambda: _distilbert(DistilBertForSequenceClassification, **_named(CLASSES)),
    "distilbert_tags": lambda: _distilbert(DistilBertForTokenClassification, **_named(TAGS)),
    "distilbert_questions": lambda: _distilbert(DistilBertForQuestionAnswering),
    "distilbert_masked": lambda: _distilbert(DistilBertForMaskedLM),
    "gpt2_classes": lambda: _gpt2(GPT2ForSequenceClassification, **_named(CLASSES)),
    "gpt2_causal": lambda: _gpt2(GPT2LMHeadModel),
    "llama_causal": _llama,
    "vit_images": _vit,
}
"""All of them by name: the architecture, and what it answers with."""


def built(name: str) -> tuple[Any, Any]:
    """A model of the table in eval mode with the weights of its own seed, and its tokenizer or image processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model, words = MODELS[name]()
    return model.eval(), words


def saved(name: str, folder: Path) -> Path:
    """The same as a folder: configuration, weights as safetensors, tokenizer or image processor."""
    model, words = built(name)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder
