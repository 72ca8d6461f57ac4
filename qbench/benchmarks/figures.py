"""The benchmark's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from qbench.benchmarks.contenders import DEFAULT, ONE_THREAD
from qbench.benchmarks.report import Efficiency, Report, Timing
from qbench.benchmarks.tables import KINDS, amplitude_ns, threads
from qbench.reporting.figures.style import FAINT, WIDTH, new_figure, styled

# The colours of the other figures (Paul Tol's "muted"); ours have one colour together.
_OURS = "#332288"
_OTHERS = ("#CC6677", "#117733", "#AA4499", "#44AA99", "#882255", "#999933", "#88CCEE")
_MARKERS = ("s", "^", "D", "v", "P", "X", "<")


@styled
def contenders(report: Report, qubits: int, batch: int) -> Figure:
    """Time a sample against qubits (at one batch size) and against batch (at one circuit size)."""
    figure = new_figure(WIDTH, 4.1)
    left, right = figure.subplots(1, 2, sharey=True)
    for name, look in _looks(report).items():
        mine = [t for t in report.timings if t.contender == name and t.samples]
        column = sorted((t.qubits, _seconds(t)) for t in mine if t.batch == batch)
        row = sorted((t.batch, _seconds(t)) for t in mine if t.qubits == qubits)
        for axes, points in ((left, column), (right, row)):
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, **look)
    _logarithmic(left)
    left.set_xlabel("qubits")
    left.set_title(f"{batch} samples a batch")
    left.set_ylabel("forward and gradient, time a sample")
    left.set_xticks(sorted({t.qubits for t in report.timings if t.batch == batch}))
    _logarithmic(right, sorted({t.batch for t in report.timings if t.qubits == qubits}))
    right.tick_params(labelleft=False)
    right.set_xlabel("samples a batch")
    right.set_title(f"{qubits} qubits")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, handlelength=3.0)
    return figure


def _seconds(timing: Timing) -> float:
    return (timing.gradient_s or 0.0) / timing.samples


def _looks(report: Report) -> dict[str, dict[str, Any]]:
    """Colours, markers and lines of those that were timed."""
    common = {"markeredgecolor": "white", "markeredgewidth": 0.5}
    ours = {
        DEFAULT: {"color": _OURS, "marker": "o", "linewidth": 2.0, "zorder": 4, **common},
        ONE_THREAD: {"color": _OURS, "marker": "o", "linestyle": (0, (3.5, 1.6)), **common},
    }
    timed = {timing.contender for timing in report.timings if timing.samples}
    looks, others = {}, 0
    for name in (name for name in report.contenders if name in timed):
        looks[name] = ours.get(name) or {
            "color": _OTHERS[others % len(_OTHERS)],
            "marker": _MARKERS[others % len(_MARKERS)],
            **common,
        }
        others += name not in ours
    return looks


@styled
def arithmetic(rows: Sequence[Efficiency]) -> Figure:
    """Achieved arithmetic and cost of an amplitude, against qubits."""
    figure = new_figure(WIDTH, 2.7)
    left, right = figure.subplots(1, 2)
    for place, count in enumerate(sorted({row.threads for row in rows})):
        colour = (_OURS, "#44AA99")[place % 2]
        peak = 2e-9 * max(row.peak for row in rows if row.threads == count)
        label = threads(count)
        left.axhline(peak, color=colour, linewidth=1.0, linestyle=":", label=f"peak, {label}")
        for kind, marker, line in (("gradient", "o", "-"), ("forward", "^", (0, (3.5, 1.6)))):
            mine = sorted(
                (row for row in rows if (row.threads, row.kind) == (count, kind)),
                key=lambda row: row.qubits,
            )
            x = [row.qubits for row in mine]
            look = {"color": colour, "marker": marker, "linestyle": line}
            left.plot(x, [row.gflops for row in mine], label=f"{KINDS[kind]}, {label}", **look)
            right.plot(x, [amplitude_ns(row) for row in mine], **look)
    left.set_title("arithmetic achieved")
    left.set_ylabel("GFLOP/s, float32")
    right.set_title("cost of an amplitude in a layer")
    right.set_ylabel("ns a sample")
    for axes in (left, right):
        axes.set_xlabel("qubits")
        axes.set_xticks(sorted({row.qubits for row in rows}))
        axes.set_ylim(bottom=0)
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, handlelength=3.0)
    return figure


@styled
def scaling(report: Report) -> Figure:
    """Time of whole evaluations against images, steps and models, with lines of slope 1."""
    figure = new_figure(WIDTH, 2.5)
    panels = figure.subplots(1, len(report.scaling), squeeze=False)[0]
    for axes, row in zip(panels, report.scaling, strict=True):
        last = row.seconds[-1] / row.sizes[-1]
        line = [last * size for size in row.sizes]
        axes.plot(row.sizes, line, color=FAINT, linewidth=1.0, linestyle=":", label="slope 1")
        axes.plot(row.sizes, row.seconds, color=_OURS, marker="o", label="measured")
        _logarithmic(axes, list(row.sizes))
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.set_xlabel(row.what)
        axes.set_title(f"exponent {row.exponent:.2f}")
    panels[0].set_ylabel("time")
    panels[0].legend(loc="upper left")
    return figure


def _logarithmic(axes: Axes, sizes: list[int] | None = None) -> None:
    """Times upwards, and sizes along where there are any, on logarithmic axes."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(_time))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if sizes is not None:
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())


def _time(seconds: float, _place: int | None) -> str:
    """A tick: `20 ms`."""
    unit, scale = ("s", 1.0) if seconds > 0.99 else ("ms", 1e3) if seconds > 99e-5 else ("µs", 1e6)
    return f"{seconds * scale:g} {unit}"
