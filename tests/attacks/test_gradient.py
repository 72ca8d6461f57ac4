"""Losses of PGD, masks and momentum, step by step; `test_attacks` has the rest of PGD."""

from __future__ import annotations

import pytest
import torch
from known_models import Linear, Recorder, broken, network, run
from torch import nn

from qbench_attacks.gradient import FGSM, MIFGSM, PGD, MaskFGSM


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


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.3), ("l2", 1.0)])
def test_a_mask_leaves_all_but_a_few_pixels(norm, eps):
    model, x, y = network(3)
    changed = (run(MaskFGSM(pixels=3), model, x, y, norm=norm, eps=eps).x_adv != x).sum(1)
    assert changed.max() == 3
    every = run(FGSM(), model, x, y, norm=norm, eps=eps).x_adv
    for pixels, same in ((15, False), (16, True), (1000, True)):
        masked = run(MaskFGSM(pixels=pixels), model, x, y, norm=norm, eps=eps).x_adv
        assert torch.equal(masked, every) == same


@pytest.mark.parametrize("pixels", [1, 2, 3])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_mask_on_a_linear_model_breaks_beyond_the_gap_over_the_largest_weights(norm, pixels):
    w = torch.tensor([0.3, -2.0, 0.1, 1.0, -0.5], dtype=torch.float64)
    model = Linear(torch.stack([w, -w]), torch.tensor([0.05, -0.05], dtype=torch.float64))
    x, y = torch.full((1, 5), 0.5).double(), torch.tensor([0])
    largest = 2 * torch.tensor([2.0, 1.0, 0.5])[:pixels]
    far = 0.1 / float(largest.sum() if norm == "linf" else largest.norm())
    for eps, falls in ((0.99 * far, False), (1.01 * far, True)):
        x_adv = run(MaskFGSM(pixels=pixels), model, x, y, norm=norm, eps=eps).x_adv
        assert broken(model, x_adv, y).tolist() == [falls]
        assert (x_adv != x)[0].nonzero()[:, 0].tolist() == sorted([1, 3, 4][:pixels])
