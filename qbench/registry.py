"""Finds plugins, loads each in its own guard, and looks up what they provide."""

from __future__ import annotations

import fnmatch
import hashlib
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, TypeVar, overload

import pluggy

from qbench import hookspecs
from qbench.errors import PluginError, QbenchError, UnknownNameError, UsageError
from qbench.specs import AttackSpec, CertifierSpec, DatasetSpec, EngineSpec, ModelSpec, Spec

ENTRY_POINT_GROUP = "qbench"
Kind = Literal["model", "attack", "certifier", "engine", "dataset"]
SPEC_TYPES: dict[Kind, type[Spec]] = {
    "model": ModelSpec,
    "attack": AttackSpec,
    "certifier": CertifierSpec,
    "engine": EngineSpec,
    "dataset": DatasetSpec,
}
S = TypeVar("S", bound=Spec)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


@dataclass
class Plugin:
    """One plugin: where it comes from, and why it did not load if it did not."""

    name: str
    origin: str
    version: str
    error: str | None = None
    provides: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Provided(Generic[S]):
    """A spec and the plugin that provides it."""

    spec: S
    plugin: str
    version: str

    def create(self, **params: Any) -> Any:
        """Import the factory and call it with the spec's parameters, overridden by `params`.

        Raises:
            PluginError: The factory does not import, or does not take these parameters.
        """
        try:
            return self.spec.resolve()(**{**self.spec.params, **params})
        except QbenchError:
            raise
        except Exception as error:
            raise PluginError(
                f"plugin {self.plugin!r} cannot make {self.spec.name!r} from "
                f"{self.spec.factory}: {type(error).__name__}: {error}"
            ) from error


class Registry:
    """Everything that the loaded plugins provide, by kind and name."""

    def __init__(self) -> None:
        self.plugins: dict[str, Plugin] = {}
        self._specs: dict[Kind, dict[str, Provided[Any]]] = {kind: {} for kind in SPEC_TYPES}
        self._clashes: dict[Kind, list[str]] = {kind: [] for kind in SPEC_TYPES}

    def add(self, plugin: Plugin, module: object) -> None:
        """Collect a plugin's specs; all of them, or none when any is malformed."""
        manager = pluggy.PluginManager("qbench")
        manager.add_hookspecs(hookspecs)
        found: list[tuple[Kind, Spec]] = []
        try:
            manager.register(module, plugin.name)
            manager.check_pending()
            for kind, spec_type in SPEC_TYPES.items():
                for specs in getattr(manager.hook, f"qbench_{kind}s")():
                    found += [(kind, _checked(spec, spec_type)) for spec in specs]
        except Exception as error:
            plugin.error = f"{type(error).__name__}: {error}"
            return
        for kind, spec in found:
            plugin.provides.setdefault(kind, []).append(spec.name)
            other = self._specs[kind].get(spec.name)
            if other is None:
                self._specs[kind][spec.name] = Provided(spec, plugin.name, plugin.version)
            else:
                self._clashes[kind].append(
                    f"two plugins provide the {kind} {spec.name!r}: {other.plugin!r} and "
                    f"{plugin.name!r}; remove or rename one"
                )

    def clashes(self) -> list[str]:
        """One line for each name that two plugins provide."""
        return [line for lines in self._clashes.values() for line in lines]

    @overload
    def all(self, kind: Literal["model"]) -> dict[str, Provided[ModelSpec]]: ...
    @overload
    def all(self, kind: Literal["attack"]) -> dict[str, Provided[AttackSpec]]: ...
    @overload
    def all(self, kind: Literal["certifier"]) -> dict[str, Provided[CertifierSpec]]: ...
    @overload
    def all(self, kind: Literal["engine"]) -> dict[str, Provided[EngineSpec]]: ...
    @overload
    def all(self, kind: Literal["dataset"]) -> dict[str, Provided[DatasetSpec]]: ...
    def all(self, kind: Kind) -> Any:
        """Everything of one kind by name, in the order it was provided.

        Raises:
            PluginError: Two plugins provide one name of this kind.
        """
        if self._clashes[kind]:
            raise PluginError(self._clashes[kind][0])
        return dict(self._specs[kind])

    @overload
    def get(self, kind: Literal["model"], name: str) -> Provided[ModelSpec]: ...
    @overload
    def get(self, kind: Literal["attack"], name: str) -> Provided[AttackSpec]: ...
    @overload
    def get(self, kind: Literal["certifier"], name: str) -> Provided[CertifierSpec]: ...
    @overload
    def get(self, kind: Literal["engine"], name: str) -> Provided[EngineSpec]: ...
    @overload
    def get(self, kind: Literal["dataset"], name: str) -> Provided[DatasetSpec]: ...
    def get(self, kind: Kind, name: str) -> Any:
        """Look one name up.

        Raises:
            UnknownNameError: Nobody provides it; names the nearest ones and the broken plugins.
        """
        known: dict[str, Any] = self.all(kind)
        if name not in known:
            raise self._unknown(kind, name, known)
        return known[name]

    def select(self, kind: Kind, patterns: Sequence[str]) -> list[str]:
        """Names that match names, globs or `all`, without repeats, in the order of provision."""
        known: dict[str, Any] = self.all(kind)
        chosen: set[str] = set()
        for pattern in patterns:
            matches = known if pattern == "all" else fnmatch.filter(known, pattern)
            if not matches:
                raise self._unknown(kind, pattern, known)
            chosen.update(matches)
        if not chosen:
            raise UsageError(f"no {kind} was named: give names, globs, or all")
        return [name for name in known if name in chosen]

    def _unknown(self, kind: Kind, name: str, known: Iterable[str]) -> UnknownNameError:
        error = UnknownNameError(kind, name, known)
        broken = [f"{p.name} ({p.error})" for p in self.plugins.values() if p.error]
        if broken:
            error.args = (f"{error}; plugins that did not load: {'; '.join(broken)}",)
        return error


