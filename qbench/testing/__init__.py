"""The conformance kit: what must hold of models, attacks, certifiers, engines and data sets.

`qbench check` prints it; in a plugin's own tests, a test with the marker `qbench` and the fixture
`qbench_check` becomes one test a check:

>>> @pytest.mark.qbench("my-model")  # doctest: +SKIP
... def test_conformance(qbench_check):
...     qbench_check()
"""

from __future__ import annotations

from qbench.testing.check import Check, CheckFailedError, Outcome, outcomes
from qbench.testing.kit import checks_of
from qbench.testing.target import Target, targets

__all__ = ["Check", "CheckFailedError", "Outcome", "Target", "checks_of", "outcomes", "targets"]
