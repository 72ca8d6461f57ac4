"""What must hold of a data set."""

from __future__ import annotations

import torch

from qbench.datasets.base import Dataset, Split, load_data
from qbench.testing.check import Check, require
from qbench.testing.target import Target

FRESH = 50  # new images that are asked for


def checks(target: Target) -> list[Check]:
    """The checks of a data set."""
    kit = _DatasetKit(target)
    return [
        Check(str(target), "loads: images, range, labels", kit.loads, first=True),
        Check(str(target), "every class is in both splits", kit.classes),
        Check(str(target), "loads twice the same", kit.twice),
        Check(str(target), "new images are new, and always the same", kit.fresh),
    ]


class _DatasetKit:
    def __init__(self, target: Target) -> None:
        self.target = target

    def load(self) -> Dataset:
        return load_data(self.target.text, self.target.plugins)

    def loads(self) -> str:
        data = self.load()
        return (
            f"{len(data.train.y)} to train and {len(data.test.y)} to test, "
            f"{data.train.x.shape[1]} features, {len(data.classes)} classes"
        )

    def classes(self) -> str:
        data = self.load()
        for name, split in (("train", data.train), ("test", data.test)):
            found = set(split.y.tolist())
            missing = [c for label, c in enumerate(data.classes) if label not in found]
            require(not missing, f"{name}: no image of {', '.join(missing[:5])}")
        return ""

    def twice(self) -> str:
        first = self.load().sha256
        load_data.cache_clear()
        torch.manual_seed(1)
        require(
            self.load().sha256 == first,
            "other images when loaded again: seed a generator of its own, and sort files by name",
        )
        return f"SHA-256 {first[:12]}"

    def fresh(self) -> str:
        data = self.load()
        if data.fresh is None:
            return "it makes none, which is its right"
        new = data.fresh(FRESH)
        torch.manual_seed(1)
        require(_same(new, data.fresh(FRESH)), "asked again, it makes other ones")
        test = {image.tobytes() for image in data.test.x.numpy()}
        known = sum(image.tobytes() in test for image in new.x.numpy())
        require(known == 0, f"{known} of {FRESH} are test images")
        return f"{FRESH} tried"


def _same(one: Split, other: Split) -> bool:
    return torch.equal(one.x, other.x) and torch.equal(one.y, other.y)
