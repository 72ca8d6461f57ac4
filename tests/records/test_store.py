"""The run store: what is written is read, by one writer at a time, whatever happens between."""

import sqlite3
import subprocess
import sys

import pytest
from small_results import attack_id, outcomes, result

from qbench.errors import StoreError
from qbench.records.record import Cost
from qbench.records.store import FILE, RunStore


def test_what_is_written_is_read(tmp_path):
    store, written = RunStore(tmp_path), result()
    assert store.find(written.record.id) is None
    with store.locked():
        store.write(written)
        store.note_command("qbench run --models 'a b'")
    assert store.find(written.record.id) == written.record
    assert store.records() == [written.record]
    assert store.identities() == {written.record.id}
    columns = store.columns(written.record)
    assert {name: column.tolist() for name, column in columns.items()} == {
        name: column.tolist() for name, column in outcomes().items()
    }
    assert store.artifact(written.record) == b"artifact"
    results = store.results()
    assert results.commands == ("qbench run --models 'a b'",)
    assert results.cards["m"].description == "a model"
    assert results.environments[written.record.environment] == {"python": "3.11"}


def test_a_result_takes_the_place_of_the_older_one(tmp_path):
    store = RunStore(tmp_path)
    with store.locked():
        store.write(
            result(status="failed", reason="why", metrics=None, weights=None, outcomes=None)
        )
        store.write(result(cost=Cost(wall_s=2.0)))
    (record,) = store.records()
    assert (record.status, record.cost.wall_s) == ("done", 2.0)


@pytest.mark.parametrize(
    ("change", "values"),
    [
        ("UPDATE records SET record = ?", ("{",)),
        ("UPDATE records SET record = replace(record, '0.5', '1.5')", ()),
        ('UPDATE records SET record = replace(record, \'"name":"m"\', \'"name":"n"\')', ()),
        ("UPDATE blobs SET content = ? WHERE name = 'outcomes'", (b"PK",)),
        ("DELETE FROM blobs WHERE name = 'outcomes'", ()),
    ],
)
def test_a_damaged_record_counts_as_none(tmp_path, change, values):
    store, written = RunStore(tmp_path), result()
    with store.locked():
        store.write(written)
    with sqlite3.connect(tmp_path / FILE) as file:
        file.execute(change, values)
    assert store.find(written.record.id) is None
    with pytest.raises(StoreError) as raised:
        [store.columns(record) for record in store.results().records]
    assert str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, but long enough to look" * 40, None]
)
def test_a_file_that_is_no_store_is_one_clear_line(tmp_path, content):
    if content is None:  # a database of something else
        with sqlite3.connect(tmp_path / FILE) as file:
            file.execute("CREATE TABLE records (id TEXT)")
            file.execute("CREATE VIEW blobs AS SELECT 1")
    else:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreError, match=str(tmp_path)):
        RunStore(tmp_path).records()


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="run 'qbench run' first"):
        RunStore(tmp_path).records()
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time_and_a_kill_releases_the_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from qbench.records.store import RunStore\n"
        "with RunStore(Path(sys.argv[1])).locked():\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        busy = RunStore(tmp_path)
        with pytest.raises(StoreError, match="another run is writing"), busy.locked():
            pass
        holder.kill()
    with RunStore(tmp_path).locked():
        pass


def test_older_revisions_are_left_out_and_named(tmp_path):
    store = RunStore(tmp_path)
    newer = attack_id(attack=attack_id().attack.model_copy(update={"revision": 2}))
    with store.locked():
        store.write(result())
        store.write(result(task=newer))
        store.write(result(task=attack_id(model="n")))
    results = store.results()
    assert [record.task for record in results.records] == [newer]
    assert results.superseded == ("attack pgd revision 1",)
