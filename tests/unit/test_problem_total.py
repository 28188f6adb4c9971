"""The sum of several outputs as a target."""

import numpy as np
import pytest

import pellucid
from pellucid.records.errors import TargetError
from pellucid.targets import Total

X = np.random.default_rng(0).normal(size=(3, 4))
WEIGHTS = np.random.default_rng(1).normal(size=(4, 5))


def model(x):
    return x @ WEIGHTS


@pytest.mark.parametrize(
    ("which", "columns", "name"),
    [((), slice(None), "t+1 + … + t+5"), (("t+2", 3), [1, 3], "t+2 + t+4"), ((-1,), [4], "t+5")],
)
def test_contributions_to_a_sum_are_the_sums_of_contributions(which, columns, name):
    wrapped = pellucid.wrap(model, outputs=[f"t+{step}" for step in range(1, 6)])
    e = pellucid.explain(wrapped, X, "exact_shapley", target=Total(which), background=np.zeros((1, 4)))
    assert np.allclose(e.values, X * WEIGHTS[:, columns].sum(1))
    assert e.outputs[0] == (name,)


def test_an_output_that_is_not_there_or_there_twice_is_refused():
    with pytest.raises(TargetError, match="out of range"):
        pellucid.explain(model, X, "occlusion", target=Total((7,)))
    with pytest.raises(TargetError, match="in the sum twice"):
        pellucid.explain(model, X, "occlusion", target=Total((0, -5)))
