"""Losses of PGD and the momentum of MI-FGSM, step by step; `test_attacks` has the rest of PGD."""

from __future__ import annotations

import pytest
import torch
from known_models import Linear, Recorder, run
from torch import nn

from qbench_attacks.gradient import MIFGSM, PGD


@pytest.mark.parametrize("name", ["ce", "margin", "dlr"])
def test_pgd_steps_along_the_gradient_of_its_loss(name):
    weights = torch.eye(3, dtype=torch.float64)
    offsets = torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)
    model, x, y = Linear(weights, offsets), torch.full((1, 3), 0.5).double(), torch.tensor([0])
    recorder = Recorder(model)
    attack = PGD(loss=name, steps=1, step=0.01, random_start=False)
    run(attack, recorder, x, y, norm="l2", eps=0.1)
    p = offsets.softmax(0)
    by_hand = {
        "ce": torch.stack([p[0] - 1, p[1], p[2]]),
        "margin": torch.tensor([-1.0, 1.0, 0.0]).double(),
        # d/dz of −(z_0 − z_1)/(z_0 − z_2) at (1, .5, 0): −.5, 1, −.5
        "dlr": torch.tensor([-0.5, 1.0, -0.5]).double(),
    }[name]
    step = (recorder.asked[1] - x)[0]
    torch.testing.assert_close(step, 0.01 * by_hand / by_hand.norm())


def test_momentum_adds_the_normalised_gradients_up():
    class Valley(nn.Module):
        """The loss climbs to 0.503 from both sides, at slope 1 from below and 3 from above."""

        def forward(self, x):
            z = x[:, 0] - 0.503
            lead = torch.where(z < 0, -z, 3 * z)
            return torch.stack([lead, 0 * lead], 1)

    recorder = Recorder(Valley())
    x, y = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([0])
    run(MIFGSM(steps=5, loss="margin"), recorder, x, y, eps=0.1)
    # velocities 1, 1 − 1, 0 − 1, −1 + 1, 0 + 1: each gradient counts ±1 whatever its slope
    trace = [point.item() for point in recorder.asked]
    assert trace == pytest.approx([0.5, 0.52, 0.52, 0.5, 0.5, 0.52])
