"""The benchmark's pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator

from qbench.report.figures.style import FAINT, WIDTH, new_figure, png, styled
from qbench_bench.contenders import DEFAULT, ONE_THREAD
from qbench_bench.report import KINDS, Efficiency, Report, Scaling, threads

# The colours of the other figures (Paul Tol's "muted"); ours have one colour together.
_OURS = "#332288"
_OTHERS = (
    *(("#CC6677", "s"), ("#117733", "^"), ("#AA4499", "D"), ("#44AA99", "v")),
    *(("#882255", "P"), ("#999933", "X"), ("#88CCEE", "<")),
)
_DASHED = (0, (3.5, 1.6))
_LOOKS: dict[str, dict[str, Any]] = {
    DEFAULT: {"color": _OURS, "marker": "o", "linewidth": 2.0, "zorder": 4},
    ONE_THREAD: {"color": _OURS, "marker": "o", "linestyle": _DASHED},
}
_EDGE: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.5}


def draw(report: Report) -> dict[str, bytes]:
    """Every picture that there is something to show in, by its file's name."""
    figures = {"contenders": _contenders(report)}
    if report.amplitudes:
        figures["arithmetic"] = _arithmetic(report.amplitudes)
    if report.scaling:
        figures["scaling"] = _scaling(report.scaling)
    if report.growth:
        figures["certificates"] = _scaling(report.growth)
    return {f"performance-{name}.png": png(figure) for name, figure in figures.items()}


@styled
def _contenders(report: Report) -> Figure:
    """Time a sample against qubits (at one batch size) and against batch (at one circuit size)."""
    qubits, batch = report.qubits, report.batch
    figure = new_figure(WIDTH, 4.1)
    left, right = figure.subplots(1, 2, sharey=True)
    others = cycle(_OTHERS)
    for name in report.contenders:
        mine = [t for t in report.timings if t.contender == name and t.samples]
        if not mine:
            continue
        look = _LOOKS.get(name) or dict(zip(("color", "marker"), next(others), strict=True))
        seconds = {(t.qubits, t.batch): t.per_sample("gradient") for t in mine}
        column = sorted((n, value) for (n, b), value in seconds.items() if b == batch)
        row = sorted((b, value) for (n, b), value in seconds.items() if n == qubits)
        for axes, points in ((left, column), (right, row)):
            axes.plot([x for x, _ in points], [y for _, y in points], label=name, **look, **_EDGE)
    _logarithmic(left)
    left.set_xlabel("qubits")
    left.set_title(f"{batch} samples a batch")
    left.set_ylabel("forward and gradient, time a sample")
    left.set_xticks(sorted({t.qubits for t in report.timings if t.batch == batch}))
    _logarithmic(right, sorted({t.batch for t in report.timings if t.qubits == qubits}))
    right.tick_params(labelleft=False)
    right.set_xlabel("samples a batch")
    right.set_title(f"{qubits} qubits")
    _legend(figure, left, 3)
    return figure


@styled
def _arithmetic(rows: Sequence[Efficiency]) -> Figure:
    """Achieved arithmetic and cost of an amplitude, against qubits."""
    figure = new_figure(WIDTH, 2.7)
    left, right = figure.subplots(1, 2)
    for place, count in enumerate(sorted({row.threads for row in rows})):
        colour = (_OURS, "#44AA99")[place % 2]
        peak = 2e-9 * max(row.peak for row in rows if row.threads == count)
        label = threads(count)
        left.axhline(peak, color=colour, linewidth=1.0, linestyle=":", label=f"peak, {label}")
        for kind, marker, line in (("gradient", "o", "-"), ("forward", "^", _DASHED)):
            mine = [row for row in rows if (row.threads, row.kind) == (count, kind)]
            mine.sort(key=lambda row: row.qubits)
            x = [row.qubits for row in mine]
            look: dict[str, Any] = {"color": colour, "marker": marker, "linestyle": line}
            left.plot(x, [row.gflops for row in mine], label=f"{KINDS[kind]}, {label}", **look)
            right.plot(x, [row.amplitude_ns for row in mine], **look)
    left.set_title("arithmetic achieved")
    left.set_ylabel("GFLOP/s, float32")
    right.set_title("cost of an amplitude in a layer")
    right.set_ylabel("ns a sample")
    for axes in (left, right):
        axes.set_xlabel("qubits")
        axes.set_xticks(sorted({row.qubits for row in rows}))
        axes.set_ylim(bottom=0)
    _legend(figure, left, 2)
    return figure


@styled
def _scaling(rows: Sequence[Scaling]) -> Figure:
    """Time against what grows, a panel each, with lines of slope 1."""
    figure = new_figure(WIDTH, 2.5)
    panels = figure.subplots(1, len(rows), squeeze=False)[0]
    for axes, row in zip(panels, rows, strict=True):
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


def _legend(figure: Figure, axes: Axes, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, handlelength=3.0)


def _logarithmic(axes: Axes, sizes: list[int] | None = None) -> None:
    """Times upwards, and sizes along where there are any, on logarithmic axes."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(EngFormatter("s"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    if sizes is not None:
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.xaxis.set_minor_locator(NullLocator())
