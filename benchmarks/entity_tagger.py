"""A tagger of short posts that learns in two minutes: words by their company and their spelling, read by convolutions.

Nothing is pretrained elsewhere. What company words keep is counted in texts of other data sets as well (reviews,
comments), for 3,394 posts do not say that London and York are alike; how a word is spelt gives a vector to words that
no text held. After training each word's vector is fixed in a table, so that the network is a plain one: a table, then
three convolutions over the post.
"""

from __future__ import annotations

import csv
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

DATA = Path(__file__).resolve().parents[1] / "../shared/data"
KINDS = ("corporation", "creative-work", "group", "location", "person", "product")
TAGS = ("O", *(f"{letter}-{kind}" for kind in KINDS for letter in "BI"))
SPECIAL = ("[PAD]", "[UNK]", "[MASK]")
PAD, UNKNOWN, MASK, NO_TAG = 0, 1, 2, -100
LETTERS, AFFIXES, SHAPES = 16, 1500, 60
"""Letters of a word that are read (of a longer one the first and the last); affixes and shapes that are kept."""
WIDTH, COMPANY = 128, 100
"""Numbers of a word inside the network, and those that say what company it keeps."""
WEIGHT = 2.0
"""How much more a word of an entity counts in the loss than another: of twenty words nineteen are in none."""

Post = dict[str, Any]


