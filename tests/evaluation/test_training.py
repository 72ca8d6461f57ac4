import json
import time
from dataclasses import replace

import pytest
import torch
from small_runs import run
from torch import nn

from qbench.api import evaluate, load_dataset, load_model
from qbench.datasets.base import Dataset, Split, load_data
from qbench.errors import PluginError, VerificationError, WeightsError
from qbench.evaluation.executors import InProcess
from qbench.evaluation.provenance import card_of
from qbench.evaluation.selection import RunSelection
from qbench.evaluation.training import train, train_provided
from qbench.evaluation.zoo_training import TrainingJob, train_one, train_zoo
from qbench.plugin_files import PluginFile
from qbench.provided import Provided
from qbench.records.record import Card
from qbench.records.store import RunStore
from qbench.registry import load_registry
from qbench.specs import Recipe
from qbench.weights.files import Provenance, TrainingState, load_into, pack, unpack
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


@pytest.mark.parametrize(
    "defence",
    [{"adversarial_eps": 0.1, "trades": 6.0, "adversarial_steps": 2}, {"gradient_penalty": 3.0}],
    ids=["trades", "gradient penalty"],
)
def test_defences_make_a_linear_model_harder_to_fool(defence):
    whole, accuracy = load_dataset(), []
    for recipe in (Recipe(epochs=8), Recipe(epochs=8, **defence)):
        model, _ = train(lambda: nn.Linear(256, 4), whole, recipe, 0)
        result = evaluate(model, eps=0.1, steps=3)
        accuracy.append(result.robust_accuracy)
    assert accuracy[1] > accuracy[0] + 0.1


class Noisy(nn.Linear):
    """Scores with noise of torch's generator."""

    def __init__(self) -> None:
        super().__init__(256, 4)

    def forward(self, x):
        return super().forward(x + 0.1 * torch.randn(x.shape))


def test_what_a_model_draws_itself_is_the_same_for_a_seed_and_after_an_interruption(glyphs):
    kept, recipe = [], Recipe(epochs=3, adversarial_eps=0.1, adversarial_warmup=3, trades=1.0)
    torch.manual_seed(1)
    train(Noisy, glyphs, recipe, 0, after_epoch=kept.append)
    torch.manual_seed(2)
    _, resumed = train(Noisy, glyphs, recipe, 0, state=kept[0])
    assert equal(resumed.weights, kept[-1].weights)
    assert (resumed.loss, resumed.test_accuracy) == (kept[-1].loss, kept[-1].test_accuracy)
    before = torch.get_rng_state()
    train(Noisy, glyphs, Recipe(epochs=1), 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_warm_up_begins_with_a_smaller_budget(glyphs):
    whole = Recipe(epochs=4, adversarial_eps=0.2, adversarial_steps=2)
    losses = [train(ConvNet, glyphs, r, 0)[1].loss for r in (
        whole, replace(whole, adversarial_warmup=4), replace(whole, adversarial_eps=0.05),
    )]  # fmt: skip
    assert losses[2][0] == losses[1][0] < losses[0][0]  # a quarter of the budget


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


@pytest.mark.parametrize(
    ("recipe", "reference"),
    [
        (Recipe(optimizer="sgd", momentum=0.9, weight_decay=0.01), torch.optim.SGD),
        (Recipe(optimizer="sgd"), torch.optim.SGD),
        (Recipe(optimizer="adamw", weight_decay=0.1), torch.optim.AdamW),
        (Recipe(optimizer="rmsprop", momentum=0.5), torch.optim.RMSprop),
        (Recipe(weight_decay=0.1), torch.optim.Adam),
    ],
    ids=["sgd with momentum", "sgd", "adamw", "rmsprop", "adam"],
)
def test_optimisers_are_those_of_torch(glyphs, recipe, reference):
    recipe = replace(recipe, epochs=2, learning_rate=0.01)
    _, state = train(lambda: nn.Linear(256, 4), glyphs, recipe, 0)
    torch.manual_seed(0)
    model = nn.Linear(256, 4)
    settings = {"weight_decay": recipe.weight_decay}
    if recipe.optimizer in ("sgd", "rmsprop"):
        settings["momentum"] = recipe.momentum
    optimizer = reference(model.parameters(), lr=0.01, **settings)
    for epoch in range(2):
        order = torch.randperm(200, generator=torch.Generator().manual_seed(epoch))
        for batch in order.split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(glyphs.train.x[batch]), glyphs.train.y[batch])
            loss.backward()
            optimizer.step()
    assert equal(state.weights, model.state_dict())


