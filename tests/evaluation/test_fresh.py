"""New images: drawn alike every time, known to nobody, and scored as the test images are."""

from __future__ import annotations

import pytest
import torch

import qbench
from qbench.datasets.base import load_data
from qbench.datasets.glyphs import draw_fresh
from qbench.errors import DataError
from qbench.evaluation.fresh import FreshTask
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.task import run_task
from qbench.plugin_files import PluginFile


def test_the_new_glyphs_are_always_the_same_and_none_of_the_old():
    data, new = load_data("glyphs"), draw_fresh(200)
    draw_fresh.cache_clear()
    assert torch.equal(draw_fresh(200).x, new.x)
    assert new.y.bincount().tolist() == [50, 50, 50, 50]
    old = {image.numpy().tobytes() for split in (data.train, data.test) for image in split.x}
    assert not old & {image.numpy().tobytes() for image in new.x}


def test_accuracy_on_new_images_is_what_the_model_says_of_them():
    selection = RunSelection(models=("reup-hw4",), seeds=(1,), certifiers=(), limit=10)
    training, task = [
        task for task in make_plan(selection) if task.identity.kind in ("training", "fresh")
    ]
    assert isinstance(task, FreshTask)
    done = {training.identity.id: run_task(training, {})}
    metrics = run_task(task, done).record.metrics
    new, known = draw_fresh(50), load_data("glyphs").test
    with torch.no_grad():
        model = qbench.load_model("reup-hw4", seed=1)
        right = [
            (model(x).argmax(1) == y).double() for x, y in ((new.x, new.y), (known.x, known.y))
        ]
    assert metrics.clean_accuracy == pytest.approx(float(right[0].mean()))
    assert metrics.frozen_clean_accuracy == pytest.approx(float(right[1][:10].mean()))
    assert 0.2 < metrics.robust_accuracy < metrics.clean_accuracy
    assert metrics.frozen_robust_accuracy <= metrics.frozen_clean_accuracy


def test_there_are_none_of_training_images():
    selection = RunSelection(models=("fourier",), seeds=(0,), protocol="wendlinger2024")
    assert "fresh" not in {task.identity.kind for task in make_plan(selection)}


STRANGE = """
from dataclasses import replace
import qbench
from qbench.datasets.base import Split
from qbench.hookspecs import hookimpl
from qbench.specs import DatasetSpec

@hookimpl
def qbench_datasets():
    yield DatasetSpec(name="strange", description="", factory=f"{__name__}:load")

def load():
    data = qbench.load_dataset("glyphs")
    def fresh(n):
        x, y = data.test.x[:n].clone(), data.test.y[:n].clone()
        CHANGE
        return Split(x, y)
    return replace(data, name="strange", fresh=fresh)
"""


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("x[3, 5] = 1.5", r"image 3 .* has the pixel 1.5"),
        ("x = x[:, :100]", "image 0 has 100 pixels, where"),
        ("y[2] = 7", "image 2 has the label 7"),
        ("x, y = x[1:], y[1:]", "7 images instead of 8"),
        ("return x", "a Tensor instead of a Split"),
    ],
)
def test_a_strangers_new_images_are_checked(tmp_path, change, reason):
    path = tmp_path / f"{tmp_path.name}.py"
    path.write_text(STRANGE.replace("CHANGE", change))
    data = load_data("strange", (PluginFile.read(path),))
    with pytest.raises(DataError, match=f"data set 'strange': new images: {reason}"):
        data.fresh(8)
