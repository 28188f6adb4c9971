"""Texts and series of different lengths: each is explained, and judged, as it would be alone."""

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.data.text_encoding import Vocabulary
from pellucid.doors.question import as_problem
from pellucid.engine.lengths import by_length, of_one_length
from pellucid.players import Windows
from pellucid.records.errors import InputError, NotApplicable, RemovalError
from pellucid.records.players import Players
from pellucid.removals import Hide, Interpolated, Marginal, OtherSegment, Replace, SegmentMean, SeriesNoise

TEXTS = ["a fine film with a dull end", "a dull film", "fine", "good film, bad end", "a dull end", "a dull film"]
WORDS = Vocabulary.of(TEXTS)
RNG = np.random.default_rng(5)
SERIES = [RNG.normal(size=(2, length)).astype(np.float32) for length in (12, 7, 9, 7)]
OTHERS = RNG.normal(size=(3, 2, 12)).astype(np.float32)


class Mean(nn.Module):
    """The mean over all vectors it is given: it is not told which of them are words."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.vectors, self.hidden, self.out = nn.Embedding(len(WORDS), 4), nn.Linear(4, 6), nn.Linear(6, 2)

    def forward(self, ids):
        return self.out(torch.relu(self.hidden(self.vectors(ids))).mean(1))


class Cells(nn.Module):
    """What a recurrent network ends with in both directions."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.vectors = nn.Embedding(len(WORDS), 4)
        self.cells, self.out = nn.GRU(4, 5, batch_first=True, bidirectional=True), nn.Linear(10, 2)

    def forward(self, ids):
        return self.out(self.cells(self.vectors(ids))[1].transpose(0, 1).flatten(1))


class Deaf(Mean):
    """It takes a mask, and does not heed it."""

    def forward(self, ids, attention_mask):
        return super().forward(ids)


class Told(Mean):
    """It heeds the mask."""

    def forward(self, ids, attention_mask):
        there = attention_mask[..., None]
        return self.out((torch.relu(self.hidden(self.vectors(ids))) * there).sum(1) / there.sum(1).clamp(min=1))


def _alike(e, alone, row: int) -> None:
    values, own = np.array(e.values[row]), np.asarray(alone.values[0])
    there = tuple(slice(size) for size in own.shape)
    assert np.allclose(values[there], own, rtol=0, atol=1e-5 * np.abs(own).max() + 1e-12)
    values[there] = np.nan
    assert np.isnan(values).all()
    assert e.ids[row] == alone.ids[0]


def _explained_as_alone(model, rows, method, wrapped=list, **how) -> None:
    e = pellucid.explain(model, wrapped(rows), method, **how)
    for row in (0, 1):
        _alike(e, pellucid.explain(model, wrapped([rows[row]]), method, **how), row)


GRADIENTS = ["integrated_gradients", "saliency", "input_x_gradient", "smoothgrad", "expected_gradients"]
WALKS = ["deeplift", "lrp"]
INSIDE = ["layer_conductance", "neuron_attribution"]


@pytest.mark.parametrize("network", [Mean, Cells, Deaf, Told])
@pytest.mark.parametrize("method", ["exact_shapley", "occlusion", *GRADIENTS, *INSIDE, "layer_activation"])
def test_texts_are_explained_as_each_alone(network, method):
    _explained_as_alone(pellucid.wrap(network().eval(), encoding=WORDS), TEXTS, method, target=1)


@pytest.mark.parametrize("network", [Mean, Deaf])
@pytest.mark.parametrize("method", WALKS)
def test_texts_are_walked_back_as_each_alone(network, method):
    _explained_as_alone(pellucid.wrap(network().eval(), encoding=WORDS), TEXTS, method, target=1)


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift", "exact_shapley"])
@pytest.mark.parametrize("target", ["predicted", "all", (0, 1), [0, 1, 1, 0, 0, 1]])
def test_targets_of_each_row_stay_with_it(method, target):
    model = pellucid.wrap(Mean().eval(), encoding=WORDS)
    e = pellucid.explain(model, TEXTS, method, target=target)
    for row, text in enumerate(TEXTS[:3]):
        own = target[row] if isinstance(target, list) else target
        alone = pellucid.explain(model, [text], method, target=own)
        _alike(e, alone, row)
        assert e.outputs[row] == alone.outputs[0]
        assert np.allclose(e.full[row], alone.full[0]) and np.allclose(e.base[row], alone.base[0])


@pytest.mark.parametrize("method", ["integrated_hessians", "shapley_interactions"])
def test_interactions_of_texts_are_those_of_each_alone(method):
    model = pellucid.wrap(Cells().eval(), encoding=WORDS)
    e = pellucid.explain(model, TEXTS, method, target=1)
    for row, text in enumerate(TEXTS[:3]):
        alone = pellucid.explain(model, [text], method, target=1)
        for place, part in enumerate(e.parts.tolist()):
            own = [at for at, other in enumerate(alone.parts.tolist()) if _members(other) == _members(part)]
            found = e.interactions[row, place, 0]
            assert np.isnan(found) if not own else np.isclose(found, alone.interactions[0, own[0], 0], atol=1e-5)


