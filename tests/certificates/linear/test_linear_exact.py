"""Radii of linear classifiers are the distances that two solvers find, and attacks reach them."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
import torch
from torch import nn

from qbench.errors import Unsupported, WeightsError
from qbench.specs import Perturbations
from qbench_certificates.linear.exact import LinearExact, distance, read


def problem(seed, n=12, features=9):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, features, dtype=torch.float64, generator=generator)
    x[0] = x[0].round()  # at walls of the box
    g = torch.randn(n, features, dtype=torch.float64, generator=generator)
    g[1, :4] = 0
    fall = 1.5 * torch.rand(n, dtype=torch.float64, generator=generator)
    return g, x, fall


def solved(g, x, fall, norm, box):
    """The least norm, by a solver of convex programmes; infinity where it finds none."""
    delta = cp.Variable(len(g))
    asked = [g @ delta <= -fall]
    if box is not None:
        asked += [x + delta >= box[0], x + delta <= box[1]]
    least = cp.Problem(cp.Minimize(cp.norm(delta, "inf" if norm == "linf" else 2)), asked)
    least.solve(solver=cp.CLARABEL)
    return least.value


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_distances_are_those_of_a_solver(norm, box):
    g, x, fall = problem(0)
    fall[2:6] *= 4  # some margins cannot fall so far within the box
    found = distance(g, x, fall, norm, box)
    expected = [
        solved(*(v.numpy() for v in (a, b)), float(c), norm, box)
        for a, b, c in zip(g, x, fall, strict=True)
    ]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-7)
    assert bool(found.isinf().any()) == (box is not None)


def test_a_margin_that_is_gone_has_no_distance():
    g, x, fall = problem(1)
    for norm in ("linf", "l2"):
        assert (distance(g, x, -fall, norm, (0.0, 1.0)) == 0).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("box", [None, (0.0, 1.0)])
def test_just_beyond_a_radius_lies_an_adversarial_image(norm, box):
    torch.manual_seed(0)
    model = nn.Linear(9, 4).double()  # so that rounding takes nothing that is seen
    with torch.no_grad():
        model.weight.mul_(8)
    x = torch.rand(30, 9, dtype=torch.float64)
    y = model(x).argmax(1)
    y[0] = (y[0] + 1) % 4
    about = Perturbations(norm=norm, eps=(0.1, 50.0), box=box)
    radius = LinearExact()(model, x, y, about, torch.Generator()).radius
    assert radius[0] == 0
    assert (radius[1:] > 0).all()
    weight, scores, checked = model.weight.detach().double(), model(x).detach().double(), 0
    for i in (radius > 0).nonzero()[:, 0].tolist():
        if radius[i] > 40:
            continue  # nothing is in reach within the box
        margins = scores[i, y[i]] - scores[i]
        found = []
        for other in set(range(4)) - {int(y[i])}:
            delta = cp.Variable(9)
            point = x[i].double().numpy() + delta
            size = cp.norm(delta, "inf" if norm == "linf" else 2)
            asked = [size <= 1.001 * float(radius[i])]
            asked += [] if box is None else [point >= 0, point <= 1]
            g = (weight[y[i]] - weight[other]).numpy()
            fallen = cp.Problem(cp.Minimize(g @ delta), asked)
            fallen.solve(solver=cp.CLARABEL)
            found.append(float(margins[other]) + fallen.value)
        assert min(found) < 0  # broken just beyond the radius
        checked += 1
    assert checked > 20


def test_any_model_that_computes_a_linear_function_is_covered():
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3, bias=False)).double()
    weight, bias = read(model, 5)
    torch.testing.assert_close(weight, model[1].weight @ model[0].weight)
    torch.testing.assert_close(bias, model[1].weight @ model[0].bias)


def test_what_is_not_linear_is_refused():
    about, x, y = Perturbations(norm="l2", eps=(0.1,)), torch.rand(2, 5), torch.zeros(2).long()

    class Bent(nn.Linear):
        def forward(self, input):
            return super().forward(input).relu()

    with pytest.raises(Unsupported, match="does not compute what its parameters say"):
        LinearExact()(Bent(5, 3), x, y, about, torch.Generator())
    broken = nn.Linear(5, 3)
    torch.nn.init.constant_(broken.bias, torch.inf)
    with pytest.raises(WeightsError, match="'bias'"):
        LinearExact()(broken, x, y, about, torch.Generator())
