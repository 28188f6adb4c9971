"""Shap's own examples with the import changed, and that they answer what pellucid.explain answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import pellucid
from pellucid.compat import shap
from pellucid.records.errors import InputError, NotApplicable, PellucidError, RemovalError, UnknownName

pytest.importorskip("altair")
datasets = pytest.importorskip("sklearn.datasets")
from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.ensemble import GradientBoostingRegressor  # noqa: E402
from sklearn.linear_model import LinearRegression  # noqa: E402
from sklearn.svm import SVC  # noqa: E402


@pytest.fixture(scope="module")
def diabetes():
    X, y = datasets.load_diabetes(return_X_y=True, as_frame=True)
    X = X[["age", "sex", "bmi", "bp", "s1", "s5"]]
    return X, GradientBoostingRegressor(n_estimators=20, random_state=0).fit(X, y)


@pytest.fixture(scope="module")
def iris():
    X, y = datasets.load_iris(return_X_y=True)
    return X, CalibratedClassifierCV(SVC(), ensemble=False).fit(X, y)


@pytest.fixture(scope="module")
def digits():
    """Pictures 8 × 8 with one channel last, and a small network trained on them, as a function of such pictures."""
    data = datasets.load_digits()
    pictures = (data.images[..., None] / 16).astype(np.float32)
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 10), torch.nn.Softmax(1)
    )
    optimiser = torch.optim.Adam(net.parameters(), 0.01)
    rows, labels = torch.from_numpy(pictures[:600]).permute(0, 3, 1, 2), torch.from_numpy(data.target[:600])
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.nll_loss(net(rows).clamp_min(1e-9).log(), labels).backward()
        optimiser.step()

    def f(x):
        with torch.no_grad():
            return net(torch.from_numpy(np.asarray(x, np.float32)).permute(0, 3, 1, 2)).numpy()

    return pictures, f, net.eval(), data.target


def test_the_readmes_first_example(diabetes):
    X, model = diabetes
    explainer = shap.Explainer(model)
    shap_values = explainer(X[:20])

    assert shap_values.shape == (20, 6) and len(shap_values) == 20
    assert shap_values.feature_names == list(X.columns)
    assert np.allclose(shap_values.values.sum(1) + shap_values.base_values, model.predict(X[:20]))
    shap.plots.waterfall(shap_values[0])
    shap.plots.force(shap_values[0])
    shap.plots.beeswarm(shap_values)
    shap.plots.bar(shap_values)
    shap.initjs()


def test_the_kernel_explainers_example(iris):
    X, svm = iris
    explainer = shap.KernelExplainer(svm.predict_proba, X[::3], link="logit")
    shap_values = explainer.shap_values(X[1::40], nsamples=100)
    assert shap_values.shape == (4, 4, 3) and explainer.expected_value.shape == (3,)
    p = svm.predict_proba(X[1::40])
    assert np.allclose(shap_values.sum(1) + explainer.expected_value, np.log(p / (1 - p)), atol=1e-6)
    shap.force_plot(explainer.expected_value[0], shap_values[0, :, 0], X[1], link="logit")
    assert explainer.shap_values(X[0]).shape == (4, 3)


def test_the_image_example(digits):
    pictures, f, *_ = digits
    masker = shap.maskers.Image("blur(5,5)", pictures[0].shape)
    explainer = shap.Explainer(f, masker, output_names=[str(i) for i in range(10)])
    shap_values = explainer(
        pictures[1000:1002], max_evals=500, batch_size=50, outputs=shap.Explanation.argsort.flip[:4]
    )
    assert shap_values.shape == (2, 8, 8, 1, 4)
    top = np.sort(f(pictures[1000:1002]), 1)[:, ::-1][:, :4]
    assert np.allclose(shap_values.values.sum((1, 2, 3)) + shap_values.base_values, top, atol=1e-5)
    first = str(f(pictures[1000:1001]).argmax())
    assert (
        shap_values.output_names[0][0] == first == shap_values[0].output_names[0] == shap_values[0, ..., 0].output_names
    )
    drawn = shap.image_plot(shap_values).to_dict()
    assert drawn["vconcat"][0]["hconcat"][1]["title"] == first
    assert len(drawn["vconcat"]) == 2 and len(drawn["vconcat"][0]["hconcat"]) == 5
    listed = [shap_values.values[..., k] for k in range(4)]
    assert shap.image_plot(listed, pictures[1000:1002], labels=["a", "b", "c", "d"], show=False).to_dict()["vconcat"]


def test_values_are_those_of_explain(diabetes):
    X, model = diabetes
    ex = shap.ExactExplainer(model, X[:50])(X[:5])
    ours = pellucid.explain(model, X[:5], "exact_shapley", background=X[:50], target="all")
    assert np.array_equal(ex.values, ours.values) and np.array_equal(ex.base_values, ours.base[:, 0])
    assert ex.record.method == "exact_shapley" and ex[0].record is None
    again = ours.to_shap()
    assert np.array_equal(again.values, ex.values) and again.feature_names == ex.feature_names
    assert np.array_equal(np.asarray(again.data, float), X[:5].to_numpy())


def test_standard_errors_come_along():
    rng = np.random.default_rng(0)
    background, rows = rng.normal(size=(5, 14)), rng.normal(size=(2, 14))
    explainer = shap.KernelExplainer(lambda x: np.tanh(x[:, :7].sum(1)) * x[:, 8], background, seed=3)
    ex = explainer(rows, max_evals=400)
    assert (ex.error_std > 0).all() and ex[0].error_std.shape == (14,)
    assert "low" in str(shap.plots.waterfall(ex[0]).to_dict()["datasets"])
    same = shap.KernelExplainer(explainer.model, background, seed=3)(rows, max_evals=400)
    assert np.array_equal(ex.values, same.values)


def test_no_feature_is_zeroed():
    """Shap's default keeps ten features; a sum of twenty has twenty."""
    rng = np.random.default_rng(0)
    weights, x = rng.normal(size=20), rng.normal(size=(1, 20))
    explainer = shap.KernelExplainer(lambda x: x @ weights, np.zeros((1, 20)))
    assert np.allclose(explainer.shap_values(x, nsamples=60, l1_reg="num_features(10)"), weights * x)


