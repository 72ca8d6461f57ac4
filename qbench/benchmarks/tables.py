"""The benchmark's numbers as markdown tables."""

from __future__ import annotations

from collections.abc import Sequence

from tabulate import tabulate

from qbench.benchmarks.report import Efficiency, Report, Timing
from qbench.reporting.text import DASH, escape

KINDS = {"forward": "forward", "gradient": "forward and gradient"}
_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def duration(seconds: float) -> str:
    """Three digits and a unit: `1.23 ms`."""
    scale, unit = next((u for u in _UNITS if seconds >= 0.9995 * u[0]), _UNITS[-1])
    return f"{number(seconds / scale)} {unit}"


def number(value: float) -> str:
    """About three digits, without an exponent: `0.12`, `1.23`, `12.3`, `1,235`."""
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}"


def headline(report: Report, qubits: int, batch: int) -> str:
    """One size in full: time of the batch, both passes, ratios, and how it was timed."""
    rows = []
    for name in report.contenders:
        timing = report.find(name, qubits, batch)
        if timing is None or not timing.samples:
            continue
        row = [escape(name)]
        for kind in KINDS:
            seconds, ratio = timing.per_sample(kind), report.ratio(timing, kind)
            row += [duration(batch * (seconds or 0)), f"×{number(ratio or 0)}"]
        row += [f"{timing.samples} of {batch}", " + ".join(map(str, timing.repetitions))]
        rows.append(row)
    headers = ["Contender", "forward", "ratio", "forward and gradient", "ratio"]
    return _table(rows, [*headers, "samples timed", "calls"])


def by_size(report: Report, kind: str, sizes: Sequence[tuple[int, int]], head: list[str]) -> str:
    """Time a sample, with the ratio to the default engine: a row a contender, a column a size."""
    rows = []
    for name in report.contenders:
        cells = [_cell(report, report.find(name, *size), kind) for size in sizes]
        if any(cell != DASH for cell in cells):
            rows.append([escape(name), *cells])
    return _table(rows, ["Contender", *head])


def _cell(report: Report, timing: Timing | None, kind: str) -> str:
    seconds = None if timing is None else timing.per_sample(kind)
    if timing is None or seconds is None:
        return DASH
    few = "*" if timing.samples < timing.batch else ""
    ratio = report.ratio(timing, kind)
    return duration(seconds) + few + (f" (×{number(ratio)})" if ratio is not None else "")


def efficiency(rows: Sequence[Efficiency]) -> str:
    """The default engine against the arithmetic."""
    headers = ["Batch", "Threads", "Pass", "Multiply-adds", "Time", "Floor", "Time / floor"]
    headers += ["GFLOP/s", "of peak"]
    body = [
        [
            row.batch,
            row.threads,
            KINDS[row.kind],
            f"{row.multiply_adds / 1e6:.1f} M",
            duration(row.seconds),
            duration(row.floor_s),
            number(row.distance),
            f"{row.gflops:.0f}",
            f"{2e-9 * row.peak:.0f}",
        ]
        for row in rows
    ]
    return _table(body, headers)


def amplitudes(rows: Sequence[Efficiency]) -> str:
    """Cost of one amplitude in one layer, and of one of its qubits, by circuit size."""
    counts = sorted({row.threads for row in rows})
    headers = ["Qubits"]
    for count in counts:
        headers += [f"ns an amplitude, {threads(count)}", "and qubit", "time / floor"]
    body = []
    for qubits in sorted({row.qubits for row in rows}):
        line = [str(qubits)]
        for count in counts:
            row = next(r for r in rows if (r.qubits, r.threads) == (qubits, count))
            cost = amplitude_ns(row)
            line += [f"{cost:.3f}", f"{cost / qubits:.4f}", number(row.distance)]
        body.append(line)
    return _table(body, headers)


def threads(count: int) -> str:
    """`1 thread`, `2 threads`."""
    return f"{count} thread{'s' if count > 1 else ''}"


def amplitude_ns(row: Efficiency) -> float:
    """Nanoseconds for one amplitude of one sample in one layer."""
    return 1e9 * row.seconds / (row.batch * row.layers * (1 << row.qubits))


def scaling(report: Report) -> str:
    """The whole program's time against its size."""
    body = [
        [
            row.what,
            row.fixed,
            f"{row.sizes[0]} to {row.sizes[-1]}",
            f"{duration(row.seconds[0])} to {duration(row.seconds[-1])}",
            f"×{number(row.sizes[-1] / row.sizes[0])}",
            f"×{number(row.seconds[-1] / row.seconds[0])}",
            f"{row.exponent:.2f}",
        ]
        for row in report.scaling
    ]
    headers = ["What grows", "Fixed", "Size", "Time", "Size grows", "Time grows", "Exponent"]
    return _table(body, headers)


def _table(rows: Sequence[Sequence[object]], headers: Sequence[str]) -> str:
    align = ["left"] + ["right"] * (len(headers) - 1)
    text: str = tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)
    return text
