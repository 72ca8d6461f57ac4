"""Figures as files: a PNG to look at, and a PDF beside it for papers."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from qbench.files import write_atomically
from qbench.report.figures.style import pdf, png


def save(figure: Figure, folder: Path, name: str) -> str:
    """Write a figure as `NAME.png` and `NAME.pdf`.

    Args:
        figure: To draw.
        folder: Where; it is made.
        name: Without an ending.

    Returns:
        The PNG's file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.pdf", pdf(figure))
    write_atomically(folder / f"{name}.png", png(figure))
    return f"{name}.png"
