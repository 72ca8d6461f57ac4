"""The table of models says how each was trained and tuned, and what its training cost."""

from __future__ import annotations

import pytest
from synthetic import CLASSICAL, Fake, Run, bits, board_of, card

from qbench.report.answer import training_of
from qbench.report.board import ModelFacts
from qbench.report.tables import accuracy
from qbench.report.text import DASH


@pytest.mark.parametrize(
    ("epochs", "fields", "expected"),
    [
        (20, {}, 20_000),
        (100, {}, 100_000),
        (20, {"adversarial_eps": 0.1}, 160_000),
        (20, {"adversarial_eps": 0.1, "trades": 6.0}, 180_000),  # the clean image too
        (20, {"gradient_penalty": 1.0}, 80_000),
    ],
)
def test_gradients_of_a_training_count_those_of_its_defence(epochs, fields, expected) -> None:
    given = card(CLASSICAL)
    recipe = {"epochs": epochs, "adversarial_eps": 0.0, "adversarial_steps": 7, **fields}
    given = given.model_copy(update={"recipe": given.recipe.model_copy(update=recipe)})
    assert ModelFacts("m", "classical", given, trained_on=1000).gradients == expected
    assert ModelFacts("m", "classical", given).gradients is None
    assert ModelFacts("m", "classical", None, trained_on=1000).gradients is None


def test_a_penalty_on_gradients_is_a_regulariser() -> None:
    plain = card(CLASSICAL)
    recipe = plain.recipe.model_copy(update={"gradient_penalty": 1.0})
    penalised = plain.model_copy(update={"recipe": recipe})
    assert training_of(ModelFacts("m", "classical", plain)) == "plain"
    assert training_of(ModelFacts("m", "classical", penalised)) == "regularised"


def test_the_table_of_models_shows_gradients_and_tuning() -> None:
    run = Run(n=4)
    told, silent = Fake("told", "quantum", 1, 0.1, 20), Fake("silent", "quantum", 1, 0.1, 20)
    for model in (told, silent):
        run.attacked(model, 0, 0.1, bits("1111"), bits("1100"))
    data = run.data(1000).model_copy(update={"split": "train"})
    metrics = {"loss": [1.0], "test_accuracy": [0.5], "weights_from": "zoo"}
    run.add("training", told, 0, task={"data": data}, metrics=metrics)
    tuning = "chosen on a validation split; a line that is long is shown whole"
    run.cards["told"] = run.cards["told"].model_copy(update={"tuning": tuning})
    table = accuracy.models(board_of(run))
    heads = [column.head for column in table.columns]
    lines = {row[0].shown: dict(zip(heads, row, strict=True)) for row in table.rows}
    epochs = run.cards["told"].recipe.epochs
    assert lines["told"]["Gradients"].shown == f"{1000 * epochs:,d}"
    assert (lines["told"]["Tuning"].shown, lines["told"]["Tuning"].whole) == (tuning, True)
    assert (lines["silent"]["Gradients"].shown, lines["silent"]["Tuning"].shown) == (DASH, DASH)