def _members(part) -> list[int]:
    return [member for member in part if member >= 0]


@pytest.mark.parametrize("removal", [Replace(), Hide()])
def test_the_mean_over_the_words_that_are_there_is_known_in_closed_form(removal):
    """Of a sum over words a word's contribution is its own share; of a mean, with that mean's length."""
    net = Told().eval()
    with torch.no_grad():
        net.hidden.bias.fill_(50.0)  # every unit is on: the network is linear in the vectors
    e = pellucid.explain(pellucid.wrap(net, encoding=WORDS), TEXTS, "integrated_gradients", target=1, removal=removal)
    for row, text in enumerate(TEXTS):
        tokens = torch.from_numpy(WORDS.encode([text]).tokens[0])
        per_token = (net.vectors(tokens) @ (net.out.weight[1] @ net.hidden.weight)).detach().numpy() / len(tokens)
        own = [per_token[np.asarray(e.players.labels[row][: len(tokens)]) == player].sum()
               for player in range(len(e.players.of(row)))]  # fmt: skip
        assert np.allclose(e.values[row, : len(own)], own, atol=1e-5)


def test_what_looks_inside_while_words_are_deleted_says_what_to_do():
    model = pellucid.wrap(Mean().eval(), encoding=WORDS)
    problem = as_problem(model, ["a dull film"], removal=Replace())
    rows = {"tokens": torch.tensor([[2, 3, -1], [2, 3, 4]])}
    with model.visited({"hidden": lambda _: None}), pytest.raises(InputError, match="different lengths") as error:
        problem.model.outputs(rows)
    assert "removal=Replace(mask)" in str(error.value)


def test_a_mask_that_is_not_heeded_is_found_out_once():
    net, asked = Deaf().eval(), []
    net.register_forward_hook(lambda _, given, __: asked.append(len(given)))
    model = pellucid.wrap(net, encoding=WORDS)
    texts = {"tokens": torch.from_numpy(WORDS.encode(TEXTS).tokens)}
    assert not model.fills_up(texts) and not model.fills_up(texts)
    assert len(asked) == 2
    with torch.no_grad():
        net.out.weight.zero_()  # of other weights it is not known
    assert model.fills_up(texts)


@pytest.mark.parametrize("metric", ["comprehensiveness", "sufficiency", "abpc", "completeness_gap", "max_sensitivity",
                                    "seed_stability", "faithfulness_correlation"])  # fmt: skip
def test_explanations_of_texts_are_judged_as_each_alone(metric):
    model = pellucid.wrap(Cells().eval(), encoding=WORDS)
    e = pellucid.explain(model, TEXTS, "integrated_gradients", target=1)
    found = pellucid.evaluate(model, TEXTS, e, metrics=metric, target=1, controls=False)[0]
    for row, text in enumerate(TEXTS[:5]):
        alone = pellucid.evaluate(model, [text], e[row], metrics=metric, target=1, controls=False)[0]
        if alone.status == "ok":
            assert np.allclose(found.values[row], alone.values[0], atol=1e-5, equal_nan=True)


def test_methods_are_compared_on_texts_of_unequal_length():
    model = pellucid.wrap(Cells().eval(), encoding=WORDS)
    found = pellucid.compare(model, TEXTS, methods=("integrated_gradients", "occlusion"))
    assert not found.failed and {score.status for score in found.scores} <= {"ok", "skipped"}


# Series -----------------------------------------------------------------------------------------


class Temporal(nn.Module):
    """Convolutions over time and their mean: nobody tells it where a series ends."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.one, self.two, self.head = nn.Conv1d(2, 4, 3, padding=1), nn.Conv1d(4, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x):
        return self.head(torch.relu(self.two(torch.relu(self.one(x)))).mean(-1))


class DeafTemporal(Temporal):
    def forward(self, x, mask):
        return super().forward(x)


class Recurrent(nn.Module):
    """Rows are [time, channels]; what its cells end with."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.cells, self.head = nn.LSTM(2, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.cells(x)[0][:, -1])


def _series(rows):
    return pellucid.Series(rows)


def _turned(rows):
    return pellucid.Series([row.T for row in rows], time="first")


@pytest.mark.parametrize("network", [Temporal, DeafTemporal, Recurrent])
@pytest.mark.parametrize("method", ["exact_shapley", "occlusion", "lime", *GRADIENTS, "layer_activation"])
def test_series_are_explained_as_each_alone(network, method):
    wrapped, removal = _turned if network is Recurrent else _series, SegmentMean()
    _explained_as_alone(network().eval(), SERIES, method, wrapped, players=Windows(3), removal=removal, target=1)


