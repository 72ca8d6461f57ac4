import numpy as np
import pytest
import torch
from torch import nn

from qbench.errors import VerificationError
from qbench.evaluation.radii import certify_images
from qbench.evaluation.scoring import margins, predict, predicted, score
from qbench.interfaces import Radii
from qbench.specs import Perturbations


class Table(nn.Module):
    """Scores are the input itself."""

    def forward(self, x):
        return x


CLEAN = torch.tensor([[0.9, 0.1], [0.2, 0.7], [0.4, 0.5], [0.8, 0.0]])
ADV = torch.tensor([[0.1, 0.9], [0.2, 0.6], [0.6, 0.5], [0.7, 0.0]])
Y = torch.tensor([0, 1, 0, 0])


def test_outcomes_per_image():
    scored = score(Table(), CLEAN, ADV, Y)
    assert scored.clean_prediction.tolist() == [0, 1, 1, 0]
    assert scored.adversarial_prediction.tolist() == [1, 1, 0, 0]
    np.testing.assert_allclose(scored.clean_margin, [0.8, 0.5, -0.1, 0.8], rtol=1e-3)
    np.testing.assert_allclose(scored.adversarial_margin, [-0.8, 0.4, 0.1, 0.7], rtol=1e-3)
    np.testing.assert_allclose(scored.linf, [0.8, 0.1, 0.2, 0.1], rtol=1e-6)
    np.testing.assert_allclose(scored.l2, [np.sqrt(1.28), 0.1, 0.2, 0.1], rtol=1e-6)
    # image 2 is right only after the attack: it counts as hit, never as robust
    assert scored.robust.tolist() == [False, True, False, True]
    assert (scored.clean_accuracy, scored.adversarial_accuracy) == (0.75, 0.75)
    assert scored.robust_accuracy == 0.5
    np.testing.assert_allclose(scored.wilson95, (0.150, 0.850), atol=5e-4)


def test_margins_with_more_classes():
    scores = torch.tensor([[1.0, 3.0, 2.0], [1.0, 3.0, 2.0]])
    assert margins(scores, torch.tensor([1, 2])).tolist() == [1.0, -1.0]


TIED = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]])
TIED_Y = torch.tensor([0, 1, 0])


def test_a_tie_is_neither_right_nor_robust():
    assert predicted(TIED, TIED_Y).tolist() == [1, 0, 1]
    assert predicted(CLEAN, Y).tolist() == CLEAN.argmax(1).tolist()
    scored = score(Table(), TIED, TIED, TIED_Y)
    assert (scored.clean_accuracy, scored.robust_accuracy) == (0, 0)
    # Right when clean, and tied by the attack, where argmax would say that it stands.
    scored = score(Table(), CLEAN[:1], TIED[:1], Y[:1])
    assert (scored.clean_accuracy, scored.robust_accuracy) == (1, 0)


def test_ties_of_counts_are_broken_as_they_were():
    scored = score(Table(), TIED, TIED, TIED_Y, repeats=2)
    assert scored.clean_prediction.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_a_tied_image_cannot_be_certified():
    def certifier(model, x, y, perturbations, generator):
        return Radii(torch.ones(len(y), dtype=torch.float64))

    about = Perturbations(norm="linf", eps=(0.1,))
    with pytest.raises(VerificationError, match="image 0 is misclassified and yet certified"):
        certify_images(certifier, Table(), TIED, TIED_Y, about, torch.Generator())


@pytest.mark.parametrize(
    ("scores", "complaint"),
    [
        (lambda x: x[:2], r"scores \(4, classes\), got \(2, 2\)"),
        (lambda x: x[:, 0], r"got \(4,\)"),
        (lambda x: x[:, :1], r"got \(4, 1\)"),
        (lambda x: torch.where(x > 0.75, torch.nan, x), r"scores of image 0 \(2 in all\) are not"),
    ],
)
def test_scores_a_model_may_not_give(scores, complaint):
    class Broken(nn.Module):
        def forward(self, x):
            return scores(x)

    with pytest.raises(VerificationError, match=complaint):
        predict(Broken(), CLEAN)


class Flips(nn.Module):
    """Gives the right answer on every other pass."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, x):
        self.calls += 1
        return x if self.calls % 2 else x.flip(1)


def test_a_stochastic_model_is_scored_by_the_mean_of_its_passes():
    # passes 1, 3 and 2, 4: clean is right, wrong, right, wrong; so is adversarial
    scored = score(Flips(), CLEAN[:2], CLEAN[:2], Y[:2], repeats=4)
    assert scored.clean_prediction.shape == (4, 2)
    assert scored.clean_accuracy == scored.adversarial_accuracy == 0.5
    assert scored.robust_accuracy == 0.5
    # two images, one of them counted as robust on average
    np.testing.assert_allclose(scored.wilson95, (0.0945, 0.9055), atol=1e-4)
