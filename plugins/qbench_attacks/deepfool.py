"""DeepFool: straight to the nearest linearised boundary (Moosavi-Dezfooli et al. 2016)."""

from __future__ import annotations

import torch

from qbench_attacks.base import USUAL_TARGETS, at_least
from qbench_attacks.fab import class_gap
from qbench_attacks.minimum import MinimumNormAttack, Nearest, dual, step_to_plane


class DeepFool(MinimumNormAttack):
    """DeepFool (Algorithm 2; Sec. 3.3 for ℓ∞), with the pixel box in the step to the plane.

    Args:
        steps: Linearisations at most; each needs one gradient for every class but the label.
        overshoot: η, how far beyond the last plane the perturbation is stretched.
        halvings: Bisections of the segment from the image to the point found, at the end.
    """

    def __init__(self, *, steps: int = 50, overshoot: float = 0.02, halvings: int = 10) -> None:
        at_least("steps", steps, 1)
        self.steps, self.overshoot, self.halvings = steps, overshoot, halvings

    @property
    def passes(self) -> tuple[int, int]:
        """Images passed through the model per image attacked, and differentiated, at most."""
        gradients = USUAL_TARGETS * self.steps
        return 2 + gradients + self.steps + self.halvings, gradients

    def minimise(self, nearest: Nearest) -> None:
        """Step to the nearest plane until the stretched perturbation is adversarial."""
        whole = nearest.search
        target_count = nearest.targets.shape[1]
        points = whole.x.clone()
        for _ in range(self.steps):
            left = (~nearest.found).nonzero()[:, 0]
            if not len(left):
                break
            search, at = whole.only(left), points[left]
            pairs = [class_gap(search, at, nearest.targets[left, k]) for k in range(target_count)]
            gaps = torch.stack([gap for gap, _ in pairs], 1)
            normals = torch.stack([normal for _, normal in pairs], 1)
            slope = dual(normals, search.threat.norm)
            near = (gaps.abs() / slope.clamp_min(torch.finfo(slope.dtype).tiny)).argmin(1)
            every = torch.arange(len(left), device=near.device)
            gap, normal = gaps[every, near], normals[every, near]
            at = search.clip(at + step_to_plane(at, normal, gap, search.threat))
            points[left] = at
            stretched = points.clone()
            stretched[left] = search.clip(search.x + (1 + self.overshoot) * (at - search.x))
            nearest.attempt_some(left, stretched[left])
        nearest.refine(self.halvings)
