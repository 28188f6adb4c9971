"""Texts as data: CSV and JSON lines, evidence and tags beside them, what is refused and what is said of them."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

import pellucid
from pellucid.data.encoding import Encoding
from pellucid.data.profiling import profile
from pellucid.data.text_profile import LENGTHS, WORDS
from pellucid.measures.vocabulary import words_of
from pellucid.records.errors import InputError, UnknownName
from pellucid.records.profile import Profile
from pellucid.records.regions import Spans
from pellucid.store.folder import as_json

GOOD, BAD = "a fine and moving film number", "a dull and empty film number"
ROWS = [{"text": f"{GOOD if i % 2 else BAD} {i}", "label": "pos" if i % 2 else "neg"} for i in range(40)]


def written(tmp_path, rows, name="texts.jsonl"):
    path = tmp_path / name
    content = "\n".join(json.dumps(row) if not isinstance(row, str) else row for row in rows).encode("utf-8")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("name", ["texts.jsonl", "texts.jsonl.gz"])
def test_json_lines_become_texts_with_labels(tmp_path, name):
    data = pellucid.read(written(tmp_path, ROWS, name), label="label")
    assert data.is_text and not data.is_table and data.shape == () and "texts" in repr(data)
    assert data.features == [row["text"] for row in ROWS] and data.classes == ("neg", "pos")
    part = data.test[[1, 0]]
    assert isinstance(part.features, list) and part.labels is not None
    assert [data.features[i - 1] for i in part.row_numbers] == part.features


def test_a_table_of_one_text_and_a_label_needs_no_more(tmp_path):
    path = tmp_path / "texts.csv"
    path.write_text("text,label\n" + "".join(f'"{row["text"]}, he said",{i % 2}\n' for i, row in enumerate(ROWS)))
    data = pellucid.read(path, label="label")
    assert data.is_text and data.schema["text"].type == "text" and data.features[0].endswith("he said")


def test_beside_other_columns_a_text_is_a_column_unless_it_is_named(tmp_path):
    rows = [{**row, "stars": i % 5, "site": "ab"[i % 2]} for i, row in enumerate(ROWS)]
    table = pellucid.read(written(tmp_path, rows), label="label")
    assert table.is_table and table.schema["text"].type == "text" and len(table.schema.features) == 3
    with pytest.raises(InputError, match="read the data with text='text'"):
        Encoding.fit(table)
    data = pellucid.read(written(tmp_path, rows), label="label", text="text")
    assert data.is_text and data.schema["site"].role == "ignored" and len(data.slice("site", "a")) == 20
    with pytest.raises(InputError, match="tokenizer of its own"):
        Encoding.fit(data)
    with pytest.raises(UnknownName, match="did you mean 'text'"):
        pellucid.read(written(tmp_path, rows), label="label", text="texts")
    with pytest.raises(InputError, match="both the text and the label"):
        pellucid.read(written(tmp_path, rows), label="label", text="label")


def test_names_and_categories_are_no_texts(tmp_path):
    rows = [{"name": f"Ann Smith {i}", "town": "a town of some size"[: 9 + i % 2], "label": i % 2} for i in range(40)]
    data = pellucid.read(written(tmp_path, rows), label="label")
    assert {column.type for column in data.schema.features} == {"categorical"}


def test_short_texts_are_texts_where_they_are_named(tmp_path):
    rows = [{"text": word, "label": i % 2} for i, word in enumerate(["good", "bad", "none", "12"] * 6)]
    data = pellucid.read(written(tmp_path, rows), label="label", text="text")
    assert data.features[:4] == ["good", "bad", "none", "12"]


def test_splits_of_the_file_are_kept(tmp_path):
    rows = [{**row, "split": ("train", "val", "test")[i % 3]} for i, row in enumerate(ROWS)]
    data = pellucid.read(written(tmp_path, rows), label="label")
    assert data.is_text and data.splits.tolist() == [i % 3 for i in range(40)]


def test_chinese_is_text_without_blanks(tmp_path):
    rows = [{"text": f"这部电影真的很好看{i}", "label": i % 2} for i in range(30)]
    assert pellucid.read(written(tmp_path, rows), label="label").is_text
    assert words_of("Don't 看电影, twenty-one") == ["don't", "看", "电", "影", "twenty-one"]


def test_evidence_in_characters_and_in_words(tmp_path):
    rows = [{"text": "not a good film at all", "spans": [[0, 3], [6, 10], [10, 15]]}, {"text": "it is just a film"}]
    data = pellucid.read(written(tmp_path, rows))
    assert data.evidence == Spans((((0, 3), (6, 15)), ()))
    assert data[1:].evidence.passages == ((),)
    assert np.flatnonzero(data.evidence.masks(25)[0]).tolist() == [0, 1, 2, *range(6, 15)]
    rows = [{"text": "not a\ngood  film at all", "rationale_tokens": [[0, 1], [2, 4]]}]
    data = pellucid.read(written(tmp_path, rows))
    assert [data.features[0][a:b] for a, b in data.evidence.passages[0]] == ["not", "good  film"]
    rows = [{"text": "not a good film at all", "why": [[0, 3]]}]
    assert pellucid.read(written(tmp_path, rows), evidence="why").evidence.passages == (((0, 3),),)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        ([[0, 99]], r"column 'spans': the passage \[0, 99\) does not lie in a row of 22"),
        ([[5, 5]], r"\[5, 5\) does not lie"),
        ([[-1, 3]], r"\[-1, 3\) does not lie"),
        ([1, 2], r"column 'spans', row 2: \[1, 2\] is no list of passages"),
        ("0:3", r"is no list of passages"),
    ],
)
def test_passages_that_do_not_fit_are_named_by_row(tmp_path, cell, message):
    rows = [{"text": "the film is good enough"}, {"text": "not a good film at all", "spans": cell}]
    with pytest.raises(InputError, match=message) as caught:
        pellucid.read(written(tmp_path, rows), evidence="spans")
    assert "row 2" in str(caught.value)


def test_words_with_tags(tmp_path):
    rows = [{"tokens": ["Ann", "lives", "in", "New", "York"], "tags": ["B-per", "O", "O", "B-loc", "I-loc"]}]
    data = pellucid.read(written(tmp_path, rows))
    assert data.features == ["Ann lives in New York"] and data.tags == (("B-per", "O", "O", "B-loc", "I-loc"),)
    rows[0]["tags"] = ["O"]
    with pytest.raises(InputError, match="row 1: 1 tags for 5 words"):
        pellucid.read(written(tmp_path, rows))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ("", "1 of 5 texts are empty \\(row 3\\)"),
        (" \t\n", "1 of 5 texts are empty"),
        (None, "1 of 5 texts are empty"),
        ("zero \x00 in it and more", "1 texts hold zero characters"),
    ],
)
def test_texts_that_cannot_be_explained_are_refused_with_their_rows(tmp_path, bad, message):
    rows = [row["text"] for row in ROWS[:4]]
    rows.insert(2, bad)
    with pytest.raises(InputError, match=message) as caught:
        pellucid.read(written(tmp_path, [{"text": text} for text in rows]))
    assert "row 3" in str(caught.value) and "texts.jsonl" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "texts.jsonl:2: the line is not valid JSON"),
        ("[1, 2]", "texts.jsonl:2: the line holds a list, not an object"),
        ('{"text": "a", "text": "b"}', "the key 'text' occurs twice"),
        ('{"text": NaN}', "NaN is no JSON"),
        ("[" * 100_000, "texts.jsonl:2: the line is not valid JSON"),
        ('{"text": "half \\ud800 of it"}', "texts.jsonl:2: the line holds half a character"),
        ('{"": "a"}', "column 2 has no name"),
        ('{"text": {"a": 1}}', "row 2: a cell holds a dict"),
    ],
)
def test_lines_that_are_no_objects_are_named(tmp_path, line, message):
    with pytest.raises(InputError, match=message):
        pellucid.read(written(tmp_path, [{"text": "the first line is a good one"}, line]))


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "this one is good enough"}\n\n{"text": "caf\xe9"}\n')
    with pytest.raises(InputError, match=r"texts\.jsonl:3: byte 0xe9 is not UTF-8"):
        pellucid.read(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="the file is empty"):
        pellucid.read(path)


def test_a_truncated_or_hostile_packed_file_is_refused(tmp_path, monkeypatch):
    whole = written(tmp_path, ROWS, "texts.jsonl.gz").read_bytes()
    path = tmp_path / "cut.jsonl.gz"
    for end in range(0, len(whole), max(1, len(whole) // 20)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"truncated or damaged|is empty"):
            pellucid.read(path)
    monkeypatch.setattr("pellucid.data.json_lines.RATIO_FROM", 1000)
    path.write_bytes(gzip.compress(b'{"text": "' + b" " * 10**7 + b'"}'))
    with pytest.raises(InputError, match="decompression bomb"):
        pellucid.read(path)
    monkeypatch.setattr("pellucid.data.lines.LARGEST_RECORD", 100)
    with pytest.raises(InputError, match="longer than 100 bytes"):
        pellucid.read(written(tmp_path, [{"text": "a b c " * 50}]))


def test_the_profile_tells_lengths_words_and_repeats():
    import pandas as pd

    texts = [f"{GOOD if i % 2 else BAD} {i}" for i in range(60)]
    texts += ["the same text stands here twice"] * 8 + ["a bell \x07 is a control character"]
    labels = ["pos" if i % 2 else "neg" for i in range(len(texts))]
    data = pellucid.read(pd.DataFrame({"text": texts, "label": labels}), label="label")
    found = profile(data)
    lengths, words, label = found.columns
    assert lengths.name == LENGTHS and lengths.quantiles[0] == 6 and sum(lengths.counts) == len(data)
    assert words.name == WORDS and set(words.categories[:4]) == {"fine", "moving", "dull", "empty"}
    place = words.categories.index("fine")
    assert words.counts[place] == 30 == words.by_label["pos"][place] and words.by_label["neg"][place] == 0
    assert label.name == "label" and found.labels == {"neg": 35, "pos": 34}
    by_code = {caution.code: caution for caution in found.warnings}
    assert by_code["texts_in_splits"].values["texts"] == 1 == by_code["contrary_texts"].values["texts"]
    assert by_code["control_characters"].values["total"] == len(data)
    assert "telling_word" not in by_code
    assert Profile.from_dict(as_json(found.to_dict())).columns[1].categories == words.categories


def test_a_word_that_tells_the_label_alone_is_told():
    import pandas as pd

    texts = [f"{'spoken' if i % 2 else 'written'} words about the film {i}" for i in range(100)]
    data = pellucid.read(pd.DataFrame({"text": texts, "y": [i % 2 for i in range(100)]}), label="y")
    told = [caution for caution in profile(data).warnings if caution.code == "telling_word"]
    assert {caution.values["word"] for caution in told} == {"spoken", "written"} and told[0].severity == "red"
    assert "spoken" in told[0].text("zh") + told[1].text("zh")


def test_strengths_are_those_of_the_table():
    from pellucid.data.association import cramers_v
    from pellucid.data.text_profile import _strengths

    rng = np.random.default_rng(0)
    has, classes = rng.integers(0, 2, 200), rng.integers(0, 3, 200)
    present = np.array([[((classes == c) & (has == 1)).sum() for c in range(3)]], dtype=float)
    assert _strengths(present, np.bincount(classes).astype(float))[0] == pytest.approx(cramers_v(has, classes))
    copy = np.array([[0.0, 100.0]])
    assert _strengths(copy, np.array([100.0, 100.0]))[0] == pytest.approx(1)
