"""What was measured: the facts above a leaderboard, gathered from its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qbench.records.identity import Data, Method, Protocol
from qbench.records.record import LipschitzMetrics, RadiiMetrics, Record
from qbench.records.results import Results


@dataclass(frozen=True)
class RunMetadata:
    """What was measured, for a reader who has only the leaderboard.

    `box` is known only where the protocol is. `attacks` are labels with parameters in words,
    `certifiers` names with their sources.
    """

    protocol: Protocol
    data: Data
    norm: str | None
    box: tuple[float, float] | None
    seeds: tuple[int, ...]
    attacks: tuple[tuple[str, str], ...]
    certifiers: tuple[tuple[str, str], ...]
    engines: tuple[str, ...]


def describe(
    records: Sequence[Record], every: Iterable[Record], box: tuple[float, float] | None
) -> RunMetadata:
    """The facts that all records share, and every value where they may differ.

    Args:
        records: Those that rank, at least one.
        every: These and all others, which may have run on other engines.
        box: Smallest and largest pixel that the protocol allows.
    """
    imaged = [r for r in records if r.task.kind in ("attack", "transfer", "radii")]
    first = min(imaged or records, key=lambda record: record.id)
    norms = {r.task.norm for r in records if r.task.kind == "attack"}
    asked = [getattr(record.task, "engine", None) for record in every]
    engines = {_engine(engine.name, engine.shots) for engine in asked if engine is not None}
    return RunMetadata(
        protocol=first.task.protocol,
        data=first.task.data,
        norm=min(norms, default=None),
        box=box,
        seeds=tuple(sorted({record.task.model.seed for record in records})),
        attacks=_attacks(records),
        certifiers=_certifiers(records),
        engines=tuple(sorted(engines)),
    )


def versions(results: Results) -> tuple[tuple[str, str], ...]:
    """Every package that results were made with, with every version it had."""
    found: dict[str, set[str]] = {}
    named = {record.environment for record in results.records}
    for environment, packages in results.environments.items():
        for name, version in packages.items() if environment in named else ():
            found.setdefault(name, set()).add(version)
    for card in results.cards.values():
        found.setdefault(card.plugin, set()).add(card.version)
    return tuple((name, " / ".join(sorted(of))) for name, of in sorted(found.items()))


def _engine(name: str, shots: int | None) -> str:
    return name if shots is None else f"{name} with {shots} shots"


def _attacks(records: Iterable[Record]) -> tuple[tuple[str, str], ...]:
    methods: dict[str, list[Method]] = {}
    for record in records:
        if record.task.kind in ("attack", "transfer"):
            methods.setdefault(record.label or "", []).append(record.task.attack)
    return tuple((label, _parameters(found)) for label, found in sorted(methods.items()))


def _parameters(methods: Iterable[Method]) -> str:
    # A parameter may depend on ε, e.g. a step size: every value it took is listed.
    values: dict[str, set[str]] = {}
    for method in methods:
        for parameter, value in method.params.items():
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            values.setdefault(parameter, set()).add(shown)
    return ", ".join(f"{key} {' / '.join(sorted(found))}" for key, found in sorted(values.items()))


def _certifiers(records: Iterable[Record]) -> tuple[tuple[str, str], ...]:
    sources: dict[str, set[str]] = {}
    for record in records:
        if record.task.kind in ("lipschitz", "radii") and record.task.certifier is not None:
            found = sources.setdefault(record.task.certifier.name, set())
            if isinstance(record.metrics, (LipschitzMetrics, RadiiMetrics)):
                found.update({record.metrics.source} - {""})
    return tuple((name, "; ".join(sorted(found))) for name, found in sorted(sources.items()))
