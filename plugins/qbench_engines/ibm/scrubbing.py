"""Takes tokens out of messages, however they are written there."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

ACCOUNT_FILE = Path.home() / ".qiskit" / "qiskit-ibm.json"
HIDDEN = "***"
LONGEST = 400  # characters of a message
_READ = 20_000  # characters that are looked at: what is beyond them is not shown
_TELLING = 12  # characters in a row that give a token away
# What may stand between two characters of a token that is broken over lines.
_BREAK = r"(?:\s|\\[nrt]|%0[AaDd])*"


def scrubbed(text: str) -> str:
    """One line of at most `LONGEST` characters in which no part of a known token is left.

    Tokens are found in plain text, with any characters percent-encoded or escaped, in base64, in
    hexadecimal, and broken over lines.
    """
    text = text[:_READ]
    hidden = [False] * len(text)
    for secret in _secrets():
        for pattern in _patterns(secret):
            for found in pattern.finditer(text):
                hidden[found.start() : found.end()] = [True] * len(found[0])
    shown = [
        (HIDDEN if not place or not hidden[place - 1] else "") if secret else character
        for place, (character, secret) in enumerate(zip(text, hidden, strict=True))
    ]
    line = " ".join("".join(shown).split())
    return line if len(line) <= LONGEST else line[:LONGEST] + "..."


def _secrets() -> list[str]:
    found = [os.environ.get("QISKIT_IBM_TOKEN", "")]
    try:
        accounts = json.loads(ACCOUNT_FILE.read_bytes())
        found += [account.get("token") or "" for account in accounts.values()]
    except (OSError, ValueError, AttributeError):
        pass
    return list(filter(None, found))


@lru_cache(maxsize=16)
def _patterns(secret: str) -> tuple[re.Pattern[str], ...]:
    """Patterns of every `_TELLING` characters of a token, in every way to write them."""
    written = {secret, secret.encode().hex(), secret.encode().hex().upper(), *_base64(secret)}
    return tuple(
        re.compile(_BREAK.join(map(_character, way[first : first + _TELLING])))
        for way in sorted(written)
        for first in range(max(1, len(way) - _TELLING + 1))
    )


def _character(one: str) -> str:
    code = "".join(f"[{digit.lower()}{digit.upper()}]" for digit in f"{ord(one):02x}")
    return rf"(?:{re.escape(one)}|%(?:25)*{code}|\\u00{code}|\\x{code}|&#x{code};|&#{ord(one)};)"


def _base64(secret: str) -> Iterator[str]:
    """The characters of a token's base64 that depend on it alone, wherever it begins."""
    for before in range(3):
        content = bytes(before) + secret.encode()
        first, last = -(-8 * before // 6), 8 * len(content) // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(content).decode()[first:last]