def _checked(spec: object, spec_type: type[Spec]) -> Spec:
    if not isinstance(spec, spec_type):
        raise TypeError(f"expected {spec_type.__name__}, got {type(spec).__name__}")
    if not _NAME.fullmatch(spec.name):
        raise ValueError(f"{spec.name!r} is no name: use lower-case letters, digits, '-' and '.'")
    return spec


@dataclass(frozen=True)
class PluginFile:
    """A plugin as a Python file. Its source travels with every task, so workers need no copy."""

    path: str
    source: bytes

    @classmethod
    def read(cls, path: Path) -> PluginFile:
        """Read a file. Raises `PluginError` when it cannot be read."""
        try:
            return cls(str(path.resolve()), path.read_bytes())
        except OSError as error:
            raise PluginError(f"plugin {path} does not load: {error.strerror}") from error


@lru_cache(maxsize=8)
def load_registry(files: tuple[PluginFile, ...] = ()) -> Registry:
    """Load every installed plugin and the given files.

    An installed plugin that fails is kept with its error; one given as a file must load.

    Raises:
        PluginError: One of `files` does not load.
    """
    registry = Registry()
    for entry in sorted(entry_points(group=ENTRY_POINT_GROUP), key=_first_party_first):
        version = entry.dist.version if entry.dist else "unknown"
        plugin = Plugin(entry.name, entry.value, version)
        registry.plugins[plugin.name] = plugin
        try:
            module = entry.load()
        except Exception as error:
            plugin.error = f"{type(error).__name__}: {error}"
        else:
            registry.add(plugin, module)
    for file in files:
        _load_file(registry, file)
    return registry


def _first_party_first(entry: EntryPoint) -> tuple[bool, str]:
    return (entry.dist is None or entry.dist.name != "qbench-robustness", entry.name)


def _load_file(registry: Registry, file: PluginFile) -> None:
    name = Path(file.path).stem
    version = hashlib.sha256(file.source).hexdigest()[:12]
    try:
        if name in registry.plugins or (name in sys.modules and not _is_from(name, file)):
            raise PluginError(f"the name {name!r} is taken by another plugin or module: rename it")
        plugin = Plugin(name, file.path, version)
        registry.add(plugin, _execute(name, file))
    except (Exception, SystemExit) as error:
        ours = isinstance(error, PluginError)
        reason = str(error) if ours else f"{type(error).__name__}: {error}"
        raise PluginError(f"plugin {file.path} does not load: {reason}") from error
    registry.plugins[name] = plugin
    if plugin.error:
        raise PluginError(f"plugin {file.path} does not load: {plugin.error}")


def _is_from(name: str, file: PluginFile) -> bool:
    return getattr(sys.modules[name], "__file__", None) == file.path


def _execute(name: str, file: PluginFile) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = file.path
    sys.modules[name] = module  # factories name their module, and classes are pickled by it
    try:
        exec(compile(file.source, file.path, "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module
