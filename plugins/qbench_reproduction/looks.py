"""One colour, marker and line a model, the same in every figure of the reproduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from qbench.registry import load_registry
from qbench.report.board import ModelFacts
from qbench.report.figures.style import Look, looks
from qbench_reproduction.paper import CIRCUITS, LONGER

_ORDER = (*CIRCUITS, "amplitude", "convnet", "fourier")
_DOTTED = (0, (1, 0.9))


def model_looks(models: Sequence[str]) -> dict[str, Look]:
    """A colour and a marker a model, and the line of its family; a circuit that was trained longer
    looks like the same circuit, but dotted."""
    shorter = dict(zip(LONGER, CIRCUITS, strict=True))
    order = list(dict.fromkeys([*_ORDER, *(shorter.get(name, name) for name in models)]))
    registry = load_registry()
    families = {name: registry.get("model", name).spec.family for name in order}
    apart = looks([ModelFacts(name, "") for name in order])
    lines = looks([ModelFacts(name, families[name]) for name in order])
    found = {name: replace(apart[name], line=lines[name].line) for name in order}
    for longer, name in shorter.items():
        found[longer] = replace(found[name], line=_DOTTED)
    return {name: found[name] for name in models}
