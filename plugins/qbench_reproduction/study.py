"""A reproduction from end to end: results, what is measured beside them, figures, page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from qbench.cli.progress import progress
from qbench.files import write_atomically
from qbench.protocols import load_protocol
from qbench.registry import load_registry
from qbench_claims.boards import read_boards
from qbench_claims.claim import check_names, chosen
from qbench_claims.evidence import Evidence, evidence
from qbench_reproduction import (
    curves,
    dynamics,
    frequencies,
    galleries,
    page,
    published,
    runs,
    trajectories,
)
from qbench_reproduction.figures import save
from qbench_reproduction.html import to_html
from qbench_reproduction.judging import judged
from qbench_reproduction.paper import EPS, MODELS, NAME, OURS, TITLE

FIGURES = "figures"


@dataclass(frozen=True)
class Study:
    """What to reproduce, and where.

    Args:
        out: Folder of the page, the figures and everything kept for the next call.
        archive: Results to take as they are; None to train and attack.
        published: The authors' data and checkpoints; None to leave them out.
        seeds: Of the models; the protocols' where None.
        limit: How many images are attacked; the protocols' where None.
        jobs: Processes.
        command: As it was typed, for the page.
    """

    out: Path
    archive: Path | None
    published: Path | None
    seeds: tuple[int, ...] | None
    limit: int | None
    jobs: int
    command: str

    def write(self) -> Iterator[str]:
        """Measure what is missing and write the page; yields what was written.

        Raises:
            QbenchError: Naming what is wrong with the archive, the authors' files or a plugin.
        """
        claims = chosen([f"{NAME}-"])
        check_names(claims, load_registry())
        foreign = self._published()
        if self.archive is None:
            results = runs.measured(
                self.out / "runs", seeds=self.seeds, limit=self.limit, jobs=self.jobs
            )
        else:
            results = read_boards(self.archive)
        found = {name: evidence(board) for name, board in results.items()}
        training = "" if self.archive is not None else self._training()
        for protocol, one in found.items():
            total = sum(len(one.trained(name)) for name in MODELS)
            with progress(f"perturbation patterns, {protocol}", total) as advance:
                one.make_patterns(MODELS, self.jobs, advance)
        with progress("judging", len(claims)) as advance:
            viewed = []
            for claim in claims:
                viewed += judged([claim], found)
                advance(1, claim.name)
        parts = [
            page.introduction(found, self.command),
            page.verdicts(viewed),
            *self._records(found),
            *self._patterns(found.get(OURS)),
            training,
            foreign,
            page.rules(viewed),
        ]
        markdown = "\n\n".join(filter(None, parts)) + "\n"
        for suffix, content in ((".md", markdown), (".html", to_html(markdown, TITLE))):
            path = self.out / f"{NAME}{suffix}"
            write_atomically(path, content.encode())
            yield f"wrote {path}"

    def _published(self) -> str:
        """The authors' checkpoints, first of all: what is wrong with them is said at once."""
        if self.published is None:
            return ""
        with progress("the authors' checkpoints", published.steps(self.published)) as advance:
            found = published.evaluate_published(self.published, advance, self.limit)
        save(published.figure(found), self.out / FIGURES, "published")
        drawn = page.picture(
            "published",
            "Accuracy of the published checkpoints under attack, and their transfer matrices",
            "The authors' checkpoints on the authors' images: accuracy under attack against ε, and "
            "accuracy of model j on images made for model i.",
        )
        return f"{published.section(found)}\n\n{drawn}"

    def _training(self) -> str:
        """Trainings followed epoch by epoch, and the spectra of what they end with."""
        seeds = self.seeds or load_protocol(OURS).seeds
        with progress("training", trajectories.steps(seeds)) as advance:
            trained = trajectories.run(
                self.out / "trajectories", seeds=seeds, jobs=self.jobs, advance=advance
            )
        images = min(self.limit or dynamics.IMAGES, dynamics.IMAGES)
        with progress("attacking along the training", dynamics.steps(trained)) as advance:
            moved = dynamics.run(
                self.out / "dynamics", trained, jobs=self.jobs, advance=advance, images=images
            )
        with progress("frequencies", frequencies.steps(trained)) as advance:
            spectra = frequencies.run(
                self.out / "frequencies", trained, jobs=self.jobs, advance=advance, images=images
            )
        folder = self.out / FIGURES
        dynamics.draw(moved, folder)
        frequencies.draw(spectra, folder)
        return "\n\n".join(
            [
                "## Training, epoch by epoch",
                trajectories.section_trajectories(trained),
                "### Robustness along the training",
                dynamics.section_dynamics(moved),
                "## The frequencies of a circuit",
                frequencies.section_frequencies(spectra),
            ]
        )

    def _records(self, found: Mapping[str, Evidence]) -> Iterator[str]:
        """Figures 11, 2, 4, 5, 6 and Table I."""
        folder = self.out / FIGURES
        ours = found.get(OURS)
        if ours is not None:
            save(curves.training(ours), folder, "fig11")
            yield page.section(
                "fig11",
                "Figure 11: training",
                [
                    page.picture(
                        "fig11",
                        "Test accuracy per epoch",
                        "Accuracy on the test images after each epoch: the line is the mean over "
                        "seeds, the band reaches from the lowest to the highest. Dotted: 99 %, and "
                        "ten epochs.",
                    )
                ],
            )
        save(curves.accuracy(found), folder, "fig2")
        yield page.section(
            "fig2",
            "Figure 2: accuracy under attack",
            [
                page.picture(
                    "fig2",
                    "Accuracy under attack against the budget",
                    "Accuracy under attack against the budget ε, one panel a way of looking; ε = 0 "
                    "is clean. Points are means over seeds, bars one standard deviation; hollow "
                    "markers and dotted lines: 100 epochs.",
                ),
                page.accuracies(found),
            ],
        )
        yield page.section("table1", "Table I: Lipschitz bounds", [_BOUNDS, page.table_one(found)])
        save(curves.transfer_matrices(found), folder, "fig4")
        yield page.section(
            "fig4",
            "Figure 4: transfer",
            [
                page.picture(
                    "fig4",
                    "Transfer matrices",
                    f"Accuracy of model j (column) on images that PGD at ε = {EPS:g} made for "
                    "model i (row), of images that j classifies correctly clean; on the diagonal "
                    "the attack on the model itself. Means over seeds.",
                )
            ],
        )
        save(curves.regularised_transfer(found), folder, "fig5-6")
        yield page.section(
            "fig56",
            "Figures 5 and 6: regularisation and transfer",
            [
                page.picture(
                    "fig5-6",
                    "Transfer between the Fourier network and circuits against regularisation",
                    "Above: accuracy of re-uploading circuits on images made for the Fourier "
                    "network. Below: accuracy of the Fourier network on images made for these "
                    "circuits. Small dots are seeds, large ones their mean with one standard "
                    "deviation.",
                )
            ],
        )

    def _patterns(self, ours: Evidence | None) -> Iterator[str]:
        """Figures 3 and 7, and the patterns in numbers."""
        if ours is None:
            return
        dataset, folder = ours.dataset, self.out / FIGURES
        if dataset.image_shape is None:
            return
        first = [one for name in MODELS for one in ours.trained(name) if one.seed == galleries.SEED]
        examples = galleries.examples(dataset, load_protocol(OURS), first)
        write_atomically(self.out / "patterns.csv", page.pattern_values(ours).encode())
        numbers = page.pattern_numbers(ours)
        if not examples:
            return
        save(galleries.perturbed(dataset, examples), folder, "fig3")
        save(galleries.patterns(dataset, examples), folder, "fig7")
        yield page.section(
            "fig3",
            "Figure 3: perturbed images",
            [
                page.picture(
                    "fig3",
                    "Perturbed images",
                    f"One test image a class, and what PGD at ε = {EPS:g} makes of it for each "
                    f"model (seed {galleries.SEED}). Below each image the class that the model "
                    "gives it, red where it is wrong.",
                )
            ],
        )
        yield page.section(
            "fig7",
            "Figure 7: perturbation patterns",
            [
                page.picture(
                    "fig7",
                    "Perturbation patterns beside gradients and SmoothGrad",
                    "For the same images: the perturbation δ, minus the gradient of the label's "
                    "margin, and minus SmoothGrad; red is added to a pixel, blue taken away, each "
                    "picture scaled to its largest value.",
                ),
                numbers,
            ],
        )


_BOUNDS = (
    "For a circuit the paper's number is Σ over gates of ‖w‖₂, the norm of the three weights of a "
    "gate; for the convolutional network the product of the spectral norms of its two layers, and "
    "for the Fourier network the optimum of LipSDP-Neuron. The bounds are of other quantities in "
    "each family, so they are compared within a family and not across."
)
