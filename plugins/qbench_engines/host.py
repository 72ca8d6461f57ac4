"""From torch to numpy and back, for engines that run outside torch and give no gradients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench.errors import Unsupported, UsageError

_ROUNDING = 1e-5  # of a constant angle: float32 is off by 1e-7
_NORM_TOLERANCE = 1e-3  # float32 is off by 1e-7; more than this is no rounding


Content: TypeAlias = tuple[bytes, bytes | None]


@dataclass(frozen=True)
class Inputs:
    """What a batch of circuits runs on, in float64.

    Args:
        angles: (batch, layers * qubits * 3), or one row shared by the batch; radians.
        state: Unit vectors (batch, 2^n), or one row shared by the batch; None for |0...0>.
        batch: Number of circuits.
    """

    angles: NDArray[np.float64]
    state: NDArray[np.float64] | None
    batch: int

    def row(self, index: int) -> Inputs:
        """One circuit of the batch."""
        state = self.state
        return Inputs(
            self.angles[index % len(self.angles)][None],
            None if state is None else state[index % len(state)][None],
            1,
        )

    @property
    def content(self) -> Content:
        """Angles and state as bytes, by which equal inputs are found."""
        return self.angles.tobytes(), None if self.state is None else self.state.tobytes()

    @classmethod
    def of(cls, contents: Sequence[Content]) -> Inputs:
        """A batch from the `content` of its circuits, which all have a state or none."""
        angles = np.stack([np.frombuffer(angles) for angles, _ in contents])
        states = [np.frombuffer(state) for _, state in contents if state is not None]
        return cls(angles, np.stack(states) if states else None, len(contents))


def read(name: str, circuit: Circuit, angles: Tensor, state: Tensor | None) -> Inputs:
    """Check an engine's arguments and bring them to the host.

    States are normalised in float64: float32 rounding is more than simulators tolerate.

    Args:
        name: Of the engine, for messages.
        circuit, angles, state: As in `qbench.interfaces.Engine.probabilities`.

    Raises:
        UsageError: Shapes do not fit, a value is not finite, or a state is complex or no unit
            vector.
    """
    shape, size = circuit.angles_shape, 2**circuit.qubits
    if angles.dim() not in (3, 4) or tuple(angles.shape[-3:]) != shape:
        raise UsageError(
            f"engine {name!r}: angles {tuple(angles.shape)} should be {shape} or "
            f"(batch, {', '.join(map(str, shape))})"
        )
    rows = _finite(name, "angles", angles).reshape(-1, 3 * circuit.layers * circuit.qubits)
    _check_constants(name, circuit, rows)
    if state is None:
        return Inputs(rows, None, len(rows))
    if state.is_complex() or state.dim() != 2 or state.shape[1] != size:
        raise UsageError(
            f"engine {name!r}: state {tuple(state.shape)} should be real (batch, {size})"
        )
    if len(rows) != len(state) and 1 not in (len(rows), len(state)):
        raise UsageError(f"engine {name!r}: {len(rows)} sets of angles for {len(state)} states")
    amplitudes = _finite(name, "states", state)
    norms = np.linalg.norm(amplitudes, axis=1, keepdims=True)
    if bool((abs(norms - 1) > _NORM_TOLERANCE).any()):
        worst = int(abs(norms - 1).argmax())
        raise UsageError(
            f"engine {name!r}: state {worst} has norm {norms[worst, 0]:.6g}, should be 1"
        )
    return Inputs(rows, amplitudes / norms, max(len(rows), len(state)))


def _check_constants(name: str, circuit: Circuit, rows: NDArray[np.float64]) -> None:
    """Raise `UsageError` where angles (batch, P) are not those that the circuit says they are."""
    for index, constant in circuit.constants:
        if (abs(rows[:, index] - constant) > _ROUNDING * (1 + abs(constant))).any():
            raise UsageError(f"engine {name!r}: angle {index} should be {constant:.6g} as declared")


def refuse_gradients(name: str, reason: str, *tensors: Tensor | None) -> None:
    """Raise `Unsupported` where torch would record a gradient that the engine cannot give.

    A silent zero gradient would make every attack look harmless.
    """
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors):
        raise Unsupported(
            f"engine {name!r} gives no gradients ({reason}): evaluate under torch.no_grad(), or "
            "attack the ideal simulator (--craft-on ideal)"
        )


def write(probabilities: NDArray[Any], like: Tensor) -> Tensor:
    """Probabilities in the precision and on the device of the angles."""
    return torch.from_numpy(np.ascontiguousarray(probabilities)).to(like)


def _finite(name: str, what: str, tensor: Tensor) -> NDArray[np.float64]:
    values: NDArray[np.float64] = tensor.detach().double().cpu().numpy()
    if not np.isfinite(values).all():
        raise UsageError(f"engine {name!r}: {what} are not finite")
    return values
