"""The choices of others' entries: their table, the choices and the entries that ship agree."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import entries_study
import pytest
from grids import choices, with_choice
from tuning_study import PAGE, SEEDS

from qbench.registry import load_registry


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(entries_study.RESULTS.read_text())


def test_the_page_says_what_the_results_say(rows: list[dict[str, Any]]) -> None:
    text = PAGE.read_text()
    assert "<!-- entries -->" in text
    assert entries_study.page(text, rows) == text, (
        "run 'python studies/tuning/entries_study.py --redraw' to renew it"
    )
    assert entries_study.page(text, [{**rows[0], "clean": 0.0}, *rows[1:]]) != text


@pytest.mark.parametrize("name", entries_study.GRIDS)
def test_the_entries_that_ship_are_those_chosen(rows: list[dict[str, Any]], name: str) -> None:
    spec = load_registry().get("model", name).spec
    assert with_choice(spec, entries_study.chosen(name, rows)) == spec


def test_the_results_hold_every_choice_with_every_seed(rows: list[dict[str, Any]]) -> None:
    found = Counter((r["model"], json.dumps(r["choice"]), r["seed"]) for r in rows)
    asked = [
        (name, json.dumps(choice), seed)
        for name in entries_study.GRIDS
        for choice in choices(entries_study.GRIDS[name])
        for seed in SEEDS
    ]
    assert found == Counter(asked)


def test_of_equally_accurate_choices_the_first_is_taken() -> None:
    clean = {100: (0.8, 0.9), 30: (0.9, 0.8), 300: (0.7, 0.9)}
    tried = [
        {"model": "random-forest", "choice": {"trees": trees}, "seed": seed, "clean": value}
        for trees, values in clean.items()
        for seed, value in enumerate(values)
    ]
    assert entries_study.chosen("random-forest", tried) == {"trees": 100}
