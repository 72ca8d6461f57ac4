"""What a check is, and how one is run: no plugin's code takes the others down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from qbench.errors import QbenchError
from qbench.specs import Norm
from qbench.text import one_line

TIME_LIMIT_S = 600.0


class CheckFailedError(AssertionError):
    """Something that must hold of a plugin's object does not: what, and what to do about it."""


@dataclass(frozen=True)
class Check:
    """One thing that must hold.

    Args:
        subject: Of what, e.g. `"attack my-attack"`.
        name: What must hold, e.g. `"ε = 0 changes nothing"`.
        test: Finds out. It returns what was found in a few words, perhaps none, and raises
            `CheckFailedError` where the thing does not hold; any other exception fails it too.
        first: Whether the subject's later checks mean nothing where this one fails.
    """

    subject: str
    name: str
    test: Callable[[], str]
    first: bool = False

    def __call__(self, time_limit_s: float = TIME_LIMIT_S) -> str:
        """Run it in known global state and put that back; what it raises passes through."""
        from qbench.evaluation.isolation import isolated, time_limit

        with isolated(0), time_limit(time_limit_s):
            return self.test()


@dataclass(frozen=True)
class Outcome:
    """A check, whether it passed, and what was found or what to do."""

    check: Check
    passed: bool
    detail: str


def outcomes(checks: Iterable[Check], time_limit_s: float = TIME_LIMIT_S) -> Iterator[Outcome]:
    """Run checks in their order; those of a subject that fails a `first` one are left out."""
    broken: set[str] = set()
    for check in checks:
        if check.subject in broken:
            continue
        found = _outcome(check, time_limit_s)
        if check.first and not found.passed:
            broken.add(check.subject)
        yield found


def _outcome(check: Check, time_limit_s: float) -> Outcome:
    try:
        return Outcome(check, True, one_line(check(time_limit_s)))
    except (CheckFailedError, QbenchError) as error:
        return Outcome(check, False, one_line(str(error)))
    except (Exception, SystemExit) as error:  # a plugin's code: it may not take the others down
        return Outcome(check, False, one_line(f"{type(error).__name__}: {error}"))


def in_norms(
    subject: str, name: str, norms: Iterable[Norm], test: Callable[[Norm], str]
) -> Iterator[Check]:
    """The same check in each of some norms."""
    for norm in norms:
        yield Check(subject, f"{name} ({norm})", partial(test, norm))


def require(holds: bool, complaint: str) -> None:
    """Fail the check with a complaint unless something holds."""
    if not holds:
        raise CheckFailedError(complaint)
