"""Why words are not where people pointed in long reviews: the marks themselves, another model, whole sentences.

    python benchmarks/text_sentences.py [--write] [--data FOLDER] [--rows N]

Reviews of any length that a model classes rightly are explained word by word and sentence by sentence, and scored
against the marked passages: for the network of ``text_evidence.py``, and for a logistic regression that is right more
often. Beside them stand scores learned from the marks in the training reviews: what a word tells about being marked.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from pages import publish
from report import machine, versions
from text_evidence import DATA, ROOT, Texts, movies, trained

import pellucid
from pellucid.data.boundaries import home, sentences_of, words_of
from pellucid.doors.question import as_problem
from pellucid.engine.budget import Budget
from pellucid.engine.engine import answers
from pellucid.problem.model import Model
from pellucid.records.regions import Spans

PAGE = ROOT / "docs" / "benchmarks" / "text_sentences.md"
METRICS = ("evidence_auroc", "evidence_auprc")
NEIGHBOURS = 9
"""Words whose scores are averaged where a word is scored with its neighbours."""
EVALUATIONS = 512
Scored = dict[str, dict[str, tuple[float, float]]]
"""Way → metric → (mean, half of a 95 % interval)."""


@dataclass(frozen=True)
class Marks:
    """How often each word was marked in the training reviews, and how often it was not."""

    inside: Counter[str]
    outside: Counter[str]

    @classmethod
    def of(cls, texts: Sequence[str], evidence: Spans) -> Marks:
        found = cls(Counter(), Counter())
        for text, own in zip(texts, evidence.passages, strict=True):
            for (start, stop), place in zip(words := words_of(text), home(words, sorted(own)), strict=True):
                (found.outside if place < 0 else found.inside)[text[start:stop]] += 1
        return found

    def words(self, text: str) -> np.ndarray:
        """The log-odds of each word to be marked."""
        words = [text[slice(*span)] for span in words_of(text)]
        return np.array([np.log((self.inside[word] + 1) / (self.outside[word] + 10)) for word in words])

    def sentences(self, text: str) -> np.ndarray:
        """The mean over the words of each sentence."""
        return by_sentence(text, self.words(text)) / by_sentence(text, np.ones(len(words_of(text))))


def smoothed(values: np.ndarray) -> np.ndarray:
    """The mean over the words about each word."""
    return np.convolve(values, np.ones(NEIGHBOURS) / NEIGHBOURS, "same")


def by_sentence(text: str, values: np.ndarray) -> np.ndarray:
    """Values of words, summed in each sentence."""
    sentences = sentences_of(text)
    return np.bincount(home(words_of(text), sentences), values, minlength=len(sentences))


@dataclass(frozen=True)
class Judged:
    """One model: how well it classes, and what each way scored among words and among sentences."""

    name: str
    accuracy: float
    rows: int
    words: Scored
    sentences: Scored


def regression(texts: Texts) -> Model:
    """A logistic regression on words and pairs of words, weighed by their rarity: a black box of texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    counted = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=r"\S+")
    fitted = LogisticRegression(C=10).fit(counted.fit_transform(texts.train[0]), texts.train[1])

    def logits(rows: list[str]) -> np.ndarray:
        margin = fitted.decision_function(counted.transform(rows))
        return np.stack([-margin, margin], 1) / 2

    return pellucid.wrap(logits, outputs=texts.names)


def judged(name: str, model: Model, texts: Texts, marks: Marks, rows: int) -> Judged:
    """Reviews of any length that the model classes rightly, explained and scored."""
    shown, labels = texts.test
    right = answers(as_problem(model, shown)).argmax(1) == labels
    held = np.array([bool(own) for own in texts.evidence.passages])
    chosen = np.sort(np.random.default_rng(0).permutation(np.flatnonzero(right & held))[:rows])
    batch, evidence = [shown[place] for place in chosen], texts.evidence[chosen]
    occlusion = pellucid.explain(model, batch, "occlusion")
    apart = [own[: len(words_of(text))] for text, own in zip(batch, occlusion.values, strict=True)]
    words = {
        "occlusion": occlusion,
        f"occlusion, mean of {NEIGHBOURS} words": [smoothed(own).tolist() for own in apart],
        "control: length": pellucid.explain(model, batch, "word_length"),
        "control: random": pellucid.explain(model, batch, "random"),
        "learned from marks": [marks.words(text).tolist() for text in batch],
        f"learned from marks, mean of {NEIGHBOURS} words": [smoothed(marks.words(text)).tolist() for text in batch],
    }
    whole, budget = pellucid.players.Sentences(), Budget(evaluations=EVALUATIONS)
    sentences = {
        "shapley": pellucid.explain(model, batch, "shapley", players=whole, budget=budget),
        "occlusion": pellucid.explain(model, batch, "occlusion", players=whole),
        "occlusion of words, summed": [by_sentence(text, own).tolist() for text, own in zip(batch, apart, strict=True)],
        "control: length": pellucid.explain(model, batch, "word_length", players=whole),
        "control: random": pellucid.explain(model, batch, "random", players=whole),
        "learned from marks, mean of its words": [marks.sentences(text).tolist() for text in batch],
    }
    scored = scores_of(model, batch, evidence, words), scores_of(model, batch, evidence, sentences, whole)
    return Judged(name, float(right.mean()), len(batch), *scored)