@pytest.mark.parametrize(
    "recipe", [Recipe(epochs=3, optimizer="sgd", momentum=0.9), Recipe(epochs=3, optimizer="sgd")]
)
def test_interrupted_training_goes_on_with_any_optimiser(glyphs, recipe):
    kept = []
    train(ConvNet, glyphs, recipe, 0, after_epoch=kept.append)
    state, about = unpack(pack(kept[0], replace(PROVENANCE, recipe=recipe), resumable=True), "x")
    assert about.recipe == recipe
    _, resumed = train(ConvNet, glyphs, recipe, 0, state=state)
    assert equal(resumed.weights, kept[-1].weights)


def test_what_a_recipe_need_not_say_is_not_written_down():
    for name in ("optimizer", "trades", "adversarial_warmup", "gradient_penalty"):
        assert name.encode() not in pack(TrainingState(), PROVENANCE)
        assert name not in card(Recipe()).model_dump(mode="json")["recipe"]
    defended = Recipe(adversarial_eps=0.1, trades=6.0, adversarial_warmup=5, gradient_penalty=1.0)
    assert unpack(pack(TrainingState(), replace(PROVENANCE, recipe=defended)), "x")[1] == replace(
        PROVENANCE, recipe=defended
    )
    assert Card.model_validate(card(defended).model_dump(mode="json")) == card(defended)
    other = Recipe(optimizer="sgd", momentum=0.5)
    assert card(other).model_dump(mode="json")["recipe"]["momentum"] == 0.5
    assert Card.model_validate(card(other).model_dump(mode="json")) == card(other)


def card(recipe):
    spec = replace(load_registry().get("model", "convnet").spec, recipe=recipe)
    return card_of(Provided(spec, "p", "1"), 3)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"momentum": 0.9}, "adam takes no momentum"),
        ({"epochs": -1}, "epochs is -1: give at least 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"learning_rate": -0.1}, "learning_rate is -0.1: give a number of at least 0"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"trades": 6.0}, "trades attacks the training images: give adversarial_eps too"),
        ({"adversarial_warmup": 5}, "adversarial_warmup attacks the training images"),
        ({"adversarial_eps": 0.1, "adversarial_warmup": -1}, "adversarial_warmup is -1"),
        ({"adversarial_eps": 0.1, "trades": float("nan")}, "trades is nan"),
        ({"gradient_penalty": -1.0}, "gradient_penalty is -1.0: give a number of at least 0"),
    ],
)
def test_recipes_that_make_no_sense(fields, reason):
    with pytest.raises(ValueError, match=reason):
        Recipe(**fields)


class NoParameters(nn.Module):
    """The mean of four groups of pixels."""

    def forward(self, x):
        return x.view(-1, 4, 64).mean(2)


@pytest.mark.parametrize(
    ("build", "recipe"),
    [
        (ConvNet, Recipe(epochs=0)),
        (NoParameters, Recipe(epochs=3)),
        (NoParameters, Recipe(epochs=0)),
    ],
)
def test_what_is_not_trained_stays_as_it_is_made(glyphs, build, recipe):
    model, state = train(build, glyphs, recipe, 5)
    torch.manual_seed(5)
    assert equal(state.weights, build().state_dict())
    assert (state.epoch, state.loss, state.test_accuracy) == (0, [], [])
    again, _ = unpack(pack(state, PROVENANCE), "x")
    assert equal(again.weights, model.state_dict())


