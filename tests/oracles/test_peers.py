"""Attributions made by captum and shap, graded here: the same numbers get the same scores as our own.

The peers live in an interpreter of their own; the variable PELLUCID_PEERS names it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.records.errors import InputError
from pellucid.removals import Constant, Marginal

PEERS = os.environ.get("PELLUCID_PEERS", "")
SCORES = ("abpc", "faithfulness_correlation", "sparseness", "complexity", "completeness_gap")


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        rng = np.random.default_rng(0)
        self.first = nn.Parameter(torch.from_numpy(rng.normal(size=(7, 5))))
        self.bias = nn.Parameter(torch.from_numpy(rng.normal(size=7)))
        self.second = nn.Parameter(torch.from_numpy(rng.normal(size=(3, 7))))

    def forward(self, x):
        return torch.tanh(x @ self.first.T + self.bias) @ self.second.T


NET = Small()
X = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 5)))
BACKGROUND = np.random.default_rng(2).normal(size=(12, 5))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    if not PEERS or not Path(PEERS).exists():
        pytest.skip("PELLUCID_PEERS does not name a Python that has captum and shap")
    folder = tmp_path_factory.mktemp("peers")
    weights = {name: value.detach().numpy() for name, value in NET.named_parameters()}
    np.savez(folder / "given.npz", x=X.numpy(), background=BACKGROUND, **weights)
    script = Path(__file__).with_name("peer_attributions.py")
    subprocess.run(
        [PEERS, str(script), str(folder / "given.npz"), str(folder / "out.npz")],
        check=True, capture_output=True, timeout=150,
    )  # fmt: skip
    with np.load(folder / "out.npz") as out:
        return {name: out[name] for name in out.files}


def same_scores(ours, theirs, rtol=1e-5):
    for name in SCORES:
        if ours[name].status == "ok":
            np.testing.assert_allclose(theirs[name].values, ours[name].values, rtol=rtol, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("method", ["integrated_gradients", "saliency", "occlusion"])
def test_captum(made, method):
    settings = {"steps": 64} if method == "integrated_gradients" else {}
    e = pellucid.explain(NET, X, method, removal=Constant(0.0), target=1, **settings)
    np.testing.assert_allclose(made[method], e.values, atol=1e-6)
    theirs = pellucid.evaluate(NET, X, torch.from_numpy(made[method]), removal=Constant(0.0), target=1, controls=False)
    same_scores(pellucid.evaluate(NET, X, e, controls=False), theirs)


def test_shap(made):
    explanation = SimpleNamespace(values=made["shap_values"], base_values=made["shap_base"], data=made["shap_data"])
    assert explanation.values.shape == (6, 5, 3)
    for column in range(3):
        e = pellucid.explain(NET, X, "exact_shapley", removal=Marginal(BACKGROUND), target=column)
        np.testing.assert_allclose(explanation.values[:, :, column], e.values, atol=1e-6)
        theirs = pellucid.evaluate(NET, X, explanation, background=BACKGROUND, target=column, controls=False)
        same_scores(pellucid.evaluate(NET, X, e, controls=False), theirs)


# Objects shaped as shap's, without shap ----------------------------------------------------


def shaped(values, base, data=None):
    return SimpleNamespace(values=values, base_values=base, data=X.numpy() if data is None else data)


EXACT = [pellucid.explain(NET, X, "exact_shapley", background=BACKGROUND, target=k) for k in range(3)]


def codes(explanation):
    return [caution.code for caution in explanation.warnings]


def read(given, **fields):
    from pellucid.doors.foreign import as_explanation
    from pellucid.doors.question import as_problem

    return as_explanation(as_problem(NET, X, **({"background": BACKGROUND} | fields)), given)


def test_one_output_and_all_outputs():
    one = read(shaped(EXACT[2].values, EXACT[2].base[:, 0]), target=2)
    np.testing.assert_array_equal(one.values, EXACT[2].values)
    every = np.stack([e.values for e in EXACT], axis=-1)
    bases = np.stack([e.base[:, 0] for e in EXACT], axis=-1)
    for target, wanted in ((2, EXACT[2].values), ((0, 1), EXACT[0].values - EXACT[1].values), ("all", every)):
        for base in (bases, bases[0]):
            e = read(shaped(every, base), target=target)
            np.testing.assert_allclose(e.values, wanted, atol=1e-12)
            assert "foreign_base" not in codes(e)
    old = read([e.values for e in EXACT], target=1)  # shap's old lists: one array per output
    np.testing.assert_array_equal(old.values, EXACT[1].values)
    picked = read(shaped(every, bases), target=[0, 1, 2, 0, 1, 2])
    np.testing.assert_array_equal(picked.values, [every[row, :, row % 3] for row in range(6)])


def test_another_baseline_is_told():
    e = read(shaped(EXACT[1].values, EXACT[1].base[:, 0] + 1.0), target=1)
    assert "foreign_base" in codes(e)
    assert "foreign_base" in codes(read(shaped(EXACT[1].values, float(EXACT[1].base[0, 0]) - 0.7), target=1))


def test_other_rows_are_refused():
    with pytest.raises(InputError, match="the attributions are of other rows"):
        read(shaped(EXACT[1].values, EXACT[1].base[:, 0], data=X.numpy()[::-1].copy()), target=1)
    with pytest.raises(InputError, match="attributions for 5 rows, but 6 rows were given"):
        read(EXACT[1].values[:5], target=1)
    with pytest.raises(InputError, match="fit neither 5 players nor rows of 5"):
        read(np.zeros((6, 4)), target=1)
    with pytest.raises(InputError, match=r"row 2: the attributions hold NaN or infinity"):
        read(np.where(np.arange(6)[:, None] == 2, np.nan, EXACT[1].values), target=1)
    with pytest.raises(InputError, match="3 targets are asked for, the attributions speak of one"):
        read(EXACT[1].values, target="all")


def test_a_single_row_may_lack_its_axis():
    from pellucid.doors.foreign import as_explanation
    from pellucid.doors.question import as_problem

    problem = as_problem(NET, X[:1], target=1)
    np.testing.assert_array_equal(as_explanation(problem, EXACT[1].values[0]).values, EXACT[1].values[:1])
