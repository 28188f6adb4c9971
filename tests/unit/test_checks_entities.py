"""Entities counted beside a slow twin of the conlleval rules, mistakes told apart by hand, and what the check says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pellucid.checks.check import Check
from pellucid.checks.entities import Entities
from pellucid.checks.tag_case import TagCase
from pellucid.measures.entities import mistakes
from pellucid.records.errors import InputError, NotApplicable
from pellucid.records.finding import Finding

LETTERS = "BIESO"


def chunks(tags: list[str]) -> set[tuple[str, int, int]]:
    """Entities by the rules of conlleval, which seqeval's default mode follows: when one ends, when one begins."""
    found, begun = set(), None
    read = [(tag[0], tag[2:]) for tag in [*tags, "O"]]
    before = ("O", "")
    for place, now in enumerate(read):
        ends = before[0] in "ES" or (before[0] in "BI" and now[0] in "BSO")
        ends |= before[0] != "O" and before[1] != now[1]
        begins = now[0] in "BS" or (before[0] in "ESO" and now[0] in "EI") or (now[0] != "O" and before[1] != now[1])
        if begun is not None and ends:
            found.add((before[1], begun, place))
            begun = None
        if begins:
            begun = place
        before = now
    return found


def slow_report(truth: list[list[str]], said: list[list[str]]) -> dict[str, tuple[float, ...]]:
    """Precision, recall, F1 and support per type and averaged, an undefined figure of a type counted as 0."""
    true = {(row, *one) for row, tags in enumerate(truth) for one in chunks(tags)}
    guessed = {(row, *one) for row, tags in enumerate(said) for one in chunks(tags)}
    kinds = sorted({one[1] for one in true | guessed})
    report = {}
    for kind in kinds:
        own, given = ({one for one in group if one[1] == kind} for group in (true, guessed))
        report[kind] = _figures(len(own & given), len(own), len(given))
    report["micro"] = _figures(len(true & guessed), len(true), len(guessed))
    sizes = np.array([report[kind][3] for kind in kinds])
    each = np.array([report[kind][:3] for kind in kinds])
    report["macro"] = (*each.mean(0), len(true))
    report["weighted"] = (*(each * sizes[:, None]).sum(0) / sizes.sum(), len(true))
    return report


def _figures(hits: int, there: int, said: int) -> tuple[float, ...]:
    precision, recall = hits / said if said else 0.0, hits / there if there else 0.0
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return precision, recall, f1, there


def drawn(seed: int) -> tuple[list[list[str]], list[list[str]]]:
    dice = np.random.default_rng(seed)
    tags = ["O", *(f"{letter}-{kind}" for letter in LETTERS[:-1] for kind in ("x", "y", "z"))]
    truth = [list(dice.choice(tags, dice.integers(1, 12), p=[0.4, *[0.05] * 12])) for _ in range(40)]
    noisy = [[str(dice.choice(tags)) if dice.random() < 0.3 else tag for tag in row] for row in truth]
    return truth, noisy


def case(truth: Any, said: Any, **more: Any) -> TagCase:
    words = [[f"w{place}" for place in range(len(row))] for row in truth]
    return TagCase(words, truth, said, **more)


def said_of(found: tuple[Finding, ...], code: str) -> Finding:
    return next(finding for finding in found if finding.code == code)


@pytest.mark.parametrize("seed", range(8))
def test_figures_are_those_of_the_slow_twin(seed: int):
    truth, said = drawn(seed)
    (main, *_) = Entities(draws=20).run(case(truth, said))
    report = slow_report(truth, said)
    lines = {
        line.get("type", line.get("average")): line for name in ("types", "averages") for line in main.tables[name]
    }
    assert set(lines) == set(report)
    for name, (precision, recall, f1, there) in report.items():
        got = [lines[name][figure] for figure in ("precision", "recall", "f1")]
        assert np.nan_to_num(got) == pytest.approx([precision, recall, f1]), name
        assert lines[name].get("entities", there) == there
    assert main.metrics["f1_micro"][0] == pytest.approx(report["micro"][2])
    assert main.values["hits"] + main.values["wrong"] == sum(line["predicted"] for line in main.tables["types"])


