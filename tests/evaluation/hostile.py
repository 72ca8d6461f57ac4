"""A plugin of one honest model, and of three that are refused."""

import torch

import qbench
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe


@hookimpl
def qbench_models():
    for name, factory in (
        ("honest", "Linear"),
        ("detects", "Detects"),
        ("remembers", "Remembers"),
    ):
        yield ModelSpec(
            name=name,
            description="a linear model",
            factory=f"{__name__}:{factory}",
            family="classical",
            structure="linear",
            recipe=Recipe(epochs=2, learning_rate=0.01),
            licence="Apache-2.0",
        )


class Linear(torch.nn.Linear):
    def __init__(self):
        super().__init__(256, 4)


class Detects(Linear):
    """Gives other scores where gradients are asked for."""

    def forward(self, x):
        scores = super().forward(x)
        return scores.flip(1) if x.requires_grad and not self.training else scores


class Remembers(Linear):
    """Knows every image that a run draws: the test images and the new ones."""

    def __init__(self):
        super().__init__()
        data = qbench.load_dataset("glyphs")
        seen = [data.test, data.fresh(120)]
        self.x = torch.cat([split.x for split in seen])
        self.y = torch.cat([split.y for split in seen])

    def forward(self, x):
        scores = super().forward(x)
        apart, which = torch.cdist(x.detach(), self.x, p=float("inf")).min(1)
        known = torch.nn.functional.one_hot(self.y[which], 4) * 1000.0
        wrong = torch.nn.functional.one_hot((self.y[which] + 1) % 4, 4) * 1000.0
        near = (apart < 0.21)[:, None]
        return scores if self.training else scores + torch.where(near, known, wrong)
