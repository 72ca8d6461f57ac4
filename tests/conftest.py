"""What several test files share."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

from qbench.cli import main
from qbench.plugin_files import _Sources
from qbench.registry import load_registry

ROOT = Path(__file__).parents[1]

# No deadline: these machines are shared and slow down at any moment. The same examples each time.
hypothesis.settings.register_profile("qbench", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.load_profile("qbench")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    # On a shared machine torch's threads wait for each other longer than they compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _gradients_stay_on() -> Iterator[None]:
    # A test that leaves them off fails itself, and not every later one of its worker.
    yield
    on = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    assert on, "torch's gradient mode was left off"


@pytest.fixture(autouse=True)
def _plugin_files_forgotten() -> Iterator[None]:
    # Modules of plugin files stay importable, for pickling: the next test may want their names.
    yield
    finders = [finder for finder in sys.meta_path if isinstance(finder, _Sources)]
    for finder in finders:
        sys.meta_path.remove(finder)
        for name in finder._sources:
            if getattr(sys.modules.get(name), "__file__", None) == finder.path(name):
                del sys.modules[name]
    if finders:
        load_registry.cache_clear()


@pytest.fixture(scope="session")
def published() -> Path:
    """The authors' data set and checkpoints, which we may not ship."""
    folder = Path(os.environ.get("QBENCH_PUBLISHED", ROOT.parent / "shared" / "published"))
    if not folder.is_dir():
        pytest.skip(f"needs the paper authors' files: no folder {folder} (set QBENCH_PUBLISHED)")
    return folder


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def qbench_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run a command in an empty folder, within this process: a new one imports torch first."""

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        stdout, stderr = io.StringIO(), io.StringIO()
        with (
            monkeypatch.context() as patched,
            contextlib.redirect_stdout(stdout),
            contextlib.redirect_stderr(stderr),
        ):
            patched.chdir(tmp_path)
            patched.setattr(sys, "argv", ["qbench", *arguments])
            with pytest.raises(SystemExit) as left:
                main()
        written = stdout.getvalue(), stderr.getvalue()
        return subprocess.CompletedProcess(arguments, int(left.value.code or 0), *written)

    return call


@pytest.fixture
def qbench_process(tmp_path: Path) -> Cli:
    """Run the command in a process of its own, which may write files of limited size."""

    def call(*arguments: str, file_size: int = -1) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "qbench", *arguments],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=300,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size)),
        )

    return call
