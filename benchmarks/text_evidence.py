"""Do explanations of texts point where people pointed? Small networks on texts with marked evidence, beside controls.

    python benchmarks/text_evidence.py [--write] [--data FOLDER] [--only NAME …] [--skip METHOD …] [--rows N]

Trains a network on each data set in a minute or two, explains test texts that it gets right by every method that
applies, and scores AUROC and AUPRC against the marked passages, word by word, and ERASER's comprehensiveness and
sufficiency; controls are scored on the very same texts. Data sets that are absent are left out.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from pages import publish
from report import machine, versions
from torch import Tensor, nn

import pellucid
from pellucid.catalog import everything
from pellucid.data.boundaries import sentences_of
from pellucid.data.text_encoding import Vocabulary
from pellucid.doors.question import as_problem
from pellucid.doors.regions import as_regions
from pellucid.engine.budget import Budget
from pellucid.engine.engine import answers
from pellucid.problem.model import Model
from pellucid.records.errors import PellucidError
from pellucid.records.explanation import Explanation
from pellucid.records.regions import Spans
from pellucid.training.fit import Adam, fit, fresh

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks" / "text_evidence.md"
DATA = ROOT / "../shared/data"
METRICS = ("evidence_auroc", "evidence_auprc", "comprehensiveness", "sufficiency")
LONGEST = 500
"""Words of the longest texts that are explained."""
OTHERS = ("smoothed",)  # it is another method around one, and stands for none of its own


class Bag(nn.Module):
    """The mean of the words' vectors, read by a layer of rectifiers."""

    def __init__(self, size: int, width: int = 64):
        super().__init__()
        self.embed, self.hidden, self.out = nn.Embedding(size, width), nn.Linear(width, 64), nn.Linear(64, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        there = attention_mask[:, :, None].to(self.embed.weight.dtype)
        mean = (self.embed(ids) * there).sum(1) / there.sum(1).clamp(min=1.0)
        return self.out(torch.relu(self.hidden(mean)))


class Windows(nn.Module):
    """A convolution over three words at a time, its rectified answers averaged over the text."""

    def __init__(self, size: int, width: int = 64):
        super().__init__()
        self.embed, self.look = nn.Embedding(size, width), nn.Conv1d(width, 96, 3, padding=1)
        self.out = nn.Linear(96, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        there = attention_mask[:, :, None].to(self.embed.weight.dtype)
        seen = torch.relu(self.look((self.embed(ids) * there).transpose(1, 2))).transpose(1, 2) * there
        return self.out(seen.sum(1) / there.sum(1).clamp(min=1.0))


class Padded(nn.Module):
    """The same network for the training loop, which knows rows of tokens with −1 behind them and no masks."""

    def __init__(self, network: nn.Module, lost: float):
        super().__init__()
        self.network, self.lost = network, lost

    def forward(self, tokens: Tensor) -> Tensor:
        kept = tokens[:, : int((tokens >= 0).sum(1).max())]
        there = kept >= 0
        if self.training:  # some words are lost, so that texts with words missing are met
            there = there & (torch.rand(kept.shape) >= self.lost)
        return self.network(kept.clamp(min=0) * there, there.long())


@dataclass(frozen=True)
class Texts:
    """Texts with their classes, and with the passages that people marked in those to be explained."""

    title: str
    about: str
    network: Callable[..., nn.Module]
    names: tuple[str, str]
    train: tuple[list[str], np.ndarray]
    test: tuple[list[str], np.ndarray]
    evidence: Spans
    only: int | None
    epochs: int
    rows: int
    evaluations: int


def movies(folder: Path) -> Texts:
    """Whole reviews; learned from reviews and from single sentences of others, which say more by the word."""
    train = pellucid.read(folder / "movie_rationales/movies_train_1000.jsonl.gz", label="label")
    test = pellucid.read(folder / "movie_rationales/movies_val_200.jsonl.gz", label="label")
    short = pellucid.read(folder / "rt_polarity/rt_polarity.csv", label="label")
    assert test.evidence is not None
    texts, labels = [*train.features, *short.features], np.concatenate([train.labels, short.labels])
    about = "1,000 reviews and 7,962 single sentences to learn from; what people marked speaks for the review's label"
    return Texts("film reviews", about, Bag, ("NEG", "POS"), (texts, labels), (test.features, test.labels),
                 test.evidence, None, 3, 30, 1500)  # fmt: skip


def toxic(folder: Path) -> Texts:
    """Sentences of comments: those that hold a marked passage are toxic, the others of the same comments are not."""
    parts = []
    for name in ("toxic_spans_train_4000.jsonl", "toxic_spans_trial.jsonl"):
        data = pellucid.read(folder / "toxic_spans" / name)
        assert data.evidence is not None
        parts.append(_sentences(data.features, data.evidence))
    (texts, labels, _), (shown, true, evidence) = parts
    about = "sentences of 4,000 comments to learn from, of 690 others to explain; only toxic ones are explained"
    return Texts("toxic comments", about, Windows, ("civil", "toxic"), (texts, labels), (shown, true), evidence, 1, 3,
                 200, 1024)  # fmt: skip


def _sentences(texts: list[str], evidence: Spans) -> tuple[list[str], np.ndarray, Spans]:
    found, labels, passages = [], [], []
    for text, own in zip(texts, evidence.passages, strict=True):
        for start, stop in sentences_of(text):
            if len(text[start:stop].split()) < 4:
                continue
            marked = [(max(a, start) - start, min(b, stop) - start) for a, b in own if a < stop and b > start]
            found.append(text[start:stop])
            labels.append(int(bool(marked)))
            passages.append(marked)
    return found, np.array(labels), Spans.of(found, passages)


SETS: dict[str, Callable[[Path], Texts]] = {"movie_rationales": movies, "toxic_spans": toxic}


def trained(texts: Texts) -> tuple[Model, float, float]:
    """The network as a model of texts, its accuracy on the test texts, the seconds that training took."""
    began = time.perf_counter()
    words = Vocabulary.of(texts.train[0], 12_000)
    network = fresh(texts.network, 0, size=len(words))
    order = np.random.default_rng(0).permutation(len(texts.train[0]))
    tokens = torch.from_numpy(words.encode(texts.train[0]).tokens)[order]
    fit(Padded(network, 0.1), (tokens, texts.train[1][order]), epochs=texts.epochs, seed=0, batch_size=32,
        optimiser=Adam(2e-3))  # fmt: skip
    seconds = time.perf_counter() - began
    network.eval().requires_grad_(False)
    shown = torch.from_numpy(words.encode(texts.test[0]).tokens)
    right = Padded(network, 0.0).eval()(shown).argmax(1).numpy() == texts.test[1]
    return pellucid.wrap(network, encoding=words, outputs=texts.names), float(right.mean()), seconds


@dataclass(frozen=True)
class Judged:
    """A data set's results: method → metric → (mean, standard error); and method → seconds a text, or why not."""

    texts: Texts
    accuracy: float
    seconds: float
    rows: int
    words: float
    share: float
    scores: dict[str, dict[str, tuple[float, float]]]
    times: dict[str, float]
    refused: dict[str, str]


def judged(texts: Texts, skip: list[str], rows: int | None) -> Judged:
    """Every method that applies on test texts that are classed rightly and hold evidence."""
    model, accuracy, seconds = trained(texts)
    shown, labels = texts.test
    outputs = answers(as_problem(model, shown)).argmax(1)
    held = np.array([bool(own) for own in texts.evidence.passages])
    held &= np.array([len(text.split()) <= LONGEST for text in shown])
    wanted = (outputs == labels) & held & (labels == texts.only if texts.only is not None else True)
    chosen = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(wanted))[: rows or texts.rows])
    batch, evidence = [shown[place] for place in chosen], texts.evidence[chosen]
    explained, times, refused = {}, {}, {}
    for name, method in _asked(texts, skip).items():
        began = time.perf_counter()
        try:
            explained[name] = pellucid.explain(model, batch, method, budget=Budget(evaluations=texts.evaluations))
            times[name] = (time.perf_counter() - began) / len(batch)
            print(f"{texts.title}: {name} in {times[name]:.3f} s a text", flush=True)
        except PellucidError as error:
            refused[name] = error.what
    found = pellucid.evaluate(model, batch, explained, metrics=list(METRICS), truth=evidence, controls=False)
    scores: dict[str, dict[str, tuple[float, float]]] = {name: {} for name in explained}
    for score in found:
        known = score.values[np.isfinite(score.values)]
        scores[score.method][score.metric] = (float(known.mean()), float(known.std(ddof=1) / len(known) ** 0.5))
    players = next(iter(explained.values())).players
    inside = as_regions(as_problem(model, batch, players=players), evidence).inside
    share, words = float(np.nanmean(np.nanmean(inside, 1))), float(players.counts.mean())
    return Judged(texts, accuracy, seconds, len(batch), words, share, scores, times, refused)


