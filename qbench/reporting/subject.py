"""What a run measured: the facts above a leaderboard, gathered from its records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qbench.records import AttackRef, Record
from qbench.reporting.board import Subject


def describe(records: Sequence[Record]) -> Subject:
    """The facts that all records share, or every value where they differ (e.g. versions)."""
    attacked = [r for r in records if r.task in ("robust-accuracy", "transfer-accuracy")]
    first = min(attacked or records, key=lambda record: record.key)
    threats = [r.threat_model for r in attacked if r.threat_model]
    attacks = [r.attack for r in attacked if r.attack]
    certifiers = {(r.certifier.name, r.certifier.source) for r in records if r.certifier}
    engines = {_engine(r.engine.name, r.engine.shots) for r in records if r.engine}
    return Subject(
        protocol=first.protocol,
        dataset=first.dataset,
        threat=min(threats, key=lambda threat: threat.eps, default=None),
        seeds=tuple(sorted({record.target.seed for record in records})),
        attacks=tuple(
            (label, _parameters(attacks, label)) for label in sorted({a.label for a in attacks})
        ),
        certifiers=tuple(sorted(certifiers)),
        engines=tuple(sorted(engines)),
        versions=_versions(records),
    )


def _engine(name: str, shots: int | None) -> str:
    return name if shots is None else f"{name} with {shots} shots"


def _parameters(attacks: Iterable[AttackRef], label: str) -> str:
    # A parameter may depend on ε, e.g. a step size: every value it took is listed.
    values: dict[str, set[str]] = {}
    for attack in attacks:
        for parameter, value in attack.params.items() if attack.label == label else ():
            shown = f"{value:.6g}" if isinstance(value, float) else str(value)
            values.setdefault(parameter, set()).add(shown)
    return ", ".join(f"{key} {' / '.join(sorted(found))}" for key, found in sorted(values.items()))


def _versions(records: Iterable[Record]) -> tuple[tuple[str, str], ...]:
    found: dict[str, set[str]] = {}
    for record in records:
        used = dict(record.environment)
        for part in (record.target, record.attack, record.certifier):
            if part is not None:
                used[part.plugin] = part.version
        for name, version in used.items():
            found.setdefault(name, set()).add(version)
    return tuple((name, " / ".join(sorted(versions))) for name, versions in sorted(found.items()))
