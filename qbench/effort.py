"""What a task costs, before it is run."""

from __future__ import annotations

from qbench.certifying import SAMPLES
from qbench.datasets.base import Dataset
from qbench.diagnosing import IMAGES, MORE_RESTARTS, MORE_STEPS
from qbench.protocols import load_protocol
from qbench.registry import load_registry
from qbench.tasks import Task, load_data, select


def passes(task: Task) -> tuple[int, int]:
    """How many images a task passes through its model, and how many of them backwards.

    Counts training images and attack steps; what an attack does not declare counts as nothing.
    """
    n = task.limit or _images(task)
    if task.kind == "training" and task.zoo_sha256 is None:
        spec = load_registry(task.plugins).get("model", task.model).spec
        images = len(_data(task).train.y) * spec.recipe.epochs
        if spec.recipe.adversarial_eps:
            images *= 1 + spec.recipe.adversarial_steps
        return images, images
    if task.kind == "robust-accuracy" and task.attack is not None:
        attack = load_registry(task.plugins).get("attack", task.attack).create(**task.params)
        forward, gradient = getattr(attack, "passes", (0, 0))
        return (forward + 2) * n, gradient * n
    if task.kind == "diagnosis" and task.attack is not None:
        attack = load_registry(task.plugins).get("attack", task.attack).create(**task.params)
        forward, gradient = getattr(attack, "passes", (0, 0))
        few, times = min(n, IMAGES), 1 + MORE_STEPS + 1 + MORE_RESTARTS  # of a single restart
        return (times * forward + 2) * few, (times * gradient + 1) * few
    if task.kind == "transfer-accuracy":
        return 2 * n, 0
    if task.kind == "lipschitz" and task.certifier is not None:
        points = n + SAMPLES
        return points, points * len(_data(task).classes)
    return 0, 0


def _data(task: Task) -> Dataset:
    return load_data(task.dataset or load_protocol(task.protocol).selection.dataset, task.plugins)


def _images(task: Task) -> int:
    return len(select(_data(task), load_protocol(task.protocol).selection, None).y)
