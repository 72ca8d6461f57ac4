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

import qbench
from qbench.datasets.base import load_data
from qbench.protocols import load_protocol
from qbench.records.archive import open_results
from qbench.records.results import Results
from qbench.report.board import Board
from qbench.report.collect import collect
from qbench_site import explorer

ROOT = Path(__file__).parents[2]
ASSETS = ROOT / "plugins" / "qbench_site" / "assets"
# One of each kind, and of those, the ones whose scores are hardest to get right by accident.
MODELS = ("reup-ep100", "reup-hw4", "reup-hw8", "amplitude", "convnet", "fourier")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


@pytest.fixture(scope="module")
def results() -> Results:
    return open_results(ROOT / "leaderboard" / "results" / "glyphs-linf-v1")


@pytest.fixture(scope="module")
def board(results: Results) -> Board:
    own = [r for r in results.records if r.task.model.seed == 0 and r.task.kind != "transfer"]
    from dataclasses import replace

    return collect(
        replace(results, records=tuple(own)),
        protocol=load_protocol("glyphs-linf-v1"),
        transferred=False,
    )


@pytest.fixture(scope="module")
def data(board: Board, results: Results) -> dict[str, Any]:
    found = explorer.explorer_data(
        board, results, load_data("glyphs"), load_protocol("glyphs-linf-v1")
    )
    assert found is not None
    return found


def ask(data: dict[str, Any], **question: Any) -> dict[str, Any]:
    """What the JavaScript says of the models in MODELS."""
    models = [model for model in data["models"] if model["name"] in MODELS]
    assert len(models) == len(MODELS)
    asked = json.dumps({"data": {**data, "models": models}, **question})
    judge = Path(__file__).with_name("judge.js")
    done = subprocess.run(
        ["node", str(judge), str(ASSETS)], input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@needs_node
def test_scores_and_gradients_are_torchs(data: dict[str, Any]) -> None:
    images = [0, 1, 2, 57, 199]
    generator = torch.Generator().manual_seed(1)
    pulls = torch.randn(len(images), 4, generator=generator, dtype=torch.float64)
    said = ask(data, images=images, pulls=pulls.tolist())
    for name in MODELS:
        model = qbench.load_model(name, 0).double()
        x = qbench.load_dataset("glyphs").test.x[images].double().requires_grad_()
        scores = model(x)
        (gradient,) = torch.autograd.grad((pulls * scores).sum(), x)
        found = said[name]
        assert_close([of["scores"] for of in found], scores, name)
        assert_close([of["again"] for of in found], scores, name)
        assert_close([of["gradient"] for of in found], gradient, name)


def assert_close(found: list[list[float]], expected: Tensor, name: str) -> None:
    given = torch.tensor(found, dtype=torch.float64)
    assert torch.allclose(given, expected.detach(), rtol=0, atol=1e-6), name


@needs_node
@pytest.mark.parametrize(
    ("steps", "relative_step", "random_start", "keep"),
    [(40, 2.5, True, "best"), (1, 1.0, False, "last")],
)
def test_live_attacks_are_judged_alike_by_torch(
    data: dict[str, Any], steps: int, relative_step: float, random_start: bool, keep: str
) -> None:
    images, eps = [0, 3, 5, 8], 0.1
    attack = {
        "eps": eps,
        "steps": steps,
        "relative_step": relative_step,
        "random_start": random_start,
        "keep": keep,
        "seed": 7,
    }
    said = ask(data, images=images, attack=attack)
    split = qbench.load_dataset("glyphs").test
    x, y = split.x[images].double(), split.y[images]
    for name in MODELS:
        model = qbench.load_model(name, 0).double()
        found = torch.tensor([of["x"] for of in said[name]], dtype=torch.float64)
        assert [of["visited"] for of in said[name]] == [steps + 1] * len(images)
        assert (found - x).abs().max() <= eps * (1 + 1e-12)
        assert found.min() >= 0
        assert found.max() <= 1
        with torch.no_grad():
            scores, clean = model(found), model(x)
        assert_close([of["scores"] for of in said[name]], scores, name)
        loss = torch.nn.functional.cross_entropy
        assert loss(scores, y) > loss(clean, y)
        if steps == 1:  # nothing is random: the step is the textbook's
            leaf = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(loss(model(leaf), y), leaf)
            expected = (x + eps * gradient.sign()).clamp(0, 1)
            assert torch.allclose(found, expected, rtol=0, atol=1e-12), name
