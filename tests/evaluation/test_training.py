import json

import pytest
import torch
from torch import nn

from qbench.api import evaluate, load_dataset, load_model
from qbench.datasets.base import Dataset, Split
from qbench.errors import VerificationError, WeightsError
from qbench.evaluation.executors import InProcess
from qbench.evaluation.training import train
from qbench.evaluation.zoo_training import TrainingJob, train_one, train_zoo
from qbench.registry import load_registry
from qbench.specs import Recipe
from qbench.weights.files import Provenance, load_into, pack, unpack
from qbench.weights.zoo import Zoo
from qbench_classical.models import ConvNet

RECIPE = Recipe(epochs=3)
PROVENANCE = Provenance("convnet", 1, 0, "glyphs", "0" * 64, RECIPE)


@pytest.fixture(scope="module")
def glyphs() -> Dataset:
    whole = load_dataset()
    train = Split(whole.train.x[:200], whole.train.y[:200])
    return Dataset("few", 1, "0" * 64, whole.image_shape, whole.classes, train, whole.test)


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_seed_gives_the_same_weights_whatever_ran_before(glyphs):
    torch.manual_seed(1)
    _, first = train(ConvNet, glyphs, RECIPE, 0)
    torch.manual_seed(2)
    _, again = train(ConvNet, glyphs, RECIPE, 0)
    _, other = train(ConvNet, glyphs, RECIPE, 1)
    assert equal(first.weights, again.weights)
    assert first.loss == again.loss
    assert not torch.equal(first.weights["conv.weight"], other.weights["conv.weight"])


def test_training_teaches(glyphs):
    _, state = train(ConvNet, glyphs, Recipe(epochs=12, learning_rate=5e-3), 0)
    assert state.loss[-1] < 0.2 * state.loss[0]
    assert state.test_accuracy[-1] > 0.9
    assert len(state.loss) == len(state.test_accuracy) == 12


def test_interrupted_training_ends_with_the_same_weights(glyphs):
    kept = []
    train(ConvNet, glyphs, RECIPE, 0, after_epoch=kept.append)
    # what was kept after epoch 1 goes through its file format
    state, _ = unpack(pack(kept[0], PROVENANCE, resumable=True), "x")
    _, resumed = train(ConvNet, glyphs, RECIPE, 0, state=state)
    assert equal(resumed.weights, kept[-1].weights)
    assert (resumed.loss, resumed.test_accuracy) == (kept[-1].loss, kept[-1].test_accuracy)


def test_a_longer_training_passes_through_the_shorter_one(glyphs):
    kept = []
    train(ConvNet, glyphs, Recipe(epochs=4), 0, after_epoch=kept.append)
    _, short = train(ConvNet, glyphs, Recipe(epochs=2), 0)
    assert equal(kept[1].weights, short.weights)


def test_the_regulariser_shrinks_what_it_weighs(glyphs):
    class Penalised(ConvNet):
        def regularisation(self):
            return self.linear.weight.square().sum()

    _, free = train(Penalised, glyphs, Recipe(epochs=3), 0)
    _, bound = train(Penalised, glyphs, Recipe(epochs=3, regularisation=1.0), 0)
    assert bound.weights["linear.weight"].norm() < 0.8 * free.weights["linear.weight"].norm()


def test_adversarial_training_makes_a_convnet_harder_to_fool(glyphs):
    whole = load_dataset()
    accuracy = []
    for eps in (0.0, 0.1):
        model, _ = train(ConvNet, whole, Recipe(epochs=6, adversarial_eps=eps), 0)
        result = evaluate(model, eps=0.1, steps=10)
        accuracy.append(result.robust_accuracy)
    assert accuracy[1] > accuracy[0] + 0.1


def test_divergence_is_an_error(glyphs):
    class Explodes(ConvNet):
        def forward(self, x):
            return super().forward(x) * torch.inf

    with pytest.raises(VerificationError, match="training diverged: the loss is nan in epoch 1"):
        train(Explodes, glyphs, RECIPE, 0)


def test_weights_survive_their_file(glyphs):
    _, state = train(ConvNet, glyphs, RECIPE, 0)
    content = pack(state, PROVENANCE)
    again, provenance = unpack(content, "x")
    assert equal(again.weights, state.weights)
    assert (again.loss, again.epoch, again.moments) == (state.loss, 3, {})
    assert provenance == PROVENANCE
    assert pack(again, provenance) == content


