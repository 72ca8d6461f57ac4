from __future__ import annotations

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import CLASS_NAMES, Fake, Run

from qbench.reporting.board import ModelFacts
from qbench.reporting.examples import choose
from qbench.reporting.figures import bounds, certified, curves, glyphs, matrix, style
from qbench.reporting.table import collect


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


MANY = (*ATTACKS, *(f"art-another-attack:parameter={i}" for i in range(18)))


FIGURES = {
    "attacks": lambda run, board: matrix.attacks(board),
    "accuracy": lambda run, board: curves.accuracy(board),
    "training": lambda run, board: curves.training(board),
    "lipschitz": lambda run, board: bounds.lipschitz(board),
    "transfer": lambda run, board: matrix.transfer(board, board.transfers[0]),
    "certified": lambda run, board: certified.accuracy(board, "linf"),
    "radii": lambda run, board: certified.radii(board, "linf"),
    "examples": lambda run, board: glyphs.examples(
        choose(board, run.records, run.images, "pgd"), CLASS_NAMES
    ),
}


LONG = tuple(Fake(f"w{'-wide-name' * 5}-{i}", "quantum", 1, 0.1, 3, 5.0) for i in range(9))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "models",
    [
        MODELS + TRAINED,
        MODELS[-2:],
        LONG,
        LONG[:2],
        tuple(Fake(f"model-{place}", "quantum", 1, 0.1, 3, 5.0) for place in range(14)),
    ],
    ids=["all", "two", "long", "two-long", "many"],
)
def test_words_neither_overlap_nor_leave_the_picture(name: str, models: tuple[Fake, ...]) -> None:
    run = full_run(models=models, seeds=(0, 1), n=8, certified=True)
    board = collect(run.records, run.images)
    figure = FIGURES[name](run, board)
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(figure) == []


@pytest.mark.parametrize("name", ["accuracy", "attacks"])
@pytest.mark.parametrize("models", [MODELS + TRAINED, LONG, MODELS[:1]], ids=["all", "long", "one"])
@pytest.mark.parametrize("attacks", [("fab", "pgd"), MANY], ids=["two", "thirty"])
def test_words_stay_apart_with_several_attacks(
    name: str, models: tuple[Fake, ...], attacks: tuple[str, ...]
) -> None:
    run = full_run(models=models, seeds=(0,), budgets=(0.05, 0.2), attacks=attacks, n=8)
    board = collect(run.records, run.images)
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(FIGURES[name](run, board)) == []


@pytest.mark.parametrize("pairs", [1, 4, 7])
def test_words_of_adversarial_training_stay_apart(pairs: int) -> None:
    names = [f"{'wide-name' * 4}-{place}{end}" for place in range(pairs) for end in ("", "-at")]
    models = [Fake(name, "quantum", 1, 0.1, 3, 5.0) for name in names]
    run = full_run(models=models, seeds=(0,), n=8)
    for place, record in enumerate(run.records):
        target = record.target.model_copy(update={"structure": "one"})
        source = record.source and record.source.model_copy(update={"structure": "one"})
        run.records[place] = record.model_copy(update={"target": target, "source": source})
    board = collect(run.records, run.images)
    assert len(board.trained_pairs) == pairs
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(curves.adversarial_training(board)) == []


def test_the_worst_case_is_drawn_above_plain_pgd() -> None:
    run = full_run(models=MODELS, attacks=("fab", "pgd", "square"), seeds=(0,), n=20)
    board = collect(run.records, run.images)
    figure = curves.accuracy(board)
    assert [axes.get_ylabel() for axes in figure.axes] == [
        *["accuracy in the worst case", "", "accuracy under pgd", ""]
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
    board = collect(run.records, run.images)
    (axes, *_) = matrix.attacks(board).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        *["fab", "pgd", "apgd", "worst case"]
    ]
    assert [text.get_text() for text in axes.texts] == ["0.75", "0.75", "0.50", "0.25"]
    assert [text.get_fontweight() for text in axes.texts] == ["normal", "normal", "bold", "normal"]


def test_a_transfer_matrix_may_have_holes() -> None:
    run = full_run(models=MODELS[-4:], seeds=(0, 1), n=8)
    part = Run(
        run.n, [r for r in run.records if r.source is None or r.target.seed == 0], run.columns
    )
    part.records = [r for r in part.records if not (r.source and r.target.model == "fourier")]
    board = collect(part.records, part.images)
    shown = [text.get_text() for text in matrix.transfer(board, board.transfers[0]).axes[0].texts]
    assert shown.count("—") == 3
    assert len(shown) == 16


def test_colours_and_markers_are_unique_and_families_differ_by_line() -> None:
    models = [ModelFacts(f"m{i:02}", "classical", 1, "p", "1") for i in range(90)]
    drawn = style.looks([*models[:2], ModelFacts("q", "quantum", 1, "p", "1")])
    assert drawn["m00"].line == drawn["m01"].line != drawn["q"].line
    assert len({(look.colour, look.marker) for look in style.looks(models).values()}) == 90


def test_class_names_have_glyphs_in_the_font() -> None:
    for weight in ("normal", "bold"):
        path = font_manager.findfont(
            font_manager.FontProperties(family="DejaVu Sans", weight=weight)
        )
        drawn = FT2Font(path).get_charmap()
        assert [c for c in "-+⊢⊣ε±→δ′✗×ℓ≤—" if ord(c) not in drawn] == []


def test_wrong_predictions_are_marked_by_more_than_colour() -> None:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    run.attacked(MODELS[0], 0, 0.1, yes, ~yes)
    board = collect(run.records, run.images)
    shown = choose(board, run.records, run.images, "pgd")
    assert shown is not None
    words = [
        text.get_text() for axes in glyphs.examples(shown, CLASS_NAMES).axes for text in axes.texts
    ]
    assert words[:3] == ["x → -", "|δ| ≤ 0.1", "x′ → +  ✗"]
