"""The command in a child of this process, which the fake service can kill."""

from __future__ import annotations

import os
from collections.abc import Callable

from fake_ibm import FakeIbm


def run_in_a_child(ibm: FakeIbm, hardware: Callable[..., None], *arguments: str) -> int:
    """Run the command to its end or its death; its exit code, negative for a signal."""
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        try:
            hardware(*arguments)
        finally:
            os._exit(1)  # past pytest, whatever it raised
    ibm.pid = child
    os.write(go, b"!")
    os.close(ready)
    os.close(go)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
