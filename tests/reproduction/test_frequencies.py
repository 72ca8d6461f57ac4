"""The frequency picture: expansions are exact, surrogates are fitted, attacked and reported."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from qbench.api import load_model
from qbench.datasets.base import load_data
from qbench.errors import Unsupported
from qbench.evaluation.crafting import craft
from qbench.protocols import load_protocol
from qbench.registry import load_registry
from qbench_classical.models import Fourier
from qbench_quantum.models import ReUpload
from qbench_reproduction import frequencies, kept, spectrum, trajectories
from qbench_reproduction.frequencies import draw, section_frequencies, steps
from qbench_reproduction.frequencies_figure import series, spectra, surrogates
from qbench_reproduction.portraits import Frequencies, Portrait, Sitting
from qbench_reproduction.spectrum import EDGES, Spectrum, coefficients, expanded
from qbench_reproduction.surrogate import Fit, RandomFeatures, compare, fit, perturbed, sampled

POINTS = 64  # of a period; the largest frequency is 13


def silent(steps: int, label: str) -> None:
    pass


@pytest.fixture
def small():
    """A circuit of 2 qubits that reads 4 features thrice, with the weights 1, 3 and 9.

    Every frequency from -13 to 13 is then one sum of signed weights.
    """
    torch.manual_seed(0)
    model = ReUpload(qubits=2, layers=2, classes=2, features=4).double()
    with torch.no_grad():
        model.theta.copy_(6 * torch.rand(model.theta.shape))
        model.w.copy_(torch.tensor([1.0, 3.0, 9.0]).repeat_interleave(4).view_as(model.w))
    return model


def along(model: nn.Module, x: torch.Tensor, pixel: int) -> np.ndarray:
    """Scores (POINTS, classes) of an image (features,) over one period of a pixel."""
    moved = x.double().repeat(POINTS, 1)
    moved[:, pixel] += 2 * np.pi * torch.arange(POINTS, dtype=torch.float64) / POINTS
    with torch.no_grad():
        return model(moved).numpy()


def test_coefficients_are_those_of_a_fourier_transform_along_the_pixel(small):
    x = torch.rand(2, 4)
    found, omega = coefficients(small, x), spectrum.frequencies(small)
    assert sorted(omega[0].round().int().tolist()) == list(range(-13, 14))
    for image in range(2):
        for pixel in range(4):
            by_frequency = np.fft.fft(along(small, x[image], pixel), axis=0) / POINTS
            order = omega[pixel].round().int().numpy() % POINTS
            assert found[image, pixel].numpy() == pytest.approx(by_frequency[order], abs=1e-12)


def test_a_trained_circuit_has_exactly_these_frequencies():
    model = load_model("reup", seed=0).double()
    x, pixel = load_data("glyphs").test.x[:1].double(), 120
    found = coefficients(model, x, [pixel])[0, 0]
    t = torch.linspace(-30, 30, 41, dtype=torch.float64)
    moved = x.repeat(len(t), 1)
    moved[:, pixel] += t
    with torch.no_grad():
        scores = model(moved)
    omega = spectrum.frequencies(model)[pixel]
    assert float((expanded(omega, found, t) - scores).abs().max()) < 1e-10
    assert float(scores.std(0).max()) > 0.05
    assert float((expanded(1.01 * omega, found, t) - scores).abs().max()) > 1e-3


def test_power_and_slope_are_mean_squares_along_the_pixels(small):
    x, images = torch.rand(2, 4), torch.rand(50, 4)
    found = spectrum.spectrum(small, x, images, seed=0)
    with torch.no_grad():
        unit = small(images.double()).numpy().var(0).sum()
    scores = np.stack([along(small, one, pixel) for one in x for pixel in range(4)])
    assert sum(found.power) == pytest.approx(scores.var(1).sum(1).mean() / unit)
    wave = np.fft.fftfreq(POINTS, 1 / POINTS)[:, None]
    slopes = np.fft.ifft(1j * wave * np.fft.fft(scores, axis=1), axis=1).real
    assert sum(found.slope) == pytest.approx((slopes**2).mean(1).sum(1).mean() / unit)
    assert found.largest == pytest.approx(13)
    assert found.deviation < 1e-12
    # Frequencies 9 and beyond; the axis ends at 10, and its last bin has the rest.
    high = (np.abs(np.fft.fft(scores, axis=1) / POINTS) ** 2)[:, np.abs(wave[:, 0]) > 6.4]
    last = sum(p for p, edge in zip(found.power, EDGES, strict=False) if edge > 6.3)
    assert last == pytest.approx(high.sum((1, 2)).mean() / unit)


def test_a_wrong_expansion_is_noticed(small, monkeypatch):
    right = spectrum.frequencies
    monkeypatch.setattr(spectrum, "frequencies", lambda model: 1.1 * right(model))
    assert spectrum.spectrum(small, torch.rand(2, 4), torch.rand(9, 4), 0).deviation > 1e-3


def test_the_fourier_network_has_the_frequencies_of_its_weights():
    torch.manual_seed(0)
    network, images = Fourier(features=3, neurons=2, classes=4), torch.rand(20, 3)
    with torch.no_grad():
        network.frequencies.weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [-2.0, 5.0, 4.0]]))
    found = spectrum.spectrum(network, images[:1], images, seed=0)
    exact = network.double()
    scores = np.stack([along(exact, images[0], pixel) for pixel in range(3)])
    with torch.no_grad():
        unit = exact(images.double()).numpy().var(0).sum()
    assert sum(found.power) == pytest.approx(scores.var(1).sum(1).mean() / unit)
    assert found.largest == 5


def test_models_without_known_frequencies_are_refused():
    with pytest.raises(Unsupported, match="Linear has no known frequencies"):
        spectrum.spectrum(nn.Linear(4, 2), torch.rand(2, 4), torch.rand(2, 4), 0)
    uneven = ReUpload(qubits=2, layers=2, classes=2, features=5)
    with pytest.raises(Unsupported, match="12 rotations read 5 features"):
        spectrum.spectrum(uneven, torch.rand(2, 5), torch.rand(2, 5), 0)


def test_sampled_frequencies_follow_the_power(small):
    x = torch.rand(3, 4)
    drawn = sampled(small, x, 4000, torch.Generator().manual_seed(0)).round().int()
    power = np.stack([along(small, one, 2) for one in x])
    power = (np.abs(np.fft.fft(power, axis=1) / POINTS) ** 2).sum(2).mean(0)
    for k in range(-13, 14):
        wanted = power[k % POINTS] / power.sum()
        share = float((drawn[2] == k).double().mean())
        assert share == pytest.approx(wanted, abs=4 * np.sqrt(wanted / 4000) + 1e-4)


def test_a_sum_of_waves_is_found_again():
    generator = torch.Generator().manual_seed(0)
    omega = torch.randn(8, 5, generator=generator)
    target = RandomFeatures(omega, torch.randn(10, 3, generator=generator))
    found = fit(target, torch.rand(20000, 8, generator=generator), omega.double())
    assert found.amplitudes.detach() == pytest.approx(target.amplitudes.detach(), abs=0.02)


def test_perturbed_images_stay_in_the_ball_and_the_box():
    x = load_data("glyphs").train.x[:20]
    found = perturbed(x, 2, torch.Generator().manual_seed(0))
    assert torch.equal(found[:20], x)
    moved = (found[20:] - x.repeat(2, 1)).abs()
    assert found.shape == (60, 256)
    assert float(moved.max()) == pytest.approx(0.1)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert not torch.equal(found[20:40], found[40:])


def test_a_model_is_like_itself_and_its_attack_is_white_box():
    model, data = load_model("fourier", seed=0), load_data("glyphs")
    r2, agreement, gradient, accuracy = compare(model, model, data, 40, 3)
    assert (r2, agreement, gradient) == (1.0, 1.0, pytest.approx(1.0))
    protocol, x, y = load_protocol("glyphs-linf-v1"), data.test.x[:40], data.test.y[:40]
    attack = load_registry().get("attack", "pgd").create(**protocol.attack_params("pgd", 0.1))
    x_adv = craft(attack, model, x, y, protocol.threat_model(0.1), 3).x_adv
    with torch.no_grad():
        assert accuracy == float((model(x_adv).argmax(1) == y).double().mean())
    other = load_model("convnet", seed=0)
    r2, _, gradient, transferred = compare(other, model, data, 40, 3)
    assert r2 < 0.9
    assert gradient < 0.9
    assert transferred > accuracy


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return trajectories.run(
        tmp_path_factory.mktemp("checkpoints"),
        seeds=(0, 1),
        jobs=1,
        advance=silent,
        models=("reup", "fourier"),
        epochs=(1, 2),
    )


def test_a_circuit_is_measured_with_its_surrogates(found, tmp_path, monkeypatch):
    sitting = Sitting(tmp_path / "one.json", found, "reup", 1, 2, 20, (4, 8))
    few = load_data("glyphs").test
    monkeypatch.setattr("qbench_reproduction.portraits.first_of_each", lambda x, y: few.x[:1])
    answer = frequencies.measure(pickle.loads(pickle.dumps(sitting)))  # as a process gets it
    assert kept.read(sitting.path, sitting.question()) == kept._plain(answer)
    portrait = frequencies._portrait(kept.read(sitting.path, sitting.question()))
    assert [(one.copies, one.size) for one in portrait.fits] == [(0, 4), (0, 8), (4, 4), (4, 8)]
    weights = found.training("reup", 1).state(2).weights["w"].view(3, 256)
    assert portrait.spectrum.largest == pytest.approx(float(weights.abs().sum(0).max()))
    assert portrait.spectrum.deviation < 1e-10


def test_killed_it_goes_on_and_other_weights_are_measured_anew(found, tmp_path, monkeypatch):
    about = {"jobs": 1, "advance": silent, "models": ("fourier",), "epochs": (1, 2), "images": 20}
    begun, real = [], frequencies.measure

    def stopping(sitting):
        begun.append((sitting.seed, sitting.epoch))
        if len(begun) == 3:
            raise KeyboardInterrupt
        return real(sitting)

    monkeypatch.setattr(frequencies, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        frequencies.run(tmp_path, found, **about)
    whole = frequencies.run(tmp_path, found, **about)
    assert begun == [(0, 1), (0, 2), (1, 1), (1, 1), (1, 2)]
    assert frequencies.run(tmp_path, found, **about) == whole
    assert len(begun) == 5
    assert steps(found, ("fourier",), (1, 2)) == len(whole.portraits) == 4
    assert whole.circuits == []
    assert "surrogate" not in section_frequencies(whole)
    sitting = Sitting(tmp_path / "fourier-seed0-epoch1.json", found, "fourier", 0, 1, 20, ())
    assert kept.read(sitting.path, sitting.question()) is not None
    assert kept.read(sitting.path, replace(sitting, images=21).question()) is None


def invented(accuracy: float) -> Frequencies:
    """A circuit with surrogates of two sizes; attacks on the larger leave this accuracy."""
    waves = Spectrum((0.1,) * 20, (0.2,) * 20, 0.3, 2.0, 1e-15)
    fits = tuple(
        Fit(copies, size, 0.9, 1.0, 0.5, left + 0.1 * (not copies))
        for copies in (0, 4)
        for size, left in ((16, 0.9), (64, accuracy))
    )
    portraits = {
        (model, seed, 20): Portrait(waves, 1.0, 0.2, 0.6, fits if model == "reup" else ())
        for model in ("reup", "fourier")
        for seed in (0, 1)
    }
    return Frequencies(("reup", "fourier"), (0, 1), (20,), 200, portraits)


def test_the_page_says_how_much_the_surrogates_attack_takes():
    text = section_frequencies(invented(0.4))
    assert "largest surrogate of reup take 75 % of the accuracy" in text  # (1 - 0.4) / (1 - 0.2)
    assert "62 % if not; attacks on the Fourier network take 50 %" in text
    assert "take 25 % of the accuracy" in section_frequencies(invented(0.8))
    cells = [cell.strip() for cell in text.split("|")]
    place = cells.index("perturbed too")
    assert cells[place + 4] == "0.40 ± 0.00"


def test_figures_draw_the_means(tmp_path):
    shown = invented(0.4)
    names = draw(shown, tmp_path)
    assert names == ["frequencies.png", "surrogates.png"]
    for name in names:
        assert (tmp_path / name).with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    line = spectra(shown).axes[0].lines[0]
    assert line.get_ydata() == pytest.approx(np.full(len(line.get_ydata()), 0.1 * 5))  # a decade
    axes = next(a for a in surrogates(shown).axes if "reup under attack" in a.get_title("left"))
    assert [list(line.get_ydata()) for line in axes.lines] == [
        [1.0, pytest.approx(0.5)],
        [0.9, 0.4],
        [0.2, 0.2],
        [0.6, 0.6],
    ]
    assert series(shown, "reup", 4, lambda one: one.size)[1].tolist() == [[16, 64], [16, 64]]
