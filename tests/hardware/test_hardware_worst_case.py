"""The worst case of what was counted once, and a vendor written as the page on hardware does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qbench.circuits.circuit import Circuit
from qbench.circuits.torch_engine import TorchEngine, expectations
from qbench_hardware.worst import dealt, half_margins, worst_case

PAGE = Path(__file__).parents[2] / "docs" / "hardware.md"


class Two(nn.Module):
    """Two classes, whose scores are ⟨Z⟩ of two wires."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = TorchEngine()
        self.circuit = Circuit(2, 1, (0, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angles = torch.zeros(len(x), *self.circuit.angles_shape)
        return expectations(self.engine.probabilities(self.circuit, angles))


def _counts(rng, share: float, images: int, shots: int) -> np.ndarray:
    """Outcomes 01, which say class 0, with a probability, and else 10, which say class 1."""
    ones = rng.binomial(shots, share, images)
    zero = np.zeros(images, np.int64)
    return np.stack([zero, ones, shots - ones, zero], 1)


def _halves(counts: np.ndarray, seed: int) -> np.ndarray:
    x, y = torch.zeros(len(counts), 4), torch.zeros(len(counts), dtype=torch.long)
    return half_margins(Two(), x, y, counts, None, seed)


def test_counts_are_dealt_into_halves_at_random():
    counts = _counts(np.random.default_rng(0), 0.7, 50, 101)
    first, second = dealt(counts, np.random.default_rng(1))
    assert (first + second == counts).all()
    assert set(first.sum(1)) == {50}
    share = first[:, 1].sum() / first.sum()
    assert share == pytest.approx(counts[:, 1].sum() / counts.sum(), abs=0.02)
    single = _counts(np.random.default_rng(0), 0.7, 5, 1)
    assert all((half == single).all() for half in dealt(single, np.random.default_rng(1)))


def test_luck_is_not_counted_as_an_attacks_strength():
    """Ten attacks that all do the same: each image is read correctly with the same probability
    under every one, and the smallest of ten draws says that it hardly ever is."""
    rng, images, shots = np.random.default_rng(0), 4000, 22
    clean = _halves(_counts(rng, 1.0, images, shots), 0)
    attacks = [_counts(rng, 0.6, images, shots) for _ in range(10)]
    halves = [_halves(counts, seed) for seed, counts in enumerate(attacks, 1)]
    found = worst_case(clean, halves)
    draws = np.random.default_rng(5).binomial(11, 0.6, 200_000)
    expected = float((draws > 5.5).mean())  # of a half of the shots
    assert found == pytest.approx(expected, abs=0.02)
    naive = np.min([one[:, 1] > one[:, 2] for one in attacks], axis=0).mean()
    assert naive < expected - 0.5


def test_a_stronger_attack_is_the_worst_case_and_clean_mistakes_count():
    rng, images, shots = np.random.default_rng(0), 1000, 400
    clean = _counts(rng, 0.9, images, shots)
    clean[:100] = clean[:100][:, [0, 2, 1, 3]]  # read as the other class
    weak, strong = (_counts(rng, share, images, shots) for share in (0.9, 0.9))
    strong[500:] = strong[500:][:, [0, 2, 1, 3]]
    found = worst_case(_halves(clean, 0), [_halves(weak, 1), _halves(strong, 2)])
    assert found == 0.4


@pytest.mark.slow
def test_the_documented_vendor_is_a_whole_one(hardware, tmp_path):
    """The page's engine takes the way of every other, and counts what the exact circuit says."""
    pytest.importorskip("pennylane")
    (code,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text(), re.S)
    Path("mixed.py").write_text(code)
    hardware(
        *("run", "--plugin", "mixed.py", "--model", "small", "--engine", "mixed:line"),
        *("--shots", "2000", "--limit", "3", "--readout", "--out", "run"),
    )
    report = json.loads(Path("run/hardware/report.json").read_text())
    assert report["engine"] == "mixed:line"
    assert 0.8 < report["signal"]["raw"]["scale"] < 1  # two layers, 1 % a qubit and layer
    assert report["readout_error"] == 0
    hardware(
        *("run", "--plugin", "mixed.py", "--model", "small-amplitude", "--engine", "mixed:line"),
        *("--shots", "2000", "--limit", "2", "--out", "other"),
    )
    other = json.loads(Path("other/hardware/report.json").read_text())
    assert 0.8 < other["signal"]["raw"]["scale"] < 1.1
