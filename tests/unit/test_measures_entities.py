"""Entities read from tags, and how many were found: cases made by hand, with what seqeval says of them."""

import numpy as np
import pytest

from pellucid.measures.entities import Entity, count_entities, entities
from pellucid.records.errors import InputError


def spans(text: str, scheme: str = "lenient") -> list[Entity]:
    return list(entities(text.split(), scheme))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("O O", []),
        ("B-x I-x O B-x", [("x", 0, 2), ("x", 3, 4)]),
        ("B-x B-x", [("x", 0, 1), ("x", 1, 2)]),
        ("O I-x I-x", [("x", 1, 3)]),  # an I after O begins one all the same
        ("B-x I-y", [("x", 0, 1), ("y", 1, 2)]),  # so does a change of type
        ("I-x B-x I-x", [("x", 0, 1), ("x", 1, 3)]),
        ("I-x E-x I-x", [("x", 0, 2), ("x", 2, 3)]),
        ("S-x I-x", [("x", 0, 1), ("x", 1, 2)]),
        ("B-x S-x E-x", [("x", 0, 1), ("x", 1, 2), ("x", 2, 3)]),
        ("x x O y", [("x", 0, 2), ("y", 3, 4)]),  # bare types are IO tags
        ("B I O", [("_", 0, 2)]),
        ("B-a-b I-a-b", [("a-b", 0, 2)]),
        ("B-x L-x U-y", [("x", 0, 2), ("y", 2, 3)]),  # BILOU
    ],
)
def test_leniently_a_new_type_or_letter_begins_an_entity(tags: str, found: list[tuple[str, int, int]]):
    assert spans(tags) == found


@pytest.mark.parametrize(
    ("scheme", "tags", "found"),
    [
        ("IOB2", "B-x I-x O B-x", [("x", 0, 2), ("x", 3, 4)]),
        ("IOB2", "O I-x I-x", []),  # nothing began
        ("IOB2", "B-x I-y I-y", [("x", 0, 1)]),
        ("IOB2", "I-x B-x I-x", [("x", 1, 3)]),
        ("IOBES", "S-x B-x I-x E-x", [("x", 0, 1), ("x", 1, 4)]),
        ("IOBES", "B-x I-x O", []),  # nothing ended
        ("IOBES", "B-x B-x E-x", [("x", 1, 3)]),
        ("IOBES", "B-x I-y E-x", []),
        ("IOBES", "B-x L-x U-x", [("x", 0, 2), ("x", 2, 3)]),
        ("IOE2", "I-x E-x E-x I-x", [("x", 0, 2), ("x", 2, 3)]),
    ],
)
def test_strictly_only_what_keeps_to_the_scheme_counts(scheme: str, tags: str, found: list[tuple[str, int, int]]):
    assert spans(tags, scheme) == found


def test_an_entity_counts_only_with_all_its_words_and_its_type():
    truth = [["B-x", "I-x", "O", "B-y"], ["B-z", "O", "B-x", "O"]]
    said = [["B-x", "I-x", "O", "B-z"], ["B-z", "I-z", "B-x", "B-y"]]
    counts = count_entities(truth, said)
    assert counts.kinds == ("x", "y", "z")
    tally = counts.tally()
    assert tally.hits.tolist() == [2, 0, 0] and tally.truths.tolist() == [2, 1, 1]
    assert tally.guesses.tolist() == [2, 1, 2]
    assert tally.average("precision", "micro") == pytest.approx(2 / 5)
    assert tally.average("recall", "micro") == pytest.approx(2 / 4)
    assert tally.average("f1", "micro") == pytest.approx(4 / 9)
    assert tally.average("f1", "macro") == pytest.approx(1 / 3)
    assert tally.average("f1", "weighted") == pytest.approx(1 / 2)


def test_a_type_never_said_has_no_precision_and_an_f1_of_zero():
    tally = count_entities([["B-x", "O"]], [["O", "O"]]).tally()
    assert np.isnan(tally.precision[0]) and tally.recall[0] == 0 and tally.f1[0] == 0


def test_texts_without_any_entity_have_no_figures():
    tally = count_entities([["O", "O"]], [["O", "O"]]).tally()
    assert tally.f1.shape == (0,) and np.isnan(tally.average("f1", "micro")) and np.isnan(tally.average("f1", "macro"))


def test_texts_may_count_more_than_once():
    counts = count_entities([["B-x"], ["B-x"]], [["B-x"], ["O"]])
    drawn = counts.tally(np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
    assert drawn.average("recall", "micro").tolist() == [1, 0, 0.5]


def test_tags_must_be_as_many_as_the_words():
    with pytest.raises(InputError, match="2 true tags, but 1 predicted ones") as caught:
        count_entities([["O"], ["O", "O"]], [["O"], ["O"]])
    assert caught.value.where == "row 1"
    with pytest.raises(InputError, match="tags of 1 texts, but predicted tags of 2"):
        count_entities([["O"]], [["O"], ["O"]])


def test_an_unknown_scheme_is_refused_with_those_there_are():
    with pytest.raises(InputError, match="no scheme of tags is called 'BIO'"):
        entities(["O"], "BIO")  # pyright: ignore[reportArgumentType]
    assert entities([], "IOBES") == () and Entity("x", 0, 1) == ("x", 0, 1)
