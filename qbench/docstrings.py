"""What docstrings say about the parameters of a factory."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

_ARGS = re.compile(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ENTRY = re.compile(r"^ {4}\*{0,2}(\w[\w, ]*?)(?: \([^)]*\))?: +(.*(?:\n {5,}.*)*)", re.MULTILINE)


def argument_docs(factory: Callable[..., Any]) -> dict[str, str]:
    """The sentences under `Args:` by parameter, each on one line; of a class, also its bases'."""
    holders = list(reversed(inspect.getmro(factory))) if isinstance(factory, type) else [factory]
    texts = [text for holder in holders for text in (holder.__doc__, _of_init(holder)) if text]
    found: dict[str, str] = {}
    for text in texts:
        section = _ARGS.search(inspect.cleandoc(text))
        for names, meaning in _ENTRY.findall(section[1]) if section else ():
            found |= {name.strip(): " ".join(meaning.split()) for name in names.split(",")}
    return found


def _of_init(holder: object) -> str | None:
    init = vars(holder).get("__init__") if isinstance(holder, type) else None
    return getattr(init, "__doc__", None)
