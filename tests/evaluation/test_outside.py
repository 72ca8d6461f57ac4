"""Final predictions: made elsewhere, of a model that nobody asked before."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import qbench
from qbench.errors import VerificationError
from qbench.evaluation import answering, outside, scoring
from qbench.evaluation.isolation import TimeoutExceededError, time_limit
from qbench.evaluation.outside import SavedModel
from qbench.plugin_files import PluginFile
from qbench.registry import load_registry
from qbench.weights.files import Provenance, TrainingState, pack
from qbench.weights.zoo import Zoo

ODD = """
import os, sys, time
import torch
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

CALLS = []

@hookimpl
def qbench_models():
    for kind in ("counts", "exits", "raises", "nan", "hangs", "shape", "looks", "ties"):
        yield ModelSpec(name=f"odd-{kind}", description="", factory=f"{__name__}:Odd",
                        params={"kind": kind}, family="classical", structure="odd")
    CALLS.append("hook")

class Odd(torch.nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.calls = kind, 0

    def forward(self, x):
        self.calls += 1
        CALLS.append("call")
        z = torch.stack([x.sum(1), -x.sum(1)], 1)
        if self.kind == "counts":
            return z + 100 * (self.calls > len(x) * 3) + 1000 * (len(CALLS) > 5)
        if self.kind == "exits" and x[0, 0] != 0.5:
            os._exit(3)
        if self.kind == "raises":
            raise ValueError("no \\x1b[31m way")
        if self.kind == "nan":
            return z * float("nan")
        if self.kind == "hangs" and x[0, 0] != 0.5:
            time.sleep(1000)
        if self.kind == "shape":
            return z[:, 0]
        if self.kind == "ties":
            return 0 * z
        if self.kind == "looks":
            hooked = "hook" in CALLS
            return z + 100 * hooked
        return z
"""


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    path = tmp_path_factory.mktemp("odd") / "outside_odd.py"
    path.write_text(ODD)
    file = PluginFile.read(path)
    registry = load_registry((file,))

    def saved(kind):
        spec = registry.get("model", f"odd-{kind}").spec
        about = Provenance(spec.name, 1, 0, "glyphs", "0" * 64, spec.recipe)
        return SavedModel(spec, pack(TrainingState(), about), file)

    return saved


@pytest.fixture(scope="module")
def x():
    return torch.rand(6, 256, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["convnet", "reup-hw4"])
@pytest.mark.parametrize("singly", [True, False])
def test_they_are_the_saved_models(name, singly, x):
    saved = SavedModel(load_registry().get("model", name).spec, Zoo().read(name, 1))
    here = scoring.predict(qbench.load_model(name, seed=1), x).double()
    for seed in (0, 1):  # whatever the order
        found = saved.predictions(x, seed=seed, repeats=2, singly=singly)
        assert found.shape == (2, 6, 4)
        torch.testing.assert_close(found, here.expand(2, -1, -1), rtol=0, atol=1e-5)


def test_gradients_are_the_saved_models(x):
    saved = SavedModel(load_registry().get("model", "fourier").spec, Zoo().read("fourier", 0))
    upstream = torch.rand(6, 4, generator=torch.Generator().manual_seed(1))
    leaf = x.clone().requires_grad_()
    (qbench.load_model("fourier")(leaf) * upstream).sum().backward()
    scores, found = saved.differentiated(x, upstream, seed=0)
    torch.testing.assert_close(found.float(), leaf.grad, rtol=1e-4, atol=1e-5)
    assert torch.equal(scores, saved.predictions(x, seed=0)[0])


def test_a_tie_is_right_only_of_scores_that_vary(odd, x):
    y = torch.zeros(len(x), dtype=torch.long)  # the class that comes first
    tied = odd("ties")
    assert not tied.right(x, y, seed=0).any()
    assert replace(tied, spec=replace(tied.spec, stochastic=True)).right(x, y, seed=0).all()


def test_a_model_was_never_asked_before(odd, x):
    """Neither by an earlier request nor in this process, whose plugin module it does not share."""
    saved, expected = odd("counts"), torch.stack([x.sum(1), -x.sum(1)], 1).double()
    for _ in range(3):
        found = saved.predictions(x[:3], seed=0)[0]
        torch.testing.assert_close(found, expected[:3], rtol=0, atol=1e-3)


def test_no_hook_of_the_plugin_is_called(odd, x):
    found = odd("looks").predictions(x, seed=0)[0]
    torch.testing.assert_close(found[:, 0], x.sum(1).double(), rtol=0, atol=1e-3)


def test_what_is_replaced_here_changes_nothing_there(odd, x, monkeypatch):
    expected = odd("looks").predictions(x, seed=0)
    monkeypatch.setattr(scoring, "predict", lambda *_: torch.full((6, 2), 7.0))
    monkeypatch.setattr(answering, "predict_parts", lambda *_: torch.full((6, 2), 7.0))
    assert torch.equal(odd("looks").predictions(x, seed=0), expected)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("exits", "the model ended the process that asked it"),
        ("raises", "ValueError: no .31m way"),
        ("nan", "the scores of image 0"),
        ("shape", "a model must give scores"),
    ],
)
def test_a_model_that_fails_is_named_and_the_next_request_works(odd, x, kind, reason):
    with pytest.raises(VerificationError, match=reason):
        odd(kind).predictions(x, seed=0)
    assert odd("looks").predictions(x, seed=0).shape == (1, 6, 2)


def test_a_model_that_never_ends_is_stopped(odd, x):
    started = time.monotonic()
    with pytest.raises(TimeoutExceededError), time_limit(1.5):
        odd("hangs").predictions(x, seed=0)
    assert time.monotonic() - started < 30
    assert odd("looks").predictions(x, seed=0).shape == (1, 6, 2)


def test_answers_that_are_no_scores_are_refused():
    with pytest.raises(VerificationError, match="no scores"):
        outside._checked([b"{}", b""], 1, 3)
    with pytest.raises(VerificationError, match="no scores"):
        outside._checked([b'{"width": 2}', bytes(8)], 1, 3)
    with pytest.raises(VerificationError, match="so it is"):
        outside._checked([b'{"error": "so\\nit is"}', b""], 1, 3)


ASK = """
import os, sys, torch
from qbench.evaluation import outside
if sys.argv[1] == "fork":
    outside.start_by_forking()
from qbench.registry import load_registry
from qbench.weights.zoo import Zoo
saved = outside.SavedModel(load_registry().get("model", "fourier").spec, Zoo().read("fourier", 0))
print(saved.predictions(torch.full((2, 256), 0.5), seed=0).sum().item())
print(os.getpid())
sys.stdout.flush()
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("fork", "killed"),
        ("afresh", "ends"),
        pytest.param("fork", "ends", marks=pytest.mark.slow),
        pytest.param("afresh", "killed", marks=pytest.mark.slow),
    ],
)
def test_no_process_is_left_behind(start, end):
    mark = f"qbench-left-{start}-{end}-{os.getpid()}"
    done = subprocess.run(
        [sys.executable, "-c", ASK, start, end],
        env={**os.environ, "LEFT_BEHIND": mark, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert len(done.stdout.split()) == 2, done.stderr
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _running(mark):
        time.sleep(0.2)
    assert _running(mark) == []


def _running(mark):
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            continue
    return found
