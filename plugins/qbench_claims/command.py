"""`qbench claims`: judge what papers claim."""

from __future__ import annotations

import json
from pathlib import Path

import click

from qbench.cli.options import HELP, default_jobs, json_option


@click.command(context_settings=HELP)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--from",
    "archive",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("leaderboard/results"),
    show_default=True,
    help="An archive, or the folder of a run.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with every comparison into this markdown file.",
)
@json_option
def claims(names: tuple[str, ...], archive: Path, out: Path | None, as_json: bool) -> None:
    """Judge what papers claim about the robustness of quantum classifiers.

    Every claim of the ledger has comparisons that were written down beforehand; the records of an
    archive decide them. NAME is a claim, or the beginning of some; it is then shown in full.

    \b
    Examples:
      qbench claims                           the verdicts
      qbench claims wendlinger2024            all claims of one paper, in full
      qbench claims --from runs/mine --json
      qbench claims --out docs/claims.md      the page of the documentation
    """
    from qbench.cli.progress import progress
    from qbench.files import write_atomically
    from qbench.registry import load_registry
    from qbench_claims.boards import read_boards
    from qbench_claims.claim import check_names, chosen
    from qbench_claims.evidence import evidence, pictured
    from qbench_claims.page import as_json as for_machines
    from qbench_claims.page import in_full, page, terminal
    from qbench_claims.verdict import judge, untested

    found = chosen(names)
    check_names(found, load_registry())
    at_protocol = {name: evidence(board) for name, board in read_boards(archive).items()}
    for protocol, one in at_protocol.items():
        models = pictured([claim for claim in found if claim.protocol == protocol])
        if models:
            total = sum(len(one.trained(name)) for name in models)
            with progress("perturbation patterns", total) as advance:
                one.make_patterns(models, default_jobs(), advance)
    judged = []
    with progress("judging", len(found)) as advance:
        for claim in found:
            at = at_protocol.get(claim.protocol)
            judged.append(untested(claim) if at is None else judge(claim, at.measure))
            advance(1, claim.name)
    if out is not None:
        source = "" if str(archive) == "leaderboard/results" else f" --from {archive}"
        write_atomically(out, page(judged, " ".join(["qbench claims", *names]) + source).encode())
        click.echo(f"wrote {out}", err=as_json)
    if as_json:
        click.echo(json.dumps(for_machines(judged), indent=1, ensure_ascii=False))
    elif out is None:
        click.echo("\n\n".join(map(in_full, judged)) if names else terminal(judged))
