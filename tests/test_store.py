import os
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError

from qbench.errors import StoreError
from qbench.files import write_atomically
from qbench.records import (
    AccuracyMetrics,
    Cost,
    DatasetRef,
    ModelRef,
    ProtocolRef,
    Record,
    canonical_sha256,
)
from qbench.store import Outcome, Store, file_ref, from_npz, to_npz

KEY = "a" * 64


def record(**changes) -> Record:
    fields = {
        "task": "robust-accuracy",
        "key": KEY,
        "status": "done",
        "protocol": ProtocolRef(name="p", sha256="0" * 64),
        "dataset": DatasetRef(name="d", version=1, sha256="0" * 64, split="test", n=2),
        "target": ModelRef(
            model="m",
            plugin="q",
            version="1",
            family="quantum",
            structure="s",
            parameters=3,
            seed=0,
        ),
        "metrics": AccuracyMetrics(
            clean_accuracy=1.0, adversarial_accuracy=0.5, robust_accuracy=0.5, wilson95=(0.1, 0.9)
        ),
        "cost": Cost(wall_s=1.0),
        "environment": {},
    }
    return Record(**fields | changes)


def outcome() -> Outcome:
    images = to_npz({"label": np.array([0, 1])})
    inputs = to_npz({"x_adv": np.zeros((2, 3))})
    files = {f"{KEY}.npz": images, f"{KEY}.inputs.npz": inputs}
    refs = {
        "images": file_ref(f"{KEY}.npz", images),
        "artifact": file_ref(f"{KEY}.inputs.npz", inputs),
    }
    return Outcome(record(**refs), files)


def test_what_is_written_is_read(tmp_path):
    store, written = Store(tmp_path), outcome()
    assert store.find("m", KEY) is None
    store.write(written)
    assert store.find("m", KEY) == written.record
    assert store.records() == [written.record]
    assert store.images(written.record)["label"].tolist() == [0, 1]
    again = store.outcome(written.record)
    assert from_npz(again.files[f"{KEY}.inputs.npz"])["x_adv"].shape == (2, 3)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_record_is_written_last(tmp_path, monkeypatch):
    names = []
    monkeypatch.setattr("qbench.store.write_atomically", lambda path, _: names.append(path.name))
    Store(tmp_path).write(outcome())
    assert names == [f"{KEY}.inputs.npz", f"{KEY}.npz", f"{KEY}.json"]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "Invalid JSON"),
        (b"{}", "Field required"),
        (record().to_json().replace('"status": "done"', '"status": "fine"').encode(), "status"),
        (
            record().to_json().replace('"robust_accuracy": 0.5', '"robust_accuracy": 1.5').encode(),
            "",
        ),
        (record().to_json().replace('"wall_s": 1.0', '"wall_s": "1.0"').encode(), "wall_s"),
        (record().to_json().replace('"wall_s": 1.0', '"wall_s": NaN').encode(), ""),
        (record().to_json().replace("aaaa", "aaab").encode(), "its key is aaab"),
        (record().to_json().replace('"model": "m"', '"model": "../m"').encode(), "target.model"),
    ],
)
def test_a_damaged_record_is_named(tmp_path, content, complaint):
    path = tmp_path / "records" / "m" / f"{KEY}.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(StoreError, match=rf"{KEY}\.json is damaged: .*{complaint}"):
        Store(tmp_path).find("m", KEY)


def test_numbers_are_never_strings():
    with pytest.raises(ValidationError):
        AccuracyMetrics(
            clean_accuracy="1.0", adversarial_accuracy=0.5, robust_accuracy=0.5, wilson95=(0.1, 0.9)
        )


def test_a_changed_file_is_named_by_its_hash(tmp_path):
    store, written = Store(tmp_path), outcome()
    store.write(written)
    (tmp_path / "records" / "m" / f"{KEY}.npz").write_bytes(b"other")
    with pytest.raises(
        StoreError, match=f"SHA-256 is .* its record says {written.record.images.sha256}"
    ):
        store.images(written.record)
    (tmp_path / "artifacts" / f"{KEY}.inputs.npz").unlink()
    assert not store.has_files(written.record)
    with pytest.raises(StoreError, match="cannot read"):
        store.outcome(written.record)


def test_an_empty_folder_says_what_to_do(tmp_path):
    with pytest.raises(StoreError, match="run 'qbench run' first"):
        Store(tmp_path).records()


def test_one_run_at_a_time_and_a_kill_releases_the_folder(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from qbench.store import Store\n"
        "with Store(Path(sys.argv[1])).locked():\n    print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(StoreError, match="another run is writing"), Store(tmp_path).locked():
            pass
        holder.kill()
    with Store(tmp_path).locked():
        pass


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(self, content):
        with open(self, "wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(StoreError, match="No space left on device; choose another --out"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_publishing_copies_records_without_artifacts_and_drops_what_is_gone(tmp_path):
    run, board = Store(tmp_path / "run"), Store(tmp_path / "board")
    run.write(outcome())
    stale = tmp_path / "board" / "records" / "old" / f"{'b' * 64}.json"
    write_atomically(stale, b"{}")
    board.publish(run, run.records())
    (published,) = board.records()
    assert published == run.records()[0].model_copy(update={"artifact": None})
    assert board.images(published)["label"].tolist() == [0, 1]
    assert not stale.exists()
    board.publish(board, board.records())
    assert board.records() == [published]


def test_equal_arrays_give_equal_bytes():
    arrays = {"a": np.arange(5), "b": np.ones((2, 2), np.float32)}
    assert to_npz(arrays) == to_npz(arrays)
    assert from_npz(to_npz(arrays))["a"].tolist() == [0, 1, 2, 3, 4]


def test_keys_do_not_depend_on_order():
    assert canonical_sha256({"a": 1, "b": [2]}) == canonical_sha256({"b": [2], "a": 1})
    assert canonical_sha256({"a": 1}) != canonical_sha256({"a": 2})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_sha256({"a": float("nan")})
