"""Training dynamics: what a checkpoint shows is what the attack, the scores and the bound say."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from scipy.stats import ttest_1samp

from qbench.datasets.base import load_data
from qbench.errors import UnknownNameError, WeightsError
from qbench.evaluation.crafting import craft
from qbench.protocols import load_protocol
from qbench.registry import load_registry
from qbench_reproduction import dynamics, kept, snapshots, trajectories
from qbench_reproduction.dynamics import draw, section_dynamics, steps
from qbench_reproduction.dynamics_figure import curves
from qbench_reproduction.snapshots import Dynamics, Moment, Snapshot, certifier, changes

IMAGES = 30


def silent(steps: int, label: str) -> None:
    pass


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return trajectories.run(
        tmp_path_factory.mktemp("checkpoints"),
        seeds=(0, 1),
        jobs=1,
        advance=silent,
        models=("convnet", "fourier"),
        epochs=(1, 3),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dynamics")


@pytest.fixture(scope="module")
def measured(found, folder):
    return dynamics.run(folder, found, jobs=1, advance=silent, images=IMAGES)


def right(model, x, y):
    with torch.no_grad():
        return (model(x).argmax(1) == y).numpy()


def test_a_snapshot_is_what_an_attack_does(found, measured):
    test, protocol, registry = (
        load_data("glyphs").test,
        load_protocol("glyphs-linf-v1"),
        load_registry(),
    )
    x, y = test.x[:IMAGES], test.y[:IMAGES]
    models = {name: found.training(name, 1).load(1) for name in found.models}
    attack = registry.get("attack", "pgd").create(**protocol.attack_params("pgd", 0.1))
    x_adv = craft(attack, models["fourier"], x, y, protocol.threat_model(0.1), 1).x_adv
    for name, model in models.items():
        both = right(model, x, y) & right(model, x_adv, y)
        assert measured.snapshots[name, 1, 1].under["fourier"] == both.mean()
        assert measured.snapshots[name, 1, 1].clean == right(model, x, y).mean()
    assert (
        measured.values("to convnet", "fourier")[1, 0]
        == (right(models["convnet"], x, y) & right(models["convnet"], x_adv, y)).mean()
    )
    # The share of energy, by numpy: frequencies of 16 pixels are multiples of 1/16 of a cycle.
    delta = (x_adv - x).double().numpy().reshape(-1, 16, 16)
    energy = np.abs(np.fft.fftshift(np.fft.fft2(delta), axes=(1, 2))) ** 2
    steps = np.arange(-8, 8)
    high = steps[:, None] ** 2 + steps**2 > 4**2
    share = (energy * high).sum((1, 2)) / energy.sum((1, 2))
    assert measured.values("high-frequencies", "fourier")[1, 0] == pytest.approx(share.mean())


def test_bounds_are_those_of_table_1(found, measured):
    network = found.training("convnet", 0).load(1)
    kernel = network.conv.weight.detach().double().numpy()
    # The convolution unrolled: a row an output, 6 · 12 · 12 of them.
    rows = np.zeros((6, 12, 12, 16, 16))
    for i in range(12):
        for j in range(12):
            rows[:, i, j, i : i + 5, j : j + 5] = kernel[:, 0]
    linear = network.linear.weight.detach().double().numpy()
    product = np.linalg.norm(rows.reshape(864, 256), 2) * np.linalg.norm(linear, 2)
    assert measured.values("bound", "convnet")[0, 0] == pytest.approx(product, rel=1e-5)
    names = {model: certifier(model).spec.name for model in trajectories.MODELS}
    assert names["reup-0.1"] == "circuit-bound"
    assert names["fourier"] == "lipsdp-neuron"
    with pytest.raises(UnknownNameError, match="furier"):
        certifier("furier")


def test_every_model_is_attacked_once_and_an_image_wrong_from_the_start_is_not_robust(
    found, tmp_path, monkeypatch
):
    test, calls = load_data("glyphs").test, []
    x, y = test.x[:IMAGES], test.y[:IMAGES]
    # In place of the attack, the image before of the same class: some become right by it.
    order = torch.arange(IMAGES)
    for label in y.unique():
        order[y == label] = order[y == label].roll(1)
    monkeypatch.setattr(snapshots, "attacked", lambda *a: calls.append(a) or x[order])
    moment = Moment(tmp_path / "one.json", found, 0, 1, IMAGES)
    answer = snapshots.measure(pickle.loads(pickle.dumps(moment)))  # as another process gets it
    assert len(calls) == len(found.models)
    correct = right(found.training("convnet", 0).load(1), x, y)
    both = correct & correct[order]
    assert answer["convnet"]["under"]["fourier"] == both.mean() < correct.mean()


def test_killed_it_goes_on_and_what_is_known_is_read(found, folder, measured, monkeypatch):
    (folder / "seed0-epoch3.json").unlink()
    path = folder / "seed1-epoch1.json"
    path.write_text(path.read_text()[:500])  # cut off
    path = folder / "seed1-epoch3.json"
    changed = json.loads(path.read_text())
    changed["answer"]["fourier"]["clean"] = 0.125  # by hand
    path.write_text(json.dumps(changed))
    begun = []
    real = snapshots.measure

    def stopping(moment):
        begun.append((moment.seed, moment.epoch))
        if len(begun) == 2:
            raise KeyboardInterrupt
        return real(moment)

    monkeypatch.setattr(dynamics, "measure", stopping)
    with pytest.raises(KeyboardInterrupt):
        dynamics.run(folder, found, jobs=1, advance=silent, images=IMAGES)
    told = []
    again = dynamics.run(
        folder, found, jobs=1, advance=lambda n, label: told.append((n, label)), images=IMAGES
    )
    assert begun == [(0, 3), (1, 1), (1, 1), (1, 3)]
    assert again.snapshots == measured.snapshots
    assert sum(n for n, _ in told) == steps(found) == 8
    assert told[0][1] == "seed 0, epoch 1: on record"


def test_other_weights_and_settings_are_measured_anew(found, folder, measured, tmp_path):
    moment = Moment(folder / "seed0-epoch1.json", found, 0, 1, IMAGES)
    assert kept.read(moment.path, moment.question()) is not None
    assert kept.read(moment.path, replace(moment, images=5).question()) is None
    other = trajectories.run(
        tmp_path, seeds=(0,), jobs=1, advance=silent, models=found.models, epochs=(1,)
    )
    moved = other.training("fourier", 0)
    state = moved.state(1)
    assert kept.read(moment.path, replace(moment, found=other).question()) is not None
    state.weights["sine.weight"][0, 0] += 1e-6
    moved.path(1).write_bytes(trajectories.pack(state, moved.provenance(1)))
    assert kept.read(moment.path, replace(moment, found=other).question()) is None
    moved.path(1).unlink()
    with pytest.raises(WeightsError, match="no checkpoint of fourier seed 0 epoch 1"):
        dynamics.run(folder, other, jobs=1, advance=silent, images=IMAGES)


def invented(robust):
    """Dynamics of one model and the base: robust accuracy by seed and epoch as given."""
    snapshots = {}
    for (seed, place), value in np.ndenumerate(np.array(robust)):
        epoch = (20, 100)[place]
        for name in ("reup", "fourier"):
            under = {"reup": value, "fourier": 0.5}
            snapshots[name, seed, epoch] = Snapshot(
                1.0, under, 7.0, "score", dict.fromkeys(("high-frequencies",), 0.3)
            )
    seeds = tuple(range(len(robust)))
    return Dynamics(("reup", "fourier"), seeds, (20, 100), IMAGES, snapshots)


def test_changes_are_paired_by_seed():
    robust = [[0.5, 0.4], [0.7, 0.62], [0.3, 0.18]]
    mean, half = changes(invented(robust), "robust", "reup", (20, 100))
    difference = np.diff(robust, axis=1)[:, 0]
    low, high = ttest_1samp(difference, 0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((low, high))
    assert changes(invented(robust[:1]), "robust", "reup", (20, 100)) == (pytest.approx(-0.1), None)


def test_the_page_says_what_changes():
    falling = [[0.5, 0.4], [0.7, 0.62], [0.3, 0.18]]
    assert "- Robust accuracy falls for reup (-0.10)" in section_dynamics(invented(falling))
    rising = [pair[::-1] for pair in falling]
    assert "- Robust accuracy rises for reup (+0.10)" in section_dynamics(invented(rising))
    mixed = [[0.5, 0.4], [0.6, 0.7], [0.3, 0.3]]
    assert "- Robust accuracy is undecided for reup" in section_dynamics(invented(mixed))
    cells = [cell.strip() for cell in section_dynamics(invented(falling)).split("|")]
    place = cells.index("robust accuracy")
    assert cells[place + 1 : place + 4] == ["reup", "0.50 ± 0.20", "0.40 ± 0.22"]


def test_curves_are_means_over_seeds(measured, tmp_path):
    figure = curves(measured)
    lines = {line.get_label(): line for line in figure.axes[1].lines}
    for name in measured.models:
        assert lines[name].get_ydata() == pytest.approx(measured.values("robust", name).mean(0))
    assert figure.axes[1].get_xticks().tolist() == [1, 3]
    assert len({to_hex(line.get_color()) for line in lines.values()}) == 2
    assert len({line.get_marker() for line in lines.values()}) == 2
    # Images made for the base model are its own attack: there is no line of it.
    assert [line.get_label() for line in figure.axes[4].lines] == ["convnet"]
    assert draw(measured, tmp_path) == ["dynamics.png"]
    assert (tmp_path / "dynamics.pdf").read_bytes().startswith(b"%PDF")
