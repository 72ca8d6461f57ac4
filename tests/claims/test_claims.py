"""Claims: verdicts follow from measured values by the rules, and change when the values do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qbench.datasets.base import Split, load_data
from qbench.errors import DataError, UnknownNameError
from qbench.protocols import load_protocol
from qbench.records.archive import Archive
from qbench.records.results import Results
from qbench.registry import load_registry
from qbench.report.collect import collect
from qbench.report.export import to_json
from qbench.weights.files import fingerprint, unpack
from qbench.weights.zoo import Zoo
from qbench_claims.claim import Claim, Quantity, check_names, chosen, ledger, read_claim
from qbench_claims.evidence import Measured, MissingError, evidence
from qbench_claims.page import in_full, page
from qbench_claims.patterns import PATTERNS, Patterns, Trained, attacked, measures
from qbench_claims.verdict import judge, untested

RULE = """
paper = "Somebody 2024"
reference = "nowhere"
statement = "first beats second"

[[rule]]
says = "{each} beats second"
each = ["first", "third"]
left = { measure = "clean", model = "{each}" }
right = { measure = "clean", model = "second" }
above = 0.1
"""


@pytest.fixture(scope="module")
def board() -> Results:
    root = Path(__file__).parents[2] / "leaderboard" / "results" / "glyphs-linf-v1"
    return Archive.read(root).results()


@pytest.fixture(scope="module")
def measure(board):
    """Measures what is on record."""
    return evidence(board).measure


def measured(**values: list[float]):
    """Quantities whose seeds have these means, over 50 images each."""

    def measure(asked: Quantity) -> Measured:
        if asked.model not in values:
            raise MissingError(f"no {asked}")
        seeds = [np.arange(50) < 50 * share for share in values[asked.model]]
        return Measured(asked.model, np.stack(seeds).astype(float), tuple(range(len(seeds))))

    return measure


def verdict(claim: Claim, **values: list[float]) -> str:
    return judge(claim, measured(**values)).verdict


def test_a_verdict_is_what_the_intervals_say():
    claim = read_claim("mine", RULE)
    high, low, near = [0.9, 0.9, 0.92], [0.2, 0.22, 0.2], [0.3, 0.32, 0.3]
    assert verdict(claim, first=high, second=low, third=high) == "holds"
    assert verdict(claim, first=low, second=high, third=low) == "does not hold"
    assert verdict(claim, first=high, second=low, third=low) == "holds in part"
    assert verdict(claim, first=near, second=low, third=near) == "undecided"
    assert verdict(claim, first=high, second=low) == "holds in part"  # the third is missing
    assert judge(claim, measured(first=high, second=low)).missing == ("no clean accuracy of third",)
    assert verdict(claim, first=high) == "not tested"
    assert untested(claim).verdict == "not tested"


def test_a_difference_has_the_interval_of_its_seeds_and_images():
    claim = read_claim("mine", RULE.replace('["first", "third"]', '["first"]'))
    one = judge(claim, measured(first=[0.8, 0.6], second=[0.4, 0.4])).outcomes[0]
    assert one.difference == pytest.approx(0.3)
    # Two seeds 0.2 apart: their mean is uncertain by 0.1, and Student's t of one degree is wide.
    assert one.low < 0.3 - 0.5
    assert one.high - one.difference == pytest.approx(one.difference - one.low)


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('measure = "clean", model = "second"', 'measure = "luck", model = "second"', "rule.0."),
        (
            'measure = "clean", model = "second"',
            'measure = "worst", model = "x"',
            "takes model and",
        ),
        ("above = 0.1", "above = 0.1\nbelow = 0.2", "either 'above' or 'below'"),
        ("above = 0.1", "", "either 'above' or 'below'"),
        ("above = 0.1", 'above = "much"', "rule.0.above"),
        ('paper = "Somebody 2024"', "", "paper: Field required"),
        ("[[rule]]", "[[rule", "no TOML"),
    ],
)
def test_a_file_that_is_no_claim_is_one_line(before, after, told):
    with pytest.raises(DataError, match="claim mine: ") as caught:
        read_claim("mine", RULE.replace(before, after))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_claim_about_an_unknown_model_is_refused():
    with pytest.raises(DataError, match="claim mine: unknown model 'first'"):
        check_names([read_claim("mine", RULE)], load_registry())


def test_claims_are_chosen_by_the_beginning_of_their_names():
    assert {claim.paper for claim in chosen(["west2023"])} == {"West et al. 2023"}
    assert chosen([]) == ledger()
    with pytest.raises(UnknownNameError, match="unknown claim 'wets2023': did you mean west2023"):
        chosen(["wets2023"])


def test_the_ledger_names_what_there_is():
    check_names(ledger(), load_registry())
    papers = {claim.name.partition("-")[0] for claim in ledger()}
    assert papers == {
        *("wendlinger2024", "west2023", "zhang2025", "du2021", "advqunn2024", "lu2020"),
        "berberich2023",
    }


def test_quantities_are_those_of_the_leaderboard(board, measure):
    def values(**about):
        return measure(Quantity(**about)).values

    numbers = json.loads(to_json(collect(board, protocol=load_protocol("glyphs-linf-v1"))))
    rows = {row["model"]: row for row in numbers["rows"]}
    for model in ("reup", "convnet-at", "amplitude"):
        for what, shown in (("worst", rows[model]["worst"]), ("clean", rows[model]["clean"])):
            about = {"eps": 0.1} if what == "worst" else {}
            found = values(measure=what, model=model, **about).mean(axis=1)
            assert found == pytest.approx(list(shown["by_seed"].values()))
    lost = values(measure="transfer-loss", model="reup", source="fourier", attack="pgd", eps=0.1)
    kept = values(measure="transfer", model="reup", source="fourier", attack="pgd", eps=0.1)
    assert np.array_equal(lost + kept, values(measure="clean", model="reup"))
    bound = values(measure="lipschitz", model="reup", certifier="circuit-bound")
    assert bound.mean() == pytest.approx(67.61, abs=0.005)
    assert values(measure="test-accuracy", model="reup", epoch=20).shape == (5, 1)
    certified = values(measure="certified", model="amplitude", eps=0.1)
    assert np.all(certified <= values(measure="worst", model="amplitude", eps=0.1))


def test_what_is_not_on_record_is_named(measure):
    for about, told in (
        ({"measure": "worst", "model": "reup", "eps": 0.3}, "no worst case, ε = 0.3 of reup"),
        ({"measure": "clean", "model": "nobody"}, "no clean accuracy of nobody"),
        ({"measure": "test-accuracy", "model": "reup", "epoch": 21}, "after epoch 21 of reup"),
    ):
        with pytest.raises(MissingError, match=told):
            measure(Quantity(**about))


def test_a_verdict_changes_with_the_records(board, measure):
    claim = next(c for c in ledger() if c.name == "wendlinger2024-longer-training")
    assert judge(claim, measure).outcomes[1].judged == "holds"

    def about(record) -> bool:
        task = record.task
        return task.model.name == "reup-ep100" and task.kind in ("attack", "transfer", "challenge")

    def columns(record):
        found = dict(board.columns(record))
        if about(record):  # no attack breaks anything any more
            found["adversarial_prediction"] = found["clean_prediction"]
        return found

    def whole(record):
        if not about(record) or record.status != "done":
            return record
        clean = record.metrics.clean_accuracy
        return record.model_copy(
            update={"metrics": record.metrics.model_copy(update={"robust_accuracy": clean})}
        )

    changed = replace(board, records=tuple(map(whole, board.records)), columns=columns)
    assert judge(claim, evidence(changed).measure).verdict == "does not hold"


class Linear(nn.Module):
    """Two scores, w·x and 0 · x: the margin of class 0 has the gradient w everywhere."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.as_tensor(weights, dtype=torch.float32)

    def forward(self, x):
        score = x @ self.weights
        return torch.stack([score, 0 * score], 1)


