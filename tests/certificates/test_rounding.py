"""What evaluation in float32 takes from margins is paid for: no class flips within a radius."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from qbench.circuits.torch_engine import TorchEngine
from qbench.errors import Unsupported, VerificationError
from qbench.evaluation.radii import certify_images
from qbench.evaluation.scoring import margins
from qbench.geometry import ascent_direction, distance, project
from qbench.interfaces import RadiusCertifier
from qbench.specs import Norm, Perturbations, ThreatModel
from qbench_certificates.amplitude import rounding as amplitude
from qbench_certificates.amplitude.exact import AmplitudeExact
from qbench_certificates.amplitude.shor import AmplitudeShor
from qbench_certificates.convnet import rounding as convnet
from qbench_certificates.convnet.linear import Linear as Planes
from qbench_certificates.convnet.network import WindowNetwork
from qbench_certificates.convnet.spectral_pair import LocalSlope
from qbench_certificates.fourier import rounding as fourier
from qbench_certificates.fourier.linear import Linear as Lines
from qbench_certificates.fourier.lipschitz import LipschitzRadius
from qbench_certificates.fourier.network import SineNetwork
from qbench_certificates.fourier.quadratic import Quadratic
from qbench_certificates.reupload.circuit_fidelity import CircuitFidelity
from qbench_certificates.reupload.circuit_taylor_1 import CircuitTaylor1
from qbench_certificates.reupload.circuit_taylor_2 import CircuitTaylor2
from qbench_certificates.reupload.gates import read_gates
from qbench_certificates.reupload.region import region
from qbench_certificates.reupload.rounding import region_rounding
from qbench_certificates.rounding import Precision
from qbench_classical.models import ConvNet, Fourier
from qbench_quantum.models import Amplitude, ReUpload, SplitReUpload

BOX = (0.0, 1.0)


def shifted_convnet(shift: float) -> nn.Module:
    """`shift` is added to every output of the convolution, and taken out by the linear layer."""
    torch.manual_seed(1)
    model = ConvNet((8, 8), classes=3)
    with torch.no_grad():
        nn.init.normal_(model.conv.weight, std=2.0)
        nn.init.normal_(model.linear.weight, std=0.3)
        model.conv.bias += shift
        model.linear.bias -= (shift * model.linear.weight.double().sum(1)).float()
    return model


def cancelling_fourier(size: float) -> nn.Module:
    """Two cosines of a frequency that is 0, of amplitudes `size` and −`size` in the scores."""
    torch.manual_seed(1)
    model = Fourier(features=24, neurons=16, classes=3)
    with torch.no_grad():
        for layer in (model.frequencies, model.sine, model.cosine):
            nn.init.normal_(layer.weight, std=0.3)
        model.frequencies.weight[[0, 9]] = 0
        model.cosine.weight[:, 0], model.cosine.weight[:, 9] = size, -size
    return model


def turned_circuit(size: float, split: bool = False) -> nn.Module:
    """Angles of about `size`, most of which is full turns."""
    torch.manual_seed(1)
    model = SplitReUpload(4, 4, 3, 24) if split else ReUpload(4, 6, 3, 24)
    with torch.no_grad():
        nn.init.normal_(model.w, std=0.7)
        nn.init.normal_(model.theta, std=size)
    return model


def deep_amplitude() -> nn.Module:
    torch.manual_seed(1)
    model = Amplitude(layers=40, classes=3, features=16)
    nn.init.normal_(model.theta, std=2.0)
    return model


def close_images(model: nn.Module, features: int, scale: float = 1.0) -> Tensor:
    """Images at many distances from where the class changes between two others, from 1e-7 on."""
    x = torch.rand(24, features, generator=torch.Generator().manual_seed(3))
    x, exact = scale * (1.4 * x - 0.2).clamp(0, 1).double(), copy.deepcopy(model).double()
    found = []
    with torch.no_grad():
        y = exact(x).argmax(1)
        for start, end in itertools.combinations(range(len(x)), 2):
            if y[start] == y[end] or len(found) >= 36:
                continue
            low, high = 0.0, 1.0
            for _ in range(40):
                middle = (low + high) / 2
                same = exact(torch.lerp(x[start], x[end], middle)[None]).argmax(1) == y[start]
                low, high = (middle, high) if bool(same) else (low, middle)
            shares = low * (1 - torch.logspace(-7, -0.5, 6, dtype=torch.float64))
            found += [torch.lerp(x[start], x[end], share) for share in shares]
    assert len(found) >= 30, "all images are of one class"
    return torch.stack(found).float()


def flips(model: nn.Module, x: Tensor, y: Tensor, radius: Tensor, norm: Norm) -> int:
    """How many of many points within the images' radii lose or tie in float32."""
    generator, exact = torch.Generator().manual_seed(0), copy.deepcopy(model).double()
    found = 0
    for image, label, size in zip(x, y.tolist(), radius.tolist(), strict=True):
        if not size > 0:
            continue
        threat = ThreatModel(norm=norm, eps=size, box=BOX)
        centre = image.double()[None].requires_grad_()
        scores = exact(centre)
        for other in range(scores.shape[1]):
            if other == label:
                continue
            margin = scores[0, label] - scores[0, other]
            (slope,) = torch.autograd.grad(margin, centre, retain_graph=True)
            noise = torch.randn(100, len(image), generator=generator).double()
            away = ascent_direction(-slope + 0.3 * slope.norm() * noise / len(image) ** 0.5, norm)
            share = 2 * torch.rand(100, 1, generator=generator).double()
            start = image.expand(100, -1)
            tries = project((image.double() + size * share * away).float(), start, threat)
            assert bool((distance(tries, start, norm) <= size).all())
            with torch.no_grad():
                labels = torch.full((len(tries),), label)
                found += int((margins(model(tries), labels) <= 0).sum())
    return found


