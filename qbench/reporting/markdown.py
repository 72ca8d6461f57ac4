"""The leaderboard as a markdown page."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from qbench.reporting.board import Board, Bound, Row, Transfer
from qbench.reporting.pictures import Picture
from qbench.reporting.text import DASH, Footnotes, escape, listed, norm, spread


def render(board: Board, pictures: Sequence[Picture] = ()) -> str:
    """The whole page, ending in one newline.

    Args:
        board: What to show.
        pictures: Figures to embed, in order; their files are not read.
    """
    notes = Footnotes(board.subject.seeds)
    sections = [
        _header(board),
        _leaderboard(board, notes),
        *_pictures(pictures, "accuracy"),
        *[part for transfer in board.transfers for part in _transfer(transfer, notes)],
        *_pictures(pictures, "transfer"),
        *_lipschitz(board, notes),
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


def _leaderboard(board: Board, notes: Footnotes) -> str:
    several = len(board.attacks) > 1
    head = ["Rank", "Model", "Family", "Parameters", "Clean accuracy"]
    head += [f"{escape(s.attack)}, ε = {s.eps:g}" for s in board.settings]
    head += [f"Worst case, ε = {board.rank_eps:g}"] if several else []
    head += ["Lipschitz bound", "Largest Jacobian"] if board.bounds else []
    head += ["Seeds"]
    ranked = len(head) - 1
    rows = []
    for row in board.rows:
        line = [
            DASH if row.rank is None else str(row.rank),
            notes.mark(escape(row.model.name), row.notes),
            row.model.family,
            DASH if row.model.parameters is None else str(row.model.parameters),
            notes.mark(spread(row.clean), row.clean.notes),
        ]
        for setting in board.settings:
            score = row.robust[setting]
            shown = _bold(spread(score), setting.eps == board.rank_eps and not several)
            line.append(notes.mark(shown, score.notes))
        line += [notes.mark(_bold(spread(row.worst)), row.worst.notes)] if several else []
        line += _bound_cells(row, notes) if board.bounds else []
        rows.append([*line, str(len(row.seeds))])
    align = ["right", "left", "left", *["right"] * (ranked - 2)]
    return "## Robust accuracy\n\n" + _table(head, rows, align)


def _bold(shown: str, wanted: bool = True) -> str:
    return f"**{shown}**" if wanted and shown != DASH else shown


def _bound_cells(row: Row, notes: Footnotes) -> list[str]:
    tightest = row.tightest
    if tightest is None:
        return [DASH, DASH]
    return [
        notes.mark(_bound(tightest), tightest.bound.notes),
        spread(tightest.sampled, 2),
    ]


def _bound(entry: Bound) -> str:
    shown = spread(entry.bound, 2)
    return shown if entry.scope is None else f"{shown} ({entry.scope})"


def _transfer(transfer: Transfer, notes: Footnotes) -> list[str]:
    attack, eps = transfer.setting.attack, transfer.setting.eps
    head = ["made for ↓, shown to →", *map(escape, transfer.models)]
    rows = []
    for source in transfer.models:
        line = [escape(source)]
        for target in transfer.models:
            score = transfer.entries[source, target]
            shown = DASH if score.mean is None else f"{score.mean:.3f}"
            line.append(notes.mark(_bold(shown, source == target), score.notes))
        rows.append(line)
    words = (
        "Accuracy of the target (column) on images perturbed to fool the source (row), mean over "
        "seeds, source and target of the same seed. The diagonal is the attack on the model "
        "itself; it counts every image that is classified correctly after the attack."
    )
    title = f"## Transfer of {escape(attack)} at ε = {eps:g}"
    return [title, words, _table(head, rows, ["left", *["right"] * len(transfer.models)])]


def _lipschitz(board: Board, notes: Footnotes) -> list[str]:
    if not board.bounds:
        return []
    head = [
        "Model",
        "Certifier",
        "Scope",
        "Bound",
        "Largest Jacobian",
        "Bound / Jacobian",
        "Points",
    ]
    rows = []
    for entry in board.bounds:
        rows.append(
            [
                escape(entry.model),
                DASH if entry.certifier is None else escape(entry.certifier),
                entry.scope or DASH,
                notes.mark(spread(entry.bound, 2), entry.bound.notes),
                spread(entry.sampled, 2),
                DASH if entry.slack is None else f"{entry.slack:.1f}",
                DASH if entry.points is None else str(entry.points),
            ]
        )
    words = (
        "A proven bound on how fast the scores can change with the image (both in the ℓ2 norm), "
        "beside the largest Jacobian norm found at sampled points, which no valid bound can lie "
        "below; mean ± std over seeds, and the smallest ratio of the two of any seed. Scope: "
        "`vector` bounds all scores together, `score` each single score; bounds of different "
        "scope are not comparable."
    )
    sources = [f"- {escape(name)}: {escape(source)}" for name, source in board.subject.certifiers]
    align = ["left", "left", "left", "right", "right", "right", "right"]
    parts = ["## Lipschitz bounds", words, _table(head, rows, align)]
    return [*parts, "\n".join(sources)] if sources else parts


def _pictures(pictures: Sequence[Picture], kind: str) -> list[str]:
    return [
        f"![{escape(picture.alt)}](figures/{picture.file})\n\n*{escape(picture.caption)}*"
        for picture in pictures
        if picture.kind == kind
    ]


def _how_to_read(board: Board) -> str:
    eps = f"ε = {board.rank_eps:g}" if board.rank_eps is not None else "the ranking budget"
    several = len(board.attacks) > 1
    ranking = (
        f"by worst-case robust accuracy at {eps}: an image counts only if every attack that ran "
        "failed on it"
        if several
        else f"by robust accuracy at {eps} (bold)"
    )
    spreads = (
        "Numbers are mean ± sample standard deviation over seeds."
        if len(board.subject.seeds) > 1
        else "There is one seed, so no spread is shown."
    )
    return "\n".join(
        [
            "## How to read this",
            "",
            "Robust accuracy is the share of images classified correctly both before and after "
            f"the attack. {spreads} Models are ranked {ranking}, then by clean accuracy, then by "
            "name. Robust accuracy under an attack is an upper limit: a stronger attack can only "
            "lower it. The 95 % Wilson "
            "interval of each seed is in its record. Where several certifiers cover a model, the "
            "smallest Lipschitz bound is shown beside its scope. A dash means that there is no "
            "result; the note beside it says why.",
        ]
    )


def _how_to_reproduce(board: Board) -> str:
    attacks = f" --attacks {','.join(board.attacks)}" if board.attacks else ""
    protocol = board.subject.protocol.name
    return "\n".join(
        [
            "## How to reproduce",
            "",
            "```console",
            f"qbench run --models all{attacks} --protocol {protocol} --out RUN_FOLDER",
            "qbench leaderboard RUN_FOLDER --out leaderboard",
            "```",
            "",
            "The first command trains what has no shipped weights, attacks and certifies; it "
            "continues where it was interrupted. The second one rebuilds this page from the "
            "records alone, byte for byte.",
        ]
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: Sequence[str]) -> str:
    return str(tabulate(rows, head, tablefmt="pipe", disable_numparse=True, colalign=align))
