"""The site on this machine: a server that only this machine reaches, and builds that follow."""

from __future__ import annotations

import tempfile
import threading
import time
import webbrowser
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import click

from qbench.errors import QbenchError, UsageError
from qbench.plugin_files import PluginFile
from qbench.text import one_line
from qbench_site.build import build
from qbench_site.reading import read
from qbench_site.render import POLICY

HOST = "127.0.0.1"
_PAUSE = 1.0  # seconds between looks at the archive
Fingerprint = tuple[tuple[str, int, int], ...]


class Handler(SimpleHTTPRequestHandler):
    """Files of one folder, to read only; no lists of folders, and no other host's name.

    A page elsewhere that makes its own name mean this machine asks for that name, and gets nothing.
    """

    server_version = "qbench"
    sys_version = ""

    def send_head(self) -> Any:
        """As for any file, if the request names this machine."""
        name = self.headers.get("Host", "").rpartition(":")[0]
        if name not in (HOST, "localhost"):
            self.send_error(403, "this server answers for 127.0.0.1 only")
            return None
        return super().send_head()

    def list_directory(self, path: Any) -> None:
        """A folder without a page shows nothing."""
        self.send_error(404, "no such page")

    def end_headers(self) -> None:
        """What keeps the browser from guessing types, from other sources, and from old copies."""
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is printed for a request."""


def serve(archive: Path, port: int, plugins: Sequence[PluginFile], *, show: bool) -> None:
    """Show a site until interrupted, and build it again whenever the archive changes.

    Raises:
        StoreError: The archive holds no results, or damaged ones.
        UsageError: The port is taken.
    """
    with tempfile.TemporaryDirectory(prefix="qbench-site-") as folder:
        seen = fingerprint(archive)
        build(read(archive, plugins), Path(folder))
        with start(Path(folder), port) as server:
            url = f"http://{HOST}:{server.server_address[1]}/"
            click.echo(f"the site of {archive}: {url} (Ctrl-C ends it)")
            if show:
                webbrowser.open(url)
            try:
                follow(archive, plugins, Path(folder), seen)
            except KeyboardInterrupt:
                click.echo("ended")
            finally:
                server.shutdown()


def start(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of a folder on loopback, running in a thread of its own.

    Raises:
        UsageError: The port is taken, or not allowed.
    """
    try:
        server = ThreadingHTTPServer((HOST, port), partial(Handler, directory=str(folder)))
    except OSError as error:
        raise UsageError(f"port {port} of {HOST}: {error.strerror}; try --port 0") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def follow(archive: Path, plugins: Sequence[PluginFile], folder: Path, seen: Fingerprint) -> None:
    """Build again once an archive that changed has stopped changing; never returns."""
    before = seen
    while True:
        time.sleep(_PAUSE)
        now = fingerprint(archive)
        if now != seen and now == before:
            seen = now
            rebuild(archive, plugins, folder)
        before = now


def rebuild(archive: Path, plugins: Sequence[PluginFile], folder: Path) -> None:
    """Build again; where that fails, say why and keep the site as it was."""
    try:
        build(read(archive, plugins), folder)
    except QbenchError as error:
        click.echo(f"not built again: {one_line(str(error), None)}", err=True)
    else:
        click.echo("built again: reload the page")


def fingerprint(archive: Path) -> Fingerprint:
    """Names, times and sizes of the files of an archive."""
    found = []
    for path in sorted(archive.rglob("*")):
        try:
            about = path.stat()
        except OSError:  # it went away meanwhile
            continue
        found.append((str(path), about.st_mtime_ns, about.st_size))
    return tuple(found)
