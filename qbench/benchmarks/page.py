"""The benchmark as a page of the documentation: words around the tables and pictures."""

from __future__ import annotations

from dataclasses import dataclass

from qbench.benchmarks import tables
from qbench.benchmarks.arithmetic import multiply_adds
from qbench.benchmarks.problem import TOLERANCE
from qbench.benchmarks.report import Efficiency, Report
from qbench.benchmarks.tables import duration, number
from qbench.reporting.text import escape

_BUSY = 0.3  # load a core from which other programs disturb the times


@dataclass(frozen=True)
class Page:
    """Markdown, and the pictures it shows by their names in its folder of figures."""

    text: str
    figures: dict[str, bytes]


def page(report: Report, pictures: bool = True) -> Page:
    """The report as markdown, with or without its pictures."""
    qubits, batch = _centre(report)
    parts = [
        _introduction(report),
        _headline(report, qubits, batch),
        _sizes(report, qubits, batch),
        _arithmetic(report.efficiency, report.machine.lanes) if report.efficiency else "",
        _amplitudes(report.amplitudes),
        _scaling(report),
        _contenders(report),
        _machine(report),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    if not pictures:
        lines = (line for line in text.splitlines() if not line.startswith("!["))
        return Page("\n".join(lines) + "\n", {})
    return Page(text, _figures(report, qubits, batch))


def _centre(report: Report) -> tuple[int, int]:
    """The size that belongs to both the row and the column of the cross of sizes."""
    sizes = list(dict.fromkeys((t.qubits, t.batch) for t in report.timings))

    def shared(size: tuple[int, int]) -> int:
        same = [[other[i] == size[i] for other in sizes] for i in (0, 1)]
        return sum(same[0]) * sum(same[1])

    return max(sizes, key=shared)


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


def _headline(report: Report, qubits: int, batch: int) -> str:
    words = f"""## {batch} samples, {qubits} qubits

{tables.headline(report, qubits, batch)}

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


def _sizes(report: Report, qubits: int, batch: int) -> str:
    sizes = dict.fromkeys((t.qubits, t.batch) for t in report.timings)
    column = [size for size in sizes if size[1] == batch]
    row = sorted(size for size in sizes if size[0] == qubits)
    parts = [
        "## By size",
        "![Time a sample by qubits and by batch size](figures/performance-contenders.png)",
    ]
    for kind, words in reversed(tables.KINDS.items()):
        parts.append(f"Time a sample, {words}, {batch} samples a batch, by qubits:")
        parts.append(tables.by_size(report, kind, column, [str(n) for n, _ in column]))
    if len(row) > 1:
        for kind, words in reversed(tables.KINDS.items()):
            parts.append(f"Time a sample, {words}, {qubits} qubits, by samples a batch:")
            parts.append(tables.by_size(report, kind, row, [str(b) for _, b in row]))
    parts.append(
        "\\* timed on part of the batch, by which who computes batches loses part of what a batch\n"
        "gains. A dash: one sample was expected to take too long for this run."
    )
    return "\n\n".join(parts)


def _arithmetic(rows: tuple[Efficiency, ...], lanes: int) -> str:
    qubits, layers = rows[0].qubits, rows[0].layers
    peak = max(row.peak for row in rows if row.threads == 1)
    lines = []
    for form in ("textbook", "factored"):
        count = multiply_adds(qubits, layers, form)
        time = duration(count.gradient / peak)
        lines.append(f"| {form} | {count.forward:,} | {count.gradient:,} | {time} |")
    counts = "\n".join(lines)
    return f"""## How far from the arithmetic

Multiply-adds of real numbers for one sample of {qubits} qubits and {layers} layers, counted:

| Form | forward | forward and gradient | at peak, one thread |
|:-----|--------:|---------------------:|--------------------:|
{counts}

For n qubits, per layer and amplitude:

- *textbook*: each rotation a complex 2×2 matrix, 8n. The adjoint undoes them on ψ and on λ, and
  takes the products with three Pauli matrices, 22n.
- *factored*, what the engine does: RZ(ω) RY(θ) RZ(φ) as phases, three real shears, and phases.
  Shears take 3n. The phases of k qubits treated together are one complex factor on all but one of
  2ᵏ amplitudes, before and after: 8 Σ(1 − 2⁻ᵏ) over groups of three or two qubits. The adjoint
  takes twice that, and 2n + 4 Σ(1 − 2⁻ᵏ) for the sums that become gradients.

Reading out adds 2 an amplitude for each pass. Sines and cosines, loads, stores and permutations
count nothing, so the floor cannot quite be reached. The peak is measured in turn with the engine:
independent float32 multiply-adds in registers, in vectors as wide as the engine's,
{2e-9 * peak:.0f} GFLOP/s on one thread (a multiply-add is two operations).

{tables.efficiency(rows)}

{lanes} samples are computed together; a batch that is no multiple of that pays for empty lanes."""


def _amplitudes(all_rows: tuple[Efficiency, ...]) -> str:
    rows = [row for row in all_rows if row.kind == "gradient"]
    if not rows:
        return ""
    lines = []
    for threads in sorted({row.threads for row in rows}):
        cost = [tables.amplitude_ns(row) for row in rows if row.threads == threads]
        each = [tables.amplitude_ns(row) / row.qubits for row in rows if row.threads == threads]
        lines.append(
            f"- on {tables.threads(threads)}, ×{max(cost) / min(cost):.2f} an amplitude, "
            f"×{max(each) / min(each):.2f} an amplitude and qubit"
        )
    low, high = min(row.qubits for row in rows), max(row.qubits for row in rows)
    spread = "\n".join(lines)
    return f"""## Cost of an amplitude

Forward and gradient, {rows[0].batch} samples. A layer rotates every qubit, so the arithmetic for an
amplitude grows a little less than with n.

![Arithmetic achieved, and cost of an amplitude](figures/performance-arithmetic.png)

{tables.amplitudes(rows)}

The dearest over the cheapest from {low} to {high} qubits:

{spread}"""


def _scaling(report: Report) -> str:
    if not report.scaling:
        return ""
    return f"""## The whole program

`qbench.evaluate` with PGD on the zoo's `reup`, on one thread: attack, verify, score. The exponent
is the slope of log time against log size: 1 is linear, and less where a fixed cost shows at the
small end.

![Time against images, attack steps and trained models](figures/performance-scaling.png)

{tables.scaling(report)}"""


def _contenders(report: Report) -> str:
    lines = [f"- **{escape(name)}**: {how}" for name, how in report.contenders.items()]
    words = "## The contenders\n\n" + "\n".join(lines)
    if report.skipped:
        skipped = [f"- **{escape(name)}**: {escape(why)}" for name, why in report.skipped.items()]
        words += "\n\nLeft out of this run, or of its larger sizes:\n\n" + "\n".join(skipped)
    return words


def _hardware(report: Report) -> str:
    machine = report.machine
    cores = f"{machine.cores} core{'s' if machine.cores > 1 else ''}"
    lanes = f"{machine.lanes} float32 lanes"
    return f"{escape(machine.processor)}, {cores}, {machine.instructions} ({lanes})"


def _machine(report: Report) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in report.machine.versions.items())
    return f"## Machine\n\n{_hardware(report)}, {report.machine.system}. {versions}."


def _figures(report: Report, qubits: int, batch: int) -> dict[str, bytes]:
    from qbench.benchmarks import figures
    from qbench.reporting.figures.style import png

    drawn = {"performance-contenders.png": png(figures.contenders(report, qubits, batch))}
    if report.amplitudes:
        drawn["performance-arithmetic.png"] = png(figures.arithmetic(report.amplitudes))
    if report.scaling:
        drawn["performance-scaling.png"] = png(figures.scaling(report))
    return drawn
