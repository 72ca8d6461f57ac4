"""The command that installs an extra is one that works where qbench was installed from."""

import json
import shlex
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from qbench import extras

CHECKOUT = {"url": "file:///home/me/my%20bench", "dir_info": {"editable": True}}
COPIED = {"url": "file:///home/me/qbench", "dir_info": {}}
REPOSITORY = {
    "url": "https://example.org/qbench.git",
    "vcs_info": {"vcs": "git", "commit_id": "ab12"},
}
WHEEL = {"url": "https://example.org/q.whl", "archive_info": {}}


class Installed:
    def __init__(self, origin):
        self.origin = origin

    def read_text(self, name):
        assert name == "direct_url.json"
        return None if self.origin is None else json.dumps(self.origin)


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        (CHECKOUT, ["-e", "/home/me/my bench[art]"]),
        (COPIED, ["/home/me/qbench[art]"]),
        (REPOSITORY, ["qbench-robustness[art] @ git+https://example.org/qbench.git@ab12"]),
        (WHEEL, ["qbench-robustness[art] @ https://example.org/q.whl"]),
        (None, ["qbench-robustness[art]"]),
    ],
)
def test_the_command_names_where_qbench_came_from(monkeypatch, origin, words):
    monkeypatch.setattr(extras, "distribution", lambda name: Installed(origin))
    assert shlex.split(extras.install_command("art")) == ["pip", "install", *words]


def test_a_checkout_that_is_not_installed_is_named(monkeypatch):
    def missing(name):
        raise PackageNotFoundError

    monkeypatch.setattr(extras, "distribution", missing)
    *start, last = shlex.split(extras.install_command("dask"))
    folder = Path(last.removesuffix("[dask]"))
    assert start == ["pip", "install", "-e"]
    assert (folder / "pyproject.toml").is_file()


def test_every_extra_that_a_message_names_exists(monkeypatch):
    import re
    import tomllib

    root = Path(__file__).parents[1]
    known = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    sources = [*root.glob("qbench/**/*.py"), *root.glob("plugins/**/*.py")]
    named = {
        extra
        for source in sources
        for extra in re.findall(r"install_command\(['\"](\w+)['\"]\)", source.read_text())
    }
    assert {"art", "dask", "data", "parquet"} <= named <= known.keys()
    assert not [s for s in sources if "pip install" in s.read_text() and s.name != "extras.py"]
