"""Folders of trained weights with a manifest of SHA-256, and the one that ships with qbench."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from qbench.errors import StoreError, WeightsError
from qbench.files import read_file, write_atomically

MANIFEST = "manifest.json"
SHIPPED = Path(__file__).with_name("zoo_v1")
HOME = "glyphs"  # the data set whose weights lie in the folder itself, not in one of its name


class Zoo:
    """A folder with `manifest.json` and one safetensors file a model and seed.

    Args:
        root: The folder; by default the zoo that ships with qbench.
    """

    def __init__(self, root: Path = SHIPPED) -> None:
        self.root = root

    @classmethod
    def shipped(cls, dataset: str = HOME) -> Zoo:
        """The weights that ship with qbench for a data set; an empty zoo where there are none."""
        return cls(SHIPPED if dataset == HOME else SHIPPED / dataset)

    def manifest(self) -> dict[str, str]:
        """SHA-256 of every file by name.

        Raises:
            WeightsError: The manifest cannot be read.
        """
        path = self.root / MANIFEST
        if not path.exists():
            return {}
        try:
            files = json.loads(read_file(path))["files"]
            return {str(name): str(sha256) for name, sha256 in files.items()}
        except StoreError as error:
            raise WeightsError(str(error)) from error
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(
                f"{path} is damaged ({type(error).__name__}): reinstall or retrain"
            ) from error

    def sha256(self, model: str, seed: int) -> str | None:
        """SHA-256 of a model's weights, or None when the zoo has none."""
        return self.manifest().get(file_name(model, seed))

    def seeds(self, model: str) -> list[int]:
        """The seeds for which it has weights of a model."""
        pattern = re.compile(re.escape(model) + r"-seed(\d+)\.safetensors")
        matches = map(pattern.fullmatch, self.manifest())
        return sorted(int(match[1]) for match in matches if match)

    def read(self, model: str, seed: int) -> bytes:
        """The bytes of a model's weights, checked against the manifest.

        Raises:
            WeightsError: The file is missing or was changed.
        """
        path = self.root / file_name(model, seed)
        pinned = self.sha256(model, seed)
        if pinned is None:
            raise WeightsError(
                f"no weights of {model!r} with seed {seed} in {self.root}: "
                "train them with 'qbench train'"
            )
        try:
            content = read_file(path)
        except StoreError as error:
            raise WeightsError(str(error)) from error
        found = hashlib.sha256(content).hexdigest()
        if found != pinned:
            raise WeightsError(
                f"weights {path} were changed: SHA-256 is {found}, the manifest says {pinned}; "
                "reinstall qbench-robustness or retrain"
            )
        return content

    def add(self, model: str, seed: int, content: bytes) -> None:
        """Write a model's weights and enter them into the manifest."""
        name = file_name(model, seed)
        write_atomically(self.root / name, content)
        files = self.manifest() | {name: hashlib.sha256(content).hexdigest()}
        text = json.dumps({"files": files}, indent=1, sort_keys=True) + "\n"
        write_atomically(self.root / MANIFEST, text.encode())


def file_name(model: str, seed: int) -> str:
    """Name of a model's weights in a zoo."""
    return f"{model}-seed{seed}.safetensors"
