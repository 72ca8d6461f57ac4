"""The jobs that verify a pull request, step by step, without a container service."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"
BOARD = "leaderboard/results/glyphs-linf-v1"

DOCKER = """#!/usr/bin/env bash
printf '%s\\n' "$@" > "$RECORDED"
env | sort > "$RECORDED.env"
echo "1 records checked: no problems"
exit "${ANSWER:-0}"
"""


@pytest.fixture(scope="module")
def trusted(tmp_path_factory):
    """A checkout with one published model, as the main branch has it."""
    folder = tmp_path_factory.mktemp("trusted")
    shutil.copytree(ROOT / BOARD / "convnet", folder / BOARD / "convnet")
    return folder


@pytest.fixture
def submitted(trusted, tmp_path):
    """The same with another model, as a pull request adds it."""
    shutil.copytree(trusted, tmp_path / "submitted")
    added = tmp_path / "submitted" / BOARD / "my-mlp"
    shutil.copytree(ROOT / BOARD / "fourier", added)
    (added / "my_mlp.py").write_text("raise SystemExit('run')\n")
    return tmp_path / "submitted"


def step(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one step of a job, as the workflow does."""
    folder = Path(sys.executable).parent
    path = os.pathsep.join([variables.pop("PATH", ""), str(folder), os.environ["PATH"]])
    own = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    return subprocess.run(
        list(map(str, words)),
        env=os.environ | {"PATH": path.lstrip(os.pathsep), "PYTHONPATH": own} | variables,
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip


def collected(trusted, submitted) -> Path:
    out = submitted.parent / "submission"
    found = step(CI / "changed-results", trusted, submitted, out)
    assert found.returncode == 0, found.stderr
    return out


@pytest.fixture
def docker(tmp_path):
    """A client that writes down what it is asked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return {"PATH": str(folder), "RECORDED": str(tmp_path / "asked")}


def test_what_changed_is_collected_beside_what_was_there(trusted, submitted):
    out = collected(trusted, submitted)
    assert (out / "changed").read_text() == "glyphs-linf-v1/my-mlp\n"
    assert sorted(p.name for p in (out / "results/glyphs-linf-v1").iterdir()) == [
        "convnet",
        "my-mlp",
    ]
    for file in (ROOT / BOARD / "convnet").iterdir():
        copied = out / "results/glyphs-linf-v1/convnet" / file.name
        assert copied.read_bytes() == file.read_bytes()


def test_a_removed_model_is_a_change(trusted, submitted):
    shutil.rmtree(submitted / BOARD / "convnet")
    assert "glyphs-linf-v1/convnet" in (collected(trusted, submitted) / "changed").read_text()


def a_link(board):
    (board / "my-mlp/card.toml").unlink()
    (board / "my-mlp/card.toml").symlink_to("/etc/passwd")


def a_linked_folder(board):
    (board / "other").symlink_to(board / "my-mlp")


def a_pipe(board):
    os.mkfifo(board / "my-mlp/pipe")


def an_option(board):
    (board / "my-mlp").rename(board / "--plugin")


def markup(board):
    (board / "my-mlp").rename(board / "<img src=x>")


def a_file_beside_the_models(board):
    (board / "README.md").write_text("hello")


def many_files(board):
    for number in range(201):
        (board / f"my-mlp/{number}").write_text("")


def large_files(board):
    with (board / "my-mlp/large").open("wb") as file:
        file.truncate(100_000_001)


@pytest.mark.parametrize(
    ("tampering", "reason"),
    [
        (a_link, "is a link or a special file"),
        (a_linked_folder, "is a link or a special file"),
        (a_pipe, "is a link or a special file"),
        (an_option, "names are letters"),
        (markup, "names are letters"),
        (a_file_beside_the_models, "is in no folder PROTOCOL/MODEL"),
        (many_files, "at most 200"),
        (large_files, "more than 100000000 bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_may_not_be_there_ends_the_job_with_a_reason(trusted, submitted, tampering, reason):
    tampering(submitted / BOARD)
    out = submitted.parent / "submission"
    found = step(CI / "changed-results", trusted, submitted, out)
    assert found.returncode == 1
    assert reason in found.stderr
    assert "Traceback" not in found.stderr
    assert not (out / "changed").exists()


def test_the_container_may_do_nothing(trusted, submitted, docker):
    out = collected(trusted, submitted)
    found = step(CI / "contain", "image", out, **docker)
    assert found.returncode == 0, found.stderr
    asked = Path(docker["RECORDED"]).read_text().splitlines()
    pairs = list(zip(asked, asked[1:], strict=False))
    for pair in [
        ("--network", "none"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--user", "65534:65534"),
    ]:
        assert pair in pairs
    assert {"--read-only", "--rm"} < set(asked)
    (mount,) = [second for first, second in pairs if first == "--mount"]
    assert mount == f"type=bind,src={out}/results,dst=/results,readonly"
    given = {second.split("=")[0] for first, second in pairs if first == "--env"}
    assert given == {"HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS"}
    start = asked.index("image")
    assert asked[start + 1 :] == [
        "qbench", "verify", "/results", "--plugin", "/results/glyphs-linf-v1/my-mlp/my_mlp.py",
    ]  # fmt: skip
    assert (out / "status").read_text() == "0\n"
    assert "no problems" in (out / "report.txt").read_text()


@pytest.mark.slow
def test_the_second_job_passes_what_is_right(trusted, submitted, docker):
    out = collected(trusted, submitted)
    step(CI / "contain", "image", out, **docker)
    shutil.rmtree(out / "results")  # transfers need their partners, so the whole archive
    shutil.copytree(ROOT / "leaderboard/results", out / "results")
    found = step(CI / "check-results", out)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "## Without running the model: passed" in found.stdout
    assert "## With the model, in the container: passed" in found.stdout
    lines = sum(len(p.read_bytes().splitlines()) for p in (ROOT / BOARD).glob("*/records.jsonl"))
    assert f"{lines} records" in found.stdout


def test_the_second_job_takes_nobodys_word(trusted, submitted, docker):
    out = collected(trusted, submitted)  # a folder under another name than its records have
    step(CI / "contain", "image", out, **docker)
    (out / "report.txt").write_text("~~~~~~~~\n<script>alert(1)</script>\x1b[2J all is well\n")
    found = step(CI / "check-results", out)
    assert found.returncode == 1
    assert "## Without running the model: failed" in found.stdout
    assert "\x1b" not in found.stdout
    assert found.stdout.count("\n~~~~~~~~\n") == 3  # each fence is closed by us alone


def test_a_failure_in_the_container_is_a_failure(trusted, submitted, docker):
    out = collected(trusted, submitted)
    step(CI / "contain", "image", out, ANSWER="2", **docker)
    assert (out / "status").read_text() == "2\n"
    shutil.rmtree(out / "results")
    shutil.copytree(ROOT / BOARD / "convnet", out / "results/glyphs-linf-v1/convnet")
    found = step(CI / "check-results", out)
    assert found.returncode == 1
    assert "in the container: failed" in found.stdout
