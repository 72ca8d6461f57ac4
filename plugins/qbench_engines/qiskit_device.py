"""What engines of devices have in common that are described by a backend of Qiskit."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from qbench.circuits.circuit import Circuit
from qbench_engines import host
from qbench_engines.compiling import check_size
from qbench_engines.device import DeviceEngine
from qbench_engines.programs import compile_for, readout_for, values_of
from qbench_hardware.interface import Program


class QiskitDeviceEngine(DeviceEngine):
    """A device whose programs are circuits compiled by Qiskit for its backend."""

    @property
    @abstractmethod
    def _backend(self) -> Any:
        """The backend."""

    def compile(self, circuit: Circuit, amplitudes: bool) -> Program:
        """The circuit for this device, on the qubits where it most likely succeeds.

        Raises:
            UsageError: It needs more qubits than the device has.
        """
        check_size(self.name, self._backend, circuit.qubits)
        return compile_for(circuit, amplitudes, self._backend)

    def values(
        self, program: Program, circuit: Circuit, angles: Tensor, state: Tensor | None
    ) -> NDArray[np.float64]:
        """Parameter values (batch, parameters): the same angles as on any other engine."""
        return values_of(program, host.read(self.name, circuit, angles, state))

    def readout(self, program: Program) -> tuple[Program, NDArray[np.float64]]:
        """Circuits that prepare each outcome on the qubits a program measures."""
        return readout_for(program, self._backend)
