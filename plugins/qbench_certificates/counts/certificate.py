"""`counts`: how far an image may be perturbed, from the outcomes that a device counted of it.

What is certified is the class with the largest *expected* score ⟨Z_k⟩ of the device's own map,
noise included: what infinitely many shots would say. One evaluation with finite shots can differ
from it where the margin is small; no certificate speaks about its luck.

**From probabilities to an angle.** Let p₊, p₀, p₋ be the probabilities that a shot of image x has
z_y − z_c = 2, 0 or −2, for the label y and another class c. The margin ⟨Z_y⟩ − ⟨Z_c⟩ is
2(p₊ − p₋). Reading outcomes is a channel, so that the distributions p and q of x and x + δ are at
no larger an angle than the encoding can turn (`encoding`): Σ_o √(p_o q_o) ≥ cos A. Of all q with
q₊ ≤ q₋ the nearest has Σ_o √(p_o q_o) = √(p₀ + (√p₊ + √p₋)²/2) (Cauchy-Schwarz), so the label's
score stays the larger one while

    sin A  <  (√p₊ − √p₋)/√2.

That is the bound of Guan and Ying (2026, arXiv:2605.29877) on the infidelity, ½(√p₁ − √p₂)², with
the two outcomes of a pair of classes for p₁ and p₂. The condition of Weber et al. (2021,
arXiv:2009.10064) from p₁ and p₂ is the same where p₁ + p₂ = 1 and asks for more elsewhere, since it
does not use the third outcome. The condition from the trace distance, sin A < (p₊ − p₋)/2, asks for
more everywhere. A Hoeffding or Bernstein bound on the margin, which goes with that one, lost more
than it saved where we compared them.

**From counts to probabilities.** p₊ is bounded from below and p₋ from above (Clopper and Pearson
1934), each with half of the failure probability of an image. The right-hand side grows in p₊ and
falls in p₋. Where the shots of one circuit are independent but the device drifts, the limits hold
for the average of its maps (Hoeffding 1956), and so does the certificate.

**What is counted once and what is not.** Radii of all n images are right together with the stated
confidence: each image gets an n-th of the failure probability (Bonferroni). Classes do not share
it: an image's radius is too large only if the one of its truly nearest class is, and which class
that is does not depend on chance. Nor do budgets: larger ones are asked about only where the one
before was proved, so the first false claim is the only one that counts (fixed-sequence testing).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral

import torch
from torch import Tensor, nn

from qbench.circuits.circuit import Circuit, z_signs
from qbench.circuits.torch_engine import expectations
from qbench.engines.modules import engine_of, on_engine
from qbench.errors import Unsupported, UsageError, VerificationError
from qbench.evaluation.crafting import frozen
from qbench.interfaces import Engine, Radii
from qbench.specs import Perturbations

from ..confidence import lower_limit, upper_limit
from ..reupload.region import Region, region
from .encoding import turn_of

_MOST_SHOTS = 1_000_000  # frequencies in float32 are no longer counts much above
_STEPS = 30  # of the bisection between two budgets


class Counts:
    """Certified radii of what an engine with shots computes, from fresh counts of its own.

    In ℓ∞ the device is asked, budget by budget, about the centre of what the pixel box leaves of an
    image's cube: a pixel that is 0 can only rise, and half of its way is saved.

    Args:
        failure: Probability that the radius of any image is too large.
        centred: Whether to ask about these centres, or about the images alone and once.

    Raises:
        UsageError: A probability that is none.
    """

    def __init__(self, failure: float = 0.001, centred: bool = True) -> None:
        if not 0 < failure < 1:
            raise UsageError(f"counts: failure is {failure}: give a probability between 0 and 1")
        self.failure, self.centred = failure, centred

    def __call__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        perturbations: Perturbations,
        generator: torch.Generator,
    ) -> Radii:
        """Radii around images x (n, features) with labels y (n,); randomness is the engine's.

        Raises:
            Unsupported: The model's engine counts nothing, or its encoding is not covered.
            VerificationError: The engine's frequencies are no counts of its shots.
            WeightsError: A parameter has a value that is not finite.
        """
        shots = shots_of(model)
        turn, device = turn_of(model), _Device(model, shots)
        exact, failure = x.detach().double().cpu(), self.failure / max(len(x), 1)
        budgets = perturbations.eps
        if not self.centred or perturbations.norm == "l2":
            budgets = budgets[-1:]
        radius, left, below = torch.zeros(len(x), dtype=torch.float64), torch.arange(len(x)), 0.0
        for eps in budgets:
            reached = torch.full((len(x),), eps, dtype=torch.float64)
            asked = region(exact, reached, perturbations).centre if self.centred else exact
            asked = asked.to(x.dtype)

            def within(images: Tensor, size: Tensor, asked: Tensor = asked) -> Tensor:
                around = region(exact[images], size, perturbations)
                centre = asked[images].double()
                width = around.width + (around.centre - centre).abs()
                return turn(Region(perturbations.norm, centre, width))

            # No distribution allows more than a quarter of π: such images need not be measured.
            low = torch.full((len(x),), below, dtype=torch.float64)
            left = left[within(left, low[left]) < math.pi / 4]
            if not len(left):
                break
            safe = safe_angles(device.counts(asked[left]), y[left].cpu(), shots, failure)
            kept = within(left, low[left]) < safe
            left, safe = left[kept], safe[kept]
            radius[left] = _largest(within, left, safe, low[left], reached[left])
            left, below = left[radius[left] >= eps], eps
        detail = f"{shots} shots a point, {device.asked} points, all images right together"
        return Radii(radius=radius, confidence=1 - self.failure, detail=detail)


def _largest(
    within: Callable[[Tensor, Tensor], Tensor],
    images: Tensor,
    safe: Tensor,
    low: Tensor,
    high: Tensor,
) -> Tensor:
    """The largest radius in [low, high] at which images turn less than is safe; low is known to."""
    all_of_it = within(images, high) < safe
    for _ in range(_STEPS):
        middle = torch.where(all_of_it, high, (low + high) / 2)
        proved = within(images, middle) < safe
        low, high = torch.where(proved, middle, low), torch.where(proved, high, middle)
    return low


def safe_angles(counts: Tensor, y: Tensor, shots: int, failure: float) -> Tensor:
    """Bures angles (n,) within which the label's expected score stays the largest; 0 for none.

    Args:
        counts: Of each outcome, (n, 2^m) float64, the first measured wire as the highest bit; the
            m wires are the classes.
        y: Labels (n,).
        shots: N.
        failure: Probability that the angle of an image is too large.
    """
    signs = torch.as_tensor(z_signs(counts.shape[1].bit_length() - 1)).mT  # (m, 2^m)
    safe = torch.full((len(y),), torch.inf, dtype=torch.float64)
    for other in range(len(signs)):
        difference = signs[y] - signs[other]
        plus = lower_limit((counts * (difference > 0)).sum(1), shots, failure / 2)
        minus = upper_limit((counts * (difference < 0)).sum(1), shots, failure / 2)
        sine = (plus.sqrt() - minus.sqrt()).clamp(min=0) / math.sqrt(2)
        safe = torch.where(y == other, safe, torch.minimum(safe, sine.asin()))
    return safe


def shots_of(model: nn.Module) -> int:
    """How often a model's engine runs each circuit.

    Raises:
        Unsupported: It does not count.
    """
    shots = getattr(engine_of(model), "shots", None)
    if not isinstance(shots, Integral) or int(shots) < 1:
        raise Unsupported("certificates from counts need an engine with shots: give --shots")
    if int(shots) > _MOST_SHOTS:
        raise Unsupported(f"certificates from counts take at most {_MOST_SHOTS} shots, not {shots}")
    return int(shots)


class _Device:
    """A model's engine as something that counts."""

    def __init__(self, model: nn.Module, shots: int) -> None:
        engine = engine_of(model)
        assert engine is not None
        self.model, self.shots, self.asked, self._engine = model, shots, 0, engine

    def counts(self, x: Tensor) -> Tensor:
        """Counts (n, 2^m) float64 of the outcomes of images x (n, features).

        Raises:
            Unsupported: Scores are not the ⟨Z⟩ of one circuit an image.
            VerificationError: Frequencies are no counts of the shots.
        """
        heard = _Listener(self._engine)
        with on_engine(self.model, heard), frozen(self.model), torch.no_grad():
            scores = self.model(x)
        self.asked += len(x)
        if len(heard.found) != 1 or len(heard.found[0]) != len(x):
            raise Unsupported(f"{type(self.model).__name__} does not run one circuit an image")
        frequencies = heard.found[0]
        if not torch.allclose(scores, expectations(frequencies), atol=1e-5):
            raise Unsupported(f"the scores of {type(self.model).__name__} are not ⟨Z⟩ of its wires")
        found = frequencies.double().cpu() * self.shots
        whole = found.round()
        if bool(((found - whole).abs() > 0.1).any()) or bool((whole.sum(1) != self.shots).any()):
            raise VerificationError(
                f"engine {self._engine.name!r} gives frequencies that are no counts of "
                f"{self.shots} shots"
            )
        return whole


class _Listener:
    """An engine that passes on what another one gives, and keeps it."""

    exact = False
    differentiable = False

    def __init__(self, engine: Engine) -> None:
        self.name, self.engine = engine.name, engine
        self.found: list[Tensor] = []

    def probabilities(
        self, circuit: Circuit, angles: Tensor, state: Tensor | None = None
    ) -> Tensor:
        """Relative frequencies (batch, 2^m)."""
        found = self.engine.probabilities(circuit, angles, state)
        self.found.append(found)
        return found
