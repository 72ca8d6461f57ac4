"""Formats, escapes and footnotes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qbench.report.seed_values import Note, SeedValues
from qbench.report.text import Footnotes, escape, escape_html, listed, p_value, slug, spread


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text: str) -> None:
    escaped = escape(text)
    assert len(escaped.splitlines()) <= 1
    assert not re.search(r"[<>$@]", escaped)
    # Every special character has a backslash of its own before it.
    assert not re.sub(r"\\[\\`*_\[\]|~]", "", escaped).strip().strip("\\").count("|")
    assert not re.search(r"[\\`*_\[\]|~]", re.sub(r"\\[\\`*_\[\]|~]", "", escaped))


def test_long_reasons_are_cut() -> None:
    assert escape("x" * 1000) == "x" * 299 + "…"


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [((0, 1, 2, 3, 4), "0 to 4"), ((0, 1), "0, 1"), ((7, 0, 1, 2), "0 to 2, 7"), ((), "")],
)
def test_listed(seeds: tuple[int, ...], expected: str) -> None:
    assert listed(seeds) == expected


def test_spread() -> None:
    assert spread(SeedValues()) == "—"
    assert spread(SeedValues(((0, 0.5),))) == "0.500"
    assert spread(SeedValues(((0, 1.0), (1, 3.0))), 1) == "2.0 ± 1.4"


def test_equal_notes_share_a_number() -> None:
    notes = Footnotes([0, 1])
    why, other = Note("failed", "why", (0,)), Note("skipped", "other", (0, 1))
    assert notes.mark("a", [why]) == "a <sup>1</sup>"
    assert notes.mark("b", [other, why]) == "b <sup>1, 2</sup>"
    assert notes.lines() == ["1. failed (seed 0): why", "2. skipped (every seed): other"]


def test_slugs_are_safe_and_unique() -> None:
    labels = [
        "pgd",
        "pgd:steps=5",
        "pgd-steps-5",
        "PGD",
        "Pgd",
        "../x",
        "",
        "ε",
        "a" * 200,
        "a" * 201,
    ]
    slugs = [slug(label) for label in labels]
    assert slugs[0] == "pgd"
    assert slugs[1].startswith("pgd-steps-5-")
    assert len(set(slugs)) == len(labels)
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,60}", name) for name in slugs)


def test_words_inside_html_are_escaped() -> None:
    assert escape_html("<a href='http://x'>\n@me & www.y") == (
        "&lt;a href='http:&#47;&#47;x'&gt; &#64;me &amp; www&#46;y"
    )


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1.0, "1"), (0.9999, "1"), (0.5, "0.5"), (0.0432, "0.043"), (1e-4, "0.0001"), (0, "< 0.0001")],
)
def test_p_value(p: float, shown: str) -> None:
    assert p_value(p) == shown
