"""The pictures of `docs/noise.md`, from the rows of `studies/noise/noise_study.json`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import mean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from qbench.report.board import ModelFacts
from qbench.report.figures.style import FAINT, INK, WIDTH, looks, new_figure, styled

Row = dict[str, Any]
Read = Callable[[Row], float]

# What is read off a row, and how it is drawn; the colours are Paul Tol's "muted" ones.
_LINES: dict[str, dict[str, Any]] = {
    "clean": {"color": FAINT, "marker": "s", "ls": (0, (3, 1.5)), "label": "clean accuracy"},
    "square": {"color": "#DDAA33", "marker": "^", "label": "Square on what the noise shows"},
    "pgd": {"color": "#88CCEE", "marker": "v", "label": "PGD, one pass a gradient"},
    "pgd eot": {"color": "#44AA99", "marker": "D", "label": "PGD, mean of 8 passes"},
    "ideal": {"color": "#332288", "marker": "o", "label": "made on the ideal simulator"},
}
_WORST: dict[str, Any] = {"color": "#CC6677", "lw": 5, "alpha": 0.45, "label": "worst case"}
_DASHES: tuple[Any, ...] = ((0, (1, 1.2)), (0, (4, 1.5)), (0, (1, 3)), (0, (7, 1.5, 1, 1.5)))
_MARKS: dict[str, Any] = {"ms": 3.6, "markeredgecolor": "white", "mew": 0.4, "clip_on": False}


def _models(rows: Iterable[Row], part: str) -> list[str]:
    return list(dict.fromkeys(row["model"] for row in rows if row["part"] == part))


def _read(key: str) -> Read:
    """A column, or the robust accuracy under an attack; exact circuits have one kind of PGD."""

    def read(row: Row) -> float:
        robust = row["robust"]
        exact = {"pgd": "ideal pgd", "pgd eot": "ideal pgd"}.get(key, key)
        return row[key] if key in row else robust.get(key, robust.get(exact, float("nan")))

    return read


def _along(rows: Sequence[Row], places: Mapping[Any, float], of: str, read: Read) -> list[float]:
    """Means over seeds at each place on the axis."""
    return [mean(read(row) for row in rows if row[of] == where) for where in places]


def _panel(
    axes: Axes, rows: Sequence[Row], places: Mapping[Any, float], of: str, keys: Iterable[str]
) -> None:
    x = list(places.values())
    axes.plot(x, _along(rows, places, of, _read("worst")), solid_capstyle="round", **_WORST)
    for key in keys:
        axes.plot(x, _along(rows, places, of, _read(key)), **_LINES[key] | _MARKS)
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])


def _key(figure: Figure, keys: Iterable[str], columns: int, more: Sequence[Line2D] = ()) -> None:
    handles = [Line2D([], [], **_LINES[key] | {"ms": 4.5, "mec": "white"}) for key in keys]
    figure.legend(
        handles=[*handles, Line2D([], [], **_WORST), *more],
        loc="outside upper center",
        ncols=columns,
        handlelength=2.8,
        columnspacing=1.8,
    )


@styled
def shots(rows: Sequence[Row]) -> Figure:
    """Every attack against the number of shots, one panel a circuit."""
    numbers = sorted({row["shots"] for row in rows if row["part"] == "shots"} - {None})
    places = {n: float(i) for i, n in enumerate(numbers)} | {None: len(numbers) + 0.3}
    models = _models(rows, "shots")
    figure = new_figure(WIDTH, 6.0)
    grid = figure.subplots(-(-len(models) // 4), 4, sharex=True, sharey=True)
    for axes, name in zip(grid.flat, models, strict=True):
        own = [row for row in rows if row["part"] == "shots" and row["model"] == name]
        _panel(axes, own, places, "shots", _LINES)
        axes.set_title(name)
        axes.axvline(len(numbers) - 0.35, color=FAINT, lw=0.7, ls=":")
        axes.set_xticks(list(places.values()), [*map(_short, numbers), "∞"], fontsize=6.5)
    figure.supxlabel("shots a circuit (∞: exact)", fontsize=8)
    figure.supylabel("accuracy, ε = 0.1", fontsize=8)
    _key(figure, _LINES, 3)
    return figure


def _short(number: int) -> str:
    return f"{number // 1024}k" if number >= 1024 else str(number)


@styled
def models(rows: Sequence[Row]) -> Figure:
    """Clean accuracy, worst case and worst case of ten tries of every model against shots."""
    numbers = sorted({row["shots"] for row in rows if row["part"] == "shots"} - {None})
    places = {n: float(i) for i, n in enumerate(numbers)} | {None: len(numbers) + 0.3}
    circuits, networks = _models(rows, "shots"), _models(rows, "classical")
    drawn = looks([ModelFacts(name, "quantum") for name in circuits])
    figure = new_figure(WIDTH, 4.1)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    titles = {"clean": "clean", "worst": "worst case", "tries": "worst case, ten tries"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        for name, dashes in zip(networks, _DASHES, strict=True):
            level = mean(row[key] for row in rows if row["model"] == name)
            axes.axhline(level, color=INK, ls=dashes, lw=0.9)
        for name in circuits:
            own = [row for row in rows if row["part"] == "shots" and row["model"] == name]
            look = {"color": drawn[name].colour, "marker": drawn[name].marker, "lw": 1.1}
            values = _along(own, places, "shots", _read(key))
            axes.plot(list(places.values()), values, **look | _MARKS)
        axes.set_title(title)
        axes.set_ylim(0, 1.02)
        axes.axvline(len(numbers) - 0.35, color=FAINT, lw=0.7, ls=":")
        axes.set_xticks(list(places.values()), [*map(_short, numbers), "∞"], fontsize=6.5)
    panels[1].set_xlabel("shots a circuit (∞: exact)")
    panels[0].set_ylabel("accuracy, ε = 0.1")
    handles = [
        Line2D([], [], color=drawn[name].colour, marker=drawn[name].marker, label=name, mec="white")
        for name in circuits
    ]
    handles += [
        Line2D([], [], color=INK, lw=0.9, ls=dashes, label=name)
        for name, dashes in zip(networks, _DASHES, strict=True)
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=3.0)
    return figure


@styled
def depolarised(rows: Sequence[Row]) -> Figure:
    """Every attack against what depolarising noise leaves of the signal, one panel a circuit."""
    few = [row for row in rows if row["part"] == "depolarised"]
    count, seed = few[0]["shots"], few[0]["seed"]
    left = sorted({row["strength"] for row in few} | {1.0})
    places = {s: float(i) for i, s in enumerate(left)}
    names = _models(rows, "depolarised")
    figure = new_figure(WIDTH, 6.0)
    grid = figure.subplots(-(-len(names) // 4), 4, sharex=True, sharey=True)
    for axes, name in zip(grid.flat, names, strict=True):
        own = [
            row
            for row in rows
            if (row["model"], row["shots"], row["seed"]) == (name, count, seed)
            and row["part"] in ("shots", "depolarised")
        ]
        _panel(axes, own, places, "strength", _LINES)
        axes.axhline(1 / 4, color=FAINT, lw=0.7, ls=":")
        axes.set_title(name)
        axes.set_xticks(list(places.values()), [f"{s:g}".lstrip("0") for s in left], fontsize=6.5)
    figure.supxlabel(f"what is left of the scores, s (at {count} shots)", fontsize=8)
    figure.supylabel("accuracy, ε = 0.1", fontsize=8)
    guess = Line2D([], [], color=FAINT, lw=0.7, ls=":", label="guessing (clean)")
    _key(figure, _LINES, 3, [guess])
    return figure


@styled
def device(rows: Sequence[Row]) -> Figure:
    """Accuracy against the factor on a device's noise, without shots and with."""
    names = _models(rows, "device")
    figure = new_figure(WIDTH, 4.2)
    grid = figure.subplots(2, len(names), sharey=True, sharex="col")
    for column, name in enumerate(names):
        own = [row for row in rows if row["part"] == "device" and row["model"] == name]
        factors = sorted({row["strength"] for row in own})
        places = {f: float(i) for i, f in enumerate(factors)}
        for axes, shot in zip(grid[:, column], (False, True), strict=True):
            found = sorted(
                (row for row in own if bool(row["shots"]) == shot), key=lambda r: r["strength"]
            )
            keys = [k for k in _LINES if k in ("clean", "ideal") or k in found[0]["robust"]]
            _panel(axes, found, places, "strength", keys)
            low, high = ([row[f"worst_{end}"] for row in found] for end in ("low", "high"))
            axes.fill_between(list(places.values()), low, high, color=_WORST["color"], alpha=0.12,
                              lw=0)  # fmt: skip
            axes.margins(x=0.12)
            shown = [f"{f:g}\n{_signal(row)}" for f, row in zip(factors, found, strict=True)]
            axes.set_xticks(list(places.values()), shown, fontsize=6.5)
        grid[0, column].set_title(f"{name}, {own[0]['images']} images", fontsize=7.5)
    count = next(row["shots"] for row in rows if row["part"] == "device" and row["shots"])
    grid[0, 0].set_ylabel("no shots")
    grid[1, 0].set_ylabel(f"{count} shots")
    figure.supxlabel("factor on the device's noise, and the signal s that it leaves", fontsize=8)
    _key(figure, ("clean", "square", "ideal"), 4)
    return figure


