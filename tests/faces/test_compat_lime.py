"""Lime's own examples with the import changed, and that they answer what pellucid.explain answers."""

from __future__ import annotations

import numpy as np
import pytest

import pellucid
from pellucid.compat import lime
from pellucid.compat.lime import lime_image, lime_tabular
from pellucid.records.errors import InputError, NotApplicable, PellucidError, TargetError

pytest.importorskip("altair")
datasets = pytest.importorskip("sklearn.datasets")
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor  # noqa: E402


@pytest.fixture(scope="module")
def forest():
    iris = datasets.load_iris()
    return iris, RandomForestClassifier(30, random_state=0).fit(iris.data, iris.target)


def test_the_tabular_example(forest, tmp_path):
    iris, rf = forest
    explainer = lime.lime_tabular.LimeTabularExplainer(
        iris.data, feature_names=iris.feature_names, class_names=iris.target_names, discretize_continuous=True
    )
    exp = explainer.explain_instance(iris.data[110], rf.predict_proba, num_features=2, top_labels=1)
    (label,) = exp.available_labels()
    assert label == rf.predict(iris.data[110:111])[0] == 2
    listed = exp.as_list(label)
    assert all("petal" in name for name, _ in listed) and "<" in listed[0][0] + listed[1][0]
    assert exp.record.outputs[0][2] == "virginica"
    assert exp.as_map()[label][0][1] == listed[0][1] > 0
    assert 0 < exp.score <= 1 and exp.predict_proba[label] == rf.predict_proba(iris.data[110:111])[0, label]
    assert all(error > 0 for error in exp.stderr[label].values())
    exp.save_to_file(tmp_path / "row.html")
    assert "petal" in (tmp_path / "row.html").read_text(encoding="utf-8")
    assert exp.as_pyplot_figure(label).to_dict()["layer"]
    with pytest.raises(TargetError, match="explained"):
        exp.as_list(0)


def test_the_regression_example():
    data = datasets.load_diabetes()
    rf = RandomForestRegressor(30, random_state=0).fit(data.data, data.target)
    explainer = lime_tabular.LimeTabularExplainer(
        data.data, feature_names=data.feature_names, categorical_features=[1], mode="regression"
    )
    exp = explainer.explain_instance(data.data[3], rf.predict, num_features=5)
    assert len(exp.as_list()) == 5 and exp.predicted_value == pytest.approx(rf.predict(data.data[3:4])[0])
    assert any(name.startswith("sex=") or "bmi" in name for name, _ in exp.as_list())
    assert exp.local_exp[0] == [(i, -weight) for i, weight in exp.local_exp[1]]
    with pytest.raises(NotApplicable, match="as_list"):
        exp.available_labels()


def test_weights_are_those_of_explain():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(80, 5))

    def model(x):
        p = 1 / (1 + np.exp(-x[:, 0] + 2 * x[:, 1]))
        return np.stack([1 - p, p], 1)

    explainer = lime_tabular.LimeTabularExplainer(train, discretize_continuous=False, random_state=7)
    exp = explainer.explain_instance(train[0], model, num_samples=500)
    ours = pellucid.explain(model, train[:1], "lime", background=train, target=1, samples=500, report="weights", seed=7,
                            intercept=True)  # fmt: skip
    assert dict(exp.local_exp[1]) == pytest.approx(dict(enumerate(ours.values[0])))
    again = explainer.explain_instance(train[0], model, num_samples=500)
    assert again.local_exp == exp.local_exp  # two calls of one seed agree


def test_a_plane_gives_its_own_slopes():
    rng = np.random.default_rng(0)
    train = rng.normal(size=(60, 3)) * [1.0, 2.0, 5.0]
    explainer = lime_tabular.LimeTabularExplainer(
        train, mode="regression", feature_names=["a", "b", "c"], discretize_continuous=False
    )
    exp = explainer.explain_instance(train[4], lambda x: x @ [3.0, -1.0, 0.0] + 2)
    found = dict(exp.as_list())
    assert found["a"] == pytest.approx(3 * train[:, 0].std(), rel=1e-3)
    assert found["b"] == pytest.approx(-train[:, 1].std(), rel=1e-3)


