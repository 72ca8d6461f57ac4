"""What is found before a last step that flattens the scores."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from qbench.evaluation.crafting import CountedModel, ExpectedModel
from qbench_attacks.tape import Tape

Z = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def before(answer, z=Z):
    with Tape() as tape:
        scores = answer(z)
    return tape.before(scores)


FLAT = {
    "softmax": lambda z: torch.softmax(z, 1),
    "method": lambda z: z.softmax(dim=-1),
    "functional": lambda z: functional.log_softmax(z, dim=1),
    "module": nn.Softmax(dim=1),
    "scaled": lambda z: torch.softmax(100 * z, 1) / 3,
    "hardtanh": lambda z: functional.hardtanh(torch.div(z, 2)),
    "rounded": lambda z: (z * 20).round() / 20 - 1,
    "chain": lambda z: torch.tanh(torch.sigmoid(z).detach().float()).mul(2.0),
    "own softmax": lambda z: torch.exp(z) / torch.exp(z).sum(1, keepdim=True),
    "shifted": lambda z: (z - z.amax(1, keepdim=True)).exp(),
}


@pytest.mark.parametrize("answer", FLAT.values(), ids=list(FLAT))
def test_the_scores_before_are_found(answer):
    assert before(answer) is Z


KEPT = {
    "another dimension": lambda z: torch.softmax(z, 0),
    "negative": lambda z: -2 * z,
    "a scale for each class": lambda z: z * torch.tensor([1.0, 2.0, 3.0, 4.0]),
    "a sum of two": lambda z: torch.tanh(z) + torch.flip(z, (1,)),
    "a layer": lambda z: z @ torch.eye(4),
    "bounds that are the scores": lambda z: torch.clamp(z, min=z.flip(1), max=z.flip(1)),
}


@pytest.mark.parametrize("answer", KEPT.values(), ids=list(KEPT))
def test_what_may_change_the_order_is_not_gone_behind(answer):
    with Tape() as tape:
        scores = answer(Z)
    assert tape.before(scores) is scores


def test_a_gradient_is_not_given_up():
    z = Z.clone().requires_grad_()
    with Tape() as tape:
        scores = Z + (0 * z).sum(1, keepdim=True)
    assert tape.before(scores) is scores


def test_it_looks_through_the_wrappers_of_the_core():
    class Flat(nn.Module):
        def forward(self, x):
            return torch.softmax(50 * x, 1)

    model = ExpectedModel(CountedModel(Flat()), 3)
    torch.testing.assert_close(before(model), Z)
