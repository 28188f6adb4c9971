"""Words with tags from files of one word a line, how such a file is told, and what is refused by its line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

import pellucid
from pellucid.data.dataset import Dataset
from pellucid.records.errors import InputError, UnknownName

CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
calls NNS I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER

-DOCSTART- -X- -X- O

BRUSSELS NNP B-NP B-LOC
1996-08-22 CD I-NP O
"""


def read(folder: Path, text: str | bytes, name: str = "data.conll", **how: object) -> Dataset:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return pellucid.read(path, **how)


@pytest.mark.parametrize("name", ["train.txt", "eng.conll", "eng.iob2", "data.tsv"])
def test_the_files_of_the_shared_task_are_read(tmp_path: Path, name: str):
    data = read(tmp_path, CONLL_2003, name)
    assert data.words == (("EU", "rejects", "calls"), ("Peter", "Blackburn"), ("BRUSSELS", "1996-08-22"))
    assert data.tags == (("B-ORG", "O", "O"), ("B-PER", "I-PER"), ("B-LOC", "O"))
    assert data.features == ["EU rejects calls", "Peter Blackburn", "BRUSSELS 1996-08-22"]
    assert (data.task, data.label, data.classes, data.labels) == ("tagging", "tags", ("LOC", "ORG", "PER"), None)
    assert data.frame["document"].tolist() == ["1", "1", "2"]
    assert data[[2]].words == (("BRUSSELS", "1996-08-22"),) and data[[2]].task == "tagging"


def test_documents_stay_in_one_split_where_they_are_named(tmp_path: Path):
    text = ("-DOCSTART- O\n\n" + "Ann B-PER\n\n" * 3) * 10
    data = read(tmp_path, text, groups="document")
    found = {(int(document), int(split)) for document, split in zip(data.frame["document"], data.splits, strict=True)}
    assert len(data) == 30 and len(found) == 10


def test_tabs_notes_windows_line_ends_and_a_byte_order_mark(tmp_path: Path):
    text = "\ufeff# id 7\tdomain=en\r\nNew York\tB-LOC\r\n#\tO\r\n\r\n\r\n# id 8\tdomain=en\r\nhi\tO\r\n"
    data = read(tmp_path, text)
    assert data.words == (("New York", "#"), ("hi",)) and data.tags == (("B-LOC", "O"), ("O",))
    assert data.label == "tags"


def test_a_table_that_happens_to_end_in_txt_stays_a_table(tmp_path: Path):
    data = read(tmp_path, "a,b\n1,2\n\n3,4\n5,6\n7,8\n", "table.txt", label="b")
    assert data.is_table and data.tags is None
    data = read(tmp_path, "word tag\n\na O\nb O\nc B-x\nd O\n", "headed.txt")
    assert data.tags is None


def test_without_documents_tags_tell_a_file_by_its_first_lines(tmp_path: Path):
    data = read(tmp_path, "Ann\tB-per\nlives\tO\n\nin\tO\nNew\tB-loc\nYork\tI-loc\n", "data.txt")
    assert data.task == "tagging" and len(data) == 2


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("Ann B-PER\nlives\n", "the word 'lives' has no tag", 2),
        ("Ann NNP B-PER\nlives O\n", "the line has 2 columns, the first one 3", 2),
        ("Ann\tB-PER\nlives\t\n", "the word 'lives' has an empty tag", 2),
        (b"Ann B-PER\n\xff O\n", "byte 0xff is not UTF-8 text", 2),
        ("\n\n-DOCSTART- O\n", "the file holds no words", None),
        ("", "the file holds no words", None),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str | bytes, message: str, line: int | None):
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path, text)
    assert caught.value.where == ("data.conll" if line is None else f"data.conll:{line}")


def test_a_file_and_a_line_that_are_too_large_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pellucid.data.lines.LARGEST_RECORD", 50)
    with pytest.raises(InputError, match="the line is longer than 50 bytes"):
        read(tmp_path, "Ann O\n" + "x" * 100 + " O\n")
    monkeypatch.setattr("pellucid.data.conll.LARGEST_CSV", 5)
    with pytest.raises(InputError, match="at most 5 are read"):
        read(tmp_path, "Ann O\n")


def test_another_label_than_the_tags_is_named_or_refused(tmp_path: Path):
    with pytest.raises(UnknownName, match=r"there is no column named 'tag'\. did you mean 'tags'"):
        read(tmp_path, CONLL_2003, label="tag")


def lines(folder: Path, rows: Sequence[Mapping[str, object]], **how: object) -> Dataset:
    path = folder / "data.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return pellucid.read(path, **how)


def test_json_lines_of_words_and_tags(tmp_path: Path):
    row = {"tokens": ["Ann", "lives"], "ner_tags": ["B-per", "O"], "source": "web"}
    data = lines(tmp_path, [row] * 3)
    assert (data.label, data.task, data.classes) == ("ner_tags", "tagging", ("per",))
    assert data.words == (("Ann", "lives"),) * 3 and data.is_text


def test_a_column_of_lists_that_is_named_is_the_tags(tmp_path: Path):
    row = {"words": ["Ann", "lives"], "entity": ["B-per", "O"]}
    assert lines(tmp_path, [row] * 3, label="entity").label == "entity"


def test_tags_beside_a_label_stay_beside_it(tmp_path: Path):
    rows = [
        {"tokens": ["Ann", "lives", "in", place], "tags": ["B-per", "O", "O", "B-loc"], "mood": "good"}
        for place in ("Rome", "Oslo", "Bonn")
    ]
    data = lines(tmp_path, rows, label="mood")
    assert (data.label, data.task, data.classes) == ("mood", "classification", ("good",))
    assert data.tags is not None and data.words is not None
