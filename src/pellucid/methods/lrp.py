"""Layer-wise relevance propagation: the output handed back through the layers, each sharing out what it received."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np

from ..engine.estimate import Estimate
from ..engine.session import Session
from ..engine.walking import Network
from ..operations.kinds import name_of
from ..operations.lrp import AlphaBeta, Box, Composite, Epsilon, Flat, Gamma, given
from ..operations.manner import Manner
from ..problem.model import Differentiable, Traceable
from ..records.messages import Caution
from ..records.settings import Range
from .from_gradient import nothing_back
from .method import Method

FAR = 0.1
"""A share of the output that is worth a note when it is not handed back."""
RuleName = Literal["epsilon", "z_plus", "gamma", "alpha_beta", "epsilon_plus", "epsilon_plus_flat", "epsilon_gamma_box"]


@dataclass(frozen=True)
class Lrp(Method):
    """R_i = Σ_j (share of i in j) · R_j from the output down to the inputs (Bach et al. 2015, PLoS ONE 10:e0130140).

    ``epsilon`` is the z-rule with a small ε, 0 for LRP-0; ``z_plus``, ``gamma`` and ``alpha_beta`` treat every layer
    with weights alike; ``epsilon_plus`` takes z⁺ for convolutions and ε for matrix products, ``epsilon_plus_flat`` and
    ``epsilon_gamma_box`` have rules of their own for the first layers. None: ``epsilon_plus`` where there are
    convolutions, else ``epsilon``. Sums conserve by themselves, products give half to each factor, and what attention's
    softmax or a norm's statistics say counts as given (Achtibat et al. 2024, arXiv 2402.05602). Biases keep what they
    took; how much is left behind each layer stands in the notes.

    LRP is said to be patented, and free for personal and scientific use only: decide for yourself.
    """

    rule: Annotated[RuleName | None, "how layers with weights share out; none: chosen from the network"] = None
    epsilon: Annotated[float, Range(0.0, 1.0), "added to denominators, away from zero"] = 1e-6
    gamma: Annotated[float, Range(0.0, 100.0), "how much more contributions of the output's own sign count"] = 0.25
    alpha: Annotated[float, Range(1.0, 10.0), "weight of positive contributions in alpha_beta; β is α − 1"] = 2.0
    low: Annotated[float, "the smallest input, for epsilon_gamma_box"] = 0.0
    high: Annotated[float, "the largest input, for epsilon_gamma_box"] = 1.0

    name: ClassVar[str] = "lrp"
    title: ClassVar[str] = "Layer-wise relevance propagation"
    source: ClassVar[str] = "Bach et al. 2015, PLoS ONE 10:e0130140; Montavon et al. 2019, chapter 10 of LNCS 11700"
    needs: ClassVar[tuple[type, ...]] = (Differentiable, Traceable)
    promises: ClassVar[tuple[str, ...]] = ()
    default: ClassVar[bool] = False
    removes: ClassVar[bool] = False
    known_as: ClassVar[tuple[str, ...]] = ("layerwise_relevance_propagation", "layer_wise_relevance_propagation")

    def manner(self, network: Callable[[], Network]) -> Manner:
        rule = self.rule or _chosen(network())
        composite = self._composite(rule)
        return Manner((rule, composite), composite.rules, stops=given, units=composite.units, watched=True)

    def estimate(self, session: Session) -> Estimate:
        manner = self.manner(lambda: session.network)
        values = session.walked(manner)
        scale = np.where(session.full == 0, np.nan, session.full)
        conserved = {layer: left / scale for layer, left in session.conserved(manner).items()}
        notes = {"rule": self.rule or _chosen(session.network), "kept": values.sum(1) / scale, "conserved": conserved}
        cautions = (*nothing_back(self.name, values, session), *self._kept_back(notes["kept"], session))
        return Estimate(session.pool(values), notes=notes, cautions=cautions)

    def _kept_back(self, kept: np.ndarray, session: Session) -> tuple[Caution, ...]:
        """A note where what is handed back is far from the output."""
        away = np.nan_to_num(np.abs(kept - 1)).reshape(len(session), -1).max(1)
        rows, total = int((away > FAR).sum()), len(session)
        values = {"method": self.name, "rows": rows, "total": total, "worst": float(away.max())}
        return (Caution.of("relevance_kept", "note", **values),) if rows else ()

    def _composite(self, rule: str) -> Composite:
        epsilon = Epsilon(self.epsilon)
        plus, gamma = AlphaBeta(1.0, 0.0, self.epsilon), Gamma(self.gamma, self.epsilon)
        both = AlphaBeta(self.alpha, self.alpha - 1, self.epsilon)
        return {
            "epsilon": Composite(epsilon, epsilon),
            "z_plus": Composite(plus, plus),
            "gamma": Composite(gamma, gamma),
            "alpha_beta": Composite(both, both),
            "epsilon_plus": Composite(epsilon, plus),
            "epsilon_plus_flat": Composite(epsilon, plus, Flat(self.epsilon)),
            "epsilon_gamma_box": Composite(epsilon, gamma, Box(self.low, self.high, self.epsilon)),
        }[rule]

    def cost(self, players: int) -> float:
        return 2.0


def _chosen(network: Network) -> RuleName:
    """z⁺ for convolutions where there are any."""
    convolutions = any(name_of(node) == "convolution" for node in network.graph.graph.nodes)
    return "epsilon_plus" if convolutions else "epsilon"
