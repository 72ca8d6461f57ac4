"""Certificates on the page, in pictures, for machines and in the terminal."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from certifiers_picture import picture
from costs import certificate_costs
from pages import page_of, table_rows
from simulated import MODELS, full_run
from synthetic import QUANTUM, Fake, Run, bits, board_of

from qbench.records.identity import Engine
from qbench.records.record import Cost
from qbench.report import build, summary_table
from qbench.report.certificate_types import Certified
from qbench.report.export import to_json
from qbench.report.figures import certified as figures

ALL = bits("1111")


def means(found: Certified) -> dict[float, float | None]:
    return {eps: score.mean for eps, score in found.accuracy.items()}


@pytest.fixture(scope="module")
def large() -> Run:
    return full_run(models=MODELS[-3:], seeds=(0, 1), attacks=("fab", "pgd"), n=24, certified=True)


def test_certified_accuracy_is_at_most_the_worst_case_image_by_image(large: Run) -> None:
    board = board_of(large)
    for row in board.rows:
        found = row.proved("linf")
        assert found is not None
        assert set(found.accuracy) >= {0.05, 0.1, 0.2}
        for eps, worst in row.worst_at.items():
            lower = dict(found.accuracy[eps].by_seed)
            assert all(lower[seed] <= upper for seed, upper in worst.by_seed)
        for one in found.images:
            assert (np.array(one.radius) <= np.array(one.distance)).all()
        # Not for want of anything certified or broken.
        assert found.accuracy[0.02].mean
        assert any(np.isfinite(one.distance).any() for one in found.images)


def test_the_page_has_intervals_certifiers_and_smoothed_models(large: Run) -> None:
    page = page_of(large)
    head, *rows = table_rows(page, "Robust accuracy")
    assert head[4] == r"\[certified, worst case\]"
    assert all(re.fullmatch(r"\[0\.\d{3}, [01]\.\d{3} ± 0\.\d{3}\]", row[4]) for row in rows)
    head, *rows = table_rows(page, "Every budget")
    assert head[2:] == [f"ε = {eps:g}" for eps in (0.05, 0.1, 0.2)]
    assert all(row[3].startswith("**[") for row in rows)
    head, *rows = table_rows(page, "Certified and empirical robustness")
    assert head == [
        "Model",
        "Clean",
        *[f"ε = {e:g}" for e in (0.01, 0.02, 0.05, 0.1, 0.2)],
    ]
    board = board_of(large)
    first, found = board.rows[0], board.rows[0].proved("linf")
    assert found is not None
    assert rows[0][2] == f"≥ {found.accuracy[0.01].mean:.3f}"
    assert rows[0][4] == f"[{found.accuracy[0.05].mean:.3f}, {first.worst_at[0.05].mean:.3f}]"
    assert page.count("**best for each image**") == 6
    assert "- global: Source of global, Eq. 1" in page
    assert page.count("the smoothed model (σ = 0.25)") == 6
    assert "An interval starts with certified accuracy" in page


def test_a_single_attack_has_intervals_too() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, bits("1110"), attack="pgd:x=|")
    run.certified(QUANTUM, 0, [0.1, 0.1, 0.0, 0.0])
    head, row = table_rows(page_of(run), "Robust accuracy")
    assert head[4] == r"\[certified, pgd:x=\|\]"
    assert row[4] == "[0.500, 0.750]"


def test_records_without_certificates_have_no_trace_of_them(tmp_path: Path) -> None:
    run = full_run(models=MODELS[-2:], seeds=(0,), n=8)
    page = page_of(run)
    assert "ertified" not in page
    names = {path.name for path in build(run.results, tmp_path)}
    assert not [name for name in names if name.startswith(("certified", "radii"))]
    assert "ertified" not in summary_table(run.results)


def test_the_same_page_in_any_order(large: Run) -> None:
    shuffled = replace(large, records=list(large.records))
    random.Random(1).shuffle(shuffled.records)
    assert page_of(shuffled) == page_of(large)
    assert to_json(board_of(shuffled)) == to_json(board_of(large))


def test_pictures_of_certificates_have_captions(tmp_path: Path) -> None:
    run = full_run(models=MODELS[-2:], seeds=(0,), n=8, certified=True)
    written = {path.name: path for path in build(run.results, tmp_path)}
    pictures = {"certified-linf.png", "certified-l2.png", "radii-linf.png", "radii-l2.png"}
    assert pictures < set(written)
    page = written["README.md"].read_text()
    captions = re.findall(r"\n\*([^*\n]+)\*\n", page)
    assert len(captions) == page.count("![") == len(written) - 2


def test_certificates_for_machines(large: Run) -> None:
    board = board_of(large)
    row = json.loads(to_json(board))["rows"][0]
    found = board.rows[0].proved("linf")
    assert found is not None
    linf, l2 = row["certified"]
    assert (linf["norm"], l2["norm"], linf["images"]) == ("linf", "l2", [])
    assert {one["eps"]: one["mean"] for one in linf["accuracy"]} == means(found)
    assert linf["accuracy"][0]["by_seed"] == {
        str(seed): value for seed, value in found.accuracy[0.01].by_seed
    }
    assert [one["certifier"] for one in linf["by_certifier"]] == ["global", "local"]
    assert linf["by_certifier"][1]["best"]["mean"] == found.by_certifier[1].best.mean
    assert [one["eps"] for one in row["intervals"]] == [0.05, 0.1, 0.2]
    middle, worst = row["intervals"][1], board.rows[0].worst
    assert (middle["certified"], middle["worst_case"]) == (found.accuracy[0.1].mean, worst.mean)
    assert [one["norm"] for one in row["probabilistic"]] == ["linf", "l2"]


def test_the_curves_are_exact() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.05, bits("1110"), bits("1100"))
    run.attacked(QUANTUM, 0, 0.2, bits("1110"), bits("1000"))
    run.certified(QUANTUM, 0, [0.1, 0.03, 0.0, 0.0], bits("1110"))
    (axes,) = figures.accuracy(board_of(run), "linf").axes
    left, certified, *_ = axes.lines

    def at(line: object, eps: float) -> float:
        x, y = line.get_data()  # type: ignore[attr-defined]
        return float(y[np.searchsorted(x, eps, side="right") - 1])

    assert [at(certified, eps) for eps in (0.0, 0.029, 0.031, 0.099, 0.101)] == [
        *[0.5, 0.5, 0.25, 0.25, 0.0]
    ]
    assert [at(left, eps) for eps in (0.0, 0.049, 0.051, 0.199, 0.201)] == [
        *[0.75, 0.75, 0.5, 0.5, 0.25]
    ]
    dots = axes.lines[2].get_data()
    assert [list(map(float, values)) for values in dots] == [[0.0, 0.05, 0.2], [0.75, 0.5, 0.25]]


def test_every_image_has_its_point_and_its_kind() -> None:
    run = Run(n=8)
    run.attacked(QUANTUM, 0, 0.1, bits("11111110"), bits("11000000"))
    radius = [0.09, 0.05, 0.04, 0.02, 1e-6, 0.0, 0.0, 0.0]
    run.certified(QUANTUM, 0, radius, bits("11111110"))
    (axes,) = figures.radii(board_of(run), "linf").axes
    broken, never, none = (np.asarray(found.get_offsets()) for found in axes.collections)
    assert broken == pytest.approx(np.array([[0.1, 0.04], [0.1, 0.02]]))
    assert never[:, 1] == pytest.approx([0.09, 0.05])
    low, (left, right) = axes.get_ylim()[0], axes.get_xlim()
    assert (never[:, 0] > 0.1).all()
    assert (never[:, 0] < right).all()
    assert left < 0.1
    # Too small to be shown, and none: at the bottom edge.
    assert none.shape == (3, 2)
    assert (none[:, 1] < 1.1 * low).all()
    assert (broken[:, 1] < broken[:, 0]).all()


def test_the_terminal_has_a_column(large: Run) -> None:
    lines = summary_table(large.results).splitlines()
    head = ["Rank", "Model", "Clean", "Worst", "ε=0.1", "Certified", "ε=0.05", "ε=0.2"]
    assert lines[0].split() == head
    row = board_of(large).rows[0]
    found = row.proved("linf")
    assert found is not None
    assert f" {found.accuracy[0.1].mean:.3f} " in lines[2].split("±")[1]
    assert max(map(len, lines)) <= 80


def test_the_terminal_without_attacks_shows_what_is_proved() -> None:
    run = Run(n=4)
    run.certified(QUANTUM, 0, [0.1, 0.05, 0.0, 0.0], bits("1110"))
    run.certified(
        QUANTUM, 0, [5.0] * 4, bits("1110"), certifier="s", norm="l2", eps=(1.0,),
        smoothed=True, confidence=0.999,
    )  # fmt: skip
    assert summary_table(run.results).splitlines() == [
        "Model    Radii      Clean    ℓ∞ ε=0.01    ℓ∞ ε=0.1",
        "-------  -------  -------  -----------  ----------",
        "qubit    proved     0.750        0.500       0.250",
        "",
        "Model    Radii      Clean    ℓ2 ε=1",
        "-------  -------  -------  --------",
        "qubit    s 0.999    0.750     1.000",
    ]
    page = page_of(run)
    assert "Certified accuracy, mean over seeds." in page
    assert table_rows(page, "Robust accuracy")[1][3:5] == ["0.750", "—"]


def test_costs_by_hand() -> None:
    run = Run(n=4)
    for seed, seconds in ((0, 1.0), (1, 2.0)):
        slow = Cost(wall_s=seconds)
        run.certified(QUANTUM, seed, [0.1, 0.02, 0.0, 0.0], certifier="slow", cost=slow)
        quick = Cost(wall_s=0.1)
        run.certified(QUANTUM, seed, [0.01, 0.01, 0.01, 0.0], certifier="quick", cost=quick)
        run.certified(
            QUANTUM,
            seed,
            [0.1] * 4,
            certifier="smooth",
            smoothed=True,
            confidence=0.999,
            cost=quick,
        )
    page = certificate_costs(run.results)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    # (1 + 2) / 2 seconds for 4 images are 75 for 200.
    assert cells[0] == ["Model", "Certifier", "Seconds", "Median radius", "ε = 0.01", "ε = 0.1"]
    assert cells[2:] == [
        ["qubit", "quick", "5.00", "0.0100", "0.750", "0.000"],
        ["qubit", "slow", "75.0", "0.0100", "0.500", "0.250"],
        ["qubit", "**best for each image**", "80.0", "0.0150", "0.750", "0.250"],
        ["qubit", "smooth (smoothed model, confidence 0.999)", "5.00", "—", "1.000", "1.000"],
    ]
    assert certificate_costs(full_run(models=MODELS[:1], seeds=(0,), n=4).results) == (
        "No certificate of single images has a result.\n"
    )


def test_the_picture_of_certifiers_leaves_out_what_is_counted_on_engines() -> None:
    model = Fake("reup-hw8", "quantum", 1, 0.1, 1)
    run = Run(n=4)
    for seed in (0, 1):
        run.certified(model, seed, [0.1, 0.05, 0.02, 0.0])
    before = picture(run.results)
    run.certified(model, 0, [0.01] * 4, certifier="counts", engine=Engine(name="loud", shots=9))
    assert picture(run.results) == before