@pytest.mark.parametrize("explainer", [shap.PermutationExplainer, shap.SamplingExplainer, shap.PartitionExplainer])
def test_every_explainer_is_exact_on_a_sum(explainer):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(30, 4))
    model = LinearRegression().fit(X, X @ [1.0, -2.0, 0.5, 0.0])
    ex = explainer(model.predict, X)(X[:3])
    assert np.allclose(ex.values, (X[:3] - X.mean(0)) * model.coef_, atol=1e-8)


def test_columns_that_move_together_are_groups():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(60, 2))
    X = np.column_stack([a[:, 0], a[:, 0] + 0.01 * rng.normal(size=60), a[:, 1]])
    ex = shap.Explainer(lambda x: x[:, 0] * x[:, 1] + x[:, 2], shap.maskers.Partition(X))(X[:3])
    assert ex.record.method == "owen"
    assert np.allclose(ex.values.sum(1) + ex.base_values, X[:3, 0] * X[:3, 1] + X[:3, 2])
    assert shap.Explainer(lambda x: x[:, 0], X)(X[:2]).record.method != "owen"


def test_permutations_and_gradients_as_plain_arrays(digits):
    pictures, _, net, _ = digits
    X = np.random.default_rng(0).normal(size=(10, 5))
    values = shap.PermutationExplainer(lambda x: x.prod(1), X).shap_values(X[:2], npermutations=5)
    assert values.shape == (2, 5)
    rows = torch.from_numpy(pictures[:4]).permute(0, 3, 1, 2)
    values = shap.GradientExplainer(net, rows).shap_values(rows[:2])
    assert values.shape == (2, 1, 8, 8, 10)