def posts_of(name: str) -> list[Post]:
    """Posts ``{"tokens", "tags"}`` of a part of WNUT 17."""
    lines = (DATA / f"wnut17_ner/wnut17_{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


# What company words keep -------------------------------------------------------------------------------------------


def texts() -> Iterator[list[str]]:
    """Words in small letters of the training posts, reviews and comments; no tag or label is looked at."""
    for post in posts_of("train"):
        yield [word.lower() for word in post["tokens"]]
    for name in ("train_1000", "val_200"):
        with gzip.open(DATA / f"movie_rationales/movies_{name}.jsonl.gz", "rt", encoding="utf-8") as file:
            yield from (json.loads(line)["text"].lower().split() for line in file)
    for line in (DATA / "toxic_spans/toxic_spans_train_4000.jsonl").read_text(encoding="utf-8").splitlines():
        yield re.findall(r"\w+|[^\w\s]", json.loads(line)["text"].lower())
    for name in ("rt_polarity/rt_polarity.csv", "sst2/sst2_train.csv"):
        with open(DATA / name, encoding="utf-8") as file:
            yield from (row["text"].lower().split() for row in csv.DictReader(file))


def company(words_of_texts: Sequence[list[str]], fewest: int = 4, window: int = 3) -> dict[str, np.ndarray]:
    """A vector ``[100]`` for each word met at least four times: its positive pointwise mutual information with its
    neighbours, in the directions that vary most (Levy, Goldberg & Dagan 2015)."""
    import scipy.sparse as sparse
    from sklearn.utils.extmath import randomized_svd

    counts = Counter(word for text in words_of_texts for word in text)
    known = sorted(word for word, count in counts.items() if count >= fewest)
    number = {word: place for place, word in enumerate(known)}
    apart = [-1] * window
    line = np.concatenate([np.array([number.get(word, -1) for word in text] + apart) for text in words_of_texts])
    met = sparse.csr_matrix((len(known), len(known)))
    for step in range(1, window + 1):
        pairs = np.stack([line[:-step], line[step:]])
        pairs = pairs[:, (pairs >= 0).all(0)]
        met += sparse.coo_matrix((np.full(pairs.shape[1], 1 / step), tuple(pairs)), shape=met.shape).tocsr()
    met = (met + met.T).tocoo()
    sizes = np.asarray(met.sum(1)).ravel()
    smooth = sizes**0.75
    told = np.log(met.data * smooth.sum() / (sizes[met.row] * smooth[met.col])).clip(0)
    told = sparse.coo_matrix((told, (met.row, met.col)), shape=met.shape).tocsr()
    directions, strengths, _ = randomized_svd(told, COMPANY, random_state=0)
    vectors = (directions * np.sqrt(strengths)).astype(np.float32)
    return dict(zip(known, 0.3 * vectors / vectors.std(), strict=True))


# Words as vectors --------------------------------------------------------------------------------------------------


class Spelling(nn.Module):
    """A vector for each word of a vocabulary: its company, its letters, its shape, how it begins and ends."""

    def __init__(self, words: Sequence[str], train: Sequence[Post], vectors: dict[str, np.ndarray]):
        super().__init__()
        counts = Counter(word.lower() for post in train for word in post["tokens"])
        self.company = nn.Embedding.from_pretrained(_table(vectors), freeze=False)
        self.letters = nn.Embedding(len(_letters(train)) + 2, 25, padding_idx=0)
        self.read = nn.Conv1d(25, 50, 3, padding=1)
        self.shape, self.affix = nn.Embedding(SHAPES + 2, 15), nn.Embedding(AFFIXES + 1, 20, padding_idx=0)
        self.width = COMPANY + 50 + 15 + 2 * 20
        self.of = {name: torch.tensor(own) for name, own in _features(words, train, list(vectors)).items()}
        self.rare = torch.tensor([0.3 / (0.3 + counts[word.lower()]) for word in words])

    def forward(self, ids: Tensor) -> Tensor:
        """``Float[n, width]``; in training a rare word's company is forgotten at times, for then it is spelling that
        speaks."""
        own = self.of["company"][ids]
        if self.training:
            own = own.masked_fill(torch.rand(own.shape) < self.rare[ids], UNKNOWN)
        letters = torch.relu(self.read(self.letters(self.of["letters"][ids]).transpose(1, 2))).amax(2)
        ends = self.affix(self.of["affix"][ids]).flatten(1)
        return torch.cat([self.company(own), letters, self.shape(self.of["shape"][ids]), ends], 1)


def _table(vectors: dict[str, np.ndarray]) -> Tensor:
    """The vectors behind those of the special tokens, which are zero."""
    return torch.from_numpy(np.concatenate([np.zeros((len(SPECIAL), COMPANY), np.float32), [*vectors.values()]]))


def _letters(train: Sequence[Post]) -> dict[str, int]:
    return {c: place for place, c in enumerate(sorted({c for post in train for w in post["tokens"] for c in w}), 2)}


def _features(words: Sequence[str], train: Sequence[Post], met: Sequence[str]) -> dict[str, list[Any]]:
    """Each word's numbers in the tables; special tokens have the first of each."""
    seen = [word for post in train for word in post["tokens"]]
    letters, company = _letters(train), {word: place for place, word in enumerate(met, len(SPECIAL))}
    shapes = _ranked(map(shape_of, seen), SHAPES)
    affixes = _ranked((end for word in seen for end in _ends(word)), AFFIXES)
    found: dict[str, list[Any]] = {"company": [], "letters": [], "shape": [], "affix": []}
    for place, word in enumerate(words):
        special = place < len(SPECIAL)
        read = "" if special else word if len(word) <= LETTERS else word[: LETTERS // 2] + word[-LETTERS // 2 :]
        found["company"].append(place if special else company.get(word.lower(), UNKNOWN))
        found["letters"].append([*(letters.get(c, 1) for c in read), *[0] * (LETTERS - len(read))])
        found["shape"].append(0 if special else shapes.get(shape_of(word), SHAPES + 1))
        found["affix"].append([0, 0] if special else [affixes.get(end, 0) for end in _ends(word)])
    return found


def _ranked(names: Any, most: int) -> dict[str, int]:
    return {name: place for place, (name, _) in enumerate(Counter(names).most_common(most), 1)}


def shape_of(word: str) -> str:
    """Its kinds of letters, each run once: ``McDonald's`` is ``XxXx'x``."""
    plain = re.sub(r"[0-9]", "d", re.sub(r"[a-z]", "x", re.sub(r"[A-Z]", "X", word)))
    return re.sub(r"(.)\1+", r"\1", plain)[:6]


def _ends(word: str) -> tuple[str, str]:
    return "<" + word.lower()[:3], word.lower()[-3:] + ">"


# The network -------------------------------------------------------------------------------------------------------


class Body(nn.Module):
    """Tags from words' vectors ``Float[b, T, width]``: three convolutions, which see four words on each side."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.out = nn.Linear(width, WIDTH), nn.Linear(WIDTH + width, len(TAGS))
        steps = (1, 1, 2)
        self.blocks = nn.ModuleList(nn.Conv1d(WIDTH, WIDTH, 3, padding=step, dilation=step) for step in steps)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in steps)
        self.drop = nn.Dropout(0.5)

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        there = there[..., None].to(vectors.dtype)
        vectors = self.drop(vectors)
        x = self.first(vectors) * there
        for block, norm in zip(self.blocks, self.norms, strict=True):
            x = norm(x + torch.relu(block(self.drop(x).transpose(1, 2)).transpose(1, 2))) * there
        return self.out(torch.cat([self.drop(x), vectors], 2))


class Tagger(nn.Module):
    """The trained network: a table of vectors, and what reads them."""

    def __init__(self, table: Tensor, body: Body):
        super().__init__()
        self.table, self.body = nn.Embedding.from_pretrained(table), body

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.body(self.table(ids), attention_mask)


def vocabulary(posts: Sequence[Post]) -> list[str]:
    """The special tokens, then every word: what no training post held has a vector by its spelling."""
    return [*SPECIAL, *sorted({word for post in posts for word in post["tokens"]})]


def tokenizer_of(words: Sequence[str]) -> Any:
    """Every word a token."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token=SPECIAL[UNKNOWN]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    names = zip(("pad_token", "unk_token", "mask_token"), SPECIAL, strict=True)
    return PreTrainedTokenizerFast(tokenizer_object=made, **dict(names))


def trained(words: Sequence[str], train: Sequence[Post], times: int, seed: int = 0) -> tuple[Tagger, float]:
    """The network after so many times over the posts, and the seconds of one core that it took, vectors included."""
    start = time.process_time()
    torch.manual_seed(seed)
    rng, number = np.random.default_rng(seed), {word: n for n, word in enumerate(words)}
    spelling = Spelling(words, train, company(list(texts())))
    body = Body(spelling.width)
    weights = [p for part in (spelling, body) for p in part.parameters() if p.requires_grad]
    optimiser, loss_weights = torch.optim.AdamW(weights, lr=3e-3), torch.tensor([1.0, *[WEIGHT] * (len(TAGS) - 1)])
    batches = times * (len(train) // 16)
    for step, places in enumerate(_batches(train, times, rng)):
        ids, tags = _filled([train[place] for place in places], number)
        hidden = (torch.rand(ids.shape) < 0.05) & (ids > 0)  # it meets posts with words missing
        own, back = ids.masked_fill(hidden, MASK).unique(return_inverse=True)
        logits = body(spelling(own)[back], ids > 0)
        loss = cross_entropy(logits.flatten(0, 1), tags.flatten(), weight=loss_weights, ignore_index=NO_TAG)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 5.0)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * (1 - step / batches) + 1e-5
        optimiser.step()
    with torch.no_grad():
        table = spelling.eval()(torch.arange(len(words)))
    return Tagger(table, body).eval(), time.process_time() - start


def _batches(train: Sequence[Post], times: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Sixteen posts of like length at a time, in random order."""
    for _ in range(times):
        order = np.argsort([len(post["tokens"]) + 3 * rng.random() for post in train])
        parts = np.array_split(order, len(train) // 16)
        yield from (parts[place] for place in rng.permutation(len(parts)))


def _filled(posts: Sequence[Post], number: dict[str, int]) -> tuple[Tensor, Tensor]:
    """Tokens and tags, filled up to the longest post."""
    ids = torch.zeros(len(posts), max(len(post["tokens"]) for post in posts), dtype=torch.long)
    tags = torch.full_like(ids, NO_TAG)
    for row, post in enumerate(posts):
        ids[row, : len(post["tokens"])] = torch.tensor([number[word] for word in post["tokens"]])
        tags[row, : len(post["tags"])] = torch.tensor([TAGS.index(tag) for tag in post["tags"]])
    return ids, tags
