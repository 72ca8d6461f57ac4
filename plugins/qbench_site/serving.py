"""The site on this machine: a server that only this machine reaches, and builds that follow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qbench.plugin_files import PluginFile


def serve(archive: Path, port: int, plugins: Sequence[PluginFile], *, show: bool) -> None:
    """Show a site until interrupted."""
    raise NotImplementedError
