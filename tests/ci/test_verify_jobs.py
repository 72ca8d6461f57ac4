"""The jobs that verify a pull request, step by step, without a container service."""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbench.cli import cli

ROOT = Path(__file__).parents[2]
CI = ROOT / ".ci"

DOCKER = """#!/usr/bin/env bash
printf '%s\\n' "$@" >> "$RECORDED"
echo "verified my-mlp" >&2
printf '%s' "$ANSWER"
exit "${CODE:-0}"
"""
NOTHING_WRONG = '{"problems": [], "notes": [], "counts": {"records": 1}}'


def submission(folder: Path, name: str) -> Path:
    """A folder laid out as `qbench submit` writes it, with the published results of one model."""
    made = folder / "submissions" / name
    (made / "plugins" / "my_mlp").mkdir(parents=True)
    (made / "plugins/my_mlp/my_mlp.py").write_text("raise SystemExit('run')\n")
    (made / "plugins/my_mlp/layers.py").write_text("raise SystemExit('run')\n")
    shutil.copytree(
        ROOT / "leaderboard/results/glyphs-linf-v1/convnet",
        made / "results/glyphs-linf-v1/convnet",
    )
    (made / "README.md").write_text("A model.\n")
    return made


@pytest.fixture
def trusted(tmp_path):
    """A checkout of the main branch with a submission that was merged."""
    submission(tmp_path / "trusted", "old")
    return tmp_path / "trusted"


@pytest.fixture
def submitted(trusted, tmp_path):
    """The same with another submission, as a pull request adds it."""
    shutil.copytree(trusted, tmp_path / "submitted")
    submission(tmp_path / "submitted", "my-mlp")
    return tmp_path / "submitted"