def test_a_function_of_frames_is_given_frames(diabetes):
    X, model = diabetes
    seen = []

    def f(rows):
        seen.append(list(rows.columns))
        return model.predict(rows)

    ex = shap.Explainer(f, shap.maskers.Independent(X, max_samples=20))(X[:2])
    assert seen[0] == list(X.columns) and ex.shape == (2, 6)


def test_cluster_means_keep_their_weights():
    X = np.array([[0.0, 1.0]] * 30 + [[10.0, 5.0]] * 10)
    summary = shap.kmeans(X, 2)
    rows = summary.rows()
    assert np.allclose(rows.mean(0), X.mean(0)) and len(rows) == 4
    explainer = shap.KernelExplainer(lambda x: x.sum(1), summary)
    assert explainer.expected_value == pytest.approx(X.sum(1).mean())
    assert len(shap.sample(X, 7)) == 7 and shap.sample(X, 100) is X


# Cutting ----------------------------------------------------------------------------------------


@pytest.fixture
def ex():
    values = np.arange(24.0).reshape(4, 3, 2) - 7
    return shap.Explanation(
        values, np.arange(8.0).reshape(4, 2), np.arange(12).reshape(4, 3), ["age", "bmi", "bp"], ["no", "yes"],
        values * 0 + 0.5, ("row", "feature", "output"),
    )  # fmt: skip


def test_parts_are_cut_together(ex):
    one = ex[1, :, 1]
    assert one.values.tolist() == ex.values[1, :, 1].tolist() and one.base_values == 3.0
    assert one.data.tolist() == [3, 4, 5] and one.feature_names == ["age", "bmi", "bp"] and one.output_names == "yes"
    assert ex[..., 1].shape == (4, 3) and ex[..., "yes"].base_values.tolist() == [1, 3, 5, 7]
    column = ex[:, "bmi"]
    assert column.shape == (4, 2) and column.data.tolist() == [1, 4, 7, 10] and column.feature_names == "bmi"
    assert ex[:, 1].values.tolist() == column.values.tolist()
    assert ex[[0, 2]].shape == (2, 3, 2) and ex[1:3].data.shape == (2, 3)
    assert ex[np.array([True, False, False, True])].base_values.tolist() == [[0, 1], [6, 7]]
    assert ex[-1].values.tolist() == ex.values[-1].tolist() and ex[0].error_std.shape == (3, 2)


def test_verbs_fold_axes(ex):
    mean = ex[..., 0].abs.mean(0)
    assert mean.values.tolist() == np.abs(ex.values[..., 0]).mean(0).tolist()
    assert mean.feature_names == ["age", "bmi", "bp"] and mean.axes == ("feature",)
    assert ex.mean(2).base_values.tolist() == ex.base_values.mean(1).tolist()
    assert ex[..., 0].max(0).values.tolist() == ex.values[..., 0].max(0).tolist()
    assert ex.sum(1).shape == (4, 2) and ex.percentile(50, 0).shape == (3, 2) and ex.min(0).shape == (3, 2)
    assert len(ex.sample(2)) == 2 and ex.sample(9) is ex
    assert "4 rows" in repr(ex)


def test_what_is_not_there_is_named(ex):
    with pytest.raises(UnknownName, match="bmi"):
        ex[:, "bmj"]
    own = shap.Explanation(ex.values, axes=ex.axes, output_names=[["a", "b"]] * 4)
    assert own[..., 1].output_names is None and own[1:3].output_names == [["a", "b"]] * 2
    with pytest.raises(UnknownName):
        own[..., "a"]
    with pytest.raises(InputError, match="4 indices"):
        ex[0, 0, 0, 0]
    with pytest.raises(InputError, match=r"ex\[0, :, 1\]"):
        shap.plots.waterfall(ex[0])
    with pytest.raises(InputError, match=r"ex\[\.\.\., 1\]"):
        shap.plots.beeswarm(ex)
    with pytest.raises(NotApplicable, match="beeswarm"):
        shap.plots.force(ex[..., 0])


