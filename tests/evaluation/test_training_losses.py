"""TRADES and the penalty on input gradients, against formulas and double backward in float64."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from qbench.circuits.torch_engine import TorchEngine
from qbench.evaluation.losses import gradient_penalty, training_loss
from qbench.geometry import random_start
from qbench.specs import Recipe, ThreatModel
from qbench_engines.statevector import StatevectorEngine
from qbench_quantum.models import ReUpload

DOUBLE = torch.float64
tiny_circuit = partial(ReUpload, qubits=2, layers=2, classes=2, features=4)


def tiny_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 2)).to(DOUBLE)


def drawn_circuit(engine) -> nn.Module:
    torch.manual_seed(0)
    model = tiny_circuit(engine=engine).to(DOUBLE)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -2, 2)
    return model


def batch(n: int = 6):
    generator = torch.Generator().manual_seed(1)
    x = 0.2 + 0.6 * torch.rand(n, 4, generator=generator, dtype=DOUBLE)
    return x, torch.arange(n) % 2


def by_parameters(value, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])


def divergence(p, q):
    """Mean of KL(p ‖ q) as it stands in a book."""
    return (p * (p / q).log()).sum(1).mean()


def attacked_by_hand(loss, x, eps, steps, seed):
    """PGD as `Recipe` describes it, one pixel of one image at a time."""
    generator = torch.Generator().manual_seed(seed)
    x_adv = random_start(x, ThreatModel(norm="linf", eps=eps), generator)
    for _ in range(steps):
        given = x_adv.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(loss(given), given)
        for i in range(len(x)):
            for j in range(x.shape[1]):
                moved = float(x_adv[i, j]) + 2.5 * eps / steps * float(gradient[i, j].sign())
                low, high = max(0.0, float(x[i, j]) - eps), min(1.0, float(x[i, j]) + eps)
                x_adv[i, j] = min(max(moved, low), high)
    return x_adv


@pytest.mark.parametrize("build", [tiny_network, partial(drawn_circuit, TorchEngine())])
@pytest.mark.parametrize("beta", [1.0, 6.0])
def test_trades_is_the_formula_of_the_paper(build, beta):
    model, (x, y), recipe = build(), batch(), Recipe(adversarial_eps=0.1, trades=beta)
    loss = training_loss(model, x, y, recipe, 0.1, torch.Generator().manual_seed(3))
    p = model(x).softmax(1)
    x_adv = attacked_by_hand(lambda z: divergence(p.detach(), model(z).softmax(1)), x, 0.1, 7, 3)
    assert (x_adv - x).abs().max() <= 0.1 + 1e-12
    natural = -p[torch.arange(len(y)), y].log().mean()
    expected = natural + beta * divergence(p, model(x_adv).softmax(1))
    assert expected > natural + 1e-4  # the attack moved something
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(by_parameters(loss, model), by_parameters(expected, model))


def test_adversarial_training_takes_the_cross_entropy_of_attacked_images():
    model, (x, y), recipe = tiny_network(), batch(), Recipe(adversarial_eps=0.1)
    loss = training_loss(model, x, y, recipe, 0.04, torch.Generator().manual_seed(3))
    x_adv = attacked_by_hand(lambda z: cross_entropy(model(z), y), x, 0.04, 7, 3)
    torch.testing.assert_close(loss, cross_entropy(model(x_adv), y))
    assert loss > cross_entropy(model(x), y)


def penalty_by_double_backward(model, x, y):
    x = x.clone().requires_grad_()
    loss = cross_entropy(model(x), y, reduction="sum")
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    return g.square().sum(1).mean()


@pytest.mark.parametrize(
    "build",
    [tiny_network, *(partial(drawn_circuit, e()) for e in (TorchEngine, StatevectorEngine))],
)
def test_the_penalty_is_the_squared_gradient_and_so_is_its_derivative(build):
    model, (x, y) = build(), batch()
    reference = build()
    if isinstance(reference, ReUpload):
        reference.engine = TorchEngine()  # which autograd differentiates twice
    expected = penalty_by_double_backward(reference, x, y)
    found = gradient_penalty(model, x, y)
    assert expected > 1e-3
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        by_parameters(found, model), by_parameters(expected, reference), rtol=1e-3, atol=1e-5
    )


def test_the_derivative_of_the_penalty_agrees_with_finite_differences_of_the_parameters():
    model, (x, y) = drawn_circuit(StatevectorEngine()), batch()
    found = by_parameters(gradient_penalty(model, x, y), model)
    expected = []
    for parameter in model.parameters():
        flat = parameter.data.view(-1)
        for j in range(len(flat)):
            at = []
            for step in (1e-4, -2e-4):
                flat[j] += step
                at.append(gradient_penalty(model, x, y).item())
            flat[j] += 1e-4
            expected.append((at[0] - at[1]) / 2e-4)
    torch.testing.assert_close(found, torch.tensor(expected, dtype=DOUBLE), rtol=1e-3, atol=1e-5)


def test_single_precision_is_enough_for_the_penalty():
    model, (x, y) = drawn_circuit(StatevectorEngine()), batch()
    exact = by_parameters(gradient_penalty(model, x, y), model)
    found = by_parameters(gradient_penalty(model.float(), x.float(), y), model)
    torch.testing.assert_close(found, exact.float(), rtol=1e-2, atol=1e-3)


class Dropping(nn.Module):
    """Drops features by torch's generator."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.masks = tiny_network(), []

    def forward(self, x):
        self.masks.append(torch.rand(x.shape) < 0.5)
        return self.inner(x * self.masks[-1])


def test_a_stochastic_model_draws_the_same_at_all_points_that_are_compared():
    model, (x, y) = Dropping(), batch()
    torch.manual_seed(2)
    found = gradient_penalty(model, x, y)
    torch.manual_seed(2)
    expected = penalty_by_double_backward(model, x, y)
    assert len(model.masks) == 4
    assert all(torch.equal(mask, model.masks[0]) for mask in model.masks)
    torch.testing.assert_close(
        by_parameters(found, model), by_parameters(expected, model), rtol=1e-3, atol=1e-5
    )
    model(x)
    assert not torch.equal(model.masks[-1], model.masks[0])  # the next pass draws on


def test_where_the_loss_is_flat_there_is_no_penalty():
    model = tiny_network()
    nn.init.zeros_(model[0].weight)
    x, y = batch()
    found = gradient_penalty(model, x, y)
    assert found.item() == 0
    assert by_parameters(found, model).isfinite().all()


def test_the_budget_grows_by_equal_amounts():
    recipe = Recipe(epochs=8, adversarial_eps=0.2, adversarial_warmup=4)
    assert [recipe.budget(epoch) for epoch in range(6)] == pytest.approx(
        [0.05, 0.1, 0.15, 0.2, 0.2, 0.2]
    )
    assert Recipe(adversarial_eps=0.2).budget(0) == 0.2
    assert Recipe().budget(0) == 0
