"""The conformance kit as a pytest plugin: one test a check.

A test with the marker `qbench` names what is to be checked, as `qbench check` takes it, and calls
the fixture `qbench_check`. Nothing heavy is imported before there is such a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from qbench.testing.check import Check

_FIXTURE = "qbench_check"


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker."""
    config.addinivalue_line(
        "markers",
        "qbench(NAME|FILE, ..., dataset=None): what the fixture qbench_check checks, as "
        "'qbench check' takes it; models are checked on the images of the data set.",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each check of what the marker names."""
    if _FIXTURE not in metafunc.fixturenames:
        return
    from qbench.errors import QbenchError
    from qbench.testing.kit import checks_of
    from qbench.testing.target import targets

    marker = metafunc.definition.get_closest_marker("qbench")
    if marker is None or not marker.args:
        pytest.fail(
            "name what is to be checked, e.g. @pytest.mark.qbench('my-model')", pytrace=False
        )
    try:
        found = [one for text in marker.args for one in targets(text, **marker.kwargs)]
        checks = [check for target in found for check in checks_of(target)]
    except QbenchError as error:
        pytest.fail(str(error), pytrace=False)
    names = [f"{check.subject}: {check.name}" for check in checks]
    metafunc.parametrize(_FIXTURE, checks, ids=names, indirect=True)


@pytest.fixture
def qbench_check(request: pytest.FixtureRequest) -> Callable[[], str]:
    """A check; calling it fails the test where it does not hold, and says what was found."""
    check: Check = request.param
    return check