def test_plots_take_arrays_and_other_libraries_explanations(ex):
    class Foreign:
        values, base_values = ex.values[0, :, 0], 1.5
        data, feature_names = np.array([1.0, 2.0, 3.0]), ["<b>", "\u202ex", "a\nb"]

    assert "<b>" in str(shap.plots.waterfall(Foreign()).to_dict()["datasets"])
    assert shap.plots.force(Foreign()).to_dict()["layer"]
    assert shap.plots.bar(ex[..., 1].abs.mean(0)).to_dict()["layer"]
    values = [ex.values[..., 0], ex.values[..., 1]]
    stacked = shap.summary_plot(values, ex.data, feature_names=["a", "b", "c"], class_names=["no", "yes"], show=False)
    assert {row["output"] for rows in stacked.to_dict()["datasets"].values() for row in rows} == {"no", "yes"}
    assert shap.summary_plot(ex.values[..., 0], plot_type="bar").to_dict()["layer"]
    assert shap.summary_plot(ex[..., 0]).to_dict()["layer"]


def test_deep_explainer_is_complete_and_keeps_the_shapes():
    torch.manual_seed(0)
    relu = nn.ReLU()  # one module called twice, which a rewritten backward pass gets wrong
    for outputs in (1, 3):
        net = nn.Sequential(nn.Linear(4, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, outputs))
        rows, background = torch.randn(5, 4), torch.randn(20, 4)
        explainer = shap.DeepExplainer(net, background)
        values, expected = explainer.shap_values(rows, check_additivity=True), explainer.expected_value
        assert values.shape == ((5, 4) if outputs == 1 else (5, 4, 3))
        wanted, base = net(rows).detach().numpy(), net(background).detach().numpy().mean(0)
        np.testing.assert_allclose(expected, base if outputs > 1 else base[0], rtol=1e-5)
        np.testing.assert_allclose(values.reshape(5, 4, outputs).sum(1), wanted - base, atol=1e-6)
        assert explainer(rows).record.method == "deepshap"


def test_several_inputs_are_lists_as_with_shap():
    class Two(nn.Module):
        def forward(self, left, right):
            return left.sum((1, 2)) - 2 * right.sum(1)

    left, right = torch.randn(4, 2, 3), torch.randn(4, 5)
    explainer = shap.DeepExplainer(Two(), [left * 0, right * 0])
    one, other = explainer.shap_values([left, right])
    np.testing.assert_allclose(one, left.numpy(), atol=1e-6)
    np.testing.assert_allclose(other, -2 * right.numpy(), atol=1e-6)
    assert explainer.expected_value == 0


# What is refused ----------------------------------------------------------------------------------


def test_what_has_no_counterpart_says_what_has(iris):
    X, svm = iris
    for refused in (shap.TreeExplainer, shap.LinearExplainer):
        with pytest.raises(NotApplicable, match="Explainer\\(mod"):
            refused(svm, X)
    with pytest.raises(NotApplicable, match="permutation"):
        shap.Explainer(svm, X, algorithm="tree")
    with pytest.raises(NotApplicable, match="blur"):
        shap.Explainer(svm, shap.maskers.Image("inpaint_telea"))(np.zeros((1, 8, 8, 3)))
    with pytest.raises(NotApplicable, match="split"):
        shap.maskers.Text()
    with pytest.raises(RemovalError, match="background"):
        shap.Explainer(svm)(X[:1])
    with pytest.raises(NotApplicable, match="argsort"):
        shap.Explainer(svm, X)(X[:2], outputs=shap.Explanation.abs)
    for refused in (shap.GradientExplainer, shap.DeepExplainer):
        with pytest.raises(NotApplicable, match="has no gradients here"):
            refused(svm, X)
    with pytest.raises(NotApplicable, match="logit"):
        shap.Explainer(svm, X, link="probit")
    with pytest.raises(PellucidError, match="log-odds"):
        shap.KernelExplainer(lambda x: (x[:, 0] > 5) * 1.0, X, link="logit").shap_values(X[:2])
    with pytest.raises(NotApplicable, match="ColumnGroups"):
        shap.maskers.Partition(X, clustering="cosine")