@pytest.fixture
def flat():
    """Two grey images of class 0, and a training set whose classes differ along one pixel."""
    glyphs = load_data("glyphs")
    grey = torch.full((2, 256), 0.5)
    train = torch.zeros(2, 256)
    train[1, 7] = 1.0
    return replace(
        glyphs,
        classes=("dark", "light"),
        train=Split(train, torch.tensor([0, 1])),
        test=Split(grey, torch.tensor([0, 1])),
    )


def described(model, dataset):
    x_adv = attacked(model, dataset.test, 0, load_protocol("glyphs-linf-v1"))
    return measures(model, dataset, dataset.test, x_adv, 0)


def test_perturbations_of_a_linear_model_are_known(flat):
    board = np.indices((16, 16)).sum(0) % 2 * 2.0 - 1.0
    found = described(Linear(0.01 * board.ravel()), flat)
    # δ = ∓ε times the chequerboard, the highest frequency there is, and minus the gradient.
    assert found["high-frequencies"] == pytest.approx(1.0)
    assert found["gradient"] == pytest.approx(1.0)
    assert found["smoothgrad"] == pytest.approx(1.0)
    assert found["background"] == pytest.approx(255 / 256)
    assert found["meaningful"] == pytest.approx(1 / 256)
    assert abs(found["towards-class"]) == pytest.approx(1 / 16)
    found = described(Linear(0.01 * np.ones(256)), flat)
    assert found["high-frequencies"] == pytest.approx(0.0, abs=1e-12)


