"""Computes `noise_study.json` and redraws from it the tables and pictures of `docs/noise.md`.

Run from the project's root: `python studies/noise/noise_study.py`, with `--redraw` to compute
nothing.
Models, attacks and protocol are the leaderboard's; the conditions are the constants below.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from noise_report import pages
from numpy.typing import NDArray
from torch import Tensor, nn

import qbench
from qbench.circuits.circuit import Circuit, z_signs
from qbench.datasets.base import load_data
from qbench.engines.sampling import SampledEngine, draw_frequencies
from qbench.evaluation import crafting, scoring
from qbench.evaluation.provenance import packages
from qbench.interfaces import Engine
from qbench.protocols import load_protocol
from qbench.records.statistics import wilson_interval
from qbench.registry import load_registry
from qbench_engines.depolarising import DepolarisedEngine, LocallyDepolarisedEngine
from qbench_engines.noisy import NoisyAerEngine
from qbench_hardware.noise import Signal

Correct = NDArray[np.bool_]  # (passes, n): whether each pass reads each image correctly
Row = dict[str, Any]

RESULTS = Path(__file__).with_suffix(".json")
PROTOCOL = load_protocol("glyphs-linf-v1")
THREAT = PROTOCOL.threat_model(PROTOCOL.ranking_eps)
CIRCUITS = (
    *("reup", "reup-0.1", "reup-0.2", "reup-ep100", "reup-0.1-ep100", "reup-0.2-ep100"),
    *("amplitude", "reup-at", "reup-cert", "amplitude-at", "reup-hw4", "reup-hw8"),
)
CLASSICAL = ("convnet", "convnet-at", "fourier", "fourier-at")
SEEDS = (0, 1, 2)  # of models; everything but shots is studied on the first
SHOTS = (16, 64, 256, 1024, 4096, 16384)
PASSES = 100  # fresh draws, by which every image is scored
TRIES = 10
AVERAGED = 8  # passes that expectation over transformation averages
QUERIES = 500  # of Square on shots; half of the leaderboard's
SIGNALS = (0.5, 0.2, 0.1, 0.05, 0.02)
FEW = 4096  # shots of everything but the study of shots
DEVICE = "marrakesh"
# On the device: images, and factors on the noise. A circuit of 32 layers takes about a second.
DEVICES: Mapping[str, tuple[int, tuple[float, ...]]] = {
    "reup-hw4": (30, (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)),
    "reup-hw8": (30, (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)),
    "reup-0.2": (20, (0.0, 0.25, 0.5, 1.0, 2.0)),
    "amplitude": (20, (0.0, 0.25, 0.5, 1.0)),
}
LOCAL = (0.003, 0.01, 0.03, 0.1)  # probability of depolarising after each gate
SMALL = ("reup-hw4", "reup-hw8")  # few enough qubits for Square on a density matrix
DEVICE_QUERIES = 200


class Recorder:
    """An engine that keeps the last distributions it gave."""

    exact, differentiable = False, False

    def __init__(self, engine: Engine) -> None:
        self.engine, self.name = engine, engine.name

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Of the engine; kept in `last`."""
        self.last = self.engine.probabilities(circuit, angles, state)
        return self.last


def on(model: nn.Module, engine: Any) -> nn.Module:
    """The same model on another engine."""
    moved = copy.copy(model)
    moved.engine = engine
    return moved


def distributions(model: nn.Module, engine: Engine, x: Tensor) -> Tensor:
    """What the measured wires show of each image, (n, 2^m)."""
    recorder = Recorder(engine)
    scoring.predict(on(model, recorder), x)
    return recorder.last


def passes(shown: Tensor, y: Tensor, shots: int | None, seed: int) -> Correct:
    """Whether each pass over images with distributions `shown` (n, 2^m) is right.

    Args:
        shown: Exact distributions.
        y: Labels (n,).
        shots: Of a circuit and pass; None for one pass without shots.
        seed: Of the draws.
    """
    if shots is not None:
        many = shown.repeat(PASSES, 1)
        shown = draw_frequencies(many, shots, np.random.default_rng([seed, shots]))
    scores = shown.double() @ torch.from_numpy(z_signs(shown.shape[1].bit_length() - 1))
    return (scores.argmax(1).view(-1, len(y)) == y).numpy()