X = np.arange(24.0).reshape(8, 3)
MISUSED = {
    "no means": (lambda: shap.kmeans(X, 0), "k=0 is no count"),
    "half a mean": (lambda: shap.kmeans(X, 2.5), "k=2.5 is no count"),
    "more means than rows": (lambda: shap.kmeans(X, 9), "9 cluster means of 8 rows"),
    "means of a column": (lambda: shap.kmeans(X[:, 0], 2), "have no cluster means.*rows × columns"),
    "means of NaN": (lambda: shap.kmeans(X * np.nan, 2), "a finite number in every cell"),
    "means of texts": (lambda: shap.kmeans([["a", "b"]], 1), "the rows are not numbers"),
    "fewer than no rows": (lambda: shap.sample(X, -1), "nsamples=-1 is no count"),
    "a sample of nothing": (lambda: shap.sample(None), "a NoneType is not rows"),
    "nsamples in words": (lambda: shap.KernelExplainer(f, X).shap_values(X, nsamples="many"), "nsamples='many'"),
    "ragged": (lambda: shap.summary_plot([X, X[:3]]), "have different shapes"),
    "ragged rows": (lambda: shap.summary_plot([[1.0, 2.0], [3.0]]), "have different shapes"),
    "texts": (lambda: shap.summary_plot(np.array([["a"]])), "the values are not numbers"),
    "other rows' features": (lambda: shap.summary_plot(X, X[:3]), r"shape \(3, 3\) do not fit .* shape \(8, 3\)"),
    "too few names": (lambda: shap.summary_plot(X, X, ["a"]), "1 names for 3 features"),
    "too few classes": (lambda: shap.summary_plot([X, X], X, class_names=["a"]), "1 class names for 2 outputs"),
    "features too short": (lambda: shap.plots.force(0.0, X[0], X[0, :2]), r"shape \(2,\) do not fit"),
    "names too short": (lambda: shap.plots.force(0.0, X[0], X[0], ["a"]), "1 names for 3 features"),
    "two bases": (lambda: shap.plots.force([0.0, 1.0], X[0]), r"base values of shape \(2,\) for 1 rows"),
    "bare values": (lambda: shap.plots.waterfall(X), "these values have 2 axes"),
    "unlike pictures": (lambda: shap.image_plot([np.zeros((1, 3, 3, 1)), np.zeros((1, 2, 2))], X), "different shapes"),
    "too many labels": (
        lambda: shap.image_plot(np.zeros((1, 3, 3, 1)), np.zeros((1, 3, 3, 1)), labels=["a", "b"]), "2 labels for 1"),
    "no lines": (lambda: shap.plots.bar(shap.Explainer(f, X)(X), max_display=0), "max_display=0 is no count"),
}  # fmt: skip


def f(x):
    return x[:, 0]


@pytest.mark.parametrize("name", MISUSED)
def test_misuse_is_told_in_a_sentence(name):
    misuse, told = MISUSED[name]
    with pytest.raises(InputError, match=told):
        misuse()


def test_names_may_stand_where_features_do(ex):
    chart = shap.summary_plot(ex.values[..., 0], ["first", "second", "third"])
    assert "second" in str(chart.to_dict()["datasets"])


def test_pictures_can_be_masked_by_values_and_colours(digits):
    pictures, f, _, _ = digits
    base = f(np.zeros((1, 8, 8, 1), np.float32))
    for value in (0, np.zeros(1), np.zeros((8, 8, 1))):
        ex = shap.Explainer(f, shap.maskers.Image(value, (8, 8, 1)))(pictures[:1], max_evals=200)
        assert np.allclose(ex.base_values, base, atol=1e-6)
