"""What `make` and the workflows install is pinned by hash, and allowed by `pyproject.toml`."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"run": (), "test": ("test",), "docs": ("docs",), "release": ("release",)}


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What extras ask for, with the extras that they name in turn."""
    found = []
    for extra in extras:
        for one in map(Requirement, PROJECT["optional-dependencies"][extra]):
            found += asked(tuple(one.extras)) if one.name == PROJECT["name"] else [one]
    return found


def pins(name: str) -> dict[str, list[str]]:
    """Versions by package; each has the hash of a file."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(
                r"([\w.-]+)==([\w.+]+)(?: ; [^#]*?)?(?: +--hash=sha256:[0-9a-f]{64})+", line
            )
            assert match, f"{name}.txt: {line[:100]}"
            found.setdefault(match[1], []).append(match[2])
    return found


@pytest.mark.parametrize("name", EXTRAS)
def test_what_is_asked_for_is_pinned_to_a_version_that_will_do(name):
    known = pins(name)
    core = list(map(Requirement, PROJECT["dependencies"])) if name in ("run", "test") else []
    for one in core + asked(EXTRAS[name]):
        versions = known.get(canonicalize_name(one.name))
        assert versions, f"{one} is not in {name}.txt: requirements/compile"
        assert all(one.specifier.contains(version) for version in versions), f"{one}: {versions}"


def test_the_files_agree_and_torch_is_the_same_for_cpus():
    every = pins("test")
    for name in ("run", "docs", "release", "torch"):
        for package, versions in pins(name).items():
            assert every.get(package, versions) == versions, f"{name}.txt: {package} {versions}"
    assert pins("torch-cpu") == {"torch": [f"{version}+cpu" for version in every["torch"]]}
    assert not [name for name in every if name.startswith("nvidia-")]