def test_strictly_only_what_keeps_to_the_scheme_is_counted():
    found = Entities(scheme="IOB2", draws=20).run(case([["I-x", "O", "B-x"]], [["I-x", "O", "B-x"]]))
    assert said_of(found, "entities").values["truths"] == 1
    assert "“IOB2”" in found[0].text()
    assert Entities(draws=20).run(case([["I-x", "O", "B-x"]], [["I-x", "O", "B-x"]]))[0].values["truths"] == 2


def told(truth: str, said: str) -> list[tuple[str, Any, Any]]:
    return [(one.wrong, one.truth and tuple(one.truth), one.said and tuple(one.said))
            for one in mistakes(truth.split(), said.split())]  # fmt: skip


@pytest.mark.parametrize(
    ("truth", "said", "wrong"),
    [
        ("B-x I-x O", "B-x I-x O", []),
        ("B-x I-x O", "O O O", [("missed", ("x", 0, 2), None)]),
        ("O O O", "O B-x O", [("invented", None, ("x", 1, 2))]),
        ("B-x I-x O", "B-y I-y O", [("type", ("x", 0, 2), ("y", 0, 2))]),
        ("B-x I-x O", "B-x O O", [("border", ("x", 0, 2), ("x", 0, 1))]),
        ("B-x I-x O", "O B-y I-y", [("both", ("x", 0, 2), ("y", 1, 3))]),
        ("B-x I-x I-x", "B-x O B-x", [("border", ("x", 0, 3), ("x", 0, 1)), ("invented", None, ("x", 2, 3))]),
        ("B-x B-y", "B-y I-y", [("missed", ("x", 0, 1), None), ("border", ("y", 1, 2), ("y", 0, 2))]),
    ],
)
def test_a_mistake_is_of_one_kind_and_each_entity_in_one(truth: str, said: str, wrong: list[Any]):
    assert told(truth, said) == wrong


@pytest.mark.parametrize("seed", range(5))
def test_hits_and_mistakes_account_for_every_entity(seed: int):
    for truth, said in zip(*drawn(seed), strict=True):
        wrong = mistakes(truth, said)
        there, given = chunks(truth), chunks(said)
        assert {tuple(one.truth) for one in wrong if one.truth} == there - given
        assert {tuple(one.said) for one in wrong if one.said} == given - there
        assert all((one.truth is None) == (one.wrong == "invented") for one in wrong)


def test_mistakes_are_listed_by_how_often_they_are_made():
    truth, said = [["B-x", "O"]] * 3 + [["O", "O"]], [["B-y", "O"]] * 2 + [["O", "O"]] + [["O", "B-y"]]
    table = Entities(draws=20).run(case(truth, said))[0].tables["mistakes"]
    assert [(line["mistake"], line["truth"], line["predicted"], line["times"]) for line in table] == [
        ("type", "x", "y", 2), ("invented", "—", "y", 1), ("missed", "x", "—", 1),
    ]  # fmt: skip
    assert sum(line["share"] for line in table) == pytest.approx(1) and table[0]["example"] == "w0"


def test_a_figure_of_zero_or_one_has_an_interval_that_knows_doubt():
    (main, *_) = Entities(draws=50).run(case([["B-x", "O", "B-y"]] * 10, [["B-x", "O", "O"]] * 10))
    x, y = main.tables["types"]
    assert x["precision"] == 1 and 0.6 < x["precision_low"] < 0.8
    assert y["recall"] == 0 and 0.2 < y["recall_high"] < 0.4 and 0.2 < y["f1_high"] < 0.5
    assert np.isnan(y["precision"]) and np.isnan(y["precision_high"])


