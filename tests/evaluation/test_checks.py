"""The probes of a model: each measures what a model built for it shows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from qbench.datasets.base import Split
from qbench.errors import Unsupported
from qbench.evaluation import checks
from qbench.evaluation.checks import ChecksTask
from qbench.evaluation.planner import RunSelection, make_plan
from qbench.evaluation.task import TaskContext, run_task

SMALL = RunSelection(models=("convnet",), seeds=(0,), eps=(0.1,), limit=20)


class Linear(nn.Module):
    """Class 1 where the mean pixel exceeds ½."""

    def forward(self, x):
        score = 8 * (x.mean(1) - 0.5)
        return torch.stack([-score, score], 1)


class Quantised(Linear):
    """Scores rounded to steps: no gradient anywhere."""

    def forward(self, x):
        scores = super().forward(x)
        return (scores * 4).round() / 4 + 0 * scores


class Nan(Linear):
    """Right scores, and gradients that are no numbers."""

    def forward(self, x):
        return super().forward(x) + torch.sqrt((x[:, :1] - x[:, :1]).abs())


class Detached(Linear):
    """Scores that torch cannot trace to the input."""

    def forward(self, x):
        return super().forward(x).detach()


class Random(Linear):
    """Scores with fresh noise at every pass."""

    def forward(self, x):
        scores = super().forward(x)
        return scores + 0.01 * torch.randn_like(scores)


def images(n=60, features=16):
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 2
    x = 0.5 * torch.rand(n, features, generator=generator) + 0.5 * labels[:, None]
    return Split(x, labels)


def test_an_honest_model_has_gradients_and_repeats_itself():
    assert checks._zero_gradients(Linear(), images()) == 0
    assert checks._unstable(Linear(), images()) == 0


@pytest.mark.parametrize("model", [Quantised(), Nan(), Detached()])
def test_gradients_that_lead_nowhere_are_counted(model):
    assert checks._zero_gradients(model, images()) == 1


def test_passes_that_differ_are_counted():
    assert checks._unstable(Random(), images()) == 1


def test_the_probes_are_the_protocols_first_attack_and_three_that_must_not_be_weaker():
    (task,) = [t for t in make_plan(SMALL) if isinstance(t, ChecksTask)]
    context = TaskContext(task)
    probes = checks._probes(context, context.split)
    assert set(probes) == {"base", "large_eps", "more_steps", "more_restarts"}
    assert probes["base"][0]["steps"] * 2 == probes["more_steps"][0]["steps"] == 80
    assert probes["more_restarts"][0]["restarts"] == 4
    assert probes["large_eps"][1].eps == 1.0


@pytest.fixture(scope="module")
def done():
    results = {}
    for task in make_plan(SMALL):
        if task.identity.kind in ("training", "checks"):
            results[task.identity.id] = run_task(task, results)
    return next(r.record for r in results.values() if r.record.task.kind == "checks")


def test_the_zoos_convnet(done):
    values = done.metrics.values
    assert done.metrics.images == 20
    assert done.metrics.chance == 0.25
    assert values["unstable_outputs"] == values["zero_gradients"] == 0
    assert values["large_eps"] == 0
    assert values["more_steps"] <= values["base"] + 0.05
    assert values["more_restarts"] <= values["base"]
    assert done.cost.gradient > 20 * 40 * 7


@pytest.mark.parametrize("selection", [{"attacks": ("fgsm",)}, {"models": ("convnet", "fourier")}])
def test_they_do_not_depend_on_what_else_is_selected(done, selection):
    tasks = [t for t in make_plan(replace(SMALL, **selection)) if isinstance(t, ChecksTask)]
    assert done.id in {task.identity.id for task in tasks}


def test_a_model_that_gives_no_gradients_is_only_asked_twice(done, monkeypatch):
    (task,) = [t for t in make_plan(SMALL) if isinstance(t, ChecksTask)]
    training = next(t for t in make_plan(SMALL) if t.identity.kind == "training")
    context = TaskContext(task)
    blind = replace(context.provided, spec=replace(context.provided.spec, differentiable=False))
    monkeypatch.setattr(TaskContext, "provided", blind)
    context = TaskContext(task)
    found = task.run(context, {training.identity.id: run_task(training, {})})
    assert set(found.metrics.values) == {"unstable_outputs"}
    with pytest.raises(Unsupported):
        checks.runnable(context, "pgd", {}, Linear())
