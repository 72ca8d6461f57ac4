"""The spectral product: exact norms of small convolutions, and the shortcut that is no bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from qbench.errors import Unsupported, VerificationError, WeightsError
from qbench.evaluation.lipschitz import certify, largest_jacobian_norm, sample_points
from qbench.interfaces import LipschitzBound
from qbench_certificates.convnet.spectral_product import SpectralProduct, convolution_matrix
from qbench_classical.models import ConvNet, Fourier

NO_IMAGES = torch.empty(0)  # these bounds hold everywhere

SCALES = {"conv.weight": 1.0, "conv.bias": 1.0, "linear.weight": 1.0, "linear.bias": 1.0}


class ReshapedKernel:
    """The norm of the kernel reshaped to (channels, 25): what must not be used."""

    def __call__(self, model: nn.Module, x: Tensor) -> LipschitzBound:
        kernel = model.conv.weight.detach().flatten(1)
        norms = [torch.linalg.matrix_norm(m, 2) for m in (kernel, model.linear.weight.detach())]
        return LipschitzBound(lipschitz=float(norms[0] * norms[1]), scope="vector")


def _blank(side: int) -> ConvNet:
    model = ConvNet((side, side)).double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.conv.bias.fill_(100.0)  # every ReLU is open
    return model


def test_one_pixel_kernel_and_one_weight_attain_the_bound() -> None:
    model = _blank(8)
    with torch.no_grad():
        model.conv.weight[2, 0, 1, 3] = -3.0
        model.linear.weight[1, 2 * 4] = 0.5  # the first pooled pixel of channel 2
    certificate = SpectralProduct()(model, NO_IMAGES)
    assert certificate.scope == "vector"
    assert certificate.lipschitz == pytest.approx(1.5, rel=1e-9)
    image = torch.zeros(1, 64, dtype=torch.float64)
    assert largest_jacobian_norm(model, image, "vector") == pytest.approx(1.5)


def test_matrix_is_the_convolution_written_out() -> None:
    kernel = torch.randn(2, 1, 5, 5, generator=torch.Generator().manual_seed(0)).double()
    expected = np.zeros((2, 4, 4, 8, 8))
    for channel, row, column in np.ndindex(2, 4, 4):
        window = expected[channel, row, column, row : row + 5, column : column + 5]
        window[:] = kernel[channel, 0].numpy()
    matrix = convolution_matrix(kernel, (8, 8)).numpy()
    np.testing.assert_array_equal(matrix, expected.reshape(32, 64))
    # A convolution that wraps around is diagonal in Fourier space, and has more outputs.
    transform = np.abs(np.fft.fft2(kernel[:, 0].numpy(), (8, 8)))
    wrapped = np.sqrt((transform**2).sum(0)).max()
    assert np.linalg.norm(matrix, 2) <= wrapped
    assert wrapped < 1.5 * np.linalg.norm(matrix, 2)


def test_overlapping_windows_of_ones_are_steeper_than_the_reshaped_kernel() -> None:
    # Each output sums 25 pixels and neighbours share 20 of them: raising all pixels raises all.
    model = _blank(8)
    with torch.no_grad():
        model.conv.weight[0] = 1.0
        model.linear.weight[0, :4] = 1.0
    slope = largest_jacobian_norm(model, torch.zeros(1, 64, dtype=torch.float64), "vector")
    assert slope > ReshapedKernel()(model, NO_IMAGES).lipschitz * 1.4
    assert slope <= SpectralProduct()(model, NO_IMAGES).lipschitz


@settings(max_examples=40, deadline=None)
@given(side=st.integers(6, 9), bias=st.floats(0, 3), seed=st.integers(0, 2**31))
def test_no_slope_exceeds_the_bound(side, bias, seed, largest_slope, randomise) -> None:
    model = randomise(ConvNet((side, side)), seed, SCALES | {"conv.bias": bias})
    bound = SpectralProduct()(model, NO_IMAGES).lipschitz
    generator = torch.Generator().manual_seed(seed)
    points = sample_points(torch.rand(4, side**2, dtype=torch.float64), generator, 60)
    assert largest_jacobian_norm(model, points, "vector") <= bound * (1 + 1e-9)
    assert largest_slope(model, side**2, "vector", seed) <= bound * (1 + 1e-9)


def test_weights_that_are_not_finite_are_named() -> None:
    model = _blank(8)
    with torch.no_grad():
        model.linear.bias[3] = math.nan
    with pytest.raises(WeightsError, match=r"parameter 'linear\.bias' of ConvNet"):
        SpectralProduct()(model, NO_IMAGES)


def test_other_models_are_unsupported() -> None:
    with pytest.raises(Unsupported, match=r"Fourier has no parameter 'conv\.weight'"):
        SpectralProduct()(Fourier(), NO_IMAGES)

    class Louder(ConvNet):
        def forward(self, x: Tensor) -> Tensor:
            return 3 * super().forward(x)

    with pytest.raises(Unsupported, match="Louder does not compute what its parameters say"):
        SpectralProduct()(Louder(), NO_IMAGES)
    model = ConvNet()
    model.conv = nn.Conv2d(2, 6, 5)
    with pytest.raises(Unsupported, match="does not convolve one-channel images"):
        SpectralProduct()(model, NO_IMAGES)


def test_published_checkpoint(load_published, published_images) -> None:
    model = load_published(ConvNet(), "ConvNet-single-layer-0_0reg-ep20")
    generator = torch.Generator().manual_seed(0)
    certificate, sampled, _ = certify(SpectralProduct(), model, published_images, generator)
    assert certificate.lipschitz == pytest.approx(20.24, abs=0.005)  # Table I of the paper
    assert 7.0 < sampled < certificate.lipschitz
    # The reshaped kernel's product is below a gradient on real images, and the check says so.
    assert ReshapedKernel()(model, NO_IMAGES).lipschitz == pytest.approx(4.60, abs=0.005)
    assert largest_jacobian_norm(model, published_images, "vector") > 7.0
    with pytest.raises(VerificationError, match="ReshapedKernel"):
        certify(ReshapedKernel(), model, published_images, generator)
