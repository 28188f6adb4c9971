"""scikit-learn estimators: torch twins that answer as they do, encodings before them, black boxes that say why."""

import functools
import io
import json
import os
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import linear_model, preprocessing
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_transformer
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC

import pellucid
from pellucid import PellucidError
from pellucid.backends.estimator import EstimatorTwin

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.normal(40, 10, 120),
            "income": rng.normal(3000, 900, 120),
            "home": rng.choice(["rents", "owns", "parents"], 120),
        }
    )


@pytest.fixture(scope="module")
def labels(people) -> np.ndarray:
    return np.where((people["income"] > 60 * people["age"]) | (people["home"] == "owns"), "good", "bad")


def mlp(**settings) -> MLPClassifier:
    return MLPClassifier((7, 4), max_iter=30, random_state=0, **settings)


def scaled(model, *steps):
    return make_pipeline(preprocessing.StandardScaler(), *steps, model)


CLASSIFIERS = {
    "relu": lambda: scaled(mlp()),
    "tanh": lambda: scaled(mlp(activation="tanh")),
    "logistic": lambda: scaled(mlp(activation="logistic")),
    "identity": lambda: scaled(mlp(activation="identity")),
    "min-max, clipped": lambda: make_pipeline(preprocessing.MinMaxScaler((-1, 2), clip=True), mlp()),
    "max-abs": lambda: make_pipeline(preprocessing.MaxAbsScaler(), mlp()),
    "robust": lambda: make_pipeline(preprocessing.RobustScaler(), "passthrough", mlp()),
    "not centred": lambda: make_pipeline(preprocessing.StandardScaler(with_mean=False), mlp()),
    "projected": lambda: scaled(mlp(), PCA(2, whiten=True)),
    "chosen columns": lambda: scaled(mlp(), SelectKBest(k=1)),
    "no scaler": lambda: LinearDiscriminantAnalysis(),
    "logistic regression": lambda: scaled(linear_model.LogisticRegression()),
    "stochastic": lambda: scaled(linear_model.SGDClassifier(loss="log_loss", random_state=0)),
    "hinge": lambda: scaled(LinearSVC()),
    "ridge": lambda: linear_model.RidgeClassifier(),
    "searched": lambda: GridSearchCV(scaled(linear_model.LogisticRegression()), {"logisticregression__C": [1, 2]}),
}
REGRESSORS = {
    "mlp": lambda: scaled(MLPRegressor(hidden_layer_sizes=(5,), max_iter=30, random_state=0)),
    "mlp, exponential": lambda: scaled(MLPRegressor(hidden_layer_sizes=(5,), loss="poisson", max_iter=30)),
    "line": lambda: linear_model.LinearRegression(),
    "poisson": lambda: scaled(linear_model.PoissonRegressor()),
    "tweedie, identity": lambda: scaled(linear_model.TweedieRegressor(power=0)),
}


def answer(fitted, frame):
    ask = getattr(fitted, "predict_proba", None) or getattr(fitted, "decision_function", None) or fitted.predict
    found = np.asarray(ask(frame))
    return found[:, None] if found.ndim == 1 else found


def settled(fitted, frame):
    """Its twin, which answers as it does, and whose gradients are the slopes of its own answers."""
    model = pellucid.wrap(fitted)
    assert isinstance(model, EstimatorTwin), model.reason
    frame = frame.mean() + 0.9 * (frame - frame.mean())  # off the edges where a scaler clips
    rows = torch.tensor(frame.to_numpy(), dtype=torch.float64, requires_grad=True)
    found = model.outputs({"inputs": rows})
    np.testing.assert_allclose(found.detach(), answer(fitted, frame), rtol=1e-9, atol=1e-12)
    grad = torch.autograd.grad(found[:, -1].sum(), rows)[0]
    for column in range(frame.shape[1]):
        step = np.zeros(frame.shape[1])
        step[column] = frame.to_numpy()[:, column].std() * 1e-6
        difference = answer(fitted, frame + step)[:, -1] - answer(fitted, frame - step)[:, -1]
        slope = difference / (2 * step[column])
        np.testing.assert_allclose(grad[:, column], slope, rtol=1e-3, atol=1e-6 * np.abs(slope).max() + 1e-12)
    return model


