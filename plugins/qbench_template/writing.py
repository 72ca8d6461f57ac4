"""The distribution that `qbench new` writes: one set of files, and one plugin a kind."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from jinja2 import Environment, StrictUndefined

from qbench.errors import UsageError
from qbench.files import explained, write_atomically
from qbench.registry import load_registry

Kind = Literal["model", "attack", "certifier", "dataset", "engine"]
KINDS: tuple[Kind, ...] = get_args(Kind)
_NAME = re.compile(r"[a-z]([a-z0-9.-]*[a-z0-9])?")  # of a plugin's object that is a module too


def write(kind: Kind, name: str, into: Path) -> tuple[Path, str]:
    """Write the folder `into`/`name`.

    Args:
        kind: What the plugin provides.
        name: Of the object, the folder and the distribution; the module has underscores instead.
        into: Where the folder is made.

    Returns:
        The folder, and the name of the plugin's module.

    Raises:
        UsageError: The name cannot be one, or is taken; or the folder is there.
        StoreError: It cannot be written.
    """
    module = _module(kind, name)
    folder = into / name
    if folder.exists() or folder.is_symlink():
        raise UsageError(f"{folder} is there already: choose another name or --into")
    class_name = "".join(part.capitalize() for part in module.split("_"))
    written = _rendered(name=name, kind=kind, module=module, class_name=class_name)
    with explained(f"cannot write {folder}"):
        folder.mkdir(parents=True)
    for file, text in written.items():
        write_atomically(folder / file, text.encode())
    return folder, module


def _module(kind: Kind, name: str) -> str:
    module = name.replace("-", "_").replace(".", "_")
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{name!r} cannot be a plugin's name: use lower-case letters, digits, '-' and '.', and "
            "begin with a letter"
        )
    registry = load_registry()
    provided = registry.all(kind).get(name)
    if provided is not None:
        raise UsageError(f"plugin {provided.plugin!r} provides the {kind} {name!r}: choose another")
    if keyword.iskeyword(module) or module in registry.plugins or find_spec(module) is not None:
        raise UsageError(f"a module or plugin {module!r} is there already: choose another name")
    return module


def _rendered(**values: str) -> dict[str, str]:
    """The files' content by name."""
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)
    folder = files("qbench_template") / "files"

    def fill(file: str) -> str:
        return environment.from_string((folder / f"{file}.j2").read_text()).render(values)

    module = values["module"]
    return {
        "pyproject.toml": fill("pyproject.toml"),
        "README.md": fill("README.md"),
        f"{module}.py": fill(f"{values['kind']}.py"),
        f"tests/test_{module}.py": fill("test_plugin.py"),
    }
