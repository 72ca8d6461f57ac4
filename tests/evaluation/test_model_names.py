"""A model on an engine is a name: how it is read, what it plans, and the rows that come of it."""

from __future__ import annotations

import html
import json
from dataclasses import replace

import pytest
import torch
from small_runs import run

import qbench
from qbench.errors import UnknownNameError, UsageError
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.model_names import ModelName
from qbench.records.store import RunStore
from qbench.report import summary_table
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.report.page import page as render

SMALL = RunSelection(
    models=["reup-hw4"], attacks=["fgsm"], certifiers=(), seeds=[0], limit=4, eps=[0.1]
)


def ids(**changed) -> list[str]:
    return [task.identity.id for task in make_plan(replace(SMALL, **changed))]


def planned(kind: str, **changed):
    tasks = make_plan(replace(SMALL, **changed))
    return [task.identity for task in tasks if task.identity.kind == kind]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("reup", ModelName("reup")),
        ("reup@pennylane", ModelName("reup", "pennylane")),
        ("reup*@aer:marrakesh", ModelName("reup*", "aer:marrakesh")),
        ("reup@aer:marrakesh:4096", ModelName("reup", "aer:marrakesh", 4096)),
        ("reup@statevector:10", ModelName("reup", "statevector", 10)),
        ("mine@own:10", ModelName("mine", None, 10)),
    ],
)
def test_names_are_read_and_written_back(text, name) -> None:
    assert ModelName.parse(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["reup@"], "'reup@' names no engine"),
        (["@torch"], "'@torch' names no model"),
        (["reup@torch@torch"], "names two engines"),
        (["reup@nothing"], "unknown engine 'nothing'"),
        (["nothing@torch"], "unknown model 'nothing'"),
        (["reup@torch:fast"], "takes no device"),
        (["reup@torch:0"], "give at least 1"),
        (["reup@torch:10000000000"], "at most 1,000,000,000"),
        (["convnet@torch"], "convnet has no circuit"),
        (["convnet*@torch"], "has a circuit"),
        (["ttn@torch"], "has no circuit"),
    ],
)
def test_names_that_mean_nothing_are_refused_in_one_line(models, words) -> None:
    with pytest.raises((UsageError, UnknownNameError), match=words) as error:
        make_plan(replace(SMALL, models=models))
    assert "\n" not in str(error.value)


def test_an_engine_is_named_once() -> None:
    for beside in ({"engine": "torch"}, {"shots": 10}):
        with pytest.raises(UsageError, match="names its engine, and"):
            make_plan(replace(SMALL, models=["reup@torch"], **beside))


def test_devices_that_only_sample_want_shots_and_those_paid_by_the_job_a_ledger() -> None:
    pytest.importorskip("qiskit_ibm_runtime")
    pytest.importorskip("qiskit_aer")
    with pytest.raises(UsageError, match="MODEL@ibm:fake_marrakesh:4096"):
        make_plan(replace(SMALL, models=["reup-hw4@ibm:fake_marrakesh"]))
    with pytest.raises(UsageError, match="qbench hardware run"):
        make_plan(replace(SMALL, models=["reup-hw4@ibm:ibm_torino:10"]))
    with pytest.raises(UsageError, match="at most 100,000 times"):
        make_plan(replace(SMALL, models=["reup-hw4@ibm:fake_marrakesh:1000000000"]))


def test_a_name_asks_for_what_the_options_ask_for() -> None:
    both = ["reup-hw4", "convnet"]
    asked = ids(models=both, engine="torch", certifiers=("all",))
    assert sorted(asked) == sorted(ids(models=["reup-hw4@torch", "convnet"], certifiers=("all",)))
    assert ids(shots=10) == ids(models=["reup-hw4@statevector:10"])
    assert ids() == ids(models=["reup-hw4@statevector"])


