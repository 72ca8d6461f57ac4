"""The section on the authors' checkpoints of a reproduction's page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qbench.report.text import DASH, escape, table
from qbench_reproduction.published.results import PublishedResults, UnderProtocol, Weights


def section(results: PublishedResults) -> str:
    """Markdown, from the heading to the last table."""
    parts = [
        "## The authors' checkpoints",
        _introduction(results),
        _checkpoints(results),
        "### Under attack",
        _attacks(results),
        _accuracy(results),
        _counts(results),
        _worst(results),
        "### Transfer",
        "Row: the checkpoint that the images were made for. Column: the one that classifies them. "
        "Entries are accuracies, as in the paper's Figure 4.",
    ]
    for one in results.protocols:
        parts += [f"Protocol `{one.protocol}`, ε = {one.transfer_eps:g}:", _transfer(results, one)]
    parts += ["### Table I", _bounds(results), _verdicts(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _introduction(results: PublishedResults) -> str:
    count = len(results.checkpoints)
    lines = [
        f"{_number(count, 'checkpoint')} of the authors on their own images, named after their "
        f"files. Cross-entropy and accuracy are those of the first {results.clean_images} permuted "
        "training images, which the authors attack. The last column is the bound on the Lipschitz "
        "constant that Table I of the paper lists: of a re-uploading circuit Σ over gates of "
        "‖w_gate‖₂, of the ConvNet the product of its layers' spectral norms, of the Fourier "
        "network LipSDP-Neuron's optimum. Every number is computed from the files."
    ]
    if results.others:
        names = ", ".join(f"“{escape(name)}”" for name in results.others)
        lines.append(f"Not evaluated, because the names say no model: {names}.")
    return " ".join(lines)


def _checkpoints(results: PublishedResults) -> str:
    rows = [
        [
            escape(one.file),
            one.model,
            one.precision,
            f"{one.cross_entropy:.7f}",
            f"{one.accuracy:.2f}",
            DASH if one.bound is None else f"{one.bound:.2f}",
        ]
        for one in results.checkpoints
    ]
    head = ["checkpoint", "model", "precision", "cross-entropy", "accuracy", "bound"]
    return table(head, rows, ["left"] * 3 + ["right"] * 3)


def _attacks(results: PublishedResults) -> str:
    lines = [
        f"- `{one.protocol}`: {one.images} {'training' if one.split == 'train' else 'test'} "
        f"images, perturbed pixels {'stay' if one.boxed else 'may leave'}"
        f"{' in' if one.boxed else ''} [0, 1]."
        for one in results.protocols
    ]
    return (
        "Accuracy under the protocol's PGD, by ε. The authors count an image if it is classified "
        "correctly under attack; robust accuracy counts it only if it is classified correctly "
        "without an attack too. Where the two differ, an entry is *attacked / robust*. The worst "
        "case is robust accuracy under all of PGD and APGD-T (Croce and Hein 2020, 50 steps), made "
        "for the checkpoint itself and for every other one.\n\n" + "\n".join(lines)
    )


def _accuracy(results: PublishedResults) -> str:
    first = results.protocols[0]
    rows = []
    for at, checkpoint in enumerate(results.checkpoints):
        for one in results.protocols:
            accuracy = one.accuracy[at]
            rows.append(
                [
                    escape(checkpoint.file),
                    f"`{one.protocol}`",
                    f"{accuracy.clean:.3f}",
                    *map(_counted, accuracy.attacked, accuracy.robust),
                    f"{accuracy.worst:.3f}",
                ]
            )
    head = ["checkpoint", "protocol", "clean", *(f"ε = {eps:g}" for eps in first.eps)]
    head.append(f"worst case, ε = {first.transfer_eps:g}")
    return table(head, rows, ["left"] * 2 + ["right"] * (2 + len(first.eps)))


def _counted(attacked: float, robust: float) -> str:
    return f"{robust:.3f}" if attacked == robust else f"{attacked:.3f} / {robust:.3f}"


def _counts(results: PublishedResults) -> str:
    gaps = [
        attacked - robust
        for one in results.protocols
        for accuracy in one.accuracy
        for attacked, robust in zip(accuracy.attacked, accuracy.robust, strict=True)
    ]
    if max(gaps) == 0:
        return (
            "The two counts agree everywhere: PGD mends no image that is misclassified without it."
        )
    return f"The two counts differ by at most {max(gaps):.3f}."


def _worst(results: PublishedResults) -> str:
    lines = []
    for one in results.protocols:
        at = one.eps.index(one.transfer_eps)
        drops = [accuracy.robust[at] - accuracy.worst for accuracy in one.accuracy]
        most = max(range(len(drops)), key=drops.__getitem__)
        accuracy = one.accuracy[most]
        lines.append(
            f"Under `{one.protocol}`, the worst case at ε = {one.transfer_eps:g} lies below PGD's "
            f"robust accuracy by up to {drops[most]:.3f} "
            f"({escape(results.checkpoints[most].file)}: {accuracy.robust[at]:.3f} and "
            f"{accuracy.worst:.3f})."
            if drops[most] > 0
            else f"Under `{one.protocol}`, no attack of the worst case breaks an image that PGD "
            "does not."
        )
    return " ".join(lines)


def _transfer(results: PublishedResults, one: UnderProtocol) -> str:
    names = [escape(checkpoint.file) for checkpoint in results.checkpoints]
    rows = [
        [name, *(f"{entry:.3f}" for entry in entries)]
        for name, entries in zip(names, one.transfer, strict=True)
    ]
    return table(["made for", *names], rows, ["left"] + ["right"] * len(names))


def _bounds(results: PublishedResults) -> str:
    rows = [
        [
            one.row,
            f"{one.paper:.2f}",
            DASH if one.file is None else escape(one.file),
            DASH if one.bound is None else f"{one.bound:.2f}",
            one.weights,
        ]
        for one in results.table_1
    ]
    head = ["row of Table I", "paper", "checkpoint", "its bound", "the row is of"]
    return table(head, rows, ["left", "right", "left", "right", "left"])


def _verdicts(results: PublishedResults) -> str:
    def rows(weights: Weights) -> list[str]:
        return list(dict.fromkeys(one.row for one in results.table_1 if one.weights == weights))

    same, other, none = rows("these weights"), rows("other weights"), rows("no checkpoint here")
    total = len({one.row for one in results.table_1})
    lines = [
        "The bound depends on nothing but the weights, so a row whose number differs was computed "
        f"from others than those published. Of the {total} rows, {len(same)} "
        f"{_are(same)} those of a checkpoint here{_listed(same)}, and {len(other)} "
        f"{_are(other)} not{_listed(other)}."
    ]
    if none:
        lines.append(f"The folder holds no checkpoint for the other {len(none)}{_listed(none)}.")
    return " ".join(lines)


def _are(rows: Sequence[str]) -> str:
    return "is" if len(rows) == 1 else "are"


def _listed(rows: Iterable[str]) -> str:
    listed = "; ".join(rows)
    return f" ({listed})" if listed else ""


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