def test_what_does_not_matter_gets_no_weight():
    """A line forced through the row would spread its misfit over every feature."""
    rng = np.random.default_rng(0)
    train = rng.normal(size=(90, 4))
    explainer = lime_tabular.LimeTabularExplainer(train, mode="regression", random_state=0)
    exp = explainer.explain_instance(train.max(0), lambda x: (x[:, 0] > 0.5) * (x[:, 1] > 0.5) * 1.0)
    weights = dict(exp.local_exp[1])
    assert min(weights[0], weights[1]) > 0.2 and max(abs(weights.get(2, 0)), abs(weights.get(3, 0))) < 0.05


def test_categories_have_their_names_and_hostile_ones_stay_text():
    rng = np.random.default_rng(0)
    train = np.column_stack([rng.integers(0, 2, 50), rng.normal(size=50)]).astype(float)
    explainer = lime_tabular.LimeTabularExplainer(
        train, feature_names=["<script>alert(1)</script>", "x"], categorical_features=[0],
        categorical_names={0: ["male", "female"]}, mode="regression",
    )  # fmt: skip
    exp = explainer.explain_instance(train[0], lambda x: 4 * x[:, 0] + x[:, 1])
    own = ["male", "female"][int(train[0, 0])]
    assert exp.as_list()[0][0] == f"<script>alert(1)</script>={own}"
    assert exp.as_list()[0][1] == pytest.approx(4 if train[0, 0] else -4, rel=0.1)
    assert "<script>alert" not in exp.as_html()


def test_quarters_read_like_limes():
    train = np.arange(100.0)[:, None] * [1.0, 0.01]
    explainer = lime_tabular.LimeTabularExplainer(train, mode="regression", feature_names=["age", "share"])
    names = {}
    for row in ([10.0, 0.3], [30.0, 0.9]):
        exp = explainer.explain_instance(np.array(row), lambda x: x[:, 0] / 100 + x[:, 1])
        names[row[0]] = sorted(name for name, _ in exp.as_list())
    assert names[10.0] == ["0.25 < share <= 0.49", "age <= 24.75"]
    assert names[30.0] == ["24.75 < age <= 49.50", "share > 0.74"]


@pytest.fixture
def picture():
    image = np.random.default_rng(0).random((24, 24, 3)) * 0.1
    image[8:16, 8:16, 0] += 0.9
    return image


def model(pictures):
    red = pictures[:, 8:16, 8:16, 0].mean((1, 2))
    return np.stack([red, 1 - red], 1)


def quarters(image):
    return np.arange(9).reshape(3, 3).repeat(8, 0).repeat(8, 1) * 2 + 1  # numbers with gaps, not from 0


def test_the_image_example(picture):
    explainer = lime_image.LimeImageExplainer()
    exp = explainer.explain_instance(picture, model, top_labels=5, hide_color=0, num_samples=300)
    assert exp.top_labels == [0, 1] and exp.segments.shape == (24, 24)
    shown, mask = exp.get_image_and_mask(0, positive_only=True, num_features=20, hide_rest=True, min_weight=0.01)
    assert mask[8:16, 8:16].mean() > 0.9 and mask.mean() < 0.3
    assert (shown[mask == 0] == 0).all() and np.array_equal(shown[mask == 1], picture[mask == 1])
    assert exp.plot(0).to_dict()["hconcat"]


