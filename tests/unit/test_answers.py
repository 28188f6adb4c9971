"""Methods that answer with something else than a number for each player of each row: sealed, saved, not graded."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import pellucid
from pellucid.engine.estimate import Estimate
from pellucid.engine.session import Session
from pellucid.methods.method import Method
from pellucid.records.answer import Answer
from pellucid.records.errors import InputError, NotApplicable, StoreError
from pellucid.records.explanation import Explanation
from pellucid.records.importance import Importance
from pellucid.testing import check_method

ROWS = np.array([[1.0, 2.0, 3.0], [0.0, -1.0, 1.0]])


@dataclass(frozen=True)
class Overall(Method):
    """The mean loss when each player is absent alone, over all rows."""

    name: ClassVar[str] = "overall"
    title: ClassVar[str] = "Overall"
    source: ClassVar[str] = "an example"
    answers: ClassVar[type[Answer]] = Importance

    def estimate(self, session: Session) -> Estimate:
        lost = session.full[:, None] - session.values(~np.eye(session.n, dtype=bool))
        by_row = lost.reshape(len(session), session.targets, session.n)
        return Estimate(by_row.mean(0), stderr=by_row.std(0) / np.sqrt(len(session)))


def line(x):
    return np.asarray(x) @ np.array([[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]])


def test_an_answer_about_all_rows_is_sealed_by_player():
    found = pellucid.explain(line, ROWS, Overall(), target=0)
    assert isinstance(found, Importance) and len(found) == 1
    np.testing.assert_allclose(found.values, [0.5, 1.0, 0.0])
    np.testing.assert_allclose(found.base, [[0.0]])
    np.testing.assert_allclose(found.full, [[(5 - 2) / 2]])
    assert found.top(1)[0][:2] == ("x1", 1.0)
    assert found.to_frame()["player"].tolist() == ["x1", "x0", "x2"]
    assert len(found.ids) == 2 and "over 2 rows" in repr(found)


def test_several_targets_and_names_of_what_differs_by_row():
    every = pellucid.explain(line, ROWS, Overall(), target="all")
    np.testing.assert_allclose(every.values, [[0.5, 0.0], [1.0, 0.5], [0.0, -2.0]])
    assert every.outputs == (("output 0", "output 1"),)
    assert pellucid.explain(line, ROWS, Overall(), target=[0, 1]).outputs == (("each row",),)


def test_it_is_read_back_as_what_it_is(tmp_path):
    found = pellucid.explain(line, ROWS, Overall(), target=0)
    back = Importance.load(found.save(tmp_path / "found"))
    assert back.values.tobytes() == found.values.tobytes() and back.method == "overall"
    with pytest.raises(StoreError, match="holds importance"):
        Explanation.load(tmp_path / "found.npz")


def test_it_cannot_be_graded_beside_contributions():
    found = pellucid.explain(line, ROWS, Overall(), target=0)
    with pytest.raises(InputError, match="answered with importance"):
        pellucid.evaluate(line, ROWS, found)
    compared = pellucid.compare(line, ROWS, {"all": Overall(), "each": "occlusion"}, metrics="complexity")
    assert [name for name, _ in compared.ranking] == ["each"]
    assert "cannot be graded" in compared.failed[0].reason


def test_rows_that_share_no_players_have_no_importance_together():
    def count(texts):
        return np.array([[float(len(text))] for text in texts])

    with pytest.raises(NotApplicable, match="all rows together"):
        pellucid.explain(count, [["a", "b"], ["c"]], Overall())


def test_the_laws_hold_of_answers_about_all_rows():
    assert "table" in check_method(Overall())
