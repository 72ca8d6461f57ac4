"""Final predictions, made in a process of their own from saved weights and saved images.

A model that an attack has seen, or that was asked before, may know more than an image: it may have
counted calls, kept images, looked at the stack, or changed the code around it. So the predictions
that a record counts are asked of a model that was never called before, in a process in which no
plugin was loaded but the module that defines the model. It gets images alone, never a label.

Three generations of processes: a server, started before any plugin is loaded; for each model's
factory a child of it that imports the factory; and for each request a child of that one, which
makes the model, loads its weights, answers, and ends. What comes back is checked as anything
foreign is: numbers of a known count, or an error of one line.
"""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import select
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.evaluation.crafting import checked_scores, frozen
from qbench.evaluation.isolation import isolated
from qbench.evaluation.scoring import predict
from qbench.registry import PluginFile, import_file
from qbench.specs import ModelSpec
from qbench.text import one_line
from qbench.weights.files import load_into, unpack

_MOST_BYTES = 2**29  # of one message
_FRAMES = 4  # of a request: what is asked, weights, images, and what gradients are pulled by
_POLL_S = 0.5  # how often a waiting thread looks whether it was told to stop


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
        restored = torch.empty_like(scores)
        restored[:, order] = scores
        return restored

    def gradients(self, images: Tensor, upstream: Tensor, *, seed: int) -> Tensor:
        """Gradients (n, features) of Σ upstream · scores by the images, one image at a time.

        Args:
            images: (n, features).
            upstream: (n, classes).
            seed: Of the model's own randomness.

        Raises:
            VerificationError: As `predictions`, or the scores have no gradient.
        """
        return self._ask(images.detach().contiguous(), upstream.detach().contiguous(), seed)[0]

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
        _serve(ask_read, answer_write)
    os.close(ask_read)
    os.close(answer_write)
    _RUNNING[:] = [_Server(pid, ask_write, answer_read)]