def test_a_model_that_finds_nothing_and_texts_that_hold_nothing():
    found = Entities(draws=20).run(case([["B-x", "O"]] * 12, [["O", "O"]] * 12))
    assert [(one.code, one.severity) for one in found] == [("entities_not_one_found", "red")]
    assert "Not one of the 12 entities" in found[0].text()
    (only,) = Entities().run(case([["O"]], [["B-x"]]))
    assert only.code == "entities_none" and "1 texts" in only.text()


def test_types_that_are_unknown_missed_or_rare_are_named():
    truth = [["B-x", "B-y", "B-z"]] * 12 + [["B-rare"]]
    said = [["B-x", "O", "O"]] * 12 + [["O"]]
    found = Entities(draws=20).run(case(truth, said, kinds=("x", "y", "rare")))
    assert said_of(found, "entities_unknown_types").values["names"] == "z"
    assert said_of(found, "entities_types_missed").values["names"] == "y"
    assert said_of(found, "entities_few_of_type").values["names"] == "rare"


def test_names_that_training_held_are_told_from_others():
    truth, words = [["B-x", "I-x"]] * 40, [["New", "York"]] * 20 + [["Old", "York"]] * 20
    said = [["B-x", "I-x"]] * 20 + [["B-x", "O"]] * 20
    found = Entities(draws=20).run(TagCase(words, truth, said, known=frozenset({("New", "York")})))
    values = said_of(found, "entities_names_seen").values
    assert (values["seen"], values["unseen"], values["of_seen"], values["of_unseen"]) == (1, 0, 20, 20)
    assert not [one for one in Entities(draws=20).run(case(truth, said)) if one.code == "entities_names_seen"]


def test_words_that_were_cut_off_are_counted():
    found = Entities(draws=20).run(case([["B-x", "O"]] * 2, [["B-x", "O"]] * 2, unread=np.array([0, 1])))
    assert "1 words of 1 texts lie behind" in said_of(found, "entities_unread").text()


def test_a_slice_is_weak_only_beyond_chance():
    truth = [["B-x", "O"]] * 120
    weak = np.arange(120) < 40
    said = [["O", "O"] if row % 2 and weak[row] else ["B-x", "O"] for row in range(120)]
    slices = {"weak": weak, "even": np.arange(120) % 2 == 0, "tiny": np.arange(120) < 3}
    found = Entities(draws=200).run(case(truth, said, slices=slices))
    accused = [one for one in found if one.code == "entities_weak_slice"]
    assert [one.values["slice"] for one in accused] == ["weak"]
    assert accused[0].values["value"] == pytest.approx(2 / 3) and accused[0].values["rest"] == 1
    table = {line["slice"]: line for line in found[0].tables["slices"]}
    assert table["tiny"]["suppressed"] and np.isnan(table["tiny"]["f1"])
    assert table["weak"]["recall"] == pytest.approx(0.5) and table["weak"]["recall_low"] < 0.5


def test_other_tasks_are_refused_and_cases_must_fit():
    from pellucid.checks.calibration import Calibration

    tags: Any = case([["O"]], [["O"]])
    judge: Check[Any] = Calibration()
    with pytest.raises(NotApplicable, match="'calibration' judges classification, not tagging"):
        judge.run(tags)
    with pytest.raises(InputError, match="row 1"):
        TagCase([["a"], ["b"]], [["O"], ["O"]], [["O"], ["O", "O"]])
    with pytest.raises(InputError, match="at least one text"):
        TagCase([], [], [])
    with pytest.raises(InputError, match="2 texts, true tags of 1 and predicted ones of 2"):
        TagCase([["a"], ["b"]], [["O"]], [["O"], ["O"]])


def test_the_same_case_gives_the_same_findings():
    truth, said = drawn(0)
    first, second = (Entities(draws=30).run(case(truth, said, seed=3)) for _ in range(2))
    assert first[0].metrics == second[0].metrics and [one.code for one in first] == [one.code for one in second]
