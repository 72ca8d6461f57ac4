"""What Qiskit Machine Learning's `TorchConnector` says of itself; told by its attributes."""

from __future__ import annotations

from torch import nn


def without_gradient(module: nn.Module) -> str:
    """Why a module with connectors in it has no gradient by the images; empty where it may have."""
    networks = [getattr(part, "neural_network", None) for part in module.modules()]
    if any(getattr(network, "input_gradients", None) is False for network in networks):
        return (
            "the TorchConnector's network has its input gradients off: make it with "
            "input_gradients=True"
        )
    return ""
