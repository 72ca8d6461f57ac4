"""What the documentation says is so."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest
import torch
from small_runs import run

from qbench import hookspecs
from qbench.cli import cli
from qbench.datasets.base import load_data
from qbench.datasets.fitting import fitted
from qbench.evaluation.selection import RunSelection
from qbench.plugin_files import PluginFile
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.specs import imported
from qbench.weights.files import unpack

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("**/*.md")),
    ROOT / "leaderboard/README.md",
]


def load_make():
    spec = importlib.util.spec_from_file_location("docs_make", ROOT / "docs" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_up_to_date():
    for path, content in load_make().pages().items():
        assert path.read_text() == content, f"run 'python docs/make.py' to renew {path.name}"


def test_the_readme_answers_as_the_boards_do():
    boards = ROOT / "leaderboard"
    told = re.compile(r"\*\*Are quantum classifiers more robust here\?\*\* ([^:,]+)")
    verdicts = [
        told.search(page.read_text())[1]
        for page in (boards / "README.md", *boards.glob("boards/*/README.md"))
    ]
    assert sorted(verdicts) == ["It cannot be told", "No", "No", "No", "No"]
    readme = (ROOT / "README.md").read_text()
    assert "On each of the five boards the best classical model keeps more images" in readme
    assert "Four of them say that some classical models are significantly more robust" in readme
    assert "on four digits of MNIST it cannot be told" in readme


def test_every_hook_is_documented():
    page = (ROOT / "docs" / "plugins.md").read_text()
    hooks = [name for name in vars(hookspecs) if name.startswith("qbench_")]
    assert len(hooks) == 7
    for hook in hooks:
        assert f"### `{hook}`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_commands_shown_exist_with_their_options():
    shown = 0
    for page in PAGES:
        for line in re.findall(r"^ *(qbench [a-z].*?)(?: {2,}.*| +#.*)?$", page.read_text(), re.M):
            words = shlex.split(line)
            if words[1] not in cli.commands:
                continue
            command = cli.commands[words[1]]
            if isinstance(command, click.Group) and len(words) > 2:
                command = command.get_command(click.Context(command), words[2])
                assert command is not None, f"{page.name}: {line}"
            options = {flag for p in command.params for flag in p.opts}
            for word in words[2:]:
                if word.startswith("--"):
                    assert word in options | {"--help"}, f"{page.name}: {line}"
            shown += 1
    assert shown >= 10


def test_the_readmes_notebook_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(compile(code, "README.md", "exec"), {})
    printed = capsys.readouterr().out
    assert re.match(r"clean 0\.\d+, robust 0\.\d+ \[0\.\d+, 0\.\d+\] over 200 images", printed)


def test_the_page_on_adapters_runs(capsys):
    page = (ROOT / "docs" / "adapters.md").read_text()
    blocks = re.findall(r"(?:<!-- needs (\w+) -->\n)?```python\n(.*?)```", page, re.S)
    assert len(blocks) == 8
    names: dict[str, object] = {}
    for needed, code in blocks:
        if not needed or importlib.util.find_spec(needed):
            exec(compile(code, "adapters.md", "exec"), names)
    printed = capsys.readouterr().out
    assert printed.count("over 50 images") == 3
    assert "takes (1, 16, 16) as batch in float32, gives logits of 4 classes" in printed


@pytest.mark.filterwarnings("ignore:.*scipy.ndimage:DeprecationWarning")  # of foolbox
def test_the_page_on_other_programs_runs(capsys):
    page = (ROOT / "docs" / "interop.md").read_text()
    blocks = re.findall(r"<!-- needs (\w+) -->\n```python\n(.*?)```", page, re.S)
    assert [needed for needed, _ in blocks] == ["art", "foolbox"]
    ran = [code for needed, code in blocks if importlib.util.find_spec(needed)]
    for code in ran:
        exec(compile(code, "interop.md", "exec"), {})
    shares = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(shares) == len(ran)
    assert all(share < 0.8 for share in shares)


def plugins_shown() -> list[str]:
    page = (ROOT / "docs" / "plugins.md").read_text()
    return re.findall(r"```python\n(.*?)```", page, re.S)


def test_the_documented_training_of_ones_own_runs(tmp_path):
    (code,) = [code for code in plugins_shown() if "my-lbfgs" in code]
    path = tmp_path / "my_lbfgs.py"
    path.write_text(code)
    selection = RunSelection(
        models=("my-lbfgs",), certifiers=(), seeds=(0,), eps=(0.1,), limit=20,
        plugins=(PluginFile.read(path),),
    )  # fmt: skip
    _, records = run(selection, tmp_path / "run")
    assert {record.status for record in records} == {"done"}
    (attack,) = [record for record in records if record.task.kind == "attack"]
    assert attack.metrics.clean_accuracy > 0.9


def test_the_documented_plugin_runs(tmp_path):
    (code,) = [code for code in plugins_shown() if "my-mlp" in code]
    path = tmp_path / "my_model.py"
    path.write_text(code)
    model = load_registry((PluginFile.read(path),)).get("model", "my-mlp").create()
    assert sum(p.numel() for p in model.parameters()) == 256 * 32 + 32 + 32 * 4 + 4


def test_data_of_ones_own_as_documented(tmp_path, monkeypatch, capsys):
    page = (ROOT / "docs" / "data.md").read_text()
    *examples, plugin = re.findall(r"```python\n(.*?)```", page, re.S)
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in examples:
        exec(compile(code, "data.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "('long', 'short') 2 None",
        "True",
        "150 50 ('bright', 'dark') (6, 8)",
        "True ('low', 'high')",
    ]
    (tmp_path / "pieces.py").write_text(plugin)
    files = (PluginFile.read(tmp_path / "pieces.py"),)
    usual, other = (load_data(name, files) for name in ("pieces", "pieces:seed=1"))
    assert usual.sha256 == names["table"].sha256 != other.sha256
    assert other.name == "pieces:seed=1"


def models_shown():
    return re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "models.md").read_text(), re.S)


def test_the_documented_purifier_fits_the_data(tmp_path):
    (code,) = [code for code in models_shown() if "mlp-purified" in code]
    path = tmp_path / "purified.py"
    path.write_text(code)
    provided = load_registry((PluginFile.read(path),)).get("model", "mlp-purified")
    model = fitted(provided, load_data("iris")).create()
    assert model(torch.rand(2, 4)).shape == (2, 3)
    assert callable(imported(provided.spec.train))


@pytest.mark.slow
def test_the_documented_larger_circuits_run(tmp_path):
    (code,) = [code for code in models_shown() if "reup-q" in code]
    path = tmp_path / "wide.py"
    path.write_text(code.replace("epochs=5", "epochs=1"))
    selection = RunSelection(
        models=("reup-q12",), attacks=("pgd:steps=2",), certifiers=("circuit-bound",), seeds=(0,),
        eps=(0.1,), limit=2, plugins=(PluginFile.read(path),),
    )  # fmt: skip
    _, records = run(selection, tmp_path / "run")
    assert {r.status for r in records if r.task.kind != "radii"} == {
        "done"
    }  # of which none is asked
    (trained,) = [record for record in records if record.task.kind == "training"]
    weights = unpack(RunStore(tmp_path / "run").artifact(trained), "reup-q12")[0].weights
    assert weights["w"].shape == (22, 12, 3)  # 22 layers read 256 pixels three times
