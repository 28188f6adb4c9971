"""What a model is found to be before it is asked why: each trait of a model, planted and found; nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import pellucid
from pellucid.records.errors import ModelError, StoreError
from pellucid.records.preflight import Preflight

X = torch.randn(12, 4, generator=torch.Generator().manual_seed(1))
IMAGES = torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(2))


def mlp(*more: nn.Module, outputs: int = 3) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, outputs), *more).eval()


class Does(nn.Module):
    """A network with something done to its rows and to its answer."""

    def __init__(self, does: Callable[[nn.Module, Tensor], Any]):
        super().__init__()
        self.net, self.does, self.calls = mlp(), does, 0

    def forward(self, x: Tensor) -> Any:
        return self.does(self, x)


def codes(found: Preflight) -> set[str]:
    return {caution.code for caution in found.warnings}


def test_a_plain_network_has_everything_and_nothing_to_be_careful_of() -> None:
    found = pellucid.preflight(mlp(), X)
    assert (found.width, found.dtype, found.meaning, found.rows) == (3, "float32", "scores", 8)
    assert found.inputs == {"inputs": ((4,), "float32", "cpu")}
    assert found.capabilities == {"gradients": "", "layers": "", "operations": ""}
    assert (found.unstable, found.reseeded, found.stateful, found.coupled, found.mutates) == (0, 0, 0, 0, ())
    assert (found.parameters, found.devices, found.training) == (67, ("cpu",), "off")
    assert [pace.batch for pace in found.costs][:3] == [1, 8, 64]
    assert all(pace.seconds > 0 for pace in found.costs) and found.flops == 2 * (4 * 8 + 8 * 3)
    assert found.bytes >= 64 and not found.warnings and found.flat == ()
    assert {"integrated_gradients", "shapley", "lrp", "layer_conductance"} <= set(found.applicable)
    assert found.methods["grad_cam"].startswith("it explains image")
    assert "no attention" in found.methods["attention_maps"]


def test_it_is_said_of_a_model_as_of_a_network() -> None:
    model = pellucid.wrap(mlp(), outputs=("a", "b", "c"))
    found = model.preflight(X)
    assert found.labels == ("a", "b", "c") and found.class_name == "TorchModel"


@pytest.mark.parametrize(
    ("network", "meaning", "caution"),
    [
        (mlp(nn.Softmax(1)), "probabilities", "softmaxed"),
        (mlp(nn.LogSoftmax(1)), "log_probabilities", None),
        (mlp(nn.Sigmoid()), "independent", "sums_not_one"),
        (mlp(nn.Sigmoid(), outputs=1), "probability", None),
        (mlp(outputs=1), "number", None),
        (mlp(), "scores", None),
    ],
    ids=["softmax", "log softmax", "sigmoid", "one sigmoid", "one number", "logits"],
)
def test_what_outputs_mean(network: nn.Module, meaning: str, caution: str | None) -> None:
    found = pellucid.preflight(network, X)
    assert found.meaning == meaning
    assert codes(found) == ({caution} if caution else set())
    assert found.low <= found.high and found.sums[0] <= found.sums[1]


def test_a_quantity_that_lies_between_0_and_1_is_one_where_the_data_say_so() -> None:
    import pandas as pd

    frame = pd.DataFrame(X.numpy(), columns=list("abcd"))
    frame["y"] = np.linspace(0.05, 0.95, 12)
    data = pellucid.read(frame, label="y", task="regression")
    assert pellucid.preflight(lambda x: 1 / (1 + np.exp(-np.asarray(x)[:, 0])), data).meaning == "number"


def _counts(m: Any, x: Tensor) -> Tensor:
    m.calls += 1
    return m.net(x) * (1 + m.calls)


def _remembers(m: Any, x: Tensor) -> Tensor:
    previous, m.seen = getattr(m, "seen", x[:1]), x[:1].clone()
    return m.net(x) + (previous - x[:1]).abs().sum()


def _writes(m: Any, x: Tensor) -> Tensor:
    found = m.net(x.clone())
    with torch.no_grad():
        x.zero_()
    return found


def _place(m: Any, x: Tensor) -> Tensor:
    return m.net(x) + torch.arange(len(x))[:, None]


def _at_most_sixteen(m: Any, x: Tensor) -> Tensor:
    if len(x) > 16:
        raise ValueError("16 rows at most")
    return m.net(x)


TRAITS: dict[str, tuple[Callable[[Any, Tensor], Any], str, Callable[[Preflight], bool]]] = {
    "chance": (lambda m, x: m.net(x) + torch.randn(1), "not_repeatable", lambda f: f.unstable > 0 and f.reseeded == 0),
    "a counter": (_counts, "not_repeatable", lambda f: f.unstable > 0 and f.reseeded == 0),
    "what was asked before": (_remembers, "stateful", lambda f: f.stateful > 0),
    "neighbours": (lambda m, x: m.net(x - x.mean(0)), "batch_coupled", lambda f: f.coupled > 0 and f.batch == 1),
    "its place": (_place, "place_coupled", lambda f: f.coupled > 0),
    "writing over rows": (_writes, "writes_over", lambda f: f.mutates == ("inputs",)),
    "a largest batch": (_at_most_sixteen, "batch_refused", lambda f: f.costs[-1].batch == 8),
    "NaN": (lambda m, x: m.net(x) / 0 * 0, "outputs_not_finite", lambda f: f.meaning == "not_finite"),
    "one answer": (lambda m, x: m.net(x * 0), "same_answers", lambda f: f.low < f.high),
    "rounding": (lambda m, x: torch.round(m.net(x)), "slopes_zero", lambda f: f.flat == tuple(range(8))),
    "an endless slope": (
        lambda m, x: m.net(x) + torch.sqrt(x * 0).sum(1, keepdim=True), "slopes_not_finite", lambda f: f.flat == ()),
    "several things": (lambda m, x: {"logits": m.net(x), "loss": x.sum()}, "output_chosen", lambda f: f.width == 3),
}  # fmt: skip


@pytest.mark.parametrize("trait", TRAITS)
def test_traits_are_found(trait: str) -> None:
    does, code, holds = TRAITS[trait]
    network = Does(does)
    before = dict(vars(network)), torch.get_rng_state()
    found = pellucid.preflight(network.eval(), X)
    assert code in codes(found), found
    assert holds(found), found
    assert network.calls == 0 and not hasattr(network, "seen") and torch.equal(torch.get_rng_state(), before[1])
    assert found.warnings[0].text() in repr(found)


def test_training_mode_is_told_and_left() -> None:
    network = nn.Sequential(mlp(), nn.Dropout(0.5)).train()
    network[0].eval()
    modes = [module.training for module in network.modules()]
    found = pellucid.preflight(network, X)
    assert found.training == "switched off" and codes(found) == {"train_mode"}
    assert [module.training for module in network.modules()] == modes


@pytest.mark.parametrize(
    ("does", "where"),
    [
        (lambda m, x: m.net(x).detach(), "output has no gradient"),
        (lambda m, x: m.net(x.round().detach()), "output has no gradient"),
        (lambda m, x: m.net(x).argmax(1).float(), "output has no gradient"),
    ],
    ids=["detached", "rounded and detached", "argmax"],
)
def test_where_the_gradient_ends(does: Callable[..., Any], where: str) -> None:
    found = pellucid.preflight(Does(does).eval(), X)
    assert where in found.capabilities["gradients"] and "Does" in found.capabilities["gradients"]
    assert found.methods["saliency"].startswith("it needs gradients: ") and not found.methods["kernel_shapley"]
    assert found.flat is None and "Not allowed: gradients" in found.text()


def test_a_no_grad_inside_is_named_by_its_layer() -> None:
    class Still(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return x * 2

    found = pellucid.preflight(nn.Sequential(nn.Linear(4, 4), Still(), nn.Linear(4, 2)), X)
    assert "1 (Still)" in found.capabilities["gradients"]


def _fixed(m: Any, x: Tensor) -> Tensor:
    if len(x) != 7:
        raise ValueError("seven rows")
    return m.net(x)


def _pairs(m: Any, x: Tensor) -> Tensor:
    if len(x) < 3:
        raise ValueError("three rows at least")
    return m.net(x)


def test_numbers_of_rows() -> None:
    fixed, least = (pellucid.preflight(Does(does).eval(), X) for does in (_fixed, _pairs))
    assert (fixed.fixed, [pace.batch for pace in fixed.costs]) == (7, [7]) and "takes 7 rows" in fixed.text()
    assert (least.least, least.fixed) == (3, None) and "at least 3" in least.text()


def word_counts(texts: list[list[str]]) -> np.ndarray:
    return np.array([[len(text), text.count("good")] for text in texts], dtype=float)


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding, self.head = nn.Embedding(12, 4), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.embedding(tokens).mean(1))


def conv() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)).eval()


def exported(tmp_path: Path) -> Any:
    from pellucid.backends.saving import export_network

    export_network(mlp(), X[:2], tmp_path / "net.pt2")
    return pellucid.load(tmp_path / "net.pt2")


def baked(tmp_path: Path) -> Any:
    torch.export.save(torch.export.export(mlp(), (X[:5],)), tmp_path / "fixed.pt2")
    return pellucid.load(tmp_path / "fixed.pt2")


KINDS: dict[str, tuple[Callable[[Path], Any], Any, str, set[str]]] = {
    "images": (lambda _: conv(), IMAGES, "image", {"gradients", "layers", "operations"}),
    "tokens": (lambda _: Tokens().eval(), torch.randint(0, 12, (4, 5)), "table", {"gradients", "layers", "operations"}),
    "a function": (lambda _: lambda x: np.asarray(x) @ np.ones((4, 2)), X.numpy(), "table", set()),
    "words": (lambda _: word_counts, [["a", "good", "film"], ["bad"]], "words", set()),
    "half precision": (lambda _: mlp().half(), X.half(), "table", {"gradients", "layers", "operations"}),
    "scripted": (lambda _: torch.jit.script(mlp()), X, "table", {"gradients"}),
    "exported": (exported, X, "table", {"gradients"}),
    "exported for five rows": (baked, X, "table", {"gradients"}),
    "a single row": (lambda _: mlp(), X[:1], "table", {"gradients", "layers", "operations"}),
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model(name: str, tmp_path: Path) -> None:
    make, rows, kind, allowed = KINDS[name]
    found = pellucid.preflight(make(tmp_path), rows)
    assert found.kind == kind
    has = {capability for capability, reason in found.capabilities.items() if not reason}
    assert allowed <= has <= allowed | {"operations", "layers"}, found.capabilities
    assert found.applicable and found.text() and found.text("zh")
    assert not {"not_repeatable", "stateful", "batch_coupled", "place_coupled"} & codes(found)


@pytest.mark.parametrize("name", ["shapley", "saliency", "lrp", "layer_conductance", "grad_cam", "attention_maps"])
@pytest.mark.parametrize("kind", ["images", "tokens", "a function"])
def test_what_is_said_to_apply_does(name: str, kind: str, tmp_path: Path) -> None:
    make, rows, _, _ = KINDS[kind]
    model = make(tmp_path)
    reason = pellucid.preflight(model, rows).methods[name]
    if not reason:
        pellucid.explain(model, rows[:2], name, budget=70 if name == "shapley" else None)
    else:
        with pytest.raises(pellucid.PellucidError):
            pellucid.explain(model, rows[:2], name)


def test_it_costs_a_few_dozen_passes() -> None:
    calls = []

    def counted(x: np.ndarray) -> np.ndarray:
        calls.append(len(x))
        return x.sum(1)

    pellucid.preflight(counted, X.numpy())
    assert len(calls) < 30


def test_a_model_that_does_not_answer_is_an_error_with_its_reason() -> None:
    with pytest.raises(ModelError, match=r"the network takes \d numbers a row, and these rows have 5\."):
        pellucid.preflight(mlp(), torch.randn(3, 5))


def test_it_is_kept_and_read(tmp_path: Path) -> None:
    found = pellucid.preflight(mlp(nn.Softmax(1)), X)
    path = found.save(tmp_path / "p")
    assert path.suffix == ".json"
    read = Preflight.load(path)
    assert repr(read) == repr(found) and read.to_dict() == found.to_dict() and read.inputs == found.inputs
    assert "probabilities" in found._repr_html_() and len(found.to_frame()) == len(found.methods)
    path.write_text(json.dumps({"record": "preflight", "format": 99}))
    with pytest.raises(StoreError, match="another version"):
        Preflight.load(path)
    path.write_text(json.dumps({**json.loads(found.save(tmp_path / "q").read_text()), "sums": 3}))
    with pytest.raises(StoreError, match="damaged"):
        Preflight.load(path)


def test_studies_begin_with_it(tmp_path: Path) -> None:
    import pandas as pd

    frame = pd.DataFrame(X.numpy().repeat(5, 0), columns=list("abcd"))
    frame["y"] = np.where(frame.a > 0, "yes", "no")
    data, network = pellucid.read(frame, label="y"), mlp(nn.Softmax(1), outputs=2)
    study = pellucid.audit(network, data, out=tmp_path, methods=["occlusion"], metrics=["sparseness"], rows=4)
    assert study.preflight is not None and study.preflight.methods
    page = (tmp_path / "report.html").read_text()
    assert "Before the questions" in page and "methods that do not apply" in page
    assert "softmaxed" in {caution.code for caution in study.ranked_warnings}
    again = pellucid.open(tmp_path)
    assert again.preflight.to_dict() == study.preflight.to_dict()
    other = pellucid.audit(
        network, data, out=tmp_path / "b", methods=["occlusion"], metrics=["sparseness"], rows=4
    )  # fmt: skip
    assert pellucid.diff(study, other).identical
    scores = pellucid.evaluate(network, X[:4], pellucid.explain(network, X[:4]), metrics=["sparseness"])
    assert scores.preflight.meaning == "probabilities" and "probabilities already" in repr(scores)
    assert pellucid.compare(network, X[:4], ["occlusion"], metrics=["sparseness"]).preflight is not None
    seen = pellucid.inspect(network, X)
    assert (
        seen.preflight is not None and type(seen).load(seen.save(tmp_path / "i")).preflight.meaning == "probabilities"
    )


def test_the_rows_at_once_are_told_with_their_rule_and_a_cheaper_number_beside_it() -> None:
    from dataclasses import replace

    from pellucid.records.preflight import Pace

    found = pellucid.preflight(mlp(), X)
    flat = replace(found, batch=64, costs=(Pace(1, 4e-6), Pace(64, 1e-6), Pace(256, 0.9e-6)))
    assert "It is asked about 64 rows at once: a rule sets this beforehand" in flat.text()
    assert "cheaper" not in flat.text()
    dear = replace(flat, costs=(Pace(1, 4e-6), Pace(64, 3e-6), Pace(256, 1e-6)))
    assert "Here and now 256 rows at once were cheaper: " in dear.text() and " with 64." in dear.text()
    assert "每次 256 行更省时" in dear.text("zh")
    alone = replace(flat, coupled=0.5, batch=1, costs=(Pace(1, 4e-6),))
    assert "It is asked row by row, since its answer to a row depends on the rows beside it." in alone.text()
    assert "rows at once: a rule" not in alone.text()
