"""The page as a whole: what it says, how wide it is, and that nothing from outside acts on it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from costs import certificate_costs
from pages import page_of, small_run, table_rows
from simulated import ATTACKS, MODELS, TRAINED, full_run
from synthetic import CLASSICAL, QUANTUM, Run, bits, board_of

from qbench.records.identity import Engine
from qbench.records.record import Device, Failure, LipschitzMetrics
from qbench.report import export, ranking_table, summary_table
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.report.figures.style import looks

HOSTILE = "x|<b>@me`y` *z* _u_ [l](http://evil) $m$ ~~s~~ www.a.b -->"
MARKUP = re.compile(r"(?<!\\)[|`*_~\[\]]")


def test_the_leaderboard_says_what_was_computed_by_hand() -> None:
    assert table_rows(page_of(small_run()), "Robust accuracy at ε = 0.1") == [
        ["Rank", "Model", "Family", "Clean", "pgd", "Flags"],
        # 0.5 and 1: sample deviation 0.5 / sqrt 2.
        ["1", "qubit", "quantum", "1.000 ± 0.000", "0.750 ± 0.354", ""],
    ]
    page = page_of(small_run())
    assert "| qubit   | synthetic-quantum |            3 |          1 |        1 |" in page


@pytest.mark.parametrize("attacks", [("pgd",), tuple(ATTACKS)], ids=["one", "many"])
def test_the_first_table_fits_a_column_of_880_pixels(attacks: tuple[str, ...]) -> None:
    long = replace(MODELS[0], name="n" * 200)
    models = (*MODELS[:3], long)
    run = full_run(models, seeds=(0, 1), attacks=attacks, n=8, certified=True, checks=False)
    for model in MODELS[:3]:
        run.checked(model, 1, flat_gradients=1.0)
    page = page_of(run)
    table = page.split("\n\n")[page.split("\n\n").index("## Robust accuracy at ε = 0.1") + 1]
    lines = table.splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= 110
    # A browser may break a line at a blank: what is left then is far from 880 pixels, at 8.5
    # pixels a character and 27 for the edges of each cell.
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "---" not in line
    ]
    widths = [max(len(row[place].replace("\\", "")) for row in cells) for place in range(6)]
    assert sum(widths) * 8.5 + 6 * 27 < 880
    table = ranking_table(collect(run.results))
    assert table.splitlines()[2].startswith("|      1 |")
    assert "<sup>" not in table


def test_every_table_row_has_the_cells_of_its_head() -> None:
    page = page_of(full_run(attacks=("fgsm", "pgd"), n=20))
    for section in ("Robust accuracy", "Transfer of fgsm at ε = 0.1", "Lipschitz bounds", "Models"):
        head, *rows = table_rows(page, section)
        assert len(rows) == len(MODELS)
        assert {len(row) for row in rows} == {len(head)}


def test_a_missing_result_is_a_dash_with_its_reason() -> None:
    run = small_run()
    for seed in (0, 1):
        run.add("lipschitz", QUANTUM, seed, status="skipped", reason="no certifier covers a qubit")
    page = page_of(run)
    _, row = table_rows(page, "Lipschitz bounds")
    assert row[1:5] == ["—", "—", "— <sup>1</sup>", "—"]
    assert "\n1. skipped (every seed): no certifier covers a qubit\n" in page


def hostile_run() -> Run:
    """Words from outside wherever there is a place for some."""
    run = Run(n=4, commands=(f"qbench run '{HOSTILE}'", "echo ```"), superseded=(HOSTILE,))
    run.environment = {"python|": HOSTILE}
    yes = bits("1111")
    # Names of models are checked where they are stored, but nothing here relies on that.
    for model in (QUANTUM, CLASSICAL):
        for attack in (HOSTILE, "pgd"):
            run.attacked(model, 0, 0.1, yes, bits("1100"), attack)
        other = CLASSICAL if model is QUANTUM else QUANTUM
        run.attacked(model, 0, 0.1, yes, bits("1000"), HOSTILE, source=other)
        run.certified(model, 0, [0.1, 0, 0, 0], reference=HOSTILE)
        run.certified(model, 0, [0.1] * 4, certifier="two", smoothed=True, detail=HOSTILE)
        for certifier in ("one", "base"):
            metrics = LipschitzMetrics(
                bound=2.0, sampled_jacobian=1.0, points=9, scope="vector",
                detail=HOSTILE, source=HOSTILE, baseline=certifier == "base",
            )  # fmt: skip
            run.add("lipschitz", model, 0, certifier=certifier, metrics=metrics)
        failure = Failure(type="VerificationError")
        for kind, attack in (("attack", HOSTILE + "2"), ("training", None), ("checks", None)):
            run.add(kind, model, 0, attack=attack, eps=0.1 if attack else None, status="failed",
                    reason=HOSTILE, failure=failure)  # fmt: skip
        facts = dict.fromkeys(
            ("structure", "plugin", "version", "paper", "licence", "authors"), HOSTILE
        )
        run.cards[model.name] = run.cards[model.name].model_copy(update=facts)
        engine = Engine(name="far", mitigation={"how": HOSTILE})
        device = Device(
            name=HOSTILE, simulated=False, jobs=[HOSTILE], date=HOSTILE, calibrated=HOSTILE
        )
        run.attacked(model, 0, 0.1, yes, yes, HOSTILE, engine=engine, device=device)
        run.add("attack", model, 1, attack=HOSTILE, eps=0.1, engine=engine, status="skipped",
                reason=HOSTILE)  # fmt: skip
    return run


def test_markup_in_every_outside_string_is_escaped() -> None:
    run = hostile_run()
    page = page_of(run)
    code = re.compile(r"^````console\n.*?^````$", re.DOTALL | re.MULTILINE)
    assert len(code.findall(page)) == 1
    for text in (code.sub("", page), certificate_costs(run.results)):
        assert not re.search(r"<b>|@me|http://|www\.a|-->|\$m", text)
        for found in re.finditer(r"x[^\n]{0,9}&lt;b&gt;.*?--&gt;", text):
            if not found[0].startswith("x|"):  # inside HTML, where markdown is not read
                assert not MARKUP.search(found[0]), found[0]
    assert code.sub("", page).count("--&gt;") > 40
    # In a block of code words stand as they are, and no line of it ends it.
    assert f"qbench run '{HOSTILE}'\necho ```\n" in page
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        rows = [len(re.split(r"(?<!\\)\|", line)) for line in table.splitlines()]
        assert len(set(rows)) == 1, table
    assert len(re.findall(r"^## ", page, re.MULTILINE)) == len(
        set(re.findall(r"^## .*", page, re.M))
    )


def test_lines_and_invisible_characters_become_blanks() -> None:
    run = small_run()
    run.add("lipschitz", QUANTUM, 0, status="failed", reason="a # b")
    run.records[-1] = run.records[-1].model_copy(update={"reason": "a\n# b\x1b[31m\u202e"})
    assert r"1. failed (seed 0): a # b \[31m" in page_of(run)
    assert "\x1b" not in summary_table(run.results)


def test_latex_is_escaped_and_has_the_rules_of_booktabs() -> None:
    run = small_run()
    run.attacked(replace(CLASSICAL, name="a_b"), 0, 0.1, bits("1111"), bits("0000"))
    table = export(run.results, "latex").decode()
    assert table.splitlines() == [
        r"\begin{tabular}{rllrrl}",
        r"\toprule",
        r"Rank & Model & Family & Clean & pgd & Flags \\",
        r"\midrule",
        r"1 & qubit & quantum & 1.000 $\pm$ 0.000 & 0.750 $\pm$ 0.354 &  \\",
        r"2 & a\_b & classical & 1.000 & 0.000 &  \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_commands_stand_word_for_word_and_versions_at_the_end() -> None:
    run = replace(small_run(), commands=("qbench run --models 'a  b' --limit 4", "qbench certify"))
    page = page_of(run)
    reproduce = page.split("## How to reproduce")[1]
    assert "```console\nqbench run --models 'a  b' --limit 4\nqbench certify\n```" in reproduce
    assert "**Versions:** python 3.11.7, qbench\\_quantum 0.1.0" in reproduce
    assert "--models all" not in page
    superseded = replace(run, superseded=("model qubit revision 1",))
    assert "Left out, because newer results are here: model qubit revision 1." in page_of(
        superseded
    )


def merged(*runs: Run) -> Run:
    """What merging archives gives: every record once, all versions and commands."""
    whole = Run(n=runs[0].n, environment={"python": "3.11.7", "torch": "2"})
    for run in runs:
        known = {record.id for record in whole.records}
        whole.records += [record for record in run.records if record.id not in known]
        whole.columns |= run.columns
        whole.cards |= run.cards
        whole.commands += run.commands
    return whole


def test_merged_results_give_the_same_tables_as_those_of_one_run() -> None:
    whole = full_run(
        models=MODELS[-3:], seeds=(0, 1), attacks=("fgsm", "pgd"), n=12, certified=True
    )
    one, other = whole.only(*MODELS[-3:-1]), whole.only(MODELS[-1])
    # Transfers between models that never met are made on the archive, and stand in another run.
    known = {record.id for record in (*one.records, *other.records)}
    pairs = replace(whole, records=[r for r in whole.records if r.id not in known])
    one.commands, other.commands = ("qbench run --models a,b",), ("qbench run --models c",)
    for name, card in other.cards.items():
        other.cards[name] = card.model_copy(update={"version": "0.1.1"})
    both = merged(other, one, replace(pairs, cards={}))
    head, _, tail = page_of(whole).partition("## How to reproduce")
    head_of_both, _, tail_of_both = page_of(both).partition("## How to reproduce")
    assert head == head_of_both
    assert tail != tail_of_both
    assert "0.1.1" in tail_of_both

    def numbers(run: Run) -> Any:
        data = json.loads(to_json(board_of(run)))
        del data["provenance"]
        return data

    assert numbers(whole) == numbers(both)
    assert looks(board_of(whole).models) == looks(board_of(both).models)
    assert summary_table(whole.results) == summary_table(both.results)


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
    assert "|   Rank | Model   | Family   |   Clean |   pgd | Flags   |" in page
    assert "There is one seed, so no spread is shown." in page


def test_the_summary_of_a_large_run_fits_a_terminal() -> None:
    run = full_run(
        models=MODELS + TRAINED, attacks=tuple(ATTACKS), seeds=(0, 1), n=20, checks=False
    )
    for model in MODELS + TRAINED:
        run.checked(model, 0, input_changed=1.0)
        for seed in (0, 1):
            run.add(
                "attack", model, seed, attack="ddn", eps=0.1, status="skipped",
                reason="ddn cannot be bounded in linf",
            )  # fmt: skip
    run.checked(MODELS[0], 1, large_eps=1.0, mode_changed=1.0)
    lines = summary_table(run.results).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == [
        *["Rank", "Model", "Clean", "Worst", "ε=0.1", "Flags", "ε=0.05", "ε=0.2"]
    ]
    assert len([line for line in lines if "±" in line]) == 13
    assert "* ddn skipped (every model): ddn cannot be bounded in linf" in lines
    assert any(line.startswith("⚑ mode-changed: reup (seed 1). The ") for line in lines)


def test_the_summary_fits_with_long_names_and_notes() -> None:
    run = Run(n=4)
    for place in range(3):
        model = replace(QUANTUM, name=f"{'long' * 20}{place}")
        for eps in (0.05, 0.1, 0.2):
            run.attacked(model, 0, eps, bits("1111"), bits("1100"), "attack:" + "x" * 40)
        run.certified(model, 0, [0.1, 0, 0, 0])
        run.add("training", model, 0, status="failed", reason="because " * 30)
    table = summary_table(run.results)
    assert max(map(len, table.splitlines())) <= 80
    # What tells the names apart is their end.
    assert [line.split()[1][-1] for line in table.splitlines()[2:5]] == ["0", "1", "2"]


def test_frame_has_a_row_a_record_and_one_for_each_certified_budget() -> None:
    from qbench.report import to_frame

    run = small_run()
    run.certified(QUANTUM, 0, [0.1, 0.05, 0, 0])
    run.add("attack", QUANTUM, 0, attack="fab", eps=0.1, status="failed", reason="no")
    frame = to_frame(run.results)
    assert frame["kind"].tolist() == ["attack", "attack", "radii", "radii", "attack"]
    assert frame["eps"].tolist() == [0.1, 0.1, 0.01, 0.1, 0.1]
    assert frame["certified_accuracy"].tolist()[2:4] == [0.5, 0.25]
    # Two of four images: Wilson's interval as in the tests of statistics.
    low, high = frame.loc[0, ["robust_low", "robust_high"]]
    assert (low, high) == pytest.approx((0.150039, 0.849961), abs=1e-6)
    assert frame["reason"].tolist()[-1] == "no"
    assert frame["robust_accuracy"].isna().tolist() == [False, False, True, True, True]
    assert frame["id"].tolist()[0] == run.records[0].id
    assert export(run.results, "csv").decode().count("\n") == 6
    assert json.loads(export(run.results, "json"))["rows"][0]["model"] == "qubit"


def test_parquet_needs_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    from qbench.errors import UsageError

    def missing(*_: Any, **__: Any) -> None:
        raise ImportError("pyarrow")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", missing)
    with pytest.raises(UsageError, match="needs pyarrow"):
        export(small_run().results, "parquet")
    with pytest.raises(UsageError, match="choose csv"):
        export(small_run().results, "xml")


def test_parquet_holds_the_frame() -> None:
    import io

    import pandas as pd

    pytest.importorskip("pyarrow")
    run = small_run()
    read = pd.read_parquet(io.BytesIO(export(run.results, "parquet")))
    assert read["robust_accuracy"].tolist() == [0.5, 1.0]
    assert np.array_equal(read["seed"], [0, 1])