def _start_afresh() -> _Server:
    ask_read, ask_write = os.pipe()
    answer_read, answer_write = os.pipe()
    pid = os.posix_spawn(
        sys.executable,
        [sys.executable, "-m", "qbench.evaluation.outside"],
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
                _write(self.write, frame)
            return [_read(self.read), _read(self.read)]
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


# What follows runs in the server and its children.


def _serve(ask: int, answer: int) -> NoReturn:
    """Relay requests to a child for each factory, until nobody can ask any more."""
    os.setsid()
    torch.set_num_threads(1)
    children: dict[str, tuple[int, int]] = {}
    try:
        while True:
            frames = [_read(ask) for _ in range(_FRAMES)]
            asked = json.loads(frames[0])
            key = json.dumps([asked["factory"], asked["plugin"]])
            if key not in children:
                children[key] = _spawn(ask, answer, [end for c in children.values() for end in c])
            to_child, from_child = children[key]
            try:
                for frame in frames:
                    _write(to_child, frame)
                reply = [_read(from_child, also=ask), _read(from_child, also=ask)]
            except (EOFError, OSError):
                del children[key]
                reply = [_error("the model ended the process that asked it"), b""]
            for frame in reply:
                _write(answer, frame)
    except (EOFError, OSError):
        pass
    finally:
        with contextlib.suppress(OSError):
            os.killpg(os.getpgid(0), signal.SIGKILL)
        os._exit(0)


def _spawn(ask: int, answer: int, others: list[int]) -> tuple[int, int]:
    """A child that imports one factory and answers for it."""
    to_read, to_write = os.pipe()
    from_read, from_write = os.pipe()
    if os.fork() == 0:
        for end in (ask, answer, to_write, from_read, *others):
            os.close(end)
        _quiet()
        with contextlib.suppress(EOFError, OSError):
            _warm(to_read, from_write)
        os._exit(0)
    os.close(to_read)
    os.close(from_write)
    return to_write, from_read


def _warm(ask: int, answer: int) -> None:
    """Answer requests, each in a child; what a model's first call compiles is compiled before."""
    ready = False
    while True:
        header, weights, *tensors = [_read(ask) for _ in range(_FRAMES)]
        asked = json.loads(header)
        if not ready:
            with contextlib.suppress(Exception, SystemExit):
                _import(asked["plugin"])
                _make(asked)(torch.full((1, asked["images"][1][1]), 0.5))
            ready = True
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            os.close(ask)
            os.close(answer)
            for frame in _answer(asked, weights, tensors):
                _write(write, frame)
            os._exit(0)
        os.close(write)
        try:
            reply = [_read(read), _read(read)]
        except EOFError:
            reply = [_error("the model ended the process that asked it"), b""]
        os.close(read)
        os.waitpid(child, 0)
        for frame in reply:
            _write(answer, frame)


def _import(plugin: dict[str, Any] | None) -> None:
    if plugin is not None:
        helpers = tuple((name, base64.b64decode(s)) for name, s in plugin["helpers"].items())
        import_file(PluginFile(plugin["path"], base64.b64decode(plugin["source"]), helpers))


def _make(asked: dict[str, Any]) -> nn.Module:
    spec = ModelSpec(
        name=asked["name"],
        description="",
        factory=asked["factory"],
        params=asked["params"],
        family="classical",
        structure="",
    )
    model: nn.Module = spec.resolve()(**spec.params)
    return model


def _answer(asked: dict[str, Any], weights: bytes, tensors: list[bytes]) -> list[bytes]:
    try:
        with isolated(asked["seed"]):
            model = _make(asked)
            state, _ = unpack(weights, asked["name"])
            load_into(model, state.weights, asked["name"])
            model.eval()
            images = _tensor(tensors[0], asked["images"])
            parts = torch.split(images, 1 if asked["singly"] else len(images))
            if asked["upstream"] is None:
                passes = [
                    torch.cat([predict(model, part) for part in parts])
                    for _ in range(asked["repeats"])
                ]
            else:
                upstream = torch.split(_tensor(tensors[1], asked["upstream"]), 1)
                pulled = [_pull(model, x, by) for x, by in zip(parts, upstream, strict=True)]
                passes = [torch.cat(pulled)]
            values = torch.stack(passes).double().contiguous().numpy()
        return [json.dumps({"width": values.shape[2]}).encode(), values.tobytes()]
    except (Exception, SystemExit) as error:
        name = "" if isinstance(error, VerificationError) else f"{type(error).__name__}: "
        return [_error(f"{name}{error}"), b""]


def _tensor(content: bytes, about: list[Any]) -> Tensor:
    dtype, shape = about
    return torch.from_numpy(np.frombuffer(content, dtype).reshape(shape).copy())


def _pull(model: nn.Module, x: Tensor, upstream: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    with frozen(model):
        scores = checked_scores(model(x.clone()), len(x)).to(x.dtype)
        if not scores.requires_grad:
            raise VerificationError("the scores have no gradient")
        (gradient,) = torch.autograd.grad(scores, x, upstream)
    return gradient


def _error(reason: str) -> bytes:
    return json.dumps({"error": one_line(reason, 400)}).encode()


def _quiet() -> None:
    """What a model prints goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nowhere, standard)


def _write(end: int, content: bytes) -> None:
    """One message: its length, then its bytes."""
    view = memoryview(len(content).to_bytes(8, "little") + content)
    while view:
        view = view[os.write(end, view) :]


def _read(end: int, also: int | None = None) -> bytes:
    """One message. Raises EOFError where the other side has ended, or that of `also` has."""
    length = int.from_bytes(_exactly(end, 8, also), "little")
    if length > _MOST_BYTES:
        raise EOFError
    return _exactly(end, length, also)


def _exactly(end: int, length: int, also: int | None) -> bytes:
    parts: list[bytes] = []
    while length:
        # Waiting in short turns lets a time limit end a thread that waits.
        ends = [end] if also is None else [end, also]
        ready, _, _ = select.select(ends, [], [], _POLL_S)
        if also in ready and not _alive(also):
            raise EOFError
        if end not in ready:
            continue
        part = os.read(end, min(length, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _alive(end: int | None) -> bool:
    """Whether the other side of a pipe, from which nothing is due, is still there."""
    assert end is not None
    poll = select.poll()
    poll.register(end, select.POLLHUP)
    return not any(event & select.POLLHUP for _, event in poll.poll(0))


def main() -> NoReturn:
    """Serve on standard input and output."""
    ask, answer = os.dup(0), os.dup(1)
    _quiet()
    _serve(ask, answer)


if __name__ == "__main__":
    main()
