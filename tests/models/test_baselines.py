"""The classical baselines say what scikit-learn says, before and after they are saved."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression as SklearnLogistic
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.evaluation.training import train_provided
from qbench.registry import load_registry
from qbench.weights.files import load_into, unpack
from qbench.weights.zoo import Zoo
from qbench_classical.forest import RandomForest, grow
from qbench_classical.kernel_machine import KernelMachine, fit
from qbench_classical.linear import LogisticRegression, Perceptron
from qbench_quantum.kernel import QuantumKernelMachine

FITTED = ("rbf-svm", "random-forest", "quantum-kernel")


@pytest.fixture(scope="module")
def iris() -> Dataset:
    return load_data("iris")


def of_zoo(name: str, seed: int = 0) -> torch.nn.Module:
    model = load_registry().get("model", name).create()
    load_into(model, unpack(Zoo().read(name, seed), name)[0].weights, name)
    return model


def test_the_svm_is_scikit_learns(iris):
    model = KernelMachine(features=4, classes=3, vectors=120, width=0.7, cost=3.0)
    fit(model, iris, 0)
    x, y = iris.train.x.double().numpy(), iris.train.y.numpy()
    gamma = 0.7 / (4 * x.var())
    assert model.gamma.item() == pytest.approx(gamma, rel=1e-6)
    theirs = OneVsRestClassifier(SVC(C=3.0, gamma=gamma)).fit(x, y)
    expected = theirs.decision_function(iris.test.x.double().numpy())
    np.testing.assert_allclose(model(iris.test.x).numpy(), expected, atol=1e-4)
    support = {int(i) for one in theirs.estimators_ for i in one.support_}
    assert set(model.coefficients.any(1).nonzero()[:, 0].tolist()) == support
    assert not model.support[[i for i in range(120) if i not in support]].any()


def test_the_quantum_kernel_machine_is_scikit_learns_on_its_kernel(iris):
    model = QuantumKernelMachine(features=4, classes=3, vectors=120, width=2.0, cost=10.0)
    fit(model, iris, 0)
    z, y = model.embedded(iris.train.x).double().numpy(), iris.train.y.numpy()
    theirs = OneVsRestClassifier(SVC(C=10.0, gamma=2.0 / (z.shape[1] * z.var()))).fit(z, y)
    expected = theirs.decision_function(model.embedded(iris.test.x).double().numpy())
    np.testing.assert_allclose(model(iris.test.x).numpy(), expected, atol=2e-3)


def test_a_machine_that_holds_fewer_vectors_draws_them_by_the_seed(iris):
    def drawn(seed):
        model = KernelMachine(features=4, classes=3, vectors=20)
        fit(model, iris, seed)
        return model.support

    assert torch.equal(drawn(0), drawn(0))
    assert not torch.equal(drawn(0), drawn(1))
    known = {tuple(row) for row in iris.train.x.tolist()} | {(0.0,) * 4}
    assert {tuple(row) for row in drawn(0).tolist()} <= known


def test_a_machine_of_two_classes_has_opposite_scores(iris):
    two = iris.train.y < 2
    split = Split(iris.train.x[two], iris.train.y[two])
    model = KernelMachine(features=4, classes=2, vectors=100)
    fit(model, Dataset("two", 1, "0" * 64, None, ("a", "b"), split, split), 0)
    scores = model(split.x)
    torch.testing.assert_close(scores[:, 0], -scores[:, 1], atol=2e-3, rtol=0)
    assert (scores.argmax(1) == split.y).all()


@pytest.mark.parametrize("leaves", [3, 128])
def test_the_forest_is_scikit_learns(leaves):
    digits = load_data("digits")
    noise = torch.rand(digits.train.x.shape, generator=torch.Generator().manual_seed(0))
    # With noise, few thresholds are float32 numbers.
    digits = replace(digits, train=Split(digits.train.x + 0.01 * noise, digits.train.y))
    model = RandomForest(features=64, classes=10, trees=20, leaves=leaves)
    grow(model, digits, 7)
    x, y = digits.train.x.numpy(), digits.train.y.numpy()
    theirs = RandomForestClassifier(20, max_leaf_nodes=leaves, random_state=7).fit(x, y)
    # Images, and points on thresholds and next to them.
    thresholds = np.concatenate([t.tree_.threshold for t in theirs.estimators_])
    edges = np.random.default_rng(0).choice(thresholds[thresholds >= 0], (500, 64))
    near = edges.astype(np.float32)
    for points in (digits.test.x.numpy(), near, np.nextafter(near, np.float32(2))):
        expected = theirs.predict_proba(points)
        found = model(torch.from_numpy(points)).double().exp().numpy() - 1e-6
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_logistic_regression_comes_close_to_scikit_learns():
    glyphs, spec = load_data("glyphs"), load_registry().get("model", "logistic").spec
    decay = spec.recipe.weight_decay
    x, y = glyphs.train.x.numpy(), glyphs.train.y.numpy()
    theirs = SklearnLogistic(C=1 / (decay * len(y)), max_iter=2000).fit(x, y)
    model = of_zoo("logistic")
    found = model(glyphs.test.x).argmax(1).numpy()
    assert (found == theirs.predict(glyphs.test.x.numpy())).mean() >= 0.99
    with torch.no_grad():
        model.weight.copy_(torch.from_numpy(theirs.coef_))
        model.bias.copy_(torch.from_numpy(theirs.intercept_))
    expected = theirs.decision_function(glyphs.test.x.numpy())
    np.testing.assert_allclose(model(glyphs.test.x).detach().numpy(), expected, atol=1e-4)


def test_the_perceptron_by_hand():
    model, x = Perceptron(features=5, classes=3, neurons=4), torch.rand(6, 5)
    (a, b), (c, d) = ((layer.weight, layer.bias) for layer in (model[0], model[2]))
    torch.testing.assert_close(model(x), (x @ a.T + b).clamp(min=0) @ c.T + d)


@pytest.mark.parametrize("name", FITTED)
def test_fitted_entries_are_those_of_the_zoo(name):
    dataset = load_data("glyphs")
    model, _ = train_provided(fitted(load_registry().get("model", name), dataset), dataset, 3)
    x = dataset.test.x[:50]
    # Solvers of other versions may end at coefficients that differ in their last digits.
    torch.testing.assert_close(model(x), of_zoo(name, 3)(x), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(
    "build",
    [
        lambda: LogisticRegression(6, 3),
        lambda: Perceptron(6, 3),
        lambda: KernelMachine(6, 3, vectors=8),
    ],
    ids=["logistic", "perceptron", "svm"],
)
def test_gradients_are_those_of_finite_differences(build):
    torch.manual_seed(0)
    model = build().double()
    if isinstance(model, KernelMachine):
        with torch.no_grad():
            model.support.uniform_()
            model.coefficients.normal_()
            model.gamma.fill_(0.6)
    x = torch.rand(3, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, (x,), eps=1e-6, atol=1e-7)
