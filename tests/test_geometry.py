import torch
from hypothesis import given
from hypothesis import strategies as st

from qbench.geometry import ascent_direction, distance, project, random_start
from qbench.specs import ThreatModel

budgets = st.floats(0, 2, allow_nan=False) | st.sampled_from([1e-9, 1e-7, 0.05, 0.1, 0.2])
norms = st.sampled_from(["linf", "l2"])


def images(seed: int, n: int = 8, features: int = 31) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(n, features, generator=generator)
    return x, x + 3 * torch.randn(n, features, generator=generator)


@given(norms, budgets, st.integers(0, 1000), st.booleans())
def test_a_projected_point_is_inside_ball_and_box_to_the_last_bit(norm, eps, seed, boxed):
    x, far = images(seed)
    threat = ThreatModel(norm=norm, eps=eps, box=(0, 1) if boxed else None)
    for point in (project(far, x, threat), random_start(x, threat, torch.Generator())):
        assert bool((distance(point, x, norm) <= eps).all())
        if boxed:
            assert 0 <= point.min() <= point.max() <= 1


@given(norms, st.floats(1e-3, 1), st.integers(0, 1000))
def test_a_point_inside_stays_where_it_is(norm, eps, seed):
    x, far = images(seed)
    inside = x + (far - x) / distance(far, x, norm).float()[:, None] * eps * 0.999
    threat = ThreatModel(norm=norm, eps=eps, box=None)
    torch.testing.assert_close(project(inside, x, threat), inside, atol=1e-6, rtol=0)


def test_linf_projection_is_the_nearest_point_of_box_and_ball():
    x = torch.tensor([[0.5, 0.05, 0.9]])
    far = torch.tensor([[0.9, -0.3, 0.95]])
    threat = ThreatModel(norm="linf", eps=0.2)
    # moved by at most 0.2; never below 0; what is inside already is kept
    torch.testing.assert_close(project(far, x, threat), torch.tensor([[0.7, 0.0, 0.95]]))


def test_l2_projection_without_a_box_scales_to_the_radius():
    x, far = torch.zeros(1, 2), torch.tensor([[3.0, 4.0]])
    threat = ThreatModel(norm="l2", eps=1.0, box=None)
    torch.testing.assert_close(project(far, x, threat), torch.tensor([[0.6, 0.8]]))


def test_random_starts_fill_the_ball():
    x = torch.full((4000, 2), 0.5)
    generator = torch.Generator().manual_seed(0)
    square = random_start(x, ThreatModel(norm="linf", eps=0.1), generator) - x
    disc = random_start(x, ThreatModel(norm="l2", eps=0.1), generator) - x
    # uniform: half of the area lies within 0.1/√2, in each coordinate of the square and of the disc
    assert abs((square.abs().amax(1) < 0.1 / 2**0.5).float().mean() - 0.5) < 0.03
    assert abs((disc.norm(dim=1) < 0.1 / 2**0.5).float().mean() - 0.5) < 0.03


def test_ascent_directions_are_unit_steps():
    gradient = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    torch.testing.assert_close(
        ascent_direction(gradient, "linf"), torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    )
    torch.testing.assert_close(
        ascent_direction(gradient, "l2"), torch.tensor([[0.6, -0.8], [0.0, 0.0]])
    )
