"""`qbench bench`: how fast the engines are on this machine."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path

import click

from qbench.cli.options import HELP, Listed, default_jobs, json_option


@click.command(context_settings=HELP)
@click.option("--quick", is_flag=True, help="Fewer sizes and repetitions, about half a minute.")
@click.option(
    "--qubits", type=Listed(int, "numbers of qubits"), help="Circuit sizes.  [default: 4,6,...,16]"
)
@click.option("--batches", type=Listed(int, "batch sizes"), help="[default: 1,16,50,256]")
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=default_jobs,
    show_default="one a core",
    help="Threads of the default engine and of torch.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the page into this markdown file, its pictures into figures/ beside it.",
)
@json_option
def bench(
    quick: bool,
    qubits: tuple[int, ...] | None,
    batches: tuple[int, ...] | None,
    threads: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Time the engines beside other simulators, and against the arithmetic itself.

    Whatever of PennyLane, lightning.qubit, JAX, qulacs and pyqtorch is installed takes part. Run it
    on an idle machine.

    \b
    Examples:
      qbench bench --quick                        a first look
      qbench bench --out docs/performance.md      the page of the documentation
      qbench bench --qubits 8 --batches 50 --json
    """
    from qbench.cli.progress import progress
    from qbench.files import write_atomically
    from qbench_bench.contenders import contenders
    from qbench_bench.measure import Settings, measure, steps
    from qbench_bench.page import page

    command = ["qbench bench", *(["--quick"] if quick else [])]
    command += [f"--qubits {','.join(map(str, qubits))}"] if qubits else []
    command += [f"--batches {','.join(map(str, batches))}"] if batches else []
    command += [f"--threads {threads}"] if threads != default_jobs() else []
    settings = Settings.quick() if quick else Settings()
    settings = replace(
        settings,
        qubits=qubits or settings.qubits,
        batches=batches or settings.batches,
        command=" ".join(command),
    )
    taking_part = contenders(threads)
    total = steps(settings, len(taking_part))
    with progress("measuring", total) as advance, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what other libraries warn of is not about our times
        report = measure(settings, threads, taking_part, advance)
    written = page(report, pictures=out is not None)
    if out is not None:
        for name, content in written.figures.items():
            write_atomically(out.parent / "figures" / name, content)
        write_atomically(out, written.text.encode())
        click.echo(f"wrote {out}", err=as_json)
    if as_json:
        click.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    elif out is None:
        click.echo(written.text)
