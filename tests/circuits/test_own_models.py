"""The models that docs/circuits.md brings: from a plugin file to engines and a device."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch
from small_runs import run

pytest.importorskip("pennylane")
pytest.importorskip("qiskit_aer")
pytest.importorskip("qiskit_ibm_runtime")

import qbench
from qbench.cli import cli
from qbench.engines.modules import engine_of
from qbench.errors import UsageError
from qbench.evaluation.selection import RunSelection
from qbench.plugin_files import PluginFile
from qbench.registry import load_registry

PAGE = (Path(__file__).parents[2] / "docs" / "circuits.md").read_text()
PLUGIN, *EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = re.findall(r"^qbench (.*)$", PAGE, re.M)
MODELS = ("my-qiskit", "my-pennylane")
UNTRAINED = PLUGIN.replace("epochs=2", "epochs=0")


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The page's plugin, whose models are left as they start."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QBENCH_CIRCUITS", str(tmp_path / "circuits"))
    path = tmp_path / "my_circuits.py"
    path.write_text(UNTRAINED)
    return path


def call(command):
    words = shlex.split(command)
    cli.main(words, prog_name="qbench", standalone_mode=False, obj=words)


def test_a_run_on_aer_attacks_the_exact_circuit(plugin, tmp_path):
    selection = RunSelection(
        models=MODELS, attacks=("fgsm",), certifiers=(), seeds=(0,), eps=(0.1,), limit=4,
        engine="aer", attacked="ideal", plugins=(PluginFile.read(plugin),),
    )  # fmt: skip
    _, records = run(selection, tmp_path / "run")
    attacks = [record for record in records if record.task.kind == "attack"]
    assert {record.task.model.name for record in attacks} == set(MODELS)
    for record in attacks:
        assert (record.status, record.task.engine.name) == ("done", "aer")


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS)
def test_a_device_runs_the_circuits(plugin, model):
    command = COMMANDS[1].replace(MODELS[0], model)
    assert command.startswith("hardware run")
    call(f"{command} --no-readout --out run")
    report = json.loads(Path("run/hardware/report.json").read_text())
    assert (report["model"], report["device"]) == (model, "fake_lagos")
    assert 0.5 < report["signal"]["raw"]["scale"] < 1.5


@pytest.mark.slow
def test_the_documented_run(plugin):
    plugin.write_text(PLUGIN)
    with pytest.raises(SystemExit) as ended:
        call(COMMANDS[0])
    assert ended.value.code == 0


def test_a_model_without_circuits_is_told_how_to_have_some(plugin):
    plugin.write_text(UNTRAINED + "\n\ndef of_qiskit():\n    return torch.nn.Linear(256, 4)\n")
    with pytest.raises(UsageError, match="runs no circuits on an engine of qbench: make its"):
        call(f"{COMMANDS[1]} --out run")


@pytest.mark.parametrize("name", MODELS)
def test_evaluate_moves_the_circuits_within_a_model_and_back(plugin, name):
    files = (PluginFile.read(plugin),)
    model = load_registry(files).get("model", name).create().eval()
    own, x = engine_of(model), torch.rand(4, 256)
    labels = model(x).argmax(1)
    result = qbench.evaluate(model, "fgsm", eps=0.01, data=(x, labels), engine="torch")
    assert result.clean_accuracy == 1
    assert engine_of(model) is own


def test_the_other_examples_run(capsys):
    names = {"torch": torch}
    for code in EXAMPLES:
        exec(compile(code, "circuits.md", "exec"), names)
    printed = capsys.readouterr().out
    assert "crx(w0 + 2*x0) q[0], q[1];" in printed
    x = torch.rand(3, 2)
    wanted = torch.stack([x[:, 0].cos(), x[:, 0].cos() * x[:, 1].cos()], 1)
    torch.testing.assert_close(names["Pair"]()(x), wanted, atol=1e-6, rtol=0)
