"""Explainers under shap's names: each asks :func:`pellucid.explain` and answers under shap's names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from ...backends.keras_model import is_keras
from ...backends.tensorflow_live import is_tensorflow
from ...doors.wrap import wrap
from ...modalities.tabular import Columns, CorrelatedColumns
from ...problem.model import Differentiable, Model, Traceable
from ...records.errors import NotApplicable, RemovalError
from ...records.explanation import Explanation
from ...records.sliced import Chain, Sliced
from ...studies.explaining import explain
from ..asked import counted
from .backgrounds import sample
from .links import logit
from .maskers import Image, Partition, as_background

ALGORITHMS = {
    "auto": "shapley",
    "exact": "exact_shapley",
    "permutation": "permutation_shapley",
    "sampling": "permutation_shapley",
    "partition": "owen",
    "kernel": "kernel_shapley",
    "gradient": "expected_gradients",
    "deep": "deepshap",
}
"""What each of shap's algorithms is called here."""


class Explainer:
    """``explainer(X)`` explains every row, and every output of the model.

    Parameters
    ----------
    model: a function of an array (or of a DataFrame, where ``masker`` is one), a torch module, an estimator.
    masker: background rows, or one of ``maskers``. Without one the rows given to the call stand for the background.
    link: ``"identity"``, ``"logit"`` or a function of outputs. The linked output is explained, averaged after the link.
    algorithm: ``"auto"``, ``"exact"``, ``"permutation"``, ``"partition"``, ``"kernel"``; others are refused.
    output_names, feature_names: names for the answer. seed: 0 where it is None, so that calls repeat themselves.

    ``linearize_link`` and further keywords of shap's have no meaning here and are ignored.
    """

    algorithm: ClassVar[str] = "auto"

    def __init__(
        self,
        model: Any,
        masker: Any = None,
        link: Any = "identity",
        algorithm: str | None = None,
        output_names: Any = None,
        feature_names: Any = None,
        linearize_link: bool = True,
        seed: int | None = None,
        **ignored: Any,
    ):
        self.asked = algorithm or type(self).algorithm
        grouped = isinstance(masker, Partition) and self.asked in ("auto", "partition")
        self.method = _method("partition" if grouped else self.asked)
        self.model, self.masker, self.link, self.seed = model, masker, _link(link), seed or 0
        self.output_names = None if output_names is None else list(map(str, output_names))
        self.feature_names = None if feature_names is None else list(map(str, feature_names))

    def __call__(
        self,
        X: Any,
        *,
        max_evals: int | str = "auto",
        outputs: Any = None,
        batch_size: Any = "auto",
        error_bounds: bool = False,
        main_effects: bool = False,
        silent: bool = False,
    ) -> Sliced:
        """Explain rows: an array, DataFrame or tensor.

        ``max_evals`` is the budget of evaluations a row and output (too few is an error that says how many are
        needed). ``outputs`` picks some: places, or ``Explanation.argsort.flip[:4]``. ``batch_size`` and ``silent``
        are ignored (the engine chooses batches, nothing prints); standard errors come without ``error_bounds``.
        """
        if main_effects:
            raise NotApplicable("main effects are not offered here", fix='use method="shapley_interactions"')
        budget = None if max_evals == "auto" else counted(max_evals, "max_evals")
        return self._explained(X, budget, outputs)

    # From shap's question to ours ------------------------------------------------------------

    def _explained(self, X: Any, budget: int | None, outputs: Any = None) -> Sliced:
        if isinstance(self.masker, Image):
            return self._explained_pictures(np.asarray(X), self.masker, budget, outputs)
        background = self._of_rows(X) if self.masker is None else as_background(self.masker)
        record = self._record(X, budget, _target(outputs), background=background)
        return _chosen(_with_data(record.to_shap(), X), outputs)

    def _record(self, X: Any, budget: int | None, target: Any = "all", **question: Any) -> Explanation:
        names = self.feature_names or [str(name) for name in getattr(X, "columns", ())]
        if getattr(X, "ndim", 2) == 2:
            together = self.method == "owen" and isinstance(self.masker, Partition)
            rows = question.get("background")
            question["players"] = CorrelatedColumns(rows, names=tuple(names)) if together else Columns(tuple(names))
        return explain(self._function(X), X, self.method, target=target, budget=budget, seed=self.seed, **question)

    def _of_rows(self, X: Any) -> Any:
        if len(X) < 2:
            raise RemovalError(
                "what an absent column is cannot be told from one row",
                fix="give background rows: Explainer(model, background)",
            )
        return sample(X, 100)

    def _function(self, X: Any) -> Any:
        """The model as ours: called with a DataFrame where the rows are one, its outputs linked."""
        model, names = self.model, self.output_names
        if isinstance(model, (nn.Module, Model)):
            if self.link is not None:
                raise NotApplicable("a link of a module's outputs", fix="give a function that calls it, or its logits")
            return wrap(model, outputs=names) if names else model
        if _is_estimator(model) and self.link is None:
            return wrap(model, outputs=names)
        columns = [str(name) for name in X.columns] if hasattr(X, "columns") else None
        function = _predictions(model) if _is_estimator(model) else model
        return wrap(_framed(function, columns, self.link), outputs=names)

    def _explained_pictures(self, X: np.ndarray, masker: Image, budget: int | None, outputs: Any) -> Sliced:
        """Pictures come and go with channels last; in between they lie as the house has them."""
        function = _predictions(self.model) if _is_estimator(self.model) else self.model
        if isinstance(function, nn.Module):
            raise NotApplicable("a torch module takes channels first", fix="give pellucid.explain(module, pictures)")

        def channels_first(pictures: np.ndarray) -> Any:
            found = function(np.ascontiguousarray(np.moveaxis(pictures, 1, -1)))
            return found if self.link is None else self.link(np.asarray(found))

        turned = np.ascontiguousarray(np.moveaxis(X, -1, 1))
        removal = masker.removal(X.shape[1:])
        model = wrap(channels_first, outputs=self.output_names)
        found = explain(
            model, turned, self.method, target=_target(outputs), budget=budget, seed=self.seed, removal=removal
        )
        answer = found.to_shap()
        values = np.moveaxis(answer.values, 1, 3)
        axes = (answer.axes[0], "feature", "feature 1", "feature 2", *answer.axes[4:])
        laid = Sliced(values, answer.base_values, X, None, answer.output_names, None, axes, found)
        return _chosen(laid, outputs)