def step(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run one step of a job, as the workflow does."""
    found = [variables.pop("PATH", ""), str(Path(sys.executable).parent), os.environ["PATH"]]
    own = os.pathsep.join([str(ROOT), str(ROOT / "plugins")])
    path = os.pathsep.join(filter(None, found))
    return subprocess.run(
        list(map(str, words)),
        env=os.environ | {"PATH": path, "PYTHONPATH": own} | variables,
        capture_output=True, text=True, timeout=1800,
    )  # fmt: skip


def collected(trusted, submitted) -> Path:
    out = submitted.parent / "verify"
    found = step(CI / "changed-submissions", trusted, submitted, out)
    assert found.returncode == 0, found.stderr
    return out


@pytest.fixture
def docker(tmp_path):
    """A client that writes down what it is asked for, and answers."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "docker").write_text(DOCKER)
    (folder / "docker").chmod(0o755)
    return {"PATH": str(folder), "RECORDED": str(tmp_path / "asked"), "ANSWER": NOTHING_WRONG}


def test_what_a_pull_request_adds_is_collected(trusted, submitted):
    out = collected(trusted, submitted)
    assert (out / "changed").read_text() == "my-mlp\n"
    assert [path.name for path in (out / "submissions").iterdir()] == ["my-mlp"]
    for file in (submitted / "submissions/my-mlp").rglob("*.*"):
        copied = out / file.relative_to(submitted)
        assert copied.is_dir() or copied.read_bytes() == file.read_bytes()


def test_a_submission_that_is_changed_is_looked_at_again(trusted, submitted):
    (submitted / "submissions/old/plugins/my_mlp/layers.py").write_text("print('other')\n")
    shutil.rmtree(submitted / "submissions/my-mlp")
    assert (collected(trusted, submitted) / "changed").read_text() == "old\n"


def test_a_submission_that_is_taken_out_needs_no_verification(trusted, submitted, docker):
    shutil.rmtree(submitted / "submissions")
    out = collected(trusted, submitted)
    assert (out / "changed").read_text() == ""
    assert step(CI / "contain", "image", out, **docker).returncode == 0
    assert step(CI / "check-submissions", out).returncode == 0


def a_link(folder):
    (folder / "README.md").unlink()
    (folder / "README.md").symlink_to("/etc/passwd")


def a_linked_folder(folder):
    (folder.parent / "other").symlink_to(folder)


def all_of_it_a_link(folder):
    folder.parent.rename(folder.parents[1] / "elsewhere")
    folder.parent.symlink_to(folder.parents[1] / "elsewhere")


def a_pipe(folder):
    os.mkfifo(folder / "pipe")


def an_option(folder):
    folder.rename(folder.parent / "--plugin")


def markup(folder):
    folder.rename(folder.parent / "<img src=x>")


def two_lines(folder):
    folder.rename(folder.parent / "a\nb")


def a_hidden_file(folder):
    (folder / ".gitattributes").write_text("* filter=x")


def a_file_beside_the_folders(folder):
    (folder.parent / "README.md").write_text("hello")


def many_files(folder):
    for number in range(2000):
        (folder / f"{number}").write_text("")


def large_files(folder):
    with (folder / "large").open("wb") as file:
        file.truncate(200_000_001)


@pytest.mark.parametrize(
    ("tampering", "reason"),
    [
        (a_link, "is a link or a special file"),
        (a_linked_folder, "is a link or a special file"),
        (all_of_it_a_link, "is a link or a special file"),
        (a_pipe, "is a link or a special file"),
        (an_option, "names are letters"),
        (markup, "names are letters"),
        (two_lines, "names are letters"),
        (a_hidden_file, "names are letters"),
        (a_file_beside_the_folders, "is in no folder of its own"),
        (many_files, "more than 2000 files"),
        (large_files, "more than 200000000 bytes"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_what_may_not_be_there_ends_the_job_with_a_reason(trusted, submitted, tampering, reason):
    tampering(submitted / "submissions/my-mlp")
    out = submitted.parent / "verify"
    found = step(CI / "changed-submissions", trusted, submitted, out)
    assert found.returncode == 1
    assert reason in found.stderr
    assert len(found.stderr.splitlines()) == 1
    assert not (out / "changed").exists()


def test_the_container_may_do_nothing(trusted, submitted, docker):
    out = collected(trusted, submitted)
    found = step(CI / "contain", "image", out, **docker)
    assert found.returncode == 0, found.stderr
    asked = Path(docker["RECORDED"]).read_text().splitlines()
    start = asked.index("image")
    pairs = list(itertools.pairwise(asked[:start]))
    for pair in [
        ("--network", "none"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--user", "65534:65534"),
    ]:
        assert pair in pairs
    assert {"--read-only", "--rm"} < set(asked[:start])
    (mount,) = [second for first, second in pairs if first == "--mount"]
    assert mount == f"type=bind,src={out}/submissions/my-mlp,dst=/submission,readonly"
    given = {second.split("=")[0] for first, second in pairs if first == "--env"}
    assert given == {"HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS"}
    assert not {"-v", "--volume", "--env-file", "--privileged", "-e"} & set(asked[:start])
    # The file that is named as its folder is the plugin, others are imported by it.
    plugin = ["--plugin", "/submission/plugins/my_mlp/my_mlp.py"]
    assert asked[start + 5 :] == ["/submission", "--again", "50", *plugin]
    assert (out / "found/my-mlp.json").read_text() == NOTHING_WRONG
    assert "verified" in (out / "found/my-mlp.txt").read_text()


def test_what_a_container_says_has_an_end(trusted, submitted, docker):
    out = collected(trusted, submitted)
    (Path(docker["PATH"]) / "docker").write_text("#!/usr/bin/env bash\nyes | head -c 3000000\n")
    step(CI / "contain", "image", out, **docker)
    assert (out / "found/my-mlp.json").stat().st_size == 1_000_000


def test_the_second_job_looks_at_the_files_itself(trusted, submitted, docker):
    out = collected(trusted, submitted)  # without its partners a model's transfers hang in the air
    step(CI / "contain", "image", out, **docker)
    found = step(CI / "check-submissions", out)
    assert found.returncode == 1
    assert "# Verification" in found.stdout
    assert "Traceback" not in found.stdout + found.stderr


@pytest.mark.parametrize("answer", ["", "{}", "[" * 100_000, "<script>alert(1)</script>"])
def test_an_answer_that_is_none_is_a_failure(trusted, submitted, docker, answer):
    out = collected(trusted, submitted)
    (out / "found").mkdir()
    (out / "found/my-mlp.json").write_text(answer)
    found = step(CI / "check-submissions", out)
    assert found.returncode == 1
    assert "# Verification failed" in found.stdout
    assert "script" not in found.stdout


@pytest.mark.slow
@pytest.mark.skipif("submit" not in cli.commands, reason="needs qbench submit")
def test_the_second_job_passes_what_is_right(trusted, submitted, docker):
    made = submitted / "submissions/my-mlp"
    shutil.rmtree(made / "plugins")
    shutil.rmtree(made / "results")
    shutil.copytree(ROOT / "leaderboard/results/glyphs-linf-v1", made / "results/glyphs-linf-v1")
    out = collected(trusted, submitted)
    step(CI / "contain", "image", out, **docker)
    found = step(CI / "check-submissions", out)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "# Verification: no problems" in found.stdout
