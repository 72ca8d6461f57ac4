"""`qbench new`: what it writes is a distribution that works, and it overwrites nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from qbench.errors import UsageError
from qbench.testing import checks_of, outcomes, targets
from qbench_template.writing import KINDS, write

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_conforms(tmp_path, kind):
    folder, module = write(kind, f"our-{kind}", tmp_path)
    found = targets(str(folder / f"{module}.py"))
    assert (kind, f"our-{kind}") in {(target.kind, target.text) for target in found}
    for target in found:
        bad = [one for one in outcomes(checks_of(target)) if not one.passed]
        assert not bad, bad


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_all_there_and_well_formed(tmp_path, kind):
    folder, module = write(kind, "our-thing.v2", tmp_path)
    assert module == "our_thing_v2"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {
        "pyproject.toml",
        "README.md",
        "our_thing_v2.py",
        "tests/test_our_thing_v2.py",
    }
    about = tomllib.loads((folder / "pyproject.toml").read_text())
    assert about["project"]["entry-points"]["qbench"] == {"our_thing_v2": "our_thing_v2"}
    assert about["project"]["name"] == "our-thing.v2"
    for file in files:
        text = (folder / file).read_text()
        assert "{{" not in text
        assert "{%" not in text
        assert text.endswith("\n")
    style = ["--no-cache", "--config", f"{ROOT}/pyproject.toml"]
    for what in (["check", *style], ["format", "--check", *style]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *what, folder], capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("Our-Model", "cannot be a plugin's name: use lower-case letters"),
        ("3d", "begin with a letter"),
        ("../up", "cannot be a plugin's name"),
        ("our-", "cannot be a plugin's name"),
        ("a b", "cannot be a plugin's name"),
        ("convnet", "plugin 'qbench_classical' provides the model 'convnet'"),
        ("qbench-art", "a module or plugin 'qbench_art' is there already"),
        ("json", "a module or plugin 'json' is there already"),
        ("class", "a module or plugin 'class' is there already"),
    ],
)
def test_a_name_that_will_not_do_writes_nothing(tmp_path, name, complaint):
    with pytest.raises(UsageError, match=complaint):
        write("model", name, tmp_path / "into")
    assert not (tmp_path / "into").exists()


def test_nothing_is_overwritten(tmp_path):
    folder, _ = write("model", "our-model", tmp_path)
    (folder / "our_model.py").write_text("mine\n")
    with pytest.raises(UsageError, match="our-model is there already"):
        write("attack", "our-model", tmp_path)
    assert (folder / "our_model.py").read_text() == "mine\n"


def test_the_command(qbench_cli, tmp_path):
    done = qbench_cli("new", "attack", "our-attack", "--into", "deep/er")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1:] == ["  qbench check deep/er/our-attack/our_attack.py"]
    assert (tmp_path / "deep" / "er" / "our-attack" / "our_attack.py").exists()
    again = qbench_cli("new", "attack", "our-attack", "--into", "deep/er")
    assert (again.returncode, again.stdout) == (2, "")
    assert (
        again.stderr
        == "error: deep/er/our-attack is there already: choose another name or --into\n"
    )
    assert qbench_cli("new", "thing", "our-thing").returncode == 2


def installed(folder: Path, into: Path) -> dict[str, str]:
    """Install a distribution into a folder of its own; the environment in which it is found."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--target"]
    done = subprocess.run([*pip, *offline, into, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    path = os.pathsep.join([str(into), os.environ.get("PYTHONPATH", "")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def command(folder: Path, environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def row(folder: Path, environment: dict[str, str], name: str, *more: str) -> dict[str, object]:
    """The leaderboard row of a run as the README of a new model gives it."""
    words = ["run", "--models", name, "--attacks", "pgd", "--limit", "20", "--seeds", "0"]
    command(folder, environment, "qbench", *words, "--eps", "0.1", "--out", "run", *more)
    board = json.loads((folder / "run" / "leaderboard" / "leaderboard.json").read_text())
    (found,) = (one for one in board["rows"] if one["model"] == name)
    return found


def own_tests(folder: Path, environment: dict[str, str]) -> str:
    """What a distribution's own tests print."""
    words = ["pytest", "-q", "-p", "qbench.testing.pytest_plugin", "-p", "no:cacheprovider"]
    environment = environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return command(folder, environment, *words, "tests")


@pytest.mark.slow
def test_a_new_model_is_installed_tested_and_ranked(tmp_path):
    folder, _ = write("model", "our-model", tmp_path)
    environment = installed(folder, tmp_path / "site")
    assert re.search(r"^7 passed", own_tests(folder, environment), re.M)
    found = row(tmp_path, environment, "our-model")
    assert found["rank"] == 1


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "model"])
def test_the_other_kinds_are_installed_and_pass_their_own_tests(tmp_path, kind):
    folder, _ = write(kind, f"our-{kind}", tmp_path)
    environment = installed(folder, tmp_path / "site")
    assert re.search(r"^\d+ passed", own_tests(folder, environment), re.M)
    assert f"{kind}: our-{kind}" in command(tmp_path, environment, "qbench", "plugins")


@pytest.mark.slow
def test_the_documented_torch_layer_takes_the_models_place(tmp_path):
    pytest.importorskip("pennylane")
    page = (ROOT / "docs" / "plugins.md").read_text()
    (code,) = re.findall(r"```python\n(import pennylane.*?)```", page, re.S)
    folder, module = write("model", "my-qnn", tmp_path)
    (folder / f"{module}.py").write_text(code)
    environment = installed(folder, tmp_path / "site")
    assert re.search(r"^7 passed", own_tests(folder, environment), re.M)
    found = row(tmp_path, environment, "my-qnn")
    assert found["rank"] == 1
    assert found["clean"]["mean"] > 0.8
