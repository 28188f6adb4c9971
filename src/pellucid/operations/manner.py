"""Manners of walking back: which rules, where relevance stops, what a rectifier is fused with. All as data."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from torch.fx import Node

from ..records.errors import NotApplicable
from . import lrp
from .plan import Plan
from .reveal_cancel import revealed
from .rules import RESCALE, Rules
from .walk import Back, multipliers


def _nowhere(node: Node) -> bool:
    return False


def _none(plan: Plan) -> frozenset[Node]:
    return frozenset()


@dataclass(frozen=True)
class Manner:
    """How a network is walked back.

    ``key`` tells manners apart. ``rules`` are chosen once the plan is known; the walk does not pass ``stops``;
    ``apart`` keeps rectifiers from being fused with what follows. With ``referred`` the row is compared with a
    reference, else with 0, and with one less than itself at ``units``. With ``plain`` what is carried to the inputs is
    the answer; without, it is multiplied with what it is the slope of. With ``watched`` what is left behind each layer
    is told. ``back`` is the walk itself, step by step.
    """

    key: Hashable
    rules: Callable[[Plan], Rules] = field(compare=False)
    stops: Callable[[Node], bool] = field(default=_nowhere, compare=False)
    apart: bool = False
    referred: bool = False
    plain: bool = False
    watched: bool = False
    back: Back = field(default=multipliers, compare=False)
    units: Callable[[Plan], frozenset[Node]] = field(default=_none, compare=False)


def _rectified(rules: Rules) -> Callable[[Plan], Rules]:
    """Rules for rectifiers, refused where there are none: they would silently give the plain gradient."""

    def chosen(plan: Plan) -> Rules:
        if not any(step.kind == "rectifier" for step in plan.steps):
            raise NotApplicable(
                "the network has no rectifier",
                why="this method differs from the gradient only where max(u, 0) is computed",
                fix="use saliency, integrated_gradients or deeplift",
            )
        return rules

    return chosen


RESCALED = Manner("rescale", lambda plan: RESCALE, referred=True)
REVEALED = Manner("reveal_cancel", lambda plan: RESCALE, referred=True, back=revealed)
GUIDED = Manner("guided", _rectified(lrp.GUIDED), apart=True, plain=True)
DECONVOLVED = Manner("deconvolution", _rectified(lrp.DECONVOLUTION), apart=True, plain=True)
