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
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
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


class Uneven(Linear):
    """Nothing but the derivatives of bright images are no numbers."""

    def forward(self, x):
        scores = super().forward(x)
        bright = x.mean(1) > 0.5
        scores[bright] += torch.sqrt((x[bright, :1] - x[bright, :1]).abs())
        return scores


class Backwards(Linear):
    """The right scores, with the gradient of their negative."""

    def forward(self, x):
        scores = super().forward(x)
        return 2 * scores.detach() - scores


class Centred(Linear):
    """Scores that depend on the other images of the batch."""

    def forward(self, x):
        scores = super().forward(x)
        return scores - scores.mean(0)


class Sorted(Linear):
    """Scores in the order of brightness, whatever the order of the images."""

    def forward(self, x):
        return super().forward(x[x.mean(1).argsort()])


class Traced(Linear):
    """Other scores for whoever wants gradients."""

    def forward(self, x):
        scores = super().forward(x)
        return scores.flip(1) if x.requires_grad else scores


class Double(Linear):
    """Other scores in double precision."""

    def forward(self, x):
        scores = super().forward(x)
        return scores.flip(1) if x.dtype == torch.float64 else scores


class InPlace(Linear):
    """Changes the images that it is given."""

    def forward(self, x):
        return super().forward(x.mul_(0.5).mul_(2.0).add_(1e-3))


class Counting(Linear):
    """Counts its calls in a buffer, and goes back to training."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        self.train()
        return super().forward(x)


class Half(Linear):
    def forward(self, x):
        return super().forward(x).bfloat16()


class Infinite(Linear):
    def forward(self, x):
        scores = super().forward(x)
        return torch.where(x.mean(1, keepdim=True) > 0.5, torch.inf, scores)


def test_an_honest_model_passes_every_check():
    assert set(checks.check(Linear(), images(), 0.1).values()) == {0.0}


@pytest.mark.parametrize(
    ("model", "failed"),
    [
        (Quantised(), {"flat_gradients": 1.0}),
        (Nan(), {"bad_gradients": 1.0}),
        (Uneven(), {"bad_gradients": 0.5}),
        (Detached(), {"no_gradient": 1.0, "flat_gradients": 1.0}),
        (Backwards(), {"wrong_gradients": 1.0}),
        (Random(), {"unstable_outputs": 1.0}),
        (Centred(), {"batch_dependence": 1.0}),
        (Sorted(), {"batch_dependence": 1.0}),
        (Traced(), {"call_dependence": 1.0}),
        (Double(), {"call_dependence": 1.0}),
        (InPlace(), {"input_changed": 1.0}),
        (Counting(), {"state_changed": 1.0, "mode_changed": 1.0}),
        (Half(), {"low_precision": 1.0}),
        (Infinite(), {"not_finite": 0.5}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_does_not_hold_is_counted(model, failed):
    values = checks.check(model, images(), 0.1)
    for name, share in failed.items():
        assert values[name] == pytest.approx(share, abs=0.05), values


def test_a_little_noise_hides_no_dependence_on_the_batch():
    class Both(Centred):
        def forward(self, x):
            return super().forward(x) + 1e-3 * torch.randn(len(x), 2)

    values = checks.check(Both(), images(), 0.1)
    assert values["unstable_outputs"] == 1
    assert values["batch_dependence"] == pytest.approx(1, abs=0.05)


def test_an_attack_by_gradients_is_tried_within_the_whole_box():
    (task,) = [t for t in make_plan(SMALL) if isinstance(t, ChecksTask)]
    context = TaskContext(task)
    name, params, threat = checks._whole_box(context, context.split)
    assert (name, params["steps"], threat.eps) == ("pgd", 40, 1.0)


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
    assert {name for name, value in values.items() if value > 0.1} == set()
    assert done.cost.gradient > 20 * 40


@pytest.mark.parametrize("selection", [{"attacks": ("fgsm",)}, {"models": ("convnet", "fourier")}])
def test_they_do_not_depend_on_what_else_is_selected(done, selection):
    tasks = [t for t in make_plan(replace(SMALL, **selection)) if isinstance(t, ChecksTask)]
    assert done.id in {task.identity.id for task in tasks}


def test_a_model_that_gives_no_gradients_is_asked_for_none(done, monkeypatch):
    (task,) = [t for t in make_plan(SMALL) if isinstance(t, ChecksTask)]
    training = next(t for t in make_plan(SMALL) if t.identity.kind == "training")
    context = TaskContext(task)
    blind = replace(context.provided, spec=replace(context.provided.spec, differentiable=False))
    monkeypatch.setattr(TaskContext, "provided", blind)
    context = TaskContext(task)
    found = task.run(context, {training.identity.id: run_task(training, {})})
    assert "unstable_outputs" in found.metrics.values
    assert not {"flat_gradients", "no_gradient", "large_eps"} & set(found.metrics.values)
    with pytest.raises(Unsupported):
        checks.runnable(context, "pgd", {}, Linear())
