"""Optional packages: the command that installs them, for this installation of qbench."""

from __future__ import annotations

import json
import shlex
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

PROJECT = "qbench-robustness"


def install_command(extra: str) -> str:
    """The command that adds an extra such as `pennylane` to the installed qbench.

    It names where qbench was installed from: the folder of a checkout, an archive or repository,
    or else the name that an index knows.
    """
    origin = _origin()
    url = str(origin.get("url", ""))
    if url.startswith("file:") and "dir_info" in origin:
        editable = "-e " if origin["dir_info"].get("editable") else ""
        folder = unquote(urlsplit(url).path)
        return f"pip install {editable}{shlex.quote(f'{folder}[{extra}]')}"
    if "vcs_info" in origin:
        commit = origin["vcs_info"].get("commit_id", "")
        url = f"{origin['vcs_info']['vcs']}+{url}@{commit}"
    return f"pip install {shlex.quote(f'{PROJECT}[{extra}]' + (f' @ {url}' if url else ''))}"


def _origin() -> dict[str, Any]:
    """What pip noted of where the package came from (PEP 610); {} for an index."""
    try:
        noted = distribution(PROJECT).read_text("direct_url.json")
    except PackageNotFoundError:  # run from a checkout that is not installed
        folder = Path(__file__).parents[1]
        return {"url": folder.as_uri(), "dir_info": {"editable": True}}
    found = json.loads(noted) if noted else {}
    return found if isinstance(found, dict) else {}
