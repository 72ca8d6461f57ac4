from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from pages import table_rows
from synthetic import Fake, Run

from qbench.records.bootstrap import RESAMPLES
from qbench.records.statistics import wilson_interval
from qbench.report.collect import collect
from qbench.report.page import page as render
from qbench.report.significance import Comparison, Resampled

N = 20
A, B, C = (Fake(name, "quantum", 1, 0.1, 1) for name in "abc")


def first(count: int, images: int = N) -> np.ndarray:
    """The first images are kept, the others broken."""
    return np.arange(images) < count


def seeds_of(*counts: int) -> dict[int, np.ndarray]:
    """By seed, of 200 images: the first ones are kept."""
    return {seed: first(count, 200).astype(float) for seed, count in enumerate(counts)}


def compared(**models: dict[int, np.ndarray]) -> Comparison:
    (found,) = Resampled(models).comparisons()
    return found


def test_identical_models_are_not_told_apart() -> None:
    same = seeds_of(140, 150, 145, 155, 143)
    found = compared(a=same, b=dict(same))
    assert found.difference == 0
    assert found.low == -found.high < 0
    assert found.p == found.p_holm == 1.0


def test_a_clear_difference_is_significant() -> None:
    found = compared(a=seeds_of(60, 66, 58, 62, 61), b=seeds_of(150, 156, 149, 151, 148))
    assert (found.first, found.second, found.seeds, found.images) == ("b", "a", (5, 5), 200)
    assert found.difference == pytest.approx(0.447)
    assert 0.3 < found.low < 0.447 < found.high < 0.6
    assert found.p < 0.001


def test_one_bad_seed_of_five_is_no_difference_though_images_say_so() -> None:
    # The majority of seeds keeps 160 images and 120; McNemar's test of that is below 1e-11.
    sound = seeds_of(120, 124, 118, 121, 117)
    found = compared(a=seeds_of(160, 60, 158, 161, 162), b=sound)
    assert found.first == "a"
    assert found.p > 0.3
    assert found.low < 0 < found.high
    # Without the bad seed there is no doubt.
    assert compared(a=seeds_of(160, 160, 158, 161, 162), b=sound).p < 0.01


def test_images_alone_tell_two_models_of_one_seed_apart() -> None:
    # 40 images that one of two keeps: z = 40 / √40.
    found = compared(a=seeds_of(140), b=seeds_of(100))
    assert found.seeds == (1, 1)
    assert found.p == pytest.approx(1 / (RESAMPLES + 1))
    # 6 images of 200: z = √6.
    assert compared(a=seeds_of(106), b=seeds_of(100)).p == pytest.approx(2 / 2**6, abs=0.02)


def test_the_same_images_are_resampled_for_both() -> None:
    # Every seed of a keeps what b keeps and ten images more: far more certain than of 2 x 200
    # different images, where the standard error alone would be √(2 · 0.25 / 200) = 0.05.
    found = compared(a=seeds_of(110, 110), b=seeds_of(100, 100))
    assert found.high - found.difference == pytest.approx(
        1.96 * (0.05 * 0.95 / 200) ** 0.5, rel=0.1
    )


def test_the_seeds_of_two_models_are_resampled_apart() -> None:
    # Two models whose seeds go up and down together by chance: were they drawn together, their
    # difference would be constant.
    together = seeds_of(120, 140, 160, 130, 150)
    lower = seeds_of(110, 130, 150, 120, 140)
    found = compared(a=together, b=lower)
    assert found.difference == pytest.approx(0.05)
    assert found.p > 0.3


def test_few_images_are_never_significant() -> None:
    found = compared(a={0: np.ones(4)}, b={0: np.zeros(4)})
    assert found.p == 2 / 2**4
    # Of many images, only those count on which the two differ.
    assert compared(a=seeds_of(103), b=seeds_of(100)).p == 2 / 2**3


def test_shares_of_passes_are_averaged() -> None:
    rng = np.random.default_rng(0)
    stochastic = {0: rng.binomial(10, 0.7, 200) / 10}
    found = Resampled({"a": stochastic, "b": seeds_of(60)})
    low, high = found.interval95("a") or (0.0, 0.0)
    # Not Wilson's, which would take images for robust or not: (0.633, 0.759).
    assert high - low == pytest.approx(2 * 1.96 * (0.21 / 10 / 200) ** 0.5, rel=0.15)
    (one,) = found.comparisons()
    assert one.difference == pytest.approx(stochastic[0].mean() - 0.3, abs=1e-6)


def test_intervals() -> None:
    found = Resampled(
        {
            "one seed": seeds_of(150),
            "all alike": seeds_of(200, 200, 200),
            "seeds": seeds_of(150, 154, 146, 152, 148),
            "near the end": seeds_of(198, 199, 200, 190, 200),
        }
    )
    assert found.interval95("one seed") == pytest.approx(wilson_interval(150, 200), abs=1e-6)
    assert found.interval95("all alike") == pytest.approx(wilson_interval(200, 200), abs=1e-6)
    low, high = found.interval95("seeds") or (0.0, 0.0)
    # Images: √(0.25 · 0.75 / 200) = 0.0306; seeds: 3.16 / 200 / √5 = 0.0071, and Student's factor.
    assert (low, high) == pytest.approx((0.75 - 0.063, 0.75 + 0.063), abs=0.004)
    assert (found.interval95("near the end") or (0.0, 0.0))[1] == 1.0
    assert found.interval95("nobody") is None
    assert Resampled({}).comparisons() == ()


