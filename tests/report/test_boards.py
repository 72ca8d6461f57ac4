"""Boards side by side: rank correlations, their intervals, the sentence and the pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import kendalltau
from simulated import MODELS, full_run
from synthetic import Run, bits, keep_worst

from qbench.cli import cli
from qbench.errors import UsageError
from qbench.records.archive import Archive
from qbench.records.columns import conform, fingerprint
from qbench.records.identity import Protocol
from qbench.records.record import Record
from qbench.records.results import Results
from qbench.records.store import environment_name
from qbench.records.worst import worst_images
from qbench.report.board import Board
from qbench.report.boards import agreements, kendall, sentence
from qbench.report.collect import collect
from qbench.report.seed_values import SeedValues

NAMES = [model.name for model in MODELS[:6]]


@pytest.fixture(scope="module")
def board() -> Board:
    return collect(full_run(models=MODELS[:6], seeds=(0,), n=8).results)


def ordered(board: Board, means: list[float], spread: float, data: str = "glyphs") -> Board:
    """A board on which the models have these means over three seeds, that far from the middle."""
    rows = []
    for row in board.rows:
        mean = means[NAMES.index(row.model.name)]
        worst = SeedValues(by_seed=((0, mean - spread), (1, mean), (2, mean + spread)))
        rows.append(replace(row, rank=1, obstacles=(), worst=worst))
    about = board.about
    sha256 = f"{data:0<64}"
    about = replace(about, data=about.data.model_copy(update={"name": data, "sha256": sha256}))
    return replace(board, rows=tuple(rows), about=about)


UP = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]


def test_kendalls_tau_is_that_of_scipy() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 5, (2, 40, 7)).astype(float)  # with ties
    found = kendall(x, y)
    assert found.shape == (40,)
    for row in range(40):
        assert found[row] == pytest.approx(kendalltau(x[row], y[row]).statistic)
    assert np.isnan(kendall(np.ones(4), np.arange(4.0)))


def test_orders_that_are_the_same_opposite_and_one_pair_apart(board: Board) -> None:
    swapped = [0.2, 0.1, *UP[2:]]
    boards = {
        "first": ordered(board, UP, 0.001),
        "same": ordered(board, UP, 0.001, "a"),
        "swapped": ordered(board, swapped, 0.001, "b"),
        "opposite": ordered(board, UP[::-1], 0.001, "c"),
    }
    same, one, opposite = agreements(boards)
    assert (same.board, same.models) == ("same", 6)
    assert (same.tau, same.low, same.high) == (1, 1, 1)
    assert one.tau == pytest.approx(13 / 15)  # 14 of 15 pairs in order, 1 not
    assert (opposite.tau, opposite.high) == (-1, -1)
    said = sentence(boards)
    assert said is not None
    assert said.startswith("It depends on the board: on same Kendall's τ is 1.00 (95 % interval ")
    assert "opposite Kendall's τ is −1.00 (95 % interval −1.00 to −1.00, 6 models)" in said
    alone = {name: boards[name] for name in ("first", "opposite")}
    assert str(sentence(alone)).startswith("No: ")
    assert str(sentence({n: boards[n] for n in ("first", "same")})).startswith("Yes: ")


def test_noisy_trainings_widen_the_interval_unless_they_are_the_same_ones(board: Board) -> None:
    first = ordered(board, UP, 0.2)
    other, again = ordered(board, UP, 0.2, "other"), ordered(board, UP, 0.2)
    apart, together = agreements({"first": first, "other": other, "again": again})
    assert apart.tau == together.tau == 1
    assert apart.low < 0.3 < apart.high == 1
    assert together.low == 1  # whatever seeds are drawn, the two boards move together
    rows = [replace(r, worst=SeedValues(by_seed=(*r.worst.by_seed, (3, 0.0)))) for r in again.rows]
    (more,) = agreements({"first": first, "more": replace(again, rows=tuple(rows))})
    assert (more.tau, more.low) == (1, 1)  # a seed that the first board lacks says nothing
    said = sentence({"first": first, "other": ordered(board, [0.3] * 5 + [0.31], 0.2, "other")})
    assert str(said).startswith("It cannot be told: ")


def test_a_board_that_shares_too_few_models_is_not_compared(board: Board) -> None:
    few = replace(board, rows=ordered(board, UP, 0.0, "other").rows[:2])
    assert agreements({"first": ordered(board, UP, 0.0), "few": few}) == ()
    assert sentence({"first": ordered(board, UP, 0.0)}) is None


def results_of(protocol: str, models: int) -> Results:
    """Synthetic results under another protocol, as an archive takes them."""
    run = full_run(models=MODELS[:models], seeds=(0, 1), n=8)
    named, versions = Protocol(name=protocol, sha256="0" * 64), {"python": "3.11"}
    moved = Run(n=run.n, cards=run.cards)
    for record in run.records:
        said = record.model_dump()
        said["task"]["protocol"] = named.model_dump()
        said["environment"] = environment_name(versions)
        columns = run.columns.get(record.id)
        if columns is not None:
            columns = conform(columns, record.task.kind, run.n)
            said["outcomes"] = fingerprint(columns)
        moved.records.append(Record.model_validate(said))
        if columns is not None:
            moved.columns[moved.records[-1].id] = columns
    keep_worst(moved)
    return replace(moved.results, environments={environment_name(versions): versions})


def test_an_archive_of_two_boards_gives_two_pages(tmp_path: Path) -> None:
    for name, models in (("second-v1", 4), ("first-v1", 5)):
        Archive(tmp_path / "results" / name).add(results_of(name, models))
    out = tmp_path / "page"
    call = ["leaderboard", "build", str(tmp_path / "results")]
    done = CliRunner().invoke(cli, [*call, "--out", str(out)])
    assert done.exit_code == 0, done.output
    page = (out / "README.md").read_text()
    assert "**Does the order of models on first-v1 hold on other boards?** " in page
    assert "on second-v1 Kendall's τ is " in page
    assert "- [second-v1](boards/second-v1/README.md)\n" in page
    assert page.count("\n# ") == 0
    assert "- **Protocol:** first-v1" in page
    other = (out / "boards" / "second-v1" / "README.md").read_text()
    assert "- **Protocol:** second-v1" in other
    assert "hold on other boards" not in other
    for text, folder in ((page, out), (other, out / "boards" / "second-v1")):
        for link in [part.split(")")[0] for part in text.split("](")[1:]]:
            assert link.startswith("#") or (folder / link).is_file()
    refused = CliRunner().invoke(cli, [*call, "--out", str(out), "--eps", "0.1"])
    assert isinstance(refused.exception, UsageError)
    assert "several boards: give --out, and neither --eps nor --norm" in str(refused.exception)


@pytest.mark.parametrize(("features", "kept"), [(256, 90), (784, 65), (64, 90), (100_000, 1)])
def test_of_large_images_the_first_that_were_broken_are_kept(features: int, kept: int) -> None:
    run = Run(n=100)
    run.attacked(MODELS[0], 0, 0.1, bits("1" * 100), bits("1" * 10 + "0" * 90))
    made = np.arange(100, dtype=np.float32)[:, None].repeat(features, axis=1)
    by_id = {record.id: record for record in run.records}
    found = worst_images(by_id, run.results.columns, lambda _: made, MODELS[0].name, 0)
    assert found is not None
    assert found.image.tolist() == list(range(10, 10 + kept))
    assert (found.x_adv == made[10 : 10 + kept]).all()
