"""Randomised smoothing: exact for a linear classifier, cautious for any other."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from torch import Tensor, nn

from qbench.errors import UsageError
from qbench.specs import Perturbations
from qbench_certificates.confidence import lower_limit
from qbench_certificates.smoothing import Smoothing

L2 = Perturbations(norm="l2", eps=(0.1,))


class Halfspace(nn.Module):
    """Class 0 where the first feature exceeds ½: the smoothed radius is the distance to it."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0] - 0.5, 0.5 - x[:, 0]], dim=1)


def _radii(smoothing: Smoothing, x: Tensor, y: Tensor, about: Perturbations = L2) -> Tensor:
    return smoothing(Halfspace(), x, y, about, torch.Generator().manual_seed(0)).radius


def test_the_radius_of_a_half_space_is_the_distance_to_it() -> None:
    x = torch.tensor([[0.5, 0.0], [0.6, 0.3], [0.7, 1.0], [0.9, 0.2], [0.3, 0.3]])
    radius = _radii(Smoothing(samples=20_000), x, torch.zeros(5, dtype=torch.long))
    distance = (x[:, 0] - 0.5).double().clamp(min=0)
    assert (radius <= distance + 1e-6).all()
    assert torch.allclose(radius[1:], distance[1:], atol=0.02)
    assert radius[4] == 0  # the label is wrong there


def test_linf_is_l2_over_the_root_of_the_dimension() -> None:
    x, y = torch.full((3, 4), 0.7), torch.zeros(3, dtype=torch.long)
    about = Perturbations(norm="linf", eps=(0.1,))
    assert torch.allclose(2 * _radii(Smoothing(), x, y, about), _radii(Smoothing(), x, y))


def test_the_limit_is_clopper_pearson() -> None:
    hits = torch.tensor([0.0, 1.0, 500.0, 999.0, 1000.0], dtype=torch.float64)
    expected = [
        binomtest(int(k), 1000, alternative="greater")
        .proportion_ci(confidence_level=0.99, method="exact")
        .low
        for k in hits
    ]
    np.testing.assert_allclose(lower_limit(hits, 1000, 0.01), expected, rtol=1e-9, atol=1e-15)


def test_radii_exceed_the_truth_no_more_often_than_stated() -> None:
    x = torch.full((400, 1), 0.6)
    smoothing = Smoothing(samples=200, failure=0.05)
    radius = _radii(smoothing, x, torch.zeros(400, dtype=torch.long))
    too_large = float((radius > 0.1 + 1e-6).double().mean())
    assert 0.005 < too_large < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_batches_do_not_matter_and_the_confidence_is_stated() -> None:
    x, y = torch.full((2, 3), 0.6), torch.zeros(2, dtype=torch.long)
    found = Smoothing()(Halfspace(), x, y, L2, torch.Generator().manual_seed(0))
    assert found.confidence == pytest.approx(0.999)
    assert "0.25" in str(found.detail)
    small = Smoothing(batch=100)(Halfspace(), x, y, L2, torch.Generator().manual_seed(0))
    assert torch.allclose(small.radius, found.radius, atol=0.05)


@pytest.mark.parametrize(
    "params",
    [{"sigma": 0.0}, {"sigma": math.nan}, {"samples": 0}, {"failure": 0.0}, {"failure": 1.0}],
)
def test_parameters_that_make_no_sense(params) -> None:
    with pytest.raises(UsageError, match="smoothing"):
        Smoothing(**params)