def test_what_is_drawn_depends_on_no_other_model_and_no_order() -> None:
    models = {"a": seeds_of(120, 130), "b": seeds_of(60, 90), "c": seeds_of(100)}
    every = Resampled(models)
    turned = Resampled(dict(reversed(models.items())))
    fewer = Resampled({name: models[name] for name in "ab"})
    pairs = {
        found: {(one.first, one.second): (one.low, one.high, one.p) for one in found.comparisons()}
        for found in (every, turned, fewer)
    }
    assert pairs[every] == pairs[turned]
    assert pairs[fewer].items() <= pairs[every].items()
    assert every.interval95("a") == fewer.interval95("a")


def test_two_hundred_pairs_can_still_be_significant() -> None:
    models = {f"m{place}": seeds_of(*[9 * place + 5] * 5) for place in range(21)}
    found = {(one.first, one.second): one for one in Resampled(models).comparisons()}
    assert len(found) == len(list(combinations(models, 2))) == 210
    # No resample is as far off as what was observed, and still 210 tests are corrected for.
    assert found["m20", "m0"].p_holm == pytest.approx(210 / (RESAMPLES + 1))
    assert found["m20", "m0"].p_holm < 0.05
    assert found["m20", "m0"].p_holm <= found["m20", "m19"].p_holm


def test_the_board_compares_the_worst_case_at_the_ranking_budget() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for seed in (0, 1, 2):
        for model, kept in ((A, 16), (B, 4)):
            # At the other budget, and under one attack alone, the two are equal.
            run.attacked(model, seed, 0.05, yes, yes, attack="pgd")
            run.attacked(model, seed, 0.1, yes, yes, attack="pgd")
            run.attacked(model, seed, 0.1, yes, first(kept), attack="square")
    board = collect(run.results)
    (found,) = board.comparisons
    assert (found.first, found.second, found.images, found.seeds) == ("a", "b", N, (3, 3))
    assert found.difference == pytest.approx(0.6)
    assert found.p == found.p_holm < 0.001
    (a, b) = board.rows
    assert a.worst95 is not None
    assert a.worst95[0] < 0.8 < a.worst95[1]
    assert b.worst95 == pytest.approx(tuple(1 - end for end in reversed(a.worst95)), abs=0.02)


def test_the_page_claims_only_what_the_test_allows() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for model, kept in ((A, 20), (B, 18), (C, 2)):
        run.attacked(model, 0, 0.1, yes, first(kept))
    page = render(collect(run.results))
    head, *cells = table_rows(page, "More robust than")
    assert head[:4] == ["Model", "Mean", "95 % interval", "Seeds"]
    # a keeps two images more than b, which is nothing.
    assert [[*row[:2], *row[3:]] for row in cells] == [
        ["a", "1.000", "1", "c"],
        ["b", "0.900", "1", "c"],
        ["c", "0.100", "1", "—"],
    ]
    assert cells[0][2] == "{:.3f} to {:.3f}".format(*wilson_interval(20, 20))
    section = page.split("## More robust than")[1].split("<details>")[0]
    assert "corrected by Holm's method for all 3 pairs" in section
    assert "Every model has one seed: there the test is over images alone" in section
    assert "see *More robust than*" in page


@pytest.mark.parametrize(
    ("single", "said"),
    [((), None), ((B,), "b has one seed only"), ((B, C), "b, c have one seed only")],
)
def test_the_page_names_the_models_with_one_seed(single: tuple[Fake, ...], said: str) -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for model in (A, B, C):
        for seed in (0,) if model in single else (0, 1):
            run.attacked(model, seed, 0.1, yes, first(12 + seed))
    page = render(collect(run.results))
    assert ("over images alone" in page) == bool(single)
    assert said is None or said in page


def test_a_model_without_a_rank_is_compared_with_none() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    for model, kept in ((A, 20), (B, 18), (C, 2)):
        run.attacked(model, 0, 0.1, yes, first(kept))
    for model in (B, C):  # a is not tried by every attack, so what is left of it says little
        run.attacked(model, 0, 0.1, yes, yes, attack="square")
    board = collect(run.results)
    (only,) = board.comparisons
    assert (only.first, only.second, only.p_holm) == ("b", "c", only.p)
    _, *cells = table_rows(render(board), "More robust than")
    assert [row[0] for row in cells] == ["b", "c"]


def test_one_model_is_compared_with_none() -> None:
    run, yes = Run(N), np.ones(N, dtype=np.bool_)
    run.attacked(A, 0, 0.1, yes, yes)
    page = render(collect(run.results))
    assert "More robust than" not in page
