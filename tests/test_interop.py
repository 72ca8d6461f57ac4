"""Models as other libraries attack them, and results and commands as other programs read them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

import qbench
from qbench.errors import Unsupported, UsageError
from qbench.records.boards import open_results
from qbench.report import export, to_frame


def linear() -> nn.Linear:
    """Two classes of 16 pixels, with a margin that is known: w·x + b and its negative."""
    model = nn.Linear(16, 2)
    with torch.no_grad():
        w = torch.linspace(-0.5, 0.5, 16)
        model.weight.copy_(torch.stack([w, -w]) / 2)
        model.bias.copy_(torch.tensor([0.05, -0.05]))
    return model


def images() -> tuple[torch.Tensor, torch.Tensor]:
    x = 0.3 + 0.4 * torch.rand(50, 4, 4, generator=torch.Generator().manual_seed(0))
    return x, linear()(x.flatten(1)).argmax(1)


def broken(eps: float) -> list[bool]:
    """Which images a step of ε along the signs of the gradient breaks, by hand."""
    x, _ = images()
    w = np.linspace(-0.5, 0.5, 16, dtype=np.float64)
    margin = np.abs(x.flatten(1).double().numpy() @ w + 0.1)
    return list(margin < eps * np.abs(w).sum())


def test_art_attacks_a_model():
    art = pytest.importorskip("art.attacks.evasion")
    x, y = images()
    classifier = qbench.to_art(linear(), (x, y))
    assert (classifier.input_shape, classifier.nb_classes) == ((1, 4, 4), 2)
    arrays = x[:, None].numpy()
    assert np.allclose(classifier.predict(arrays), linear()(x.flatten(1)).detach(), atol=1e-6)
    x_adv = art.FastGradientMethod(classifier, eps=0.05).generate(arrays, y.numpy())
    found = classifier.predict(x_adv).argmax(1) != y.numpy()
    assert found.tolist() == broken(0.05)
    assert 5 < found.sum() < 45


def test_foolbox_attacks_a_model():
    foolbox = pytest.importorskip("foolbox")
    x, y = images()
    model = qbench.to_foolbox(linear(), (x, y))
    _, clipped, found = foolbox.attacks.FGSM()(model, x[:, None], y, epsilons=0.05)
    assert found.tolist() == broken(0.05)
    assert float((clipped - x[:, None]).abs().max()) <= 0.05 + 1e-6


def test_a_model_of_the_zoo_by_name_goes_to_art():
    pytest.importorskip("art")
    glyphs = qbench.load_dataset("glyphs").test
    classifier = qbench.to_art("convnet", seed=1)
    scores = classifier.predict(glyphs.x[:20].reshape(-1, 1, 16, 16).numpy())
    expected = qbench.load_model("convnet", 1)(glyphs.x[:20]).detach().numpy()
    assert np.allclose(scores, expected, atol=1e-5)


def test_a_model_without_gradient_says_so_when_one_is_asked_for():
    art = pytest.importorskip("art.attacks.evasion")
    x, y = images()
    weight = linear().weight.detach().numpy()
    classifier = qbench.to_art(lambda images: np.asarray(images) @ weight.T, (x.flatten(1), y))
    arrays = x.flatten(1).numpy()
    assert classifier.predict(arrays).shape == (50, 2)
    with pytest.raises(Unsupported, match="gives no gradient"):
        art.FastGradientMethod(classifier, eps=0.05).generate(arrays)


@pytest.mark.parametrize(("name", "package"), [("to_art", "art"), ("to_foolbox", "foolbox")])
def test_what_is_not_installed_is_said_with_the_command(monkeypatch, name, package):
    for module in [one for one in sys.modules if one.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(Unsupported, match=rf"pip install .*\[{package}\]"):
        getattr(qbench, name)(linear(), images())


def test_foolbox_needs_a_box():
    with pytest.raises(UsageError, match=r"box=\(low, high\)"):
        qbench.to_foolbox(linear(), images(), box=None)


def test_the_archive_as_metadata_of_model_cards():
    results = open_results(Path(__file__).parents[1] / "leaderboard" / "results" / "mnist4-linf-v1")
    (index,) = yaml.safe_load(export(results, "model-index")).values()
    assert {entry["name"] for entry in index} <= set(results.cards)
    assert len(index) > 10
    table, ranked = to_frame(results), []
    for entry in index:
        (result,) = entry["results"]
        assert result["dataset"]["revision"] == results.records[0].task.data.sha256
        values = {metric["name"]: metric["value"] for metric in result["metrics"]}
        mine = table[(table.model == entry["name"]) & table.exact & (table.eps == 0.1)]
        attacked = mine[mine.kind == "attack"]
        assert values["Clean accuracy"] == pytest.approx(attacked.clean_accuracy.mean(), abs=1e-5)
        weakest = attacked.groupby("attack").robust_accuracy.mean().min()
        worst = values["Robust accuracy, worst case, linf, ε = 0.1"]
        assert values.get("Certified accuracy, linf, ε = 0.1", 0.0) <= worst <= weakest + 1e-6
        ranked.append(worst)
    assert ranked == sorted(ranked, reverse=True)


@pytest.mark.parametrize(
    ("words", "position", "expected"),
    [("qbench expo", 1, "export"), ("qbench export --format mod", 3, "model-index")],
)
def test_the_shell_completes_commands_and_options(words, position, expected):
    answer = subprocess.run(
        [sys.executable, "-m", "qbench"],
        env=os.environ
        | {"_QBENCH_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position)},
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert answer.stdout.split(",")[-1].strip() == expected
