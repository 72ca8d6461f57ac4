"""Final predictions, made in a process of their own from saved weights and saved images.

A model that an attack has seen, or that was asked before, may know more than an image: it may have
counted calls, kept images, looked at the stack, or changed the code around it. So the predictions
that a record counts are asked of a model that was never called before, in a process in which no
plugin was loaded but the module that defines the model. It gets images alone, never a label.

What comes back from there (`answering`) is checked as anything foreign is: numbers of a known
count, or an error of one line.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qbench.errors import VerificationError
from qbench.evaluation.answering import receive, send, serve
from qbench.evaluation.scoring import predicted
from qbench.plugin_files import PluginFile
from qbench.provided import Provided
from qbench.specs import ModelSpec
from qbench.text import one_line


@dataclass(frozen=True)
class SavedModel:
    """A model as it lies in a store: how it is made, and the weights it was trained to.

    Args:
        spec: Its spec, whose factory must be importable.
        weights: Bytes of a file of weights (`weights.files.pack`).
        plugin: The file that provides it; None for an installed plugin.
    """

    spec: ModelSpec
    weights: bytes
    plugin: PluginFile | None = None

    @classmethod
    def of(
        cls, provided: Provided[ModelSpec], weights: bytes, plugins: Iterable[PluginFile]
    ) -> SavedModel:
        """A model with weights, and the plugin file that provides it, if it is one of these."""
        files = {file.name: file for file in plugins}
        return cls(provided.spec, weights, files.get(provided.plugin))

    def predictions(
        self, images: Tensor, *, seed: int, repeats: int = 1, singly: bool = True
    ) -> Tensor:
        """Scores (repeats, n, classes) of images (n, features), asked in an order drawn at random.

        Args:
            images: What to score.
            seed: Of the order and of the model's own randomness.
            repeats: Fresh passes, for a model whose scores vary.
            singly: One image at a time, as against all in one batch.

        Raises:
            VerificationError: The model fails, its scores are no numbers, or its process dies.
        """
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed % 2**63))
        asked = images[order].detach().contiguous()
        scores = self._ask(asked, None, seed, repeats=repeats, singly=singly)
        if not bool(scores.isfinite().all()):
            raise VerificationError("what came back are no finite scores")
        restored = torch.empty_like(scores)
        restored[:, order] = scores
        return restored

    def right(self, images: Tensor, y: Tensor, *, seed: int, singly: bool = True) -> Tensor:
        """Whether images (n, features) are given their labels y (n,), (n,) bool, in one pass.

        A tie is none (`scoring.predicted`), but of scores that vary, as on record.

        Args:
            images, seed, singly: As for `predictions`.
            y: Labels.

        Raises:
            VerificationError: As `predictions`.
        """
        return self.given(self.predictions(images, seed=seed, singly=singly)[0], y) == y

    def given(self, scores: Tensor, y: Tensor) -> Tensor:
        """The classes (n,) that scores (n, classes) give images with labels y (n,); see `right`."""
        return scores.argmax(1) if self.spec.stochastic else predicted(scores, y)

    def differentiated(
        self, images: Tensor, upstream: Tensor, *, seed: int
    ) -> tuple[Tensor, Tensor]:
        """Scores (n, classes), and gradients (n, features) of Σ upstream · scores by the images.

        The scores are those of `predictions`, asked without gradients.

        Args:
            images: (n, features), asked one at a time.
            upstream: (n, classes).
            seed: Of the model's own randomness.

        Raises:
            VerificationError: As `predictions`, or the scores have no gradient.
        """
        found = self._ask(images.detach().contiguous(), upstream.detach().contiguous(), seed)[0]
        classes = found.shape[1] - images.shape[1]
        if classes != upstream.shape[1]:
            raise VerificationError(f"{classes} scores came back where there were others before")
        return found[:, :classes], found[:, classes:]

    def _ask(
        self,
        images: Tensor,
        upstream: Tensor | None,
        seed: int,
        *,
        repeats: int = 1,
        singly: bool = True,
    ) -> Tensor:
        header = {
            "factory": self.spec.factory,
            "params": _jsonable(self.spec.params),
            "name": self.spec.name,
            "plugin": None if self.plugin is None else _described(self.plugin),
            "images": _shape(images),
            "upstream": None if upstream is None else _shape(upstream),
            "seed": seed,
            "repeats": repeats,
            "singly": singly,
        }
        frames = [json.dumps(header).encode(), self.weights, images.numpy().tobytes()]
        frames.append(b"" if upstream is None else upstream.numpy().tobytes())
        with _ONE_AT_A_TIME:
            answer = _server().ask(frames)
        return _checked(answer, repeats, len(images))


def _shape(values: Tensor) -> list[Any]:
    return [str(values.numpy().dtype), list(values.shape)]


def start_by_forking() -> None:
    """Start the server from this process, which must not have loaded a plugin or used torch yet.

    Costs no import; where it was not called, the first request starts the server from scratch.
    """
    if not hasattr(os, "fork"):
        return
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(ask_write)
        os.close(answer_read)
        serve(ask_read, answer_write)
    os.close(ask_read)
    os.close(answer_write)
    _RUNNING[:] = [_Server(pid, ask_write, answer_read)]


def _start_afresh() -> _Server:
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "qbench.evaluation.answering"],
        {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, ask_read, 0),
            (os.POSIX_SPAWN_DUP2, answer_write, 1),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ],
    )
    os.close(ask_read)
    os.close(answer_write)
    return _Server(pid, ask_write, answer_read)


@dataclass
class _Server:
    pid: int
    write: int
    read: int
    owner: int = field(default_factory=os.getpid)

    def ask(self, frames: list[bytes]) -> list[bytes]:
        """Two frames of answer. Whatever interrupts it ends the server: the next one is new."""
        try:
            for frame in frames:
                send(self.write, frame)
            return [receive(self.read), receive(self.read)]
        except EOFError as error:
            self.stop()
            raise VerificationError("the process that makes the final predictions died") from error
        except OSError as error:
            self.stop()
            raise VerificationError(f"no final predictions: {error.strerror}") from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it, and what it started: they answer questions, and have nothing to lose."""
        _RUNNING.clear()
        for end in (self.write, self.read):
            os.close(end)
        for kill in (os.killpg, os.kill):  # it may not have its own group yet
            with contextlib.suppress(OSError):
                kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(OSError):
            os.waitpid(self.pid, 0)