def test_perturbations_are_of_the_weights_on_record_and_of_the_protocols_images():
    sha256 = fingerprint(unpack(Zoo().read("convnet", 0), "convnet")[0].weights)
    models = [Trained("convnet", 0, sha256), Trained("convnet", 1, "0" * 64)]
    glyphs, found = load_data("glyphs"), {}
    for name in ("glyphs-linf-v1", "wendlinger2024"):
        protocol = load_protocol(name)
        made = Patterns(protocol, glyphs, protocol.selection.images(glyphs, 4))
        made.make(models, 1, lambda *_: None)
        found[name] = made.measure("background", models)
        assert list(found[name]) == [0]
        assert found[name][0].shape == (4,)
    assert not np.allclose(found["glyphs-linf-v1"][0], found["wendlinger2024"][0])


def test_the_page_has_every_claim_and_what_is_missing():
    claim = read_claim("mine", RULE)
    judged = [judge(claim, measured(first=[0.9, 0.9], second=[0.2, 0.2])), untested(claim)]
    text = page(judged, "qbench claims")
    assert "| [first beats second](#mine) | Somebody 2024 | holds in part |" in text
    assert "Missing: no clean accuracy of third." in text
    assert "Missing: results under protocol glyphs-linf-v1." in text
    told = in_full(judged[0])
    assert "- holds: first beats second" in told
    assert "missing: no clean accuracy of third" in told


def test_the_documentation_says_what_the_records_say(measure):
    written = (Path(__file__).parents[2] / "docs" / "claims.md").read_text()
    compared = 0
    for claim in ledger():
        sides = [side for case in claim.cases() for side in (case.left, case.right)]
        if any(getattr(side, "measure", None) in PATTERNS for side in sides):
            continue  # those take a minute to compute
        part = page([judge(claim, measure)], "").partition(f"## {claim.name}")[2]
        assert part.partition("Computed by")[0] in written
        compared += 1
    assert compared >= len(ledger()) - 2


def test_the_command_shows_and_writes(qbench_cli, tmp_path):
    root = Path(__file__).parents[2] / "leaderboard" / "results"
    asked = ("claims", "west2023", "du2021", "lu2020", "--from", str(root))
    done = qbench_cli(*asked, "--json", "--out", "page.md")
    assert done.returncode == 0
    verdicts = {claim["name"]: claim["verdict"] for claim in json.loads(done.stdout)}
    assert verdicts == {
        "west2023-transfer": "does not hold",
        "du2021-depolarising": "not tested",
        "lu2020-vulnerable": "holds in part",
    }
    written = (tmp_path / "page.md").read_text()
    assert f"`qbench claims west2023 du2021 lu2020 --from {root}`" in written
    for name in verdicts:
        assert f"\n## {name}\n" in written
    for arguments, told in (
        (("claims", "nothing-like-it"), "unknown claim"),
        (("claims", "--from", "nowhere"), "no archive in nowhere"),
    ):
        refused = qbench_cli(*arguments)
        assert refused.returncode == 2
        assert told in refused.stderr
