"""Entities in short posts: how many of each type a small tagger finds, and which words its findings rest on.

A tagger (see entity_tagger.py) is trained here on WNUT 17, judged by the check of entities on posts it never saw, and
its findings are explained word by word. Writes docs/benchmarks/entities.md.
"""

from __future__ import annotations

import one_thread  # noqa: F401

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from entity_tagger import KINDS, TAGS, Post, posts_of, tokenizer_of, trained, vocabulary

import pellucid
from pellucid.checks.entities import Entities
from pellucid.checks.tag_case import TagCase
from pellucid.measures.entities import entities
from pellucid.records.finding import Finding
from pellucid.studies.entities import tagged

FIGURES = ("precision", "recall", "f1")
MISTAKES = 8
"""Kinds of mistakes that the page lists."""


def judged(model: Any, train: list[Post], test: list[Post]) -> tuple[Finding, ...]:
    """What the check says of posts that the tagger never saw."""
    words, truth = [post["tokens"] for post in test], [post["tags"] for post in test]
    said = tagged(model, words)
    known = {tuple(post["tokens"][one.start : one.stop]) for post in train for one in entities(post["tags"])}
    return Entities().run(TagCase(words, truth, said.tags, KINDS, said.unread, frozenset(known)))


def share_of(found: Any, row: int, values: np.ndarray) -> tuple[float, float, float]:
    """Of what the words add and take away in all: the entity's own, the two words on each side of it, all others."""
    _, start, stop, _ = found.notes["entities"][row]
    spans = found.players.spans[row]
    own = [place for place, (begin, end) in enumerate(spans) if begin < stop and end > start]
    near = [place for place in range(own[0] - 2, own[-1] + 3) if 0 <= place < len(spans) and place not in own]
    size = np.abs(values[: len(spans)])
    whole = float(size.sum())
    if not whole > 0:
        return float("nan"), float("nan"), float("nan")
    first, second = float(size[own].sum()) / whole, float(size[near].sum()) / whole
    return first, second, 1 - first - second


def explained(model: Any, posts: list[Post], most: int) -> dict[str, tuple[Any, np.ndarray]]:
    """Per method: the record of the first entities found, and their shares."""
    texts = [post["tokens"] for post in posts]
    some = [text for text, tags in zip(texts, tagged(model, texts).tags, strict=True) if entities(tags)][:most]
    found = {}
    for method in ("occlusion", "shapley", "integrated_gradients", "random"):
        record = pellucid.explain_entities(model, some, method, budget=256, seed=0)
        found[method] = (record, np.array([share_of(record, row, record.values[row]) for row in range(len(record))]))
    return found


# The page ----------------------------------------------------------------------------------------------------------


def main(times: int, most: int, out: Path) -> None:
    train, test = posts_of("train"), posts_of("test_half")
    words = vocabulary([*train, *test])
    network, spent = trained(words, train, times)
    model = pellucid.wrap(network, encoding=tokenizer_of(words), outputs=TAGS, name="tagger")
    main_finding, *others = judged(model, train, test)
    size = sum(parameter.numel() for parameter in network.body.parameters())
    lines = [
        "# Entities in short posts", "",
        "Made by `python benchmarks/entities.py` on WNUT 17 (Derczynski et al. 2017; names that training seldom saw). "
        f"The tagger has a vector for each word (its spelling, and what company it keeps in {len(train):,} training "
        f"posts and in reviews and comments of other data sets) and three convolutions over the post ({size:,} "
        f"weights). Trained here {times} times over the posts (choices were made on the development posts), in "
        f"{spent:.0f} s of one core; judged on {len(test):,} other posts by the "
        "[check of entities](../kinds/entities.md): an entity counts when all its words and its type "
        "are right, as seqeval counts by default; intervals are 95 %, the posts drawn 1,000 times.",
        "", *table(main_finding), "", *[f"- {finding}" for finding in (main_finding, *others)], "",
        "The tagger is weak, for so few posts teach few names: the systems of the shared task, whose vectors come from "
        "millions of posts, reach an F1 of 0.26 to 0.42 on the whole of the test posts, of which these are half.", "",
        *mistaken(main_finding), "", *shares(explained(model, test, most)),
    ]  # fmt: skip
    out.write_text("\n".join(lines), encoding="utf-8")
    sys.stdout.write("\n".join(lines))


def table(found: Finding) -> list[str]:
    """A line per type and per average."""
    whole = (f"{found.values['truths']:,}", f"{found.values['hits'] + found.values['wrong']:,}")
    lines = ["| type | there | said | precision | recall | F1 |", "|---|---|---|---|---|---|"]
    for row in found.tables["types"]:
        lines.append(_line(row["type"], f"{row['entities']:,}", f"{row['predicted']:,}", *_cells(row)))
    return [*lines, *[_line(row["average"], *whole, *_cells(row)) for row in found.tables["averages"]]]


def mistaken(found: Finding) -> list[str]:
    """The kinds of mistakes made most often."""
    lines = ["## What goes wrong", "", "| mistake | is | said | times | of all mistakes | for example |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for row in found.tables["mistakes"][:MISTAKES]:
        example = f"`{row['example'].replace('|', ' ')}`"
        lines.append(_line(*(row[name] for name in ("mistake", "truth", "predicted")), f"{row['times']:,}",
                           f"{row['share']:.0%}", example))  # fmt: skip
    return lines


def _line(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        "–" if np.isnan(row[name]) else f"{row[name]:.2f} ({row[f'{name}_low']:.2f}–{row[f'{name}_high']:.2f})"
        for name in FIGURES
    ]


def shares(found: dict[str, tuple[Any, np.ndarray]]) -> list[str]:
    kinds = Counter(kind for *_, kind in next(iter(found.values()))[0].notes["entities"])
    lines = [
        "## Which words a finding rests on", "",
        f"{sum(kinds.values())} entities that the tagger found (right or wrong: "
        f"{', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}), explained with "
        "`pellucid.explain_entities(model, posts)`. Shares of the sum of |attribution| over the words of the post, "
        "mean and its standard error over entities; `random` is what a method that knows nothing gives, and says how "
        "much of a short post those words are. The network sees four words on each side of a word.", "",
        "| method | the entity itself | two words on each side | all other words |", "|---|---|---|---|",
    ]  # fmt: skip
    for method, (_, parts) in found.items():
        known = parts[~np.isnan(parts[:, 0])]
        mean, doubt = known.mean(0), known.std(0, ddof=1) / np.sqrt(len(known))
        cells = " | ".join(f"{m:.2f} ± {d:.2f}" for m, d in zip(mean, doubt, strict=True))
        lines.append(f"| {method} | {cells} |")
    return [*lines, ""]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=12, help="how often the posts are learned from")
    parser.add_argument("--entities", type=int, default=100, help="posts with an entity that are explained")
    parser.add_argument("--out", type=Path, default=Path("docs/benchmarks/entities.md"))
    arguments = parser.parse_args()
    main(arguments.times, arguments.entities, arguments.out)