def worst(attacked: Mapping[str, Correct]) -> tuple[NDArray[Any], NDArray[Any]]:
    """How each image fares under the attack that is worst for it.

    The attack is chosen by one half of the passes and judged by the other, both ways round: to
    judge it by the draws that it was chosen for would count their luck as its strength.

    Returns:
        (n,) each: share of passes read correctly, and share of blocks of ten passes in a row that
        are all read correctly.
    """
    stacked = np.stack(list(attacked.values()))
    half = stacked.shape[1] // 2
    parts = (stacked[:, :half], stacked[:, half:]) if half else (stacked, stacked)
    once, always = [], []
    for choosing, judging in (parts, parts[::-1]):
        images = np.arange(stacked.shape[2])
        chosen = judging[choosing.mean(1).argmin(0), :, images]  # (n, passes)
        once.append(chosen.mean(1))
        blocks = chosen.reshape(len(images), -1, TRIES if half else 1)
        always.append(blocks.all(2).mean(1))
    return np.mean(once, 0), np.mean(always, 0)


def tried(clean: Correct) -> float:
    """Share of images that blocks of ten passes in a row all read correctly, without attack."""
    blocks = clean.reshape(-1, TRIES if len(clean) > 1 else 1, clean.shape[1])
    return round(float(blocks.all(1).mean()), 4)


def summary(clean: Correct, attacked: Mapping[str, Correct]) -> Row:
    """Accuracies; an image is robust in a pass that reads it correctly clean and attacked."""
    right = clean.mean(0)
    ideal = {name: found for name, found in attacked.items() if name.startswith("ideal")}
    once, always = worst(attacked)
    robust = {name: np.mean(right * found.mean(0)) for name, found in attacked.items()}
    low, high = wilson_interval(float((right * once).sum()), len(right))
    row = {
        "images": len(right),
        "clean": right.mean(),
        "clean_sd": clean.mean(1).std(),  # of one pass over the images
        "adversarial": once.mean(),
        "robust": {name: round(float(share), 4) for name, share in robust.items()},
        "ideal": np.mean(right * worst(ideal)[0]) if ideal else None,
        "worst": np.mean(right * once),
        "worst_low": low,
        "worst_high": high,
        "tries": np.mean(right * always),
    }
    return {
        key: round(float(v), 4) if isinstance(v, float | np.floating) else v
        for key, v in row.items()
    }


def attack(name: str, **params: Any) -> Any:
    """An attack with the protocol's parameters, but for those given."""
    known = PROTOCOL.attack_params(name, THREAT.eps)
    return load_registry().get("attack", name).create(**{**known, **params})


def attacked(name: str, model: nn.Module, x: Tensor, y: Tensor, **params: Any) -> Tensor:
    """Verified adversarial images."""
    return crafting.craft(attack(name, **params), model, x, y, THREAT, seed=0).x_adv


