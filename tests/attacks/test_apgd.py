"""Auto-PGD: the published schedule, and what it does on models that can be followed by hand."""

from __future__ import annotations

import pytest
import torch
from known_models import Recorder, broken, network, run
from torch import nn

from qbench.specs import ThreatModel
from qbench_attacks.apgd import APGD, APGDTargeted, checkpoints
from qbench_attacks.base import Search


def test_checkpoints_of_a_hundred_steps():
    # shares 0, .22, +.19 = .41, +.16 = .57, +.13 = .70, +.10 = .80, +.07 = .87, then +.06 each
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]


def test_checkpoints_of_other_lengths_round_up():
    assert checkpoints(50) == [0, 11, 21, 29, 35, 40, 44, 47, 50]  # ⌈20.5⌉, ⌈28.5⌉, ⌈43.5⌉, ...
    assert checkpoints(10) == [0, 3, 5, 6, 7, 8, 9, 10]
    assert checkpoints(1) == [0, 1]


class Valley(nn.Module):
    """One pixel; class 0's lead is |x − 0.503|, so the loss peaks there and steps overshoot it."""

    def forward(self, x):
        lead = (x[:, 0] - 0.503).abs() + 0.01
        return torch.stack([lead, torch.zeros_like(lead)], 1)


def test_steps_by_hand():
    # ε = 0.1 at 0.5, so η = 0.2; steps=9 has checkpoints ⌈.22·9⌉ = 2, ⌈.41·9⌉ = 4, ...
    # Every step goes against the sign of (x − 0.503).
    model = Recorder(Valley())
    x, y = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([0])
    threat = ThreatModel(norm="linf", eps=0.1)
    search = Search(model, x, y, threat, torch.Generator())
    search.random_start = lambda: torch.tensor([[0.42]], dtype=torch.float64)
    APGD(loss="margin", steps=9).run(search)
    trace = [point.item() for point in model.asked]
    # x1 = P(.42 + .2) = .60: |x − .503| from .083 to .097: no gain, the start stays best
    # x2: z = P(.60 − .2) = .40; x2 = .60 + .75(.40 − .60) + .25(.60 − .42) = .495: gain
    # checkpoint 2: one gain in two steps is less than ρ·2 = 1.5: η = .1, from the best, .495
    # x3: z = .595; x3 = .495 + .75·.1 + .25(.495 − .60) = .54375: no gain
    # x4: z = .44375; x4 = .54375 − .075 + .25(.54375 − .495) = .4809375: gain over x3, not best
    # checkpoint 4: one gain in two again: η = .05, from the best, .495
    # x5: z = .545; x5 = .495 + .75·.05 + .25(.495 − .54375), the move counted from x3
    expected = [0.42, 0.60, 0.495, 0.54375, 0.4809375, 0.5203125]
    assert trace[:6] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_halved_steps_close_in_on_a_peak(norm):
    model = Recorder(Valley())
    x, y = torch.tensor([[0.5]], dtype=torch.float64), torch.tensor([0])
    best = run(APGD(loss="margin", steps=100), model, x, y, norm=norm).x_adv
    assert best.item() == pytest.approx(0.503, abs=2e-3)  # the last η is ε/128


def test_gradients_are_counted_and_the_last_point_needs_none():
    model, x, y = network(3)
    crafted = run(APGD(steps=7), model, x, y, eps=1e-6)
    assert (crafted.forward, crafted.gradient) == (8 * len(x), 7 * len(x))
    assert APGD(steps=7).passes == (8, 7)


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_targets_are_all_other_classes_and_only_the_standing_go_on(classes):
    model, x, y = network(classes)
    crafted = run(APGDTargeted(steps=5), model, x, y, eps=1e-6)  # nothing breaks
    assert (crafted.forward, crafted.gradient) == (
        (1 + (classes - 1) * 6) * len(x),
        (classes - 1) * 5 * len(x),
    )
    broke = run(APGDTargeted(steps=5), model, x, y, eps=0.5)  # everything does
    assert bool(broken(model, broke.x_adv, y).all())
    assert broke.gradient < (classes - 1) * 5 * len(x) or classes == 2


def test_a_target_that_scores_lowest_is_reached_in_three_classes():
    class Corner(nn.Module):
        """Class 2 scores lowest at first, and is the only one that ever overtakes class 0."""

        def forward(self, x):
            a, b = x[:, 0] - 0.5, x[:, 1] - 0.5
            return torch.stack([torch.full_like(a, 0.5), -0.1 * b * b, 9 * a - 0.2], 1)

    x, y = torch.full((1, 2), 0.5), torch.tensor([0])
    x_adv = run(APGDTargeted(steps=20), Corner(), x, y, eps=0.1).x_adv
    assert Corner()(x_adv).argmax(1).item() == 2


def test_restarts_spend_nothing_on_broken_images():
    model, x, y = network(3)
    once = run(APGD(steps=5), model, x, y, eps=0.1)
    thrice = run(APGD(steps=5, restarts=3), model, x, y, eps=0.1)
    first, last = broken(model, once.x_adv, y), broken(model, thrice.x_adv, y)
    assert bool((last | ~first).all())
    standing = int((~first).sum())
    assert 0 < standing < len(x)
    assert once.gradient + 5 * standing <= thrice.gradient <= once.gradient + 2 * 5 * standing
