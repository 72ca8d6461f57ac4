"""What the search does with bad gradients, with copies of an image, and with random models."""

from __future__ import annotations

import pytest
import torch
from known_models import linear, network
from torch import nn

from qbench.errors import Unsupported
from qbench.evaluation.crafting import craft
from qbench.specs import ThreatModel
from qbench_attacks.base import Search
from qbench_attacks.ddn import DDN
from qbench_attacks.deepfool import DeepFool
from qbench_attacks.fab import FAB
from qbench_attacks.gradient import PGD
from qbench_attacks.losses import margin
from qbench_attacks.spsa import SPSA

THREAT = ThreatModel(norm="linf", eps=0.1)


def search(model, x, y, **options):
    generator = torch.Generator().manual_seed(0)
    return Search(model, x, y, THREAT, generator, rank=margin, **options)


class Answered(nn.Module):
    """A linear model whose scores go through a function."""

    def __init__(self, answer):
        super().__init__()
        self.answer = answer
        self.inner, self.x, self.y = linear(3)

    def forward(self, x):
        return self.answer(x, self.inner(x))


CUT = {
    "detach": lambda x, z: z.detach(),
    "numpy": lambda x, z: torch.from_numpy(x.detach().numpy()) @ torch.ones(12, 3),
    "numpy of a tensor with a gradient": lambda x, z: torch.from_numpy(z.numpy()),
    "a leaf of its own": lambda x, z: z.detach().requires_grad_(),
}


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("attack", [PGD, FAB, DeepFool, DDN], ids=lambda attack: attack.__name__)
@pytest.mark.parametrize("cut", CUT.values(), ids=list(CUT))
def test_scores_without_a_gradient_are_named_in_one_line(cut, attack, norm):
    if attack is DDN and norm == "linf":
        pytest.skip("ℓ2 only")
    model = Answered(cut)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    threat = ThreatModel(norm=norm, eps=0.1)
    message = "^the scores have no gradient with respect to the images: [^\n]*$"
    with pytest.raises(Unsupported, match=message):
        attack()(model, model.x, model.y, threat, torch.Generator())


def test_other_errors_of_a_model_pass_through():
    def broken(x, z):
        raise RuntimeError("out of memory")

    model = Answered(broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        search(model, model.x, model.y).gradient(model.x, margin)


def test_entries_of_a_gradient_that_are_not_finite_become_zero():
    def first_pixel_nan(x, z):
        return z + torch.sqrt((x[:, :1] - x[:, :1]).abs())

    model = Answered(first_pixel_nan)
    # Its gradient is NaN in the first pixel alone.
    points, _, gradient = search(model, model.x, model.y).gradient(model.x, margin)
    wanted = torch.autograd.grad(
        margin(model.inner(leaf := points.clone().requires_grad_()), model.y).sum(), leaf
    )[0]
    assert torch.equal(gradient[:, 0], torch.zeros(len(points)))
    torch.testing.assert_close(gradient[:, 1:], wanted[:, 1:])


def test_gradients_that_vanish_are_counted_image_by_image():
    def flat_for_some(x, z):
        bright = x.detach()[:, :1] > 0.5
        return torch.where(bright, z.detach() + 0 * z, z)

    model = Answered(flat_for_some)
    whole = search(model, model.x, model.y)
    assert torch.equal(whole.vanished, torch.zeros(len(model.x)))
    whole.only(torch.arange(4, 24)).repeat(2).gradient(model.x[4:].repeat(2, 1), margin)
    wanted = (model.x[:, 0] > 0.5).float()
    wanted[:4] = 0  # never asked about
    assert 0 < wanted.sum() < 20
    assert torch.equal(whole.vanished, wanted)


def test_of_several_copies_the_best_is_kept_for_each_image():
    model, x, y = network(4)
    model.requires_grad_(False)
    whole = search(model, x, y)
    part = whole.only(torch.tensor([3, 7])).repeat(3)
    points = part.project(part.random_start())
    part.visit(points)
    merits = margin(model(points), y[[3, 7]].repeat(3)).view(3, 2)
    for column, image in enumerate((3, 7)):
        best = int(merits[:, column].argmax()) * 2 + column
        assert torch.equal(whole.kept[image], points[best])
        assert bool(whole.fooled[image]) == bool(merits[:, column].max() > 0)
    assert torch.equal(whole.kept[0], x[0])


class Lucky(nn.Module):
    """Class 0 wins, but for single draws: one answer in `every` has class 1 in front."""

    def __init__(self, every):
        super().__init__()
        self.every, self.calls = every, 0

    def forward(self, x):
        self.calls += 1
        wrong = 1.0 if self.calls % self.every == 0 else -1.0
        return torch.stack([x.sum(1) * 0, x.sum(1) * 0 + wrong], 1)


@pytest.mark.parametrize(("every", "passes", "fooled"), [(4, 1, True), (4, 8, False), (1, 8, True)])
def test_one_lucky_draw_does_not_count_for_a_random_model(every, passes, fooled):
    x, y = torch.full((6, 3), 0.5), torch.zeros(6, dtype=torch.long)
    model = Lucky(every)
    model.passes = passes  # as of a mean over that many
    whole = search(model, x, y)
    for _ in range(12):
        whole.visit(x)
    assert bool(whole.fooled.all()) == bool(whole.fooled.any()) == fooled


def test_points_that_fooled_only_once_are_dropped_when_asked_again():
    x, y = torch.full((4, 3), 0.5), torch.zeros(4, dtype=torch.long)
    whole = search(Lucky(2), x, y)
    whole.visit(x)
    whole.visit(x)
    assert bool(whole.fooled.all())
    assert bool(whole.check_again().all())
    assert not bool(whole.fooled.any())


def test_attacks_by_scores_alone_need_no_gradient():
    model = Answered(CUT["detach"])
    crafted = craft(SPSA(steps=3, samples=8), model, model.x, model.y, THREAT, 0)
    assert crafted.gradient == 0
