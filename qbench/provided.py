"""What a plugin provides: a spec, and the factory behind it, guarded."""

from __future__ import annotations

import inspect
import os
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, NoReturn, TypeVar

from qbench.docstrings import argument_docs
from qbench.errors import PluginError, QbenchError, UnknownNameError
from qbench.process_state import ProcessState
from qbench.specs import AttackSpec, CertifierSpec, ModelSpec, Spec

S = TypeVar("S", bound=Spec)
Scalar = bool | int | float | str | None


@dataclass
class Changed:
    """What a plugin changed of the process; it was put back."""

    settings: set[str] = field(default_factory=set)
    code: set[str] = field(default_factory=set)


CHANGED: defaultdict[str, Changed] = defaultdict(Changed)


@contextmanager
def put_back(plugin: str) -> Iterator[None]:
    """Whatever the plugin's code in the block changes for everyone is put back, and noted.

    Ending the process at once becomes an exception, as `sys.exit` is one.
    """
    before, end, process = ProcessState.now(), os._exit, os.getpid()

    def refused(status: int) -> NoReturn:
        if os.getpid() != process:  # a child that the plugin forked
            end(status)
        raise SystemExit(f"os._exit({status})")

    os._exit = refused
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"while plugin {plugin!r} was loading") from error
    finally:
        os._exit = end
        settings, code = before.restore()
        CHANGED[plugin].settings.update(settings)
        CHANGED[plugin].code.update(code)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a factory; `meaning` is empty where nobody wrote it down."""

    name: str
    default: Scalar
    meaning: str


@dataclass(frozen=True)
class Provided(Generic[S]):
    """A spec and the plugin that provides it."""

    spec: S
    plugin: str
    version: str

    def resolved(self, params: Mapping[str, Any]) -> dict[str, Scalar]:
        """Every parameter that the factory runs with: its defaults, the spec's, then `params`.

        A whole number for a parameter that takes fractions becomes a float, so that one value has
        one spelling. Values that are no scalars are left out: they are not a caller's to choose. A
        factory that does not import has no defaults: what needs it says so when it is run.
        """
        try:
            known = dict(inspect.signature(self._factory()).parameters)
        except (QbenchError, ValueError, TypeError):
            known = {}
        chosen = {name: parameter.default for name, parameter in known.items()}
        chosen |= {**self.spec.params, **params}
        found: dict[str, Scalar] = {}
        for name, value in chosen.items():
            annotation = str(getattr(known.get(name), "annotation", ""))
            if isinstance(value, int) and not isinstance(value, bool) and "float" in annotation:
                value = float(value)
            if value is None or isinstance(value, bool | int | float | str):
                found[name] = value
        return dict(sorted(found.items()))

    def parameters(self) -> list[Parameter]:
        """What may be chosen, with its default and what the factory's docstring says of it.

        Raises:
            PluginError: The factory does not import.
        """
        factory, defaults = self._factory(), self.resolved({})
        meanings = argument_docs(factory)
        names = [name for name in inspect.signature(factory).parameters if name in defaults]
        names += [name for name in defaults if name not in names]
        return [Parameter(name, defaults[name], meanings.get(name, "")) for name in names]

    def check_names(self, params: Iterable[str]) -> None:
        """Refuse parameters that the factory does not take.

        Raises:
            UnknownNameError: Naming the first one, and the nearest that there are.
        """
        known = inspect.signature(self._factory()).parameters
        if any(one.kind is one.VAR_KEYWORD for one in known.values()):
            return
        for name in params:
            if name not in known:
                raise UnknownNameError(f"parameter of {self.spec.name}", name, known)

    def create(self, **params: Any) -> Any:
        """Import the factory and call it with the spec's parameters, overridden by `params`.

        Raises:
            PluginError: The factory does not import, does not take these parameters, or returns
                nothing that can be used.
        """
        factory = self._factory()
        try:
            made = factory(**{**self.spec.params, **params})
        except QbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error
        wrong = _wrong(self.spec, made)
        if wrong is not None:
            raise self._broken(wrong)
        return made

    def _factory(self) -> Callable[..., Any]:
        # What a plugin changes, it changes where its code is first run.
        known = self.spec.factory.partition(":")[0] in sys.modules
        try:
            with nullcontext() if known else put_back(self.plugin):
                return self.spec.resolve()
        except QbenchError:
            raise
        except (Exception, SystemExit) as error:
            raise self._broken(f"{type(error).__name__}: {error}") from error

    def _broken(self, reason: str) -> PluginError:
        return PluginError(
            f"plugin {self.plugin!r} cannot make {self.spec.name!r} from "
            f"{self.spec.factory}: {reason}"
        )


def _wrong(spec: Spec, made: object) -> str | None:
    """Why what a factory returned is nothing that its spec promises; None where it may be."""
    if isinstance(made, type):
        return f"it returned the class {made.__name__}, not an instance of it"
    if isinstance(spec, ModelSpec):
        from torch import nn  # a factory of models has imported it

        wanted, right = "a torch.nn.Module", isinstance(made, nn.Module)
    elif isinstance(spec, AttackSpec | CertifierSpec):
        wanted, right = "something to call", callable(made)
    else:
        return None  # whoever loads data, engines and protocols checks what they are
    return None if right else f"it returned a {type(made).__name__}, not {wanted}"
