from __future__ import annotations

import json
import random
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from synthetic import CLASS_NAMES, MODELS, Fake, Run, full_run, glyph

from qbench.errors import StoreError, UnknownNameError
from qbench.reporting import build, write_sample_sheet
from qbench.reporting.board import ModelFacts
from qbench.reporting.examples import choose
from qbench.reporting.figures import bounds, curves, glyphs, matrix, style
from qbench.reporting.samples import class_names
from qbench.reporting.table import collect


def built(run: Run, out: Path) -> dict[str, bytes]:
    paths = build(run.records, run.images, out, classes=CLASS_NAMES)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def run() -> Run:
    return full_run(models=MODELS[-4:], seeds=(0, 1), n=20)


@pytest.fixture(scope="module")
def files(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return built(run, tmp_path_factory.mktemp("leaderboard"))


def test_everything_is_there(files: dict[str, bytes]) -> None:
    assert set(files) == {
        "README.md",
        "leaderboard.json",
        "figures/accuracy.png",
        "figures/transfer-pgd-0.1.png",
        "figures/lipschitz.png",
        "figures/training.png",
        "figures/examples-pgd.png",
    }


def test_the_page_embeds_every_picture_with_words(files: dict[str, bytes]) -> None:
    embedded = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", files["README.md"].decode())
    assert {path for _, path in embedded} == {name for name in files if name.endswith(".png")}


def test_shuffled_records_give_the_same_bytes(
    run: Run, files: dict[str, bytes], tmp_path: Path
) -> None:
    shuffled = Run(run.n, list(run.records), run.columns)
    random.Random(3).shuffle(shuffled.records)
    assert built(shuffled, tmp_path) == files


def test_pngs_name_no_software_and_no_date(files: dict[str, bytes]) -> None:
    for name in (name for name in files if name.endswith(".png")):
        assert chunks(files[name]) == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}, name


def chunks(png: bytes) -> set[bytes]:
    """Types of a PNG's chunks (length, type, data, checksum after eight bytes of signature)."""
    found, at = set(), 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.add(png[at + 4 : at + 8])
        at += 12 + length
    return found


def test_users_settings_change_nothing(run: Run, files: dict[str, bytes], tmp_path: Path) -> None:
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 20, "font.family": "serif", "savefig.dpi": 30}):
        assert built(run, tmp_path)["figures/accuracy.png"] == files["figures/accuracy.png"]


def test_the_numbers_for_machines(run: Run, files: dict[str, bytes]) -> None:
    board = collect(run.records, run.images)
    data = json.loads(files["leaderboard.json"])
    assert [row["model"] for row in data["rows"]] == [row.model.name for row in board.rows]
    last, row = data["rows"][-1], board.rows[-1]
    assert last["worst_case_robust_accuracy"]["mean"] == row.worst.mean
    assert last["robust_accuracy"][1]["by_seed"] == {
        str(seed): value for seed, value in row.robust[board.settings[1]].by_seed
    }
    assert len(data["transfer"]) == 16


def test_a_run_with_nothing_but_failures_still_has_a_page(tmp_path: Path) -> None:
    run = Run()
    run.add("training", MODELS[0], 0, status="failed", reason="out of memory")
    files = built(run, tmp_path)
    assert set(files) == {"README.md", "leaderboard.json"}
    assert b"failed (every seed): training: out of memory" in files["README.md"]


def test_a_folder_that_cannot_be_written(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        built(run, tmp_path / "file")


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


FIGURES = {
    "accuracy": lambda run, board: curves.accuracy(board),
    "training": lambda run, board: curves.training(board),
    "lipschitz": lambda run, board: bounds.lipschitz(board),
    "transfer": lambda run, board: matrix.transfer(board, board.transfers[0]),
    "examples": lambda run, board: glyphs.examples(
        choose(board, run.records, run.images, "pgd"), CLASS_NAMES
    ),
}


LONG = tuple(Fake(f"w{'-wide-name' * 5}-{i}", "quantum", 1, 0.1, 3, 5.0) for i in range(9))


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize(
    "models",
    [
        MODELS,
        MODELS[-2:],
        LONG,
        LONG[:2],
        tuple(Fake(f"model-{place}", "quantum", 1, 0.1, 3, 5.0) for place in range(14)),
    ],
    ids=["all", "two", "long", "two-long", "many"],
)
def test_words_neither_overlap_nor_leave_the_picture(name: str, models: tuple[Fake, ...]) -> None:
    run = full_run(models=models, seeds=(0, 1), n=20)
    board = collect(run.records, run.images)
    figure = FIGURES[name](run, board)
    with style.matplotlib.style.context(["default", style._STYLE]):
        assert overlapping(figure) == []


def test_a_transfer_matrix_may_have_holes(run: Run) -> None:
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


def test_the_example_is_the_image_that_fools_most_models() -> None:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    for model, broken in ((MODELS[0], "0010"), (MODELS[1], "0011"), (MODELS[2], "0000")):
        withstood = np.array([c == "0" for c in broken])
        run.attacked(model, 4, 0.1, yes, withstood)
        run.attacked(model, 5, 0.1, yes, ~yes)
    board = collect(run.records, run.images)
    shown = choose(board, run.records, run.images, "pgd")
    assert shown is not None
    assert (shown.index, shown.label) == (2, 2)
    assert {row.seed for row in shown.rows} == {4}
    assert [row.model for row in shown.rows] == ["reup", "reup-0.1", "reup-ep100"]
    assert [row.adversarial_prediction for row in shown.rows] == [3, 2, 3]
    assert np.array_equal(shown.rows[0].x, glyph(2))


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


def test_sample_sheet() -> None:
    labels = np.arange(22) % 4
    images = np.stack([glyph(label) for label in labels])
    figure = glyphs.sample_sheet(images, labels, CLASS_NAMES)
    assert [axes.get_ylabel() for axes in figure.axes[::8]] == list(CLASS_NAMES)
    # 22 images are six of the first two classes and five of the others.
    assert sum(len(axes.images) for axes in figure.axes) == 22
    drawn = style.png(figure)
    assert drawn == style.png(glyphs.sample_sheet(images, labels, CLASS_NAMES))
    assert len(drawn) > 2000


def test_sample_sheet_of_a_data_set(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from qbench.datasets.base import Dataset, Split

    labels = np.arange(8) % 4
    x = np.stack([glyph(label).ravel() for label in labels])
    split = Split(torch.from_numpy(x), torch.from_numpy(labels))
    # The test images are the ones drawn: an empty train split must not matter.
    none = Split(split.x[:0], split.y[:0])
    given = {"name": "g", "version": 1, "sha256": "0" * 64, "image_shape": (16, 16)}
    write_sample_sheet(
        Dataset(**given, classes=CLASS_NAMES, train=none, test=split), tmp_path / "sheet.png"
    )
    expected = glyphs.sample_sheet(x.reshape(-1, 16, 16), labels, CLASS_NAMES)
    assert (tmp_path / "sheet.png").read_bytes() == style.png(expected)


def test_class_names_come_from_the_data_set_where_it_is_installed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = pytest.importorskip("qbench.tasks")
    data = type("Data", (), {"classes": ["a", "b"]})
    monkeypatch.setattr(tasks, "load_data", {"glyphs": data}.__getitem__)
    assert class_names(run.records) == ("a", "b")

    def unknown(name: str) -> None:
        raise UnknownNameError("dataset", name, [])

    monkeypatch.setattr(tasks, "load_data", unknown)
    assert class_names(run.records) == ()