def test_the_same_function_is_trained_and_certified_once() -> None:
    names = ["reup-hw4", "reup-hw4@torch", "reup-hw4@torch:10"]
    for kind in ("training", "lipschitz", "radii"):
        one = planned(kind, models=names[:1], certifiers=("circuit-bound", "circuit-fidelity"))
        assert planned(kind, models=names, certifiers=("circuit-bound", "circuit-fidelity")) == one
    with pytest.raises(UsageError, match="certificates are of the exact circuit"):
        make_plan(replace(SMALL, models=names, attacks=(), certifiers=("circuit-bound",)))
    counted = planned("radii", models=names, attacks=(), certifiers=("circuit-fidelity", "counts"))
    where = {(one.certifier.name, one.engine and str(one.engine.shots)) for one in counted}
    assert where == {("circuit-fidelity", None), ("counts", "10")}
    noisy = replace(SMALL, models=["reup-hw4@aer:lagos"], attacks=(), certifiers=("all",))
    with pytest.raises(UsageError, match=r"reup-hw4@aer:lagos: certificates are of the exact"):
        make_plan(noisy)
    bounds = planned("lipschitz", models=names[2:], attacks=(), certifiers=("all",))
    assert all(one.certifier for one in bounds)  # none says that nothing covers it
    with pytest.raises(UsageError, match="certificates are of the exact circuit"):
        qbench.certify("reup-hw4@torch:10")


def test_each_model_takes_part_in_transfers_on_one_engine() -> None:
    def pairs(*models):
        found = planned("transfer", models=models)
        return {(one.source.name, one.model.name, one.engine and one.engine.name) for one in found}

    plain = {("reup-hw4", "convnet", None), ("convnet", "reup-hw4", "statevector")}
    assert pairs("reup-hw4@torch", "reup-hw4", "convnet", "reup-hw4@torch:9") == plain
    assert ("convnet", "reup-hw4", "torch") in pairs("reup-hw4@torch", "convnet")
    assert pairs("reup-hw4@torch:9", "convnet") == set()


def test_three_rows_of_one_model_stand_in_one_leaderboard(tmp_path) -> None:
    pytest.importorskip("pennylane")
    names = ("reup-hw4", "reup-hw4@pennylane", "reup-hw4@statevector:100")
    selection = replace(SMALL, models=names)
    _, records = run(selection, tmp_path)
    assert {record.status for record in records} == {"done"}
    results = RunStore(tmp_path).results()
    board = collect(results)
    (ranked,) = board.rows
    exact, sampled = board.noisy
    assert [ranked.model.name, exact.name, sampled.name] == list(names)
    assert (exact.kind, sampled.kind) == ("exact", "shots")
    assert exact.worst[0.1].mean == ranked.worst.mean
    assert exact.clean.mean == ranked.clean.mean
    assert ranked.rank == 1
    assert ranked.notes == ()
    page, told = html.unescape(render(board)), json.loads(to_json(board))
    assert [row["name"] for row in told["noisy_engines"]] == [exact.name, sampled.name]
    for name in names:
        assert name in page
        assert name in summary_table(results)
    _, again = run(selection, tmp_path)  # nothing is done twice
    assert [one.cost for one in again] == [one.cost for one in records]


def test_where_a_model_ran_elsewhere_alone_its_row_says_so(tmp_path) -> None:
    run(replace(SMALL, models=["reup-hw4@torch"]), tmp_path)
    board = collect(RunStore(tmp_path).results())
    assert board.noisy == ()
    assert [note.reason for note in board.rows[0].notes] == ["attacked as reup-hw4@torch"]
    assert board.rows[0].rank == 1


def test_names_in_python() -> None:
    x = qbench.load_dataset().test.x[:3]
    with torch.no_grad():
        own, other = (qbench.load_model(n)(x) for n in ("reup-hw4", "reup-hw4@torch"))
    torch.testing.assert_close(own, other, atol=1e-5, rtol=0)
    few = qbench.load_dataset().test
    few = type(few)(few.x[:3], few.y[:3])
    found = qbench.evaluate("reup-hw4@torch", "fgsm", data=few)
    assert found.robust_accuracy == qbench.evaluate("reup-hw4", "fgsm", data=few).robust_accuracy
    with pytest.warns(UserWarning, match="scores vary"):
        assert qbench.evaluate("reup-hw4@statevector:50", "fgsm", data=few).passes > 1
    with pytest.raises(UsageError, match="names its engine"):
        qbench.evaluate("reup-hw4@torch", engine="torch")
