"""A linear classifier through every adapter: its robust accuracy follows from its margin alone.

A score w·x + b whose sign is the class changes its sign within ε in ℓ∞ where and only where
|w·x + b| ≤ ε ‖w‖₁.
"""

import numpy as np
import pennylane as qml
import pytest
import torch
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.svm import LinearSVC
from torch import nn

import qbench

EPS = 0.05
W, B = np.array([0.9, -0.7, 0.5, -0.3]), -0.2
X = np.random.default_rng(0).uniform(0.2, 0.8, (60, 4)).round(3)
Z = X @ W + B
Y = np.where(np.arange(60) % 10 == 0, Z < 0, Z > 0).astype(int)  # every tenth is misclassified
ROBUST = float(np.mean(((Z > 0) == Y) & (np.abs(Z) > EPS * np.abs(W).sum())))


def test_the_example_has_images_of_every_kind_and_none_on_the_edge():
    assert 0.3 < ROBUST < 0.8 < np.mean((Z > 0) == Y) < 1
    assert np.abs(np.abs(Z) - EPS * np.abs(W).sum()).min() > 5e-5


def linear(outputs: int = 2, dtype: torch.dtype = torch.float32) -> nn.Linear:
    layer = nn.Linear(4, outputs, dtype=dtype)
    rows = torch.tensor(np.stack([-W / 2, W / 2]) if outputs == 2 else W[None])
    layer.weight.data = rows.to(dtype)
    layer.bias.data = torch.tensor([-B / 2, B / 2] if outputs == 2 else [B]).to(dtype)
    return layer


class Through(nn.Module):
    """The linear layer between a change of its input and one of its output."""

    def __init__(self, before=lambda x: x, after=lambda z: z, **how):
        super().__init__()
        self.layer, self.before, self.after = linear(**how), before, after

    def forward(self, x):
        return self.after(self.layer(self.before(x)))


def one_image(x):
    return x.reshape(4)  # fails for a batch


MODULES = {
    "logits": Through(),
    "double": Through(dtype=torch.float64),
    "one image at a time": Through(one_image),
    "images with a channel": nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), linear()),
    "probabilities": Through(after=lambda z: z.softmax(1)),
    "log-probabilities": Through(after=lambda z: z.log_softmax(1)),
    "one logit": Through(outputs=1),
    "one logit without an axis": Through(after=lambda z: z[:, 0], outputs=1),
    "a tuple of columns": Through(after=lambda z: tuple(z.unbind(1))),
    "a row a class": Through(after=lambda z: z.T),
    "scores and features": Through(after=lambda z: {"logits": z, "features": z[:, :1]}),
}
MODULES["images with a channel"][0].weight.data.fill_(1.0)
MODULES["images with a channel"][0].bias.data.fill_(0.0)


@pytest.mark.parametrize("name", MODULES)
def test_torch_modules(name):
    result = qbench.evaluate(MODULES[name], "pgd", EPS, data=(X, Y))
    assert result.clean_accuracy == pytest.approx(np.mean((Z > 0) == Y))
    assert result.robust_accuracy == pytest.approx(ROBUST), result.model


def test_a_single_probability():
    model = qbench.adapt(Through(after=torch.sigmoid, outputs=1), outputs="probabilities")
    assert qbench.evaluate(model, "pgd", EPS, data=(X, Y)).robust_accuracy == pytest.approx(ROBUST)
    log_odds = model(torch.tensor(X).float()).diff(dim=1)[:, 0]
    assert log_odds.detach().numpy() == pytest.approx(Z, abs=1e-5)


def on_arrays(x):
    assert isinstance(x, np.ndarray)
    return np.stack([-(x @ W + B), x @ W + B], -1)


@pytest.mark.parametrize("gradient", ["finite-differences", "spsa"])
def test_functions_on_arrays_with_estimated_gradients(gradient):
    model = qbench.adapt(on_arrays, gradient=gradient)
    assert qbench.evaluate(model, "pgd", EPS, data=(X, Y)).robust_accuracy == pytest.approx(ROBUST)


@pytest.mark.parametrize("attack", ["spsa", "square", "standard"])
def test_functions_on_arrays_without_gradients(attack):
    assert qbench.evaluate(on_arrays, attack, EPS, data=(X, Y)).robust_accuracy == pytest.approx(
        ROBUST
    )


def on_tensors(x):
    return torch.stack([-(x @ torch.tensor(W, dtype=x.dtype) + B), x.sum(-1) * 0], -1)


def test_functions_on_tensors():
    result = qbench.evaluate(on_tensors, "pgd", EPS, data=(X, Y))
    assert result.robust_accuracy == pytest.approx(ROBUST)
    assert result.gradient > 0


@pytest.mark.parametrize("kind", [LogisticRegression, RidgeClassifier, LinearSVC])
def test_scikit_learn(kind):
    model = kind().fit(X, Y)
    model.coef_, model.intercept_ = W[None], np.array([B])
    black_box = qbench.evaluate(model, "spsa", EPS, data=(X, Y))
    assert black_box.clean_accuracy == pytest.approx(model.score(X, Y))
    assert black_box.robust_accuracy == pytest.approx(ROBUST)
    decisions = qbench.evaluate(model, "hopskipjump", EPS, data=(X, Y))
    assert ROBUST <= decisions.robust_accuracy + 1e-9 <= ROBUST + 0.1


@pytest.mark.parametrize("method", ["backprop", "parameter-shift"])
def test_pennylane(method):
    # cos(π/2 − z) = sin z has the sign of z for |z| < π.
    @qml.qnode(qml.device("default.qubit", wires=1), diff_method=method)
    def circuit(inputs):
        for k in range(4):
            qml.RX(-W[k] * inputs[..., k], wires=0)
        qml.RX(np.pi / 2 - B, wires=0)
        return qml.expval(qml.PauliZ(0))

    result = qbench.evaluate(circuit, "fgsm", EPS, data=(X, Y))
    assert result.robust_accuracy == pytest.approx(ROBUST)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_range_of_pixels_is_the_users(norm):
    scale = 255 if norm == "linf" else 10
    eps = EPS * scale
    length = np.abs(W).sum() if norm == "linf" else np.linalg.norm(W)
    robust = np.mean(((Z > 0) == Y) & (np.abs(Z) > EPS * length))
    model = Through(lambda x: x / scale)
    for box in [(0, scale), None]:
        result = qbench.evaluate(model, "pgd", eps, norm=norm, data=(X * scale, Y), box=box)
        assert result.robust_accuracy == pytest.approx(robust)


def test_the_box_holds_for_the_attack():
    # The box leaves a pixel at its upper edge no room upwards: half of the ball is gone.
    edge = np.full((1, 4), 0.5)
    z = float(edge[0] @ W + B)  # 0 = class 0 where z < 0
    assert z == pytest.approx(0.0)
    model = Through(lambda x: x - 0.02)  # z moves to −0.02 · Σw = −0.008: class 0
    for box, expected in [((0.5, 1.0), 0.0), ((0.5, 0.501), 1.0)]:
        result = qbench.evaluate(model, "pgd", EPS, data=(edge, [0]), box=box)
        assert result.robust_accuracy == expected
        assert float(result.x_adv.max()) <= box[1]
