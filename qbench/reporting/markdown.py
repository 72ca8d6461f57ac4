"""The leaderboard as a markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from qbench.reporting.board import Board
from qbench.reporting.pictures import Picture
from qbench.reporting.sections.accuracy import adversarial_training, attacks, leaderboard
from qbench.reporting.sections.bounds import lipschitz
from qbench.reporting.sections.certified import certified
from qbench.reporting.sections.elsewhere import elsewhere
from qbench.reporting.sections.flags import flags
from qbench.reporting.sections.significance import more_robust_than
from qbench.reporting.sections.transfer import averages, in_full
from qbench.reporting.text import Footnotes, escape, listed, norm, one_line


def render(board: Board, pictures: Sequence[Picture] = ()) -> str:
    """The whole page, ending in one newline.

    Args:
        board: What to show.
        pictures: Figures to embed, in order; their files are not read.
    """
    notes = Footnotes(board.subject.seeds)
    sections = [
        _header(board),
        *leaderboard(board, notes),
        *_pictures(pictures, "accuracy"),
        *certified(board, notes),
        *_pictures(pictures, "certified"),
        *_pictures(pictures, "radii"),
        *attacks(board, notes),
        *_pictures(pictures, "attacks"),
        *adversarial_training(board),
        *_pictures(pictures, "adversarial-training"),
        *more_robust_than(board),
        *flags(board),
        *in_full(board, notes),
        *_pictures(pictures, "transfer"),
        *averages(board, notes),
        *elsewhere(board, notes),
        *lipschitz(board, notes),
        *_pictures(pictures, "lipschitz"),
        *_pictures(pictures, "training"),
        *_pictures(pictures, "examples"),
        _how_to_read(board),
        _how_to_reproduce(board),
    ]
    if lines := notes.lines():
        sections.append("\n".join(["## Notes", "", *lines]))
    return "\n\n".join(sections) + "\n"


def _header(board: Board) -> str:
    subject = board.subject
    data = subject.dataset
    lines = [
        f"Robustness of {len(board.models)} classifiers to adversarial perturbations, measured by "
        "qbench. This page is made from records "
        "alone; `leaderboard.json` holds the same numbers for machines.",
        "",
        f"- **Protocol:** {escape(subject.protocol.name)} (SHA-256 "
        f"`{subject.protocol.sha256[:12]}`)",
        f"- **Data:** {escape(data.name)} version {data.version}, {data.n} {data.split} images "
        f"(SHA-256 `{data.sha256[:12]}`)",
    ]
    if subject.threat is not None:
        box = subject.threat.box
        inside = (
            "without bounds on pixels" if box is None else f"pixels in [{box[0]:g}, {box[1]:g}]"
        )
        lines.append(
            f"- **Threat model:** {escape(subject.threat.goal)}, {norm(subject.threat.norm)} "
            f"perturbations of size ε in raw pixels, {inside}"
        )
    if board.several:
        names = ", ".join(escape(name) for name, _ in subject.attacks)
        lines.append(f"- **Attacks:** {names}")
    else:
        lines += [
            f"- **Attack:** {escape(name)}" + (f" ({escape(params)})" if params else "")
            for name, params in subject.attacks
        ]
    lines.append(f"- **Seeds:** {listed(subject.seeds)}")
    if subject.engines:
        lines.append(f"- **Circuits run on:** {escape(', '.join(subject.engines))}")
    versions = ", ".join(f"{name} {version}" for name, version in subject.versions)
    lines.append(f"- **Versions:** {escape(versions)}")
    return "\n".join(["# Leaderboard", "", *lines])


def _pictures(pictures: Sequence[Picture], kind: str) -> list[str]:
    return [
        f"![{escape(picture.alt)}](figures/{picture.file})\n\n*{escape(picture.caption)}*"
        for picture in pictures
        if picture.kind == kind
    ]


def _how_to_read(board: Board) -> str:
    eps = f"ε = {board.rank_eps:g}" if board.rank_eps is not None else "the ranking budget"
    measure = "worst-case robust accuracy" if board.several else "robust accuracy"
    worst = (
        "In the worst case an image counts only if every attack on the model failed on it, with "
        "gradients or without; images made for other models are counted apart. "
        if board.several
        else ""
    )
    spreads = (
        "Numbers are mean ± sample standard deviation over seeds."
        if len(board.subject.seeds) > 1
        else "There is one seed, so no spread is shown."
    )
    intervals = (
        "An interval starts with certified accuracy, which every attack must leave: see *Certified "
        "and empirical robustness*. "
        if board.certified_budgets(board.norm) and board.budgets
        else ""
    )
    scopes = {entry.scope for entry in board.bounds if entry.scope}
    smallest = "(on margins, where scopes differ) " if len(scopes) > 1 else ""
    claims = " A rank orders means and is no claim by itself: see *More robust than*."
    return "\n".join(
        [
            "## How to read this",
            "",
            "Robust accuracy is the share of images classified correctly both before and after "
            f"the attack. {spreads} Models are ranked by {measure} at {eps} (bold), then by clean "
            f"accuracy, then by name. {worst}Robust accuracy under an attack is an "
            "upper limit: a stronger attack can only "
            f"lower it.{claims if board.comparisons else ''} The 95 % Wilson interval of each "
            f"seed is in its record. {intervals}Where several certifiers cover a model, the "
            f"smallest Lipschitz bound {smallest}is shown beside its scope. A dash means that "
            "there is no result; the note beside it says why.",
        ]
    )


def _how_to_reproduce(board: Board) -> str:
    protocol = board.subject.protocol.name
    norms = {*board.certified_norms, *(o.norm for row in board.rows for o in row.probabilistic)}
    attacked = bool(board.attacks) or not norms
    commands, words = [], ""
    if attacked:
        attacks = f" --attacks {one_line(','.join(board.attacks), None)}" if board.attacks else ""
        commands.append(f"qbench run --models all{attacks} --protocol {protocol} --out RUN_FOLDER")
        words = (
            "The first command trains what has no shipped weights, attacks and certifies; it "
            "continues where it was interrupted."
        )
    if not attacked or norms - {board.norm}:
        which = "both" if len(norms) > 1 else min(norms)
        commands.append(
            f"qbench certify --models all --norm {which} --protocol {protocol} --out RUN_FOLDER"
        )
        words += " The next one certifies what is left." if attacked else ""
    words = words or "The first command trains what has no shipped weights, and certifies."
    last = "second" if len(commands) == 1 else "last"
    return "\n".join(
        [
            "## How to reproduce",
            "",
            "```console",
            *commands,
            "qbench leaderboard RUN_FOLDER --out leaderboard",
            "```",
            "",
            f"{words} The {last} one rebuilds this page from the records alone, byte for byte.",
        ]
    )
