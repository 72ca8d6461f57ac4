from __future__ import annotations

import json
import random
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import CLASS_NAMES, Run, bits, glyph, keep_worst, sha

from qbench.datasets.base import Dataset, Split
from qbench.errors import StoreError
from qbench.registry import load_registry
from qbench.report import build, write_sample_sheet
from qbench.report.collect import collect
from qbench.report.datasets import known_dataset
from qbench.report.examples import choose
from qbench.report.export import to_json
from qbench.report.figures import curves, samples, style
from qbench.report.figures.examples import examples


def dataset(n: int, **changed: object) -> Dataset:
    labels = torch.arange(n) % 4
    x = torch.from_numpy(np.stack([glyph(int(label)).ravel() for label in labels]))
    split = Split(x, labels)
    # The test images are the ones drawn: an empty train split must not matter.
    none = Split(x[:0], labels[:0])
    given = {"name": "glyphs", "version": 1, "sha256": sha("data"), "image_shape": (16, 16)}
    given |= {"classes": CLASS_NAMES, "train": none, "test": split} | changed
    return Dataset(**given)  # type: ignore[arg-type]


def built(run: Run, out: Path) -> dict[str, bytes]:
    paths = build(run.results, out, dataset=dataset(run.n))
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def run() -> Run:
    run = full_run(models=MODELS[-4:], seeds=(0, 1), n=20)
    keep_worst(run)
    return run


