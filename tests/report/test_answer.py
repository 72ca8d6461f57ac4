from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from pages import table_rows
from synthetic import CLASSICAL, QUANTUM, Fake, Run, board_of

from qbench.report.answer import answer, matches, training_of
from qbench.report.board import Board, ModelFacts
from qbench.report.collect import collect
from qbench.report.page import page as render
from qbench.report.seed_values import SeedValues

N = 100
YES = np.ones(N, dtype=np.bool_)
SPREAD = (-2, -1, 0, 1, 2)  # images that five seeds keep more


def fake(name: str, family: str, variant_of: str | None = None) -> Fake:
    return Fake(name, family, 1, 0.1, 1, variant_of=variant_of)  # type: ignore[arg-type]


Q, C = fake("q", "quantum"), fake("c", "classical")
Q_AT, C_AT = fake("q-at", "quantum", "q"), fake("c-at", "classical", "c")


def keeps(run: Run, model: Fake, images: int, spread: Iterable[int] = SPREAD) -> None:
    """Five seeds keep about so many images under the only attack."""
    for seed, more in enumerate(spread):
        run.attacked(model, seed, 0.1, YES, np.arange(N) < images + more)


def board_with(regularised: Iterable[str] = (), **models: tuple[Fake, int]) -> Board:
    run = Run(N)
    for model, images in models.values():
        keeps(run, model, images)
    for name in regularised:
        recipe = run.cards[name].recipe.model_copy(update={"regularisation": 0.1})
        run.cards[name] = run.cards[name].model_copy(update={"recipe": recipe})
    return board_of(run)


def said(board: Board) -> str:
    found = answer(board)
    assert found is not None
    return found


def test_the_better_family_of_two_models() -> None:
    yes = said(board_with(a=(Q, 80), b=(C, 30)))
    assert yes.startswith(
        "Yes: on these 100 images and under these attacks, the best quantum classifier has a "
        "robust accuracy of 0.800 (q) under pgd at ε = 0.1 and the best classical one 0.300 (c), "
        "a difference of 0.500 (95 % interval 0.39"
    )
    assert (
        ", which makes the better one significantly more robust than every classical one (" in yes
    )
    assert said(board_with(a=(Q, 30), b=(C, 80))).startswith("No: ")
    # One sentence.
    assert yes.endswith(".")
    assert ". " not in yes


def test_what_is_not_significant_is_not_claimed() -> None:
    unclear = said(board_with(a=(Q, 52), b=(C, 50)))
    assert unclear.startswith("It cannot be told: ")
    assert "a difference of 0.020 (95 % interval −0." in unclear
    assert ", which does not make the better one significantly more robust than every " in unclear
    assert "classical one (corrected p = " in unclear


def test_more_models_of_the_other_family_cost_nothing_and_of_ones_own_little() -> None:
    def p(board: Board) -> float:
        found = matches(board)[0]
        assert found.test is not None
        assert found.p is not None
        assert (found.test.first, found.winner) == ("c", "classical" if found.p < 0.05 else None)
        return found.p

    alone = board_with(a=(Q, 60), b=(C, 80))
    (test,) = alone.comparisons
    assert p(alone) == pytest.approx(2 * test.p)  # over all models, and over those trained plainly
    weaker = {f"q{k}": (fake(f"q{k}", "quantum"), 30 - k) for k in range(12)}
    crowded = board_with(a=(Q, 60), b=(C, 80), **weaker)
    assert max(one.p_holm for one in crowded.comparisons) > 0.05
    assert p(crowded) == p(alone)
    rivals = {f"c{k}": (fake(f"c{k}", "classical"), 30 - k) for k in range(3)}
    assert p(board_with(a=(Q, 60), b=(C, 80), **rivals)) == pytest.approx(4 * p(alone))


