from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import page_of, small_run, table_rows
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import QUANTUM

from qbench.reporting import summary_table
from qbench.reporting.scores import Note, Score
from qbench.reporting.text import Footnotes, escape, escape_html, listed, p_value, slug, spread

HOSTILE = (
    "no | way\n# <img src=x onerror=alert(1)> `code` [link](http://evil) **b** $x$ \x1b[31m\u202e"
)


def test_the_leaderboard_says_what_was_computed_by_hand() -> None:
    head, row = table_rows(page_of(small_run()), "Robust accuracy")
    assert dict(zip(head, row, strict=True)) == {
        "Rank": "1",
        "Model": "qubit",
        "Family": "quantum",
        "Parameters": "3",
        "Clean accuracy": "1.000 ± 0.000",
        # 0.5 and 1: sample deviation 0.5 / sqrt 2.
        "pgd, ε = 0.1": "**0.750 ± 0.354**",
        "Seeds": "2",
    }


def test_every_table_row_has_the_cells_of_its_head() -> None:
    page = page_of(full_run(attacks=("fgsm", "pgd"), n=20))
    for section in ("Robust accuracy", "Transfer of pgd at ε = 0.1", "Lipschitz bounds"):
        head, *rows = table_rows(page, section)
        assert len(rows) == len(MODELS)
        assert {len(row) for row in rows} == {len(head)}


def test_a_missing_result_is_a_dash_with_its_reason() -> None:
    run = small_run()
    run.add("lipschitz", QUANTUM, 0, status="skipped", reason="no certifier covers a qubit")
    run.add("lipschitz", QUANTUM, 1, status="skipped", reason="no certifier covers a qubit")
    page = page_of(run)
    head, row = table_rows(page, "Robust accuracy")
    cells = dict(zip(head, row, strict=True))
    assert cells["Lipschitz bound"] == "— <sup>1</sup>"
    assert cells["Largest Jacobian"] == "—"
    assert "\n1. skipped (every seed): no certifier covers a qubit\n" in page
    assert "— [1]" in summary_table(run.records, run.images)


def test_hostile_words_stay_words() -> None:
    run = small_run()
    run.add("lipschitz", QUANTUM, 0, status="failed", reason=HOSTILE)
    run.records[0] = run.records[0].model_copy(update={"environment": {"python|": HOSTILE}})
    page = page_of(run)
    (note,) = [line for line in page.splitlines() if line.startswith("1. ")]
    assert note == (
        r"1. failed (seed 0): no \| way # &lt;img src=x onerror=alert(1)&gt; \`code\` "
        r"\[link\](http:&#47;&#47;evil) \*\*b\*\* &#36;x&#36; \[31m"
    )
    assert "<img" not in page
    assert r"python\| no \| way" in page
    assert {len(row) for row in table_rows(page, "Robust accuracy")} == {9}
    terminal = summary_table(run.records, run.images)
    assert "\x1b" not in terminal


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
    assert spread(Score()) == "—"
    assert spread(Score(((0, 0.5),))) == "0.500"
    assert spread(Score(((0, 1.0), (1, 3.0))), 1) == "2.0 ± 1.4"


def test_equal_notes_share_a_number() -> None:
    notes = Footnotes([0, 1])
    why, other = Note("failed", "why", (0,)), Note("skipped", "other", (0, 1))
    assert notes.mark("a", [why]) == "a <sup>1</sup>"
    assert notes.mark("b", [other, why]) == "b <sup>1, 2</sup>"
    assert notes.lines() == ["1. failed (seed 0): why", "2. skipped (every seed): other"]


def test_the_page_says_what_was_measured_and_how_to_repeat_it() -> None:
    page = page_of(small_run())
    assert "glyphs version 1, 4 test images" in page
    assert "untargeted, ℓ∞ perturbations of size ε in raw pixels, pixels in [0, 1]" in page
    assert "pgd (restarts 1, step\\_size 0.00625, steps 40)" in page
    assert "qbench run --models all --attacks pgd --protocol glyphs-linf-v1" in page
    assert "qbench leaderboard RUN_FOLDER --out leaderboard" in page
    assert page.endswith("\n")
    assert not page.endswith("\n\n")


def test_wall_time_is_not_on_the_page() -> None:
    run, slower = small_run(), small_run()
    slower.records = [
        record.model_copy(update={"cost": record.cost.model_copy(update={"wall_s": 99.0})})
        for record in slower.records
    ]
    assert page_of(run) == page_of(slower)


def test_one_seed_has_no_spread() -> None:
    run = small_run()
    run.records.pop()
    page = page_of(run)
    assert "**0.500**" in page
    assert "There is one seed, so no spread is shown." in page


def test_the_summary_of_a_large_run_fits_a_terminal() -> None:
    run = full_run(models=MODELS + TRAINED, attacks=tuple(ATTACKS), seeds=(0, 1), n=20)
    run.diagnosed(MODELS[0], 1, "restarts-gain", "zero-gradients", again=True)
    for model in MODELS + TRAINED:
        run.diagnosed(model, 0, "unstable-outputs", again=True)
        for seed in (0, 1):
            run.add(
                "robust-accuracy", model, seed, attack="ddn", eps=0.1, status="skipped",
                reason="ddn cannot be bounded in linf",
            )  # fmt: skip
    lines = summary_table(run.records, run.images).splitlines()
    assert max(map(len, lines)) <= 120
    assert lines[0].split() == [
        *["Rank", "Model", "Clean", "Worst", "ε=0.05", "Worst", "ε=0.1", "Worst", "ε=0.2"],
        *["pgd", "ε=0.1", "Flags"],
    ]
    assert len([line for line in lines if "±" in line]) == 13
    assert "* ddn skipped (every model): ddn cannot be bounded in linf" in lines
    assert "⚑ restarts-gain: reup (seed 1)" in lines
    (reup,) = [line for line in lines if " reup " in line and "±" in line]
    assert reup.endswith("⚑ 3")


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
        "&lt;a href=&#x27;http:&#47;&#47;x&#x27;&gt; &#64;me &amp; www&#46;y"
    )


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1.0, "1"), (0.9999, "1"), (0.5, "0.5"), (0.0432, "0.043"), (1e-4, "0.0001"), (0, "< 0.0001")],
)
def test_p_value(p: float, shown: str) -> None:
    assert p_value(p) == shown
