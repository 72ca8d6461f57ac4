"""Finds plugins, loads each in its own guard, and looks up what they provide."""

from __future__ import annotations

import ast
import fnmatch
import hashlib
import importlib.abc
import importlib.util
import inspect
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.machinery import ModuleSpec
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Literal, NoReturn, TypeVar, overload

import pluggy

from qbench import hookspecs
from qbench.docstrings import argument_docs
from qbench.errors import PluginError, QbenchError, UnknownNameError, UsageError
from qbench.process_state import ProcessState
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
S = TypeVar("S", bound=Spec)
Scalar = bool | int | float | str | None


@dataclass
class Plugin:
    """One plugin: where it comes from, and why it did not load if it did not."""

    name: str
    origin: str
    version: str
    error: str | None = None
    provides: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Changed:
    """What a plugin changed of the process; it was put back."""

    settings: set[str] = field(default_factory=set)
    code: set[str] = field(default_factory=set)


_CHANGED: defaultdict[str, Changed] = defaultdict(Changed)


@contextmanager
def _put_back(plugin: str) -> Iterator[None]:
    """Whatever the plugin's code in the block changes for everyone is put back, and noted.

    Ending the process at once becomes an exception, as `sys.exit` is one.
    """
    before, end, process = ProcessState.now(), os._exit, os.getpid()

    def refused(status: int) -> NoReturn:
        if os.getpid() != process:  # a child that the plugin forked
            end(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refused
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"while plugin {plugin!r} was loading") from error
    finally:
        os._exit = end
        settings, code = before.restore()
        _CHANGED[plugin].settings.update(settings)
        _CHANGED[plugin].code.update(code)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a factory; `meaning` is empty where nobody wrote it down."""

    name: str
    default: Scalar
    meaning: str


@dataclass(frozen=True)
class Provided(Generic[S]):
    """A spec and the plugin that provides it."""

    spec: S
    plugin: str
    version: str

    def resolved(self, params: Mapping[str, Any]) -> dict[str, Scalar]:
        """Every parameter that the factory runs with: its defaults, the spec's, then `params`.

        A whole number for a parameter that takes fractions becomes a float, so that one value has
        one spelling. Values that are no scalars are left out: they are not a caller's to choose. A
        factory that does not import has no defaults: what needs it says so when it is run.
        """
        try:
            known = dict(inspect.signature(self._factory()).parameters)
        except (QbenchError, ValueError, TypeError):
            known = {}
        chosen = {name: parameter.default for name, parameter in known.items()}
        chosen |= {**self.spec.params, **params}
        found: dict[str, Scalar] = {}
        for name, value in chosen.items():
            annotation = str(getattr(known.get(name), "annotation", ""))
            if isinstance(value, int) and not isinstance(value, bool) and "float" in annotation:
                value = float(value)
            if value is None or isinstance(value, bool | int | float | str):
                found[name] = value
        return dict(sorted(found.items()))

    def parameters(self) -> list[Parameter]:
        """What may be chosen, with its default and what the factory's docstring says of it.

        Raises:
            PluginError: The factory does not import.
        """
        factory, defaults = self._factory(), self.resolved({})
        meanings = argument_docs(factory)
        names = [name for name in inspect.signature(factory).parameters if name in defaults]
        names += [name for name in defaults if name not in names]
        return [Parameter(name, defaults[name], meanings.get(name, "")) for name in names]

    def check_names(self, params: Iterable[str]) -> None:
        """Refuse parameters that the factory does not take.

        Raises:
            UnknownNameError: Naming the first one, and the nearest that there are.
        """
        known = inspect.signature(self._factory()).parameters
        if any(one.kind is one.VAR_KEYWORD for one in known.values()):
            return
        for name in params:
            if name not in known:
                raise UnknownNameError(f"parameter of {self.spec.name}", name, known)

    def create(self, **params: Any) -> Any:
        """Import the factory and call it with the spec's parameters, overridden by `params`.

        Raises:
            PluginError: The factory does not import, does not take these parameters, or returns
                nothing that can be used.
        """
        factory = self._factory()
        try:
            made = factory(**{**self.spec.params, **params})
        except QbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        wrong = _wrong(self.spec, made)
        if wrong is not None:
            raise self._broken(wrong)
        return made

    def _factory(self) -> Callable[..., Any]:
        # What a plugin changes, it changes where its code is first run.
        known = self.spec.factory.partition(":")[0] in sys.modules
        try:
            with nullcontext() if known else _put_back(self.plugin):
                return self.spec.resolve()
        except QbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error

    def _broken(self, reason: str) -> PluginError:
        return PluginError(
            f"plugin {self.plugin!r} cannot make {self.spec.name!r} from "
            f"{self.spec.factory}: {reason}"
        )


def _wrong(spec: Spec, made: object) -> str | None:
    """Why what a factory returned is nothing that its spec promises; None where it may be."""
    if isinstance(made, type):
        return f"it returned the class {made.__name__}, not an instance of it"
    if isinstance(spec, ModelSpec):
        from torch import nn  # a factory of models has imported it

        wanted, right = "a torch.nn.Module", isinstance(made, nn.Module)
    elif isinstance(spec, AttackSpec | CertifierSpec):
        wanted, right = "something to call", callable(made)
    else:
        return None  # whoever loads data, engines and protocols checks what they are
    return None if right else f"it returned a {type(made).__name__}, not {wanted}"


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
        return _CHANGED[plugin]

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
        except (SyntaxError, ValueError):
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
        with _put_back(plugin.name):
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
        with _put_back(name):
            registry.add(plugin, import_file(file))
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"plugin {file.path} does not load: {_reason(error)}") from error
    registry.plugins[name] = plugin
    if plugin.error:
        raise PluginError(f"plugin {file.path} does not load: {plugin.error}")


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
