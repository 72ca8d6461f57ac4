"""Adversarial images that somebody sent: read without trusting them, checked, and scored by us.

What is sent is two arrays of numbers. The model is asked about them in a process of its own, as
for every other record, so what counts is what its weights say, and never what the sender says.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from qbench.datasets.base import Split, load_data
from qbench.datasets.fitting import fitted
from qbench.errors import SoundnessError, StoreError, UsageError, WeightsError
from qbench.evaluation import scoring
from qbench.evaluation.attack import accuracies
from qbench.evaluation.isolation import time_limit
from qbench.evaluation.outside import SavedModel
from qbench.evaluation.provenance import environment_of
from qbench.evaluation.sent import Sent, check
from qbench.evaluation.task import TIME_LIMIT_S
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.records import soundness
from qbench.records.columns import Columns, conform, fingerprint
from qbench.records.identity import ChallengeId
from qbench.records.record import Cost, Environment, RadiiMetrics, Record
from qbench.records.results import Results
from qbench.records.store import environment_name
from qbench.records.worst import broken, broken_alone, ranking_eps
from qbench.registry import load_registry
from qbench.weights.files import fingerprint as weights_fingerprint
from qbench.weights.files import unpack
from qbench.weights.zoo import Zoo, file_name


@dataclass(frozen=True)
class Judged:
    """What the model says of the images that were sent.

    Args:
        record: The result.
        columns: Outcomes of all of the protocol's images; one that was not sent stands as its
            clean image.
        sent: The images.
        breaks: (k,): those that the model gets right clean and wrong as they were sent.
        alone: (k,): those of them whose image no attack on the model and no image made for another
            model breaks at this budget.
        x_adv: (n, features): all of the protocol's images, those that were sent in their places.
        ranks: Whether the budget is the one at which the model is ranked.
        environment: Versions that they were scored with.
    """

    record: Record
    columns: Columns
    sent: Sent
    breaks: NDArray[np.bool_]
    alone: NDArray[np.bool_]
    x_adv: NDArray[np.float32]
    ranks: bool
    environment: Environment

    @property
    def task(self) -> ChallengeId:
        """What was judged."""
        assert self.record.task.kind == "challenge"
        return self.record.task


def judge(
    results: Results,
    sent: Sent,
    model: str,
    sender: str,
    *,
    seed: int | None = None,
    eps: float | None = None,
    weights: Path | None = None,
    trained: Callable[[Record], bytes | None] = lambda _: None,
    plugins: tuple[PluginFile, ...] = (),
) -> Judged:
    """Check images against the protocol of some results, and ask the model about them.

    Args:
        results: Where the model is on record.
        sent: The images.
        model: Its name.
        sender: Who sent them.
        seed: Of the model's training; None for what the file says, else 0.
        eps: The budget; None for what the file says, else the protocol's ranking budget.
        weights: A folder of weights, for models that the shipped zoo does not hold.
        trained: The weights that a training on record left, where the results are a run's.
        plugins: Plugins given as files.

    Raises:
        UsageError: The images are none that may stand for the protocol's, or they were sent before.
        StoreError: The model, seed or budget is not on record.
        WeightsError: The weights are not at hand, or are others than those of the records.
        VerificationError: The model fails.
        SoundnessError: An image breaks a certificate on record.
    """
    wanted_seed = _agreed("seed", seed, sent.seed, 0)
    attacked = _attacks(results, model, wanted_seed)
    protocol = load_protocol(attacked[0].task.protocol.name, plugins)
    if attacked[0].task.protocol.sha256 != protocol.sha256:
        raise StoreError(f"the results are of another version of protocol {protocol.name!r}")
    budget = _budget(protocol, _agreed("eps", eps, sent.eps, protocol.ranking_eps))
    own = [r for r in attacked if r.task.kind == "attack" and r.task.eps == budget]
    if not own:
        raise StoreError(f"nothing attacked {model} seed {wanted_seed} at ε = {budget:g} yet")
    identity = _identity(own[0], protocol, budget, sent, sender)
    for record in results.records:
        if record.task.kind == "challenge" and _same(record.task, identity):
            raise UsageError(f"these images are on record already, sent by {record.task.sender}")
    split = _split(own[0], protocol, plugins)
    check(sent, split.x, protocol.threat_model(budget))
    x_adv, image = split.x.clone(), sent.image.astype(np.int64)
    x_adv[image] = torch.from_numpy(sent.x_adv)
    # A stochastic model has a row a fresh pass, and is asked as often as it was under attack.
    repeats = len(np.atleast_2d(results.columns(own[0])["clean_prediction"]))
    saved, started = _saved(results, own[0], weights, trained, plugins), time.perf_counter()
    with time_limit(TIME_LIMIT_S):
        clean = saved.predictions(split.x, seed=identity.random_seed, repeats=repeats)
        adversarial = clean.clone()
        adversarial[:, image] = saved.predictions(
            x_adv[image], seed=identity.random_seed, repeats=repeats
        )
    scored = scoring.outcomes(clean, adversarial, split.x, x_adv, split.y)
    seconds, asked = time.perf_counter() - started, repeats * (len(split.y) + len(image))
    columns = conform(vars(scored), "challenge", len(split.y))
    environment = dict(sorted(environment_of(identity, load_registry(plugins)).items()))
    record = Record(
        task=identity,
        status="done",
        label=label(sender),
        weights=own[0].weights,
        metrics=accuracies(scored),
        cost=Cost(wall_s=round(seconds, 4), forward=asked),
        environment=environment_name(environment),
        outcomes=fingerprint(columns),
    )
    _check_soundness(results, record, columns)
    breaks = broken(columns)
    others = [results.columns(r) for r in attacked if getattr(r.task, "eps", 0) == budget]
    alone = broken_alone(columns, others)
    budgets = [r.task.eps for r in attacked if r.task.kind == "attack"]
    return Judged(
        record=record,
        columns=columns,
        sent=sent,
        breaks=breaks[image],
        alone=alone[image],
        x_adv=x_adv.numpy(),
        ranks=budget == ranking_eps(budgets),
        environment=environment,
    )


def label(sender: str) -> str:
    """What the record is called where attacks have names."""
    return f"sent by {sender}"


def problems(record: Record, columns: Columns, protocol: Protocol) -> Iterator[str]:
    """What a record of sent images says that no such record can: one line each."""
    task = record.task
    assert task.kind == "challenge"
    if task.norm != protocol.norm or task.eps not in protocol.eps:
        yield f"ε = {task.eps:g} in {task.norm} is no budget of the protocol"
    if record.label != label(task.sender):
        yield f"it is called {record.label}, its sender makes it {label(task.sender)}"
    if not record.exact:
        yield "it is of scores that are not exact"
    still = columns["linf"] == 0
    for name in ("prediction", "margin"):
        clean, attacked = columns[f"clean_{name}"], columns[f"adversarial_{name}"]
        if not np.array_equal(clean[..., still], attacked[..., still]):
            yield f"the {name} of an image that was not sent is not that of the clean image"
    if not broken(columns).any():
        yield "none of its images breaks the model"


def _agreed(name: str, option: Any, said: Any, usual: Any) -> Any:
    """What the option or the file says."""
    if option is not None and said is not None and not math.isclose(option, said, rel_tol=1e-6):
        raise UsageError(f"the file is for {name} {said:g}, --{name} says {option:g}")
    return next(value for value in (option, said, usual) if value is not None)


def _budget(protocol: Protocol, eps: float) -> float:
    """The protocol's budget that is meant: a file may hold it in single precision."""
    for budget in protocol.eps:
        if math.isclose(budget, eps, rel_tol=1e-6):
            return budget
    known = ", ".join(f"{budget:g}" for budget in protocol.eps)
    raise UsageError(f"ε = {eps:g} is no budget of {protocol.name}: choose one of {known}")


