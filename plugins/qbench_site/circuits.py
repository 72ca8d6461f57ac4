"""A model's circuit: what it costs, and where the parts of its drawing lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from qbench.circuits.circuit import Circuit
from qbench.datasets.base import Dataset
from qbench.datasets.fitting import fitted
from qbench.errors import QbenchError
from qbench.evaluation.isolation import isolated
from qbench.plugin_files import PluginFile
from qbench.records.record import Card
from qbench.registry import load_registry

_FEWEST, _STEP, _BOX = 12, 26, 44  # pixels: margins, between wires or CNOTs, of a rotation


@dataclass(frozen=True)
class Cnot:
    """A CNOT of the drawing: its place and its wires, in pixels."""

    x: int
    control: int
    target: int


@dataclass(frozen=True)
class Drawing:
    """One layer of a circuit, in pixels; the wires' heights, and the measured ones."""

    width: int
    height: int
    wires: tuple[int, ...]
    rotation: int
    cnots: tuple[Cnot, ...]
    end: int
    measured: tuple[int, ...]


@dataclass(frozen=True)
class Facts:
    """What a circuit costs; a `Rot`, three rotations of one qubit, counts as one gate of depth."""

    circuit: Circuit
    rotations: int
    cnots: int
    depth: int

    @property
    def ranges(self) -> tuple[int, ...]:
        """Every entangling range that a layer has, sorted."""
        return tuple(sorted(set(self.circuit.ranges)))


def circuit_of(
    card: Card | None, dataset: Dataset | None, plugins: Sequence[PluginFile] = ()
) -> Circuit | None:
    """The circuit that a model runs; None for one without, or that nobody provides as it was.

    Args:
        card: The model's; what is provided by its name must have as many parameters.
        dataset: What it was trained on, for a model that is made for its data.
        plugins: Files that may provide it.
    """
    if card is None or card.family != "quantum":
        return None
    try:
        provided = load_registry(tuple(plugins)).get("model", card.name)
        with isolated(0):
            made = (provided if dataset is None else fitted(provided, dataset)).create()
    except QbenchError:
        return None
    parameters = sum(p.numel() for p in made.parameters()) if isinstance(made, nn.Module) else None
    found = getattr(made, "circuit", None)
    return found if isinstance(found, Circuit) and parameters == card.parameters else None


def facts(circuit: Circuit) -> Facts:
    """Counts of gates, and the depth when every gate is done as early as its qubits are free."""
    free = [0] * circuit.qubits
    for cnots in circuit.cnots:
        free = [time + 1 for time in free]
        for control, target in cnots:
            free[control] = free[target] = max(free[control], free[target]) + 1
    return Facts(
        circuit=circuit,
        rotations=3 * circuit.qubits * circuit.layers,
        cnots=sum(map(len, circuit.cnots)),
        depth=max(free),
    )


def drawing(circuit: Circuit) -> Drawing:
    """The first layer and the measurement."""
    wires = tuple(_FEWEST + 10 + _STEP * wire for wire in range(circuit.qubits))
    first = 48 + _BOX + 24
    cnots = tuple(
        Cnot(first + _STEP * place, wires[control], wires[target])
        for place, (control, target) in enumerate(circuit.cnots[0])
    )
    end = first + _STEP * len(cnots)
    return Drawing(
        width=end + 78,
        height=wires[-1] + 34,
        wires=wires,
        rotation=48,
        cnots=cnots,
        end=end,
        measured=tuple(wires[wire] for wire in circuit.measured),
    )
