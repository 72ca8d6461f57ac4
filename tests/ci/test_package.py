"""What is released: a wheel and a source archive that hold what they must and nothing else."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def build(out: Path, tag: str) -> subprocess.CompletedProcess[str]:
    """Run the script with the interpreter of the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    words = [ROOT / ".ci" / "build", out, tag]
    return subprocess.run(words, env=os.environ | {"PATH": path}, capture_output=True, text=True)


def test_the_licence_is_named_once_and_its_text_is_there():
    assert PROJECT["license-files"] == ["LICENSE"]
    text = (ROOT / "LICENSE").read_text()
    assert PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_citation_has_the_packages_version():
    (version,) = re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M)
    assert version == PROJECT["version"]


def test_a_tag_of_another_version_builds_nothing(tmp_path):
    found = build(tmp_path, "v99")
    assert found.returncode == 2
    assert "the tag is v99" in found.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_what_is_released_holds_what_it_must(tmp_path):
    pytest.importorskip("build")
    pytest.importorskip("twine")
    version = PROJECT["version"]
    made = build(tmp_path, f"v{version}")
    assert made.returncode == 0, made.stdout + made.stderr
    (wheel,), (source,) = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    with tarfile.open(source) as archive:
        inner = [name.partition("/")[2] for name in archive.getnames()]
    for every in (names, inner):
        assert not [n for n in every if re.search(r"(^|/)tests?/|__pycache__|\.pyc$|(^|/)runs/", n)]
        assert [n for n in every if n.endswith("/LICENSE") or n == "LICENSE"]
        assert {"qbench/py.typed", "qbench/datasets/glyphs-v1.npz"} < set(every)
        weights = [n for n in every if re.match(r"qbench/weights/zoo_v1/.*\.safetensors$", n)]
        assert len(weights) == len(list(ROOT.glob("qbench/weights/zoo_v1/**/*.safetensors"))) > 50
    ledger = sorted(path.name for path in ROOT.glob("plugins/qbench_claims/ledger/*.toml"))
    assert sorted(n.split("/")[-1] for n in names if "qbench_claims/ledger/" in n) == ledger
    code = {p.relative_to(ROOT / f).as_posix() for f in (".", "plugins")
            for p in (ROOT / f).glob("qbench*/**/*.py")}  # fmt: skip
    assert {n for n in names if n.endswith(".py")} == code
    (results,) = (tmp_path / "archive").iterdir()
    with tarfile.open(results) as archive:
        held = {name for name in archive.getnames() if name.count("/") == 3}
    published = ROOT / "leaderboard"
    assert held == {p.relative_to(published).as_posix() for p in published.glob("results/*/*/*")}
