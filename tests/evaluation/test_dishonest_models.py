"""Models that look robust without being so are found out, and honest ones are left alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from dishonest import FLAGS
from small_runs import run

from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import run_task
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.report.collect import collect
from qbench.report.flags import flags

PLUGIN = PluginFile.read(Path(__file__).with_name("dishonest.py"))
LIMIT = 24


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


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(kinds, id="+".join(kinds), marks=[pytest.mark.slow] if place else [])
        for place, kinds in enumerate(GROUPS)
    ],
)
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


def test_a_model_alone_cannot_hide_its_gradients(tmp_path):
    """Nothing else is in the run: no transfer, no attack without gradients."""
    board, _ = board_of(tmp_path, ("trick-softmax",), ("pgd",), eps=(0.1,), limit=LIMIT)
    (row,) = board.rows
    assert row.rank is None
    assert "masked-gradients" in {flag.name for flag in row.flags}


@pytest.mark.parametrize("name", load_registry().all("model"))
def test_no_honest_entry_is_blocked(name):
    """By its checks; the published board shows that attacks and new images block none either."""
    done, records = {}, []
    for task in make_plan(RunSelection(models=(name,), certifiers=(), seeds=(0,))):
        if task.identity.kind in ("training", "checks"):
            done[task.identity.id] = run_task(task, done)
            records.append(done[task.identity.id].record)
    assert [record.status for record in records] == ["done", "done"]
    stochastic = load_registry().get("model", name).spec.stochastic
    raised = flags(name, records, stochastic=stochastic, reference=None)
    assert [flag.name for flag in raised if flag.blocking] == []
