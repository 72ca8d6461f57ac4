"""The whole path in the environments that do not go together with this one, by one command.

`make environments` makes them in `.environments`; `$QBENCH_ENVIRONMENTS` says where else they are.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

MODELS = Path(__file__).with_name("hardware_models.py")
ROOT = Path(__file__).parents[2]
OPTIONS = (
    *("-q", "-p", "no:cacheprovider"),
    *("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT)),
)
pytestmark = pytest.mark.slow


def _python(extra: str) -> Path:
    folder = Path(os.environ.get("QBENCH_ENVIRONMENTS") or ROOT / ".environments") / extra
    python = folder / "bin" / "python"
    if not python.exists():
        pytest.skip(f"no {python}: 'make environments' makes it")
    return python


def _call(python: Path, *words: str, where: Path) -> subprocess.CompletedProcess[str]:
    """Run a module of this checkout with another interpreter."""
    paths = {
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "plugins"))),
        "QBENCH_CIRCUITS": str(where / "circuits"),
    }
    command = [str(python), "-m", *words]
    return subprocess.run(
        command, cwd=where, env={**os.environ, **paths}, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("extra", "device"), [("ibm", "ibm:fake_marrakesh"), ("iqm", "iqm:fake_garnet")]
)
def test_the_whole_path_by_the_same_command(extra, device, tmp_path):
    words = [
        *("qbench", "hardware", "run", "--plugin", str(MODELS), "--model", "small"),
        *("--engine", device, "--shots", "1024", "--limit", "4", "--readout"),
        *("--attacks", "pgd,square:queries=2", "--device-attack", "square:queries=2"),
        *("--out", "run"),
    ]
    python = _python(extra)
    ran = _call(python, *words, where=tmp_path)
    assert ran.returncode == 0, ran.stderr
    report = json.loads((tmp_path / "run/hardware/report.json").read_text())
    assert "None" not in ran.stdout
    assert report["engine"] == device
    assert report["images"] == 4
    assert 0.5 < report["signal"]["raw"]["scale"] < 1.1
    assert 0 < report["readout_error"] < 0.3
    assert [row["crafted on"] for row in report["rows"]] == ["ideal", "ideal", "device", "both"]
    again = _call(python, *words, where=tmp_path)  # replays, and runs nothing
    assert again.returncode == 0, again.stderr
    assert "run locally" not in again.stderr
    assert json.loads((tmp_path / "run/hardware/report.json").read_text()) == report


def test_the_newest_runtime_passes_what_this_one_does(tmp_path):
    python = _python("ibm")
    if _call(python, "pytest", "--version", where=tmp_path).returncode:
        pytest.skip(f"no pytest in {python.parent.parent}: 'pip install pytest hypothesis'")
    names = ("service", "accounts", "fake_device", "scrubbing")
    files = [str(ROOT / "tests" / "hardware" / f"test_hardware_{name}.py") for name in names]
    ran = _call(python, "pytest", *OPTIONS, *files, where=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:]


def test_iqms_engine_in_its_own_environment(tmp_path):
    python = _python("iqm")
    if _call(python, "pytest", "--version", where=tmp_path).returncode:
        pytest.skip(f"no pytest in {python.parent.parent}: 'pip install pytest hypothesis'")
    file = str(ROOT / "tests" / "engines" / "test_iqm_engine.py")
    ran = _call(python, "pytest", *OPTIONS, file, where=tmp_path)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert " passed" in ran.stdout
