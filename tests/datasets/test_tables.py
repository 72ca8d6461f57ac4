"""A table from end to end: trained on, attacked, drawn; against what is exact for linear models."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_runs import run

from qbench.datasets.base import load_data
from qbench.evaluation.selection import RunSelection
from qbench.plugin_files import PluginFile
from qbench.protocols import load_protocol
from qbench.records.store import RunStore
from qbench.report.collect import collect
from qbench.report.examples import choose
from qbench.report.figures.examples import examples
from qbench.weights.files import unpack

PLUGIN = """
from torch import nn
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

@hookimpl
def qbench_models():
    yield ModelSpec(name="my-linear", description="scores Wx + b", factory=f"{__name__}:make",
        family="classical", structure="linear", recipe=Recipe(epochs=40, learning_rate=0.05))

def make():
    return nn.Linear(4, 3)
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    (folder / "my_linear.py").write_text(PLUGIN)
    selection = RunSelection(
        models=("my-linear",),
        attacks=("pgd", "square"),
        certifiers=(),
        dataset="iris",
        seeds=(0,),
        eps=(0.1, 0.2),
        plugins=(PluginFile.read(folder / "my_linear.py"),),
    )
    _, records = run(selection, folder / "run")
    return RunStore(folder / "run"), records


def exactly_robust(weights, x, y, eps):
    """Which rows no perturbation in ball and box breaks: every gain is a sum over features."""
    w, b, x = weights["weight"].double(), weights["bias"].double(), x.double()
    up, down = (x + eps).clamp(max=1) - x, (x - eps).clamp(min=0) - x
    scores = x @ w.T + b
    robust = torch.ones(len(y), dtype=torch.bool)
    for other in range(3):
        slope = w[other] - w[y]
        gain = torch.where(slope > 0, slope * up, slope * down).sum(1)
        gap = scores[:, other] + gain - scores.gather(1, y[:, None])[:, 0]
        robust &= (gap < 0) | (y == other)
    return robust


def test_square_and_pgd_find_what_there_is_to_find(finished):
    store, records = finished
    assert {record.status for record in records} == {"done"}
    (trained,) = [record for record in records if record.task.kind == "training"]
    weights = unpack(store.artifact(trained), "weights")[0].weights
    test = load_data("iris").test
    attacked = [record for record in records if record.task.kind == "attack"]
    assert len(attacked) == 4
    for record in attacked:
        exact = exactly_robust(weights, test.x, test.y, record.task.eps).double().mean().item()
        found = record.metrics.robust_accuracy
        assert 0 < exact < record.metrics.clean_accuracy
        # a row that PGD's loss leads away from its nearest other class may stand
        slack = 0 if record.task.attack.name == "square" else 3 / 51
        assert exact - 1e-9 <= found <= exact + slack + 1e-9


def test_rows_are_drawn_as_bars(finished):
    store, _ = finished
    results, data = store.results(), load_data("iris")
    protocol = load_protocol("glyphs-linf-v1")
    board = collect(results, protocol=protocol)
    shown = choose(board, results, data, protocol)
    (row,) = shown.rows
    np.testing.assert_array_equal(row.x, data.test.x[shown.index])
    assert row.x_adv.shape == (4,)
    panels = examples(shown, data.classes).axes
    for axes, heights in zip(panels, (row.x, row.x_adv - row.x, row.x_adv), strict=False):
        bars = [bar.get_height() for bar in axes.patches]
        np.testing.assert_allclose(bars, heights, rtol=1e-6)
    title = examples(shown, data.classes).texts[0].get_text()
    assert title == f"ε = 0.1, row {shown.index}, class {data.classes[shown.label]}"
    assert choose(board, results, replace(data, test=data.train), protocol) is None