OWN = """
import time
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

def spec(name, **about):
    return ModelSpec(name=name, description="", factory=f"{__name__}:Linear", family="classical",
                     structure="s", **about)

@hookimpl
def qbench_models():
    for name in ("means", "random", "returns", "breaks", "widens", "nan", "spoils"):
        yield spec(name, train=f"{__name__}:{name}")
    yield spec("nowhere", train=f"{__name__}:not_there")
    yield spec("as-made", recipe=Recipe(epochs=0))
    yield ModelSpec(name="no-parameters", description="", factory=f"{__name__}:NoParameters",
                    family="classical", structure="s")
    yield ModelSpec(name="hangs", description="", factory=f"{__name__}:Hangs", family="classical",
                    structure="s")

class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)

class NoParameters(torch.nn.Module):
    def forward(self, x):
        return x.view(-1, 4, 64).mean(2)

class Hangs(Linear):
    def forward(self, x):
        time.sleep(1000)

def means(model, dataset, seed):
    x, y = dataset.train.x, dataset.train.y
    means = torch.stack([x[y == k].mean(0) for k in range(4)])
    with torch.no_grad():
        model.weight.copy_(means)
        model.bias.copy_(-means.square().sum(1) / 2)

def random(model, dataset, seed):
    with torch.no_grad():
        model.weight.add_(torch.randn(4, 256) + seed)

def returns(model, dataset, seed):
    return model

def breaks(model, dataset, seed):
    raise KeyError("lr")

def widens(model, dataset, seed):
    model.more = torch.nn.Linear(2, 2)

def nan(model, dataset, seed):
    with torch.no_grad():
        model.bias.fill_(torch.nan)

def spoils(model, dataset, seed):
    dataset.train.x.zero_()
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own_training.py"
    path.write_text(OWN)
    return PluginFile.read(path)


def trained(own, name, seed=0):
    provided = load_registry((own,)).get("model", name)
    return train_provided(provided, load_data("glyphs"), seed)


def test_a_model_is_trained_by_its_own_function(own):
    _, state = trained(own, "means")
    glyphs = load_data("glyphs")
    expected = torch.stack([glyphs.train.x[glyphs.train.y == k].mean(0) for k in range(4)])
    torch.testing.assert_close(state.weights["weight"], expected)


def test_a_training_of_ones_own_is_seeded(own):
    torch.manual_seed(1)
    _, first = trained(own, "random", 3)
    _, again = trained(own, "random", 3)
    _, other = trained(own, "random", 4)
    assert equal(first.weights, again.weights)
    assert not equal(first.weights, other.weights)
    torch.manual_seed(3)
    expected = nn.Linear(256, 4).weight.detach() + torch.randn(4, 256) + 3
    torch.testing.assert_close(first.weights["weight"], expected)


@pytest.mark.parametrize(
    ("name", "error", "reason"),
    [
        ("returns", PluginError, "returned a Linear: it must train the model in place"),
        ("breaks", PluginError, "which trains 'breaks', failed: KeyError: 'lr'"),
        ("nowhere", PluginError, "failed: AttributeError: .*not_there"),
        ("widens", VerificationError, "changed which parameters there are: 'more.bias'"),
        ("nan", VerificationError, "left 'bias' with values that are not finite"),
    ],
)
def test_own_trainings_that_go_wrong(own, name, error, reason):
    with pytest.raises(error, match=reason):
        trained(own, name)


def test_a_training_of_ones_own_cannot_change_the_data(own):
    before = load_data("glyphs").train.x.clone()
    trained(own, "spoils")
    assert torch.equal(load_data("glyphs").train.x, before)


def test_weights_and_a_training_of_ones_own_exclude_each_other():
    about = load_registry().get("model", "convnet").spec
    with pytest.raises(ValueError, match="give weights or train, not both"):
        replace(about, weights="a", train="b:c")


def small_run(own, folder, *models, limit_s=600.0):
    selection = RunSelection(
        models=models, certifiers=(), seeds=(0,), eps=(0.1,), limit=6, time_limit_s=limit_s,
        plugins=(own,),
    )  # fmt: skip
    _, records = run(selection, folder)
    return {(r.task.model.name, r.task.kind): (r.status, r.reason) for r in records}


def test_models_that_no_recipe_trains_in_a_run(own, tmp_path):
    status = small_run(own, tmp_path, "means", "as-made", "no-parameters")
    assert {one for one, _ in status.values()} == {"done"}
    cards = RunStore(tmp_path).results().cards
    assert cards["means"].tuning == "trained by its own own_training:means"
    assert cards["means"].recipe.epochs == cards["as-made"].recipe.epochs == 0
    assert cards["no-parameters"].parameters == 0


def test_a_pass_that_never_ends_is_stopped_in_training(own, tmp_path):
    started = time.perf_counter()
    status = small_run(own, tmp_path, "hangs", limit_s=2.0)
    reason = "TimeoutExceededError: took longer than its time limit (--time-limit)"
    assert status.pop(("hangs", "training")) == ("failed", reason)
    assert {one for one, _ in status.values()} == {"skipped"}
    assert time.perf_counter() - started < 60


def test_qbench_train_has_a_time_limit(own, qbench_cli):
    asked = ("train", "--plugin", own.path, "--models", "hangs", "--seeds", "0", "--jobs", "1")
    result = qbench_cli(*asked, "--time-limit", "1")
    assert result.returncode == 2
    assert "hangs seed 0: took longer than its time limit (--time-limit)" in result.stderr
