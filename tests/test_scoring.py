import numpy as np
import pytest
import torch
from torch import nn

from qbench.errors import VerificationError
from qbench.scoring import margins, predict, score


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
    np.testing.assert_allclose(scored.clean_margin, [0.8, 0.5, -0.1, 0.8], rtol=1e-6)
    np.testing.assert_allclose(scored.adversarial_margin, [-0.8, 0.4, 0.1, 0.7], rtol=1e-6)
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
