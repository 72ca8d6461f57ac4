"""What single classes of ART 1.20 need to do their work."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Quirks:
    """How a class is handled.

    Args:
        alone: Hand over one image at a time. The class loops over them anyway, and one image that
            does not come to an end then costs only itself.
        starts: Hand over starting points. Its own are noise, which a model tends to put into one
            single class.
        square: Inputs must be square images.
        slack: Widen the box that ART is told of by so many of its widths; the model sees images
            clipped to the real one.
        probabilities: It wants probabilities for scores.
        aims: Its targeted mode works.
        labels_aim: It takes labels as classes to reach, whatever the goal.
    """

    alone: bool = False
    starts: bool = False
    square: bool = False
    slack: float = 0.0
    probabilities: bool = False
    aims: bool = True
    labels_aim: bool = False


QUIRKS = {
    # Its targeted mode is about the attacks inside: the goal is still to leave the label.
    "AutoAttack": Quirks(aims=False),
    "BoundaryAttack": Quirks(alone=True, starts=True),
    # In tanh space a pixel on the border of the box has no gradient, and most of ours are black.
    "CarliniL2Method": Quirks(slack=0.05),
    # Targeted, it takes every image outside the class to reach for a success.
    "CarliniLInfMethod": Quirks(alone=True, slack=0.05, aims=False),
    "GeoDA": Quirks(alone=True),
    # Its search for a step length never ends when the current point no longer fools the model.
    "HopSkipJump": Quirks(alone=True, starts=True),
    "SaliencyMapMethod": Quirks(labels_aim=True),
    "SignOPTAttack": Quirks(alone=True),
    "SimBA": Quirks(alone=True, square=True, probabilities=True),
    "SquareAttack": Quirks(square=True),
    "VirtualAdversarialMethod": Quirks(probabilities=True),
    # It clips the perturbation to the box, not the image: in [0, 1] it could only brighten. Of a
    # batch it changes the first image only.
    "ZooAttack": Quirks(alone=True, slack=1.0),
}
