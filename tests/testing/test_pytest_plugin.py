"""The kit as a pytest plugin: one test a check, and nothing heavy for anyone else's tests."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENGINES = """
from qbench.circuits.torch_engine import TorchEngine
from qbench.hookspecs import hookimpl
from qbench.specs import EngineSpec

@hookimpl
def qbench_engines():
    for name in ("Good", "Reversed"):
        yield EngineSpec(
            name=name.lower(), description="a test", factory=f"our_engines:{name}", exact=True,
            differentiable=True,
        )

class Good(TorchEngine):
    pass

class Reversed(TorchEngine):
    def probabilities(self, circuit, angles, state=None):
        return super().probabilities(circuit, angles, state).flip(1)
"""


@pytest.fixture
def run_tests(tmp_path):
    """Write a test file and run it with the plugin; what pytest printed."""

    def run(text: str) -> str:
        (tmp_path / "test_it.py").write_text(text)
        words = "pytest -p qbench.testing.pytest_plugin -p no:cacheprovider --strict-markers -v"
        done = subprocess.run(
            [sys.executable, "-m", *words.split(), "--rootdir", tmp_path, tmp_path],
            env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        return done.stdout

    return run


def test_a_check_is_a_test_and_says_what_is_wrong(run_tests, tmp_path):
    (tmp_path / "our_engines.py").write_text(ENGINES)
    printed = run_tests(
        "import pytest\n"
        f"@pytest.mark.qbench({str(tmp_path / 'our_engines.py')!r})\n"
        "def test_it(qbench_check): qbench_check()\n"
    )
    assert "test_it[engine good: agrees with the reference engine] PASSED" in printed
    assert "test_it[engine reversed: agrees with the reference engine] FAILED" in printed
    assert "compare the order of wires" in printed


@pytest.mark.parametrize(
    ("marker", "complaint"),
    [
        ("@pytest.mark.qbench('zz-model')", "nothing is called 'zz-model'"),
        ("@pytest.mark.qbench()", "name what is to be checked"),
        ("", "name what is to be checked"),
    ],
)
def test_a_marker_that_names_nothing_is_one_line(run_tests, marker, complaint):
    printed = run_tests(f"import pytest\n{marker}\ndef test_it(qbench_check): pass\n")
    assert complaint in printed
    assert "Traceback" not in printed
    assert len(printed.splitlines()) < 20


def test_other_tests_pay_nothing(run_tests):
    printed = run_tests(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'torch', 'numpy', 'jinja2'} & set(sys.modules)\n"
        "    assert 'qbench.testing.models' not in sys.modules\n"
    )
    assert "1 passed" in printed
