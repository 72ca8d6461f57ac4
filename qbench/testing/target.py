"""What is to be checked: everything that a name or a plugin file stands for."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from qbench.errors import PluginError, QbenchError, UnknownNameError, UsageError
from qbench.model_names import ModelName
from qbench.plugin_files import PluginFile
from qbench.registry import SPEC_TYPES, Kind, Registry, load_registry

# What may follow a name after a colon: an attack's parameters, an engine's device, a data set's.
_WITH_PARAMETERS: tuple[Kind, ...] = ("attack", "engine", "dataset")


@dataclass(frozen=True)
class Target:
    """One object to be checked.

    Args:
        kind: What it is.
        text: Its name, with parameters where it takes some, e.g. `pgd:steps=10`; of a model
            perhaps with its engine, e.g. `reup@pennylane`.
        plugins: Plugins given as files.
        dataset: Whose images models and certifiers are checked on; the default protocol's if None.
    """

    kind: Kind
    text: str
    plugins: tuple[PluginFile, ...] = ()
    dataset: str | None = None

    @property
    def name(self) -> str:
        """Its name alone."""
        return self.text.partition("@")[0].partition(":")[0]

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"


def targets(
    text: str, plugins: tuple[PluginFile, ...] = (), dataset: str | None = None
) -> list[Target]:
    """What a name or a file stands for.

    Args:
        text: A name of any kind, of every kind that has it; or a plugin file (its name ends in
            `.py`): everything in it.
        plugins: Other plugins given as files.
        dataset: See `Target`.

    Raises:
        UsageError: Nobody provides the name, or it has parameters and takes none.
        PluginError: The file does not load, or provides nothing.
    """
    if text.endswith(".py"):
        return _of_file(Path(text), plugins, dataset)
    registry = load_registry(plugins)
    if "@" in text:
        return [_on_engine(text, plugins, dataset, registry)]
    name, colon, _ = text.partition(":")
    found = [kind for kind in SPEC_TYPES if name in registry.all(kind)]
    if not found:
        raise _unknown(name, registry)
    fitting = [kind for kind in found if not colon or kind in _WITH_PARAMETERS]
    if not fitting:
        raise UsageError(f"the {found[0]} {name!r} takes no parameters here: write {name!r}")
    return [Target(kind, text, plugins, dataset) for kind in fitting]


def _on_engine(
    text: str, plugins: tuple[PluginFile, ...], dataset: str | None, registry: Registry
) -> Target:
    from qbench.evaluation.placing import Placing  # imports torch

    placing, model = Placing(registry, [text], None, None), ModelName.parse(text).model
    placing.names({model: registry.get("model", model)}, lambda _: None)
    return Target("model", text, plugins, dataset)


def _of_file(path: Path, plugins: tuple[PluginFile, ...], dataset: str | None) -> list[Target]:
    file = PluginFile.read(path)
    plugins = (*(other for other in plugins if other.path != file.path), file)
    provides = load_registry(plugins).plugins[file.name].provides
    found = [
        Target(kind, name, plugins, dataset)
        for kind in SPEC_TYPES
        for name in provides.get(kind, ())
    ]
    if not found:
        raise PluginError(
            f"plugin {path} provides nothing: name a function after a hook, e.g. qbench_models, "
            "and put @hookimpl above it"
        )
    return found


def _unknown(name: str, registry: Registry) -> QbenchError:
    known = {one for kind in SPEC_TYPES for one in registry.all(kind)}
    broken = [
        f"{plugin.name} ({plugin.error})" for plugin in registry.plugins.values() if plugin.error
    ]
    if broken:
        return PluginError(
            f"nothing is called {name!r}; plugins that did not load: {'; '.join(broken)}"
        )
    if difflib.get_close_matches(name, known):
        return UnknownNameError("name", name, known)
    return UsageError(f"nothing is called {name!r}: install its plugin, or name the plugin's file")
