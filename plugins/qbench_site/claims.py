"""The ledger of claims: what papers say, and what the records of the boards make of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qbench_claims.claim import Claim, chosen
from qbench_claims.evidence import Evidence, Measured, MissingError, evidence
from qbench_claims.patterns import PATTERNS
from qbench_claims.verdict import Judgement, judge, untested
from qbench_site.content import File, Page, Source


def pages(sources: Sequence[Source], *, recompute: bool = False) -> Iterator[Page | File]:
    """The ledger, judged by the first board of each claim's protocol.

    Args:
        sources: The boards.
        recompute: Whether to judge also what takes perturbations that no record holds, which are
            then made anew: about a minute.
    """
    by_protocol: dict[str, Evidence] = {}
    for source in sources:
        name = source.board.about.protocol.name
        if name not in by_protocol and source.board.settings:
            found = evidence(source.results)
            by_protocol[name] = found if recompute else _OnRecord(found)
    judged = [_judged(claim, by_protocol) for claim in chosen(())]
    yield Page(
        path="claims.html",
        template="claims.html.j2",
        title="What papers claim",
        section="claims",
        context={"judged": judged},
        scripts=("sortable.js", "sortable.a11y.js"),
    )


def _judged(claim: Claim, by_protocol: dict[str, Evidence]) -> Judgement:
    at = by_protocol.get(claim.protocol)
    return untested(claim) if at is None else judge(claim, at.measure)


class _OnRecord(Evidence):
    """Evidence without what has to be computed anew."""

    def __init__(self, whole: Evidence) -> None:
        self.__dict__.update(whole.__dict__)

    def measure(self, asked: object) -> Measured:
        """A quantity that records hold."""
        if asked.measure in PATTERNS:  # type: ignore[attr-defined]
            raise MissingError("perturbations made anew, as 'qbench claims' makes them")
        return super().measure(asked)  # type: ignore[arg-type]