def _asked(texts: Texts, skip: list[str]) -> dict[str, object]:
    """Every method that gives numbers to players, by name, and the controls."""
    kinds = {name: kind for name, kind in everything("methods").items() if kind.answers is Explanation}
    methods = {name: kind() for name, kind in kinds.items() if kind.role == "method" and name not in (*OTHERS, *skip)}
    rare = pellucid.methods.Frequency(texts=tuple(texts.train[0]))
    return {**methods, "random": "random", "word_length": "word_length", "frequency": rare}


ABOUT = """
Networks with a vocabulary of their own, learned here in a minute or two: the mean of word vectors read by a hidden
layer for the long reviews, a convolution over three words for the short comments. Test texts that are classed rightly
and hold marked passages, of 500 words at most, are explained for the predicted class, word by word; absent words are
hidden from the network. Methods that ask coalition by coalition have 1,024 evaluations a short text, 1,500 a long
one. A word is evidence to the part of its letters that is marked; words rank by their signed values. ± is half of a
95 % interval over texts. Comprehensiveness (higher is better) and sufficiency (lower is better) are in logits.
Controls know nothing of the network; random numbers score an AUROC of ½ and an AUPRC of about the share of words that
is marked. Made by `python benchmarks/text_evidence.py --write`.

What people marked is what they would point at. A faithful explanation of a network that decides by other words scores
badly here and well by comprehensiveness: read the columns together.

The number of passes through the training texts was chosen by accuracy on the texts that are explained, so accuracies
are a little too high; the reviews were limited to 500 words after a first run in which most methods that ask coalition
by coalition refused the longest. On the reviews methods cannot be ranked: they lie within each other's intervals, and
the length of a word is as good a guess at what people marked as any of them. [Why](text_sentences.md): what people mark
are passages, and the network is middling; among whole sentences, and for a better model, methods are ahead of length.
"""


