"""One look for every figure: fonts, colours and markers per model, and files with fixed bytes."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from qbench.report.board import ModelFacts

P = ParamSpec("P")
R = TypeVar("R")

WIDTH = 7.2  # inches: two columns of a paper
DPI = 200
INK = "#262626"
FAINT = "#8c8c8c"
WRONG = "#c1121f"

# Tol's "muted" scheme (Paul Tol, Colour Schemes, 2021): distinct under every common colour-vision
# deficiency. Its light colours come last, so that few models get the strongest contrast.
_COLOURS = (
    *("#332288", "#CC6677", "#117733", "#AA4499", "#44AA99"),
    *("#882255", "#999933", "#88CCEE", "#DDAA33"),
)
# One more marker than colours: the pairs repeat only after 90 models.
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
# By family: the first for as many models as there are colours, the second for as many more.
_LINES: dict[str, tuple[Any, Any]] = {
    "quantum": ("-", (0, (1, 0.8))),
    "classical": ((0, (3.5, 1.6)), (0, (5, 1.2, 1, 1.2))),
}

_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.0,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlelocation": "left",
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
    # A class may be named "$": text is never a formula here.
    "text.parse_math": False,
    "pdf.fonttype": 42,  # TrueType: journals refuse type 3
}


@dataclass(frozen=True)
class Look:
    """How one model is drawn in every figure."""

    colour: str
    marker: str
    line: Any


def looks(models: Sequence[ModelFacts]) -> dict[str, Look]:
    """Marker by place in the order, colour by place in the family, line style by family.

    Where a family has more models than there are colours, a second line style tells them apart.
    """
    found: dict[str, Look] = {}
    members: Counter[str] = Counter()
    for place, model in enumerate(models):
        again, colour = divmod(members[model.family], len(_COLOURS))
        members[model.family] += 1
        found[model.name] = Look(
            colour=_COLOURS[colour],
            marker=_MARKERS[place % len(_MARKERS)],
            line=_LINES.get(model.family, (":", "-."))[again % 2],
        )
    return found


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Draw from matplotlib's defaults and our own settings, whatever a user has configured."""

    @wraps(draw)
    def inside(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.style.context(["default", _STYLE]):
            return draw(*args, **kwargs)

    return inside


def new_figure(width: float, height: float, layout: Any = "constrained") -> Figure:
    """An empty figure (inches) that belongs to no window and no global state."""
    figure = Figure(figsize=(width, height), dpi=DPI, layout=layout)
    FigureCanvasAgg(figure)
    return figure


@styled
def png(figure: Figure) -> bytes:
    """The figure as a PNG; equal figures give equal bytes."""
    buffer = io.BytesIO()
    if (engine := figure.get_layout_engine()) is not None:
        # `savefig` would draw the figure once more to lay it out.
        engine.execute(figure)
        figure.set_layout_engine("none")
    assert isinstance(figure.canvas, FigureCanvasAgg)
    # matplotlib would write its own version into the file.
    figure.canvas.print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()


@styled
def pdf(figure: Figure) -> bytes:
    """The figure as a PDF, with text as text; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="pdf", metadata={"CreationDate": None, "Producer": None})
    return buffer.getvalue()


def hide(axes: Axes) -> None:
    """Leave nothing of the axes but what is drawn in them."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
