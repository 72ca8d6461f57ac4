"""The frequency picture: what trained circuits use along a pixel, and a classical surrogate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from qbench.evaluation.parallel import Advance
from qbench.records.statistics import mean_std
from qbench.report.text import escape, listed, table
from qbench_claims.patterns import EPS
from qbench_reproduction import kept
from qbench_reproduction.figures import save
from qbench_reproduction.frequencies_figure import series, spectra, surrogates
from qbench_reproduction.portraits import BASE, COPIES, Frequencies, Portrait, Sitting, measure
from qbench_reproduction.spectrum import Spectrum
from qbench_reproduction.surrogate import Fit
from qbench_reproduction.trajectories import Trajectories

MODELS = ("reup", "reup-0.1", "reup-0.2", "fourier")
EPOCHS = (20, 100)  # of the spectra; surrogates are of the first one
IMAGES = 100
SIZES = (16, 64, 256, 1024)
SPECTRA, SURROGATES = "frequencies", "surrogates"


def steps(
    found: Trajectories, models: Sequence[str] = MODELS, epochs: Sequence[int] = EPOCHS
) -> int:
    """Checkpoints that are measured, for a progress bar."""
    return len(models) * len(found.seeds) * len(epochs)


def run(
    folder: Path,
    found: Trajectories,
    *,
    jobs: int,
    advance: Advance,
    models: Sequence[str] = MODELS,
    epochs: Sequence[int] = EPOCHS,
    images: int = IMAGES,
    sizes: Sequence[int] = SIZES,
) -> Frequencies:
    """Measure every checkpoint; what the folder holds of the same weights is read.

    Killed at any moment, the next call goes on.

    Args:
        folder: Of the results, one JSON file a model, seed and epoch.
        found: Finished trainings, of the Fourier network too.
        jobs: Processes.
        advance: Told of every checkpoint.
        models: Re-uploading circuits, and the Fourier network.
        epochs: Of the spectra; surrogates are fitted to circuits after the first one.
        images: How many test images are attacked.
        sizes: Numbers of frequencies of the surrogates.

    Raises:
        WeightsError: A checkpoint is missing or damaged.
        StoreError: The folder cannot be read or written, or a process dies.
        Unsupported: A model has no known frequencies.
        VerificationError: An attack returns nothing valid.
    """
    work = [
        Sitting(
            folder / f"{model}-seed{seed}-epoch{epoch}.json",
            found,
            model,
            seed,
            epoch,
            images,
            tuple(sizes) if epoch == epochs[0] and model != BASE else (),
        )
        for model in models
        for seed in found.seeds
        for epoch in epochs
    ]
    portraits: dict[tuple[str, int, int], Portrait] = {}
    for one, answer, there in kept.answers(measure, work, jobs):
        portraits[one.model, one.seed, one.epoch] = _portrait(answer)
        what = "on record" if there else "measured"
        advance(1, f"{one.model} seed {one.seed}, epoch {one.epoch}: {what}")
    return Frequencies(tuple(models), found.seeds, tuple(epochs), images, portraits)


def _portrait(answer: Mapping[str, Any]) -> Portrait:
    waves = answer["spectrum"]
    waves = {**waves, "power": tuple(waves["power"]), "slope": tuple(waves["slope"])}
    surrogates = tuple(Fit(**values) for values in answer["fits"])
    return Portrait(**{**answer, "spectrum": Spectrum(**waves), "fits": surrogates})


def draw(found: Frequencies, folder: Path) -> list[str]:
    """Save the spectra, and the surrogates; the PNGs' names."""
    names = [save(spectra(found), folder, SPECTRA)]
    if found.circuits:
        names.append(save(surrogates(found), folder, SURROGATES))
    return names


def section_frequencies(found: Frequencies) -> str:
    """Markdown: the spectra of trained models, and what surrogates of the circuits tell."""
    deviation = max(one.spectrum.deviation for one in found.portraits.values())
    largest = max(one.spectrum.largest for one in found.portraits.values())
    parts = [
        "Along one pixel, a score of a re-uploading circuit is a finite Fourier sum. A pixel "
        "enters a few rotations, three in these models, with the trained weights w of these "
        "rotations, and the only frequencies that the score can have are their sums with signs, "
        "Σ s·w with s = −1, 0 or 1 (Schuld, Sweke and Meyer 2021, arXiv:2008.08605): 27 with the "
        "constant. Their amplitudes follow exactly from 27 runs of the circuit. At random images, "
        "pixels and displacements of up to 10 times the pixel's range, the sum and the circuit "
        f"differ by at most {deviation:.1e} in double precision. The Fourier network is such a sum "
        "by its definition: its frequencies along a pixel are the weights of that pixel.",
        f"![Power and squared slope against the frequency](figures/{SPECTRA}.png)",
        "*Mean square of the waves (a, b) and of their slopes (c, d) per decade of |ω|, summed "
        "over the scores, in units of the scores' variance over the test images: means over all "
        "pixels and one image of each class. Lines are means over the seeds "
        f"{listed(found.seeds)}, bands ± one standard deviation.* [PDF](figures/{SPECTRA}.pdf)",
        f"The largest frequency of any model is {largest:.2f}. A pixel's whole range is 1, so a "
        "wave of |ω| below π = 3.14 does not finish half a turn within it. An attack moves every "
        "pixel by a little and uses the slope, to which a wave contributes with the square of its "
        "frequency.",
        _spectra(found),
    ]
    if found.circuits:
        parts += _about_surrogates(found)
    return "\n\n".join(parts)


