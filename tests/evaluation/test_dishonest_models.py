"""Models that look robust without being so are found out, and honest ones are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from dishonest import FLAGS
from small_runs import run

from qbench.evaluation import planner
from qbench.evaluation.planner import RunSelection
from qbench.records.store import RunStore
from qbench.registry import PluginFile, load_registry
from qbench.report.collect import collect

PLUGIN = PluginFile.read(Path(__file__).with_name("dishonest.py"))
LIMIT = 40


def board_of(folder, models, attacks, plugins=(PLUGIN,), **options):
    selection = RunSelection(
        models=models, attacks=attacks, certifiers=(), seeds=(0,), plugins=plugins, **options
    )
    _, records = run(selection, folder)
    return collect(RunStore(folder).results()), records


KINDS = [kind for kind in FLAGS if kind != "honest"]
GROUPS = [KINDS[start::4] for start in range(4)]  # every model is tried on every other one's images


def check(board, kinds):
    rows = {row.model.name.removeprefix("trick-"): row for row in board.rows}
    honest = rows["honest"]
    assert honest.rank is not None
    assert not [flag.name for flag in honest.flags if flag.blocking]
    for kind in kinds:
        row, raised = rows[kind], {flag.name for flag in rows[kind].flags}
        assert not FLAGS[kind] or FLAGS[kind] & raised, (kind, raised)
        if row.rank is not None:
            assert row.rank >= honest.rank, kind
            assert row.worst.mean <= honest.worst.mean + 1e-9, kind


@pytest.fixture(scope="module")
def few_fresh_images():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(planner, "FRESH", 200)
        yield


@pytest.mark.usefixtures("few_fresh_images")
@pytest.mark.parametrize("kinds", GROUPS, ids=lambda kinds: "+".join(kinds))
def test_no_trick_is_ranked_above_the_model_it_is_played_with(tmp_path, kinds):
    models = tuple(f"trick-{kind}" for kind in ["honest", *kinds])
    board, _ = board_of(tmp_path, models, ("pgd",), eps=(0.1,), limit=LIMIT)
    check(board, kinds)


@pytest.mark.slow
@pytest.mark.parametrize("kinds", GROUPS, ids=lambda kinds: "+".join(kinds))
def test_nor_under_the_standard_ensemble(tmp_path, kinds):
    models = tuple(f"trick-{kind}" for kind in ["honest", *kinds])
    board, _ = board_of(tmp_path, models, ("pgd", "standard"), eps=(0.1,), limit=LIMIT)
    check(board, kinds)


@pytest.mark.usefixtures("few_fresh_images")
def test_a_model_alone_cannot_hide_its_gradients(tmp_path):
    """Nothing else is in the run: no transfer, no attack without gradients."""
    board, _ = board_of(tmp_path, ("trick-softmax",), ("pgd",), eps=(0.1,), limit=LIMIT)
    (row,) = board.rows
    assert row.rank is None
    assert "masked-gradients" in {flag.name for flag in row.flags}


@pytest.mark.usefixtures("few_fresh_images")
def test_no_honest_entry_is_blocked(tmp_path):
    models = tuple(load_registry().all("model"))
    board, _ = board_of(tmp_path, models, ("pgd",), plugins=(), eps=(0.1,), limit=LIMIT)
    blocked = {r.model.name: [f for f in r.flags if f.blocking] for r in board.rows}
    assert not {name: found for name, found in blocked.items() if found}
    assert all(row.rank is not None for row in board.rows)
