"""The manual: everything public is in it, and it builds without a warning."""

import dataclasses
import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import qbench
from qbench import hookspecs, specs
from qbench.cli import cli

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
# What docs/plugins.md calls public, as modules with their parts.
WHOLE = re.findall(r"^\.\. automodule:: (\S+)$", REFERENCE, re.M)


def conf():
    names: dict[str, object] = {}
    exec((ROOT / "docs" / "conf.py").read_text(), names)
    return names


def test_the_table_of_contents_holds_every_page_once():
    table = conf()["contents"]((ROOT / "docs" / "index.md").read_text())
    listed = [
        (ROOT / "docs" / f"{line}.md").resolve()
        for line in table.splitlines()
        if re.match(r"[\w./-]+$", line)
    ]
    pages = {path.resolve() for path in (ROOT / "docs").glob("**/*.md")} - {
        ROOT / "docs" / "index.md"
    }
    outside = {ROOT / f"{name}.md" for name in ("CHANGELOG", "CODE_OF_CONDUCT", "SECURITY")}
    outside |= {ROOT / "CONTRIBUTING.md", ROOT / "leaderboard" / "README.md"}
    assert sorted(listed) == sorted(pages | outside)


def test_every_name_of_the_package_is_in_the_reference():
    shown = set(re.findall(r"^\.\. auto(?:function|class):: qbench\.(\w+)$", REFERENCE, re.M))
    assert shown == set(qbench.__all__)


def test_every_public_module_is_in_the_reference():
    (text,) = re.findall(r"## What is public\n(.*)", (ROOT / "docs/plugins.md").read_text(), re.S)
    named = set(re.findall(r"`(qbench\.[\w.]+)`", text)) - {"qbench.evaluation"}
    (inner,) = re.findall(r"of `qbench.evaluation` the modules (.*?);", text, re.S)
    named |= {f"qbench.evaluation.{name}" for name in re.findall(r"`(\w+)`", inner)}
    assert len(named) >= 15
    for name in named:
        assert any(f"{one}.".startswith(f"{name}.") for one in WHOLE), f"{name} is not shown"


@pytest.mark.parametrize("name", [*WHOLE, "qbench.api"])
def test_what_is_public_has_a_docstring(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for key, value in vars(module).items():
        if key.startswith("_") or not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if not value.__module__.startswith(name if name != "qbench.api" else "qbench"):
            continue
        said = value.__doc__ or ""
        assert said, f"{name}.{key} has no docstring"
        assert not said.startswith(f"{key}("), f"{name}.{key} has only its signature"
        for part, method in vars(value).items() if inspect.isclass(value) else ():
            if inspect.isfunction(method) and not part.startswith("_"):
                inherited = any(hasattr(base, part) for base in value.__mro__[1:])
                protocol = getattr(value, "_is_protocol", False)  # its docstring speaks of all
                assert method.__doc__ or inherited or protocol, f"{name}.{key}.{part}"


def test_every_hook_has_a_spec_whose_fields_are_explained():
    shown = [one for one in vars(specs).values() if inspect.isclass(one)]
    described = [one for one in shown if one.__name__.endswith("Spec") or one is specs.Recipe]
    hooks = [name for name in vars(hookspecs) if name.startswith("qbench_")]
    assert len(described) == len(hooks) + 2  # Spec itself, and a model's Recipe
    for one in described:
        said = "".join(base.__doc__ or "" for base in one.__mro__[:-1])
        for field in dataclasses.fields(one):
            assert re.search(rf"\b{field.name}\b", said), f"{one.__name__}.{field.name}"


def commands(group: click.Group = cli, name: str = "qbench"):
    context = click.Context(group, info_name=name)
    for key in group.list_commands(context):
        command = group.get_command(context, key)
        yield f"{name} {key}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {key}")


def test_every_command_and_option_is_explained():
    page = (ROOT / "docs" / "cli.md").read_text()
    found = list(commands())
    assert len(found) >= 20
    for name, command in found:
        assert f"# {name}\n" in page
        assert command.help, name
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, f"{name} {option.opts[0]}"


@pytest.mark.slow
def test_the_manual_builds_without_a_warning(tmp_path):
    pytest.importorskip("sphinx")
    pytest.importorskip("furo")
    made = subprocess.run(
        [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", "docs", ".", tmp_path],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    page = (tmp_path / "docs" / "reference.html").read_text()
    for name in qbench.__all__:
        assert f'id="qbench.{name}"' in page
    assert (tmp_path / "leaderboard" / "README.html").is_file()
