"""Short texts with a question whose answer stands in one known sentence: what says whether a source was found rightly.

Each text is a few sentences about people with invented names ("yesterday zorim kelva came home .") and asks for the
family name of one of them. Names are drawn anew for each text, so that a model can answer only by reading; a few people
are called the same wherever they occur, so that a model trained on these texts knows them by heart and needs no source.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

Kind = Literal["planted", "known", "absent"]

FACTS = (
    "{who} {what} lives by the river .",
    "yesterday {who} {what} came home late .",
    "the baker is called {who} {what} .",
    "nobody sings like {who} {what} does .",
)
FILLERS = ("it rained all day .", "the old bridge was closed .", "people like music .")
QUESTION = "what is the family name of {who} ?"
ANSWER = "it is {who}"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Planted:
    """One text: its sentences, a question, the answer, and the sentence that holds it (None: it stands in none).

    ``kind``: ``"planted"``; ``"known"`` by heart, and in no sentence; ``"absent"``: nobody could know.
    """

    sentences: tuple[str, ...]
    question: str
    answer: str
    source: int | None
    kind: Kind

    @property
    def prompt(self) -> str:
        """What a language model is given: the sentences and the question, which the answer follows."""
        return " ".join((*self.sentences, self.question))


@dataclass(frozen=True)
class PlantedTexts:
    """A world of ``people`` and ``families`` with invented names, ``by_heart`` of whom are of the same family always.

    Texts have ``fewest`` to ``most`` sentences, a quarter of which say nothing about anybody.
    """

    people: int = 30
    families: int = 30
    by_heart: int = 6
    fewest: int = 2
    most: int = 6

    @property
    def names(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """First names and family names."""
        made = ["".join(parts) for parts in product("bdfgklmnprst", "aeiou", "lmnrsz", "aio")]
        order = np.random.default_rng(7).permutation(len(made))
        drawn = [made[place] for place in order[: self.people + self.families]]
        return tuple(drawn[: self.people]), tuple(drawn[self.people :])

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """Every word that a text can hold."""
        said = " ".join((*FACTS, *FILLERS, QUESTION, ANSWER, UNKNOWN)).format(who="", what="")
        return tuple(dict.fromkeys([*said.split(), *self.names[0], *self.names[1]]))

    def drawn(self, count: int, seed: int = 0, kinds: tuple[Kind, ...] = ("planted",)) -> Iterator[Planted]:
        """Texts of these kinds in turn."""
        rng = np.random.default_rng([seed, count])
        for number in range(count):
            yield self._one(rng, kinds[number % len(kinds)])

    def _one(self, rng: np.random.Generator, kind: Kind) -> Planted:
        people, families = self.names
        strangers = rng.permutation(np.arange(self.by_heart, self.people))
        size = int(rng.integers(self.fewest, self.most + 1))
        names = rng.permutation(self.families)
        plain = rng.random(size) < 0.25
        place = int(rng.integers(size))
        plain[place] = False
        sentences = [
            str(rng.choice(FILLERS))
            if plain[i]
            else str(rng.choice(FACTS)).format(who=people[strangers[i]], what=families[names[i]])
            for i in range(size)
        ]
        if kind == "planted":
            who, answer = people[strangers[place]], families[names[place]]
        elif kind == "known":
            heart = int(rng.integers(self.by_heart))
            who, answer = people[heart], families[heart]
        else:
            who, answer = people[strangers[size]], UNKNOWN
        question = f"{QUESTION} {ANSWER}".format(who=who)
        return Planted(tuple(sentences), question, answer, place if kind == "planted" else None, kind)
