"""Boards to build sites of: a plausible one with hostile strings from outside, and large ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from simulated import MODELS, TRAINED, full_run
from synthetic import Fake, Run

from qbench.records.identity import Engine
from qbench.records.record import Device, Record
from qbench.records.results import Results
from qbench.report.collect import collect
from qbench_site.content import Source

EVIL = "<script>document.title='broken'</script>"
MARKUP = '**bold** [x](http://evil) <img src=x onerror="document.title=1"> `code`'
ANSI = "dev\x1b[31mice\x1b[0m\u202e"
PLAIN = [MODELS[0], MODELS[1], MODELS[7], TRAINED[0], TRAINED[2]]  # reup, …, convnet-at
NAMES = [model.name for model in PLAIN]


def source_of(run: Run, name: str = "glyphs-linf-v1", folder: str = "") -> Source:
    """A board as a site shows it."""
    return Source(name, folder, run.results, collect(run.results), None, {"reup": "2026-01-31"})


def hostile() -> Run:
    """Five models; one named like a script that has no rank, and one on a device, sampled."""
    bad = Fake("evil", "classical", 5, 0.12, 20)
    run = full_run([*PLAIN, bad], range(2), attacks=("pgd", "standard"), n=40, certified=True)
    run.commands = (f"qbench run '{MARKUP}'",)
    run.add("attack", bad, 2, attack="pgd", eps=0.1, status="skipped", reason=MARKUP)
    failed = run.records[-1].model_copy(update={"status": "failed"})
    run.records[-1] = failed
    run.records = [r for r in run.records if (r.task.kind, r.task.model.name) != ("checks", "reup")]
    run.checked(PLAIN[0], 0)
    run.checked(PLAIN[0], 1, flat_gradients=0.5)
    card = run.cards["reup"]
    run.cards["reup"] = card.model_copy(update={"description": MARKUP, "licence": EVIL})
    engine = Engine(name="aer", shots=64)
    device = Device(name="d", simulated=False, date="2026-01-02")
    right = np.ones((4, 40), dtype=np.bool_)
    record = run.attacked(
        PLAIN[0], 0, 0.1, right, right & (np.arange(40) < 30), engine=engine, device=device
    )
    run.records[-1] = record.model_copy(update={"device": device.model_copy(update={"name": ANSI})})
    return renamed(run, "evil", EVIL)


def renamed(run: Run, old: str, new: str) -> Run:
    """A run in which a model has a name that no record could be read with."""

    def named(part: Any) -> Any:
        return part.model_copy(update={"name": new}) if part.name == old else part

    records, columns = [], {}
    for record in run.records:
        task = record.task
        if task.kind == "transfer" and task.source.name == old:
            continue  # such a source could not even be asked for
        parts = {"model": named(task.model)}
        moved: Record = record.model_copy(update={"task": task.model_copy(update=parts)})
        records.append(moved)
        if record.id in run.columns:
            columns[moved.id] = run.columns[record.id]
    cards = {named(card).name: named(card) for card in run.cards.values()}
    return replace(run, records=records, columns=columns, cards=cards)


def many(count: int) -> Results:
    """A board of so many models, attacked once each at three budgets; no transfers."""
    run = Run(20)
    generator = np.random.default_rng(3)
    for place in range(count):
        family = "quantum" if place % 2 else "classical"
        model = Fake(f"{family}-{place}", family, 10, 0.1, 1)  # type: ignore[arg-type]
        clean = generator.random(20) < 0.97
        limits = generator.normal(0.12, 0.06, 20)
        for eps in (0.05, 0.1, 0.2):
            run.attacked(model, 0, eps, clean, limits > eps)
        run.certified(model, 0, np.clip(limits / 2, 0, None) * clean, clean)
    return run.results
