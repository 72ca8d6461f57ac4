"""One perturbation for all images: that it is one, and how many images it fools."""

from __future__ import annotations

import pytest
import torch
from known_models import Recorder, broken, linear, network, run
from torch import nn

import qbench
from qbench.datasets.base import load_data
from qbench_attacks.universal import Universal

NORMS = [("linf", 0.2), ("l2", 0.8)]


@pytest.mark.parametrize(("norm", "eps"), NORMS)
def test_all_images_move_by_one_perturbation_before_they_are_clipped(norm, eps):
    model, x, y = network(3)
    x, model = x.double(), model.double()
    free = run(Universal(steps=10), model, x, y, norm=norm, eps=eps, box=None).x_adv - x
    torch.testing.assert_close(free, free[:1].expand_as(free), rtol=0, atol=1e-12)
    assert free.abs().max() > 0.01
    x_adv = run(Universal(steps=10), model, x, y, norm=norm, eps=eps).x_adv
    inside = (x_adv > 0) & (x_adv < 1)
    assert inside.any(0).all()
    assert not inside.all()
    delta = (x_adv - x).gather(0, inside.int().argmax(0, keepdim=True))
    torch.testing.assert_close(x_adv, (x + delta).clamp(0, 1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("classes", [[0, 1], [0], [1]])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_of_a_linear_model_of_two_classes_it_breaks_one_class_as_far_as_it_reaches(norm, classes):
    """One δ shifts the score difference of all images alike, so only one class can fall."""
    model, x, y = linear(2)
    chosen = torch.isin(y, torch.tensor(classes))
    x, y = x[chosen], y[chosen]
    distances = model.distances(x, y, norm)
    eps = float(distances.quantile(0.6))
    within = [int(((y == c) & (distances < eps)).sum()) for c in classes]
    x_adv = run(Universal(steps=10), model, x, y, norm=norm, eps=eps).x_adv
    assert min(within) > 0
    assert int(broken(model, x_adv, y).sum()) == max(within)


@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.1), ("l2", 1.0)])
def test_it_fools_a_trained_network_more_often_than_random_perturbations(norm, eps):
    model, split = qbench.load_model("fourier", seed=0), load_data("glyphs").test
    x, y = split.x[:40], split.y[:40]
    fitted = broken(model, run(Universal(steps=20), model, x, y, norm=norm, eps=eps).x_adv, y)
    drawn = torch.randn(50, x.shape[1], generator=torch.Generator().manual_seed(0))
    drawn = drawn.sign() if norm == "linf" else drawn / drawn.norm(dim=1, keepdim=True)
    random = [broken(model, (x + eps * delta).clamp(0, 1), y).sum() for delta in drawn]
    assert int(fitted.sum()) > 2 * int(max(random))


@pytest.mark.parametrize(("norm", "eps"), NORMS)
def test_images_that_are_misclassified_as_they_are_take_no_part(norm, eps):
    model, x, y = network(3)
    x, model = x.double(), model.double()
    labels = y.clone()
    labels[::4] = (labels[::4] + 1) % 3
    standing = labels == y
    alone = run(Universal(steps=5), model, x[standing], y[standing], norm=norm, eps=eps).x_adv
    beside = run(Universal(steps=5), model, x, labels, norm=norm, eps=eps).x_adv
    torch.testing.assert_close(beside[standing], alone, rtol=0, atol=1e-9)


def test_where_it_fools_no_image_none_is_changed():
    model, x, y = network(3)
    assert torch.equal(run(Universal(steps=3), model, x, y, eps=1e-4).x_adv, x)


def test_a_pixel_that_is_clipped_pulls_the_perturbation_no_further():
    class Pulled(nn.Module):
        """The loss of an image with x_1 = 0 falls with x_0, three times as fast as others climb."""

        def forward(self, x):
            lead = torch.where(x[:, 1] == 0, 1 + 3 * x[:, 0], 2 - x[:, 0])
            return torch.stack([lead, 0 * lead], 1)

    recorder = Recorder(Pulled())
    x, y = torch.tensor([[0.01, 0.0], [0.5, 0.5]]), torch.tensor([0, 0])
    run(Universal(steps=30), recorder, x, y, eps=0.1)
    lowest = min(float(batch[1, 0]) for batch in recorder.asked)
    assert 0.44 < lowest < 0.5  # one step below where the other image is clipped, at the most