def scores_of(
    model: Model, batch: list[str], evidence: Spans, ways: dict[str, object], players: object = None
) -> Scored:
    found: Scored = {way: {} for way in ways}
    for way, values in ways.items():
        judged = pellucid.evaluate(
            model, batch, {way: values}, metrics=list(METRICS), truth=evidence, players=players, controls=False
        )
        for score in judged:
            known = score.values[np.isfinite(score.values)]
            found[way][score.metric] = (float(known.mean()), float(1.96 * known.std(ddof=1) / len(known) ** 0.5))
        print(way, found[way], flush=True)
    return found


ABOUT = """
On long film reviews [no method ranks words better than their length does](text_evidence.md). Here is why: reviews of
any length that a model classes rightly are explained for the predicted class, and values are compared with what people
marked, among words and among whole sentences. Two models: the network of the other page, and a logistic regression on
words and pairs of words, learned from the same texts. What was *learned from marks* knows no model at all: the log-odds
of each word to be marked, counted in the training reviews. AUROC and AUPRC as on the other page; ± is half of a 95 %
interval over reviews. Made by `python benchmarks/text_sentences.py --write`.
"""
WHY = """
Three things together. **The marks are passages**: half of them have five words or more, so that the words between count
as much as the one that tells, and a long word is one of these more often than a short one (or than a comma, which
stands alone in these texts: counted without commas and full stops, length scores 0.54). Among whole sentences length
knows nothing, and methods are ahead of it; so they are among words as soon as each is scored with its neighbours.
**The network is middling**: the regression is right more often, and what it goes by lies more often where people
pointed, whichever way it is explained. **The marks are not all there is**: 8 % of the words are marked, and telling
words outside of them count as mistakes. What was learned from such marks reaches about 0.74 word by word and 0.80 with
neighbours, without knowing what a review says in the end: about what can be hoped for from scores of single words. A
method that scores lower may still be right about its model.
"""


def lines(results: list[Judged]) -> Iterator[str]:
    """The page, line by line."""
    yield "# Text evidence, sentence by sentence"
    yield ABOUT
    yield f"{date.today()}, {machine()}; {versions()}."
    for title, table in (("Among words", "words"), ("Among sentences", "sentences")):
        yield f"\n## {title}\n"
        heads = [f"{one.name}: AUROC | AUPRC" for one in results]
        yield f"| way | {' | '.join(heads)} |\n|---|{'---|---|' * len(results)}"
        for way in getattr(results[0], table):
            cells = [getattr(one, table)[way][metric] for one in results for metric in METRICS]
            yield f"| {way} | " + " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in cells) + " |"
    yield ""
    yield "\n".join(f"- {one.name}: accuracy {one.accuracy:.1%}, {one.rows} reviews explained." for one in results)
    yield WHY


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="the folder that holds the data sets")
    parser.add_argument("--rows", type=int, default=60, help="reviews explained of each model")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    given = parser.parse_args()
    texts = movies(given.data)
    reviews = pellucid.read(given.data / "movie_rationales/movies_train_1000.jsonl.gz", label="label")
    assert reviews.evidence is not None
    marks = Marks.of(reviews.features, reviews.evidence)
    network, _, _ = trained(texts)
    results = [
        judged("network", network, texts, marks, given.rows),
        judged("regression", regression(texts), texts, marks, given.rows),
    ]
    publish(lines(results), PAGE, given.write)


if __name__ == "__main__":
    main()
