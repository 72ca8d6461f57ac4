"""The benchmark as a page of the documentation: words around the tables and pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tabulate import tabulate

from qbench.text import one_line
from qbench_bench.arithmetic import FORMS, multiply_adds
from qbench_bench.certifying import SHOWN
from qbench_bench.problem import TOLERANCE
from qbench_bench.report import KINDS, Report, Scaling, Timing, threads

_BUSY = 0.3  # load a core from which other programs disturb the times
_DASH = "—"
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_SPECIAL = re.compile(r"([\\`*_\[\]|~<>&$@]|:(?=//)|(?<=www)\.)")


@dataclass(frozen=True)
class Page:
    """Markdown, and the pictures it shows by their names in its folder of figures."""

    text: str
    figures: dict[str, bytes]


def page(report: Report, pictures: bool = True) -> Page:
    """The report as markdown, with or without its pictures."""
    writers = (
        *(_introduction, _headline, _sizes, _arithmetic, _amplitudes, _scaling),
        *(_certifiers, _growth, _contenders),
    )
    parts = [write(report) for write in (*writers, _machine)]
    text = "\n\n".join(part for part in parts if part) + "\n"
    if not pictures:
        return Page(re.sub(r"(?m)^!\[.*\n", "", text), {})
    from qbench_bench.figures import draw

    return Page(text, draw(report))


def duration(seconds: float) -> str:
    """Three digits and a unit: `1.23 ms`."""
    scale, unit = next((u for u in _UNITS if seconds >= 0.9995 * u[0]), _UNITS[-1])
    return f"{number(seconds / scale)} {unit}"


def number(value: float) -> str:
    """About three digits, without an exponent: `0.12`, `1.23`, `12.3`, `1,235`."""
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}"


def _escape(text: str) -> str:
    """Text from outside as one line that markdown shows literally."""
    return _SPECIAL.sub(r"\\\1", one_line(text))


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    align = ["left"] + ["right"] * (len(headers) - 1)
    return str(tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True))


def _introduction(report: Report) -> str:
    machine = report.machine
    busy = ""
    if machine.load is not None and machine.load > _BUSY * machine.cores:
        busy = (
            f"\n\n**Other programs were running**: a load of {machine.load:.1f} on "
            f"{machine.cores} cores before the start. What waits for several threads,\nours "
            "included, then looks slower than it is, and the ratios are less certain."
        )
    return f"""# Performance

Written by `{report.command}`, which repeats it on your machine.
This run: {_hardware(report)}.

Every contender solves the same problem: {report.layers} strongly entangling layers with other
random angles for each sample, ⟨Z⟩ of the first four wires, and the gradient of a weighted sum of
them in every angle. Before a contender is timed at a size, its values and gradients are compared
there with a float64 reference; one that is off by more than {TOLERANCE:.0e} is not timed. Building
circuits, converting inputs and compiling are not counted. Times are the best of several calls, in
turns that go round all contenders, so that each meets the same load. Ratios are to the default
engine, the first row: ×2 takes twice as long. What computes in torch gets one of its threads or
all, whichever is faster for it at that size.{busy}"""


def _headline(report: Report) -> str:
    """One size in full: time of the batch, both passes, ratios, and how it was timed."""
    rows, qubits, batch = [], report.qubits, report.batch
    for name in report.contenders:
        timing = report.find(name, qubits, batch)
        if timing is None or not timing.samples:
            continue
        cells = [_escape(name)]
        for kind in KINDS:
            seconds, ratio = timing.per_sample(kind), report.ratio(timing, kind)
            cells += [duration(batch * (seconds or 0)), f"×{number(ratio or 0)}"]
        calls = " + ".join(map(str, timing.repetitions))
        rows.append([*cells, f"{timing.samples} of {batch}", calls])
    headers = ["Contender", "forward", "ratio", "forward and gradient", "ratio"]
    words = f"""## {batch} samples, {qubits} qubits

{_table([*headers, "samples timed", "calls"], rows)}

Who is slow is timed on the first samples only, and the time is scaled up to the batch; the last
column counts the calls, forward + gradient."""
    found = (report.find(f"default.qubit, {form}", qubits, batch) for form in ("loop", "broadcast"))
    loop, broadcast = (timing and report.ratio(timing, "gradient") for timing in found)
    if loop and broadcast:
        words += f"""

