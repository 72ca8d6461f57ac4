"""Results kept as JSON files: read again only where they are whole and of the same question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qbench.files import read_file, write_atomically


def read(path: Path, question: Mapping[str, Any]) -> Any:
    """What `write` kept for a question; None where there is nothing, or something else.

    Raises:
        StoreError: There is a file that cannot be read.
    """
    if not path.exists():
        return None
    try:
        found = json.loads(read_file(path))
        answer = found["answer"]
        whole = found["sha256"] == _sha256(answer)
        return answer if whole and found["question"] == _plain(question) else None
    except (ValueError, KeyError, TypeError):
        return None  # cut off or foreign: found anew


def write(path: Path, question: Mapping[str, Any], answer: Any) -> None:
    """Keep an answer, and what it is the answer to.

    Raises:
        StoreError: It cannot be written.
    """
    content = {"question": _plain(question), "answer": answer, "sha256": _sha256(_plain(answer))}
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _sha256(answer: Any) -> str:
    return hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """As it comes back from a file: lists for tuples, text for keys."""
    return json.loads(json.dumps(value, sort_keys=True))
