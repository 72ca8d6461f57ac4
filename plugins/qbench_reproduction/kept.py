"""Results kept as JSON files: read again only where they are whole and of the same question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

from qbench.evaluation.parallel import each
from qbench.files import read_file, write_atomically


class Piece(Protocol):
    """A piece of work with a file for its result."""

    @property
    def path(self) -> Path:
        """The file."""

    def question(self) -> dict[str, Any]:
        """All that the result depends on."""


P = TypeVar("P", bound=Piece)


def answers(
    measure: Callable[[P], Any], work: Sequence[P], jobs: int
) -> Iterator[tuple[P, Any, bool]]:
    """Every piece with its result, and whether that was there before.

    Args:
        measure: Makes the result of a piece and writes its file; of a module.
        work: The pieces.
        jobs: Processes.

    Raises:
        StoreError: A file cannot be read or written, or a process died.
    """
    left = []
    for one in work:
        answer = read(one.path, one.question())
        if answer is None:
            left.append(one)
        else:
            yield one, answer, True
    for one, answer in each(measure, left, jobs):
        yield one, answer, False


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
