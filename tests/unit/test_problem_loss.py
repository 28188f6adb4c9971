"""The loss as a target: what is right, how outputs are read, and every explanation of it."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss
from torch import nn

import pellucid
from pellucid.data.reading import read
from pellucid.records.errors import NotApplicable, TargetError
from pellucid.records.explanation import Explanation
from pellucid.targets import Loss

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(6, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1, 0, 2])


def network(outputs=3, last=None):
    torch.manual_seed(0)
    layers = [nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, outputs)]
    return nn.Sequential(*layers, *([last] if last is not None else [])).eval()


def losses(model, target, rows=ROWS):
    return pellucid.explain(model, rows, "occlusion", target=target).full[:, 0]


def raw(model, rows=ROWS):
    with torch.no_grad():
        return model(torch.from_numpy(rows)).double().numpy()


def softmax(z):
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def test_cross_entropy_of_logits_and_of_probabilities():
    logits, chances = network(), network(last=nn.Softmax(1))
    wanted = [log_loss([y], [p], labels=[0, 1, 2]) for y, p in zip(LABELS, softmax(raw(logits)), strict=True)]
    np.testing.assert_allclose(losses(logits, Loss(LABELS)), wanted, rtol=1e-6)
    np.testing.assert_allclose(losses(chances, Loss(LABELS)), wanted, rtol=1e-5)
    for model, how in ((logits, "logits"), (chances, "probabilities")):
        asked = pellucid.explain(model, ROWS, "occlusion", target=Loss(LABELS)).target
        assert asked["kind"] == "loss" and asked["loss"] == "cross_entropy" and asked["outputs"] == how
        assert len(asked["labels"]) >= 32


def test_a_single_output_speaks_for_the_second_class():
    logit, chance = network(1), network(1, nn.Sigmoid())
    y = np.array([0, 1, 1, 0, 1, 0])
    p = 1 / (1 + np.exp(-raw(logit)[:, 0]))
    wanted = -np.log(np.where(y == 1, p, 1 - p))
    np.testing.assert_allclose(losses(logit, Loss(y)), wanted, rtol=1e-6)
    np.testing.assert_allclose(losses(chance, Loss(y)), wanted, rtol=1e-5)
    np.testing.assert_allclose(losses(logit, Loss(y, "zero_one")), (p > 0.5) != y)


def test_errors_of_numbers_and_the_brier_score():
    model, y = network(1), RNG.normal(size=6)
    f = raw(model)[:, 0]
    np.testing.assert_allclose(losses(model, Loss(y)), (f - y) ** 2, rtol=1e-6)
    np.testing.assert_allclose(losses(model, Loss(y, "absolute_error")), np.abs(f - y), rtol=1e-6)
    brier = np.square(softmax(raw(network())) - np.eye(3)[LABELS]).sum(1)
    np.testing.assert_allclose(losses(network(), Loss(LABELS, "squared_error")), brier, rtol=1e-6)
    wrong = raw(network()).argmax(1) != LABELS
    np.testing.assert_allclose(losses(network(), Loss(LABELS, "zero_one")), wrong)


def test_a_function_and_the_models_own_answer():
    def margin(outputs, labels):
        return -outputs.gather(1, labels[:, None])[:, 0]

    np.testing.assert_allclose(losses(network(), Loss(LABELS, margin)), -raw(network())[range(6), LABELS], rtol=1e-6)
    own = pellucid.explain(network(), ROWS, "occlusion", target=Loss(kind="own"))
    np.testing.assert_allclose(own.full, 0.0, atol=1e-12)
    assert own.target == {"kind": "loss", "loss": "own"} and own.outputs[0] == ("squared change",)
    with pytest.raises(TargetError, match="the loss returned"):
        losses(network(), Loss(LABELS, lambda outputs, labels: outputs))


def test_class_names_in_whatever_order_the_model_has_them():
    names = ("red", "green", "blue")
    model = pellucid.wrap(network(), outputs=names)
    by_name = [names[label] for label in LABELS]
    np.testing.assert_array_equal(losses(model, Loss(by_name)), losses(model, Loss(LABELS)))
    data = ("blue", "green", "red")  # another order than the model's
    codes = np.array([data.index(name) for name in by_name])
    np.testing.assert_array_equal(losses(model, Loss(codes, classes=data)), losses(model, Loss(LABELS)))
    single = pellucid.wrap(network(1), outputs=("yes",))
    y = np.array([0, 1, 1, 0, 1, 0])
    np.testing.assert_array_equal(losses(single, Loss(np.where(y, "yes", "no"))), losses(single, Loss(y)))
    np.testing.assert_array_equal(losses(single, Loss(1 - y, classes=("yes", "no"))), losses(single, Loss(y)))


def dataset(tmp_path):
    frame = pd.DataFrame(ROWS.astype(float), columns=["a", "b", "c"])
    frame["colour"] = np.array(["red", "green", "blue"])[LABELS]
    frame.to_csv(tmp_path / "data.csv", index=False)
    return read(tmp_path / "data.csv", label="colour")


def test_labels_travel_with_a_dataset(tmp_path):
    data, model = dataset(tmp_path), pellucid.wrap(network(), outputs=("red", "green", "blue"))
    np.testing.assert_allclose(losses(model, "loss", data), losses(model, Loss(LABELS)), rtol=1e-5)
    np.testing.assert_allclose(
        losses(model, "loss:zero_one", data[[2, 0]]), losses(model, Loss(LABELS, "zero_one"))[[2, 0]]
    )
    compared = pellucid.compare(model, data, ("occlusion", "lime"), target="loss", metrics="abpc", budget=200)
    assert not compared.failed and compared.explanations["lime"].target["loss"] == "cross_entropy"


def test_why_a_row_is_wrong_adds_up_and_is_graded_again(tmp_path):
    data, model = dataset(tmp_path), pellucid.wrap(network(), outputs=("red", "green", "blue"))
    e = pellucid.explain(model, data, "exact_shapley", target="loss", background=ROWS)
    np.testing.assert_allclose(e.values.sum(1), (e.full - e.base)[:, 0], atol=1e-9)
    back = Explanation.load(e.save(tmp_path / "e"))
    again = pellucid.evaluate(model, data, back, metrics=["completeness_gap", "abpc"])
    assert all(score.status == "ok" for score in again)
    with pytest.raises(TargetError, match="with their labels"):
        pellucid.evaluate(model, data.features, back, metrics="abpc")
    assert "labels" not in back[:2].target


def test_v_is_the_mean_of_losses_and_sage_asks_the_loss_of_the_mean():
    """v(nobody) by hand, both ways."""
    from pellucid.doors.question import as_problem
    from pellucid.engine.opening import opened

    y, background = ROWS[:, 0] + 1.0, ROWS[:4]
    with opened(as_problem(network(1), ROWS, target=Loss(y), background=background), "x") as run:
        session, order = run.parts[0][1], run.order
        apart = np.square(raw(network(1), background)[:, 0][None] - y[order][:, None]).mean(1)
        together = np.square(raw(network(1), background).mean() - y[order])
        np.testing.assert_allclose(session.empty, apart, rtol=1e-6)
        means = session.of_means()
        np.testing.assert_allclose(means.empty, together, rtol=1e-5)
        nobody = np.zeros((6, 2, 3), dtype=bool)
        np.testing.assert_allclose(means.values(nobody), np.stack([together] * 2, 1), rtol=1e-5)
        np.testing.assert_allclose(means.values(nobody[0]), np.stack([together] * 2, 1), rtol=1e-5)
        np.testing.assert_allclose(means.values(~nobody[0])[:, 0], session.full, rtol=1e-5)
        np.testing.assert_allclose(session.values(nobody[0])[:, 0], apart, rtol=1e-6)


def test_gradients_of_the_loss():
    x = torch.from_numpy(ROWS.copy()).requires_grad_()
    nn.functional.cross_entropy(network()(x), torch.from_numpy(LABELS), reduction="sum").backward()
    e = pellucid.explain(network(), ROWS, "saliency", target=Loss(LABELS), signed_values=True)
    np.testing.assert_allclose(e.values, x.grad.numpy(), atol=1e-6)


BAD = [
    (Loss(LABELS[:4]), "4 labels for 6 rows. give one for each row"),
    (Loss([0, 1, 2, 3, 0, 1]), "label 3 is no class"),
    (Loss([0.0, np.nan, 1, 1, 1, 1]), "row 1: the label is NaN"),
    (Loss(["a", "b", None, "a", "b", "a"]), "row 2: the label None is no name"),
    (Loss(np.zeros((6, 2))), r"shape \(6, 2\)"),
    (Loss(LABELS + 0.5), "is no class"),
    (Loss(["x"] * 6), "'x' is no class of the model"),
    (Loss(LABELS, "absolute_error"), "these labels are classes"),
    ("loss", "needs one label for each row"),
]


@pytest.mark.parametrize(("target", "told"), BAD, ids=range(len(BAD)))
def test_bad_labels_are_told(target, told):
    with pytest.raises(TargetError, match=told):
        losses(network(), target)


def test_an_unknown_kind_and_a_loss_without_a_slope():
    with pytest.raises(TargetError, match="there is no loss 'hinge'"):
        Loss(LABELS, "hinge")
    with pytest.raises(NotApplicable, match="cannot be differentiated"):
        pellucid.explain(network(), ROWS, "saliency", target=Loss(LABELS, "zero_one"))


def test_a_probability_of_zero_is_not_infinite():
    found = losses(lambda x: np.eye(3)[np.zeros(len(x), dtype=int)], Loss(LABELS))
    assert np.isfinite(found).all() and found.max() > 30 and found.min() == 0
