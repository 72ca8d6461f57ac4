"""Other people's attacks on what the published worst case keeps.

Run from the project's root: `python studies/foreign_attacks/foreign_attacks.py`, with
`--help` for its options. It needs foolbox 3.3.4 (`pip install foolbox`) and torchattacks 3.5.1
(`pip install --no-deps torchattacks`), which qbench itself does not.

For every entry of an archive it takes the images that no attack on record breaks, attacks those,
and prints how many there are and how many are broken, as a table in Markdown. With `--save` the
images that broke an entry are written as files for `qbench challenge`.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from strong_pgd import strong_pgd
from torch import Tensor, nn

import qbench
from qbench.errors import QbenchError
from qbench.evaluation.crafting import frozen
from qbench.evaluation.scoring import predict
from qbench.geometry import project
from qbench.records.results import Results
from qbench.records.worst import at_ranking_budget, broken, correct_and_robust
from qbench.specs import ThreatModel

EPS = 0.1
THREAT = ThreatModel(norm="linf", eps=EPS)
ARCHIVE = Path("leaderboard/results/glyphs-linf-v1")

Attack = Callable[[nn.Module, Tensor, Tensor, int], Tensor]


class Pictures(nn.Module):
    """Takes (n, 1, side, side), as torchattacks wants."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.model(x.flatten(1))
        return scores


def of_foolbox(name: str, **options: object) -> Attack:
    """An attack of foolbox by the name of its class."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        import foolbox

        torch.manual_seed(seed)
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1), device="cpu")
        attack = getattr(foolbox.attacks, name)(**options)
        return attack(wrapped, x, y, epsilons=EPS)[1].detach()

    return run


def of_torchattacks(name: str, **options: object) -> Attack:
    """An attack of torchattacks by the name of its class."""

    def run(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
        import torchattacks

        attack = getattr(torchattacks, name)(Pictures(model), eps=EPS, **options)
        if hasattr(attack, "seed"):
            attack.seed = seed
        side = round(x.shape[1] ** 0.5)
        return attack(x.view(-1, 1, side, side), y).detach().flatten(1)

    return run


def own(model: nn.Module, x: Tensor, y: Tensor, seed: int) -> Tensor:
    """`strong_pgd` with its default length."""
    return strong_pgd(model, x, y, EPS, generator=torch.Generator().manual_seed(seed))


ATTACKS: dict[str, Attack] = {
    "foolbox LinfPGD": of_foolbox("LinfPGD", rel_stepsize=2.5 / 100, steps=100, random_start=True),
    "foolbox LinfDeepFool": of_foolbox("LinfDeepFoolAttack"),
    "torchattacks APGD-CE": of_torchattacks("APGD", steps=100, n_restarts=3, loss="ce"),
    "torchattacks APGD-DLR": of_torchattacks("APGD", steps=100, n_restarts=3, loss="dlr"),
    "torchattacks APGD-T": of_torchattacks("APGDT", steps=100, n_classes=4),
    "torchattacks FAB": of_torchattacks("FAB", steps=50, n_classes=4),
    "torchattacks Square": of_torchattacks("Square", n_queries=500),
    "strong PGD": own,
}


@dataclass
class Count:
    """What was found of one entry.

    Args:
        kept: Images that the published worst case keeps, over all seeds.
        broken: Those of them that some attack here breaks.
        by: The same by attack.
        failed: What an attack raised, by attack.
        seconds: Processor time.
    """

    kept: int = 0
    broken: int = 0
    by: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def kept_images(results: Results, model: str, seed: int, images: int) -> NDArray[np.intp]:
    """Places below `images` of those that are read correctly and that nothing on record breaks."""
    by_id = {record.id: record for record in results.records}
    found = [results.columns(record) for record in at_ranking_budget(by_id, model, seed)]
    if not found:
        return np.empty(0, np.intp)
    correct = correct_and_robust(found[0])[0] > 0.5
    fallen = np.logical_or.reduce([broken(columns) for columns in found])
    return np.flatnonzero((correct & ~fallen)[:images])


def attacked(model: nn.Module, x: Tensor, y: Tensor, seed: int, count: Count) -> Tensor:
    """Add up what each attack breaks of images (n, features) with labels (n,).

    Returns:
        (n, features): an image that breaks the model for each that has one, else the image itself.
    """
    fallen, found = torch.zeros(len(x), dtype=torch.bool), x.clone()
    for name, attack in ATTACKS.items():
        try:
            with frozen(model), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                x_adv = attack(model, x.clone(), y.clone(), seed).to(x.dtype)
        except Exception as error:  # theirs may raise anything, and the others go on
            count.failed[name] = f"{type(error).__name__}: {error}"
            continue
        # What lies outside the ball by rounding is pulled in, and everything is judged here.
        x_adv = project(x_adv, x, THREAT)
        now = predict(model, x_adv).argmax(1) != y
        count.by[name] = count.by.get(name, 0) + int(now.sum())
        found[now & ~fallen] = x_adv[now & ~fallen]
        fallen |= now
    count.kept += len(x)
    count.broken += int(fallen.sum())
    return found


def counts(
    results: Results, models: list[str], seeds: list[int], images: int, folder: Path | None
) -> Iterator[tuple[str, Count]]:
    """One entry after the other; what breaks it is written to the folder."""
    test = qbench.load_dataset("glyphs").test
    for name in models:
        count, started = Count(), time.process_time()
        for seed in seeds:
            at = torch.from_numpy(kept_images(results, name, seed, images))
            if not len(at):
                continue
            x = test.x[at]
            found = attacked(qbench.load_model(name, seed), x, test.y[at], seed, count)
            broke = (found != x).any(1)
            if folder is not None and bool(broke.any()):
                np.savez(
                    folder / f"{name}-seed{seed}.npz",
                    x_adv=found[broke].numpy().astype(np.float32),
                    image=at[broke].numpy(),
                    seed=seed,
                    eps=EPS,
                )
        count.seconds = time.process_time() - started
        yield name, count


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", nargs="?", type=Path, default=ARCHIVE)
    parser.add_argument("--models", help="names, by commas; all entries by default")
    parser.add_argument("--seeds", default="0,1,2,3,4", help="by commas")
    parser.add_argument("--images", type=int, default=100, help="how many, from the first on")
    parser.add_argument("--save", type=Path, help="folder for files of images that broke an entry")
    options = parser.parse_args()
    if options.save is not None:
        options.save.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    try:
        results = qbench.results(options.archive).results
    except QbenchError as error:
        parser.error(str(error))
    models = options.models.split(",") if options.models else sorted(results.cards)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    print(f"| entry | kept | broken | {' | '.join(ATTACKS)} |")
    print("|---|" + "---|" * (len(ATTACKS) + 2))
    failed: dict[str, str] = {}
    for name, count in counts(results, models, seeds, options.images, options.save):
        cells = [str(count.by.get(attack, "—")) for attack in ATTACKS]
        print(f"| {name} | {count.kept} | {count.broken} | {' | '.join(cells)} |", flush=True)
        print(f"{name}: {count.seconds:.0f} s", file=sys.stderr)
        failed |= count.failed
    for attack, why in failed.items():
        print(f"\n{attack} failed at times: {why}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
