"""The choices of the entries with a defence: their table, the choices and the entries agree."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import defences_study
import pytest
from grids import choices, with_choice
from tuning_study import PAGE, SEEDS

from qbench.registry import load_registry


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return json.loads(defences_study.RESULTS.read_text())


def test_the_page_says_what_the_results_say(rows: list[dict[str, Any]]) -> None:
    text = PAGE.read_text()
    assert "<!-- defences -->" in text
    assert defences_study.page(text, rows) == text, (
        "run 'python studies/tuning/defences_study.py --redraw' to renew it"
    )
    assert defences_study.page(text, [{**rows[0], "clean": 0.0}, *rows[1:]]) != text


@pytest.mark.parametrize("name", defences_study.GRIDS)
def test_the_entries_that_ship_are_those_chosen(rows: list[dict[str, Any]], name: str) -> None:
    spec = load_registry().get("model", name).spec
    assert with_choice(spec, defences_study.chosen(name, rows)) == spec


def test_the_results_hold_every_choice_with_every_seed(rows: list[dict[str, Any]]) -> None:
    found = Counter((r["model"], json.dumps(r["choice"]), r["seed"]) for r in rows)
    asked = [
        (name, json.dumps(choice), seed)
        for name in defences_study.GRIDS
        for choice in choices(defences_study.GRIDS[name])
        for seed in SEEDS
    ]
    assert found == Counter(asked)


def test_the_most_robust_choice_is_taken_and_of_equal_ones_the_first() -> None:
    name, (first, second, third, *_) = "reup-gradreg", choices(defences_study.GRIDS["reup-gradreg"])
    rows = [
        {"model": name, "choice": choice, "seed": 0, "clean": 1.0, "robust": robust}
        for choice, robust in zip(
            choices(defences_study.GRIDS[name]), (0.5, 0.7, 0.7, 0.1, 0.1), strict=False
        )
    ]
    assert defences_study.chosen(name, rows) == second
    rows[2]["robust"] = 0.8
    assert defences_study.chosen(name, rows) == third
    rows[0]["robust"] = 0.9
    assert defences_study.chosen(name, rows) == first
