"""Finds plugins, loads each in its own guard, and looks up what they provide."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Literal, overload

import pluggy

from qbench import hookspecs
from qbench.errors import PluginError, UnknownNameError, UsageError
from qbench.plugin_files import PluginFile, import_file
from qbench.provided import CHANGED, Changed, Provided, put_back
from qbench.spec_fields import check_spec
from qbench.specs import (
    AttackSpec,
    CertifierSpec,
    CommandSpec,
    DatasetSpec,
    EngineSpec,
    ModelSpec,
    ProtocolSpec,
    Spec,
)

ENTRY_POINT_GROUP = "qbench"
Kind = Literal["model", "attack", "certifier", "engine", "dataset", "protocol", "command"]
SPEC_TYPES: dict[Kind, type[Spec]] = {
    "model": ModelSpec,
    "attack": AttackSpec,
    "certifier": CertifierSpec,
    "engine": EngineSpec,
    "dataset": DatasetSpec,
    "protocol": ProtocolSpec,
    "command": CommandSpec,
}


@dataclass
class Plugin:
    """One plugin: where it comes from, and why it did not load if it did not."""

    name: str
    origin: str
    version: str
    error: str | None = None
    provides: dict[str, list[str]] = field(default_factory=dict)


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
            _check_marks(module)
            manager.register(module, plugin.name)
            manager.check_pending()
            if not manager.get_hookcallers(module):
                hooks = ", ".join(f"qbench_{kind}s" for kind in SPEC_TYPES)
                raise PluginError(f"it provides nothing: define one of the hooks {hooks}")
            for kind, spec_type in SPEC_TYPES.items():
                hook = f"qbench_{kind}s"
                for returned in getattr(manager.hook, hook)():
                    found += [(kind, spec) for spec in _specs(returned, hook, spec_type)]
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            plugin.error = _reason(error)
            return
        for kind, spec in found:
            plugin.provides.setdefault(kind, []).append(spec.name)
            other = self._specs[kind].get(spec.name)
            if other is None:
                self._specs[kind][spec.name] = Provided(spec, plugin.name, plugin.version)
            elif other.plugin == plugin.name:
                self._clashes[kind].append(
                    f"plugin {plugin.name!r} provides the {kind} {spec.name!r} twice; rename one"
                )
            else:
                self._clashes[kind].append(
                    f"two plugins provide the {kind} {spec.name!r}: {other.plugin!r} and "
                    f"{plugin.name!r}; remove or rename one"
                )

    @staticmethod
    def changed(plugin: str) -> Changed:
        """What a plugin has changed of this process so far, as far as it was seen."""
        return CHANGED[plugin]

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
    @overload
    def all(self, kind: Literal["protocol"]) -> dict[str, Provided[ProtocolSpec]]: ...
    @overload
    def all(self, kind: Literal["command"]) -> dict[str, Provided[CommandSpec]]: ...
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
    @overload
    def get(self, kind: Literal["protocol"], name: str) -> Provided[ProtocolSpec]: ...
    @overload
    def get(self, kind: Literal["command"], name: str) -> Provided[CommandSpec]: ...
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
        if kind == "model" and name.partition("@")[0] in known:
            error.args = (f"{error}; here a model is named without an engine",)
        broken = [f"{p.name} ({p.error})" for p in self.plugins.values() if p.error]
        if broken:
            error.args = (f"{error}; plugins that did not load: {'; '.join(broken)}",)
        return error


def _specs(returned: object, hook: str, spec_type: type[Spec]) -> Iterator[Spec]:
    """The specs that one implementation of a hook returned.

    Raises:
        PluginError: They are none.
    """
    if isinstance(returned, Spec) or not isinstance(returned, Iterable):
        raise PluginError(
            f"{hook} returned {type(returned).__name__}: yield each {spec_type.__name__}, or "
            "return a list of them"
        )
    for spec in returned:
        yield check_spec(spec, spec_type)


def _check_marks(module: object) -> None:
    """Refuse functions that are named as hooks, and that nobody would call.

    Raises:
        PluginError: One of them lacks `@hookimpl`.
    """
    for kind in SPEC_TYPES:
        hook = f"qbench_{kind}s"
        found = getattr(module, hook, None)
        if callable(found) and not hasattr(found, "qbench_impl"):
            raise PluginError(
                f"{hook} lacks @hookimpl and would not be called: write 'from qbench.hookspecs "
                "import hookimpl', and '@hookimpl' above it"
            )


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
        with put_back(plugin.name):
            try:
                module = entry.load()
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                plugin.error = _reason(error)
            else:
                registry.add(plugin, module)
    for file in files:
        _load_file(registry, file)
    return registry


def _reason(error: BaseException) -> str:
    """Why something of a plugin's failed: what is ours needs no name of an exception."""
    return str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"


def _first_party_first(entry: EntryPoint) -> tuple[bool, str]:
    return (entry.dist is None or entry.dist.name != "qbench-robustness", entry.name)


def _load_file(registry: Registry, file: PluginFile) -> None:
    name = file.name
    version = file.sha256
    try:
        if name in registry.plugins or not name.isidentifier():
            raise PluginError(f"the name {name!r} is taken or is no module's name: rename the file")
        plugin = Plugin(name, file.path, version)
        with put_back(name):
            registry.add(plugin, import_file(file))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"plugin {file.path} does not load: {_reason(error)}") from error
    registry.plugins[name] = plugin
    if plugin.error:
        raise PluginError(f"plugin {file.path} does not load: {plugin.error}")
