"""The laws that every method obeys, on every problem it applies to.

``check_method`` runs them all and raises ``AssertionError`` with the law's and the problem's name
at the first that is broken. A method that declares an axiom among its ``promises`` is tested on it, on rows of a
kind it takes.
"""

from __future__ import annotations

import json
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from ..doors.question import as_problem
from ..engine.budget import Budget
from ..engine.caller import Caller, Learned
from ..engine.engine import refuse_unmet_needs
from ..engine.lengths import by_length, looks_inside
from ..engine.lifting import lifted
from ..engine.listener import Silent
from ..engine.opening import opened
from ..methods.method import Method
from ..modalities.text import Replace
from ..problem.problem import Problem
from ..records.answer import Answer
from ..records.errors import NotApplicable
from ..records.explanation import Explanation
from ..records.files import dumps
from ..records.flow import Flow
from ..records.interactions import Interactions
from ..records.trace import Trace
from .problems import PROBLEMS

TOLERANCE = 1e-5
"""Largest difference between a row explained alone and in a batch, as a share of max|φ|."""
BUDGET = 400
LOOSE = ("gaps", "errors")
"""Arrays made of differences at rounding level where a fit is exact; the batch size turns them."""


def check_method(method: Method, problems: dict[str, Callable[[int], Problem]] | None = None) -> list[str]:
    """Test a method against the laws; returns the names of the problems it applied to.

    Raises ``AssertionError`` naming the law and the problem. A method that applies to none of the
    problems is an error too: then nothing was tested.
    """
    applied = []
    for name, make in (problems or PROBLEMS).items():
        problem = make(5)
        try:
            refuse_unmet_needs(method, problem)
            first = method.explain(problem, budget=BUDGET)
        except NotApplicable:
            continue
        applied.append(name)
        for law in LAWS:
            try:
                law(method, make, first)
            except AssertionError as error:
                raise AssertionError(f"{method.name} breaks {law.__name__} on {name}: {error}") from error
    assert applied, f"{method.name} applies to none of the problems, so nothing was tested"
    if method.role == "method":
        _axioms(method)
    return applied


def shapes_fit(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """Arrays with a row for each of the problem's, finite exactly where there is a player, with matching ends."""
    problem, T = make(5), e.base.shape[1]
    assert isinstance(e, method.answers), f"a {type(e).__name__} where a {method.answers.__name__} was due"
    assert len(e) == (1 if e.everywhere else 5), f"{len(e)} rows"
    assert e.base.shape == e.full.shape == (len(e), T)
    for name in e.by_row:
        array = getattr(e, name)
        assert array is None or len(array) == len(e), f"{name} has {len(array)} rows"
    if isinstance(e, Explanation):
        _players_have_values(problem, e)


def _players_have_values(problem: Problem, e: Explanation) -> None:
    assert e.attributions.shape[:2] == (5, problem.players.most), f"shape {e.attributions.shape}"
    assert e.attributions.dtype == np.float64
    for row in range(5):
        count = len(problem.players.of(row))
        assert np.isfinite(e.attributions[row, :count]).all(), f"row {row} has values that are not finite"
        assert np.isnan(e.attributions[row, count:]).all(), f"row {row} has values for players it lacks"


def numbers(e: Answer) -> dict[str, np.ndarray]:
    """The arrays of an answer that its method worked out."""
    return {name: getattr(e, name) for name in e.by_row if name != "columns" and getattr(e, name) is not None}


def _same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray], what: str) -> None:
    for name, array in one.items():
        assert array.tobytes() == other[name].tobytes(), f"{what}: {name} differs"


def _near(one: dict[str, np.ndarray], other: dict[str, np.ndarray], what: str) -> None:
    """Equal to 1e-5 of the largest, where both have a place; what one lacks is NaN or False in the other."""
    for name, array in one.items():
        if name in LOOSE:
            continue
        shared = tuple(slice(min(sizes)) for sizes in zip(array.shape, other[name].shape, strict=True))
        a, b = array[shared].astype(np.float64), other[name][shared].astype(np.float64)
        if name == "units":  # those of a row shorter than its neighbours stand apart, in their order
            a, b = array[~np.isnan(array)], other[name][~np.isnan(other[name])]
        assert (np.isnan(a) == np.isnan(b)).all(), f"{what}: {name} is NaN in other places"
        difference = np.nanmax(np.abs(a - b), initial=0.0) / (np.nanmax(np.abs(b), initial=0.0) + 1e-12)
        assert difference <= TOLERANCE, f"{what}: {name} differs by {difference:.1e}"


