"""Two people, two versions: what they measured apart is what one run measures at once."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from small_runs import SMALL, run

from qbench.evaluation import provenance
from qbench.protocols import load_protocol
from qbench.records.archive import Archive
from qbench.records.results import Results
from qbench.records.store import RunStore
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.report.page import page

SELECTION = replace(
    SMALL,
    seeds=(0,),
    limit=6,
    attacks=("fgsm:random_start=true", "fgsm"),
    certifiers=("fourier-linear", "spectral-product"),
)


def report(results: Results) -> tuple[str, str]:
    """The numbers and the tables, without what says where they come from."""
    board = collect(results, protocol=load_protocol("glyphs-linf-v1"))
    numbers = json.loads(to_json(board))
    numbers.pop("provenance")
    tables, _, about = page(board, []).partition("\n## How to reproduce")
    assert about
    return json.dumps(numbers), tables


@pytest.fixture
def set_version(monkeypatch):
    plain = provenance._version

    def now(version: str) -> None:
        monkeypatch.setattr(
            provenance,
            "_version",
            lambda name: version if name == "qbench-robustness" else plain(name),
        )

    return now


@pytest.mark.slow
def test_merged_runs_of_two_versions_are_the_run_of_all_at_once(tmp_path, set_version):
    models = ("convnet", "fourier", "amplitude")
    run(replace(SELECTION, models=models), tmp_path / "whole")
    set_version("0.1.0")
    run(replace(SELECTION, models=models[:2]), tmp_path / "a")
    set_version("0.1.1")
    run(replace(SELECTION, models=models[2:], time_limit_s=77.0), tmp_path / "b")

    archive = Archive(tmp_path / "archive")
    archive.add(RunStore(tmp_path / "a").results())
    archive.add(RunStore(tmp_path / "b").results())
    merged = Archive.read(tmp_path / "archive").results()
    assert (
        len({environment["qbench-robustness"] for environment in merged.environments.values()}) == 2
    )
    whole = RunStore(tmp_path / "whole").results()
    missing = {record.id for record in whole.records} - {record.id for record in merged.records}
    assert missing == {
        record.id
        for record in whole.records
        if record.task.kind == "transfer"
        and "amplitude" in (record.task.model.name, record.task.source.name)
    }

    # the pairs that never met are made by the next run on the archive, and by no other work
    store = RunStore(tmp_path / "rest")
    with store.locked():
        store.adopt(merged)
    known = store.identities()
    run(replace(SELECTION, models=models), tmp_path / "rest", known=known)
    assert store.identities() - known == missing
    assert Archive.read(tmp_path / "archive").add(store.results())
    filled = Archive.read(tmp_path / "archive").results()
    assert [r.id for r in filled.records] == [r.id for r in whole.records]
    assert report(filled) == report(whole)
