"""The page of a reproduction: every figure and claim of the paper with our numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from qbench.report.text import DASH, escape, table
from qbench_claims.claim import Quantity
from qbench_claims.evidence import Evidence, MissingError
from qbench_claims.page import comparisons
from qbench_claims.patterns import PATTERNS, of_noise
from qbench_reproduction.curves import BUDGETS, means, under_attack
from qbench_reproduction.judging import VIEWS, Viewed, sentence
from qbench_reproduction.paper import (
    AUTHORS,
    EPS,
    MODELS,
    OURS,
    REFERENCE,
    TABLE_ONE,
    THEIRS,
    TITLE,
)

_STATED = {
    "fig11": "every model reaches a validation accuracy of 99 % within ten epochs",
    "fig2": "every model, quantum or classical, falls under PGD",
    "fig3": "it shows images that were perturbed for its models",
    "fig4": "the Fourier network is the middle ground between circuits and the convolutional "
    "network; the amplitude circuit neither gives nor takes transfer",
    "fig56": "regularised circuits withstand images made for the Fourier network better, and "
    "images made for regularised circuits fool the Fourier network more",
    "fig7": "patterns of regularised circuits are less noisy, and attack patterns resemble "
    "SmoothGrad",
    "table1": "regularisation lowers the Lipschitz bound, and longer training raises it where "
    "nothing is regularised",
}


def introduction(found: Mapping[str, Evidence], command: str) -> str:
    """What the page is, and how everything on it was made."""
    seeds = sorted({seed for one in found.values() for seed in one.seeds})
    return f"""\
# {escape(TITLE)}, reproduced

