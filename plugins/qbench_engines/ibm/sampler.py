"""The only place that knows which Sampler there is.

Since qiskit-ibm-runtime 0.50 it is a client of IBM's executor, `executor_sampler.Sampler`; before,
as beside pennylane-qiskit 0.45, it is `SamplerV2`.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

try:
    from qiskit_ibm_runtime.executor_sampler import Sampler

    CLIENT_SIDE = True
except ImportError:
    from qiskit_ibm_runtime import SamplerV2 as Sampler

    CLIENT_SIDE = False

_AS_GIVEN = 15  # decimals of an angle that a simulation keeps; 5 of a quarter turn by default


def handed_in(
    mode: Any,
    pubs: Sequence[Any],
    shots: int,
    tags: Sequence[str],
    options: dict[str, Any],
    *,
    dry_run: bool = False,
) -> Any:
    """The job of a Sampler on a device or in a batch.

    Args:
        mode: A backend or a batch.
        pubs: Circuits with their parameter values.
        shots: Runs of each circuit.
        tags: Of the job.
        options: Of the Sampler.
        dry_run: Let IBM check and time the job without running it; only where `CLIENT_SIDE`.
    """
    sampler = Sampler(mode=mode, options={**options, "environment": {"job_tags": list(tags)}})
    return sampler.run(pubs, shots=shots, **({"dry_run": True} if dry_run else {}))


def simulated(device: Any, pubs: Sequence[Any], shots: int, seed: int) -> Any:
    """What a Sampler gives in local testing mode.

    Args:
        device: A simulator.
        pubs: Circuits with their parameter values.
        shots: Runs of each circuit.
        seed: At least 1: 0 is taken for none.
    """
    angles = {"angle_decimals": _AS_GIVEN} if CLIENT_SIDE else {}
    options = {"simulator": {"seed_simulator": seed, **angles}}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*no effect in local testing mode.*")
        return Sampler(mode=device, options=options).run(pubs, shots=shots).result()
