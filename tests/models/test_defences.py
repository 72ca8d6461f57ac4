"""Models that are a defence: a purifier in front of a classifier, and a randomised encoding."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations, kronecker, rotation_matrices
from qbench.datasets.base import Dataset, Split, load_data
from qbench.errors import Unsupported
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import TaskContext
from qbench.registry import load_registry
from qbench_classical.purifier import Purified, fit, purified_convnet
from qbench_quantum.models import Amplitude
from qbench_quantum.purified import purified_reupload
from qbench_quantum.randomised import RandomisedAmplitude


@pytest.fixture(scope="module")
def few() -> Dataset:
    whole = load_data("glyphs")
    return replace(whole, train=Split(whole.train.x[:200], whole.train.y[:200]))


def linear_behind_a_purifier(**about) -> Purified:
    torch.manual_seed(0)
    return Purified(nn.Linear(256, 4), 256, **about)


def test_gradients_pass_through_the_purifier():
    torch.manual_seed(0)
    model = Purified(nn.Linear(6, 3), 6, code=5).double()
    x = torch.rand(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(model, x)
    (gradient,) = torch.autograd.grad(model(x)[:, 1].sum(), x)
    # By hand: the classifier's row, times the Jacobians of sigmoid, decoder, ReLU and encoder.
    encoder, _, decoder, _ = model.purifier
    hidden = encoder(x)
    out = torch.sigmoid(decoder(torch.relu(hidden)))
    row = model.classifier.weight[1] * out * (1 - out)
    expected = ((row @ decoder.weight) * (hidden > 0)) @ encoder.weight
    torch.testing.assert_close(gradient, expected)
    assert gradient.abs().min() > 0


def test_the_purifier_learns_to_take_noise_away(few):
    model = linear_behind_a_purifier(code=16, noise=0.3)
    fit(model, few, 0)
    x, y = few.test.x, few.test.y
    generator = torch.Generator().manual_seed(0)
    noisy = (x + 0.3 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    with torch.no_grad():
        purified = model.purifier(noisy)
        assert (purified - x).square().mean() < 0.7 * (noisy - x).square().mean()
        assert (model(x).argmax(1) == y).double().mean() > 0.5  # of four classes
    assert ((purified >= 0) & (purified <= 1)).all()


def test_a_seed_fits_the_same_weights_and_labels_have_no_part_in_purifying(few):
    models = [linear_behind_a_purifier(code=4) for _ in range(4)]
    few = replace(few, train=Split(few.train.x[:30], few.train.y[:30]))
    other = replace(few, train=Split(few.train.x, 3 - few.train.y))
    for model, dataset, seed in zip(models, (few, few, other, few), (0, 0, 0, 1), strict=True):
        fit(model, dataset, seed)
    first, again, relabelled, reseeded = (
        torch.cat([p.detach().flatten() for p in m.purifier.parameters()]) for m in models
    )
    assert torch.equal(first, again)
    assert torch.equal(first, relabelled)
    assert not torch.equal(first, reseeded)
    assert torch.equal(models[0].classifier.weight, models[1].classifier.weight)
    assert not torch.equal(models[0].classifier.weight, models[2].classifier.weight)


def test_the_engine_of_a_purified_circuit_is_its_classifiers():
    model, engine = purified_reupload(features=4, classes=2, code=3), TorchEngine()
    x = torch.rand(2, 4)
    before = model(x)
    setattr(model, "engine", engine)  # noqa: B010 - as a task does
    assert model.engine is engine
    assert model.classifier.engine is engine
    torch.testing.assert_close(model(x), before)
    assert not hasattr(purified_convnet((4, 4), 2), "engine")


def test_purifiers_that_make_no_sense():
    with pytest.raises(Unsupported, match="a table has none"):
        purified_convnet(None, 3)
    with pytest.raises(ValueError, match="code 0, noise"):
        linear_behind_a_purifier(code=0)


def randomised(spread: float) -> tuple[RandomisedAmplitude, torch.Tensor]:
    torch.manual_seed(0)
    model = RandomisedAmplitude(layers=3, classes=2, features=7, spread=spread).double()
    nn.init.uniform_(model.theta, -3, 3)
    return model, torch.rand(4, 7, dtype=torch.float64)


def test_without_spread_the_randomised_circuit_is_that_of_amplitude():
    model, x = randomised(0.0)
    plain = Amplitude(layers=3, classes=2, features=7).double()
    plain.load_state_dict(model.state_dict())
    torch.testing.assert_close(model(x), plain(x))


def test_the_randomised_circuit_turns_the_encoded_state_before_the_trained_one():
    model, x = randomised(0.7)
    torch.manual_seed(5)
    found = model(x)
    torch.manual_seed(5)
    draws = 0.7 * torch.randn(4, 1, 3, 3)
    turned = kronecker(rotation_matrices(draws[:, 0].double()))
    states = torch.cat([x / x.norm(dim=1, keepdim=True), torch.zeros(4, 1)], 1)
    states = torch.einsum("nij,nj->ni", turned, states.to(turned.dtype))
    circuit = Circuit(3, 3, (0, 1))
    expected = expectations(TorchEngine().probabilities(circuit, model.theta, states))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
    assert (model(x) - found).abs().max() > 0.01  # another draw
    with pytest.raises(ValueError, match=r"spread is -1"):
        RandomisedAmplitude(layers=1, classes=2, features=4, spread=-1.0)


def test_the_randomised_entry_is_declared_and_evaluated_over_fresh_passes():
    assert load_registry().get("model", "amplitude-random").spec.stochastic
    selection = RunSelection(models=("amplitude-random",), certifiers=(), seeds=(0,), limit=4)
    attacks = [task for task in make_plan(selection) if task.identity.kind == "attack"]
    assert attacks
    for task in attacks:
        assert TaskContext(task).passes_and_repeats(randomised(0.1)[0]) == (8, 10)
