from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import CLASS_NAMES, Fake, Run, glyph

from qbench.report.board import Board, ModelFacts
from qbench.report.collect import collect
from qbench.report.examples import Example, Examples
from qbench.report.figures import bounds, certified, curves, matrix, style
from qbench.report.figures import examples as attacked
from qbench.report.text import short


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of visible words that cover each other, and words that leave the figure."""
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    figure.draw(renderer)
    words = [
        text
        for axes in figure.axes
        for text in [
            *axes.texts,
            # Only what is drawn: a locator also makes ticks beyond the limits.
            *[tick.label1 for axis in (axes.xaxis, axes.yaxis) for tick in axis._update_ticks()],
            *[axes.title, axes._left_title, axes._right_title],  # type: ignore[attr-defined]
            *[axes.xaxis.label, axes.yaxis.label],
        ]
        if text.get_visible() and text.get_text().strip()
    ]
    words += [text for text in figure.texts if text.get_text()]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in words]
    # The box of a slanted name is far larger than its ink.
    slanted = {text.get_text() for text in words if text.get_rotation() % 90}
    width, height = figure.bbox.width, figure.bbox.height
    bad = [
        (name, "the edge")
        for name, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]
    for place, (name, box) in enumerate(boxes):
        for other, beside in boxes[place + 1 :]:
            covered_x = min(box.x1, beside.x1) - max(box.x0, beside.x0)
            covered_y = min(box.y1, beside.y1) - max(box.y0, beside.y0)
            if covered_x > 1 and covered_y > 1 and not {name, other} & slanted:
                bad.append((name, other))
    return bad


def example(board: Board) -> Examples:
    """A glyph that every second model withstands."""
    x = glyph(2)
    rows = tuple(
        Example(m.name, 0, x, None, 2, None)
        if place % 2
        else Example(m.name, 0, x, np.clip(x + 0.1, 0, 1), 2, 1)
        for place, m in enumerate(board.models)
    )
    return Examples(0.1, 2, 2, rows)


MANY = (*ATTACKS, *(f"art-another-attack:parameter={i}" for i in range(18)))


FIGURES = {
    "attacks": lambda board: matrix.attacks(board),
    "accuracy": lambda board: curves.accuracy(board),
    "training": lambda board: curves.training(board),
    "lipschitz": lambda board: bounds.lipschitz(board),
    "transfer": lambda board: matrix.transfer(board, board.transfers[0]),
    "certified": lambda board: certified.accuracy(board, "linf"),
    "radii": lambda board: certified.radii(board, "linf"),
    "examples": lambda board: attacked.examples(example(board), CLASS_NAMES),
}


LONG = tuple(Fake(f"w{'-wide-name' * 5}-{i}", "quantum", 1, 0.1, 3, 5.0) for i in range(9))


@cache
def board_of(models: tuple[Fake, ...]) -> Board:
    return collect(full_run(models=models, seeds=(0, 1), n=8, certified=True).results)


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "models",
    [
        MODELS + TRAINED,
        LONG[:6],
        LONG[:2],
    ],
    ids=["all", "long", "two-long"],
)
def test_words_neither_overlap_nor_leave_the_picture(name: str, models: tuple[Fake, ...]) -> None:
    figure = FIGURES[name](board_of(models))
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(figure) == []


@pytest.mark.parametrize("name", ["accuracy", "attacks"])
@pytest.mark.parametrize(
    ("models", "attacks"),
    [
        pytest.param(MODELS + TRAINED, ("fab", "pgd"), id="all-two"),
        pytest.param(LONG[:5], MANY, id="long-thirty"),
        pytest.param(LONG[:5], ("fab", "pgd"), id="long-two", marks=pytest.mark.slow),
        pytest.param(MODELS + TRAINED, MANY, id="all-thirty", marks=pytest.mark.slow),
    ],
)
def test_words_stay_apart_with_several_attacks(
    name: str, models: tuple[Fake, ...], attacks: tuple[str, ...]
) -> None:
    run = full_run(models=models, seeds=(0,), budgets=(0.05, 0.2), attacks=attacks, n=8)
    board = collect(run.results)
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(FIGURES[name](board)) == []


@pytest.mark.parametrize("pairs", [1, 4, 7])
def test_words_of_adversarial_training_stay_apart(pairs: int) -> None:
    names = [f"{'wide-name' * 4}-{place}{end}" for place in range(pairs) for end in ("", "-at")]
    models = [
        Fake(
            *(name, "quantum", 1, 0.1, 3, 5.0),
            variant_of=name.removesuffix("-at") if name.endswith("-at") else None,
        )
        for name in names
    ]
    run = full_run(models=models, seeds=(0,), n=8)
    board = collect(run.results)
    assert len(board.trained_pairs) == pairs
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(curves.adversarial_training(board)) == []


def test_twenty_models_look_different() -> None:
    families = ["classical"] * 8 + ["quantum"] * 12
    facts = [board_of(MODELS).models[0] for _ in families]
    models = [
        replace(m, name=f"m{i}", family=f)
        for i, (m, f) in enumerate(zip(facts, families, strict=True))
    ]
    looks = style.looks(models)
    for family in ("classical", "quantum"):
        own = [looks[m.name] for m in models if m.family == family]
        assert len({(look.colour, look.line) for look in own}) == len(own)
    assert len({(look.colour, look.marker, look.line) for look in looks.values()}) == 20


def test_every_line_has_its_name_at_its_end() -> None:
    board = board_of(MODELS + TRAINED)
    figure = curves.accuracy(board)
    named = [text.get_text() for axes in figure.axes[:2] for text in axes.texts if text.get_text()]
    assert sorted(named) == sorted(short(model.name) for model in board.models)


def test_the_worst_case_is_drawn_above_the_reference_attack() -> None:
    run = full_run(models=MODELS, attacks=("fab", "pgd", "square"), seeds=(0,), n=20)
    board = collect(run.results)
    figure = curves.accuracy(board)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        *["accuracy in the worst case", "", "accuracy under fab", ""]
    ]
    by_name = {row.model.name: row for row in board.rows}
    for line in figure.axes[0].lines:
        if line.get_label() in by_name:
            row = by_name[str(line.get_label())]
            drawn = [row.clean.mean, *[row.worst_at[eps].mean for eps in (0.05, 0.1, 0.2)]]
            assert line.get_ydata() == pytest.approx(drawn)


def test_the_heat_map_frames_the_strongest_attack() -> None:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(MODELS[0], 0, 0.1, yes, np.array([True, True, True, False]), "pgd")
    run.attacked(MODELS[0], 0, 0.1, yes, np.array([True, False, True, True]), "fab")
    run.attacked(MODELS[0], 0, 0.1, yes, np.array([True, False, False, True]), "apgd")
    board = collect(run.results)
    (axes, *_) = matrix.attacks(board).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *["fab", "pgd", "apgd", "worst case"]
    ]
    assert [text.get_text() for text in axes.texts] == ["0.75", "0.75", "0.50", "0.25"]
    assert [text.get_fontweight() for text in axes.texts] == ["normal", "normal", "bold", "normal"]


def test_a_transfer_matrix_may_have_holes() -> None:
    run = full_run(models=MODELS[-4:], seeds=(0, 1), n=8)
    run.records = [
        r
        for r in run.records
        if r.task.kind != "transfer" or (r.task.model.seed == 0 and r.task.model.name != "fourier")
    ]
    board = collect(run.results)
    shown = [text.get_text() for text in matrix.transfer(board, board.transfers[0]).axes[0].texts]
    assert shown.count("—") == 3
    assert len(shown) == 16


def test_colours_and_markers_are_unique_and_families_differ_by_line() -> None:
    models = [ModelFacts(f"m{i:02}", "classical") for i in range(90)]
    drawn = style.looks([*models[:2], ModelFacts("q", "quantum")])
    assert drawn["m00"].line == drawn["m01"].line != drawn["q"].line
    assert len({(look.colour, look.marker) for look in style.looks(models).values()}) == 90


def test_class_names_have_glyphs_in_the_font() -> None:
    for weight in ("normal", "bold"):
        path = font_manager.findfont(
            font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        )
        drawn = FT2Font(path).get_charmap()
        assert [c for c in "-+⊢⊣ε±→δ′✗×ℓ≤—" if ord(c) not in drawn] == []
