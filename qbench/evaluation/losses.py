"""What training by a recipe minimises, beside a model's own regularisation."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from qbench.geometry import ascent_direction, project, random_start
from qbench.specs import Recipe, ThreatModel

_APART = 0.01  # ℓ2 distance from an image at which its loss is compared, to either side


def training_loss(
    model: nn.Module, x: Tensor, y: Tensor, recipe: Recipe, eps: float, generator: torch.Generator
) -> Tensor:
    """Cross-entropy of clean images, of attacked ones (Madry et al. 2018), or TRADES; a mean.

    TRADES (Zhang et al. 2019, Eq. 5 and Algorithm 1) adds to the cross-entropy of the clean images
    β times the divergence KL(p(x) ‖ p(x')) of the distributions that the model's softmax gives for
    the image x and an attacked x'. Attacks start anywhere in the ball, where the paper's starts
    within a normal distribution of 0.001 about x.

    Args:
        model: The model in training.
        x, y: Images (n, features) in [0, 1] and labels (n,).
        recipe: Says which; its attack's number of steps, and β.
        eps: Budget of the attack; 0 for none.
        generator: Of the attack's random starts.
    """
    if recipe.trades:
        clean = model(x)
        target = log_softmax(clean.detach(), 1)
        x_adv = _attacked(
            lambda x_adv: _divergence(target, model(x_adv)), x, eps, recipe, generator
        )
        moved = _divergence(log_softmax(clean, 1), model(x_adv))
        return cross_entropy(clean, y) + recipe.trades * moved
    if eps:
        x = _attacked(lambda x_adv: cross_entropy(model(x_adv), y), x, eps, recipe, generator)
    return cross_entropy(model(x), y)


def _divergence(log_p: Tensor, scores: Tensor) -> Tensor:
    """Mean over a batch of KL(p ‖ softmax(scores))."""
    return kl_div(log_softmax(scores, 1), log_p, reduction="batchmean", log_target=True)


def _attacked(
    loss: Callable[[Tensor], Tensor],
    x: Tensor,
    eps: float,
    recipe: Recipe,
    generator: torch.Generator,
) -> Tensor:
    """The inner maximisation: PGD in ℓ∞ from a random start, last step kept."""
    threat = ThreatModel(norm="linf", eps=eps)
    step = 2.5 * eps / recipe.adversarial_steps
    x_adv = random_start(x, threat, generator)
    for _ in range(recipe.adversarial_steps):
        x_adv.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(x_adv), x_adv)
        x_adv = project(x_adv.detach() + step * ascent_direction(gradient, "linf"), x, threat)
    return x_adv


def gradient_penalty(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Mean over a batch of ‖∂L/∂x‖₂², L the cross-entropy of an image, to be differentiated by θ.

    (Ross and Doshi-Velez 2018, Sec. 3.) No second derivative is asked of the model, since engines
    with adjoint gradients have none: with g = ∂L/∂x held fixed and u = g / ‖g‖, the derivative of
    ‖g‖² by the parameters is that of 2 ‖g‖ · ∂L/∂u, and the slope along u is a central difference,
    wrong by the square of its width. A stochastic model draws the same in all three passes.

    Args:
        model: The model in training.
        x, y: Images (n, features) and labels (n,).
    """
    draws = torch.get_rng_state()

    def losses(points: Tensor) -> Tensor:
        torch.set_rng_state(draws)
        return cross_entropy(model(points), y, reduction="none")

    inputs = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(losses(inputs).sum(), inputs)
    length = torch.linalg.vector_norm(g, dim=1)
    offset = _APART * ascent_direction(g, "l2")
    slope = (losses(x + offset) - losses(x - offset)) / (2 * _APART)
    by_parameters = 2 * (length * slope).mean()
    penalty: Tensor = length.square().mean() + by_parameters - by_parameters.detach()
    return penalty
