"""The sample explorer: its models in JavaScript against torch, its data against the archive."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

import qbench
from qbench.records.record import Card
from qbench.records.results import Results
from qbench_site.live_models import live_model

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "plugins" / "qbench_site" / "assets"
MODELS = ("amplitude", "convnet", "fourier", "reup-ep100", "reup-hw4", "reup-hw8")  # every kind
EPS = 0.1
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def ask(data: dict[str, Any], **question: Any) -> dict[str, Any]:
    """What the JavaScript says of the models."""
    command = ["node", str(Path(__file__).with_name("judge.js")), str(ASSETS)]
    asked = json.dumps({"data": data, **question})
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def images(chosen: list[int]) -> tuple[Tensor, Tensor]:
    split = qbench.load_dataset("glyphs").test
    return split.x[chosen].double(), split.y[chosen]


def assert_equal(found: list[list[float]], expected: Tensor, name: str) -> None:
    given = torch.tensor(found, dtype=torch.float64)
    assert torch.allclose(given, expected.detach(), rtol=0, atol=1e-6), name


@needs_node
def test_scores_and_gradients_are_torchs(data: dict[str, Any]) -> None:
    chosen = [0, 1, 2, 57, 199]
    generator = torch.Generator().manual_seed(1)
    pulls = torch.randn(len(chosen), 4, generator=generator, dtype=torch.float64)
    said = ask(data, images=chosen, pulls=pulls.tolist())
    for name in MODELS:
        x = images(chosen)[0].requires_grad_()
        scores = qbench.load_model(name).double()(x)
        (gradient,) = torch.autograd.grad((pulls * scores).sum(), x)
        assert gradient.abs().max() > 1e-2
        assert_equal([of["scores"] for of in said[name]], scores, name)
        assert_equal([of["again"] for of in said[name]], scores, name)
        assert_equal([of["gradient"] for of in said[name]], gradient, name)


@needs_node
@pytest.mark.parametrize("attack", ["pgd", "fgsm"])
def test_attacks_stay_in_the_ball_and_are_judged_alike_by_torch(
    data: dict[str, Any], attack: str
) -> None:
    chosen, settings = [0, 3, 5, 8], data["attacks"][attack]
    said = ask(data, images=chosen, attack={**settings, "eps": EPS, "seed": 7})
    x, y = images(chosen)
    fooled = 0
    for name in MODELS:
        model = qbench.load_model(name).double()
        found = torch.tensor([of["x"] for of in said[name]], dtype=torch.float64)
        assert [of["visited"] for of in said[name]] == [settings["steps"] + 1] * len(chosen)
        assert (found - x).abs().max() <= EPS * (1 + 1e-12)
        assert found.min() >= 0
        assert found.max() <= 1
        leaf = x.clone().requires_grad_()
        loss = cross_entropy(model(leaf), y)
        with torch.no_grad():
            scores = model(found)
        assert_equal([of["scores"] for of in said[name]], scores, name)
        assert cross_entropy(scores, y) > loss
        fooled += int((scores.argmax(1) != y).sum())
        if attack == "fgsm":  # nothing is random: it is the textbook's step
            (gradient,) = torch.autograd.grad(loss, leaf)
            expected = (x + EPS * gradient.sign()).clamp(0, 1)
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), name
    assert fooled >= 8  # of 24


@needs_node
def test_pgd_breaks_about_as_many_as_the_benchmark_does(
    data: dict[str, Any], results: Results
) -> None:
    chosen = list(range(0, 200, 20))
    said = ask(data, images=chosen, attack={**data["attacks"]["pgd"], "eps": EPS, "seed": 3})
    for record in results.records:
        task = record.task
        if task.kind != "attack" or record.label != "pgd" or task.eps != EPS or not record.exact:
            continue
        if (name := task.model.name) in MODELS:
            columns = results.columns(record)
            theirs = (columns["adversarial_prediction"] != columns["label"])[chosen].sum()
            labels = images(chosen)[1].tolist()
            scores = [of["scores"] for of in said[name]]
            ours = sum(int(np.argmax(s)) != y for s, y in zip(scores, labels, strict=True))
            assert abs(int(theirs) - ours) <= 2, name  # another random start


def test_images_and_predictions_are_the_archives(data: dict[str, Any], results: Results) -> None:
    split = qbench.load_dataset("glyphs").test
    pixels = np.frombuffer(base64.b64decode(data["images"]), np.uint8).reshape(200, 256)
    assert np.array_equal((pixels / 255).astype(np.float32), split.x.numpy())
    assert data["labels"] == split.y.tolist()
    for one in data["models"]:
        model, kept = qbench.load_model(one["name"]), one["kept"]
        with torch.no_grad():
            assert one["clean"] == model(split.x).argmax(1).tolist()
        levels = np.frombuffer(base64.b64decode(kept["delta"]), np.int8).reshape(-1, 256)
        x = split.x.numpy()[kept["image"]].astype(float)
        x_adv = (x + levels * EPS / 127).clip(0, 1)
        ours = results.adversarial(one["name"], 0)
        assert ours is not None
        assert kept["image"] == ours.image.tolist()
        assert np.abs(x_adv - ours.x_adv).max() < EPS / 127 + 1e-6
        assert np.abs(x_adv - x).max() <= EPS * (1 + 1e-12)
        with torch.no_grad():
            said = model(torch.from_numpy(x_adv.astype(np.float32))).argmax(1)
        assert said.tolist() == kept["prediction"], one["name"]  # rounding changes no answer


def test_distances_claim_no_more_than_the_records(data: dict[str, Any], results: Results) -> None:
    for one in data["models"]:
        radius, nearest = np.full(200, -np.inf), np.full(200, np.inf)
        wrong = np.full(200, False)
        for record in results.records:
            if record.task.model.name != one["name"] or record.status != "done":
                continue
            columns = results.columns(record) if record.outcomes else {}
            if record.task.kind == "radii" and record.task.norm == "linf" and record.exact:
                radius = np.maximum(radius, columns["radius"])
                wrong |= columns["prediction"] != columns["label"]
            if record.task.kind == "attack" and record.exact:
                broken = columns["adversarial_prediction"] != columns["label"]
                nearest = np.minimum(nearest, np.where(broken, columns["linf"], np.inf))
        stated = np.array([np.nan if r is None else r for r in one["radius"]])
        assert np.array_equal(np.isnan(stated), wrong), one["name"]
        gap = (radius - stated)[~wrong]
        assert gap.min() >= -1e-9
        assert gap.max() < 1.1e-5
        far = np.array([np.inf if r is None else r for r in one["nearest"]])
        assert (far <= nearest + 1.1e-5).all()  # images made for others may be nearer
        assert (far[~wrong] >= stated[~wrong] - 1e-6).all()


def test_only_the_weights_on_record_run_live(results: Results) -> None:
    card = results.cards["fourier"]
    weights = next(
        r.weights for r in results.records if r.task.model.name == "fourier" and r.weights
    )

    def live(seed: int = 0, **changes: Any) -> dict[str, Any] | None:
        changed: Card = card.model_copy(update=changes)
        return live_model(changed, seed, weights)

    found = live()
    assert found is not None
    assert found["kind"] == "fourier"
    assert live(1) is None
    assert live(revision=9) is None
    assert live(name="of-a-stranger") is None
