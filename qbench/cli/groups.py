"""A group of our own commands, and those that plugins add to it."""

from __future__ import annotations

from typing import Any

import click


class Group(click.Group):
    """Commands of the core, and those of plugins whose names begin with the group's.

    Args:
        path: The words before a command's own name, as a plugin spells them; none for `qbench`.
    """

    def __init__(self, *args: Any, path: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self._prefix = f"{path} " if path else ""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, sorted; a plugin's is imported when it is asked for."""
        from qbench.registry import load_registry

        provided = load_registry().all("command")
        names = [n.removeprefix(self._prefix) for n in provided if n.startswith(self._prefix)]
        return sorted({*super().list_commands(ctx), *(name for name in names if " " not in name)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The core's command of a name, else a plugin's.

        Raises:
            PluginError: What the plugin names is no command.
        """
        from qbench.errors import PluginError
        from qbench.registry import load_registry

        own = super().get_command(ctx, cmd_name)
        name = self._prefix + cmd_name
        # A name with a blank belongs to the group that its first word names.
        provided = None if own or " " in cmd_name else load_registry().all("command").get(name)
        if provided is None:
            return own
        command = provided.spec.resolve()
        if not isinstance(command, click.Command):
            raise PluginError(f"plugin {provided.plugin!r}: {name!r} is no click.Command")
        return command