def test_a_family_is_ahead_of_the_least_sure_of_the_other_only() -> None:
    run = Run(N)
    keeps(run, C, 80)
    keeps(run, Q, 60)
    before = matches(board_of(run))[0]
    keeps(run, fake("wild", "quantum"), 58, (0, 40, -40, 30, -30))  # below q, and less certain
    after = matches(board_of(run))[0]
    assert (before.winner, after.winner) == ("classical", None)
    assert after.test == before.test or after.test.second == "q"


def test_a_bad_seed_makes_it_unclear() -> None:
    run = Run(N)
    keeps(run, Q, 80, (0, 1, -60, 1, 0))
    keeps(run, C, 55)
    assert said(board_of(run)).startswith("It cannot be told: ")


def test_families_may_differ_by_training() -> None:
    board = board_with(a=(Q, 60), b=(C, 20), c=(Q_AT, 70), d=(C_AT, 97))
    found = {match.training: match for match in matches(board)}
    assert list(found) == [None, "plain", "adversarial"]
    assert [match.winner for match in found.values()] == ["classical", "quantum", "classical"]
    assert said(board).startswith("It depends on the training: ")
    assert "; trained plainly, 0.600 (q) against 0.200 (c) (p " in said(board)
    assert "; trained on attacked images, 0.700 (q-at) against 0.970 (c-at) (p " in said(board)


def test_a_better_classical_family_is_a_no_even_if_the_best_two_tie() -> None:
    board = board_with(a=(Q, 20), b=(C, 60), c=(Q_AT, 90), d=(C_AT, 92))
    winners = [match.winner for match in matches(board)]
    assert winners == [None, "classical", None]
    assert said(board).startswith("No, not those trained plainly: ")
    # The other way round, the best two do not say yes.
    board = board_with(a=(Q, 60), b=(C, 20), c=(Q_AT, 90), d=(C_AT, 92))
    assert said(board).startswith("It depends on the training: ")


def test_a_training_that_one_family_lacks() -> None:
    board = board_with(a=(Q, 60), b=(C, 20), regularised=["q"])
    assert [match.training for match in matches(board)] == [None, "plain", "regularised"]
    assert "; trained plainly, none against 0.200 (c);" in said(board)
    assert "; trained with a regulariser, 0.600 (q) against none." in said(board)


def test_training_follows_from_the_recipe() -> None:
    run = Run(N)
    for model in (Q, Q_AT):
        keeps(run, model, 50)

    def facts(name: str, **recipe: float) -> ModelFacts:
        card = run.cards[name]
        card = card.model_copy(update={"recipe": card.recipe.model_copy(update=recipe)})
        return ModelFacts(name, "quantum", card)

    assert training_of(facts("q")) == "plain"
    assert training_of(facts("q", regularisation=0.1)) == "regularised"
    assert training_of(facts("q-at")) == "adversarial"
    assert training_of(facts("q-at", regularisation=0.1)) == "adversarial"
    assert training_of(ModelFacts("q", "quantum")) is None


def test_one_family_asks_no_question() -> None:
    board = board_with(a=(Q, 60), b=(Q_AT, 20))
    assert answer(board) is None
    assert "Are quantum classifiers" not in render(board)
    assert answer(replace(board, rows=())) is None


@pytest.mark.parametrize(
    ("square_keeps", "pgd_keeps", "expected"),
    [
        (30, 20, "on 2 of 2 models is pgd, which follows gradients where there are any, and one "),
        (20, 30, "on 2 of 2 models is square, which needs no gradients, and one "),
    ],
)
def test_the_attack_that_decides(square_keeps: int, pgd_keeps: int, expected: str) -> None:
    run = Run(N)
    for model in (Q, C):
        for label, images in (("square", square_keeps), ("pgd", pgd_keeps)):
            run.attacked(model, 0, 0.1, YES, np.arange(N) < images, attack=label)
    board = board_of(run)
    assert board.without_gradients == ("square",)
    assert "under these attacks, the best quantum classifier has a robust accuracy of 0.200 (q) in "
    found = said(board)
    assert f"; the strongest attack {expected}" in found
    assert f"without gradients is on {2 if square_keeps < pgd_keeps else 0}" in found
    assert "in the worst case at ε = 0.1" in found


