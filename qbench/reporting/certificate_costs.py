"""What every certifier takes and gives. It holds times, so it is no part of the leaderboard."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from qbench.metrics import mean_std
from qbench.records import Record
from qbench.reporting.certificates import NORMS, Certificates
from qbench.reporting.costs import IMAGES, rounded, seconds
from qbench.reporting.outcomes import Images
from qbench.reporting.scores import Score
from qbench.reporting.select import answers, check_together, models_of
from qbench.reporting.text import DASH, bold, escape, mean, norm, table

Times = Mapping[tuple[str, str, str], Sequence[float]]
Entry = tuple[str, str, float | None, Mapping[float, Score], Score]


def certificate_costs(records: Sequence[Record], images: Images) -> str:
    """All certifiers of single images x all models: seconds and what they prove, as markdown.

    Args:
        records: Records of one protocol; its certifications are shown, in one table a norm.
        images: Per-image radii of a record, e.g. `Store.images`.

    Returns:
        The body of a page, without a title, ending in one newline.

    Raises:
        StoreError: The records do not belong together, or disagree with their per-image radii.
    """
    check_together(records)
    seeds = sorted({record.target.seed for record in records})
    certificates = Certificates(answers(records), images)
    times = _times(records)
    entries: defaultdict[str, list[Entry]] = defaultdict(list)
    for model in models_of(records):
        for about, entry in _entries(certificates, model.name, seeds, times):
            entries[about].append(entry)
    if not entries:
        return "No certificate of single images has a result.\n"
    parts = [
        f"Seconds for {IMAGES} images, on the machine of the run and beside whatever else ran "
        "there; certified accuracy at ε; and the median radius of the images classified correctly; "
        "means over seeds."
    ]
    for about in NORMS:
        if about in entries:
            parts += [f"### {norm(about)}", _table(entries[about])]
    return "\n\n".join(parts) + "\n"


def _times(records: Sequence[Record]) -> Times:
    times: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for record in records:
        if record.status == "done" and record.perturbations and record.certifier:
            about = record.target.model, record.perturbations.norm, record.certifier.name
            times[about].append(seconds(record))
    return times


def _entries(
    certificates: Certificates, model: str, seeds: Sequence[int], times: Times
) -> Iterator[tuple[str, Entry]]:
    for proved in certificates.certified(model, seeds):
        given = []
        for one in proved.by_certifier:
            time = _mean(times.get((model, proved.norm, one.certifier), ()))
            given.append(time or 0.0)
            yield proved.norm, (model, escape(one.certifier), time, one.accuracy, one.median)
        if len(given) > 1:
            name = "best for each image"
            yield proved.norm, (model, bold(name), sum(given), proved.accuracy, proved.median)
    for guess in certificates.probabilistic(model, seeds):
        time = _mean(times.get((model, guess.norm, guess.certifier), ()))
        about = "smoothed model, " if guess.smoothed else ""
        name = f"{escape(guess.certifier)} ({about}confidence {guess.confidence:g})"
        yield guess.norm, (model, name, time, guess.accuracy, Score())


def _table(entries: Sequence[Entry]) -> str:
    budgets = sorted({eps for *_, accuracy, _ in entries for eps in accuracy})
    rows = [
        [
            escape(model),
            name,
            DASH if time is None else rounded(time),
            *[mean(accuracy.get(eps, Score())) for eps in budgets],
            mean(median, 4),
        ]
        for model, name, time, accuracy, median in entries
    ]
    head = ["Model", "Certifier", "Seconds", *[f"ε = {eps:g}" for eps in budgets], "Median radius"]
    return table(head, rows, ["left", "left", *["right"] * (len(head) - 2)])


def _mean(times: Sequence[float]) -> float | None:
    return mean_std(times)[0] if times else None
