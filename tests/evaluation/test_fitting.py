"""Models that size themselves to a data set, and what does not fit one."""

from __future__ import annotations

import json

import pytest
import torch
from small_runs import run

from qbench.api import load_model
from qbench.datasets.base import Dataset, Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import Unsupported, UsageError
from qbench.evaluation.planner import make_plan
from qbench.evaluation.selection import RunSelection
from qbench.plugin_files import PluginFile
from qbench.registry import load_registry
from qbench.weights.files import unpack
from qbench.weights.zoo import Zoo

SETS = """
import torch
from qbench.datasets.base import Dataset, Split
from qbench.hookspecs import hookimpl
from qbench.specs import DatasetSpec, ModelSpec

@hookimpl
def qbench_datasets():
    yield DatasetSpec(name="small", description="", factory=f"{__name__}:small")

@hookimpl
def qbench_models():
    yield ModelSpec(name="fixed", description="", factory=f"{__name__}:Fixed", family="classical",
                    structure="s")
    yield ModelSpec(name="twenty", description="", factory=f"{__name__}:Fixed", family="classical",
                    structure="s", params={"features": 6, "classes": 20})

class Fixed(torch.nn.Linear):
    def __init__(self, features=256, classes=4):
        super().__init__(features, classes)

def split(n):
    y = torch.arange(n) % 3
    noise = torch.rand(n, 6, generator=torch.Generator().manual_seed(n))
    return Split(0.3 * noise + 0.7 * torch.nn.functional.one_hot(y, 3).repeat(1, 2), y)

def small():
    return Dataset("small", 1, "0" * 64, (1, 6), ("a", "b", "c"), split(90), split(30))
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory) -> PluginFile:
    path = tmp_path_factory.mktemp("plugin") / "fitting_sets.py"
    path.write_text(SETS)
    return PluginFile.read(path)


def data(features: int, classes: int, shape: tuple[int, int] | None, n: int = 60) -> Dataset:
    y = torch.arange(n) % classes
    split = Split(torch.rand(n, features, generator=torch.Generator().manual_seed(0)), y)
    return Dataset("d", 1, "0" * 64, shape, tuple(map(str, range(classes))), split, split)


def model(name: str, dataset: Dataset) -> torch.nn.Module:
    return fitted(load_registry().get("model", name), dataset).create()


ENTRIES = sorted(load_registry().all("model"))


@pytest.mark.parametrize("name", ENTRIES)
def test_models_for_glyphs_are_those_of_the_zoo(name):
    glyphs = load_data("glyphs")
    plain = load_registry().get("model", name)
    spec = fitted(plain, glyphs).spec
    assert (spec.recipe, spec.description) == (plain.spec.recipe, plain.spec.description)
    torch.manual_seed(3)
    made = fitted(plain, glyphs).create()
    torch.manual_seed(3)
    usual = plain.create()
    for a, b in zip(made.parameters(), usual.parameters(), strict=True):
        assert torch.equal(a, b)
    made.load_state_dict(unpack(Zoo().read(name, 0), name)[0].weights)


OF_IMAGES = [name for name in ENTRIES if name.startswith(("convnet", "quanvolution"))]

# (features, classes, shape): iris, digits, a one-class-wider table, rectangular images
SIZES = [(4, 3, None), (64, 10, (8, 8)), (7, 5, None), (35, 2, (5, 7)), (1, 2, None)]


@pytest.mark.parametrize(("features", "classes", "shape"), SIZES)
@pytest.mark.parametrize(
    "name",
    [
        *("reup", "reup-cert", "reup-fixed", "reup-hw4", "amplitude", "fourier"),
        *("convnet", "quanvolution", "quanvolution-cnn", "qcnn", "dressed", "ttn"),
        *("logistic", "mlp", "quantum-kernel"),
        *("reup-purified", "convnet-purified", "amplitude-random"),
    ],
)
def test_every_size_has_scores_and_gradients(name, features, classes, shape):
    dataset = data(features, classes, shape)
    if name in OF_IMAGES and shape is None:
        with pytest.raises(Unsupported, match=r"images, and a table has none"):
            model(name, dataset)
        return
    made, x = model(name, dataset), dataset.train.x.clone().requires_grad_()
    scores = made(x)
    assert scores.shape == (60, classes)
    (gradient,) = torch.autograd.grad((scores * torch.arange(classes)).sum(), x)
    assert gradient.isfinite().all()
    if name == "quantum-kernel":  # not fitted, it gives the same scores to all
        return
    of_amplitudes = name in ("amplitude", "amplitude-random", "qcnn")  # x/‖x‖ of one is constant
    if name not in ("convnet", "convnet-purified", "mlp") and (not of_amplitudes or features > 1):
        assert (gradient != 0).any(0).all()  # every feature is read


@pytest.mark.parametrize(
    ("features", "classes", "qubits", "layers"),
    [(256, 4, 8, 32), (4, 3, 3, 16), (64, 10, 10, 16), (1024, 2, 10, 103), (2, 2, 2, 16)],
)
def test_circuits_have_a_qubit_a_class_and_read_features_three_times(
    features, classes, qubits, layers
):
    dataset = data(features, classes, None)
    for name in ("reup", "amplitude"):
        circuit = model(name, dataset).circuit
        assert (circuit.qubits, circuit.layers) == (qubits, layers)
        assert circuit.measured == tuple(range(classes))
        assert 3 * qubits * layers >= 3 * features


def test_a_read_counts_each_rotation_once():
    made = model("reup-hw4", data(7, 3, None)).double()  # 48 rotations, 7 reads of 7 features
    assert made.w.shape == (7, 7)
    x = torch.rand(1, 7, dtype=torch.float64)
    angles = made.theta.flatten().tolist()
    for read in range(7):
        for k in range(7):
            angles[(7 * read + k) % 48] += made.w[read, k].item() * x[0, k].item()
    torch.testing.assert_close(made.angles(x).flatten(), torch.tensor(angles).double())


def test_small_images_have_small_kernels():
    assert model("convnet", data(16, 2, (4, 4))).conv.kernel_size == (3, 3)
    assert model("convnet", data(36, 2, (6, 6))).conv.kernel_size == (5, 5)
    with pytest.raises(Unsupported, match="images of at least 4x4, not 3x9"):
        model("convnet", data(27, 2, (3, 9)))
    for name in ("quanvolution", "quanvolution-cnn"):
        with pytest.raises(Unsupported, match="images of at least 2x2, not 1x9"):
            model(name, data(9, 2, (1, 9)))


def test_more_classes_than_can_be_simulated_are_refused():
    with pytest.raises(Unsupported, match="26 classes and 784 features ask for 26 qubits"):
        model("reup", data(784, 26, (28, 28)))


def test_few_images_make_small_batches_and_the_description_says_the_size():
    spec = fitted(load_registry().get("model", "reup"), data(4, 3, None, n=105)).spec
    assert spec.recipe.batch_size == 5  # 21 steps an epoch
    assert spec.description.endswith("[resized: 4 features, 3 classes]")


def test_a_model_of_one_size_is_left_alone(plugin):
    fixed = load_registry((plugin,)).get("model", "fixed")
    assert fitted(fixed, data(4, 3, None)) is fixed


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("convnet", r"^convnet does not fit small: it convolves images .* not 1x6$"),
        ("fixed", r"^fixed does not fit small: it does not take 6 features \(RuntimeError: mat1"),
        ("twenty", r"^twenty does not fit small: it gives 20 scores, and there are 3 classes$"),
    ],
)
def test_a_named_model_that_does_not_fit_stops_the_run(plugin, name, reason):
    with pytest.raises(UsageError, match=reason):
        make_plan(RunSelection(models=(name,), dataset="small", seeds=(0,), plugins=(plugin,)))


def test_of_all_models_those_that_do_not_fit_are_left_out(plugin):
    notes: list[str] = []
    selection = RunSelection(dataset="small", seeds=(0,), plugins=(plugin,))
    planned = {task.identity.model.name for task in make_plan(selection, note=notes.append)}
    lacking = {*OF_IMAGES, "fixed", "twenty"}
    assert planned == set(ENTRIES) - lacking
    assert len(notes) == len(lacking)
    assert all(line.startswith("left out: ") and " does not fit small: " in line for line in notes)
    with pytest.raises(UsageError, match="none of these models fits small"):
        make_plan(RunSelection(models=("conv*",), dataset="small", seeds=(0,), plugins=(plugin,)))


@pytest.mark.slow
def test_a_run_on_another_data_set_from_training_to_certificates(plugin, tmp_path):
    selection = RunSelection(
        models=("reup", "amplitude", "fourier", "reup-hw4"), dataset="small", seeds=(0,),
        eps=(0.1,), plugins=(plugin,),
    )  # fmt: skip
    _, records = run(selection, tmp_path)
    assert {record.status for record in records} == {"done"}
    kinds = {record.task.kind for record in records}
    assert kinds == {"training", "attack", "transfer", "checks", "lipschitz", "radii"}
    clean = {
        r.task.model.name: r.metrics.clean_accuracy for r in records if r.task.kind == "attack"
    }
    assert all(accuracy > 0.6 for accuracy in clean.values())  # a third by chance


def test_a_dry_run_says_what_does_not_fit_and_how_long_the_rest_takes(qbench_cli, plugin):
    asked = ("run", "--plugin", plugin.path, "--dataset", "small", "--seeds", "0", "--dry-run")
    result = qbench_cli(*asked, "--models", "convnet,fourier")
    assert result.returncode == 2
    assert "convnet does not fit small: " in result.stderr
    result = qbench_cli(*asked, "--models", "conv*,fourier", "--json", "--jobs", "1")
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("left out: ") == 7
    about = json.loads(result.stdout)
    assert about["untimed"] == 0
    assert about["seconds"] == pytest.approx(sum(r["core seconds"] for r in about["plan"]), abs=1)
    assert "with 2 at a time" in qbench_cli(*asked, "--models", "fourier", "--jobs", "2").stdout


def test_a_model_of_another_size_is_loaded_as_it_was_trained(qbench_cli, plugin, tmp_path):
    asked = ("train", "--plugin", plugin.path, "--dataset", "small", "--models", "fourier")
    result = qbench_cli(*asked, "--seeds", "0", "--jobs", "1", "--out", "zoo")
    assert result.returncode == 0, result.stderr
    made = load_model("fourier", seed=0, zoo=tmp_path / "zoo", plugins=(plugin,))
    dataset = load_data("small", (plugin,))
    assert made(dataset.test.x).shape == (30, 3)
    assert (made(dataset.test.x).argmax(1) == dataset.test.y).double().mean() > 0.9
