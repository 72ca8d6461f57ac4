"""Answers for models in a process of its own: what `outside` asks of them.

Three generations of processes: a server, started before any plugin is loaded; for each model's
factory a child of it that imports the factory; and for each request a child of that one, which
makes the model, loads its weights, answers, and ends.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import json
import os
import select
import signal
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn

from qbench.errors import VerificationError
from qbench.evaluation.crafting import checked_scores, frozen
from qbench.evaluation.isolation import begin
from qbench.evaluation.scoring import predict_parts
from qbench.plugin_files import PluginFile, import_file
from qbench.specs import ModelSpec
from qbench.text import one_line
from qbench.weights.files import load_into, unpack

_MOST_BYTES = 2**29  # of one message
_FRAMES = 4  # of a request: what is asked, weights, images, and what gradients are pulled by
_POLL_S = 0.5  # how often a waiting thread looks whether it was told to stop


def serve(ask: int, answer: int) -> NoReturn:
    """Relay requests to a child for each factory, until nobody can ask any more."""
    os.setsid()
    torch.set_num_threads(1)
    children: dict[str, tuple[int, int]] = {}
    try:
        while True:
            frames = [receive(ask) for _ in range(_FRAMES)]
            asked = json.loads(frames[0])
            key = json.dumps([asked["factory"], asked["plugin"]])
            if key not in children:
                children[key] = _spawn(ask, answer, [end for c in children.values() for end in c])
            to_child, from_child = children[key]
            try:
                for frame in frames:
                    send(to_child, frame)
                reply = [receive(from_child, also=ask), receive(from_child, also=ask)]
            except (EOFError, OSError):
                del children[key]
                reply = [_error("the model ended the process that asked it"), b""]
            for frame in reply:
                send(answer, frame)
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
        header, weights, *tensors = [receive(ask) for _ in range(_FRAMES)]
        asked = json.loads(header)
        if not ready:
            with contextlib.suppress(Exception, SystemExit):
                _import(asked["plugin"])
                _call_once(_make(asked), asked["images"])
            gc.collect()
            gc.freeze()  # a collection in a child would copy every page that holds an object
            ready = True
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            os.close(ask)
            os.close(answer)
            for frame in _answer(asked, weights, tensors):
                send(write, frame)
            os._exit(0)
        os.close(write)
        try:
            reply = [receive(read), receive(read)]
        except EOFError:
            reply = [_error("the model ended the process that asked it"), b""]
        os.close(read)
        os.waitpid(child, 0)
        for frame in reply:
            send(answer, frame)


def _call_once(model: nn.Module, about: list[Any]) -> None:
    x = torch.full((1, about[1][1]), 0.5, requires_grad=True)
    scores = model(x.clone())
    torch.autograd.grad(scores, x, torch.ones_like(scores))  # imports what `_pull` needs


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
        begin(asked["seed"])
        model = _make(asked)
        state, _ = unpack(weights, asked["name"])
        load_into(model, state.weights, asked["name"])
        model.eval()
        images = _tensor(tensors[0], asked["images"])
        parts = torch.split(images, 1 if asked["singly"] else len(images))
        repeats = range(asked["repeats"])
        passes = [predict_parts(model, parts) for _ in repeats]
        if asked["upstream"] is not None:  # after the scores, which are asked without gradients
            upstream = torch.split(_tensor(tensors[1], asked["upstream"]), 1)
            pulled = [_pull(model, x, by) for x, by in zip(parts, upstream, strict=True)]
            passes = [torch.cat([scores, torch.cat(pulled)], 1) for scores in passes]
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


def send(end: int, content: bytes) -> None:
    """One message: its length, then its bytes."""
    view = memoryview(len(content).to_bytes(8, "little") + content)
    while view:
        view = view[os.write(end, view) :]


def receive(end: int, also: int | None = None) -> bytes:
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
    serve(ask, answer)


if __name__ == "__main__":
    main()
