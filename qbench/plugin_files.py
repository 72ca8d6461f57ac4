"""Plugins as Python files: their source, and importing it."""

from __future__ import annotations

import ast
import hashlib
import importlib.abc
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from qbench.errors import PluginError


@dataclass(frozen=True)
class PluginFile:
    """A plugin as a Python file. Its source travels with every task, so workers need no copy.

    Args:
        path: The file.
        source: What is in it.
        helpers: Modules beside the file that it imports or names as a factory's, directly or
            through one another: name and source, by name.
    """

    path: str
    source: bytes
    helpers: tuple[tuple[str, bytes], ...] = ()

    @property
    def name(self) -> str:
        """The plugin's name: the file's, without its ending."""
        return Path(self.path).stem

    @property
    def sha256(self) -> str:
        """Of all its source: the version of the plugin."""
        digest = hashlib.sha256(self.source)
        for name, source in self.helpers:
            digest.update(f"\0{name}\0".encode() + source)
        return digest.hexdigest()

    @classmethod
    def read(cls, path: Path) -> PluginFile:
        """Read a file. Raises `PluginError` when it cannot be read."""
        try:
            source, folder = path.read_bytes(), path.resolve().parent
            found = _beside(folder, source)
            found.pop(path.stem, None)
            helpers = tuple(sorted(found.items()))
            return cls(str(path.resolve()), source, helpers)
        except OSError as error:
            raise PluginError(f"plugin {path} does not load: {error.strerror}") from error


def _beside(folder: Path, source: bytes) -> dict[str, bytes]:
    """Source of the modules in a folder that some source imports or names, and that those do."""
    found: dict[str, bytes] = {}
    waiting = [source]
    while waiting:
        try:
            tree = ast.parse(waiting.pop())
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue  # executing it says what is wrong
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names = node.value.split(":")[:1] if ":" in node.value else []  # a factory's
            for name in names:
                file = folder / f"{name}.py"
                if name.isidentifier() and name not in found and file.is_file():
                    found[name] = file.read_bytes()
                    waiting.append(found[name])
    return found


def import_file(file: PluginFile) -> ModuleType:
    """Import a plugin file, and what it imports from beside it, from source that is here.

    Raises:
        PluginError: Another module has its name. What the file itself raises passes through.
    """
    name = file.name
    sources = {name: file.source, **dict(file.helpers)}
    finder = _Sources(Path(file.path).parent, sources)
    for module in sources:
        known = getattr(sys.modules.get(module), "__file__", None)
        if known == finder.path(module):
            del sys.modules[module]  # the file may have changed since
        elif module in sys.modules:
            raise PluginError(
                f"the name {module!r} is taken by another plugin or module: rename it"
            )
    sys.meta_path.insert(0, finder)
    try:
        return importlib.import_module(name)
    except BaseException:
        sys.meta_path.remove(finder)
        raise


class _Sources(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds modules in a mapping from names to source; they stay importable, as pickling asks."""

    def __init__(self, folder: Path, sources: Mapping[str, bytes]) -> None:
        self._folder, self._sources = folder, sources

    def path(self, name: str) -> str:
        """Where a module came from."""
        return str(self._folder / f"{name}.py")

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname not in self._sources:
            return None
        return importlib.util.spec_from_loader(fullname, self, origin=self.path(fullname))

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._sources[fullname])

    def exec_module(self, module: ModuleType) -> None:
        module.__file__ = self.path(module.__name__)
        code = self.source_to_code(self._sources[module.__name__], module.__file__)
        exec(code, module.__dict__)
