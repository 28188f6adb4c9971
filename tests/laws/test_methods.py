"""Every method of the catalogue obeys every law, on every problem it applies to."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from pellucid.catalog import everything
from pellucid.engine.estimate import Estimate
from pellucid.engine.session import Session
from pellucid.methods import IntegratedGradients, Lime, Occlusion, Rise, Saliency
from pellucid.methods.method import Method
from pellucid.records.errors import NotApplicable
from pellucid.testing import check_method
from pellucid.testing.problems import ATTENTION_PROBLEMS, PROBLEMS

ON_IMAGES = (
    "ablation_cam", "cam", "eigen_cam", "grad_cam", "grad_cam_plus_plus", "guided_grad_cam", "hires_cam", "layer_cam",
    "score_cam", "xgrad_cam",
)  # fmt: skip
"""Class activation maps, which need feature maps of a picture or series."""
OF_LAYERS = (
    "internal_influence", "layer_activation", "layer_conductance", "layer_gradient_x_activation", "neuron_attribution",
    "unit_ablation",
)  # fmt: skip
"""Methods that need a network they can look into."""
OF_ATTENTION = ("attention_flow", "attention_gradient", "attention_maps", "attention_rollout", "value_zeroing")
"""Methods that need a network with attention; they have problems of their own."""
EXPECTED = {
    "saliency": 11,
    "input_x_gradient": 11,
    "smoothed": 11,
    "smoothgrad": 11,
    "vargrad": 11,
    "squaregrad": 11,
    "integrated_gradients": 11,
    "expected_gradients": 11,
    "integrated_hessians": 8,
    "deeplift": 11,
    "decision_path": 11,
    "deepshap": 11,
    "lrp": 11,
    "guided_backprop": 3,
    "deconvolution": 3,
    "lime_neighbours": 11,
    "edge_filter": 2,
    "word_length": 2,
    "frequency": 2,
    "local_deviation": 1,
    "anchors": 13,
    "rise": 3,
    **dict.fromkeys(ON_IMAGES, 3),
    "cam": 2,  # its network has no mean and linear layer at the end where series have unequal lengths
    **dict.fromkeys(OF_LAYERS, 11),
    "permutation_importance": 10,
    "sage": 10,
}
"""Methods that do not apply to all fourteen problems (no gradients, no images), and to how many they do."""


@pytest.mark.parametrize("name", OF_ATTENTION)
def test_laws_of_attention(name: str) -> None:
    assert len(check_method(everything("methods")[name](), ATTENTION_PROBLEMS)) == len(ATTENTION_PROBLEMS)


@pytest.mark.parametrize("name", [name for name in everything("methods") if name not in OF_ATTENTION])
def test_laws(name: str) -> None:
    applied = check_method(everything("methods")[name]())
    assert len(applied) == EXPECTED.get(name, 14 if name != "input_magnitude" else 12)


@pytest.mark.parametrize(
    "method", [IntegratedGradients(path="blur"), IntegratedGradients(path="guided"), IntegratedGradients(spread=True)]
)
def test_laws_of_other_paths(method: Method) -> None:
    assert len(check_method(method)) == (2 if method == IntegratedGradients(path="blur") else 11)


@pytest.mark.parametrize(
    ("method", "applies"),
    [
        (Occlusion().smoothed(3), 12), (Lime(samples=40).smoothed(2, 0.1), 12),
        (IntegratedGradients(steps=8).smoothed(4, how="square"), 11), (Saliency().smoothed(6, how="variance"), 11),
        (Rise(samples=50).smoothed(2), 3),
    ],
    ids=lambda given: getattr(getattr(given, "of", None), "name", ""),
)  # fmt: skip
def test_laws_of_smoothed_methods(method: Method, applies: int) -> None:
    assert len(check_method(method)) == applies


@dataclass(frozen=True)
class _Rank(Method):
    """A number by place: no axiom holds of it."""

    name: ClassVar[str] = "rank"

    def estimate(self, session: Session) -> Estimate:
        return Estimate(
            np.tile(np.arange(1.0, session.n + 1) ** 2, (session.questions, 1)) * session.full[:, None] ** 2
        )


@pytest.mark.parametrize("kind", ["table", "image", "tensor", "words"])
@pytest.mark.parametrize("axiom", ["null_player", "symmetry", "linearity"])
def test_a_false_promise_is_found_on_rows_of_the_methods_own_kind(kind: str, axiom: str) -> None:
    liar = type("Liar", (_Rank,), {"kinds": (kind,), "promises": (axiom,)})
    with pytest.raises(AssertionError, match=f"breaks {axiom}"):
        check_method(liar())


class _Nothing(_Rank):
    """Refuses the problems that test axioms, and takes all others."""

    promises: ClassVar[tuple[str, ...]] = ("symmetry",)

    def estimate(self, session: Session) -> Estimate:
        if session.n == 4 and len(session) == 2:
            raise NotApplicable("not these")
        return super().estimate(session)


def test_a_promise_that_is_tested_on_nothing_is_no_promise() -> None:
    with pytest.raises(AssertionError, match="promises symmetry, and applies to none"):
        check_method(_Nothing(), {"black_box": PROBLEMS["black_box"]})
