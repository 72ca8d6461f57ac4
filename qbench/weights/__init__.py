"""Trained weights: safetensors files with what they came from, and folders of them (zoos)."""

from qbench.weights.files import Provenance, TrainingState, fingerprint, load_into, pack, unpack
from qbench.weights.zoo import Zoo, file_name

__all__ = [
    "Provenance",
    "TrainingState",
    "Zoo",
    "file_name",
    "fingerprint",
    "load_into",
    "pack",
    "unpack",
]
