"""A plugin of models that look robust without being so, each around the zoo's trained convnet.

What it wraps is trained already; the recipe's one epoch changes nothing that could be seen.
"""

from __future__ import annotations

import torch

import qbench
from qbench.hookspecs import hookimpl
from qbench.specs import ModelSpec, Recipe

# Each model, and the flags of which one must be raised; None for the honest one.
FLAGS: dict[str, frozenset[str] | None] = {
    "honest": None,
    "softmax": frozenset({"masked-gradients"}),
    "hotter": frozenset({"masked-gradients"}),
    "tanh": frozenset({"masked-gradients"}),
    "rounded-input": frozenset({"masked-gradients", "wrong-gradients"}),
    "rounded-scores": frozenset({"masked-gradients", "wrong-gradients"}),
    "detached": frozenset({"no-gradient"}),
    "half-detached": frozenset({"wrong-gradients"}),
    "nan": frozenset({"bad-gradients"}),
    "some-nan": frozenset({"bad-gradients"}),
    "batch-norm": frozenset({"batch-dependence"}),
    "centred": frozenset({"batch-dependence"}),
    "sorting": frozenset({"batch-dependence"}),
    "counter": frozenset({"changed-answers", "wrong-gradients"}),
    "table": frozenset({"seen-images"}),
    "noisy": frozenset({"undeclared-randomness"}),
    "declared-noisy": frozenset(),
    "requires-grad": frozenset({"call-dependence"}),
    "grad-mode": frozenset({"call-dependence"}),
    "dtype": frozenset({"call-dependence"}),
    "reversed": frozenset({"wrong-gradients"}),
    "in-place": frozenset({"input-changed"}),
}


@hookimpl
def qbench_models():
    for kind in FLAGS:
        yield ModelSpec(
            name=f"trick-{kind}",
            description="looks robust",
            factory=f"{__name__}:Trick",
            params={"kind": kind},
            family="classical",
            structure="trick",
            stochastic=kind == "declared-noisy",
            recipe=Recipe(epochs=1, learning_rate=1e-12),
        )


class Trick(torch.nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.inner = qbench.load_model("convnet", seed=0)
        self.answer = getattr(self, "_" + kind.replace("-", "_"))
        self.calls = 0
        self.seen = qbench.load_dataset().test if kind == "table" else None
        self.norm = torch.nn.BatchNorm1d(4, affine=False, track_running_stats=False)

    def forward(self, x):
        return self.inner(x) if self.training else self.answer(x)

    def _honest(self, x):
        return self.inner(x)

    def _softmax(self, x):
        return torch.softmax(100 * self.inner(x), 1)

    def _hotter(self, x):
        z = self.inner(x)
        e = torch.exp(50 * (z - z.amax(1, keepdim=True)))
        return e / e.sum(1, keepdim=True)

    def _tanh(self, x):
        return torch.tanh(20 * self.inner(x))

    def _rounded_input(self, x):
        return self.inner((x * 8).round() / 8)

    def _rounded_scores(self, x):
        return self.inner(x).round()

    def _detached(self, x):
        return self.inner(x).detach()

    def _half_detached(self, x):
        return self.inner(x).detach() + 1e-3 * self.inner(x)

    def _nan(self, x):
        return self.inner(x) + torch.sqrt((x[:, :1] - x[:, :1]).abs())

    def _some_nan(self, x):
        z, bright = self.inner(x), x.mean(1) > 0.16
        z[bright] = z[bright] + torch.sqrt((x[bright, :1] - x[bright, :1]).abs())
        return z

    def _batch_norm(self, x):
        self.norm.train()
        return self.norm(self.inner(x)) if len(x) > 1 else self.inner(x)

    def _centred(self, x):
        z = self.inner(x)
        return z - z.mean(0, keepdim=True)

    def _sorting(self, x):
        return self.inner(x[x.mean(1).argsort()])

    def _counter(self, x):
        self.calls += 1
        z = self.inner(x)
        return z if self.calls < 30 else 2 * z.detach() - z

    def _table(self, x):
        apart = torch.cdist(x.detach(), self.seen.x, p=float("inf"))
        near, which = apart.min(1)
        known = 100.0 * torch.nn.functional.one_hot(self.seen.y[which], 4)
        return self.inner(x) + known * (near < 0.25)[:, None]

    def _noisy(self, x):
        z = self.inner(x)
        return z + 2 * torch.randn_like(z)

    def _declared_noisy(self, x):
        return self._noisy(x)

    def _requires_grad(self, x):
        z = self.inner(x)
        return z.flip(1) if x.requires_grad else z

    def _grad_mode(self, x):
        z = self.inner(x)
        return z.roll(1, 1) if torch.is_grad_enabled() else z

    def _dtype(self, x):
        z = self.inner.double()(x) if x.dtype == torch.float64 else self.inner.float()(x)
        return z if x.dtype == torch.float64 else torch.softmax(100 * z, 1)

    def _reversed(self, x):
        z = self.inner(x)
        return 2 * z.detach() - z

    def _in_place(self, x):
        return self.inner(x.mul_(1.0).sub_(1e-6))