def on_the_ideal(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Images made on the exact circuit.

    Plain PGD, PGD on the margin, and the standard ensemble, which stops at a first success and so
    leaves images close to the boundary.
    """
    return {
        "ideal pgd": attacked("pgd", model, x, y),
        "ideal margin": attacked("pgd", model, x, y, loss="margin"),
        "ideal standard": attacked("standard", model, x, y),
    }


def on_the_samples(
    model: nn.Module, engine: Engine, x: Tensor, y: Tensor, shots: int | None
) -> dict[str, Tensor]:
    """Images made on what a noisy or sampled model shows.

    The mean of 8 passes of N shots is one pass of 8 N shots, gradient included: that is how
    expectation over transformation is computed here.
    """
    if shots is None:
        return {"square": attacked("square", model, x, y, queries=QUERIES)}
    sampled = [on(model, SampledEngine(engine, times * shots, 1)) for times in (1, AVERAGED)]
    return {
        "pgd": attacked("pgd", sampled[0], x, y),
        "pgd eot": attacked("pgd", sampled[1], x, y),
        "square": attacked("square", sampled[0], x, y, queries=QUERIES),
    }


def measured(
    model: nn.Module, engine: Engine, x: Tensor, y: Tensor, sets: Mapping[str, Tensor],
    shots: int | None,
) -> Row:  # fmt: skip
    """Clean images x and adversarial `sets` of them, as the engine shows them with N shots."""
    read = partial(passes, y=y, shots=shots)
    found = {name: read(distributions(model, engine, z), seed=1) for name, z in sets.items()}
    return {"shots": shots, **summary(read(distributions(model, engine, x), seed=0), found)}


def of_shots(
    model: nn.Module, x: Tensor, y: Tensor, ideal: Mapping[str, Tensor], signals: bool
) -> Iterator[Row]:
    """The exact circuit with every number of shots and, with `signals`, depolarised."""
    conditions: list[tuple[float, int | None]] = [(1.0, None), *((1.0, n) for n in SHOTS)]
    for signal, shots in conditions + [(s, FEW) for s in SIGNALS] * signals:
        engine = DepolarisedEngine(model.engine, signal) if signal < 1 else model.engine
        sets = {**ideal, **on_the_samples(model, engine, x, y, shots)}
        row = measured(model, engine, x, y, sets, shots)
        if signal < 1:
            yield {"part": "depolarised", "strength": signal, **row}
        else:
            clean = passes(distributions(model, engine, x), y, shots, seed=0)
            yield {"part": "shots", "strength": signal, "clean_tries": tried(clean), **row}


def of_engines(
    model: nn.Module, x: Tensor, y: Tensor, ideal: Mapping[str, Tensor],
    part: str, engines: Mapping[float, Engine], search: bool,
) -> Iterator[Row]:  # fmt: skip
    """Noisy engines by their strength, and what s is left."""
    exact = scoring.predict(model, x).double().numpy()
    for strength, engine in engines.items():
        noisy = distributions(model, engine, x).double().numpy()
        scores = noisy @ z_signs(noisy.shape[1].bit_length() - 1)
        signal = Signal.fitted(exact, scores)
        explained = float(np.corrcoef(exact.ravel(), scores.ravel())[0, 1] ** 2)
        for shots in (None, FEW):
            sets = dict(ideal)
            if search and shots:
                target = on(model, SampledEngine(engine, shots, 1))
                sets["square"] = attacked("square", target, x, y, queries=DEVICE_QUERIES)
            row = measured(model, engine, x, y, sets, shots)
            fit = {"signal": round(signal.scale, 4), "explained": round(explained, 4)}
            yield {"part": part, "strength": strength, **fit, **row}


def study(case: tuple[str, int]) -> list[Row]:
    """Every row of one trained model."""
    name, seed = case
    torch.set_num_threads(1)
    model = qbench.load_model(name, seed)
    images = PROTOCOL.selection.images(load_data(PROTOCOL.selection.dataset))
    x, y = images.x, images.y
    ideal = on_the_ideal(model, x, y)
    rows: list[Row] = []
    if name in CLASSICAL:
        sets = {**ideal, "square": attacked("square", model, x, y, queries=QUERIES)}
        right = {key: (scoring.predict(model, z).argmax(1) == y).numpy()[None]
                 for key, z in {"clean": x, **sets}.items()}  # fmt: skip
        rows = [{"part": "classical", "shots": None, **summary(right.pop("clean"), right)}]
    else:
        rows = list(of_shots(model, x, y, ideal, seed == SEEDS[0]))
    if seed == SEEDS[0] and name in DEVICES:
        count, factors = DEVICES[name]
        few = (model, x[:count], y[:count])
        # One set of images, the furthest beyond the boundary: circuits of 32 layers are dear.
        margins = [scoring.margins(scoring.predict(model, z), y) for z in ideal.values()]
        best = torch.stack(list(ideal.values()))[torch.stack(margins).argmin(0), range(len(y))]
        only = {"ideal best": best[:count]}
        scaled = {factor: NoisyAerEngine(DEVICE, factor) for factor in factors if factor}
        engines = {0.0: model.engine, **scaled}
        rows += of_engines(*few, only, "device", engines, name in SMALL)
        if name in SMALL:
            local = {p: LocallyDepolarisedEngine(p) for p in LOCAL}
            rows += of_engines(*few, only, "local", local, True)
            whole = {s: DepolarisedEngine(model.engine, s) for s in (1.0, *SIGNALS)}
            rows += of_engines(*few, only, "global", whole, False)
    return [{"model": name, "seed": seed, **row} for row in rows]


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def compute(jobs: int) -> Row:
    """Everything that the page says."""
    cases = [(name, seed) for name in (*CIRCUITS, *CLASSICAL) for seed in SEEDS]
    cases.sort(key=lambda case: case[1] != 0 or case[0] not in DEVICES)  # the longest first
    rows: list[Row] = []
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        for case, found in zip(cases, pool.map(study, cases), strict=True):
            print(f"{case[0]} seed {case[1]}: {len(found)} rows", file=sys.stderr, flush=True)
            rows += found
    order = [*CIRCUITS, *CLASSICAL]
    rows.sort(key=lambda row: (order.index(row["model"]), row["seed"]))
    return {"versions": packages(engines=True), "cpu_s": round(_cpu()), "rows": rows}


def written(data: Row) -> str:
    """The results as JSON, one row a line."""
    about = json.dumps({key: value for key, value in data.items() if key != "rows"})
    rows = ",\n".join(json.dumps(row, sort_keys=True) for row in data["rows"])
    return f'{about[:-1]}, "rows": [\n{rows}\n]}}\n'


def main() -> None:
    """Compute unless told not to, then redraw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redraw", action="store_true", help="draw from the results on file")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    options = parser.parse_args()
    if not options.redraw:
        RESULTS.write_text(written(compute(options.jobs)))
    for path, content in pages(json.loads(RESULTS.read_text())).items():
        path.write_bytes(content)
        print(f"wrote {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
