"""Real data sets, where they lie beside the checkout: read, encode, profile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pellucid.data.encoding import Encoding
from pellucid.data.images import ImageEncoding
from pellucid.data.profiling import profile
from pellucid.data.reading import read

DATA = Path(__file__).resolve().parents[2] / "../shared/data"


def shared(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"the shared data folder with {name} is not beside this checkout")
    return path


def test_german_credit():
    data = read(shared("german_credit/german_credit.csv"), label="risk", protected=("sex", "foreign_worker"))
    assert len(data) == 800 and data.classes == ("bad", "good") and len(data.schema.features) == 21
    assert [c.name for c in data.schema.protected] == ["foreign_worker", "sex"]
    assert data.schema["telephone"].type == "boolean" and data.schema["purpose"].type == "categorical"
    encoding = Encoding.fit(data)
    assert encoding.encode(data).shape == (800, encoding.width)
    assert (encoding.encode(encoding.decode(encoding.encode(data))) == encoding.encode(data)).all()
    twins = [dict(c.values) for c in profile(data).warnings if c.code == "twin_columns"]
    assert any({t["first"], t["second"]} == {"personal_status_sex", "sex"} for t in twins)


def test_loan_prediction_has_missing_cells():
    data = read(shared("loan_prediction/loan_prediction.csv"), label="Loan_Status", immutable=("Gender",))
    assert sum(column.missing for column in data.schema) == 118 and data.classes == ("N", "Y")
    assert data.schema["Credit_History"].type == "boolean" and data.schema["Credit_History"].missing == 32
    encoding = Encoding.fit(data)
    found = encoding.encode(data.test)
    assert np.isfinite(found).all()
    place = encoding.elements.index("Credit_History=missing")
    assert found[:, place].tolist() == data.test.features["Credit_History"].isna().astype(float).tolist()


def test_adult_census():
    data = read(shared("adult_census/adult_train_12000.csv"), label="income", protected=("sex", "race"))
    assert len(data) == 12_000 and data.classes == ("<=50K", ">50K") and data.schema["workclass"].missing == 715
    encoding = Encoding.fit(data)
    other = read(shared("adult_census/adult_test_4000.csv"), label="income")
    assert encoding.encode(other).shape == (4000, encoding.width)
    assert set(encoding.unseen(other)) <= {"native_country", "workclass", "occupation", "education"}
    shares = [np.mean(part.labels) for part in (data.train, data.validation, data.test)]
    assert max(shares) - min(shares) < 1e-3


def test_compas():
    data = read(shared("compas/compas_two_years.csv"), label="two_year_recid", protected=("race", "sex"))
    assert len(data) == 5771 and data.classes == ("0", "1") and data.schema["c_charge_desc"].missing == 25
    assert profile(data).association["is_recid"] > 0.8


def test_bike_sharing():
    data = read(shared("bike_sharing/bike_sharing.csv"), label="count")
    assert data.task == "regression" and data.labels.dtype == np.float64 and data.classes == ()
    means = [part.labels.mean() for part in (data.train, data.validation, data.test)]
    assert max(means) - min(means) < 0.05 * np.mean(means)
    found = profile(data)
    assert not found.labels and found.association["hour"] > 0.3


def test_busi_ultrasound():
    path = shared("busi_ultrasound/busi_96.npz")
    data = read(path, groups="duplicate_group")
    assert data.classes == ("normal", "benign", "malignant") and data.shape == (96, 96)
    with np.load(path, allow_pickle=False) as archive:
        assert (data.test.row_numbers - 1).tolist() == np.flatnonzero(archive["split"] == "test").tolist()
    assert not set(data.train.groups) & set(data.validation.groups) and len(data.validation) > 50
    assert ImageEncoding((96, 96)).encode(data.test).shape == (len(data.test), 1, 96, 96)
    found = profile(data)
    assert found.shape == (96, 96) and sum(found.labels.values()) == 630


def test_texts_with_and_without_evidence():
    data = read(shared("sst2/sst2_dev.csv"), label="label")
    assert data.is_text and len(data) == 872 and data.classes == ("0", "1")
    data = read(shared("clinc150_small/clinc150_small.csv"), label="intent", text="text")
    assert data.is_text and (data.splits == 0).sum() == 7600 and len(data.slice("domain", "banking")) > 500
    data = read(shared("movie_rationales/movies_val_200.jsonl.gz"), label="label")
    start, stop = data.evidence.passages[0][0]
    assert data.classes == ("NEG", "POS") and data.features[0][start:stop] == "nothing really worth watching"
    data = read(shared("toxic_spans/toxic_spans_trial.jsonl"))
    start, stop = data.evidence.passages[0][0]
    assert len(data) == 690 and data.features[0][start:stop] == "moron"
    data = read(shared("wnut17_ner/wnut17_dev.jsonl"))
    assert all(len(text.split(" ")) == len(tags) for text, tags in zip(data.features, data.tags, strict=True))
