"""Models made for a data set: whatever their factory asks about it is filled in."""

from __future__ import annotations

from dataclasses import replace

from qbench.datasets.base import Dataset
from qbench.provided import Provided
from qbench.specs import ModelSpec

STEPS = 20  # of the optimiser, at least, in an epoch: as many as 1000 images in batches of 50 make


def fitted(provided: Provided[ModelSpec], dataset: Dataset) -> Provided[ModelSpec]:
    """A model as it is trained on a data set.

    Parameters that the spec itself gives stand. Where there are few training images, batches are
    made smaller, so that an epoch has at least `STEPS` of them. Where the size is another one than
    the factory's own, the description says so. A model of one size is returned as it is.

    Args:
        provided: The model.
        dataset: What it is trained on.
    """
    spec = provided.spec
    if not spec.fits_data:
        return provided
    facts = {
        "features": dataset.train.x.shape[1],
        "classes": len(dataset.classes),
        "image_shape": dataset.image_shape,
    }
    params = {name: facts[name] for name in spec.fits_data} | dict(spec.params)
    batch = max(1, min(spec.recipe.batch_size, len(dataset.train.y) // STEPS))
    recipe = replace(spec.recipe, batch_size=batch)
    usual, about = provided.resolved({}), spec.description
    if any(usual.get(name, facts[name]) != facts[name] for name in ("features", "classes")):
        about += f" [resized: {facts['features']} features, {facts['classes']} classes]"
    spec = replace(spec, params=params, recipe=recipe, description=about)
    return replace(provided, spec=spec)
