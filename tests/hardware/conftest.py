"""A fake IBM Quantum, a place without accounts, and the command in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("qiskit_ibm_runtime")
pytest.importorskip("qiskit_aer")

from fake_ibm import CRN, TOKEN, FakeIbm
from ibm_redirect import redirect

MODELS = Path(__file__).with_name("hardware_models.py")
PLUGIN = ("--plugin", str(MODELS))  # named again by whoever goes on with a run
Command = Callable[..., None]


@pytest.fixture(autouse=True, scope="session")
def _circuits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled circuits go to a folder of the session, not to the user's cache."""
    before = os.environ.get("QBENCH_CIRCUITS")
    os.environ["QBENCH_CIRCUITS"] = str(tmp_path_factory.mktemp("circuits"))
    yield
    del os.environ["QBENCH_CIRCUITS"]
    if before is not None:
        os.environ["QBENCH_CIRCUITS"] = before


@pytest.fixture(autouse=True)
def _no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees an account of whoever runs it."""
    for name in ("QISKIT_IBM_TOKEN", "QISKIT_IBM_INSTANCE", "QISKIT_IBM_URL", "QISKIT_IBM_CHANNEL"):
        monkeypatch.delenv(name, raising=False)
    nowhere = tmp_path / "no-account.json"
    monkeypatch.setattr(
        "qiskit_ibm_runtime.accounts.management._DEFAULT_ACCOUNT_CONFIG_JSON_FILE", str(nowhere)
    )
    monkeypatch.setattr("qbench_engines.ibm.scrubbing.ACCOUNT_FILE", nowhere)


@pytest.fixture
def ibm(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeIbm]:
    """A fake IBM Quantum that this process talks to with a good token."""
    with FakeIbm() as server:
        redirect(monkeypatch.setattr, server.port)
        monkeypatch.setenv("QISKIT_IBM_TOKEN", TOKEN)
        monkeypatch.setenv("QISKIT_IBM_INSTANCE", CRN)
        yield server


@pytest.fixture
def hardware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """`qbench hardware ...` in this process, in an empty folder."""
    from qbench.cli import cli

    monkeypatch.chdir(tmp_path)

    def call(command: str, *arguments: str) -> None:
        words = ["hardware", command, *PLUGIN, *arguments]
        cli.main(words, prog_name="qbench", standalone_mode=False, obj=words)

    return call


@pytest.fixture
def selection(tmp_path: Path) -> list[str]:
    """Options of a small run on the fake service's device, in the folder `run`."""
    return [
        *("--model", "small", "--engine", "ibm:ibm_lagos"),
        *("--shots", "200", "--limit", "4", "--chunk", "3", "--out", "run"),
    ]
