"""What the certificate tests share: slopes between inputs, and the published checkpoints."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def largest_slope() -> Callable[[nn.Module, int, str, int], float]:
    """Largest |f(x) − f(x')| / |x − x'| over random pairs, near and far, in and out of the box."""

    def measure(model: nn.Module, features: int, scope: str, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        start = torch.rand(64, features, generator=generator, dtype=torch.float64) * 4 - 2
        step = torch.randn(64, features, generator=generator, dtype=torch.float64)
        step *= torch.logspace(-4, 1, 64, dtype=torch.float64)[:, None]
        with torch.no_grad():
            change = model(start + step) - model(start)
        moved = change.norm(dim=1) if scope == "vector" else change.abs().amax(1)
        return float((moved / step.norm(dim=1)).max())

    return measure


@pytest.fixture(scope="session")
def randomise() -> Callable[[nn.Module, int, Mapping[str, float]], nn.Module]:
    """Set a model's parameters to normal numbers of the given scales, in float64."""

    def fill(model: nn.Module, seed: int, scales: Mapping[str, float]) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        model.double()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(scales[name] * torch.randn(parameter.shape, generator=generator))
        return model

    return fill


@pytest.fixture(scope="session")
def published() -> Path:
    """The folder of the reference paper's checkpoints and images."""
    folder = Path(os.environ.get("QBENCH_PUBLISHED", ROOT.parent / "shared" / "published"))
    if not folder.is_dir():
        pytest.skip("the published checkpoints are not here: set QBENCH_PUBLISHED to their folder")
    return folder


@pytest.fixture(scope="session")
def load_published(published: Path) -> Callable[[Any, str], Any]:
    """Fill a model with a published checkpoint, in the checkpoint's precision."""

    def load(model: Any, name: str) -> Any:
        state = torch.load(published / "model_checkpoints" / name, weights_only=True)
        model.to(next(iter(state.values())).dtype)
        model.load_state_dict({model.published_names[key]: value for key, value in state.items()})
        return model

    return load


@pytest.fixture(scope="session")
def published_images(published: Path) -> Tensor:
    """The 200 published test images, 18x18 on disk and cropped to 16x16, as (200, 256)."""
    image = pytest.importorskip("PIL.Image", reason="reading the published images needs Pillow")
    paths = sorted((published / "dataset" / "dataset_test").glob("class_*/*.png"))
    pixels = np.stack([np.asarray(image.open(path)) for path in paths])[:, 1:17, 1:17]
    return torch.tensor(pixels.reshape(len(paths), -1) / 255, dtype=torch.float32)
