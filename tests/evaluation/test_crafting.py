import pytest
import torch
from torch import nn

from qbench.errors import VerificationError
from qbench.evaluation.crafting import craft, frozen, verify
from qbench.specs import ThreatModel

X = torch.full((3, 4), 0.5)
LINF = ThreatModel(norm="linf", eps=0.1)
L2 = ThreatModel(norm="l2", eps=0.1)


def moved(value, image=1, feature=2):
    x_adv = X.clone()
    x_adv[image, feature] = value
    return x_adv


def test_what_stays_inside_passes():
    verify(X, X, LINF)
    verify(moved(0.6), X, LINF)
    verify(moved(0.4), X, L2)


@pytest.mark.parametrize(
    ("x_adv", "threat", "complaint"),
    [
        (moved(0.6001), LINF, r"image 1 \(1 in all\) leaves the ball: linf distance up to 0.6*"),
        (X + 0.06, L2, r"image 0 \(3 in all\) leaves the ball: l2 distance up to 0.12"),
        (moved(1.5), ThreatModel(norm="linf", eps=2.0), r"image 1 .* leaves the box \[0, 1\]"),
        (moved(-0.1), ThreatModel(norm="linf", eps=2.0), r"leaves the box"),
        (moved(float("nan")), LINF, "image 1 .* is not finite"),
        (moved(float("inf")), ThreatModel(norm="linf", eps=9, box=None), "is not finite"),
        (X[:2], LINF, r"returned \(2, 4\) torch.float32 instead of \(3, 4\) torch.float32"),
        (X.double(), LINF, "torch.float64 instead of"),
        (X.numpy(), LINF, "returned ndarray instead of"),
        (None, LINF, "returned NoneType"),
    ],
)
def test_what_an_attack_may_not_return_is_named(x_adv, threat, complaint):
    with pytest.raises(VerificationError, match=complaint):
        verify(x_adv, X, threat)


def test_an_attack_that_leaves_the_ball_is_caught():
    def cheat(model, x, y, threat, generator):
        return x + 2 * threat.eps

    with pytest.raises(VerificationError, match="leaves the ball"):
        craft(cheat, nn.Linear(4, 2), X, torch.zeros(3, dtype=torch.int64), LINF, 0)


def test_an_attack_cannot_change_the_images_it_is_measured_against():
    def sneaky(model, x, y, threat, generator):
        x += 0.3
        return x

    with pytest.raises(VerificationError, match="leaves the ball"):
        craft(sneaky, nn.Linear(4, 2), X.clone(), torch.zeros(3, dtype=torch.int64), LINF, 0)


def test_a_frozen_model_is_as_it_was_afterwards():
    model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    model[2].eval()
    with frozen(model):
        assert not any(p.requires_grad for p in model.parameters())
        assert not any(m.training for m in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [False, True, True, True]
    assert [m.training for m in model.modules()] == [True, True, True, False]


def test_every_image_through_the_model_is_counted():
    def attack(model, x, y, threat, generator):
        model(x[:1])
        z = x.clone().requires_grad_()
        torch.autograd.grad(model(z).sum(), z)
        return x

    crafted = craft(attack, nn.Linear(4, 2), X, torch.zeros(3, dtype=torch.int64), LINF, 0)
    assert (crafted.forward, crafted.gradient) == (4, 3)


def test_an_attack_on_a_stochastic_model_sees_the_mean_of_fresh_passes():
    class Noisy(nn.Linear):
        def forward(self, x):
            return super().forward(x) + torch.randn(len(x), 2)

    spread = []

    def attack(model, x, y, threat, generator):
        scores = torch.stack([model(x) for _ in range(200)])
        spread.append(scores.std(0).mean().item())
        return x

    torch.manual_seed(0)
    labels = torch.zeros(3, dtype=torch.int64)
    counts = [craft(attack, Noisy(4, 2), X, labels, LINF, 0, passes=p).forward for p in (1, 16)]
    assert counts == [200 * 3, 16 * 200 * 3]
    assert spread[1] == pytest.approx(spread[0] / 4, rel=0.15)
