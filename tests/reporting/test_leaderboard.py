from __future__ import annotations

import json
import random
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import CLASS_NAMES, Run, glyph

from qbench.errors import StoreError, UnknownNameError
from qbench.records import Record
from qbench.reporting import build, write_sample_sheet
from qbench.reporting.examples import choose
from qbench.reporting.figures import glyphs, style
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
    assert len(data["transfer_averages"]) == 4
    assert last["worst_case"][1]["mean"] == row.worst_at[0.1].mean
    assert last["images_kept_by_most_seeds"] == row.kept
    assert [(c["first"], c["p_holm"]) for c in data["comparisons"]] == [
        (c.first, c.p_holm) for c in board.comparisons
    ]
    assert len(data["comparisons"]) == 6


def test_flags_for_machines(tmp_path: Path) -> None:
    run = full_run(models=MODELS[:1], seeds=(0, 1), n=8)
    run.diagnosed(MODELS[0], 1, "restarts-gain", again=True, base=0.5, more_restarts=0.25)
    (row,) = json.loads(built(run, tmp_path)["leaderboard.json"])["rows"]
    numbers = {"as attacked": 0.5, "4 restarts more": 0.25}
    expected = {"flag": "restarts-gain", "seeds": [1], "numbers": numbers, "details": []}
    assert row["flags"] == [expected]


def test_the_pictures_of_many_attacks_are_few(tmp_path: Path) -> None:
    models = (MODELS[0], TRAINED[0], MODELS[-1])
    run = full_run(models=models, attacks=tuple(ATTACKS), seeds=(0,), n=8)
    assert set(built(run, tmp_path)) == {
        "README.md",
        "leaderboard.json",
        "figures/accuracy.png",
        "figures/adversarial-training.png",
        "figures/attacks.png",
        "figures/transfer-pgd-0.1.png",
        "figures/lipschitz.png",
        "figures/training.png",
        "figures/examples-pgd.png",
    }


def test_names_of_pictures_are_safe(tmp_path: Path) -> None:
    run = full_run(models=MODELS[:2], attacks=("pgd:steps=5",), seeds=(0,), n=8)
    names = [name for name in built(run, tmp_path) if "steps" in name]
    assert len(names) == 2
    assert all(re.fullmatch(r"figures/[a-z0-9.-]+\.png", name) for name in names)


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


def test_an_example_of_a_stochastic_model_is_its_first_pass() -> None:
    run = Run(n=4)
    yes = np.ones(4, dtype=np.bool_)
    record = run.attacked(MODELS[0], 0, 0.1, yes, yes)
    columns = run.columns[record.key]
    for name in ("clean_prediction", "adversarial_prediction"):
        columns[name] = np.stack([columns[name], columns[name]])
    columns["adversarial_prediction"][0, 1] = 3
    shown = choose(collect(*half_lost(run, record)), run.records, run.images, "pgd")
    assert shown is not None
    assert (shown.index, shown.rows[0].adversarial_prediction) == (1, 3)


def half_lost(run: Run, record: Record) -> tuple[list[Record], Any]:
    """One of two passes loses one of four images."""
    metrics = record.metrics.model_copy(update={"robust_accuracy": 7 / 8})  # type: ignore[union-attr]
    run.records[:] = [record.model_copy(update={"metrics": metrics})]
    return run.records, run.images


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