PennyLane's `default.qubit` is there twice, because much depends on how it is called: one QNode call
a sample takes ×{number(loop)}, one call with the batch of angles ×{number(broadcast)}. The
second is the fair comparison for a program that is written for batches."""
    return words


def _sizes(report: Report) -> str:
    qubits, batch = report.qubits, report.batch
    sizes = dict.fromkeys((t.qubits, t.batch) for t in report.timings)
    column = {str(n): (n, b) for n, b in sizes if b == batch}
    row = {str(b): (n, b) for n, b in sorted(sizes) if n == qubits}
    parts = [
        "## By size",
        "![Time a sample by qubits and by batch size](figures/performance-contenders.png)",
    ]
    for kind, words in reversed(KINDS.items()):
        parts.append(f"Time a sample, {words}, {batch} samples a batch, by qubits:")
        parts.append(_by_size(report, kind, column))
    for kind, words in reversed(KINDS.items()) if len(row) > 1 else ():
        parts.append(f"Time a sample, {words}, {qubits} qubits, by samples a batch:")
        parts.append(_by_size(report, kind, row))
    parts.append(
        "\\* timed on part of the batch, by which who computes batches loses part of what a batch\n"
        "gains. A dash: one sample was expected to take too long for this run."
    )
    return "\n\n".join(parts)


def _by_size(report: Report, kind: str, sizes: dict[str, tuple[int, int]]) -> str:
    """Time a sample, with the ratio to the default engine: a row a contender, a column a size."""

    def cell(timing: Timing | None) -> str:
        seconds = None if timing is None else timing.per_sample(kind)
        if timing is None or seconds is None:
            return _DASH
        ratio = report.ratio(timing, kind)
        few = "*" if timing.samples < timing.batch else ""
        return duration(seconds) + few + (f" (×{number(ratio)})" if ratio is not None else "")

    rows = {
        name: [cell(report.find(name, *size)) for size in sizes.values()]
        for name in report.contenders
    }
    timed = [[_escape(name), *cells] for name, cells in rows.items() if set(cells) != {_DASH}]
    return _table(["Contender", *sizes], timed)


def _arithmetic(report: Report) -> str:
    if not report.efficiency:
        return ""
    qubits, layers = report.efficiency[0].qubits, report.efficiency[0].layers
    peak = max(row.peak for row in report.efficiency if row.threads == 1)
    counts = []
    for form in FORMS:
        count = multiply_adds(qubits, layers, form)
        time = duration(count["gradient"] / peak)
        counts.append([form, *(f"{count[kind]:,}" for kind in KINDS), time])
    rows = []
    for row in report.efficiency:
        times = duration(row.seconds), duration(row.floor_s), number(row.distance)
        speeds = f"{row.gflops:.0f}", f"{2e-9 * row.peak:.0f}"
        work = KINDS[row.kind], f"{row.multiply_adds / 1e6:.1f} M"
        rows.append([row.batch, row.threads, *work, *times, *speeds])
    forms = "\n".join(f"- *{form}*{words}" for form, words in FORMS.items())
    headers = ["Batch", "Threads", "Pass", "Multiply-adds", "Time", "Floor", "Time / floor"]
    return f"""## How far from the arithmetic

Multiply-adds of real numbers for one sample of {qubits} qubits and {layers} layers, counted:

{_table(["Form", "forward", "forward and gradient", "at peak, one thread"], counts)}

For n qubits, per layer and amplitude:

{forms}

Reading out adds 2 an amplitude for each pass. Sines and cosines, loads, stores and permutations
count nothing, so the floor cannot quite be reached. The peak is measured in turn with the engine:
independent float32 multiply-adds in registers, in vectors as wide as the engine's,
{2e-9 * peak:.0f} GFLOP/s on one thread (a multiply-add is two operations).

{_table([*headers, "GFLOP/s", "of peak"], rows)}

{report.machine.lanes} samples are computed together; a batch that is no multiple of that pays for
empty lanes."""


def _amplitudes(report: Report) -> str:
    """Cost of one amplitude in one layer, and of one of its qubits, by circuit size."""
    found = [row for row in report.amplitudes if row.kind == "gradient"]
    if not found:
        return ""
    headers, spread = ["Qubits"], []
    table = {qubits: [str(qubits)] for qubits in sorted({row.qubits for row in found})}
    for count in sorted({row.threads for row in found}):
        headers += [f"ns an amplitude, {threads(count)}", "and qubit", "time / floor"]
        cost = {row.qubits: row.amplitude_ns for row in found if row.threads == count}
        each = {qubits: ns / qubits for qubits, ns in cost.items()}
        for row in (row for row in found if row.threads == count):
            shown = f"{cost[row.qubits]:.3f}", f"{each[row.qubits]:.4f}", number(row.distance)
            table[row.qubits] += shown
        ratios = [max(of.values()) / min(of.values()) for of in (cost, each)]
        spread.append(
            f"- on {threads(count)}, ×{ratios[0]:.2f} an amplitude, "
            f"×{ratios[1]:.2f} an amplitude and qubit"
        )
    work = [row.multiply_adds / (row.batch * row.layers * 2**row.qubits) for row in found]
    spread.append(f"- in multiply-adds alone, ×{max(work) / min(work):.2f} an amplitude")
    lines = "\n".join(spread)
    return f"""## Cost of an amplitude

