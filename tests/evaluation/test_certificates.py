"""The certify stage: sampled Jacobians, where they are sampled, and bounds they refute."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from qbench.errors import DataError, Unsupported, UsageError, VerificationError
from qbench.evaluation.lipschitz import SAMPLES, certify, largest_jacobian_norm, sample_points
from qbench.evaluation.planner import make_plan
from qbench.evaluation.radii import RadiiTask
from qbench.evaluation.selection import RunSelection
from qbench.interfaces import LipschitzBound
from qbench_classical.models import ConvNet, Fourier


class Linear(nn.Module):
    """Scores A x with A = [[3, 4, 0], [0, 0, 2]]: row norms 5 and 2, spectral norm 5."""

    def __init__(self, rows: list[list[float]] | None = None) -> None:
        super().__init__()
        rows = rows or [[3.0, 4.0, 0.0], [0.0, 0.0, 2.0]]
        self.a = nn.Parameter(torch.tensor(rows, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.a.mT


class Claims:
    """A certifier that returns what it is told."""

    def __init__(self, lipschitz: float, scope: str = "vector") -> None:
        self.certificate = LipschitzBound(lipschitz=lipschitz, scope=scope)

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        return self.certificate


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_norms_of_a_linear_model() -> None:
    x = torch.rand(5, 3, dtype=torch.float64)
    assert largest_jacobian_norm(Linear(), x, "vector") == pytest.approx(5)
    assert largest_jacobian_norm(Linear(), x, "score") == pytest.approx(5)
    same = Linear([[3.0, 4.0], [3.0, 4.0]])  # parallel rows add up in the vector only
    x = x[:, :2]
    assert largest_jacobian_norm(same, x, "vector") == pytest.approx(5 * math.sqrt(2))
    assert largest_jacobian_norm(same, x, "score") == pytest.approx(5)


@pytest.mark.parametrize("batch", [1, 3, 7, 100])
def test_norms_are_those_of_each_input_alone(batch: int) -> None:
    model = Fourier(features=6, neurons=5, classes=3).double()
    x = 3 * torch.rand(7, 6, dtype=torch.float64)
    alone = [torch.autograd.functional.jacobian(model, row[None])[0, :, 0] for row in x]
    vector = max(float(torch.linalg.svdvals(jacobian)[0]) for jacobian in alone)
    score = max(float(jacobian.norm(dim=1).max()) for jacobian in alone)
    assert largest_jacobian_norm(model, x, "vector", batch) == pytest.approx(vector)
    assert largest_jacobian_norm(model, x, "score", batch) == pytest.approx(score)


def test_model_is_left_as_it_was_and_gradients_may_be_off() -> None:
    model, x = ConvNet((8, 8)), torch.rand(3, 64, dtype=torch.float64)
    with torch.no_grad():
        assert largest_jacobian_norm(model, x, "vector") > 0
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not x.requires_grad


def test_inputs_and_scopes_that_cannot_be_used(generator) -> None:
    for x in (torch.rand(0, 3), torch.rand(3)):
        with pytest.raises(DataError, match="expected \\(n, features\\)"):
            largest_jacobian_norm(Linear(), x, "vector")
        with pytest.raises(DataError, match="expected \\(m, features\\)"):
            sample_points(x, generator, 3)
    with pytest.raises(UsageError, match="scope 'scores'"):
        largest_jacobian_norm(Linear(), torch.rand(2, 3), "scores")


def test_scores_without_input_gradient_are_unsupported() -> None:
    class Detached(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.detach())

    class Frozen(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).detach()

    for model in (Detached(), Frozen()):
        with pytest.raises(Unsupported, match="no gradient with respect to the input"):
            largest_jacobian_norm(model, torch.rand(2, 3), "vector")


def test_points_are_the_images_then_points_of_the_box(generator) -> None:
    x = torch.rand(4, 9)
    points = sample_points(x, generator, 30)
    assert points.shape == (34, 9)
    assert points.dtype == x.dtype
    assert torch.equal(points[:4], x)
    assert 0 <= points.min() <= points.max() <= 1
    again = sample_points(x.double(), generator.manual_seed(0), 30)
    assert torch.equal(points[4:], again[4:].float())
    assert sample_points(x, generator, 1).shape == (5, 9)


def test_points_are_a_third_noise_a_third_mixtures_and_the_rest_perturbed(generator) -> None:
    # Two constant images: mixtures of them are constant, perturbed ones stay within 0.2 of one.
    x = torch.stack([torch.zeros(50), torch.ones(50)])
    noise, mixtures, perturbed = sample_points(x, generator, 90)[2:].split(30)
    assert noise.std(1).min() > 0.2
    assert mixtures.std(1).max() == pytest.approx(0, abs=1e-6)
    assert len({round(float(value), 6) for value in mixtures[:, 0]}) > 10
    from_image = torch.minimum(perturbed, 1 - perturbed)
    assert from_image.max() <= 0.2
    assert from_image.max() > 0.1
    assert perturbed.std(1).min() > 0


def test_a_true_bound_passes_with_the_norm_it_was_checked_against(generator) -> None:
    bound, sampled, points = certify(Claims(5.0), Linear(), torch.rand(4, 3), generator)
    assert bound == LipschitzBound(lipschitz=5.0, scope="vector")
    assert sampled == pytest.approx(5)
    assert points == 4 + SAMPLES


@pytest.mark.parametrize("bound", [5 * (1 - 1e-5), -6.0, math.nan, math.inf])
def test_a_wrong_bound_is_refuted_with_both_numbers(bound: float, generator) -> None:
    with pytest.raises(VerificationError, match="Claims: Jacobian norm 5 ") as raised:
        certify(Claims(bound), Linear(), torch.rand(4, 3), generator)
    assert f"{bound:.9g}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_bound_is_checked_in_its_own_scope(generator) -> None:
    same, x = Linear([[3.0, 4.0], [3.0, 4.0]]), torch.rand(4, 2)
    assert certify(Claims(5.0, "score"), same, x, generator)[1] == pytest.approx(5)
    with pytest.raises(VerificationError, match=r"norm 7\.07"):
        certify(Claims(5.0, "vector"), same, x, generator)


def test_a_gradient_that_is_not_a_number_is_no_evidence(generator) -> None:
    class Rooted(Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward((x - x).sqrt())

    with pytest.raises(VerificationError, match="norm nan"):
        certify(Claims(5.0), Rooted(), torch.rand(4, 3), generator)


def test_the_random_points_are_challenged_too(generator) -> None:
    class Kinked(nn.Module):
        """Slope 1 at the images, 10 away from them."""

        def forward(self, x: Tensor) -> Tensor:
            return torch.where(x[:, :1] > 0.5, 10 * x, x)

    images = torch.zeros(3, 2)
    assert largest_jacobian_norm(Kinked(), images, "vector") == pytest.approx(1)
    with pytest.raises(VerificationError, match="Jacobian norm 10 "):
        certify(Claims(1.0), Kinked(), images, generator)
    assert SAMPLES >= 100


@pytest.mark.parametrize(
    ("asked", "runs"),
    [
        ({}, False),
        ({"effort": "high"}, True),
        ({"certifiers": ("convnet-branching",)}, True),
        ({"certifiers": ("convnet-*",)}, False),
    ],
)
def test_a_costly_certifier_runs_with_more_effort_or_by_name(asked, runs) -> None:
    tasks = make_plan(RunSelection(models=("convnet",), attacks=(), seeds=(0,), **asked))
    methods = {task.identity.certifier.name for task in tasks if isinstance(task, RadiiTask)}
    assert ("convnet-branching" in methods) == runs


@pytest.mark.parametrize(
    ("model", "certifiers", "none"),
    [
        ("convnet", ("convnet-linear",), set()),  # others bound it, and were not asked for
        ("convnet", ("lipsdp-pair",), set()),
        ("ttn", ("convnet-linear",), {("lipschitz", None), ("radii", "linf")}),
        ("logistic", ("convnet-linear",), {("lipschitz", None)}),
        ("ttn", ("smoothing",), {("lipschitz", None)}),  # smoothing covers every model
        ("ttn", (), set()),
    ],
)
def test_only_what_no_certifier_covers_gets_a_record_that_says_so(model, certifiers, none) -> None:
    asked = {"models": (model,), "attacks": ("fgsm",), "seeds": (0,), "certifiers": certifiers}
    tasks = [task.identity for task in make_plan(RunSelection(**asked))]
    proofs = [one for one in tasks if one.kind in ("lipschitz", "radii")]
    assert {(p.kind, getattr(p, "norm", None)) for p in proofs if p.certifier is None} == none


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({"models": ("convnet",), "certifiers": ("circuit-bound",)}, r"convnet \(convnet\), only"),
        ({"models": ("ttn",), "certifiers": ("counts",), "shots": 1000}, r"ttn \(tree"),
        ({"models": ("ttn",), "certifiers": ("convnet-*",)}, None),  # nothing does: a record
        ({"models": ("convnet", "reup"), "certifiers": ("circuit-bound",)}, None),
    ],
)
def test_certifiers_that_cover_no_model_of_the_run_are_refused(asked, complaint) -> None:
    selection = RunSelection(attacks=(), seeds=(0,), **asked)
    if complaint is None:
        assert len(make_plan(selection)) > 1
        return
    with pytest.raises(UsageError, match=f"no certifier that was asked for covers .*{complaint}"):
        make_plan(selection)
