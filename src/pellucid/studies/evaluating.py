"""Is the explanation any good? Scores explanations, ours or made elsewhere, beside controls that know nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ..catalog import everything, find
from ..data.dataset import Dataset
from ..doors.foreign import as_explanation, foreign_explainer, is_foreign
from ..doors.question import as_problem
from ..doors.regions import as_regions, is_regions
from ..engine.listener import Listener
from ..methods.method import Method
from ..metrics.judging import Judgement, judge
from ..metrics.metric import Metric
from ..modalities.image import Blur, Noise, RegionMean
from ..modalities.series import Interpolated, OtherSegment, SegmentMean, SeriesNoise
from ..modalities.text import Hide, Replace
from ..problem.conditional import ConditionalGaussian, ConditionalNearest
from ..problem.problem import Problem
from ..problem.removal import Constant, Marginal, Removal
from ..records.answer import Answer
from ..records.errors import InputError, RemovalError
from ..records.explanation import Explanation
from ..records.score import Scores
from .naming import labels_of
from .preflight import preflight_of

OF_REGIONS = ("evidence_auroc", "evidence_auprc", "pointing_game", "relevance_mass", "relevance_rank")
"""Metrics that ask where the evidence is known to lie."""
OF_TEXTS = ("comprehensiveness", "sufficiency")
"""Metrics that are usual for texts."""
TEXTS = ("text", "words")
"""The modalities that are texts."""
MADE_OF_SETTINGS: dict[str, type[Removal]] = {
    kind.__name__: kind for kind in (Blur, Noise, RegionMean, Replace, Hide, Interpolated, SegmentMean, SeriesNoise)
}
"""Removals that derive what is absent from each row: made again from their settings, whatever rows a record keeps."""
MADE_OF_ROWS: dict[str, type[Removal]] = {
    kind.__name__: kind for kind in (ConditionalGaussian, ConditionalNearest, OtherSegment)
}
"""Removals that are made again from their rows and settings; of any other kept rows are all there is to say."""


def evaluate(
    model: Any,
    rows: Any,
    explanations: Any,
    *,
    metrics: Any = "default",
    truth: Any = None,
    target: Any = None,
    background: Any = None,
    removal: Any = None,
    players: Any = None,
    pooling: str = "sum",
    explainer: Callable[[Any], Any] | None = None,
    controls: bool = True,
    seed: int = 0,
    listener: Listener | None = None,
) -> Scores:
    """Score explanations of ``rows`` by metrics, each beside random numbers and what else knows nothing of the model:
    |input|, an edge filter for images, rare and long words for texts.

    Parameters
    ----------
    explanations: one of ours or several (a list, or a dict whose keys name them); or attributions made elsewhere,
        likewise: a captum tensor, a ``shap.Explanation``, an array. For those ``target=`` says which output was
        explained and ``removal=`` or ``background=`` what absent meant; a baseline other than the one that was used
        makes a right explanation look wrong.
    metrics: ``"default"``, names or Metric objects.
    truth: what is known of the same rows: their contributions, an array ``[N, n]`` or an Explanation; or where the
        evidence lies, a mask of truth values (``[N, n]``, ``[N, height, width]``, the rows' own shape), ``Boxes``, or
        ``Spans`` of texts.
    pooling: how element values made elsewhere become a player's: ``"sum"`` or ``"norm"``.
    explainer: for attributions made elsewhere, a function from model-space rows (a tensor; a dict of tensors by name
        where the model takes several) to attributions of the same target, so that they can be made again.

    Each score's ``method`` is the explanation's name here: its key, else its method's name, with the settings that
    differ in brackets where a name occurs twice.

    Raises :class:`InputError` for explanations of other rows or shapes that do not fit.
    """
    question = {"background": background, "removal": removal, "players": players, "seed": seed}
    problems, judged = {}, {}
    for key, one in _listed(explanations).items():
        if isinstance(one, Answer) and not isinstance(one, Explanation):
            raise InputError(f"{one.method} answered with {one.record}", why="metrics grade numbers of players")
        if isinstance(one, Explanation):
            problem, record = problem_of(model, rows, one, target=target, removal=removal, background=background), one
        else:
            problem = as_problem(model, rows, target="predicted" if target is None else target, **question)
            record = as_explanation(problem, one, name=key, pooling=pooling)
        problems[key or record.method], judged[key or record.method] = problem, record
    before = preflight_of(next(iter(problems.values())), listener=listener, whole=False)
    scores = []
    for label, one in judged.items():
        located = is_regions(truth)
        known = None if truth is None or located else _truth(problems[label], truth, one)
        judgement = Judgement(
            one,
            method=_method_of(one),
            explainer=None if explainer is None else foreign_explainer(problems[label], explainer, pooling),
            others={other: e for other, e in judged.items() if other != label},
            truth=known,
            regions=as_regions(problems[label], truth) if located else None,
            label=label,
        )
        added = {"agreement": len(judged) > 1, "truth": known is not None, "regions": located}
        chosen = chosen_metrics(metrics, **added, texts=problems[label].kind in TEXTS)
        scores += judge(problems[label], judgement, chosen, seed=seed, controls=controls, listener=listener)
    return Scores(scores).after(before)


def chosen_metrics(
    given: Any, *, agreement: bool = False, truth: bool = False, regions: bool = False, texts: bool = False
) -> list[Metric]:
    """Metrics from ``"default"``, a name, a Metric, or a list of these.

    The default ones, and agreement between methods and with the truth where there are any to agree with, those of
    known regions where there are such, and those of texts.
    """
    if isinstance(given, str) and given == "default":
        added = {"agreement": agreement, "truth_correlation": truth}
        added |= {**dict.fromkeys(OF_REGIONS, regions), **dict.fromkeys(OF_TEXTS, texts)}
        return [kind() for name, kind in everything("metrics").items() if kind.default or added.get(name)]
    return [find("metrics", one) for one in (given if isinstance(given, (list, tuple)) else [given])]


def problem_of(
    model: Any, rows: Any, explanation: Explanation, *, target: Any = None, removal: Any = None, background: Any = None
) -> Problem:
    """The problem that a record answers, put together again from what it carries.

    Raises :class:`RemovalError` where "absent" cannot be made again from the record.
    """
    if removal is None and background is None:
        removal = removal_of(explanation)
    asked = _asked_again(explanation, rows) if target is None else target
    return as_problem(
        model, rows, target=asked, removal=removal, background=background, players=explanation.players,
        seed=explanation.seed,
    )  # fmt: skip


def _asked_again(explanation: Explanation, rows: Any) -> Any:
    """The target to bind where the record's own columns do not tell it: the same loss, of data with labels."""
    loss = explanation.target.get("loss", "function")
    known = loss == "own" or (isinstance(rows, Dataset) and rows.labels is not None)
    return f"loss:{loss}" if known and loss != "function" else "predicted"


def removal_of(explanation: Explanation) -> Removal:
    """The removal that a record was made with."""
    settings: dict[str, Any] = dict(explanation.removal)
    name = settings.pop("name", "")
    if name in MADE_OF_SETTINGS:
        return MADE_OF_SETTINGS[name](**settings)
    if name == OtherSegment.__name__ and "rows" in settings:  # which are None: a segment of the same series
        return OtherSegment(**settings)
    if explanation.background is None:
        raise RemovalError("the record does not say what absent meant", fix="pass removal= or background=")
    rows = torch.from_numpy(explanation.background.copy())  # a tensor: these rows are encoded already
    if name in MADE_OF_ROWS:
        return MADE_OF_ROWS[name](**{**settings, "rows": rows})
    return Constant(rows) if len(rows) == 1 else Marginal(rows)


def _listed(given: Any) -> dict[str, Any]:
    """Explanations by label; "" for a single one made elsewhere, which is called after its tool.

    Raises :class:`InputError` where there are none.
    """
    if isinstance(given, (Mapping, list, tuple)) and not len(given):
        raise InputError("there are no explanations to evaluate")
    if isinstance(given, Mapping):
        return {str(key): one for key, one in given.items()}
    if isinstance(given, Explanation):
        return {given.method: given}
    if isinstance(given, (list, tuple)) and any(isinstance(one, Explanation) for one in given):
        ours = [(one.method, one.settings) if isinstance(one, Explanation) else ("foreign", {}) for one in given]
        return dict(zip(labels_of(ours), given, strict=True))
    return {"": given}


def _method_of(explanation: Explanation) -> Method | None:
    """The method that made a record, where it was made here and is one of the catalogue's."""
    if is_foreign(explanation) or explanation.method not in everything("methods"):
        return None
    return find("methods", explanation.method, dict(explanation.settings))


def _truth(problem: Problem, truth: Any, judged: Explanation) -> Explanation:
    """The known contributions as a record. Raises :class:`InputError` for those of other players or targets."""
    if not isinstance(truth, Explanation):
        return as_explanation(problem, truth, name="truth")
    if len(truth) == len(judged) and truth.attributions.shape != judged.attributions.shape:
        shapes = [" × ".join(map(str, e.attributions.shape[1:])) for e in (truth, judged)]
        raise InputError(f"the known contributions are {shapes[0]} players × targets per row, {shapes[1]} were due")
    return truth
