"""A board on other data than the glyphs: run, taken over with its weights, and verified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_runs import run

from qbench.cli import cli
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.verification import verify
from qbench.records.archive import Archive
from qbench.records.store import RunStore
from qbench.weights.zoo import Zoo

BOARD = RunSelection(
    protocol="digits-linf-v1", models=("fourier",), attacks=("fgsm",), certifiers=()
)
SEEDS, IMAGES = 3, 350


@pytest.fixture(autouse=True, scope="module")
def _nothing_ships(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """As for a board whose weights do not ship with qbench."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qbench.weights.zoo.SHIPPED", tmp_path_factory.mktemp("shipped"))
        yield


@pytest.fixture(scope="module")
def taken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the archive of the board and the zoo of its weights."""
    root = tmp_path_factory.mktemp("board")
    _, records = run(BOARD, root / "run")
    assert {record.status for record in records} <= {"done", "skipped"}
    call = ["leaderboard", "add", str(root / "run"), "--archive", str(root / "results")]
    done = CliRunner().invoke(cli, [*call, "--weights", str(root / "zoo" / "digits")])
    assert done.exit_code == 0, done.output
    assert f"weights: {root / 'zoo' / 'digits'}" in done.output
    return root


def test_its_weights_are_kept_and_verify_scores_its_images_again(taken, monkeypatch):
    assert (taken / "results" / "digits-linf-v1" / "fourier" / "card.toml").is_file()
    assert Zoo(taken / "zoo" / "digits").seeds("fourier") == [0, 1, 2]
    without = verify(taken / "results")
    assert without.problems == []
    assert without.counts["clean images scored again"] == 0
    assert "fourier seed 0: no weights at hand, images not scored again" in without.notes
    given = verify(taken / "results", weights=(taken / "zoo" / "digits",))
    assert given.problems == []
    assert given.counts["clean images scored again"] == SEEDS * IMAGES
    # as if they shipped with qbench
    monkeypatch.setattr("qbench.weights.zoo.SHIPPED", taken / "zoo")
    shipped = verify(taken / "results")
    assert shipped.problems == []
    assert shipped.counts["clean images scored again"] == SEEDS * IMAGES


def test_weights_of_another_training_are_found_out(taken, tmp_path):
    kept, other = Zoo(taken / "zoo" / "digits"), Zoo(tmp_path)
    other.add("fourier", 0, kept.read("fourier", 1))
    found = verify(taken / "results", weights=(tmp_path,))
    assert found.problems == ["fourier seed 0: other weights than those that are published"]


def test_an_archive_has_no_weights_to_keep(taken, tmp_path):
    call = ["leaderboard", "add", str(taken / "results"), "--archive", str(tmp_path / "a")]
    done = CliRunner().invoke(cli, [*call, "--weights", str(tmp_path / "zoo")])
    assert "is no run, and an archive holds no weights" in str(done.exception)


def test_of_many_broken_images_the_first_are_enough(taken, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("qbench.records.worst._KEPT", 5 * 64)
        archive = Archive(tmp_path / "digits-linf-v1")
        archive.add(RunStore(taken / "run").results())
        assert len(archive.adversarial("fourier", 0).image) == 5
        assert verify(tmp_path).problems == []
    assert any("was broken, and not kept" in problem for problem in verify(tmp_path).problems)