@pytest.mark.parametrize("kind", CLASSIFIERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_classifiers_become_networks_of_their_raw_columns(kind, classes, people):
    numbers = people[["age", "income"]]
    label = np.digitize(numbers["age"] + numbers["income"] / 100, [60, 75][: classes - 1])
    model = settled(CLASSIFIERS[kind]().fit(numbers, label), numbers)
    assert model.columns == ("age", "income")
    if model.outputs({"inputs": torch.zeros(1, 2, dtype=torch.float64)}).shape[1] == classes:
        assert model.labels == tuple("012"[:classes])


@pytest.mark.parametrize("kind", REGRESSORS)
def test_regressors_become_networks(kind, people):
    numbers = people[["age", "income"]]
    settled(REGRESSORS[kind]().fit(numbers, numbers["age"] / 10 + numbers["income"] / 1000), numbers)


def test_a_first_step_that_does_nothing_is_no_step():
    model = make_pipeline("passthrough", MLPClassifier((3,), max_iter=5, random_state=0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(np.random.default_rng(0).normal(size=(20, 3)), [0, 1] * 10)
    assert isinstance(pellucid.wrap(model), EstimatorTwin)


def test_several_labels_at_once(people):
    numbers = people[["age", "income"]].to_numpy()
    fitted = scaled(mlp()).fit(numbers, np.stack([numbers[:, 0] > 40, numbers[:, 1] > 3000], 1))
    settled(fitted, pd.DataFrame(numbers))


def test_layers_are_named_and_gradients_are_of_the_raw_columns(people, labels):
    numbers = people[["age", "income"]]
    fitted = scaled(mlp()).fit(numbers, labels)
    model = pellucid.wrap(fitted)
    assert list(model.layers) == [
        "", "standardscaler", "mlpclassifier_hidden1", "mlpclassifier_relu1", "mlpclassifier_hidden2",
        "mlpclassifier_relu2", "mlpclassifier_output", "mlpclassifier_logistic", "mlpclassifier_classes",
    ]  # fmt: skip
    e = pellucid.explain(fitted, numbers[:4], "integrated_gradients", target="good", background=numbers)
    np.testing.assert_allclose(e.values.sum(1), e.full[:, 0] - e.base[:, 0], atol=1e-3)
    turned = pellucid.explain(fitted, numbers.iloc[:4, ::-1], "integrated_gradients", target="good", background=numbers)
    assert turned.players.names == e.players.names == (("age", "income"),)
    np.testing.assert_array_equal(turned.values, e.values)


def test_what_stands_before_the_network_becomes_its_encoding(people, labels):
    before = make_column_transformer(
        (make_pipeline(SimpleImputer(), preprocessing.StandardScaler()), ["age", "income"]),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), ["home"]),
    )
    frame = people.assign(age=people["age"].where(people["age"] < 55))  # some ages are missing
    fitted = make_pipeline(before, SelectKBest(k=4), mlp()).fit(frame, labels)
    model = pellucid.wrap(fitted)
    assert isinstance(model, EstimatorTwin) and model.encoding.groups["home"] == [2, 3, 4]
    for method in ("exact_shapley", "integrated_gradients"):
        e = pellucid.explain(model, frame[:6], method, target="good", background=people)
        assert e.players.names == (("age", "income", "home"),)
        np.testing.assert_allclose(e.full[:, 0], fitted.predict_proba(frame[:6])[:, 1], atol=1e-12)


def test_an_array_of_raw_rows_is_never_taken_for_encoded_ones(people, labels):
    numbers = people[["age", "income"]]
    fitted = make_pipeline(make_column_transformer((preprocessing.PowerTransformer(), ["income", "age"])), mlp())
    fitted.fit(numbers, labels)
    assert pellucid.wrap(fitted).encoding.width == 2  # as wide as the raw table
    e = pellucid.explain(fitted, numbers[:3].to_numpy(), "exact_shapley", target="good", background=numbers)
    np.testing.assert_allclose(e.full[:, 0], fitted.predict_proba(numbers[:3])[:, 1], atol=1e-12)


class Doubled(linear_model.LogisticRegression):
    def predict_proba(self, X):
        return super().predict_proba(X) ** 2


@pytest.mark.parametrize(
    ("fitted", "reason"),
    [
        (RandomForestClassifier(3), "a RandomForestClassifier is no network and no linear model"),
        (SVC(), "a SVC is no network"),
        (Doubled(), "a Doubled is no network"),
        (linear_model.SGDClassifier(loss="modified_huber"), "a network made from its weights differs from it by"),
        (make_pipeline(preprocessing.PowerTransformer(), mlp()), "its step 'powertransformer' encodes columns, whose"),
    ],
)
def test_others_are_black_boxes_that_say_why(fitted, reason, people, labels):
    numbers = people[["age", "income"]].to_numpy()
    model = pellucid.wrap(fitted.fit(numbers, labels))
    assert reason in model.reason
    with pytest.raises(PellucidError, match="needs a model that is differentiable") as met:
        pellucid.explain(model, numbers[:2], "integrated_gradients")
    assert reason in str(met.value) and "kernel_shapley, lime and occlusion work with any model" in str(met.value)
    e = pellucid.explain(model, numbers[:2], "exact_shapley", target=0, background=numbers)
    np.testing.assert_allclose(e.full[:, 0], answer(fitted, numbers[:2])[:, 0], atol=1e-12)


def test_an_estimator_that_was_fitted_anew_is_noticed(people, labels):
    numbers = people[["age", "income"]].to_numpy()
    fitted = mlp().fit(numbers, labels)
    model = pellucid.wrap(fitted)
    pellucid.explain(model, numbers[:1])
    fitted.partial_fit(numbers, labels)
    with pytest.raises(PellucidError, match="MLPClassifier: the estimator was fitted anew since it was wrapped"):
        pellucid.explain(model, numbers[:1])
    pellucid.explain(fitted, numbers[:1])


def test_nothing_is_left_behind(people, labels):
    numbers = people[["age", "income"]]
    fitted = scaled(mlp()).fit(numbers, labels)
    before = [array.tobytes() for array in fitted[-1].coefs_]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()
        pellucid.explain(fitted, numbers[:3], "integrated_gradients", background=numbers)
    assert [array.tobytes() for array in fitted[-1].coefs_] == before
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert torch.equal(torch.get_rng_state(), torch_state)


# Files -------------------------------------------------------------------------------------


@pytest.fixture
def kept(tmp_path):
    skops = pytest.importorskip("skops.io")

    def keep(estimator, name="model.skops"):
        skops.dump(estimator, tmp_path / name)
        return tmp_path / name

    return keep


@pytest.mark.parametrize("model", [mlp(), RandomForestClassifier(3, random_state=0), linear_model.LogisticRegression()])
def test_a_skops_file_explains_as_the_live_pipeline_does(model, kept, people, labels):
    fitted = scaled(model).fit(people[["age", "income"]], labels)
    rows, given = people[["age", "income"]][:4], {"background": people[["age", "income"]][:30], "target": "good"}
    loaded = pellucid.load(kept(fitted))
    assert loaded.name == "model" and isinstance(loaded, EstimatorTwin) == isinstance(
        pellucid.wrap(fitted), EstimatorTwin
    )
    found, wanted = (pellucid.explain(one, rows, "exact_shapley", **given).values for one in (loaded, fitted))
    np.testing.assert_array_equal(found, wanted)
    named = pellucid.load(kept(fitted), outputs=("no", "yes"), name="loans")
    assert named.labels == ("no", "yes") and named.name == "loans"


class Stranger(BaseEstimator):
    def predict(self, rows):
        return np.zeros(len(rows))


@pytest.mark.parametrize(
    ("held", "named"),
    [
        (lambda: Stranger(), "Stranger"),
        (lambda: {"predict": functools.partial(os.system, "true")}, r"functools.partial \(as a PartialNode\)"),
        (lambda: make_pipeline(preprocessing.FunctionTransformer(os.system), mlp()), "posix.system"),
        (
            lambda: KNeighborsClassifier(algorithm="kd_tree").fit(np.eye(9), np.arange(9)),
            "sklearn.neighbors._kd_tree.KDTree",
        ),
    ],
)
def test_types_that_could_run_a_program_are_refused_by_name(held, named, kept):
    with pytest.raises(PellucidError, match=rf"model.skops: the file holds .*{named}.*pass trust=True for it"):
        pellucid.load(kept(held()))


def test_trust_is_for_one_file(kept, people, labels):
    neighbours = KNeighborsClassifier(algorithm="kd_tree").fit(people[["age", "income"]], labels)
    assert pellucid.load(kept(neighbours), trust=True).labels == ("bad", "good")
    with pytest.raises(PellucidError, match="KDTree"):
        pellucid.load(kept(neighbours))


def altered(path, change):
    """The file with its schema and members changed by ``change(schema, parts)``, checksums made anew."""
    with zipfile.ZipFile(path) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(parts["schema.json"])
    change(schema, parts)
    parts["schema.json"] = json.dumps(schema).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return path


def test_a_tree_that_leads_out_of_itself_is_refused(kept, people, labels):
    def change(schema, parts):
        for name, content in parts.items():
            array = np.load(io.BytesIO(content), allow_pickle=False) if name.endswith(".npy") else np.zeros(1)
            if array.dtype.names and "left_child" in array.dtype.names:
                array["left_child"][0] = 10**6
                buffer = io.BytesIO()
                np.save(buffer, array, allow_pickle=False)
                parts[name] = buffer.getvalue()

    forest = RandomForestClassifier(2, random_state=0).fit(people[["age", "income"]], labels)
    with pytest.raises(PellucidError, match=r"model.skops: a tree in this file leads out of itself"):
        pellucid.load(altered(kept(forest), change))


def test_an_array_that_claims_more_than_it_has_is_refused(kept, people, labels):
    def change(schema, parts):
        name = next(name for name in parts if name.endswith(".npy"))
        header = parts[name][:128].replace(b"(2,)", b"(99999999,)") if b"(2,)" in parts[name] else b""
        parts[name] = header.replace(b"       ", b"", 1) + parts[name][128:]

    line = scaled(linear_model.LogisticRegression()).fit(people[["age", "income"]], labels)
    with pytest.raises(PellucidError, match=r"model.skops:\d+\.npy: an array "):
        pellucid.load(altered(kept(line), change))


def test_another_archive_is_no_skops_file(tmp_path):
    with zipfile.ZipFile(tmp_path / "net.skops", "w") as file:
        file.writestr("other.json", "{}")
    with pytest.raises(PellucidError, match=r"net.skops: the archive has no member 'schema.json': it is no skops file"):
        pellucid.load(tmp_path / "net.skops")


def test_pickles_are_refused_with_the_way_to_skops(tmp_path, people, labels):
    joblib = pytest.importorskip("joblib")
    fitted = linear_model.LogisticRegression().fit(people[["age", "income"]], labels)
    for name, compress in (("net.joblib", 0), ("net.pkl", 3)):
        joblib.dump(fitted, tmp_path / name, compress=compress)
        with pytest.raises(PellucidError, match=r"is a pickle, .*pip install 'pellucid\[skops\]'") as caught:
            pellucid.load(tmp_path / name)
        assert "skops.io.dump(" in str(caught.value) and "pellucid.wrap(joblib.load(path))" in str(caught.value)
