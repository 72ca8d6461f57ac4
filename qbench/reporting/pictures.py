"""Which pictures a leaderboard has, with the words for a reader who does not see them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "accuracy",
    "certified",
    "radii",
    "attacks",
    "adversarial-training",
    "transfer",
    "lipschitz",
    "training",
    "examples",
]


@dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Args:
        kind: The section it belongs to.
        file: Its name in the folder of figures.
        alt: What it shows, for those who cannot see it.
        caption: How to read it.
        content: The PNG.
    """

    kind: Kind
    file: str
    alt: str
    caption: str
    content: bytes
