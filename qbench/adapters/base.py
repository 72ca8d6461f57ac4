"""What every adapter is: a torch module from images (n, features) to scores (n, classes)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from qbench.adapters.gradients import (
    ESTIMATES,
    NOISY_STEP,
    STEP,
    Estimate,
    with_estimated_gradient,
)
from qbench.adapters.layout import Layout, Wanted, find_layouts, likely_shapes, probes
from qbench.adapters.outputs import OUTPUTS
from qbench.errors import QbenchError, UsageError
from qbench.text import one_line

_WITHOUT_GRADIENT = (
    "take an attack that needs none (square, spsa, hopskipjump), or estimate it with "
    'qbench.adapt(model, gradient="spsa") or "finite-differences"'
)


class Adapted(nn.Module):
    """A classifier of any kind as qbench asks it: images (n, features) to scores (n, classes).

    How it takes images and what it returns is found out at its first call, by asking about a few
    made-up images, and then kept; `describe` says what was found. Its gradient by the images is
    looked for when it is first asked for.

    Args:
        kind: What was adapted, e.g. `"PennyLane QNode circuit"`.
        wanted: What its owner says of it.
        gradient: How to estimate its gradient by the images; None for its own.

    Raises:
        UsageError: An argument that names nothing known.
    """

    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)
    own_gradient = True  # whether there may be one

    def __init__(self, kind: str, wanted: Wanted, gradient: Estimate | None) -> None:
        super().__init__()
        if wanted.outputs is not None and wanted.outputs not in OUTPUTS:
            raise UsageError(f"outputs are one of {', '.join(OUTPUTS)}, not {wanted.outputs!r}")
        if gradient is not None and gradient not in ESTIMATES:
            raise UsageError(f"gradient is one of {', '.join(ESTIMATES)}, or None: {gradient!r}")
        self.kind, self.wanted, self.gradient = kind, wanted, gradient
        self.image_shape: tuple[int, ...] | None = None
        self.unit = 1.0
        self._layouts: dict[int, list[Layout]] = {}
        self._varies: dict[int, bool] = {}
        self._differentiated: dict[int, Layout | str] = {}

    # What a kind of adapter defines.

    def ask(self, x: Tensor) -> object:
        """What the classifier returns for images of its own shape."""
        raise NotImplementedError

    def without_gradient(self) -> str:
        """Why there is no gradient, where the kind knows more than what was raised."""
        return ""

    # What all of them do.

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features), with a gradient where there is one.

        Raises:
            DataError: The classifier cannot be asked about such images.
        """
        layout = self.layout(x)
        if not (x.requires_grad and torch.is_grad_enabled()):
            return layout.scores(self.ask, x)
        if self.gradient is not None:
            step = self.unit * (NOISY_STEP if self._varies[x.shape[1]] else STEP)
            return with_estimated_gradient(
                lambda points: layout.scores(self.ask, points), x, self.gradient, step
            )
        found = self._gradient_of(x)
        if isinstance(found, str):
            return layout.scores(self.ask, x.detach())
        return found.scores(self.ask, x)

    def missing_gradient(self, x: Tensor) -> str:
        """Why there is no gradient by images such as x (n, features), and what to do; else empty.

        Looks for one, by differentiating two made-up images.
        """
        found = None if self.gradient is not None else self._gradient_of(x)
        if not isinstance(found, str):
            return ""
        return f"{self.kind} gives no gradient ({found}): {_WITHOUT_GRADIENT}"

    def layout(self, x: Tensor) -> Layout:
        """How it is asked about images such as x (n, features)."""
        if x.dim() != 2:
            raise UsageError(
                f"an adapted model takes images (n, features), got {tuple(x.shape)}: flatten them"
            )
        features = x.shape[1]
        if features not in self._layouts:
            known = self.wanted.shape
            shapes = likely_shapes(features, self.image_shape) if known is None else [known]
            with self._probing(), torch.no_grad():
                made = probes(features, x, self.unit)
                found, varies = find_layouts(self.ask, made, self.wanted, shapes, self.dtypes)
            self._layouts[features], self._varies[features] = found, varies
        return self._layouts[features][0]

    def unwrapped(self, x: Tensor) -> nn.Module:
        """The classifier itself where it does all that its adapter does for images like x."""
        return self

    def describe(self) -> str:
        """What was adapted, and what was found out about it so far, in one line."""
        if not self._layouts:
            return f"{self.kind}: not asked yet"
        return "; ".join(self._described(features) for features in self._layouts)

    def _described(self, features: int) -> str:
        layout, varies = self._layouts[features][0], self._varies[features]
        found = self._differentiated.get(features)
        if self.gradient is not None:
            gradient = f"estimated by {self.gradient}"
        elif isinstance(found, Layout):
            gradient = "its own" if found.style == layout.style else f"its own, {found.style}"
        else:
            gradient = found or ("not asked for" if self.own_gradient else "none")
        return (
            f"{self.kind}: takes {layout.shape} as {layout.style} in "
            f"{str(layout.dtype).removeprefix('torch.')}, gives {layout.outputs} of "
            f"{layout.classes} classes{' that vary from pass to pass' if varies else ''}; "
            f"gradient: {gradient}"
        )

    __str__ = describe

    def _gradient_of(self, x: Tensor) -> Layout | str:
        features = x.shape[1]
        if features not in self._differentiated:
            self.layout(x)
            self._differentiated[features] = self._find_gradient(x)
        return self._differentiated[features]

    def _find_gradient(self, x: Tensor) -> Layout | str:
        """The fastest way to ask that has a gradient, or why there is none."""
        features, why = x.shape[1], ""
        if not self.own_gradient:
            return self.without_gradient() or "it computes no derivatives"
        for layout in self._layouts[features]:
            made = probes(features, x.detach(), self.unit)[:2].requires_grad_()
            try:
                with self._probing(), torch.enable_grad():
                    scores = layout.scores(self.ask, made)
                    (gradient,) = torch.autograd.grad(scores.sum(), made, allow_unused=True)
                if gradient is not None:
                    return layout
                why = why or "scores do not depend on the tensor that it is given"
            except QbenchError:
                raise
            except Exception as error:  # whatever a stranger's backward pass raises
                cut = "require" in str(error) and " grad" in str(error)
                raised = f"{type(error).__name__}: {one_line(str(error), 200)}"
                why = why or ("it is cut off by detach(), no_grad() or NumPy" if cut else raised)
        return self.without_gradient() or why

    @contextmanager
    def _probing(self) -> Iterator[None]:
        """Evaluation mode, and neither warnings nor a change of torch's random numbers."""
        training = {module: module.training for module in self.modules()}
        self.eval()
        try:
            with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
                warnings.simplefilter("ignore")
                yield
        finally:
            for module, mode in training.items():
                module.training = mode
