"""The whole site: reads an archive, makes every page, and writes them into a folder."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import resources
from pathlib import Path, PurePosixPath

from qbench.errors import StoreError
from qbench.files import explained, read_file, write_atomically
from qbench_site import (
    claims,
    compare,
    downloads,
    explorer,
    methods,
    models,
    start,
    tables,
    transfer,
)
from qbench_site.content import File, Page, Source
from qbench_site.render import Renderer

Maker = Callable[[Source], Iterable[Page | File]]
# Pages of one board, made once for each.
MAKERS: tuple[Maker, ...] = (
    start.pages,
    models.pages,
    transfer.pages,
    compare.pages,
    explorer.pages,
    methods.pages,
    tables.pages,
    downloads.pages,
)
_MARK = "site.json"  # names what a build wrote: such a folder may be written again


def build(sources: Sequence[Source], out: Path, *, recompute: bool = False) -> list[Path]:
    """Write the site; equal results give equal bytes.

    What an earlier build wrote and this one does not is removed.

    Args:
        sources: Its boards, at least one, that of the start page first.
        out: A folder that is new, empty, or holds a site.
        recompute: Whether to judge also claims about perturbations that no record holds.

    Returns:
        What was written.

    Raises:
        StoreError: The folder holds something else, or cannot be written.
    """
    before = _written_before(out)
    made = [part for maker in MAKERS for source in sources for part in maker(source)]
    made += claims.pages(sources, recompute=recompute)
    pages = [part for part in made if isinstance(part, Page)]
    renderer = Renderer(sources, pages)
    files = {part.path: part.content for part in made if isinstance(part, File)}
    files |= {page.path: renderer.html(page) for page in pages}
    files |= dict(_assets())
    files[_MARK] = (json.dumps({"files": sorted(files)}, indent=1) + "\n").encode()
    for name, content in files.items():
        write_atomically(out / name, content)
    for name in sorted(before - set(files)):
        with explained(f"cannot remove {out / name}"):
            (out / name).unlink(missing_ok=True)
    return [out / name for name in files]


def _assets() -> Iterator[tuple[str, bytes]]:
    """Style sheets, scripts and vendored libraries, with their licences."""
    for folder in ("assets", "vendor"):
        for file in sorted((resources.files(__package__) / folder).iterdir(), key=lambda f: f.name):
            yield f"assets/{file.name}", file.read_bytes()


def _written_before(out: Path) -> set[str]:
    """What an earlier build wrote into a folder; empty for a new one."""
    if not out.exists():
        return set()
    if not out.is_dir() or (any(out.iterdir()) and not (out / _MARK).is_file()):
        raise StoreError(f"{out} holds something else than a site: name a new or empty folder")
    if not (out / _MARK).is_file():
        return set()
    try:
        names = json.loads(read_file(out / _MARK))["files"]
        inside = {str(PurePosixPath(name)) for name in names}
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{out / _MARK} is damaged: remove the folder") from error
    return {name for name in inside if not name.startswith("/") and ".." not in name.split("/")}
