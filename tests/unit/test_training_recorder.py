"""The recorder of training: what it keeps, in fit and around a loop of one's own, and that it leaves nothing behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from pellucid.records.errors import InputError, NotApplicable, UnknownName
from pellucid.records.recording import Recording
from pellucid.training.fit import fit, fresh
from pellucid.training.networks import mlp
from pellucid.training.recorder import Recorder
from pellucid.training.tensorboard import to_tensorboard

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long()


def network() -> nn.Module:
    return fresh(mlp, inputs=4, outputs=2, hidden=(6,))


def hooks_of(net: nn.Module) -> int:
    own = sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in net.modules())
    return own + sum(len(weight._post_accumulate_grad_hooks or {}) for weight in net.parameters())


def test_fit_is_recorded_epoch_by_epoch_and_trains_to_the_same_bits():
    bare, watched = network(), network()
    fit(bare, (X, Y), epochs=3)
    recorder = Recorder(watched)
    fit(watched, (X, Y), epochs=3, listener=recorder)
    found = recorder.recording
    assert found.epochs.tolist() == [0, 1, 2] and hooks_of(watched) == 0
    for one, other in zip(bare.state_dict().values(), watched.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    name, weight = next(iter(watched.named_parameters()))
    place = found.place("weights", name)
    values = weight.detach().double().numpy().ravel()
    assert found.low[-1, place] == values.min() and found.high[-1, place] == values.max()
    np.testing.assert_allclose(found.moments[-1, place], [values.mean(), values.std()])
    np.testing.assert_array_equal(found.counts[-1, place], np.histogram(values, found.counts.shape[2])[0])
    assert {kind for kind, _ in found.series} == {"activations", "gradients", "weights"}
    assert np.isfinite(found.quantiles).all() and (found.counts.sum(2) == found.sizes).all()


def test_a_resumed_training_counts_on(tmp_path):
    net = network()
    fit(net, (X, Y), epochs=2, checkpoint=tmp_path / "kept.safetensors")
    again = network()
    recorder = Recorder(again)
    fit(again, (X, Y), epochs=4, checkpoint=tmp_path / "kept.safetensors", listener=recorder)
    assert recorder.recording.epochs.tolist() == [2, 3]


def test_a_loop_of_ones_own_is_recorded():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True), nn.Linear(3, 1))
    engine = torch.optim.SGD(net.parameters(), 0.1)
    with Recorder(net) as recorder:
        for _ in range(2):
            loss = (net(X)[:, 0] - Y).square().mean()
            loss.backward()
            gradient = net[0].weight.grad.clone()  # pyright: ignore[reportOptionalMemberAccess]
            engine.step()
            engine.zero_grad(set_to_none=True)  # the recorder has seen it already
            with torch.no_grad():
                hidden = net[0](X)
            recorder.epoch(loss)
    found = recorder.recording
    assert found.losses[1] == pytest.approx(loss.item())
    assert found.high[1, found.place("gradients", "0.weight")] == pytest.approx(gradient.max().item())
    assert found.high[1, found.place("activations", "0")] == pytest.approx(hidden.max().item())
    assert found.low[1, found.place("activations", "0")] < 0  # what the rectifier did in place later is not seen
    with pytest.raises(InputError, match="not watching"):
        recorder.epoch()


def test_hooks_are_gone_after_an_exception():
    net = network()
    with pytest.raises(RuntimeError, match="stop"), Recorder(net):
        assert hooks_of(net) > 0
        raise RuntimeError("stop")
    assert hooks_of(net) == 0


def test_broken_numbers_are_counted_and_said():
    net = nn.Sequential(nn.Linear(4, 2))
    with Recorder(net) as recorder:
        net(X).sum().backward()
        recorder.epoch()
        with torch.no_grad():
            net[0].weight[0, 0] = float("nan")
            net[0].bias.fill_(float("inf"))
        net(X).sum().backward()
        recorder.epoch()
    found = recorder.recording
    assert found.broken[1, found.place("weights", "0.weight")] == 1
    assert np.isnan(found.low[1, found.place("weights", "0.bias")])
    assert "first in epoch 1" in found.text() and "无穷大" in found.text(language="zh")


def recorded() -> Recording:
    net = network()
    recorder = Recorder(net)
    fit(net, (X, Y), epochs=3, listener=recorder)
    return recorder.recording


def test_figures_and_files(tmp_path):
    pytest.importorskip("altair")
    found = recorded()
    back = Recording.load(found.save(tmp_path / "run"))
    assert back.series == found.series and back.counts.tobytes() == found.counts.tobytes()
    for kind in ("weights", "gradients", "activations"):
        assert found.plot(kind).to_dict()["description"]
    name = found.series[found.of("weights")[0]][1]
    assert name in found.plot("weights", name, language="zh").to_dict()["description"]
    with pytest.raises(UnknownName, match="series of weights"):
        found.plot("weights", "nowhere")
    with pytest.raises(UnknownName, match="kind"):
        found.plot("weihgts")
    assert "<img" in found._repr_html_() and len(found.to_frame()) == 3 * len(found.series)


def test_without_tensorboard_a_sentence_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(NotApplicable, match=r"needs tensorboard.*pellucid\[tensorboard\]"):
        to_tensorboard(recorded(), tmp_path)


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = recorded()
    to_tensorboard(found, tmp_path / "events")
    read = EventAccumulator(str(tmp_path / "events"), size_guidance={"histograms": 0})
    read.Reload()
    kind, name = found.series[-1]
    events = read.Histograms(f"{kind}/{name}")
    assert [event.step for event in events] == [0, 1, 2]
    assert events[-1].histogram_value.max == pytest.approx(found.high[-1, -1])
    assert sum(events[-1].histogram_value.bucket) == found.sizes[-1, -1]
