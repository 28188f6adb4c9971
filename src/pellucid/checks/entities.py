"""How many of the entities in texts a network finds, of which types, and what it takes them for instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ..measures.classification import Tally
from ..measures.entities import EntityCounts, Mistake, Scheme, count_entities, mistakes
from ..measures.entities import entities as entities_of
from ..measures.intervals import bootstrap, wilson
from ..measures.weights import weights_for
from ..records.finding import Finding
from .check import Check, Task, listed, spread
from .tag_case import TagCase

Triple = tuple[float, float, float]

FIGURES = ("precision", "recall", "f1")
AVERAGES = ("micro", "macro", "weighted")
SHOWN = ("f1_micro", "precision_micro", "recall_micro", "f1_macro", "f1_weighted")
"""The figures of the head; all nine averages stand in a table."""
LISTED = 20
"""Kinds of mistakes that are listed, the most frequent first."""
NOTHING = "—"
"""Stands in a table where no entity is, or none was said."""


@dataclass(frozen=True)
class Entities(Check[TagCase]):
    """Precision, recall and F1 of entities with bootstrap intervals: per type, averaged, and per slice.

    An entity counts as found when all its words and its type are right. Read leniently, the figures are those of
    seqeval's default mode and of the CoNLL-2003 task's program; by a scheme (IOB2, IOE2, IOBES) those of seqeval's
    strict mode. Texts, not entities, are drawn anew for an interval, since entities of one text hang together; a
    precision or recall of 0 or 1, where draws see no doubt, has Wilson's interval, and an F1 the one of its hits among
    the mean of both counts.

    Averages: ``micro`` of all entities together, ``macro`` the plain mean of the types, ``weighted`` the same weighted
    by how many of a type are there. A slice is called weak (yellow) when its micro F1 is below that of the other texts
    beyond a Bonferroni-corrected interval.

    The main finding holds the tables ``types``, ``averages``, ``mistakes`` (missed; the wrong type, border, or both;
    invented) and ``slices``.
    """

    name: ClassVar[str] = "entities"
    tasks: ClassVar[tuple[Task, ...]] = ("tagging",)
    source: ClassVar[str] = (
        "Tjong Kim Sang & De Meulder 2003 (CoNLL-2003); Nakayama 2018 (seqeval); mistakes: Chinchor & Sundheim 1993"
    )

    scheme: Annotated[Scheme, "how tags are read: lenient, or strictly by IOB2, IOE2 or IOBES"] = "lenient"
    draws: Annotated[int, "bootstrap draws behind each interval"] = 1000
    level: Annotated[float, "how often an interval should hold the true value"] = 0.95
    minimum: Annotated[int, "fewest entities of a type, or texts of a slice, for which figures say much"] = 10

    def find(self, case: TagCase) -> Iterator[Finding]:
        counts = count_entities(case.truth, case.said, self.scheme)
        if not counts.truths.any():
            yield self._say("entities_none", "yellow", case, {})
            return
        yield self._main(case, counts)
        yield from self._types(case, counts)
        yield from self._names_seen(case)
        yield from self._weak_slices(case, counts)
        if case.left_unread.any():
            cut = {"words": int(case.left_unread.sum()), "texts": int((case.left_unread > 0).sum())}
            yield self._say("entities_unread", "yellow", case, cut)

    def _main(self, case: TagCase, counts: EntityCounts) -> Finding:
        types, averages = self._figures(counts, case.seed)
        hits, truths, guesses = (int(own.sum()) for own in (counts.hits, counts.truths, counts.guesses))
        metrics = {f"{figure}_{how}": averages[how][figure] for how in AVERAGES for figure in FIGURES}
        f1, low, high = metrics["f1_micro"]
        values = {"hits": hits, "truths": truths, "wrong": guesses - hits, "f1": f1, "low": low, "high": high}
        tables = {"types": types, "averages": [{"average": how} | _flat(averages[how]) for how in AVERAGES]}
        wrong = self._mistakes(case)
        tables |= {"mistakes": wrong} if wrong else {}
        slices = self._slice_table(case, counts)
        tables |= {"slices": slices} if slices else {}
        code, severity = ("entities", "note") if hits else ("entities_not_one_found", "red")
        return self._say(code, severity, case, values, {name: metrics[name] for name in SHOWN}, tables)

    # Figures -------------------------------------------------------------------------------

    def _figures(self, counts: EntityCounts, seed: int) -> tuple[list[dict[str, Any]], dict[str, dict[str, Triple]]]:
        """All figures from the same draws: a row per type, and per average its three."""
        drawn = self._drawn(_all_figures, counts, seed)
        whole, size = counts.tally(), len(counts.kinds)
        types: list[dict[str, Any]] = []
        for place, kind in enumerate(counts.kinds):
            own = Tally(*(part[..., place] for part in (whole.hits, whole.truths, whole.guesses)))
            types.append({"type": kind, "entities": int(own.truths), "predicted": int(own.guesses)})
            types[-1] |= _flat(self._with_doubt(drawn[place], own))
        together = _together(whole)
        rest = {how: self._with_doubt(drawn[size + place], together) for place, how in enumerate(AVERAGES)}
        return types, rest

    def _drawn(self, statistic: Callable[..., np.ndarray], counts: EntityCounts, seed: int) -> np.ndarray:
        """``Float64[rows, 3 figures, 3]``: value, low and high of a statistic of the tally ``[..., rows, 3]``."""

        def weighted(rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
            return statistic(counts.tally(weights))

        rows = np.arange(len(counts.hits))
        return np.stack(bootstrap(weighted, rows, draws=self.draws, seed=seed, level=self.level), -1)

    def _with_doubt(self, drawn: np.ndarray, counted: Tally) -> dict[str, Triple]:
        """Precision, recall and F1 ``[3, 3]`` by name; those of 0 or 1 with an interval that knows doubt."""
        of = (counted.guesses, counted.truths, (counted.guesses + counted.truths) / 2)
        found: dict[str, Triple] = {}
        for name, (value, low, high), rows in zip(FIGURES, drawn.tolist(), of, strict=True):
            ends = wilson(value * float(rows), float(rows), self.level) if value in (0.0, 1.0) else (low, high)
            found[name] = (value, float(ends[0]), float(ends[1]))
        return found

    # Mistakes ------------------------------------------------------------------------------

    def _mistakes(self, case: TagCase) -> list[dict[str, Any]]:
        """A row per kind of mistake and pair of types: how often, its share of all mistakes, the first such one."""
        counted: Counter[tuple[str, str, str]] = Counter()
        first: dict[tuple[str, str, str], str] = {}
        for words, truth, said in zip(case.words, case.truth, case.said, strict=True):
            for one in mistakes(truth, said, self.scheme):
                truly, given = (NOTHING if side is None else side.kind for side in (one.truth, one.said))
                key = (one.wrong, truly, given)
                counted[key] += 1
                first.setdefault(key, _example(one, words))
        ranked = sorted(counted, key=lambda key: (-counted[key], key))[:LISTED]
        whole = counted.total()
        names = ("mistake", "truth", "predicted")
        return [
            dict(zip(names, key, strict=True))
            | {"times": counted[key], "share": counted[key] / whole, "example": first[key]}
            for key in ranked
        ]

    # Types ---------------------------------------------------------------------------------

    def _types(self, case: TagCase, counts: EntityCounts) -> Iterator[Finding]:
        """Types that the network has no tag for, types never found, types with few examples."""
        there = dict(zip(counts.kinds, counts.truths.sum(0).tolist(), strict=True))
        there = {kind: count for kind, count in there.items() if count}
        hits = dict(zip(counts.kinds, counts.hits.sum(0).tolist(), strict=True))
        unknown = [kind for kind in there if case.kinds and kind not in case.kinds]
        missed = [kind for kind in there if not hits[kind] and there[kind] >= self.minimum and kind not in unknown]
        few = [kind for kind in there if there[kind] < self.minimum]
        if unknown:
            count = sum(there[kind] for kind in unknown)
            yield self._say("entities_unknown_types", "yellow", case, {"names": listed(unknown), "count": count})
        if missed and any(hits.values()):
            yield self._say("entities_types_missed", "yellow", case, {"names": listed(missed)})
        if few:
            yield self._say("entities_few_of_type", "note", case, {"names": listed(few), "minimum": self.minimum})

    def _names_seen(self, case: TagCase) -> Iterator[Finding]:
        """Of the entities that training names too, and of those it never did, how many were found."""
        if case.known is None:
            return
        counted = np.zeros((len(case), 2, 2), np.int64)  # found, there; of names seen, of others
        for row, (words, truth, said) in enumerate(zip(case.words, case.truth, case.said, strict=True)):
            guesses = set(entities_of(said, self.scheme))
            for one in entities_of(truth, self.scheme):
                new = int(tuple(words[one.start : one.stop]) not in case.known)
                counted[row, 1, new] += 1
                counted[row, 0, new] += one in guesses
        found, there = counted.sum(0)
        if there.min() < self.minimum:
            return
        shares = {"seen": float(found[0] / there[0]), "unseen": float(found[1] / there[1])}
        counts = {"of_seen": int(there[0]), "of_unseen": int(there[1])}
        yield self._say("entities_names_seen", "note", case, shares | counts)

    # Slices --------------------------------------------------------------------------------

    def _slice_table(self, case: TagCase, counts: EntityCounts) -> list[dict[str, Any]]:
        """A row per slice; figures are NaN (``suppressed``) where it has fewer than ``minimum`` texts."""
        table = []
        for name, mask in case.slices.items():
            row: dict[str, Any] = {"slice": name, "rows": int(mask.sum()), "suppressed": bool(mask.sum() < self.fewest)}
            triples: dict[str, Triple] = dict.fromkeys(FIGURES, (np.nan, np.nan, np.nan))
            if not row["suppressed"]:
                own = EntityCounts(counts.kinds, counts.hits[mask], counts.truths[mask], counts.guesses[mask])
                together = _together(own.tally())
                triples = self._with_doubt(self._drawn(_micro, own, case.seed), together)
            table.append(row | _flat(triples))
        return table

    @property
    def fewest(self) -> int:
        """The fewest texts of a slice that get figures: an empty one never has any."""
        return max(self.minimum, 1)

    def _weak_slices(self, case: TagCase, counts: EntityCounts) -> Iterator[Finding]:
        fit = {name: mask for name, mask in case.slices.items()
               if self.fewest <= mask.sum() <= len(case) - self.fewest}  # fmt: skip
        strict = 1 - (1 - self.level) / max(len(fit), 1)
        for name, mask in fit.items():

            def ends(rows: np.ndarray, weights: np.ndarray | None = None, mask: np.ndarray = mask) -> np.ndarray:
                drawn = weights_for(len(rows), weights)
                inside, outside = (_micro(counts.tally(drawn * part))[..., 2] for part in (mask, ~mask))
                return np.stack([inside, outside, inside - outside], -1)

            value, _, high = bootstrap(ends, np.arange(len(case)), draws=self.draws, seed=case.seed, level=strict)
            if high[2] < 0:
                said = {"slice": name, "slice_rows": int(mask.sum()), "value": float(value[0]), "rest": float(value[1])}
                yield self._say("entities_weak_slice", "yellow", case, said)

    # -----------------------------------------------------------------------------------------

    def _say(
        self,
        code: str,
        severity: Literal["red", "yellow", "note"],
        case: TagCase,
        values: dict[str, Any],
        metrics: dict[str, Triple] | None = None,
        tables: dict[str, list[dict[str, Any]]] | None = None,
    ) -> Finding:
        values = values | {"rows": len(case), "part": case.part, "level": self.level, "scheme": self.scheme}
        return Finding(self.name, code, severity, values, metrics or {}, tables or {}, {}, case.part, len(case))


def _all_figures(tally: Tally) -> np.ndarray:
    """``[..., types + averages, 3]``: precision, recall and F1 of each type, then of each average."""
    each = np.stack([getattr(tally, figure) for figure in FIGURES], -1)
    rest = [np.stack([tally.average(figure, how) for figure in FIGURES], -1) for how in AVERAGES]
    return np.concatenate([each, np.stack(rest, -2)], -2)


def _together(tally: Tally) -> Tally:
    """All types as one."""
    return Tally(*(part.sum(-1) for part in (tally.hits, tally.truths, tally.guesses)))


def _micro(tally: Tally) -> np.ndarray:
    """``[..., 3]``: precision, recall and F1 of all entities together."""
    return np.stack([getattr(_together(tally), figure) for figure in FIGURES], -1)


def _flat(triples: dict[str, Triple]) -> dict[str, float]:
    """Figures with their intervals as the cells of a table's row."""
    row: dict[str, float] = {}
    for name, triple in triples.items():
        spread(row, name, triple)
    return row


def _example(one: Mistake, words: Any) -> str:
    """The words that are meant, and those that were said in their place where these are others."""
    parts = [" ".join(words[side.start : side.stop]) for side in (one.truth, one.said) if side is not None]
    return " → ".join(dict.fromkeys(parts))