This page redoes the experiments of {AUTHORS} ([{REFERENCE}](https://arxiv.org/abs/2404.16154)) and
judges what they say. It was written by `{escape(command)}`; every number on it comes from that
command.

The models are trained by the paper's recipe on the glyphs that ship with qbench, images of four
strokes (`-`, `+`, `⊢`, `⊣`) like the authors', with seeds {", ".join(map(str, seeds)) or DASH}. A
value with ± is a mean over seeds with their standard deviation. Accuracy under attack counts an
image only where the clean image is classified correctly too; the authors count attacked images
alone, which is never less.

Everything is looked at in three ways:

- **{VIEWS[0].title}** (protocol `{THEIRS}`): the first 100 permuted training images, PGD of 10 or
  20 steps of 0.01 from the image itself, the last step taken, pixels free to leave [0, 1].
- **{VIEWS[1].title}** (protocol `{OURS}`): 200 test images, PGD of 40 steps from a random start,
  the best step taken, pixels in [0, 1].
- **{VIEWS[2].title}**: on the same images, an image counts only where nothing on record breaks it:
  no attack on the model itself and no image made for another model."""


def verdicts(viewed: Sequence[Viewed]) -> str:
    """The table of claims, and which of them a strong attack leaves standing."""
    rows = [
        [
            f"[{escape(one.claim.statement)}](#{one.claim.name})",
            escape(one.claim.reference.partition(", ")[2] or DASH),
            *(DASH if judgement is None else judgement.verdict for judgement in one.judgements),
        ]
        for one in viewed
    ]
    head = ["claim", "paper", *(view.title for view in VIEWS)]
    return "\n\n".join(
        [
            "## What holds",
            "A comparison *holds* where the 95 % interval of its difference, over seeds and images "
            "resampled, lies on the right side of a limit that was written down beforehand; it "
            "*does not hold* where the interval lies on the other side, and is *undecided* where "
            "the limit lies within. A claim *holds* where all of its comparisons do, and *holds in "
            "part* where some do. [The rules](#the-rules) are below. A dash: the claim is not "
            "about accuracy under attack.",
            table(head, rows, ["left"] * len(head)),
            sentence(viewed),
        ]
    )


def section(key: str, title: str, body: Sequence[str]) -> str:
    """A section with what the paper states, and what we see."""
    return "\n\n".join([f"## {title}", f"The paper: {_STATED[key]}.", *filter(None, body)])


def picture(name: str, words: str, caption: str) -> str:
    """A figure with a caption, and the vector file."""
    return (
        f"![{escape(words)}](figures/{name}.png)\n\n"
        f"*{caption}* [PDF](figures/{name}.pdf)"
    )  # fmt: skip


def table_one(found: Mapping[str, Evidence]) -> str:
    """Table I: Lipschitz bounds beside the paper's."""
    rows = []
    for bound in TABLE_ONE:
        asked = Quantity(measure="lipschitz", model=bound.model, certifier=bound.certifier)
        ours = means(found.get(OURS), asked)
        ratio = DASH if ours is None else f"{ours.mean() / bound.value:.2f}"
        rows.append([bound.label, f"{bound.value:g}", spread(ours, 2), ratio, bound.certifier])
    head = ["model", "paper", "ours", "ours / paper", "certifier"]
    return table(head, rows, ["left", "right", "right", "right", "left"])


def accuracies(found: Mapping[str, Evidence]) -> str:
    """The numbers of Figure 2."""
    rows = []
    for name in MODELS:
        cells = []
        for view in VIEWS:
            at = found.get(view.protocol)
            cells += [spread(means(at, under_attack(name, eps, view))) for eps in BUDGETS]
        clean = spread(means(found.get(OURS), Quantity(measure="clean", model=name)))
        rows.append([name, clean, *cells])
    head = ["model", "clean, test images"]
    head += [f"{view.title}, ε = {eps:g}" for view in VIEWS for eps in BUDGETS]
    return table(head, rows, ["left", *["right"] * (len(head) - 1)])


_MEANINGS = {
    "towards-class": "cosine with D",
    "meaningful": "share of Σ\\|δ\\| where D is large",
    "background": "share on background",
    "high-frequencies": "energy in high frequencies",
    "gradient": "cosine with the gradient",
    "smoothgrad": "cosine with SmoothGrad",
}


def pattern_numbers(found: Evidence | None) -> str:
    """Measures of the perturbation patterns, a row a model."""
    if found is None:
        return ""
    noise = of_noise(found.dataset)
    rows = []
    for name in MODELS:
        each = [means(found, Quantity(measure=what, model=name)) for what in _MEANINGS]  # type: ignore[arg-type]
        rows.append([name, *(spread(values) for values in each)])
    head = ["model", *_MEANINGS.values()]
    words = (
        f"PGD at ε = {EPS:g} on the test images. To turn an image of class a into class b, the "
        "other class that scores best after the attack, a human would change it along D, the mean "
        "training image of b minus that of a. The perturbation δ is compared with D by the cosine "
        "of the angle between them, by the share of Σ|δ| on the pixels where |D| is at least a "
        "tenth of its largest value, and by the share on pixels that no training image inks. High "
        "frequencies are those above a quarter of a cycle a pixel, half of the highest; white "
        f"noise has {noise:.2f} of its energy there. The last two columns compare δ with minus the "
        "gradient of the label's margin at the clean image, and with minus SmoothGrad, the mean "
        "gradient over 25 noisy copies of it (Smilkov et al. 2017). Values by seed are in "
        "[patterns.csv](patterns.csv)."
    )
    return f"{words}\n\n{table(head, rows, ['left', *['right'] * len(_MEANINGS)])}"


def pattern_values(found: Evidence | None) -> str:
    """The same measures by seed, as CSV: mean over the images of each seed."""
    lines = ["model,seed,measure,mean"]
    for name in MODELS if found is not None else ():
        for what in PATTERNS:
            try:
                values = found.measure(Quantity(measure=what, model=name))  # type: ignore[arg-type,union-attr]
            except MissingError:
                continue
            lines += [
                f"{name},{seed},{what},{of.mean():.6f}"
                for seed, of in zip(values.seeds, values.values, strict=True)
            ]
    return "\n".join(lines) + "\n"


def rules(viewed: Sequence[Viewed]) -> str:
    """Every claim with every comparison in every view."""
    parts = [
        "## The rules",
        "Every claim has a file in `plugins/qbench_claims/ledger` with the comparisons that judge "
        "it; `qbench claims` judges the claims of other papers too.",
    ]
    for one in viewed:
        parts.append(f"### {one.claim.name}")
        parts.append(f"{escape(one.claim.reference)}: “{escape(one.claim.statement)}”")
        for view, judgement in zip(VIEWS, one.judgements, strict=True):
            if judgement is None:
                continue
            parts.append(f"{view.title.capitalize()}: **{judgement.verdict}**.")
            tested = [outcome for outcome in judgement.outcomes if outcome.left is not None]
            if tested:
                parts.append(comparisons(tested))
            if judgement.missing:
                parts.append("Missing: " + "; ".join(map(escape, judgement.missing)) + ".")
    return "\n\n".join(parts)


def spread(values: NDArray[np.float64] | None, digits: int = 3) -> str:
    """Mean ± standard deviation over seeds."""
    if values is None:
        return DASH
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) < 2 else f"{mean} ± {values.std(ddof=1):.{digits}f}"