@pytest.mark.parametrize("content", [b"", b"not a file", b"\x08\0\0\0\0\0\0\0{}      "])
def test_files_that_hold_no_weights(content):
    with pytest.raises(WeightsError, match=r"w\.safetensors holds no qbench weights"):
        unpack(content, "w.safetensors")


def test_weights_that_do_not_fit():
    model = nn.Linear(2, 2)
    good = {"weight": torch.zeros(2, 2), "bias": torch.zeros(2)}
    with pytest.raises(WeightsError, match="parameter 'bias' differs"):
        load_into(model, {"weight": good["weight"]}, "w")
    with pytest.raises(WeightsError, match="parameter 'weight' differs"):
        load_into(model, good | {"weight": torch.zeros(3, 2)}, "w")
    with pytest.raises(WeightsError, match="parameter 'bias' is not finite"):
        load_into(model, good | {"bias": torch.tensor([0, torch.nan])}, "w")


def job(root):
    return TrainingJob("convnet", 0, "glyphs", root)


def test_a_training_killed_between_epochs_goes_on(tmp_path):
    class KilledError(Exception):
        pass

    def kill(_job, state):
        if state.epoch == 2:
            raise KilledError

    with pytest.raises(KilledError):
        train_one(job(tmp_path), kill)
    epochs = []
    resumed = train_one(job(tmp_path), lambda _job, state: epochs.append(state.epoch))
    assert epochs == list(range(3, 21))
    # the zoo that ships was trained in one go, by the same recipe
    assert resumed == train_one(job(tmp_path / "other"))


def test_training_into_a_zoo_and_loading_from_it(tmp_path):
    done = []
    jobs = [job(tmp_path)]
    train_zoo(jobs, InProcess(), on_epoch=None, on_done=lambda job, _: done.append(job))
    train_zoo(jobs, InProcess(), on_epoch=None, on_done=lambda job, _: done.append(job))
    assert done == 2 * jobs
    assert sorted(p.name for p in tmp_path.glob("*.*")) == [
        "convnet-seed0.safetensors",
        "manifest.json",
    ]
    assert Zoo(tmp_path).seeds("convnet") == [0]
    model = load_model("convnet", seed=0, zoo=tmp_path)
    glyphs = load_dataset()
    accuracy = (model(glyphs.test.x).argmax(1) == glyphs.test.y).float().mean()
    assert accuracy >= 0.97


def test_a_changed_byte_in_a_zoo_is_named_by_its_hash(tmp_path):
    zoo = Zoo(tmp_path)
    zoo.add("m", 3, b"weights")
    assert zoo.read("m", 3) == b"weights"
    (tmp_path / "m-seed3.safetensors").write_bytes(b"Weights")
    pinned = json.loads((tmp_path / "manifest.json").read_text())["files"]["m-seed3.safetensors"]
    with pytest.raises(
        WeightsError, match=f"were changed: SHA-256 is .*, the manifest says {pinned}"
    ):
        zoo.read("m", 3)
    with pytest.raises(WeightsError, match="no weights of 'm' with seed 4"):
        zoo.read("m", 4)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match=r"manifest.json is damaged"):
        zoo.read("m", 3)


def test_the_shipped_zoo_holds_every_model_five_times():
    zoo = Zoo()
    for name in load_registry().all("model"):
        assert zoo.seeds(name) == [0, 1, 2, 3, 4]
        for seed in range(5):
            state, provenance = unpack(zoo.read(name, seed), name)
            spec = load_registry().get("model", name).spec
            assert (provenance.model, provenance.seed) == (name, seed)
            assert (provenance.revision, provenance.recipe) == (spec.revision, spec.recipe)
            assert provenance.dataset_sha256 == load_dataset().sha256
            assert state.epoch == spec.recipe.epochs == len(state.test_accuracy)


def test_a_shipped_entry_is_what_its_recipe_gives():
    state, provenance = unpack(Zoo().read("fourier-cert", 0), "fourier-cert")
    create = load_registry().get("model", "fourier-cert").create
    _, again = train(create, load_dataset(), provenance.recipe, 0)
    # Another processor may sum in another order; the course of the training is the same.
    assert again.loss == pytest.approx(state.loss, rel=1e-2)
    assert again.test_accuracy[-1] == pytest.approx(state.test_accuracy[-1], abs=0.01)
