"""The data that come with the house: the rule's Shapley values against a sum over all coalitions."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest

from pellucid.data.books import LOAN_COLUMNS, LoanRule, breast_cancer, digits, loan_book, loan_data
from pellucid.data.encoding import Encoding
from pellucid.records.errors import EncodingError


def slow_shapley(rule, row, reference):
    """Shapley's formula (1953), term by term, over a table of all coalitions."""
    n = len(LOAN_COLUMNS)
    coalitions = [frozenset(chosen) for size in range(n + 1) for chosen in combinations(LOAN_COLUMNS, size)]
    rows = [{name: (row if name in members else reference)[name] for name in LOAN_COLUMNS} for members in coalitions]
    worth = dict(zip(coalitions, rule.log_odds(rows), strict=True))

    def share(name, members):
        weight = factorial(len(members)) * factorial(n - len(members) - 1) / factorial(n)
        return weight * (worth[members | {name}] - worth[members])

    return [sum(share(name, members) for members in coalitions if name not in members) for name in LOAN_COLUMNS]


def test_contributions_are_shapley_values():
    frame, rule = loan_book(50, seed=3)
    row, reference = frame.iloc[4].to_dict(), frame.iloc[9].to_dict()
    found = rule.contributions(frame.iloc[[4]], frame.iloc[9])
    np.testing.assert_allclose(found[0], slow_shapley(rule, row, reference), atol=1e-10)


def test_contributions_add_up_and_skip_what_does_not_matter():
    frame, rule = loan_book(200)
    reference = frame.iloc[[0]]
    found = rule.contributions(frame, reference)
    assert found.shape == (200, 8) and found.dtype == np.float64
    np.testing.assert_allclose(found.sum(axis=1), rule.log_odds(frame) - rule.log_odds(reference), atol=1e-12)
    assert rule.irrelevant == ("age", "owns_home")
    assert (found[:, [LOAN_COLUMNS.index(name) for name in rule.irrelevant]] == 0).all()
    with pytest.raises(EncodingError, match="one reference row"):
        rule.contributions(frame, frame)


def test_the_book_follows_its_rule():
    frame, rule = loan_book(20_000, seed=1)
    chance = rule.probability(frame)
    yes = (frame["approved"] == "yes").to_numpy()
    for low in np.arange(0, 1, 0.2):  # the share of yes in each fifth of the stated chances
        part = (chance >= low) & (chance < low + 0.2)
        assert yes[part].mean() == pytest.approx(chance[part].mean(), abs=4 * 0.5 / np.sqrt(part.sum()))
    assert 0.4 < yes.mean() < 0.7
    assert loan_book(50, 2)[0].equals(loan_book(50, 2)[0]) and not loan_book(50, 2)[0].equals(loan_book(50, 3)[0])
    assert rule == LoanRule()


def test_the_book_as_a_data_set():
    data = loan_data(500)
    assert data.classes == ("no", "yes") and data.schema["income"].unit == "thousand a year"
    assert data.schema["owns_home"].type == "boolean" and data.schema["age"].protected
    encoding = Encoding.fit(data)
    assert encoding.width == 8 and list(encoding.groups) == list(LOAN_COLUMNS)


def test_shipped_sets():
    cancer = breast_cancer()
    assert len(cancer) == 569 and cancer.classes == ("benign", "malignant") and (cancer.labels == 1).sum() == 212
    assert cancer.schema["mean texture"].unit == "grey levels" and len(cancer.schema.features) == 30
    figures = digits()
    assert figures.shape == (8, 8) and figures.array.dtype == np.uint8 and figures.array.max() == 16
    assert figures.classes == tuple("0123456789") and len(figures.train) + len(figures.test) < 1797