Forward and gradient, {found[0].batch} samples. A layer rotates every qubit, so the arithmetic for
an amplitude grows a little less than with n.

![Arithmetic achieved, and cost of an amplitude](figures/performance-arithmetic.png)

{_table(headers, list(table.values()))}

The dearest over the cheapest from {min(table)} to {max(table)} qubits:

{lines}"""


def _span(row: Scaling) -> list[str]:
    """What grows, what stays, and from where to where."""
    sizes = f"{row.sizes[0]} to {row.sizes[-1]}"
    times = f"{duration(row.seconds[0])} to {duration(row.seconds[-1])}"
    return [row.what, row.fixed, sizes, times]


def _scaling(report: Report) -> str:
    if not report.scaling:
        return ""
    rows = []
    for row in report.scaling:
        grows = [f"×{number(all_[-1] / all_[0])}" for all_ in (row.sizes, row.seconds)]
        rows.append([*_span(row), *grows, f"{row.exponent:.2f}"])
    headers = ["What grows", "Fixed", "Size", "Time", "Size grows", "Time grows", "Exponent"]
    return f"""## The whole program

`qbench.evaluate` with PGD on the zoo's `reup`, on one thread: attack, verify, score. The exponent
is the slope of log time against log size: 1 is linear, and less where a fixed cost shows at the
small end.

![Time against images, attack steps and trained models](figures/performance-scaling.png)

{_table(headers, rows)}"""


def _certifiers(report: Report) -> str:
    if not report.certifiers:
        return ""
    rows = [
        [
            _escape(row.certifier),
            _escape(row.model),
            duration(row.seconds / row.images),
            f"×{number(row.ratio)}",
            f"{row.certified:.2f}",
        ]
        for row in report.certifiers
    ]
    headers = ["Certifier", "model", "an image", "ratio to PGD", f"certified at {SHOWN:g}"]
    return f"""## Certificates

Every certifier of single images in ℓ∞, on the first {report.certifiers[0].images} test images, one
thread, all five reported budgets. The ratio is to PGD on the same images at one budget. Cheap
certifiers are there because dear ones build on them, and because they hold in other norms.

{_table(headers, rows)}"""


def _growth(report: Report) -> str:
    if not report.growth:
        return ""
    rows = [[*_span(row), f"{row.exponent:.2f}"] for row in report.growth]
    qubits = next(row for row in report.growth if row.what == "qubits")
    most = f"{qubits.sizes[-1]} qubits", f"{qubits.sizes[-2]} qubits"
    more = number(qubits.seconds[-1] / qubits.seconds[-2])
    return f"""## What certificates of circuits cost

`circuit-taylor-2`, the dearest, on circuits with random angles whose weights have the same sum.
How many images need its last step depends on their margins, which shrink with the qubits.
{most[0]} take ×{more} of {most[1]}.

![Time of certificates by images, models, layers and qubits](figures/performance-certificates.png)

{_table(["What grows", "Fixed", "Size", "Time", "Exponent"], rows)}"""


def _contenders(report: Report) -> str:
    words = ["## The contenders", _list(report.contenders)]
    if report.skipped:
        words += ["Left out of this run, or of its larger sizes:"]
        words += [_list({name: _escape(why) for name, why in report.skipped.items()})]
    return "\n\n".join(words)


def _list(entries: dict[str, str]) -> str:
    return "\n".join(f"- **{_escape(name)}**: {text}" for name, text in entries.items())


def _hardware(report: Report) -> str:
    machine = report.machine
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    lanes = f"{machine.lanes} float32 lanes"
    return f"{_escape(machine.processor)}, {cores}, {machine.instructions} ({lanes})"


def _machine(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.machine.versions.items())
    return f"## Machine\n\n{_hardware(report)}, {report.machine.system}. {versions}."