def reruns_are_identical(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """The same call gives the same bits; the global random state does not matter."""
    torch.manual_seed(123)
    np.random.seed(123)
    _same_bits(numbers(method.explain(make(5), budget=BUDGET)), numbers(e), "a rerun")


def order_does_not_matter(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """Rows in another order get the same bits."""
    order = np.array([3, 0, 4, 2, 1])
    turned = method.explain(make(5).take(order), budget=BUDGET)
    _same_bits(numbers(turned), numbers(e if e.everywhere else e[order]), "another order of the rows")


def alone_is_as_in_a_batch(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """A row explained alone equals the same row in a batch to 1e-5 of max|φ|; not asked of answers about all rows."""
    for row in range(0 if e.everywhere else 2):
        alone = method.explain(make(5).take([row]), budget=BUDGET)
        _near(numbers(alone), numbers(e[row]), f"row {row} alone")


def batch_size_does_not_matter(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """Rows at once: 1, 7, 32 or all give the same values to 1e-5 of max|φ|."""
    for size in (1, 7, 32, 100_000):
        other = method.explain(with_batch(make(5), size), budget=BUDGET)
        _near(numbers(other), numbers(e), f"{size} rows at once")


def asking_again_is_the_same(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """The session of the very same rows, as metrics make it to explain again, gives the same values."""
    budget = Budget(evaluations=BUDGET)
    with opened(
        lifted(make(5), method.needs), method.name, budget=budget, slopes=method.at_rows, look=method.look,
        inside=looks_inside(method.needs),
    ) as run:  # fmt: skip
        for _, session in run.parts:
            if session.opaque:
                continue
            first, again = method.estimate(session).values, method.estimate(session.at(session.x)).values
            difference, scale = np.abs(again - first).max(), np.abs(first).max() + 1e-12
            assert difference <= TOLERANCE * scale, f"the same rows again differ by {difference / scale:.1e}"


def nothing_is_left_behind(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """Modes, buffers, gradients, hooks, weights, inputs and random states are as they were."""
    problem = make(5)
    before = trace_of(problem)
    method.explain(problem, budget=BUDGET)
    assert trace_of(problem) == before, "the model, its inputs or a random state changed"


def promises_hold(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """Completeness to 1e-3 where it is promised, or a caution that says so."""
    if "completeness" in method.promises and isinstance(e, (Explanation, Flow, Interactions, Trace)):
        worst = float(np.nanmax(e.gap))
        warned = any(caution.code in ("gap", "layer_bypassed") for caution in e.warnings)
        assert worst <= 1e-3 or warned, f"the contributions miss the change by {worst:.1e}, and nothing says so"


def errors_fit(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """A method that draws has standard errors (controls aside), never negative; others have none or zeros."""
    errors = numbers(e).get("errors")
    if method.role == "control" or "errors" not in e.by_row:
        return
    if method.sampled:
        assert errors is not None, "a method that draws must say how sure it is"
    if errors is not None:
        assert (errors[np.isfinite(errors)] >= 0).all(), "a standard error is negative"


def round_trips(method: Method, make: Callable[[int], Problem], e: Answer) -> None:
    """A record saved and read back is the same record."""
    with tempfile.TemporaryDirectory() as folder:
        back = type(e).load(e.save(f"{folder}/e"))
    _same_bits(numbers(back), numbers(e), "a record read back")
    assert back.to_dict() == _through_json(e.to_dict()), "the record changed on its way through a file"


LAWS = (
    shapes_fit,
    reruns_are_identical,
    order_does_not_matter,
    alone_is_as_in_a_batch,
    batch_size_does_not_matter,
    asking_again_is_the_same,
    nothing_is_left_behind,
    promises_hold,
    errors_fit,
    round_trips,
)


# Axioms, on networks made for them ---------------------------------------------------------


def _axioms(method: Method) -> None:
    checks = {
        "null_player": _null_player,
        "symmetry": _symmetry,
        "linearity": _linearity,
        "implementation_invariance": _implementation_invariance,
    }
    for axiom in method.promises:
        if axiom in checks:
            checks[axiom](method)


def _explained(method: Method, axiom: str, model: Callable[[torch.Tensor], Any], rows: torch.Tensor) -> Answer:
    """An answer about a function of four numbers, asked as the first kind of rows that the method takes.

    Raises ``AssertionError`` where it takes none of them: its promise would be tested on nothing.
    """
    for make in SAME_GAME:
        problem = make(model, rows)
        try:
            refuse_unmet_needs(method, problem)
            return method.explain(problem, budget=BUDGET)
        except NotApplicable:
            continue
    raise AssertionError(f"{method.name} promises {axiom}, and applies to none of the problems made to test it")


def _values(e: Answer) -> np.ndarray:
    """The values of the first output, ``[N, m]``."""
    return getattr(e, e.of_estimate["values"])[..., 0]


def _of_players(e: Answer) -> np.ndarray:
    """The values of single players for the first output, ``[N, n]``."""
    return np.array([e.order(1, row) for row in range(len(e))]) if isinstance(e, Interactions) else _values(e)


class _Reshaped(nn.Module):
    """A function of four numbers that takes them in another shape."""

    def __init__(self, inner: Callable[[torch.Tensor], Any]):
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> Any:
        return self.inner(x.flatten(1))


def _as_table(model: Any, rows: torch.Tensor) -> Problem:
    return as_problem(model, rows)


def _as_images(model: Any, rows: torch.Tensor) -> Problem:
    return as_problem(_Reshaped(model), rows.reshape(-1, 1, 2, 2))


def _as_tensors(model: Any, rows: torch.Tensor) -> Problem:
    return as_problem(_Reshaped(model), rows.reshape(-1, 2, 2))


def _as_words(model: Any, rows: torch.Tensor) -> Problem:
    """Every number a word, an absent one the word "0"."""

    def read(texts: list[list[str]]) -> np.ndarray:
        numbers = torch.tensor([[float(word) for word in text] for text in texts], dtype=rows.dtype)
        with torch.no_grad():
            return np.asarray(model(numbers).numpy())

    return as_problem(read, [[repr(number) for number in row] for row in rows.tolist()], removal=Replace("0"))


SAME_GAME = (_as_table, _as_images, _as_tensors, _as_words)


class _Unused(nn.Module):
    """Never looks at its third number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x[:, 0] * x[:, 1] - x[:, 3]) + x[:, 3]


def _null_player(method: Method) -> None:
    rows = torch.randn(4, 4, generator=torch.Generator().manual_seed(4))
    _no_part(method, _of_players(_explained(method, "null_player", _Unused(), rows)))
    problem = PROBLEMS["unused_column"](5)  # with a background, several outputs
    try:
        refuse_unmet_needs(method, problem)
        _no_part(method, _of_players(method.explain(problem, budget=BUDGET)))
    except NotApplicable:
        return


def _no_part(method: Method, values: np.ndarray) -> None:
    found, scale = np.abs(values[:, 2]).max(), np.abs(values).max() + 1e-12
    assert found <= 1e-6 * scale, f"{method.name} breaks null_player: {found:.1e}"


class _Symmetric(nn.Module):
    """f(x₀, x₁, …) = f(x₁, x₀, …)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x[:, 0] + x[:, 1]) * x[:, 2] + x[:, 0] * x[:, 1] + x[:, 3]


def _symmetry(method: Method) -> None:
    rows = torch.tensor([[0.7, 0.7, -1.0, 0.3], [-0.2, -0.2, 2.0, 1.0]])
    values = _of_players(_explained(method, "symmetry", _Symmetric(), rows))
    difference = np.abs(values[:, 0] - values[:, 1]).max()
    assert difference <= 1e-5 * (np.abs(values).max() + 1e-12), f"{method.name} breaks symmetry: {difference:.1e}"


class _Weighted(nn.Module):
    def __init__(self, a: float, b: float):
        super().__init__()
        self.a, self.b = a, b

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a * torch.tanh(x[:, 0] * x[:, 1] - x[:, 2]) + self.b * torch.sin(x[:, 1] + x[:, 3])


def _linearity(method: Method) -> None:
    rows = torch.randn(4, 4, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    weights = ((2.0, -3.0), (1.0, 0.0), (0.0, 1.0))
    both, one, other = (_values(_explained(method, "linearity", _Weighted(a, b), rows)) for a, b in weights)
    difference = np.abs(both - (2 * one - 3 * other)).max()
    scale = np.abs(both).max() + 1e-12
    tolerance = 3e-3 if any("steps" in name for name in method.settings()) else 1e-6
    assert difference <= tolerance * scale, f"{method.name} breaks linearity: {difference / scale:.1e}"


def spellings_of_relu() -> Iterator[tuple[str, nn.Module]]:
    """One network, its rectifier written in the ways people write it."""
    spelled: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
        "F.relu": torch.nn.functional.relu,
        "clamp": lambda h: h.clamp(min=0),
        "where": lambda h: torch.where(h > 0, h, torch.zeros_like(h)),
        "maximum": lambda h: torch.maximum(h, torch.zeros_like(h)),
        "in place": lambda h: torch.nn.functional.relu_(h),
        "module": nn.ReLU(),
    }
    generator = torch.Generator().manual_seed(6)
    first, second = (torch.randn(size, generator=generator, dtype=torch.float64) for size in ((8, 4), (1, 8)))

    class Spelled(nn.Module):
        def __init__(self, rectify: Callable[[torch.Tensor], torch.Tensor]):
            super().__init__()
            self.rectify = rectify

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.rectify(x @ first.T + 0.3) @ second.T

    for name, rectify in spelled.items():
        yield name, Spelled(rectify)


def _implementation_invariance(method: Method) -> None:
    rows = torch.randn(4, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    reference = None
    for name, net in spellings_of_relu():
        values = _values(_explained(method, "implementation_invariance", net, rows))
        reference = values if reference is None else reference
        difference = np.abs(values - reference).max() / (np.abs(reference).max() + 1e-12)
        assert difference <= 1e-9, f"{method.name} breaks implementation invariance with {name}: {difference:.1e}"


# Looking at what a call could change -------------------------------------------------------


def trace_of(problem: Problem) -> dict[str, Any]:
    """Everything a call must leave as it was, as comparable data."""
    found: dict[str, Any] = {
        "inputs": {name: tensor.detach().numpy().tobytes() for name, tensor in problem.inputs.tensors.items()},
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": np.random.get_state()[1].tobytes(),  # pyright: ignore[reportArgumentType]  a tuple, by default
        "python": random.getstate(),
        "filters": len(warnings.filters),
        "type": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
    }
    module = getattr(problem.model, "module", None)
    if isinstance(module, nn.Module):
        found["state"] = {name: tensor.detach().numpy().tobytes() for name, tensor in module.state_dict().items()}
        found["modes"] = [m.training for m in module.modules()]
        found["buffers"] = [buffer.numpy().tobytes() for buffer in module.buffers()]
        found["hooks"] = [
            (name, len(value)) for m in module.modules() for name, value in vars(m).items() if name.endswith("hooks")
        ]
        found["parameters"] = [(id(p), p.requires_grad, id(p.grad)) for p in module.parameters()]
        found["gradients"] = [p.grad.numpy().tobytes() for p in module.parameters() if p.grad is not None]
        found["attributes"] = [sorted(vars(m)) for m in module.modules()]
    return found


def with_batch(problem: Problem, size: int) -> Problem:
    """The same problem with another number of rows at once than the engine would choose."""
    for _, group in by_length(problem, inside=True):
        Caller(problem.model, group.inputs, Silent()).remember(Learned(size))
    Caller(problem.model, problem.inputs, Silent()).remember(Learned(size))
    return problem


def _through_json(data: Any) -> Any:
    return json.loads(dumps(data))