def test_without_an_attack_that_needs_no_gradients() -> None:
    run = Run(N)
    for model in (Q, C):
        for label, images in (("fab", 25), ("pgd", 20)):
            run.attacked(model, 0, 0.1, YES, np.arange(N) < images, attack=label)
    assert "(no attack without gradients was run on its own)" in said(board_of(run))


def test_images_made_for_other_models() -> None:
    run = Run(N)
    for model in (QUANTUM, CLASSICAL):
        run.attacked(model, 0, 0.1, YES, np.arange(N) < 50)
    assert "images made for other models" not in said(board_of(run))
    run.attacked(CLASSICAL, 0, 0.1, YES, YES, source=QUANTUM)
    assert "images made for other models lower no robust accuracy further." in said(board_of(run))
    run.attacked(QUANTUM, 0, 0.1, YES, np.arange(N) >= 7, source=CLASSICAL)
    found = said(board_of(run))
    assert "made for other models lower robust accuracy by 0.070 at most (qubit), which" in found


def test_images_that_others_sent_are_not_said_to_be_made_for_other_models() -> None:
    run = Run(N)
    for model in (QUANTUM, CLASSICAL):
        run.attacked(model, 0, 0.1, YES, np.arange(N) < 50)
    board = replace(board_of(run), challenges=("one",))  # type: ignore[arg-type]
    assert "; images sent by others lower no robust accuracy further." in said(board)
    first, *others = board.rows
    moved = replace(first, own=SeedValues(((0, 0.51),)))
    found = said(replace(board, rows=(moved, *others)))
    assert "; images sent by others lower robust accuracy by 0.010 at most (" in found


def test_the_page_answers_before_its_first_table() -> None:
    board = board_with(a=(Q, 80), b=(C, 30), c=(C_AT, 40))
    page = render(board)
    top = page.split("\n- **Protocol")[0]
    assert f"**Are quantum classifiers more robust here?** {answer(board)}\n" in top
    head, every, plain, adversarial = table_rows(page, "Quantum and classical")
    assert head[1:7] == ["Best quantum", "Median", "Models", "Best classical", "Median", "Models"]
    assert every[:7] == ["any", "q 0.800", "0.800", "1", "c-at 0.400", "0.350", "2"]
    assert plain[:7] == ["plain", "q 0.800", "0.800", "1", "c 0.300", "0.300", "1"]
    assert plain[7].startswith("0.500 (0.3")
    assert adversarial[:5] == ["adversarial", "—", "—", "0", "c-at 0.400"]


def test_the_difference_in_the_table_is_quantum_less_classical() -> None:
    page = render(board_with(a=(Q, 30), b=(C, 80)))
    _, every, _ = table_rows(page, "Quantum and classical")
    low, high = every[7].removeprefix("−0.500 (").removesuffix(")").split(" to ")
    assert low.startswith("−0.6")
    assert high.startswith("−0.3") or high.startswith("−0.4")


@pytest.mark.parametrize("protocol", ["wendlinger2024", "glyphs-linf-v1"])
def test_attacked_alone_stands_beside_both_where_the_publication_counts_it(protocol: str) -> None:
    run = Run(4)
    # Of four images one is wrong when clean: the attack mends it, and breaks two others.
    clean = np.array([True, True, True, False])
    record = run.attacked(QUANTUM, 0, 0.1, clean, np.array([True, False, False, True]))
    named = record.task.protocol.model_copy(update={"name": protocol})
    task = record.task.model_copy(update={"protocol": named})
    run.records = [record.model_copy(update={"task": task})]
    run.columns = {run.records[0].id: run.columns[record.id]}
    page = render(collect(run.results))
    assert ("Attacked alone" in page) == (protocol == "wendlinger2024")
    if protocol == "wendlinger2024":
        head, row = table_rows(page, "Attacked alone (pgd)")
        assert head == ["Model", "Clean", "ε = 0.1, attacked", "ε = 0.1, both"]
        assert row == ["qubit", "0.750", "0.500", "0.250"]