def lines(results: list[Judged]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Text evidence: do explanations point where people pointed?"
    yield ABOUT
    yield f"{date.today()}, {machine()}; {versions()}."
    yield ""
    for one in results:
        yield f"- **{one.texts.title}**: {one.texts.about}. Accuracy {one.accuracy:.1%} after {one.seconds:.0f} s;"
        yield f"  {one.rows} texts explained, {one.words:.0f} words each on average, {one.share:.1%} of them marked."
    for one in results:
        yield ""
        yield f"## {one.texts.title.capitalize()}"
        yield ""
        yield "| method | AUROC | AUPRC | comprehensiveness | sufficiency | s a text |"
        yield "|---|---|---|---|---|---|"
        ranked = sorted(one.scores, key=lambda name: -one.scores[name]["evidence_auprc"][0])
        for method in ranked:
            told = " | ".join("{:.3f} ± {:.3f}".format(*_half(one.scores[method][metric])) for metric in METRICS)
            control = "control: " if everything("methods")[method].role == "control" else ""
            yield f"| {control}{method} | {told} | {one.times[method]:.3f} |"
        yield ""
        yield f"Not applicable: {'; '.join(f'{name} ({why})' for name, why in sorted(one.refused.items()))}."


def _half(pair: tuple[float, float]) -> tuple[float, float]:
    return pair[0], 1.96 * pair[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds the data sets")
    parser.add_argument("--rows", type=int, help="texts explained of each data set")
    parser.add_argument("--only", nargs="*", choices=list(SETS), default=list(SETS))
    parser.add_argument("--skip", nargs="*", default=[], help="methods to leave out")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    results = []
    for name in given.only:
        if not (given.data / name).exists():
            print(f"{name} is not in {given.data}: left out")
            continue
        results.append(judged(SETS[name](given.data), given.skip, given.rows))
    publish(lines(results), PAGE, given.write)


if __name__ == "__main__":
    main()