@pytest.fixture(scope="module")
def files(run: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    return built(run, tmp_path_factory.mktemp("leaderboard"))


def small_run() -> Run:
    """One model and one seed: a page that is soon drawn."""
    return full_run(models=MODELS[:1], seeds=(0,), n=8, checks=False)


def test_everything_is_there(files: dict[str, bytes]) -> None:
    assert set(files) == {
        "README.md",
        "leaderboard.json",
        "figures/accuracy.png",
        "figures/transfer-pgd-0.1.png",
        "figures/lipschitz.png",
        "figures/training.png",
        "figures/examples.png",
    }


def test_the_page_embeds_every_picture_with_words(files: dict[str, bytes]) -> None:
    embedded = re.findall(r"!\[([^\]]+)\]\(([^)]+)\)", files["README.md"].decode())
    assert {path for _, path in embedded} == {name for name in files if name.endswith(".png")}


def test_shuffled_records_give_the_same_bytes(
    run: Run, files: dict[str, bytes], tmp_path: Path
) -> None:
    shuffled = replace(run, records=list(run.records))
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


def test_users_settings_change_nothing(run: Run, files: dict[str, bytes]) -> None:
    import matplotlib as mpl

    board = collect(run.results)
    with mpl.rc_context({"font.size": 20, "font.family": "serif", "savefig.dpi": 30}):
        assert style.png(curves.accuracy(board)) == files["figures/accuracy.png"]


def test_the_numbers_for_machines(run: Run, files: dict[str, bytes]) -> None:
    board = collect(run.results)
    data = json.loads(files["leaderboard.json"])
    assert [row["model"] for row in data["rows"]] == [row.model.name for row in board.rows]
    last, row = data["rows"][-1], board.rows[-1]
    assert last["worst"]["mean"] == row.worst.mean
    assert last["robust"][1]["by_seed"] == {
        str(seed): value for seed, value in row.robust[board.settings[1]].by_seed
    }
    (transfer,) = data["transfer"]
    assert len(transfer["entries"]) == 16
    assert len(transfer["averages"]) == 4
    assert transfer["entries"][1]["source"] == "convnet"
    assert last["worst_at"][1]["mean"] == row.worst_at[0.1].mean
    assert last["worst95"] == list(row.worst95 or ())
    assert last["card"]["structure"] == f"synthetic-{last['card']['family']}"
    assert [(c["first"], c["p_holm"]) for c in data["comparisons"]] == [
        (c.first, c.p_holm) for c in board.comparisons
    ]
    assert len(data["comparisons"]) == 6


def test_flags_for_machines() -> None:
    run = full_run(models=MODELS[:1], seeds=(0, 1), n=8, checks=False)
    run.checked(MODELS[0], 1, large_eps=0.75)
    (row,) = json.loads(to_json(collect(run.results)))["rows"]
    numbers = [["ε = the whole box", 0.75]]
    expected = {"name": "large-eps-not-chance", "seeds": [1], "numbers": numbers, "details": []}
    assert row["flags"] == [{"model": "reup", **expected}]


def test_the_pictures_of_many_attacks_are_few(tmp_path: Path) -> None:
    models = (MODELS[0], TRAINED[0], MODELS[-1])
    run = full_run(models=models, attacks=tuple(ATTACKS), seeds=(0,), n=8)
    assert set(built(run, tmp_path)) == {
        "README.md",
        "leaderboard.json",
        "figures/accuracy.png",
        "figures/adversarial-training.png",
        "figures/attacks.png",
        "figures/transfer-apgd-ce-0.1.png",
        "figures/lipschitz.png",
        "figures/training.png",
    }


def test_names_of_pictures_are_safe(tmp_path: Path) -> None:
    run = full_run(models=MODELS[:2], attacks=("pgd:steps=5",), seeds=(0,), n=8)
    names = [name for name in built(run, tmp_path) if "steps" in name]
    assert len(names) == 1
    assert all(re.fullmatch(r"figures/[a-z0-9.-]+\.png", name) for name in names)


def test_a_run_with_nothing_but_failures_still_has_a_page(tmp_path: Path) -> None:
    run = Run()
    run.add("training", MODELS[0], 0, status="failed", reason="out of memory")
    files = built(run, tmp_path)
    assert set(files) == {"README.md", "leaderboard.json"}
    assert b"failed (every seed): training: out of memory" in files["README.md"]


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        built(small_run(), tmp_path / "file")


def test_sample_sheet() -> None:
    labels = np.arange(22) % 4
    images = np.stack([glyph(label) for label in labels])
    figure = samples.image_sheet(images, labels, CLASS_NAMES)
    assert [axes.get_ylabel() for axes in figure.axes[::8]] == list(CLASS_NAMES)
    # 22 images are six of the first two classes and five of the others.
    assert sum(len(axes.images) for axes in figure.axes) == 22
    drawn = style.png(figure)
    assert drawn == style.png(samples.image_sheet(images, labels, CLASS_NAMES))
    assert len(drawn) > 2000


def test_the_example_is_the_image_that_was_broken_for_most_models() -> None:
    run = Run(n=4)
    yes = bits("1111")
    for model, left in ((MODELS[0], "1101"), (MODELS[1], "1100"), (MODELS[2], "1111")):
        run.attacked(model, 4, 0.1, yes, bits(left))
        run.attacked(model, 5, 0.1, yes, ~yes)
    keep_worst(run)
    shown = choose(collect(run.results), run.results, dataset(4))
    assert shown is not None
    assert (shown.index, shown.label, shown.eps) == (2, 2, 0.1)
    assert {row.seed for row in shown.rows} == {4}
    assert [row.model for row in shown.rows] == ["reup", "reup-0.1", "reup-ep100"]
    assert [row.adversarial_prediction for row in shown.rows] == [3, None, 3]
    assert np.array_equal(shown.rows[0].x, glyph(2))
    assert [row.x_adv is None for row in shown.rows] == [False, True, False]
    words = [text.get_text() for axes in examples(shown, CLASS_NAMES).axes for text in axes.texts]
    assert words[:3] == ["x → ⊢", "|δ| ≤ 0.1", "x′ → ⊣  ✗"]
    assert words[3:5] == ["x → ⊢", "not broken"]


def test_the_prediction_is_that_of_the_attack_that_broke_it_most() -> None:
    run = Run(n=4)
    for attack, margin, prediction in (("fab", -0.5, 0), ("pgd", -2.0, 3), ("square", 1.0, 2)):
        record = run.attacked(MODELS[0], 0, 0.1, bits("1111"), bits("1111"), attack)
        columns = run.columns[record.id]
        columns["adversarial_prediction"][2] = prediction
        columns["adversarial_margin"][2] = margin
        robust = 1.0 if prediction == 2 else 0.75
        metrics = record.metrics.model_copy(update={"robust_accuracy": robust})  # type: ignore[union-attr]
        run.records[-1] = record.model_copy(update={"metrics": metrics})
    keep_worst(run)
    shown = choose(collect(run.results), run.results, dataset(4))
    assert shown is not None
    assert (shown.index, shown.rows[0].adversarial_prediction) == (2, 3)


def test_there_is_no_example_of_other_images() -> None:
    run = Run(n=4)
    run.attacked(MODELS[0], 0, 0.1, bits("1111"), bits("1101"))
    board = collect(run.results)
    assert choose(board, run.results, dataset(4)) is None  # nothing was kept
    keep_worst(run)
    assert choose(board, run.results, dataset(3)) is None
    other = dataset(4)
    assert (
        choose(board, run.results, replace(other, test=Split(other.test.x, other.test.y.flip(0))))
        is None
    )
    assert choose(board, run.results, other) is not None


def test_sample_sheet_of_a_data_set(tmp_path: Path) -> None:
    write_sample_sheet(dataset(8), tmp_path / "sheet.png")
    labels = np.arange(8) % 4
    expected = samples.image_sheet(
        np.stack([glyph(label) for label in labels]), labels, CLASS_NAMES
    )
    assert (tmp_path / "sheet.png").read_bytes() == style.png(expected)


def test_a_data_set_is_known_if_it_is_here_and_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from qbench.datasets.base import load_data

    run = Run(n=4)
    record = run.attacked(MODELS[0], 0, 0.1, bits("1111"), bits("1101"))
    assert known_dataset(run.results) is None  # other content
    data = load_data("glyphs")

    def about(**update: str) -> Run:
        changed = record.task.data.model_copy(update=update)
        task = record.task.model_copy(update={"data": changed})
        return replace(run, records=[record.model_copy(update={"task": task})])

    found = known_dataset(about(sha256=data.sha256).results)
    assert found is not None
    assert found.sha256 == data.sha256
    assert known_dataset(about(name="nobody").results) is None
    assert known_dataset(about(name="iris", sha256=load_data("iris").sha256).results) is not None
    iris = load_registry(()).get("dataset", "iris")
    remote = replace(iris, spec=replace(iris.spec, downloads=True))
    monkeypatch.setitem(load_registry(())._specs["dataset"], "iris", remote)
    assert known_dataset(about(name="iris", sha256=load_data("iris").sha256).results) is None
    assert known_dataset(Run().results) is None


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "figures").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        built(small_run(), tmp_path / "page")
    assert list((tmp_path / "elsewhere").iterdir()) == []