class PermutationExplainer(Explainer):
    """Shapley values from orderings walked forward and back."""

    algorithm: ClassVar[str] = "permutation"

    def shap_values(self, X: Any, npermutations: int = 10, **ignored: Any) -> np.ndarray:
        """Values as a plain array; ``npermutations`` orderings of n columns are 2n evaluations each."""
        columns = np.shape(X)[-1]
        return _plain(self._explained(_rows(X), 2 * columns * npermutations + 2), X)


class ExactExplainer(Explainer):
    """All 2ⁿ coalitions."""

    algorithm: ClassVar[str] = "exact"


class PartitionExplainer(Explainer):
    """Values over a hierarchy of players."""

    algorithm: ClassVar[str] = "partition"


class KernelExplainer(Explainer):
    """Kernel Shapley values; no column is ever set to zero, so ``l1_reg`` is accepted and has nothing to do.

    ``model`` is a function, ``data`` background rows or what :func:`kmeans` returned, ``link`` ``"identity"`` or
    ``"logit"``. ``expected_value`` is what contributions add up from: the linked output's mean over the background.
    """

    algorithm: ClassVar[str] = "kernel"

    def __init__(self, model: Any, data: Any, feature_names: Any = None, link: Any = "identity", **given: Any):
        super().__init__(model, data, link=link, feature_names=feature_names, seed=given.get("seed"))

    @property
    def expected_value(self) -> Any:
        """A number, or ``[K]`` for several outputs."""
        return _expected(self, as_background(self.masker))

    def shap_values(self, X: Any, nsamples: int | str = "auto", l1_reg: Any = None, **ignored: Any) -> np.ndarray:
        """``[N, n]``, ``[N, n, K]`` for several outputs; without the first axis where one row was given.

        ``nsamples`` coalitions beside both ends; ``"auto"`` is 2n + 2048. ``l1_reg``, ``silent`` and ``gc_collect``
        are ignored.
        """
        return _plain(self._explained(_rows(X), None if nsamples == "auto" else counted(nsamples, "nsamples") + 2), X)


