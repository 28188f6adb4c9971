"""The training loop: the same bits every time, resumable, silent, and good enough for the demo."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from pellucid.records.errors import Cancelled, InputError, NotFiniteError, StoreError
from pellucid.training.fit import Adam, History, Momentum, fit, fresh
from pellucid.training.networks import loan_network, mlp, resnet18_like, small_cnn, transformer_encoder


@pytest.fixture(scope="module")
def toy() -> tuple[np.ndarray, np.ndarray]:
    dice = np.random.default_rng(3)
    rows = dice.normal(size=(101, 5)).astype(np.float32)
    return rows, (rows[:, 0] * rows[:, 1] > 0).astype(np.int64)


def network(seed: int = 1) -> nn.Module:
    return fresh(mlp, seed, inputs=5, hidden=(8,), outputs=2, dropout=0.3)


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Ear:
    def __init__(self, stop_after: int = 10**9):
        self.heard: list[tuple] = []
        self.asked, self.stop_after = 0, stop_after

    def started(self, what: str, total: int) -> None:
        self.heard.append(("started", what, total))

    def advanced(self, steps: int = 1) -> None:
        self.heard.append(("advanced", steps))

    def finished(self) -> None:
        self.heard.append(("finished",))

    def cancelled(self) -> bool:
        self.asked += 1
        return self.asked > self.stop_after


@pytest.mark.parametrize("optimiser", [Adam(0.01), Momentum(0.05)])
def test_two_runs_are_equal_bit_for_bit_and_leave_the_global_dice_alone(toy, optimiser):
    torch.manual_seed(123)
    before = torch.get_rng_state()
    runs = []
    for _ in range(2):
        module = network()
        history = fit(module, toy, epochs=3, seed=5, batch_size=16, optimiser=optimiser)
        runs.append((weights(module), history.losses))
        torch.rand(7) if not runs[1:] else None
        if len(runs) == 1:
            torch.set_rng_state(before)
    assert same(runs[0][0], runs[1][0]) and runs[0][1] == runs[1][1]
    assert torch.equal(torch.get_rng_state(), before)


def test_other_seeds_give_other_networks(toy):
    assert not same(weights(network(1)), weights(network(2)))
    one, two = network(), network()
    fit(one, toy, epochs=1, seed=0)
    fit(two, toy, epochs=1, seed=1)
    assert not same(weights(one), weights(two))


@pytest.mark.parametrize("optimiser", [Adam(0.01, 0.01), Momentum(0.05)])
@pytest.mark.parametrize("judged", [False, True])
def test_resuming_gives_the_bits_of_an_uninterrupted_run(toy, tmp_path, optimiser, judged):
    settings = {"seed": 2, "batch_size": 16, "optimiser": optimiser, "validation": toy if judged else None}
    whole = network()
    straight = fit(whole, toy, epochs=5, **settings)
    place = tmp_path / "state.safetensors"
    fit(network(), toy, epochs=2, checkpoint=place, **settings)
    late = network()
    resumed = fit(late, toy, epochs=5, checkpoint=place, **settings)
    assert same(weights(whole), weights(late))
    assert (resumed.losses, resumed.validation, resumed.best) == (straight.losses, straight.validation, straight.best)
    again = fit(network(), toy, epochs=5, checkpoint=place, **settings)
    assert again == resumed


def test_a_run_stopped_in_the_middle_of_an_epoch_resumes_from_the_last_whole_one(toy, tmp_path):
    place = tmp_path / "state.safetensors"
    whole = network()
    fit(whole, toy, epochs=4, batch_size=16)
    ear = Ear(stop_after=17)  # seven batches an epoch: in the third
    with pytest.raises(Cancelled, match="epoch 2"):
        fit(network(), toy, epochs=4, batch_size=16, checkpoint=place, listener=ear)
    assert ear.heard[-1] == ("finished",)
    late = network()
    fit(late, toy, epochs=4, batch_size=16, checkpoint=place)
    assert same(weights(whole), weights(late))


def test_a_foreign_or_damaged_checkpoint_is_refused(toy, tmp_path):
    place = tmp_path / "state.safetensors"
    fit(network(), toy, epochs=1, checkpoint=place)
    for change in ({"seed": 9}, {"batch_size": 8}, {"optimiser": Adam(0.5)}, {"class_weights": "balanced"}):
        with pytest.raises(StoreError, match="another"):
            fit(network(), toy, epochs=2, checkpoint=place, **change)
    with pytest.raises(StoreError, match="another"):
        fit(network(7), toy, epochs=2, checkpoint=place)
    content = place.read_bytes()
    dice = np.random.default_rng(0)
    for spot in dice.integers(0, len(content), 40):
        broken = bytearray(content)
        broken[spot] ^= 4
        place.write_bytes(bytes(broken))
        with pytest.raises(StoreError):
            fit(network(), toy, epochs=2, checkpoint=place)


def test_the_best_weights_are_kept_and_patience_ends_the_training(toy):
    rows, labels = toy
    module = network()
    history = fit(
        module,
        (rows[:30], labels[:30]),
        epochs=200,
        optimiser=Adam(0.05),
        validation=(rows[30:], labels[30:]),
        patience=5,
    )
    assert history.stopped and len(history.losses) == history.best + 6
    assert history.best == int(np.argmin(history.validation))
    with torch.no_grad():
        loss = nn.functional.cross_entropy(module(torch.tensor(rows[30:])), torch.tensor(labels[30:])).item()
    assert loss == pytest.approx(min(history.validation), rel=1e-5)
    assert not any(part.training for part in module.modules())
    assert History.from_dict(history.to_dict()) == history


def test_the_listener_hears_every_epoch(toy):
    ear = Ear()
    fit(network(), toy, epochs=3, listener=ear)
    assert ear.heard == [("started", "training", 3), ("advanced", 0), *[("advanced", 1)] * 3, ("finished",)]


def test_balanced_weights_equal_repeating_the_rare_class(toy):
    """One full-batch step with weights equals one with the rare rows repeated: (3, 1) rows as (3, 3)."""
    rows = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
    labels = torch.tensor([0, 0, 0, 1])
    order = [0, 1, 2, 3, 3, 3]
    one, two = (fresh(mlp, 4, inputs=5, hidden=(), outputs=2) for _ in range(2))
    slow = Momentum(0.1, 0.0)
    fit(one, (rows, labels), epochs=3, class_weights="balanced", optimiser=slow)
    fit(two, (rows[order], labels[order]), epochs=3, optimiser=slow)
    for name, value in weights(one).items():
        torch.testing.assert_close(value, weights(two)[name])


def test_least_squares_finds_the_line():
    rows = np.random.default_rng(1).normal(size=(400, 3))
    truth = rows @ [1.0, -2.0, 0.5] + 3
    module = fresh(mlp, 0, inputs=3, hidden=(), outputs=1).double()
    fit(module, (rows, truth), "squared", epochs=60, optimiser=Momentum(0.05))
    layer = module.get_submodule("0")
    assert layer.weight.dtype == torch.float64
    np.testing.assert_allclose(layer.weight.detach().numpy()[0], [1, -2, 0.5], atol=1e-6)
    np.testing.assert_allclose(layer.bias.detach().numpy(), [3], atol=1e-6)


def test_bad_data_are_named(toy):
    rows, labels = toy
    broken = rows.copy()
    broken[17, 2] = np.nan
    with pytest.raises(NotFiniteError, match="row 17"):
        fit(network(), (broken, labels), epochs=1)
    with pytest.raises(InputError, match="101 rows and 3 labels"):
        fit(network(), (rows, labels[:3]), epochs=1)
    with pytest.raises(InputError, match="validation"):
        fit(network(), toy, epochs=1, patience=2)
    with pytest.raises(NotFiniteError, match="epoch"):
        fit(network(), (rows * 1e30, labels), epochs=9, optimiser=Momentum(1e6))


def test_the_breast_cancer_network_is_accurate():
    rows, labels = load_breast_cancer(return_X_y=True)
    train, test, train_labels, test_labels = train_test_split(rows, labels, random_state=0, stratify=labels)
    mean, scale = train.mean(0), train.std(0)
    module = fresh(mlp, 0, inputs=30)
    fit(module, ((train - mean) / scale, train_labels), epochs=30, batch_size=32)
    with torch.no_grad():
        guess = module(torch.tensor((test - mean) / scale, dtype=torch.float32)).argmax(1).numpy()
    assert (guess == test_labels).mean() >= 0.95


def test_the_loan_network_learns_one_logit(toy):
    rows = np.random.default_rng(0).normal(size=(300, 8))
    labels = rows[:, 0] + rows[:, 3] > 0
    module = fresh(loan_network, 0)
    fit(module, (rows, labels), "binary", epochs=40, optimiser=Adam(0.02), class_weights=(1.0, 2.0))
    with torch.no_grad():
        guess = module(torch.tensor(rows, dtype=torch.float32))[:, 0] > 0
    assert (guess.numpy() == labels).mean() >= 0.95


def test_the_digits_network_is_accurate():
    digits = load_digits()
    images = (digits.images / 16).astype(np.float32)[:, None]
    train, test, labels, test_labels = train_test_split(images, digits.target, random_state=0, stratify=digits.target)
    module = fresh(small_cnn, 0, channels=1, height=8, width=8, classes=10)
    fit(module, (train, labels), epochs=6, batch_size=64, optimiser=Adam(3e-3))
    with torch.no_grad():
        guess = module(torch.tensor(test)).argmax(1).numpy()
    assert (guess == test_labels).mean() >= 0.95


def test_the_networks_have_the_promised_shapes():
    assert small_cnn(1, 96, 96, 3)(torch.zeros(2, 1, 96, 96)).shape == (2, 3)
    residual = resnet18_like().eval()
    assert residual(torch.zeros(1, 3, 64, 64)).shape == (1, 10)
    # He et al.: ResNet-18 has 11.69 million weights with 1,000 classes.
    assert sum(p.numel() for p in resnet18_like(3, 1000).parameters()) == 11_689_512
    assert transformer_encoder().eval()(torch.zeros(2, 64, 256)).shape == (2, 2)
    assert transformer_encoder(12, 32, 1, 2, 5, vocabulary=9)(torch.zeros(2, 7, dtype=torch.long)).shape == (2, 5)
    assert loan_network("relu")(torch.zeros(3, 8)).shape == (3, 1)
