"""Checkpoints along trainings: the trainings are the zoo's, and a killed one goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from qbench.datasets.base import load_data
from qbench.errors import UnknownNameError, UsageError, WeightsError
from qbench.evaluation.training import train
from qbench.specs import Recipe
from qbench.weights.files import fingerprint, pack, unpack
from qbench.weights.zoo import Zoo
from qbench_classical.models import ConvNet, Fourier
from qbench_reproduction import trajectories
from qbench_reproduction.trajectories import Training, agreement, run, section_trajectories, steps


def silent(steps: int, label: str) -> None:
    pass


def trained(folder, models=("fourier",), seeds=(0,), epochs=(1, 2), jobs=1, advance=silent):
    return run(folder, seeds=seeds, jobs=jobs, advance=advance, models=models, epochs=epochs)


def test_checkpoints_are_those_of_the_trainer(tmp_path):
    told = []
    found = trained(tmp_path, seeds=(3,), advance=lambda n, label: told.append(n))
    assert sum(told) == steps((3,), ("fourier",), (1, 2)) == 2
    for epoch in (1, 2):
        _, state = train(Fourier, load_data("glyphs"), Recipe(epochs=epoch), 3)
        model = found.training("fourier", 3).load(epoch)
        assert fingerprint(model.state_dict()) == fingerprint(state.weights)


def test_epoch_20_is_the_zoos(tmp_path):
    # As the zoo's weights were made on another machine, the last bits may differ.
    compared = agreement(trained(tmp_path, epochs=(5, 20)))
    assert [(one.zoo, one.seed, one.epoch) for one in compared] == [("fourier", 0, 20)]
    assert compared[0].equal == (compared[0].largest == 0)
    assert compared[0].largest < 1e-4


def test_weights_that_differ_are_said_to(tmp_path):
    found, zoo = trained(tmp_path / "ours"), Zoo(tmp_path / "zoo")
    ours = found.training("fourier", 0)
    state = ours.state(2)
    zoo.add("fourier", 0, pack(state, ours.provenance(2)))
    assert agreement(found, zoo) == []  # the zoo's has 20 epochs
    found = replace(found, epochs=(1, 20))
    ours.path(20).write_bytes(pack(replace(state, epoch=20), ours.provenance(20)))
    assert [(one.equal, one.largest) for one in agreement(found, zoo)] == [(True, 0.0)]
    moved = {name: value.clone() for name, value in state.weights.items()}
    moved["sine.weight"][0, 0] += 0.25
    zoo.add("fourier", 0, pack(replace(state, weights=moved), ours.provenance(2)))
    (one,) = agreement(found, zoo)
    assert not one.equal
    assert one.largest == pytest.approx(0.25)


def test_a_killed_training_goes_on_from_its_last_checkpoint(tmp_path, monkeypatch):
    whole = trained(tmp_path / "whole", epochs=(1, 2, 3)).training("fourier", 0)

    def killed(path, content):
        if path.name.endswith("epoch3.safetensors"):
            raise KeyboardInterrupt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr(trajectories, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "half", epochs=(1, 2, 3))
    half = Training(tmp_path / "half", "fourier", 0, (1, 2, 3))
    assert half.last().epoch == 2
    seen = []
    monkeypatch.setattr(
        trajectories,
        "train",
        lambda *args, state, **kw: seen.append(state.epoch) or train(*args, state=state, **kw),
    )
    trained(tmp_path / "half", epochs=(1, 2, 3))
    assert seen == [2]
    assert half.path(3).read_bytes() == whole.path(3).read_bytes()
    trained(tmp_path / "half", epochs=(1, 2, 3))
    assert seen == [2]  # nothing is trained twice


def test_checkpoints_of_another_training_are_replaced(tmp_path):
    wanted = trained(tmp_path).training("fourier", 0)
    right = wanted.path(1).read_bytes()
    state, about = unpack(right, "right")
    wanted.path(1).write_bytes(pack(state, replace(about, seed=1), resumable=True))
    assert wanted.state(1) is None
    trained(tmp_path)
    assert wanted.path(1).read_bytes() == right


def test_processes_train_the_same(tmp_path):
    one = trained(tmp_path / "one", seeds=(0, 1))
    two = trained(tmp_path / "two", seeds=(0, 1), jobs=2)
    for seed in (0, 1):
        paths = [found.training("fourier", seed).path(2) for found in (one, two)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_bad_input_is_one_line(tmp_path):
    with pytest.raises(UsageError, match="ascending"):
        trained(tmp_path, epochs=(2, 1))
    with pytest.raises(UnknownNameError, match="fourrier"):
        trained(tmp_path, models=("fourrier",))
    one = trained(tmp_path).training("fourier", 0)
    with pytest.raises(WeightsError, match="train first"):
        one.load(5)
    one.path(1).write_bytes(one.path(1).read_bytes()[:1000])
    with pytest.raises(WeightsError, match="fourier-seed0-epoch1"):
        trained(tmp_path)


def test_the_page_has_the_accuracies(tmp_path):
    found = trained(tmp_path, models=("convnet", "fourier"))
    text = section_trajectories(found)
    _, state = train(ConvNet, load_data("glyphs"), Recipe(epochs=2), 0)
    assert f"| convnet | {state.test_accuracy[0]:.3f} | {state.test_accuracy[1]:.3f} |" in " ".join(
        text.split()
    )


def test_models_of_the_zoo_are_found_by_their_recipe():
    named = {(m, e): trajectories._published(m, e) for m in trajectories.MODELS for e in (20, 100)}
    assert named["reup-0.1", 20] == "reup-0.1"
    assert named["reup-0.1", 100] == "reup-0.1-ep100"
    assert named["fourier", 100] == "fourier-ep100"
    assert named["amplitude", 100] is None