class SamplingExplainer(KernelExplainer):
    """The same question answered from sampled orderings."""

    algorithm: ClassVar[str] = "sampling"


class _OfNetwork(Explainer):
    """What explainers of networks share: torch modules, Keras networks, live TensorFlow models, wrapped models.

    ``data`` are background rows. A pair (network, layer) is refused: attributions of inner layers are another
    question. ``session``, ``batch_size`` and ``learning_phase_flags`` have no meaning here and are ignored.
    """

    def __init__(self, model: Any, data: Any, session: Any = None, *_: Any, local_smoothing: float = 0, **ignored: Any):
        if not (isinstance(model, (nn.Module, Model)) or is_keras(model) or is_tensorflow(model)):
            raise NotApplicable(
                f"a {type(model).__name__} has no gradients here",
                fix="give a torch module, a Keras network, or pellucid.wrap(function, parameters=…) of a JAX function",
            )
        if local_smoothing:
            raise NotApplicable("local_smoothing is not offered here", fix="leave it 0")
        super().__init__(wrap(model), _together(data))

    @property
    def expected_value(self) -> Any:
        """The mean output over the background: a number, or ``[K]`` for several outputs."""
        return _expected(self, self.masker)

    def shap_values(self, X: Any, nsamples: int | None = None, rseed: int | None = None, **ignored: Any) -> Any:
        """Values in the shape of ``X``, with a last axis of outputs where there are several; a list of such for a list
        of inputs. ``nsamples`` points of a path are for gradients. ``check_additivity`` is ignored: the record's gap
        tells."""
        if ignored.get("ranked_outputs") is not None:
            raise NotApplicable("ranked_outputs is not offered here", fix='pellucid.explain(…, target="top:3")')
        self.seed = self.seed if rseed is None else rseed
        found = np.array(self._explained(_together(X), nsamples).values)
        return _apart(found, X) if isinstance(X, (list, tuple)) else found

    def _explained(self, X: Any, budget: int | None, outputs: Any = None) -> Sliced:
        found = super()._explained(X, budget, outputs)
        if not getattr(self.model, "channels_last", False) or found.values.shape[1:4] == np.shape(X)[1:4]:
            return found
        axes = (found.axes[0], "feature", "feature 1", "feature 2", *found.axes[4:])
        return replace(found, values=np.moveaxis(found.values, 1, 3), data=np.asarray(X), axes=axes)


class GradientExplainer(_OfNetwork):
    """Expected gradients: along paths from rows of the background to each row (200 points, as with shap)."""

    algorithm: ClassVar[str] = "gradient"


class DeepExplainer(_OfNetwork):
    """DeepSHAP: DeepLIFT from every background row, averaged. It walks operations, so reused and functional
    activations count, and every answer is complete."""

    algorithm: ClassVar[str] = "deep"

    def __init__(self, model: Any, data: Any, *more: Any, **settings: Any):
        super().__init__(model, data, *more, **settings)
        if isinstance(self.model, Differentiable) and not isinstance(self.model, Traceable):
            raise NotApplicable(
                "DeepExplainer walks a network's operations, and this model's cannot be seen",
                where=self.model.name,
                why=self.model.reason,
                fix="use GradientExplainer(model, background): it needs gradients only",
            )


class _NotHere:
    """An explainer of shap's that this does not stand in for."""

    why: ClassVar[str] = ""
    fix: ClassVar[str] = ""

    def __init__(self, *_: Any, **__: Any):
        raise NotApplicable(f"{type(self).__name__} has no counterpart under shap's names", why=self.why, fix=self.fix)


class TreeExplainer(_NotHere):
    """Refused, with what exists."""

    why: ClassVar[str] = "it reads the nodes of trees; here a model is asked, whatever it is made of"
    fix: ClassVar[str] = "use Explainer(model, background): the same interventional values, with standard errors"


class LinearExplainer(_NotHere):
    """Refused, with what exists."""

    why: ClassVar[str] = "additive models need no method of their own"
    fix: ClassVar[str] = "use Explainer(model, background): it is exact for them from n + 1 evaluations on"


