"""Sampler jobs as either interface of qiskit-ibm-runtime hands them in, run without noise."""

from __future__ import annotations

import json
from typing import Any

from qiskit.primitives import StatevectorSampler
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder


def carried_out(body: bytes, seed: int) -> tuple[dict[str, Any], str]:
    """The Sampler's options of a job, and its results as the service gives them.

    Args:
        body: Of the request that hands it in.
        seed: Of its shots.
    """
    if json.loads(body)["program_id"] == "executor":
        return _program(json.loads(body)["params"], seed)
    params = json.loads(body, cls=RuntimeDecoder)["params"]
    pubs = [tuple(pub) for pub in params["pubs"]]
    for circuit, *_ in pubs:
        circuit._layout = None  # the sampler warns of it
    result = StatevectorSampler(seed=seed).run(pubs).result()
    return params["options"], json.dumps(result, cls=RuntimeEncoder)


def _program(params: dict[str, Any], seed: int) -> tuple[dict[str, Any], str]:
    """A job of the executor, since qiskit-ibm-runtime 0.50."""
    from ibm_quantum_schemas.common import CompressedTensorModel
    from ibm_quantum_schemas.executor.version_2_0 import models
    from qiskit_aer import AerSimulator
    from qiskit_ibm_runtime.fake_provider.executor.run_quantum_program import run_quantum_program
    from qiskit_ibm_runtime.options_models.simulator import SimulatorOptions
    from qiskit_ibm_runtime.quantum_program.params_converters import (
        QUANTUM_PROGRAM_PARAMS_CONVERTERS,
    )

    converter = QUANTUM_PROGRAM_PARAMS_CONVERTERS[params["schema_version"]]
    given = converter.model.model_validate(params)
    program, _ = converter.decoder(given)
    for item in program.items:  # a twirled one comes without what is drawn of it
        if hasattr(item, "samplex"):
            item.samplex.finalize()
    options = SimulatorOptions(seed_simulator=seed, angle_decimals=15)
    found = run_quantum_program(AerSimulator(), program, options)
    items = [
        models.QuantumProgramResultItemModel(
            results={name: CompressedTensorModel.from_numpy(item[name]) for name in item},
            metadata=models.ItemMetadataModel(),
        )
        for item in found
    ]
    result = models.QuantumProgramResultModel(
        data=items,
        metadata=models.MetadataModel(chunk_timing=[]),
        passthrough_data=given.quantum_program.passthrough_data,
        semantic_role=given.quantum_program.semantic_role,
    )
    told = program.passthrough_data["post_processor"]["options"]
    return told, result.model_dump_json()