@pytest.mark.parametrize("method", ["deeplift", "lrp", "grad_cam", "layer_cam", "ablation_cam"])
def test_series_are_walked_back_as_each_alone(method):
    _explained_as_alone(Temporal().eval(), SERIES, method, _series, players=Windows(3), target=1)


@pytest.mark.parametrize("removal", [Interpolated(), SeriesNoise(draws=2), OtherSegment(draws=2)])
@pytest.mark.parametrize("method", ["exact_shapley", "integrated_gradients"])
def test_what_stands_for_the_absent_is_as_of_each_alone(method, removal):
    _explained_as_alone(Temporal().eval(), SERIES, method, _series, players=Windows(3), removal=removal, target=1)


@pytest.mark.parametrize("method", ["exact_shapley", "integrated_gradients", "deepshap"])
@pytest.mark.parametrize("removal", [Marginal, OtherSegment])
def test_a_background_is_as_long_as_each_row(method, removal):
    net, rows = Temporal().eval(), pellucid.Series(SERIES)
    e = pellucid.explain(net, rows, method, players=Windows(3), removal=removal(pellucid.Series(OTHERS)), target=1)
    for row, series in enumerate(SERIES):
        shorter = removal(pellucid.Series(OTHERS[:, :, : series.shape[1]]))
        alone = pellucid.explain(net, pellucid.Series([series]), method, players=Windows(3), removal=shorter, target=1)
        _alike(e, alone, row)
    if e.background is not None:
        assert np.array_equal(e.background, OTHERS.reshape(3, -1))  # as it was given, for who asks again


def test_a_background_of_unequal_series_is_refused():
    with pytest.raises(RemovalError, match="the background's series have 7 to 12 steps"):
        pellucid.explain(Temporal().eval(), pellucid.Series(SERIES), "occlusion", background=pellucid.Series(SERIES))


def test_series_are_judged_as_each_alone():
    net = Temporal().eval()
    e = pellucid.explain(net, pellucid.Series(SERIES), "integrated_gradients", players=Windows(3), target=1)
    wanted = {"players": Windows(3), "metrics": ["comprehensiveness", "max_sensitivity"], "controls": False}
    found = pellucid.evaluate(net, pellucid.Series(SERIES), e, **wanted)
    for row, series in enumerate(SERIES[:3]):
        alone = pellucid.evaluate(net, pellucid.Series([series]), e[row], **wanted)
        for one, other in zip(found, alone, strict=True):
            assert np.allclose(one.values[row], other.values[0], atol=1e-5)


def test_a_network_that_takes_one_length_says_what_to_do():
    net = nn.Sequential(nn.Flatten(), nn.Linear(24, 3)).eval()
    with pytest.raises(InputError, match="7 to 12 steps") as error:
        pellucid.explain(net, pellucid.Series(SERIES), "occlusion")
    assert "neither takes shorter ones" in str(error.value) and "Series(…, fill=0.0)" in str(error.value)


def test_a_function_of_series_is_given_each_as_long_as_it_is():
    def total(x):
        return x.reshape(len(x), -1).sum(1) / x.shape[-1]

    e = pellucid.explain(total, pellucid.Series(SERIES), "exact_shapley", players=Windows(3), background=OTHERS[:1] * 0)
    for row, series in enumerate(SERIES):
        assert np.isclose(np.nansum(e.values[row]), series.sum() / series.shape[1], atol=1e-5)


def test_a_preflight_speaks_of_rows_as_long_as_they_are():
    net = Temporal().eval()
    found = pellucid.preflight(net, pellucid.Series(SERIES))
    assert "gradients" in found.capabilities


def test_an_inspection_needs_rows_of_one_length():
    with pytest.raises(NotApplicable, match="differ in length"):
        pellucid.inspect(Temporal().eval(), pellucid.Series(SERIES))


# Groups -----------------------------------------------------------------------------------------


def test_rows_stay_together_where_nothing_parts_them():
    told = as_problem(pellucid.wrap(Told().eval(), encoding=WORDS), TEXTS)
    assert len(by_length(told, inside=False)) == 1
    groups = by_length(told, inside=True)
    assert [len(rows) for rows, _ in groups] == [1, 1, 3, 1] and groups[0][1].inputs.width == 7
    assert len(by_length(told.take([1, 4, 5]), inside=True)) == 1


def test_most_rows_speak_for_all():
    untold = as_problem(Temporal().eval(), pellucid.Series(SERIES))
    few = of_one_length(untold)
    assert len(few.inputs) == 2 and few.inputs.width == 14
    assert list(few.inputs.ids) == [untold.inputs.ids[row] for row in (1, 3)]


def test_players_behind_the_end_of_a_row_are_refused():
    players = Players.shared(np.repeat(np.arange(4), 3).tolist() * 2, ["a", "b", "c", "d"])
    with pytest.raises(InputError, match="the player 'd' lies behind the end of a shorter row"):
        pellucid.explain(Temporal().eval(), pellucid.Series(SERIES), "occlusion", players=players)
