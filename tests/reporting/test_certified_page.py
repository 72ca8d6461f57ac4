"""Certificates on the page, in pictures, for machines and in the terminal."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from pages import page_of, table_rows
from simulated import MODELS, full_run
from synthetic import CLASS_NAMES, QUANTUM, Run, bits, board_of

from qbench.records import Cost
from qbench.reporting import build, certificate_costs, summary_table
from qbench.reporting.claims import Certified
from qbench.reporting.figures import certified as figures
from qbench.reporting.machine import to_json

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
    assert head[5:8] == [f"[certified, worst case], ε = {eps:g}" for eps in (0.05, 0.1, 0.2)]
    assert all(re.fullmatch(r"\*\*\[0\.\d{3}, [01]\.\d{3} ± 0\.\d{3}\]\*\*", r[6]) for r in rows)
    head, *rows = table_rows(page, "Certified and empirical robustness")
    assert head == [
        "Model",
        "Clean accuracy",
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
    assert "qbench certify" not in page_of(run)
    head, row = table_rows(page_of(run), "Robust accuracy")
    assert head[5] == r"[certified, pgd:x=\|], ε = 0.1"
    assert row[5] == "**[0.500, 0.750]**"


def test_names_of_certifiers_are_escaped() -> None:
    run = Run(n=4)
    run.attacked(QUANTUM, 0, 0.1, ALL, ALL)
    record = run.certified(QUANTUM, 0, [0.1] * 4)
    hostile = "a|<b>@x`\n## y"
    loose = run.certified(QUANTUM, 0, [0.1] * 4, certifier="two", smoothed=True)
    for place, one in ((1, record), (2, loose)):
        name = f"{hostile}{place}"
        certifier = one.certifier.model_copy(update={"name": name, "source": name})  # type: ignore[union-attr]
        metrics = one.metrics.model_copy(update={"detail": hostile})  # type: ignore[union-attr]
        update = {"certifier": certifier, "metrics": metrics}
        run.records[place] = one.model_copy(update=update)
    page, costs = page_of(run), certificate_costs(run.records, run.images)
    for text in (page, costs):
        assert "<b>" not in text
        assert "\n## y" not in text
        assert r"a\|&lt;b&gt;&#64;x\` ## y1" in text
    section = page.split("## Certified and empirical robustness")[1].split("\n## ")[0]
    assert len(re.findall(r"^\|.*y2.*\|$", section, re.M)) == 1


def test_records_without_certificates_have_no_trace_of_them(tmp_path: Path) -> None:
    run = full_run(models=MODELS[-2:], seeds=(0,), n=8)
    page = page_of(run)
    assert "ertified" not in page
    names = {path.name for path in build(run.records, run.images, tmp_path, classes=CLASS_NAMES)}
    assert not [name for name in names if name.startswith(("certified", "radii"))]
    assert "ertified" not in summary_table(run.records, run.images)


def test_the_same_bytes_in_any_order(tmp_path: Path) -> None:
    ordered = full_run(models=MODELS[-2:], seeds=(0, 1), n=8, certified=True)
    shuffled = Run(ordered.n, list(ordered.records), ordered.columns)
    random.Random(1).shuffle(shuffled.records)
    written = []
    for name, run in (("a", ordered), ("b", shuffled)):
        paths = build(run.records, run.images, tmp_path / name, classes=CLASS_NAMES)
        written.append({path.name: path.read_bytes() for path in paths})
    assert written[0] == written[1]
    assert {"certified-linf.png", "certified-l2.png", "radii-linf.png", "radii-l2.png"} < set(
        written[0]
    )
    page = written[0]["README.md"].decode()
    captions = re.findall(r"\n\*([^*\n]+)\*\n", page)
    assert len(captions) == page.count("![")
    assert not [caption for caption in captions if caption.endswith("…")]


def test_certificates_for_machines(large: Run) -> None:
    board = board_of(large)
    row = json.loads(to_json(board))["rows"][0]
    found = board.rows[0].proved("linf")
    assert found is not None
    linf, l2 = row["certified"]
    assert (linf["norm"], l2["norm"]) == ("linf", "l2")
    assert {one["eps"]: one["mean"] for one in linf["certified_accuracy"]} == means(found)
    assert linf["certified_accuracy"][0]["by_seed"] == {
        str(seed): value for seed, value in found.accuracy[0.01].by_seed
    }
    assert [one["certifier"] for one in linf["certifiers"]] == ["global", "local"]
    assert linf["certifiers"][1]["share_best"]["mean"] == found.by_certifier[1].best.mean
    assert [one["eps"] for one in row["intervals"]] == [0.05, 0.1, 0.2]
    middle, worst = row["intervals"][1], board.rows[0].worst
    assert (middle["certified"], middle["worst_case"]) == (found.accuracy[0.1].mean, worst.mean)
    lower = dict(found.accuracy[0.1].by_seed)
    assert middle["by_seed"] == {str(s): [lower[s], upper] for s, upper in worst.by_seed}
    assert [one["norm"] for one in row["probabilistic_certificates"]] == ["linf", "l2"]


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
    lines = summary_table(large.records, large.images).splitlines()
    assert lines[0].split()[-2:] == ["Certified", "ε=0.1"]
    row = board_of(large).rows[0]
    found = row.proved("linf")
    assert found is not None
    assert f"{found.accuracy[0.1].mean:.3f} ±" in lines[2].split(row.model.name)[1]
    assert max(map(len, lines)) <= 120


def test_the_terminal_without_attacks_shows_what_is_proved() -> None:
    run = Run(n=4)
    run.certified(QUANTUM, 0, [0.1, 0.05, 0.0, 0.0], bits("1110"))
    run.certified(
        QUANTUM, 0, [5.0] * 4, bits("1110"), certifier="s", norm="l2", eps=(1.0,),
        smoothed=True, confidence=0.999,
    )  # fmt: skip
    assert summary_table(run.records, run.images).splitlines() == [
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
    assert "qbench run" not in page
    assert table_rows(page, "Robust accuracy")[1][4] == "0.750"


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
    page = certificate_costs(run.records, run.images)
    rows = [line for line in page.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    # (1 + 2) / 2 seconds for 4 images are 75 for 200.
    assert cells[0] == ["Model", "Certifier", "Seconds", "ε = 0.01", "ε = 0.1", "Median radius"]
    assert cells[2:] == [
        ["qubit", "quick", "5.00", "0.750", "0.000", "0.0100"],
        ["qubit", "slow", "75.0", "0.500", "0.250", "0.0100"],
        ["qubit", "**best for each image**", "80.0", "0.750", "0.250", "0.0150"],
        ["qubit", "smooth (smoothed model, confidence 0.999)", "5.00", "1.000", "1.000", "—"],
    ]
    assert certificate_costs(full_run(models=MODELS[:1], seeds=(0,), n=4).records, run.images) == (
        "No certificate of single images has a result.\n"
    )
