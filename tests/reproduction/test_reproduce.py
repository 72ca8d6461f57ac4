"""The reproduction: claims in three views, the page from an archive, and what it refuses."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qbench.records.archive import Archive
from qbench.records.results import Results
from qbench_claims.claim import EVERY, Quantity, chosen, read_claim
from qbench_claims.evidence import Measured, evidence
from qbench_claims.verdict import judge
from qbench_reproduction.html import to_html
from qbench_reproduction.judging import VIEWS, Viewed, in_worst_case, judged, sentence
from qbench_reproduction.paper import MODELS, TABLE_ONE
from qbench_reproduction.runs import plan

RESULTS = Path(__file__).parents[2] / "leaderboard" / "results" / "glyphs-linf-v1"
SHOWN = ("reup", "fourier", "convnet")


@pytest.fixture(scope="module")
def some() -> Results:
    """Three published models in one seed."""
    results = Archive.read(RESULTS).results()

    def kept(record) -> bool:
        task = record.task
        names = {task.model.name, getattr(getattr(task, "source", None), "name", task.model.name)}
        return names <= set(SHOWN) and task.model.seed == 0 and task.kind != "challenge"

    return replace(results, records=tuple(r for r in results.records if kept(r)))


@pytest.fixture(scope="module")
def archive(some, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("archive")
    Archive.read(root / "glyphs-linf-v1").add(some)
    return root


RULE = """
paper = "Somebody 2024"
reference = "nowhere, Fig. 1"
statement = "first beats second"
rule = [
  { says = "under PGD", left = { measure = "robust", model = "first", attack = "pgd", eps = 0.1 }, right = 0.5, above = 0.0 },
  { says = "always", left = { measure = "worst", model = "first", eps = 0.1 }, right = 0.5, above = 0.0 },
]
"""  # noqa: E501


def test_the_worst_case_replaces_every_attack_once():
    worst = in_worst_case(read_claim("mine", RULE))
    assert [case.left for case in worst.cases()] == [
        Quantity(measure="worst", model="first", eps=0.1)
    ]
    transfer = next(c for c in chosen(["wendlinger2024-fourier"]))
    assert {case.left.attack for case in in_worst_case(transfer).cases()} == {EVERY}
    assert in_worst_case(next(c for c in chosen(["wendlinger2024-accuracy"]))) is None


def test_images_of_every_attack_are_no_easier_than_those_of_one(some):
    found = evidence(some)
    about = {"measure": "transfer", "model": "reup", "source": "fourier", "eps": 0.1}
    one, every = (found.measure(Quantity(**about, attack=a)).values for a in ("pgd", EVERY))
    attacks = {r.label for r in some.records if r.task.kind == "transfer"}
    assert len(attacks) > 1
    each = [found.measure(Quantity(**about, attack=a)).values for a in attacks]
    assert np.array_equal(every, np.minimum.reduce(each))
    assert every.sum() <= one.sum()


class Known:
    """Evidence whose one number is known."""

    def __init__(self, pgd: float, worst: float) -> None:
        self.numbers = {"robust": pgd, "worst": worst}

    def measure(self, asked: Quantity) -> Measured:
        images = np.arange(200) < 200 * self.numbers[asked.measure]
        return Measured(asked.model, np.stack([images] * 3).astype(float), (0, 1, 2))


def test_each_view_has_its_own_verdict():
    claim = read_claim("mine", RULE.replace("first", "reup"))
    theirs, ours = Known(0.9, 0.9), Known(0.8, 0.2)
    (viewed,) = judged([claim], {"wendlinger2024": theirs, "glyphs-linf-v1": ours})
    assert [j.verdict for j in viewed.judgements] == ["holds", "holds in part", "does not hold"]
    assert "1 of 1 claims are about accuracy under attack. 0 of these" in sentence([viewed])
    (alone,) = judged([claim], {"glyphs-linf-v1": ours})
    assert alone.judgements[0].verdict == "not tested"
    unmoved = Viewed(claim, (judge(claim, theirs.measure),) * len(VIEWS))
    assert "1 of these have one verdict" in sentence([unmoved])


def test_a_run_has_what_the_figures_need_and_no_more():
    for protocol, attacks in (("wendlinger2024", 3), ("glyphs-linf-v1", 4)):
        tasks = [task.identity for task in plan(protocol, [0], 5)]
        kinds = [task.kind for task in tasks]
        assert {task.model.name for task in tasks} == set(MODELS)
        assert kinds.count("attack") == attacks * len(MODELS)
        assert set(kinds) == {"training", "attack", "transfer", "lipschitz"}
        certifiers = {t.certifier.name for t in tasks if t.kind == "lipschitz" and t.certifier}
        assert {bound.certifier for bound in TABLE_ONE} == certifiers


def test_a_page_from_an_archive(qbench_cli, archive, tmp_path):
    out = tmp_path / "out"
    command = ["reproduce", "wendlinger2024", "--from", str(archive), "--out", str(out)]
    done = qbench_cli(*command)
    assert done.returncode == 0, done.stderr
    text = (out / "wendlinger2024.md").read_text()
    for found in re.findall(r"\]\(((?:figures/)?[\w.-]+\.(?:png|pdf|csv))\)", text):
        assert (out / found).stat().st_size > 500, found
    for figure in ("Figure 11", "Figure 2", "Table I", "Figure 4", "Figures 5", "Figure 7"):
        assert f"## {figure}" in text
    seed = evidence(Archive.read(archive / "glyphs-linf-v1").results())
    bound = Quantity(measure="lipschitz", model="reup", certifier="circuit-bound")
    assert f"| 73.11 | {seed.measure(bound).mean:.2f} " in re.sub(" +", " ", text)
    assert "| reup,0,smoothgrad" not in text
    assert "\nreup,0,smoothgrad,0." in (out / "patterns.csv").read_text()
    page = (out / "wendlinger2024.html").read_text()
    for claim in chosen(["wendlinger2024-"]):
        assert f'id="{claim.name}"' in page
        assert f'href="#{claim.name}"' in page


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["wendlinger2025"], "wendlinger2024"),
        (["wendlinger2024", "--seeds", "-1"], "at least 0"),
        (["wendlinger2024", "--from", "nowhere", "--seeds", "0"], "leave out --seeds"),
        (["wendlinger2024", "--from", "nowhere"], "nowhere"),
        (["wendlinger2024", "--from", ".", "--published", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_reproduced_is_one_line(qbench_cli, arguments, told, tmp_path):
    done = qbench_cli("reproduce", *arguments, "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_page_of_strings_from_outside_shows_them_and_obeys_none():
    page = to_html("# A <script>alert(1)</script>\n\n| a |\n|--:|\n| <b>1</b> |\n", "<t>")
    assert "<script" not in page
    assert "<b>" not in page
    assert "<title>&lt;t&gt;</title>" in page
    assert '<td class="right">&lt;b&gt;1&lt;/b&gt;</td>' in page
