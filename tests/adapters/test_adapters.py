"""What adapters find out, and what they say."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch import nn

import qbench
from qbench.adapters.gradients import SPSA_PAIRS
from qbench.adapters.layout import PROBES
from qbench.errors import DataError, UsageError

X = torch.rand(5, 16, generator=torch.Generator().manual_seed(0))


class After(nn.Module):
    def __init__(self, after, features=16, classes=3):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.after = nn.Linear(features, classes), after

    def forward(self, x):
        return self.after(self.layer(x), x)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_a_row_a_class_is_read_alike_for_every_number_of_images(n):
    plain = After(lambda z, x: z)
    model = qbench.adapt(After(lambda z, x: z.T))
    model(X)
    assert torch.equal(model(X[:n]), plain(X[:n]))


@pytest.mark.parametrize("turned", [False, True])
def test_as_many_classes_as_made_up_images_are_no_riddle(turned):
    def shaky(z, x):
        z = z + 1e-6 * torch.randn(z.shape)
        return z.T if turned else z

    model, plain = qbench.adapt(After(shaky, classes=PROBES)), After(lambda z, x: z, classes=PROBES)
    x = X.clone().requires_grad_()
    assert torch.allclose(model(x), plain(X), atol=1e-4)
    assert model.missing_gradient(X) == ""


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (nn.Linear(16, 3), "takes (16,) as batch in float32, gives logits of 3 classes"),
        (nn.Linear(16, 3).double(), "in float64"),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), "takes (1, 4, 4)"),
        (nn.Sequential(nn.Unflatten(1, (4, 4)), nn.Flatten(), nn.Linear(16, 3)), "(16,) as batch"),
        (After(lambda z, x: z.softmax(1)), "gives probabilities of 3 classes"),
        (After(lambda z, x: z.log_softmax(1)), "gives log-probabilities of 3 classes"),
        (After(lambda z, x: z - z.mean(0)), "as batches of one"),
        (After(lambda z, x: nn.functional.dropout(z)), "that vary from pass to pass"),
        (After(lambda z, x: z.detach()), "gradient: it is cut off by detach()"),
        (lambda x: np.asarray(x) @ np.ones((16, 3)), "gradient: it is cut off by detach()"),
        (lambda x: x.astype(float)[:, :3], "gradient: it computes with NumPy arrays"),
    ],
)
def test_what_is_found_out_is_said(model, said):
    adapted = qbench.adapt(model)
    assert str(adapted).endswith("not asked yet")
    adapted.missing_gradient(X)
    assert said in str(adapted)


@pytest.mark.parametrize(
    ("model", "how", "error", "complaint"),
    [
        (nn.Linear(10, 3), {}, DataError, "does not take torch.float32 images of 16 pixels"),
        (nn.Linear(16, 3), {"shape": (4, 5)}, DataError, r"of shape \(4, 5\)"),
        (nn.Linear(16, 3), {"outputs": "softmax"}, UsageError, "outputs are one of logits, prob"),
        (nn.Linear(16, 3), {"gradient": "fd"}, UsageError, "gradient is one of finite-diff"),
        (nn.Linear(16, 3), {"outputs": "probabilities"}, DataError, "said to be probabilities"),
        (After(lambda z, x: z[:, :1].sigmoid()), {}, DataError, "only output lies between 0 and 1"),
        (After(lambda z, x: (z, x)), {}, DataError, "returns 2 outputs, and it is not clear"),
        (After(lambda z, x: {"a": z, "b": x}), {}, DataError, "mapping with 'a', 'b', and it is"),
        (After(lambda z, x: (z, x)), {"select": 2}, DataError, "none of them is 2"),
        (After(lambda z, x: "no"), {}, DataError, "holds no numbers"),
        (lambda x: 1 / 0, {}, DataError, "ZeroDivisionError: division by zero"),
        (nn.Linear(16, 3), {"shots": 10}, UsageError, "no PennyLane layer whose shots"),
        (lambda x: x, {"shots": 10}, UsageError, "not on a function: leave shots out"),
        (nn.Linear, {}, UsageError, r"Linear is a class: give an instance"),
        (3, {}, UsageError, "int is no model: give a torch module, a PennyLane QNode"),
        (LogisticRegression(), {}, UsageError, "LogisticRegression is not fitted: call its fit"),
        (LinearRegression(), {}, UsageError, "LinearRegression has no classes_"),
        (SVC().fit([[0], [1]], ["a", "b"]), {}, UsageError, "classes of SVC are 'a', 'b': fit"),
        (SVC().fit([[0], [1]], [1, 2]), {}, UsageError, "classes of SVC are 1, 2: fit it on"),
    ],
)
def test_what_cannot_work_is_one_clear_line(model, how, error, complaint):
    with pytest.raises(error, match=complaint) as caught:
        qbench.adapt(model, **how)(X)
    assert "\n" not in str(caught.value)


def test_outputs_can_be_chosen():
    plain = After(lambda z, x: z)(X)
    for after, select in [(lambda z, x: (x, z), 1), (lambda z, x: {"a": z, "b": x}, "a")]:
        assert torch.equal(qbench.adapt(After(after), select=select)(X), plain)


def test_scores_of_probabilities_are_their_logarithms():
    adapted = qbench.adapt(After(lambda z, x: z.softmax(1)))
    assert torch.allclose(adapted(X), After(lambda z, x: z)(X).log_softmax(1), atol=1e-6)
    sure = qbench.adapt(lambda x: torch.eye(3)[torch.arange(len(x)) % 3] + 0 * x[:, :1])
    assert sure(X).isfinite().all()


def test_adapting_changes_neither_the_module_nor_random_numbers():
    model = After(lambda z, x: nn.functional.dropout(z, training=True)).train()
    state = torch.random.get_rng_state()
    adapted = qbench.adapt(model)
    adapted.layout(X)
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    assert list(adapted.state_dict()) == ["module.layer.weight", "module.layer.bias"]


def test_adapted_models_train():
    model = After(lambda z, x: z)
    for how in ({}, {"gradient": "spsa"}):
        adapted = qbench.adapt(model, **how).train()
        nn.functional.cross_entropy(adapted(X), torch.zeros(5).long()).backward()
        grad, model.layer.weight.grad = model.layer.weight.grad, None
        nn.functional.cross_entropy(model(X), torch.zeros(5).long()).backward()
        assert torch.allclose(grad, model.layer.weight.grad)
        model.layer.weight.grad = None


def quadratic(x):
    x = np.asarray(x, np.float64)
    return np.stack([x @ x.T.sum(1) * 0 + (x**2).sum(-1), x.sum(-1)], -1)


def test_finite_differences_are_the_gradient():
    adapted = qbench.adapt(quadratic, gradient="finite-differences")
    x = X.double().requires_grad_()
    (gradient,) = torch.autograd.grad(adapted(x)[:, 0].sum(), x)
    assert torch.allclose(gradient, 2 * X.double(), atol=1e-6)


def test_spsa_is_unbiased_and_depends_on_the_image_alone():
    adapted = qbench.adapt(quadratic, gradient="spsa")
    many = torch.rand(400, 16, dtype=torch.float64)
    x = many.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(adapted(x)[:, 0].sum(), x)
    error = gradient - 2 * many
    # Each component errs by √((Σ g² − g_k²) / pairs) around the right value.
    expected = ((2 * many).square().sum(1) / SPSA_PAIRS).sqrt().mean()
    assert 0.8 * expected < error.std() < 1.2 * expected
    assert error.mean().abs() < 5 * expected / (400 * 16) ** 0.5
    part = many[3:5].clone().requires_grad_()
    (alone,) = torch.autograd.grad(adapted(part)[:, 0].sum(), part)
    assert torch.equal(alone, gradient[3:5])


def fitted(estimator):
    rng = np.random.default_rng(0)
    return estimator.fit(rng.random((60, 16)), np.arange(60) % 3)


@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (SVC(), "decision_function"),
        (SVC(decision_function_shape="ovo"), "predict"),
        (RandomForestClassifier(5, random_state=0), "predict_proba"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "decision_function"),
    ],
)
def test_scikit_learn_classifiers_predict_what_they_predict(estimator, method):
    adapted = qbench.adapt(fitted(estimator))
    x = torch.rand(200, 16, generator=torch.Generator().manual_seed(1))
    assert adapted.kind.endswith(method)
    assert (adapted(x).argmax(1).numpy() == estimator.predict(x.double().numpy())).mean() >= 0.99
    again = pickle.loads(pickle.dumps(adapted))
    assert torch.equal(again(x), adapted(x))
    assert "scikit-learn computes no derivatives): take an attack" in adapted.missing_gradient(x)


def test_an_estimator_fitted_on_a_data_frame_gets_one():
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((60, 2)), columns=["a", "b"])
    model = LogisticRegression().fit(frame, np.arange(60) % 2)
    assert qbench.adapt(model)(torch.rand(3, 2)).shape == (3, 2)
