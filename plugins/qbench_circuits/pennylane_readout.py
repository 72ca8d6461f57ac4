"""What a PennyLane circuit returns, as linear functions of the outcomes of its wires."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pennylane.measurements import ExpectationMP, ProbabilityMP
from torch import Tensor

from qbench.circuits.circuit import z_signs
from qbench_circuits.layer import refuse


@dataclass(frozen=True)
class Readout:
    """How wires are measured and what is made of it.

    Args:
        axes: Each measured wire's axis, `"X"`, `"Y"` or `"Z"`, in the order of the wires.
        matrix: (2^m, k): what is returned is the outcomes' distribution times this.
    """

    axes: Mapping[int, str]
    matrix: Tensor

    @classmethod
    def of(cls, measurements: Sequence[Any], wires: Mapping[Any, int], what: str) -> Readout:
        """Of a circuit's measurements.

        Args:
            measurements: PennyLane's.
            wires: Indices of its wires by their labels.
            what: The circuit, for messages.

        Raises:
            UsageError: A measurement that is none of these, or two that do not go together.
        """
        axes: dict[int, str] = {}
        for measurement in measurements:
            for label, axis in _axes(measurement, list(wires), what):
                if axes.setdefault(wires[label], axis) != axis:
                    refuse(
                        what,
                        f"measures wire {label} about {axes[wires[label]]} and {axis}: engines "
                        "measure a wire once",
                    )
        if not axes:
            refuse(what, "measures nothing")
        measured = sorted(axes)
        signs = z_signs(len(measured))
        of_wire = {
            label: signs[:, measured.index(wires[label])] for label in wires if wires[label] in axes
        }
        columns = [_columns(measurement, of_wire, list(wires)) for measurement in measurements]
        matrix = torch.from_numpy(np.concatenate(columns, 1))
        return cls({wire: axes[wire] for wire in measured}, matrix)


def _axes(measurement: Any, labels: list[Any], what: str) -> list[tuple[Any, str]]:
    if isinstance(measurement, ProbabilityMP) and measurement.obs is None:
        return [(label, "Z") for label in measurement.wires or labels]
    if not isinstance(measurement, ExpectationMP) or measurement.obs is None:
        kind = type(measurement).__name__.removesuffix("MP")
        refuse(what, f"returns a {kind}: return expval(...) of observables, or probs(wires=...)")
    if measurement.obs.pauli_rep is None:
        refuse(what, f"measures {measurement.obs.name}: give a sum or product of Pauli matrices")
    return [pair for word in measurement.obs.pauli_rep for pair in word.items()]


def _columns(measurement: Any, of_wire: Mapping[Any, Any], labels: list[Any]) -> Any:
    size = len(next(iter(of_wire.values())))
    if isinstance(measurement, ProbabilityMP):
        bits = [of_wire[label] < 0 for label in measurement.wires or labels]
        outcome = sum(bit.astype(int) << (len(bits) - 1 - k) for k, bit in enumerate(bits))
        return np.eye(2 ** len(bits))[outcome]
    column = np.zeros(size)
    for word, factor in measurement.obs.pauli_rep.items():
        column += float(np.real(factor)) * np.prod([np.ones(size), *(of_wire[w] for w in word)], 0)
    return column[:, None]