Case = tuple[Callable[[], nn.Module], int, float, dict[type[RadiusCertifier], Norm]]
CASES: dict[str, Case] = {
    "convnet-1e3": (lambda: shifted_convnet(1e3), 64, 1, {Planes: "linf", LocalSlope: "l2"}),
    "convnet-1e4": (lambda: shifted_convnet(1e4), 64, 1, {Planes: "linf", LocalSlope: "l2"}),
    "fourier": (
        lambda: cancelling_fourier(3e3),
        24,
        1,
        {Lines: "linf", Quadratic: "l2", LipschitzRadius: "l2"},
    ),
    "circuit": (
        lambda: turned_circuit(1e3),
        24,
        1,
        {CircuitTaylor1: "linf", CircuitTaylor2: "linf", CircuitFidelity: "l2"},
    ),
    "split-circuit": (lambda: turned_circuit(1e3, True), 24, 1, {CircuitTaylor2: "l2"}),
    "amplitude": (deep_amplitude, 16, 1, {AmplitudeExact: "l2", AmplitudeShor: "linf"}),
    "amplitude-tiny": (deep_amplitude, 16, 1e-16, {AmplitudeExact: "l2"}),
}
ALL = [(name, one) for name, (*_, certifiers) in CASES.items() for one in certifiers]
NAMES = [f"{name}-{certifier.__name__}" for name, certifier in ALL]
# These two leave more than rounding takes.
TIGHT = [pair for pair in ALL if pair[1] not in (LipschitzRadius, CircuitFidelity)]


def certified(name: str, certifier: type[RadiusCertifier]) -> tuple[int, int]:
    """How many images have a radius, and how many points within these flip."""
    make, features, scale, certifiers = CASES[name]
    model, norm = make(), certifiers[certifier]
    x = close_images(model, features, scale)
    with torch.no_grad():
        y = model(x).argmax(1)
        decided = margins(model(x), y) > 0
    x, y = x[decided], y[decided]
    budgets = tuple((scale * torch.logspace(-7, 0, 15, dtype=torch.float64)).tolist())
    about = Perturbations(norm=norm, eps=budgets, box=BOX)
    found, _ = certify_images(certifier(), model, x, y, about, torch.Generator())
    return int((found.radius > 0).sum()), flips(model, x, y, found.radius, norm)


@pytest.mark.parametrize(("name", "certifier"), ALL, ids=NAMES)
def test_no_class_flips_within_a_radius(name: str, certifier: type[RadiusCertifier]) -> None:
    images, found = certified(name, certifier)
    assert found == 0
    assert images >= 5


@pytest.mark.parametrize(("name", "certifier"), TIGHT)
def test_classes_do_flip_where_rounding_is_not_paid_for(
    name: str, certifier: type[RadiusCertifier]
) -> None:
    with mock.patch.object(Precision, "of", return_value=Precision(1e-30, 0.0)):
        try:
            _, found = certified(name, certifier)
        except VerificationError:  # one is misclassified where it is, and yet certified
            found = 1
    assert found > 0


