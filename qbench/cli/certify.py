"""`qbench certify`: what can be proved of models, without attacking them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from qbench.cli.options import (
    Listed,
    dataset_option,
    dry_run_option,
    engine_option,
    eps_option,
    executor_option,
    jobs_option,
    json_option,
    limit_option,
    models_option,
    out_option,
    plugin_option,
    protocol_option,
    retrain_option,
    seeds_option,
    shots_option,
    time_limit_option,
    weights_option,
)
from qbench.cli.tasks import carry_out

if TYPE_CHECKING:
    from qbench.plugin_files import PluginFile
    from qbench.specs import Norm
    from qbench.weights.given import WeightsFile


@click.command()
@models_option
@engine_option
@shots_option
@click.option(
    "--certifiers",
    type=Listed(str, "names"),
    default="all",
    show_default=True,
    help="Certifiers: names, globs or all ('qbench certifiers' lists them); those of a smoothed "
    "model only by name.",
)
@click.option(
    "--effort",
    type=click.Choice(["default", "high"]),
    default="default",
    show_default=True,
    help="With high, certifiers that take minutes a model run as well ('qbench certifiers' says "
    "which).",
)
@click.option(
    "--norm",
    type=click.Choice(["linf", "l2", "both"]),
    help="Norm of the perturbations.  [default: the protocol's]",
)
@protocol_option
@dataset_option
@seeds_option
@eps_option
@limit_option
@out_option
@time_limit_option
@retrain_option
@weights_option
@dry_run_option
@executor_option
@jobs_option
@plugin_option
@json_option
def certify(
    models: tuple[str, ...],
    engine: str | None,
    shots: int | None,
    certifiers: tuple[str, ...],
    effort: Literal["default", "high"],
    norm: str | None,
    protocol: str,
    dataset: str | None,
    seeds: tuple[int, ...] | None,
    eps: tuple[float, ...] | None,
    limit: int | None,
    out: Path | None,
    time_limit: float,
    retrain: bool,
    weights: tuple[WeightsFile, ...],
    dry_run: bool,
    executor: str,
    jobs: int,
    plugins: tuple[PluginFile, ...],
    as_json: bool,
) -> None:
    """Prove how far images may be perturbed.

    Certified accuracy at ε is the share of images that are classified correctly and that no
    perturbation of size ε can change, whatever the attack. Every certifier that covers a model is
    run, and the best radius of each image counts. Where the folder holds attacks on the same
    models ('qbench run' writes there too), each is held against every certificate, and a
    certified image that was broken is an error.

    With --shots, what the engine computes is certified as well, from outcomes counted there, noise
    included, with 99.9 % confidence. Proofs are always about the exact circuits.

    \b
    Examples:
      qbench certify --models reup-0.2,convnet --seeds 0
      qbench certify --models all --norm both
      qbench certify --models amplitude --certifiers 'amplitude-*' --eps 0.03
      qbench certify --models fourier --dataset digits4
      qbench certify --models convnet --effort high
      qbench certify --models convnet --certifiers smoothing --norm l2
      qbench certify --models reup-hw4@aer:marrakesh:4096 --certifiers counts
    """
    from qbench.evaluation.selection import RunSelection

    both: tuple[Norm, ...] = ("linf", "l2")
    selection = RunSelection(
        models=models,
        attacks=(),
        certifiers=certifiers,
        engine=engine,
        shots=shots,
        effort=effort,
        norms=None if norm is None else tuple(n for n in both if norm in (n, "both")),
        protocol=protocol,
        dataset=dataset,
        seeds=seeds,
        eps=eps,
        limit=limit,
        time_limit_s=time_limit,
        retrain=retrain,
        weights=weights,
        plugins=plugins,
    )
    carry_out(
        selection,
        out=out,
        archive=None,
        executor=executor,
        jobs=jobs,
        dry_run=dry_run,
        as_json=as_json,
    )