def _expected(explainer: Explainer, rows: Any) -> Any:
    """The mean output over background rows: a number, or ``[K]`` for several outputs."""
    if isinstance(rows, tuple):
        first: Any = tuple(part[:1] for part in rows)
    else:
        first = rows.iloc[:1] if hasattr(rows, "iloc") else rows[:1]
    model = explainer._function(first)
    base = explain(model, first, "occlusion", target="all", background=rows, seed=explainer.seed).base[0]
    return float(base[0]) if len(base) == 1 else np.array(base)


def _together(inputs: Any) -> Any:
    """Shap's list of inputs as ours, a tuple; the only one of a list as it is."""
    if not isinstance(inputs, (list, tuple)) or not all(hasattr(part, "shape") for part in inputs):
        return inputs
    return inputs[0] if len(inputs) == 1 else tuple(inputs)


def _apart(values: np.ndarray, inputs: Any) -> list[np.ndarray]:
    """Values ``[N, D]`` or ``[N, D, K]`` of several inputs side by side, as one array in the shape of each."""
    if len(inputs) == 1:
        return [values]
    sizes = [int(np.prod(part.shape[1:])) for part in inputs]
    parts = np.split(values, np.cumsum(sizes)[:-1], axis=1)
    return [one.reshape(*part.shape, *one.shape[2:]) for one, part in zip(parts, inputs, strict=True)]


# Small steps ---------------------------------------------------------------------------------


def _method(algorithm: str) -> str:
    if algorithm not in ALGORITHMS:
        raise NotApplicable(
            f"algorithm={algorithm!r} has no counterpart here", fix=f"use one of {', '.join(map(repr, ALGORITHMS))}"
        )
    return ALGORITHMS[algorithm]


def _link(link: Any) -> Callable[[np.ndarray], Any] | None:
    """None for the identity; shap's own link functions are known by their names."""
    name = link if isinstance(link, str) else getattr(link, "__name__", "")
    if name == "identity":
        return None
    if name == "logit":
        return logit
    if callable(link):
        return link
    raise NotApplicable(f"link={link!r} is not known", fix='use "identity", "logit" or a function of outputs')


def _framed(function: Callable[..., Any], columns: list[str] | None, link: Any) -> Callable[[np.ndarray], Any]:
    """A function of arrays that gives the user's own a DataFrame where the rows came as one."""

    def framed(rows: np.ndarray) -> Any:
        given: Any = rows
        if columns is not None:
            import pandas as pd

            given = pd.DataFrame(rows, columns=columns)
        found = function(given)
        return found if link is None else link(np.asarray(found))

    framed.__name__ = getattr(function, "__name__", "function")
    return framed


def _is_estimator(model: Any) -> bool:
    return hasattr(model, "predict") and not callable(model)


def _predictions(model: Any) -> Any:
    return model.predict_proba if hasattr(model, "predict_proba") else model.predict


def _target(outputs: Any) -> Any:
    """``Explanation.argsort.flip[:k]`` is the k largest of each row; anything else is picked from all of them."""
    if isinstance(outputs, Chain):
        verbs = [verb for verb, _ in outputs.steps]
        cut = outputs.steps[-1][1][0] if verbs == ["argsort", "flip", "take"] else None
        if not isinstance(cut, slice) or cut.start or cut.step or not isinstance(cut.stop, int):
            raise NotApplicable("these outputs are not known", fix="use Explanation.argsort.flip[:4], or places")
        return f"top:{cut.stop}"
    return "all"


def _chosen(answer: Sliced, outputs: Any) -> Sliced:
    """Some of the outputs by their places."""
    if outputs is None or isinstance(outputs, Chain):
        return answer
    return answer[..., outputs]


def _with_data(answer: Sliced, X: Any) -> Sliced:
    """The rows as they were given; several inputs stay side by side."""
    if isinstance(X, tuple):
        return answer
    given = X.detach().cpu().numpy() if isinstance(X, Tensor) else np.asarray(X)
    return replace(answer, data=given if given.shape == answer.shape[: given.ndim] else answer.data)


def _rows(X: Any) -> Any:
    """One row as a batch of one."""
    if hasattr(X, "to_frame") and X.ndim == 1:
        return X.to_frame().T
    return X[None] if isinstance(X, np.ndarray) and X.ndim == 1 else X


def _plain(answer: Sliced, X: Any) -> np.ndarray:
    values = np.array(answer.values)
    return values[0] if getattr(X, "ndim", 2) == 1 else values