def _attacks(results: Results, model: str, seed: int) -> list[Record]:
    """Attacks on a trained model and transfers to it."""
    own = [record for record in results.records if record.task.model.name == model]
    if not own:
        known = ", ".join(sorted(results.cards))
        raise StoreError(f"no model {model!r} is on record: there are {known}")
    found = [
        record
        for record in own
        if record.task.model.seed == seed
        and record.task.kind in ("attack", "transfer")
        and record.status == "done"
        and record.exact
    ]
    if not found:
        seeds = ", ".join(str(seed) for seed in sorted({r.task.model.seed for r in own}))
        raise StoreError(f"nothing attacked {model} seed {seed} yet: its seeds are {seeds}")
    return found


def _identity(own: Record, protocol: Protocol, eps: float, sent: Sent, sender: str) -> ChallengeId:
    try:
        return ChallengeId(
            protocol=own.task.protocol,
            data=own.task.data,
            model=own.task.model,
            norm=protocol.norm,
            eps=eps,
            images_sha256=sent.sha256,
            sender=sender,
        )
    except ValidationError as error:
        reason = "the name of the sender must be a line of 1 to 100 visible characters"
        raise UsageError(reason) from error


def _same(one: ChallengeId, other: ChallengeId) -> bool:
    return (one.model, one.eps, one.images_sha256) == (other.model, other.eps, other.images_sha256)


def _split(own: Record, protocol: Protocol, plugins: tuple[PluginFile, ...]) -> Split:
    """The images that the records are about."""
    data = own.task.data
    dataset = load_data(data.name, plugins)
    if dataset.sha256 != data.sha256:
        raise StoreError(
            f"data set {data.name!r} has SHA-256 {dataset.sha256}, the records say {data.sha256}"
        )
    return protocol.selection.images(dataset, data.images)


def _saved(
    results: Results,
    own: Record,
    folder: Path | None,
    trained: Callable[[Record], bytes | None],
    plugins: tuple[PluginFile, ...],
) -> SavedModel:
    """The model with the weights of its records."""
    name, seed = own.task.model.name, own.task.model.seed
    trainings = [
        record
        for record in results.records
        if record.task.kind == "training" and record.task.model == own.task.model
    ]
    contents = [content for one in trainings if (content := trained(one)) is not None]
    for zoo in (Zoo.shipped(own.task.data.name), *([] if folder is None else [Zoo(folder)])):
        if zoo.sha256(name, seed) is not None:
            contents.append(zoo.read(name, seed))
    if not contents:
        raise WeightsError(
            f"no weights of {name} seed {seed} at hand: name their folder with --weights"
        )
    dataset = load_data(own.task.data.name, plugins)
    provided = fitted(load_registry(plugins).get("model", name), dataset)
    for content in contents:
        state, _ = unpack(content, file_name(name, seed))
        if weights_fingerprint(state.weights) == own.weights:
            return SavedModel.of(provided, content, plugins)
    raise WeightsError(f"the weights of {name} seed {seed} at hand are not those of its records")


def _check_soundness(results: Results, record: Record, columns: Columns) -> None:
    """No image may lie inside the certified radius of its original and break the same weights."""
    certificates = [
        one
        for one in results.records
        if isinstance(one.metrics, RadiiMetrics) and one.weights == record.weights
    ]

    def read(one: Record) -> Columns:
        return columns if one.id == record.id else results.columns(one)

    both = replace(results, records=(*certificates, record), columns=read)
    violations, _ = soundness.check(both)
    if violations:
        raise SoundnessError(
            f"{violations[0]} ({len(violations)} such): the certificate is wrong; nothing is "
            "written before it is mended or taken out"
        )