def differences(model: nn.Module, points: Tensor) -> Tensor:
    """What evaluation in the model's precision does to every margin, (n, classes, classes)."""
    with torch.no_grad():
        rounded, exact = model(points).double(), copy.deepcopy(model).double()(points.double())
    error = rounded - exact
    return (error[:, :, None] - error[:, None]).abs()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("name", CASES)
def test_the_bound_is_above_every_difference_and_not_far(name: str, norm: Norm) -> None:
    make, features, scale, _ = CASES[name]
    model = make()
    x = scale * torch.rand(6, features, generator=torch.Generator().manual_seed(0))
    size = torch.full((6,), 0.1 * scale, dtype=torch.float64)
    about, image = Perturbations(norm=norm, eps=(0.1,), box=BOX), torch.arange(6)
    threat = ThreatModel(norm=norm, eps=0.1 * scale, box=BOX)
    noise = torch.randn(300, 6, features, generator=torch.Generator().manual_seed(1))
    tries = torch.stack([project(x + scale * one, x, threat) for one in noise])
    found = differences(model, tries.flatten(0, 1)).unflatten(0, (300, 6)).amax(0)
    exact, label, other = x.double(), torch.zeros_like(image), torch.ones_like(image)
    if isinstance(model, ConvNet):
        bound = convnet.margin_rounding(model, WindowNetwork.read(model), exact, about)
        allowed = bound(image, label, other, size)
    elif isinstance(model, Fourier):
        bound = fourier.margin_rounding(model, SineNetwork.read(model), exact, about)
        allowed = bound(image, label, other, size)
    elif isinstance(model, Amplitude):
        allowed = torch.full_like(size, amplitude.margin_rounding(model))
        # The error of the norm scales all scores, and is not part of it.
        found = found - 1e-3 * (scale < 1)
    else:
        allowed = region_rounding(model, read_gates(model))(region(exact, size, about))
    pair = found[:, 0, 1]
    assert bool((pair <= allowed).all())
    assert bool((allowed <= 1000 * pair.max()).all()) or scale < 1


def test_the_torch_engine_rounds_in_its_own_way_and_others_are_refused() -> None:
    model = turned_circuit(1.0)
    x = torch.rand(20, 24, generator=torch.Generator().manual_seed(0))
    inside = region(x.double(), torch.zeros(20).double(), Perturbations(norm="l2", eps=(0.1,)))
    own = region_rounding(model, read_gates(model))(inside)
    model.engine = TorchEngine()
    dense = region_rounding(model, read_gates(model))(inside)
    assert bool((differences(model, x).amax((1, 2)) <= dense).all())
    assert bool((own < dense).all())
    bound = region_rounding(model, read_gates(model))
    model.engine = object()
    with pytest.raises(Unsupported, match="how object rounds is not known"):
        bound(inside)


def test_a_number_in_float64_is_paid_for_in_float64() -> None:
    model = turned_circuit(1.0)
    x = torch.rand(4, 24, generator=torch.Generator().manual_seed(0)).double()
    inside = region(x, torch.zeros(4).double(), Perturbations(norm="l2", eps=(0.1,)))
    single = region_rounding(model, read_gates(model))(inside)
    model.double()
    double = region_rounding(model, read_gates(model))(inside)
    assert bool((double < 1e-7 * single).all())


def test_weights_that_cancel_count_each() -> None:
    # Two reads of the only feature by the same rotation: w − w, which is exact 0.
    model = SplitReUpload(2, 1, 2, features=6, reads=2)
    with torch.no_grad():
        model.w[0], model.w[1] = 1e5, -1e5
    x = torch.full((1, 6), 0.5).double()
    inside = region(x, torch.zeros(1).double(), Perturbations(norm="l2", eps=(0.1,)))
    gates = read_gates(model)
    assert bool((gates.reading == 0).all())
    assert float(region_rounding(model, gates)(inside)) > 6 * 1e5 * 0.5 * 2**-24


def test_images_whose_squares_vanish_have_no_radius() -> None:
    model, x = deep_amplitude(), torch.full((1, 16), 1e-20)
    with torch.no_grad():
        y = model(torch.ones(1, 16)).argmax(1)
    about = Perturbations(norm="l2", eps=(1e-21,), box=BOX)
    assert float(AmplitudeExact()(model, x, y, about, torch.Generator()).radius) == 0