def _spectra(found: Frequencies) -> str:
    rows = []
    for model in found.models:
        for epoch in found.epochs:
            waves = [one.spectrum for one in found.of(model, epoch)]
            rows.append(
                [
                    escape(model),
                    str(epoch),
                    _number([one.mean for one in waves], 3),
                    _number([one.largest for one in waves], 2),
                    _number([100 * sum(one.slope) for one in waves], 2),
                ]
            )
    head = ["model", "epoch", "mean abs. ω", "largest abs. ω", "mean squared slope, 1/100"]
    return table(head, rows, ["left", *["right"] * 4])


def _about_surrogates(found: Frequencies) -> list[str]:
    epoch, largest = found.epochs[0], max(fit.size for fit in found.fits)
    rows = []
    for model in found.circuits:
        of = found.of(model, epoch)
        for copies in COPIES:
            columns = [
                _number(series(found, model, copies, take)[1][:, -1], digits)
                for take, digits in _COLUMNS
            ]
            rows.append([escape(model), "perturbed too" if copies else "clean images", *columns])
        rows[-len(COPIES)] += [
            _number([one.white_box for one in of], 2),
            _number([one.transferred for one in of], 2),
        ]
        rows[-1] += ["", ""]
    head = [
        *("circuit", "fitted to", "R²", "equal classes", "cosine of gradients"),
        *("attack on the surrogate", "on the circuit", f"on {BASE}"),
    ]
    return [
        "A random-Fourier-features surrogate is a classical model of the same functions: a sum of "
        "D sines and cosines whose frequencies are drawn from the circuit's spectrum, and whose "
        "amplitudes are fitted to the circuit's scores by ridge regression (Landman et al. 2022, "
        "arXiv:2210.13200; Sweke et al. 2023, arXiv:2309.11647). Here each pixel's frequency is "
        "drawn with the probability that is its share of the power along that pixel. The "
        f"surrogates of the circuits after epoch {epoch} are fitted to the scores of the training "
        f"images alone, or also to {max(COPIES)} copies of each with every pixel moved by ±{EPS:g} "
        "at random. An attacker who can ask a circuit for scores can make one, and attack it with "
        "its gradients.",
        f"![Likeness of surrogates, and circuits under their attacks](figures/{SURROGATES}.png)",
        f"*Unexplained variance (a) and share of equal classes (b) on {found.images} clean test "
        "images, mean cosine of the input gradients of the label's margin (c), and accuracy of the "
        f"circuits on images that PGD at ε = {EPS:g} made for the surrogates (d to f), against the "
        f"number of frequencies. Lines are means over the seeds {listed(found.seeds)}, bands ± one "
        "standard deviation. Horizontal lines: images made for the circuit itself, and for the "
        f"Fourier network of the same seed.* [PDF](figures/{SURROGATES}.pdf)",
        " ".join(_verdict(found, model) for model in found.circuits),
        f"Surrogates with {largest} frequencies, and the accuracy of the circuits under attack:",
        table(head, rows, ["left", "left", *["right"] * 6]),
    ]


_COLUMNS: tuple[tuple[Callable[[Fit], float], int], ...] = (
    (lambda fit: fit.r2, 4),
    (lambda fit: fit.agreement, 3),
    (lambda fit: fit.gradient, 2),
    (lambda fit: fit.accuracy, 2),
)


def _verdict(found: Frequencies, model: str) -> str:
    """How much of what the attack on the circuit takes, the one on its largest surrogate takes."""
    of = found.of(model, found.epochs[0])
    clean, own, other = (
        fmean(getattr(one, what) for one in of) for what in ("clean", "white_box", "transferred")
    )
    plain, best = (
        float(series(found, model, copies, lambda fit: fit.accuracy)[1][:, -1].mean())
        for copies in (min(COPIES), max(COPIES))
    )
    if clean <= own:
        return f"The attack on {escape(model)} itself takes nothing from its accuracy."
    shares = [f"{100 * (clean - left) / (clean - own):.0f} %" for left in (best, plain, other)]
    return (
        f"Attacks on the largest surrogate of {escape(model)} take {shares[0]} of the accuracy "
        f"that the attack on the circuit itself takes if it was fitted to perturbed images too, "
        f"and {shares[1]} if not; attacks on the Fourier network take {shares[2]}."
    )


def _number(values: Iterable[float], digits: int) -> str:
    mean, spread = mean_std([float(value) for value in values])
    return f"{mean:.{digits}f}" + ("" if spread is None else f" ± {spread:.{digits}f}")
