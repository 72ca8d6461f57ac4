"""What a plugin changes for everyone is put back, and named."""

from __future__ import annotations

import numpy as np
import torch

import qbench.geometry
from qbench.evaluation.crafting import CountedModel
from qbench.plugin_files import PluginFile
from qbench.process_state import ProcessState
from qbench.registry import load_registry
from qbench.report.flags import flags


def test_settings_are_put_back_and_named():
    before = ProcessState.now()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    settings, code = before.restore()
    assert settings == ["torch's default type", "torch's gradient mode"]
    assert code == []
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert before.restore() == ([], [])


def test_code_is_put_back_and_named():
    honest = qbench.geometry.distance, CountedModel.forward, torch.nn.functional.relu
    before = ProcessState.now()
    qbench.geometry.distance = lambda *_: torch.zeros(1)
    CountedModel.forward = lambda self, x: x
    torch.nn.functional.relu = torch.tanh
    np.sqrt, mine = np.abs, np.sqrt
    assert set(before.restore()[1]) == {
        "qbench.geometry.distance",
        "qbench.evaluation.crafting.CountedModel.forward",
        "torch.nn.functional.relu",
        "numpy.sqrt",
    }
    now = qbench.geometry.distance, CountedModel.forward, torch.nn.functional.relu
    assert now == honest
    assert np.sqrt is mine


PATCHING = """
import torch
import qbench.evaluation.scoring as scoring
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

torch.set_default_dtype(torch.float64)
scoring.margins = lambda scores, y: scores.amax(1)

@hookimpl
def qbench_models():
    yield ModelSpec(name="patching", description="", factory=f"{__name__}:make",
                    family="classical", structure="patching",
                    recipe=Recipe(epochs=1, learning_rate=1e-12))

def make():
    import qbench
    return qbench.load_model("convnet", seed=0)
"""


def test_a_plugin_that_replaces_our_code_is_found_out(tmp_path):
    from qbench.evaluation import scoring
    from qbench.evaluation.planner import make_plan
    from qbench.evaluation.selection import RunSelection
    from qbench.evaluation.task import run_task

    honest = scoring.margins
    path = tmp_path / "patching_plugin.py"
    path.write_text(PATCHING)
    file = PluginFile.read(path)
    registry = load_registry((file,))
    assert torch.get_default_dtype() == torch.float32
    assert scoring.margins is honest
    changed = registry.changed("patching_plugin")
    assert changed.settings == {"torch's default type"}
    assert changed.code == {"qbench.evaluation.scoring.margins"}
    done, records = {}, []
    selection = RunSelection(models=("patching",), seeds=(0,), limit=20, plugins=(file,))
    for task in make_plan(selection):
        if task.identity.kind in ("training", "checks"):
            done[task.identity.id] = run_task(task, done)
            records.append(done[task.identity.id].record)
    raised = {
        f.name: f.blocking for f in flags("patching", records, stochastic=False, reference=None)
    }
    assert raised == {"changed-code": True, "changed-settings": False}
