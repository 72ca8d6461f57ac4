"""`qbench models`, `attacks`, ...: what the plugins provide, without importing anything heavy."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from qbench.cli.options import json_option, plugin_option

if TYPE_CHECKING:
    from qbench.registry import PluginFile


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    columns = list(rows[0]) if rows else []
    cells = [[_text(row[column]) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)] if rows else []
    for line in [columns, *cells]:
        click.echo(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


@click.command()
@plugin_option
@json_option
def models(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the models: name, family, training, and which seeds the zoo holds."""
    from qbench.registry import load_registry
    from qbench.weights.zoo import Zoo

    rows, zoo = [], Zoo()
    for name, provided in load_registry(plugins).all("model").items():
        spec = provided.spec
        row = {
            "name": name,
            "family": spec.family,
            "epochs": spec.recipe.epochs,
            "zoo seeds": zoo.seeds(name),
            "plugin": provided.plugin,
            "description": spec.description,
        }
        rows.append(row)
    _show(rows, as_json)


@click.command()
@plugin_option
@json_option
def attacks(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the attacks: name, norms, and what they need of a model."""
    from qbench.registry import load_registry

    rows = [
        {
            "name": name,
            "norms": list(provided.spec.norms),
            "needs gradients": provided.spec.gradient,
            "targeted too": provided.spec.targeted,
            "plugin": provided.plugin,
            "description": provided.spec.description,
        }
        for name, provided in load_registry(plugins).all("attack").items()
    ]
    _show(rows, as_json)


@click.command()
@plugin_option
@json_option
def certifiers(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the certifiers: name, what they cover, and their source."""
    from qbench.registry import load_registry

    rows = [
        {
            "name": name,
            "covers": list(provided.spec.structures),
            "plugin": provided.plugin,
            "description": provided.spec.description,
            "source": provided.spec.source,
        }
        for name, provided in load_registry(plugins).all("certifier").items()
    ]
    _show(rows, as_json)


@click.command()
@plugin_option
@json_option
def datasets(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the data sets ('qbench sheet' draws one)."""
    from qbench.registry import load_registry

    rows = [
        {"name": name, "plugin": provided.plugin, "description": provided.spec.description}
        for name, provided in load_registry(plugins).all("dataset").items()
    ]
    _show(rows, as_json)


@click.command()
@click.argument("engine", required=False)
@plugin_option
@json_option
def engines(engine: str | None, plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the engines that circuits run on, or the devices of one ENGINE.

    \b
    Examples:
      qbench engines
      qbench engines aer          the fake backends whose noise can be simulated
    """
    from qbench.registry import load_registry

    if engine is not None:
        from qbench.engines import engine_devices

        rows = engine_devices(engine, load_registry(plugins))
        if not rows and not as_json:
            click.echo(f"{engine} takes no device: write --engine {engine}")
            return
        _show(rows, as_json)
        return
    rows = [
        {
            "name": name,
            "exact": provided.spec.exact,
            "gradients": provided.spec.differentiable,
            "plugin": provided.plugin,
            "description": provided.spec.description,
        }
        for name, provided in load_registry(plugins).all("engine").items()
    ]
    _show(rows, as_json)


@click.command()
@plugin_option
@json_option
def protocols(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the protocols: what is measured, frozen by SHA-256."""
    from qbench.protocols import load_protocol
    from qbench.registry import load_registry

    rows = []
    for name in load_registry(plugins).all("protocol"):
        protocol = load_protocol(name, plugins)
        rows.append(
            {
                "name": name,
                "data": f"{protocol.selection.dataset}/{protocol.selection.split}",
                "norm": protocol.norm,
                "eps": list(protocol.eps),
                "sha256": protocol.sha256[:12],
                "description": protocol.description,
            }
        )
    _show(rows, as_json)


@click.command()
@plugin_option
@json_option
def plugins(plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the plugins, what each provides, and why one did not load."""
    from qbench.registry import load_registry

    registry = load_registry(plugins)
    rows = [
        {
            "name": plugin.name,
            "version": plugin.version,
            "origin": plugin.origin,
            "status": f"error: {plugin.error}" if plugin.error else "loaded",
            "provides": [
                f"{kind}: {name}" for kind, names in plugin.provides.items() for name in names
            ],
        }
        for plugin in registry.plugins.values()
    ]
    _show(rows, as_json)
    for line in registry.clashes():
        click.echo(f"error: {line}", err=True)