def _signal(row: Row) -> str:
    return f"{row['signal']:.2f}".replace("0.", ".") if row["signal"] < 0.995 else "1"


@styled
def local(rows: Sequence[Row]) -> Figure:
    """Worst case and clean accuracy against s, however the signal was lost."""
    names = _models(rows, "local")
    figure = new_figure(WIDTH, 2.9)
    panels = figure.subplots(1, len(names), sharey=True)
    marks = {"global": "", "device": "D", "local": "o"}
    words = ("global depolarising", "the device's noise × 0 to 4", "depolarising after each gate")
    for axes, name in zip(panels, names, strict=True):
        for key, colour in (("clean", INK), ("worst", _WORST["color"])):
            for part, marker in marks.items():
                own = sorted(
                    (row["signal"], row[key])
                    for row in rows
                    if row["part"] == part and row["model"] == name and row["shots"]
                )
                line = {"marker": marker, "ls": "" if marker else "-", "color": colour}
                axes.plot(*zip(*own, strict=True), **line | _MARKS | {"ms": 5, "alpha": 0.85})
        axes.set_xscale("log")
        axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], [".02", ".05", ".1", ".2", ".5", "1"])
        axes.minorticks_off()
        axes.set_ylim(0, 1.02)
        axes.set_title(name)
    figure.supxlabel(f"signal left, s (at {_count(rows)} shots)", fontsize=8)
    panels[0].set_ylabel("accuracy, ε = 0.1")
    handles = [
        Line2D([], [], color=INK, label="clean"),
        Line2D([], [], color="#CC6677", label="worst case"),
    ]
    handles += [
        Line2D([], [], color=FAINT, marker=marker, ls="" if marker else "-", label=word)
        for marker, word in zip(marks.values(), words, strict=True)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _count(rows: Sequence[Row]) -> int:
    return next(int(row["shots"]) for row in rows if row["part"] == "depolarised")


FIGURES: Mapping[str, Callable[[Sequence[Row]], Figure]] = {
    "shots": shots,
    "models": models,
    "depolarised": depolarised,
    "device": device,
    "local": local,
}
