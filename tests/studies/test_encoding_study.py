"""The encoding of `reup-fixed`: its table, the choice and the entry that ships agree."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import encoding_study
import pytest

from qbench.registry import load_registry


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(encoding_study.RESULTS.read_text())


def test_the_page_says_what_the_results_say(rows: list[dict[str, Any]]) -> None:
    text = encoding_study.PAGE.read_text()
    assert "<!-- reup-fixed -->" in text
    assert encoding_study.page(text, rows) == text, (
        "run 'python studies/tuning/encoding_study.py --redraw' to renew it"
    )
    assert encoding_study.page(text, [{**rows[0], "clean": 0.0}, *rows[1:]]) != text


def test_the_entry_that_ships_has_the_encoding_chosen(rows: list[dict[str, Any]]) -> None:
    params = load_registry().get("model", "reup-fixed").spec.params
    assert params == {"encoding": encoding_study.chosen(rows)}


def test_the_results_hold_every_encoding_with_every_seed(rows: list[dict[str, Any]]) -> None:
    found = Counter((row["encoding"], row["seed"]) for row in rows)
    asked = [(e, seed) for e in encoding_study.ENCODINGS for seed in encoding_study.SEEDS]
    assert found == Counter(asked)


def test_the_largest_mean_is_chosen() -> None:
    clean = {0.1: (0.5, 0.9), 0.2: (0.8, 0.8), 0.4: (0.9, 0.7)}
    tried = [{"encoding": e, "seed": s, "clean": c[s]} for e, c in clean.items() for s in (0, 1)]
    assert encoding_study.chosen(tried) == 0.2  # and 0.4 does as well