_RUNNING: list[_Server] = []
_ONE_AT_A_TIME = threading.Lock()  # a worker may run tasks in several threads


def _server() -> _Server:
    if _RUNNING and _RUNNING[0].owner != os.getpid():
        _RUNNING.clear()  # a forked child may not share its parent's pipes
    if not _RUNNING:
        _RUNNING.append(_start_afresh())
    return _RUNNING[0]


@atexit.register
def _stop() -> None:
    for server in [one for one in _RUNNING if one.owner == os.getpid()]:
        server.stop()


def _jsonable(params: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(json.dumps(dict(params)))
    except TypeError as error:
        raise VerificationError(f"parameters of the model are no plain values: {error}") from error
    return found


def _described(plugin: PluginFile) -> dict[str, Any]:
    return {
        "path": plugin.path,
        "source": base64.b64encode(plugin.source).decode(),
        "helpers": {name: base64.b64encode(s).decode() for name, s in plugin.helpers},
    }


def _checked(answer: list[bytes], repeats: int, n: int) -> Tensor:
    """The scores of an answer."""
    try:
        about = json.loads(answer[0])
        if "error" in about:
            raise VerificationError(one_line(str(about["error"]), 400))
        width = int(about["width"])
        values = np.frombuffer(answer[1], np.float64).reshape(repeats, n, width)
    except (ValueError, KeyError, TypeError) as error:
        raise VerificationError("what came back are no scores") from error
    return torch.from_numpy(values.copy())
