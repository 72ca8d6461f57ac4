"""`qbench models`, `attacks`, ...: what the plugins provide, without importing anything heavy."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from qbench.cli.options import json_option, plugin_option
from qbench.text import one_line, wrapped

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.registry import Plugin, Registry
    from qbench.specs import CertifierSpec

WIDTH = 80  # characters of a line
MOST_NUMBER = 10  # characters of a last column that holds no sentences


def _show(rows: Sequence[Mapping[str, Any]], as_json: bool, shown: Sequence[str] = ()) -> None:
    """Rows as JSON, or as a table of at most 80 characters a line.

    Args:
        rows: What there is, by column.
        as_json: Print all of it as JSON.
        shown: The columns of the table; all by default. Only the last one may be long: it is
            wrapped.
    """
    if as_json:
        click.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    columns = list(shown or (rows[0] if rows else ()))
    cells = [[_text(row[column]) for column in columns] for row in rows]
    lines = [columns, *cells]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)][:-1]
    gap = "  " if sum(widths) + 2 * len(widths) + MOST_NUMBER <= WIDTH else " "
    for line in lines if columns else ():
        first = gap.join([cell.ljust(width) for cell, width in zip(line, widths, strict=False)])
        before = f"{first}{gap}" if widths else ""
        click.echo(
            textwrap.fill(
                line[-1],
                WIDTH,
                initial_indent=before,
                subsequent_indent=" " * len(before),
                break_on_hyphens=False,
            ).rstrip()
            or before.rstrip()
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
    _show(rows, as_json, ("name", "family", "epochs", "zoo seeds", "description"))


@click.command()
@click.argument("attack", required=False)
@plugin_option
@json_option
def attacks(attack: str | None, plugins: tuple[PluginFile, ...], as_json: bool) -> None:
    """List the attacks: name, norms, and what they need of a model; or the parameters of ATTACK.

    \b
    Examples:
      qbench attacks
      qbench attacks pgd       for 'qbench run --attacks pgd:PARAMETER=VALUE'
    """
    from qbench.registry import load_registry

    if attack is not None:
        _parameters(attack, load_registry(plugins), as_json)
        return
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
    _show(rows, as_json, ("name", "norms", "needs gradients", "description"))
    if not as_json:
        click.echo("\n'qbench attacks NAME' lists the parameters of an attack")


def _parameters(attack: str, registry: Registry, as_json: bool) -> None:
    """What may be chosen of one attack."""
    provided = registry.get("attack", attack)
    rows = [
        {"parameter": one.name, "default": one.default, "meaning": one.meaning}
        for one in provided.parameters()
    ]
    if as_json:
        _show(rows, as_json)
        return
    spec = provided.spec
    needs = "needs gradients" if spec.gradient else "needs no gradients"
    click.echo(wrapped(f"{attack}: {spec.description}"))
    click.echo(f"bounded in {_text(spec.norms)}; {needs}; from the plugin {provided.plugin}\n")
    if not rows:
        click.echo("it has no parameters")
        return
    _show([{**row, "default": _default(row["default"])} for row in rows], as_json)
    one = next((row for row in rows if row["default"] is not None), rows[0])
    chosen = f"{attack}:{one['parameter']}={_default(one['default'])}"
    click.echo(f"\nas in: qbench run --attacks {chosen}")


def _default(value: Any) -> str:
    """A default as it would be written on the command line."""
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)


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
            "runs": _runs(provided.spec),
            "source": provided.spec.source,
        }
        for name, provided in load_registry(plugins).all("certifier").items()
    ]
    if not as_json:
        for row in rows:
            covers = _text(row["covers"]) or "every model"
            row["what it proves"] = (
                f"{row['description']}; covers {covers}; runs {row['runs']}; {row['source']}"
            )
    _show(rows, as_json, ("name", "what it proves"))


def _runs(spec: CertifierSpec) -> str:
    if spec.by_default:
        return "by default"
    if spec.counted:
        return "with --shots"
    return "by name" if spec.smoothed else "by name or with --effort high"


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
    _show(rows, as_json, ("name", "description"))


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
    _show(rows, as_json, ("name", "exact", "gradients", "description"))


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
    _show(rows, as_json, ("name", "data", "norm", "eps", "description"))


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
    words = [_in_words(plugin) for plugin in registry.plugins.values()]
    _show(rows if as_json else words, as_json)
    for line in registry.clashes():
        click.echo(f"error: {line}", err=True)


def _in_words(plugin: Plugin) -> dict[str, str]:
    """A plugin as a line of the list."""
    provides = "; ".join(f"{kind}s {_text(names)}" for kind, names in plugin.provides.items())
    longest = 12 if len(plugin.version) == 64 else None  # the start of a hash is enough to tell
    return {
        "name": plugin.name,
        "version": plugin.version[:longest],
        "provides": f"does not load: {one_line(plugin.error)}" if plugin.error else provides,
    }
