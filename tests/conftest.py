"""What several test files share."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch

ROOT = Path(__file__).parents[1]

# No deadline: these machines are shared and slow down at any moment. The same examples each time.
hypothesis.settings.register_profile("qbench", deadline=None, derandomize=True)
hypothesis.settings.load_profile("qbench")


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    # On a shared machine torch's threads wait for each other longer than they compute.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def published() -> Path:
    """The authors' data set and checkpoints, which we may not ship."""
    folder = Path(os.environ.get("QBENCH_PUBLISHED", ROOT.parent / "shared" / "published"))
    if not folder.is_dir():
        pytest.skip(f"needs the paper authors' files: no folder {folder} (set QBENCH_PUBLISHED)")
    return folder


Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def qbench_cli(tmp_path: Path) -> Cli:
    """Run the real command in an empty folder."""

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
