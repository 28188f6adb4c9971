"""What newcomers stumbled over: words that claim no more than is known, and ways out of each refusal."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.faces.options import as_typed
from pellucid.records.errors import EncodingError, NotApplicable, StoreError, TargetError
from pellucid.records.messages import Caution
from pellucid.records.score import Score
from pellucid.studies.listing import card

torch.manual_seed(0)
NET = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
X = torch.randn(12, 4)


def test_a_score_that_cannot_be_told_from_a_control_is_not_called_ok() -> None:
    level = Caution.of("beaten_by_control", "yellow", method="lime", control="random", metric="abpc")
    fields = {"method": "lime", "metric": "abpc", "values": np.full(5, 0.5), "better": "higher"}
    assert Score(**fields, controls={"random": 0.4}).verdict == "ok"
    assert Score(**fields, controls={"random": 0.4}, warnings=(level,)).verdict == "no better than a control"
    assert Score(**fields, controls={"random": 0.6}, warnings=(level,)).verdict == "control is better"


@pytest.mark.parametrize("control", [0.4, 0.5, 0.6])
def test_from_two_rows_nothing_is_said_of_controls(control: float) -> None:
    two = {"method": "lime", "metric": "abpc", "values": np.array([0.5, 0.5]), "better": "higher"}
    assert Score(**two, controls={"random": control}).verdict == "too few rows to tell"
    assert Score(**two).verdict == "ok"
    assert Score(**(two | {"better": "neither"}), controls={"random": control}).verdict == "ok"
    found = pellucid.evaluate(NET, X[:2], np.zeros((2, 4)), removal="zeros", target=0, metrics=["comprehensiveness"])
    assert [caution.code for caution in found.warnings if caution.code == "beaten_by_control"] == []
    assert found.to_frame()["status"].tolist() == ["too few rows to tell"]


def test_few_rows_claim_no_dead_units() -> None:
    few, more = pellucid.inspect(NET, X[:2]), pellucid.inspect(NET, X)
    assert not few.dead.any() and not (few.twins >= 0).any()
    assert "Fewer than 8 rows say nothing" in few.text() and "Fewer than" not in more.text()
    assert "units are" not in more.text()


def test_a_figure_by_a_name_that_a_record_does_not_have() -> None:
    trace = pellucid.explain(NET, X[:2], "layer_activation")
    with pytest.raises(NotApplicable, match=r"a Trace has one figure, and none named 'waterfall'.*plot\(row=…\)"):
        trace.plot("waterfall")


def test_a_file_of_another_record_says_what_reads_it(tmp_path: Path) -> None:
    path = pellucid.explain(NET, X[:2], "decision_path", target=0).save(tmp_path / "flow")
    with pytest.raises(
        StoreError, match=r"holds flow, not explanation\. read it with pellucid\.records\.flow\.Flow\.load"
    ):
        pellucid.Explanation.load(path)


def test_a_number_written_as_a_name() -> None:
    with pytest.raises(TargetError, match=r"no output named '2'.*its index is a number: target=2\."):
        pellucid.explain(NET, X[:2], target="2")
    with pytest.raises(TargetError) as caught:
        pellucid.explain(NET, X[:2], target="7")
    assert not caught.value.fix


def test_types_of_settings_are_words() -> None:
    types = {
        setting["type"] for name in ("decision_path", "lime", "lrp") for setting in card("methods", name)["settings"]
    }
    assert not any("class" in told or "Ellipsis" in told for told in types), types


def test_advice_for_python_reads_as_options_on_the_command_line() -> None:
    error = EncodingError("column 'a' holds text", fix="pass it: pellucid.wrap(model, encoding=…)")
    assert as_typed(error).fix == "pass it: --encoding encoding.json" and isinstance(as_typed(error), EncodingError)
    with pytest.raises(pellucid.PellucidError) as caught:
        pellucid.explain(NET, torch.randn(2, 5))
    assert "--label" in as_typed(caught.value).fix and "--encoding" in as_typed(caught.value).fix
    assert as_typed(NotApplicable("no")).fix == ""


def test_amounts_that_add_up_players_do_not_deny_the_errors_beside_them() -> None:
    pictures = torch.rand(2, 3, 16, 16)
    net = nn.Sequential(nn.Flatten(), nn.Linear(768, 2))
    found = pellucid.explain(net, pictures, "kernel_shapley", budget=200)
    assert found.errors is not None and "is not known." not in found.text().replace("of such a sum is not known; ", "")


@pytest.mark.parametrize("method", ["layer_activation", "decision_path"])
def test_a_person_is_not_told_of_units(method: str) -> None:
    found = pellucid.explain(NET, X[:2], method, target=0)
    for language, word in (("en", "for those who build it"), ("zh", "供构建模型的人使用")):
        told = found.text(0, language, "person")
        assert word in told and "unit " not in told and told != found.text(0, language, "expert")
    told = found.text(0, "en", "person")
    assert told.startswith("This text was written by a machine. ")
    assert "ask those who handle it for the explanation of your entries" in told
    assert "请向处理您个案的人员索取" in found.text(0, "zh", "person")
