"""What each flag says, what to do about it, and whether a model that raises it can have a rank."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Meaning(NamedTuple):
    """What a flag says, and what to do about it; `blocking` ones take the model out of the ranking.

    Attacks say nothing about a model that raises a blocking flag, or its predictions do not.
    """

    sign: str
    remedy: str
    blocking: bool = False


MEANINGS: Mapping[str, Meaning] = {
    "attack-rejected": Meaning(
        "What an attack returned left the ball or the box, was not finite, or had another shape, "
        "and was not counted.",
        "Correct the attack.",
    ),
    "bad-gradients": Meaning(
        "Some derivative of the margin is infinite or no number, so attacks that follow it go "
        "astray.",
        "Look for a square root, a logarithm or a division at 0 in the model.",
        blocking=True,
    ),
    "batch-dependence": Meaning(
        "The scores of an image change with the other images of its batch, or with their order.",
        "Score each image by itself: no statistics over the batch, batch normalisation in "
        "evaluation mode.",
        blocking=True,
    ),
    "black-box-stronger": Meaning(
        "An attack without gradients breaks more images than each of those with them: their budget "
        "is too small, or the gradients mislead.",
        "Add steps and restarts, and look for saturation, rounding or a wrong gradient.",
    ),
    "call-dependence": Meaning(
        "The scores of an image change with how the model is called: with or without gradients, or "
        "in double precision.",
        "Compute the same function in every mode and precision.",
        blocking=True,
    ),
    "changed-answers": Meaning(
        "What an attack was told of an image is not what the saved model says of it, asked again "
        "in a process of its own.",
        "Let scores and gradients depend on the image and the weights alone.",
        blocking=True,
    ),
    "changed-code": Meaning(
        "The model's plugin replaces functions of qbench, torch or numpy. They were put back.",
        "Replace nothing.",
        blocking=True,
    ),
    "changed-settings": Meaning(
        "Importing, making or calling the model changed settings of the whole process: a default "
        "type, gradient mode, threads. They were put back.",
        "Leave them alone.",
    ),
    "eps-not-monotone": Meaning(
        "Accuracy under one attack rises with ε, though every smaller perturbation is allowed.",
        "Give the attack more steps or a better step size at the larger budget.",
    ),
    "flat-gradients": Meaning(
        "To first order no margin changes within ε at more than a tenth of the images, so attacks "
        "by gradients stand still there.",
        "Return scores from before the final softmax, tanh or rounding.",
    ),
    "input-changed": Meaning(
        "The model changes the images that it is given. It was evaluated on copies.",
        "Change a copy.",
    ),
    "large-eps-not-chance": Meaning(
        "Accuracy stays above chance where every image may become any other.",
        "The attack does not find what is there for certain: distrust its numbers.",
    ),
    "low-precision": Meaning(
        "Scores have less than single precision, so small gradients are lost.",
        "Compute scores in float32.",
    ),
    "masked-gradients": Meaning(
        "Gradients are flat, and the attack by gradients fails where others succeed: images made "
        "for other models, attacks without gradients, or any image within the whole box. The "
        "model hides its gradients; that is not robustness.",
        "Return scores from before the final softmax, tanh or rounding.",
        blocking=True,
    ),
    "mode-changed": Meaning(
        "The model leaves evaluation mode when it is called.",
        "Respect eval().",
    ),
    "no-gradient": Meaning(
        "Scores have no gradient by the images, and the model's spec says that they have.",
        "Keep the images in torch's graph, or declare differentiable=False.",
        blocking=True,
    ),
    "not-finite": Meaning(
        "Scores are infinite or no numbers.",
        "Look for overflow, and for a division by 0.",
        blocking=True,
    ),
    "seen-images": Meaning(
        "The model does worse on new images of the same generator than on the test images, by more "
        "than chance: it knows the test images.",
        "Train and tune on training images alone.",
        blocking=True,
    ),
    "state-changed": Meaning(
        "Calling the model changes its parameters or buffers.",
        "Change no state in evaluation mode.",
    ),
    "transfer-stronger": Meaning(
        "Images made for another model break more images than the same attack on the model itself.",
        "Attack with more restarts or another loss until it no longer holds.",
    ),
    "undeclared-randomness": Meaning(
        "Two passes over one image differ, and the model's spec does not say so.",
        "Declare it stochastic. It was attacked and scored through several passes all the same.",
        blocking=True,
    ),
    "wrong-gradients": Meaning(
        "Gradients contradict finite differences of the scores, or those that the saved model "
        "gives: attacks follow another function than the one that is scored.",
        "Give the true gradient, or declare differentiable=False.",
        blocking=True,
    ),
}
