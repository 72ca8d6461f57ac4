"""What IBM's errors mean and what to do about them, in one line and without secrets."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import requests
from ibm_cloud_sdk_core import ApiException  # type: ignore[import-untyped]
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit_ibm_runtime.accounts.exceptions import (
    AccountNotFoundError,
    CloudResourceNameResolutionError,
    InvalidAccountError,
)
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    IBMNotAuthorizedError,
    RuntimeJobNotFound,
)

from qbench.errors import QbenchError
from qbench_engines.ibm.scrubbing import scrubbed
from qbench_hardware.interface import ServiceError, ServiceUnavailableError

HOW_TO = "docs/hardware.md says how"
_NETWORK = (requests.ConnectionError, requests.Timeout, ConnectionError, TimeoutError)
_DENIED = (400, 401, 403)
_BUSY = (429, 500, 502, 503, 504)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn whatever qiskit-ibm-runtime raises in the block into a `ServiceError`.

    What it logs meanwhile is kept quiet, and so are its warnings before an error: they may hold a
    token, and what matters is in the error. Other warnings are logged once, without secrets.

    Args:
        doing: What was tried, for messages: "cannot {doing}: ...".

    Raises:
        ServiceUnavailableError: The service was not reached, or is busy.
        ServiceError: It refuses.
    """
    try:
        with _quiet(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
        for warning in caught:
            _warn(scrubbed(str(warning.message)))
    except QbenchError:
        raise
    except Exception as error:
        kind, text = _meaning(error)
        # `from None`: the chain below would show IBM's words in a traceback, token and all.
        raise kind(f"cannot {doing}: {text}") from None


def _meaning(error: Exception) -> tuple[type[ServiceError], str]:
    chain = list(_chain(error))
    status = next((s for e in chain if (s := _status(e)) is not None), None)
    if isinstance(error, AccountNotFoundError):
        return ServiceError, (
            "no IBM Quantum account is set up: save one with QiskitRuntimeService.save_account or "
            f"set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE ({HOW_TO})"
        )
    if any(isinstance(e, IBMNotAuthorizedError) for e in chain) or (
        status in _DENIED and any(isinstance(e, ApiException) for e in chain)
    ):
        return ServiceError, (
            "IBM Quantum does not accept the token: make a new API key at "
            f"https://quantum.cloud.ibm.com and save it ({HOW_TO})"
        )
    if any(isinstance(e, _NETWORK) for e in chain):
        return ServiceUnavailableError, (
            "IBM Quantum cannot be reached: check the network connection and proxy"
        )
    if status == 429:
        return ServiceUnavailableError, "IBM Quantum takes no more jobs this minute"
    if status in _BUSY or (isinstance(error, RequestsApiError) and status in (None, -1)):
        return (
            ServiceUnavailableError,
            f"IBM Quantum does not answer as it should ({_words(error)})",
        )
    if isinstance(error, InvalidAccountError):
        return ServiceError, (
            f"the account is not usable ({_words(error)}): check the token and the instance "
            f"({HOW_TO})"
        )
    if isinstance(error, CloudResourceNameResolutionError | IBMInputValueError):
        return ServiceError, (
            f"{_words(error)}: check the instance with QiskitRuntimeService().instances() "
            f"({HOW_TO})"
        )
    if isinstance(error, RuntimeJobNotFound):
        return ServiceError, f"{_words(error)}: is this the account it was submitted from?"
    if isinstance(error, QiskitBackendNotFoundError):
        return ServiceError, "this account has no such device"
    return ServiceError, f"{type(error).__name__}: {_words(error)}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        seen.add(id(now))
        yield now
        now = now.__cause__ or now.__context__


def _status(error: BaseException) -> int | None:
    for name in ("status_code", "code"):
        found = getattr(error, name, None)
        if isinstance(found, int) and found > 0:
            return found
    response = getattr(error, "response", None)
    return getattr(response, "status_code", None)


def _words(error: Exception) -> str:
    return scrubbed(str(getattr(error, "message", None) or error)).strip("'\"")


@cache
def _warn(text: str) -> None:
    logging.getLogger("qbench").warning("IBM Quantum: %s", text)


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [
        logging.getLogger(n) for n in ("qiskit_ibm_runtime", "ibm_cloud_sdk_core", "urllib3")
    ]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
