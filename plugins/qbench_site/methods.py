"""How everything is measured: the protocol, the attacks, the certifiers, the tests, the flags."""

from __future__ import annotations

from collections.abc import Iterator

from qbench.errors import QbenchError
from qbench.registry import load_registry
from qbench.report.flag_meanings import MEANINGS
from qbench.report.significance import LEVEL
from qbench_site.content import File, Page, Source


def pages(source: Source) -> Iterator[Page | File]:
    """The methods of a board, with the file of its protocol."""
    registry = load_registry(source.plugins)
    described = {
        name: provided.spec.description for name, provided in registry.all("attack").items()
    }
    protocol = _protocol(source)
    if protocol is not None:
        yield File(f"{source.folder}downloads/protocol.toml", protocol)
    yield Page(
        path=f"{source.folder}methods.html",
        template="methods.html.j2",
        title="Methods",
        section="methods",
        source=source,
        context={
            "described": described,
            "meanings": MEANINGS,
            "level": LEVEL,
            "protocol": None if protocol is None else protocol.decode(),
        },
    )


def _protocol(source: Source) -> bytes | None:
    """The TOML of the board's protocol; None where nobody provides it."""
    name = source.board.about.protocol.name
    try:
        made = load_registry(source.plugins).get("protocol", name).create()
    except QbenchError:
        return None
    return made if isinstance(made, bytes) else None
