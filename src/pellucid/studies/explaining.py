"""Why did it decide so? Explains rows of a model by one method."""

from __future__ import annotations

from typing import Any

from ..catalog import find
from ..data.dataset import Dataset
from ..doors.question import as_problem
from ..engine.budget import Budget
from ..engine.listener import Listener
from ..methods.method import Method
from ..problem.model import Differentiable, Inspectable, Traceable
from ..problem.problem import Problem
from ..problem.removal import MOST_ROWS, Marginal
from ..records.errors import NotApplicable

FEW_PLAYERS = 12
"""Up to so many players all coalitions are asked, and nothing is left to chance."""


def explain(
    model: Any,
    rows: Any,
    method: Any = "auto",
    *,
    target: Any = "predicted",
    background: Any = None,
    removal: Any = None,
    players: Any = None,
    budget: Budget | int | None = None,
    seed: int = 0,
    listener: Listener | None = None,
    **settings: Any,
) -> Any:
    """Explain each row: how much each player contributed to the target, as an :class:`Explanation`.

    A method that answers with something else (rules, interactions, importance over all rows) returns that record.

    Parameters
    ----------
    model: a torch module, a function, or what :func:`pellucid.load` or :func:`pellucid.wrap` returned.
    rows: tensor, array, DataFrame, Dataset, or lists of words.
    method: a name from ``pellucid methods``, a Method, or ``"auto"``: integrated gradients for more than 12
        players where the model has gradients and no background of several rows is given, Shapley values otherwise.
        The choice is in the record.
    target: ``"predicted"``, an index, a name, ``("A", "B")`` for a contrast, ``"all"``, ``"top:3"``, one per row, a
        function of the outputs, or the loss: ``"loss"`` (``"loss:squared_error"``, …) where ``rows`` is a Dataset with
        labels, else ``pellucid.targets.Loss(labels)``. Methods about all rows take the loss where they can.
    background, removal: what "absent" means; ``background=rows`` is short for ``removal=Marginal(rows)``. A removal is
        one of ``pellucid.removals``, or its word: ``"mask"``, ``"delete"``, ``"blur:sigma=2"``, ``"mode"`` (beside
        ``background=rows``).
    players: the units explained, e.g. ``pellucid.players.Patches(8)``.
    budget: value-function evaluations per row, or a :class:`Budget`.
    settings: fields of the method when it is given by name, e.g. ``steps=50``.

    Raises the errors of :mod:`pellucid.records.errors`; each says what to do.
    """
    chosen = None if isinstance(method, str) and method == "auto" else find("methods", method, settings)
    if chosen is not None and chosen.of_loss and isinstance(target, str) and target == "predicted":
        target = "loss" if isinstance(rows, Dataset) and rows.labels is not None else target
    question = {"target": target, "background": background, "removal": removal, "players": players, "seed": seed}
    if chosen is None and settings:
        raise NotApplicable(
            f"{', '.join(settings)} given, and no method that has such a setting", fix='name it: method="…"'
        )
    fine = chosen is None or bool({Differentiable, Inspectable, Traceable} & set(chosen.needs))
    most = MOST_ROWS if chosen is None else chosen.background_rows
    problem = as_problem(model, rows, fine=fine, most=most, **question)
    if chosen is None:
        chosen = automatic(problem, Budget.of(budget))
        if Differentiable not in chosen.needs:
            problem = as_problem(model, rows, fine=False, **question)
    return chosen.explain(problem, seed=seed, budget=budget, listener=listener)


def automatic(problem: Problem, budget: Budget) -> Method:
    """The method that ``"auto"`` stands for under a budget.

    What a limit of rows or seconds comes to is known once the model was asked; Shapley values make do with it.
    """
    counted = budget.rows is None and budget.seconds is None
    allowed = not counted or budget.evaluations is None or 2**problem.players.most <= budget.evaluations
    floats = problem.inputs.opaque is None and problem.inputs.flat.is_floating_point()
    slopes = isinstance(problem.model, Differentiable) and floats and not isinstance(problem.removal, Marginal)
    slopes = slopes and not problem.blank
    few = problem.players.most <= FEW_PLAYERS and allowed
    return find("methods", "integrated_gradients" if slopes and not few else "shapley")