def test_segments_of_ones_own_and_their_mean_colour(picture):
    exp = lime_image.LimeImageExplainer(random_state=1).explain_instance(
        picture, model, labels=(0,), top_labels=None, segmentation_fn=quarters, num_samples=200
    )
    assert set(dict(exp.local_exp[0])) <= set(np.unique(exp.segments))
    # A segment in its own mean colour leaves the mean of its red as it was: nothing changes at all.
    assert max(abs(weight) for _, weight in exp.local_exp[0]) < 1e-6
    dark = lime_image.LimeImageExplainer().explain_instance(
        picture, model, hide_color=0, segmentation_fn=quarters, num_samples=200
    )
    assert dark.local_exp[0][0][0] == 9  # the middle one
    assert dark.local_exp[0][0][1] == pytest.approx(picture[8:16, 8:16, 0].mean(), rel=1e-3)
    shown, mask = dark.get_image_and_mask(1, positive_only=False, num_features=1)
    assert (mask[8:16, 8:16] == -1).all() and (shown[8:16, 8:16, 0] == picture.max()).all()
    grey = lime_image.LimeImageExplainer().explain_instance(
        (picture[..., 0] * 255).astype(np.uint8), lambda x: model(x / 255.0), segmentation_fn=quarters, num_samples=100
    )
    assert grey.image.shape == (24, 24, 3) and grey.top_labels == [0, 1]


MISUSED = {
    "seed": ({"random_state": "a"}, {}, "random_state='a' is no seed"),
    "negative seed": ({"random_state": -1}, {}, "random_state=-1 is no seed"),
    "fraction of a seed": ({"random_state": 1.5}, {}, "is no seed"),
    "categories by name": ({"categorical_features": ["a"]}, {}, "holds 'a', which is no column's place.*0 to 3"),
    "categories beyond": ({"categorical_features": [9]}, {}, "holds 9"),
    "one category": ({"categorical_features": 3}, {}, r"categorical_features=3 is not a list.*\[3\]"),
    "a label": ({}, {"labels": 1}, r"labels=1 is not a list"),
    "a label by name": ({}, {"labels": ("a",)}, "label 'a' of a model with 3 outputs"),
    "top labels": ({}, {"top_labels": "a"}, "top_labels='a' is no count"),
    "features": ({}, {"num_features": "a"}, "num_features='a' is no count"),
}


@pytest.mark.parametrize("name", MISUSED)
def test_misuse_is_told_in_a_sentence(name, forest):
    iris, rf = forest
    made, asked, told = MISUSED[name]
    with pytest.raises(PellucidError, match=told):
        lime_tabular.LimeTabularExplainer(iris.data, **made).explain_instance(iris.data[0], rf.predict_proba, **asked)


def test_every_kind_of_seed_repeats_itself():
    for make in (lambda: 7, lambda: np.random.RandomState(7), lambda: np.random.default_rng(7)):
        one, other = (lime_image.LimeImageExplainer(random_state=make()).seed for _ in range(2))
        assert one == other and isinstance(one, int)


def test_what_has_no_counterpart_says_so(picture, forest):
    iris, rf = forest
    make = lime_tabular.LimeTabularExplainer
    with pytest.raises(NotApplicable, match="forward_selection"):
        make(iris.data, feature_selection="lasso_path").explain_instance(iris.data[0], rf.predict_proba)
    for given in ({"mode": "survival"}, {"discretizer": "entropy"}, {"kernel": abs}, {"sample_around_instance": True}):
        with pytest.raises(NotApplicable):
            make(iris.data, **given)
    explainer = make(iris.data)
    with pytest.raises(NotApplicable, match="model_regressor"):
        explainer.explain_instance(iris.data[0], rf.predict_proba, model_regressor=rf)
    with pytest.raises(InputError, match="predict_proba"):
        explainer.explain_instance(iris.data[0], lambda x: x[:, 0])
    with pytest.raises(TargetError, match="3 outputs"):
        explainer.explain_instance(iris.data[0], rf.predict_proba, labels=(3,))
    with pytest.raises(InputError, match="segments"):
        lime_image.LimeImageExplainer().explain_instance(picture, model, segmentation_fn=lambda x: np.zeros((2, 2)))
    image = lime_image.LimeImageExplainer().explain_instance(picture, model, segmentation_fn=quarters, num_samples=50)
    with pytest.raises(InputError, match="exclude"):
        image.get_image_and_mask(0, positive_only=True, negative_only=True)
