"""Packs models of a run into the folder that a pull request adds, and says what keeps them out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from qbench.errors import QbenchError, StoreError, UsageError, WeightsError
from qbench.evaluation.submission import (
    PLUGINS,
    README,
    RESULTS,
    WEIGHTS,
    is_file_version,
    lacking,
    required_attacks,
)
from qbench.files import explained, write_atomically
from qbench.plugin_files import PluginFile
from qbench.protocols import Protocol, load_protocol
from qbench.records.archive import Archive
from qbench.records.boards import board_name, boards
from qbench.records.record import Card, Record
from qbench.records.results import Adversarial, Results, attack_norm
from qbench.records.store import RunStore
from qbench.records.worst import broken_images
from qbench.report.board import Board
from qbench.report.collect import collect
from qbench.report.flag_meanings import MEANINGS
from qbench.report.text import escape, spread, table
from qbench.weights.zoo import Zoo

_KINDS = ("training", "attack", "transfer", "lipschitz", "radii", "checks", "fresh")


def pack(
    run: RunStore,
    models: Sequence[str],
    out: Path,
    *,
    plugins: tuple[PluginFile, ...] = (),
    board: Results | None = None,
) -> list[str]:
    """Write a submission (`evaluation.submission`) of models of a run.

    It holds what is about these models alone, with the transfers between them; those between them
    and others are made by whoever takes it over.

    Args:
        run: The run.
        models: Their names.
        out: The folder; it must not be there yet.
        plugins: The files of the plugins that provide them; none for installed ones.
        board: The leaderboard that they are for: its attacks are required.

    Returns:
        The files that were written, relative to the folder.

    Raises:
        StoreError: A model is not on record, or the folder cannot be written.
        UsageError: A model cannot be accepted: what is missing, and what to do.
        WeightsError: Weights are not kept any more.
    """
    if out.exists() or out.is_symlink():
        raise UsageError(f"{out} is there already: name another folder with --out")
    results = run.results()
    for model in models:
        if model not in results.cards:
            known = ", ".join(sorted(results.cards))
            raise StoreError(f"no model {model!r} in {run.root}: there are {known}")
    protocol = load_protocol(results.records[0].task.protocol.name, plugins)
    chosen = only(results, models)
    required = required_attacks(protocol, board.records if board else ())
    page = collect(chosen, protocol=protocol, transferred=False)
    given = {file.sha256: file for file in plugins}
    for model in models:
        for reason in _refusals(chosen, model, protocol, required, page, given):
            raise UsageError(f"{model} cannot be submitted: {reason}")
    with explained(f"cannot write {out}"):
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".qbench-", dir=out.parent))
        try:
            Archive(fresh / RESULTS / board_name(chosen, protocol)).add(chosen)
            write_weights(run, chosen, fresh / WEIGHTS)
            used = {chosen.cards[model].version for model in models}
            for sha256 in sorted(used & given.keys()):
                _write_plugin(given[sha256], fresh / PLUGINS)
            text = describe(chosen, page, protocol)
            write_atomically(fresh / README, text.encode())
            fresh.chmod(0o755)
            fresh.rename(out)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def only(results: Results, models: Sequence[str]) -> Results:
    """What is about some models and no other, of exact scores."""

    def belongs(record: Record) -> bool:
        about = {record.task.model.name}
        if record.task.kind == "transfer":
            about.add(record.task.source.name)
        return record.exact and record.task.kind in _KINDS and about <= set(models)

    records = tuple(record for record in results.records if belongs(record))
    by_id = {record.id: record for record in records}

    def adversarial(model: str, seed: int) -> Adversarial | None:
        found = results.adversarial(model, seed)
        if found is None:
            return None
        kept = np.isin(found.image, broken_images(by_id, results.columns, model, seed))
        return Adversarial(found.image[kept], found.x_adv[kept])

    cards = {model: results.cards[model] for model in models}
    return replace(results, records=records, cards=cards, adversarial=adversarial)


def blocked(path: Path, plugins: tuple[PluginFile, ...] = ()) -> Iterator[str]:
    """What the records of a submission themselves say against a rank: a line each."""
    try:
        for folder in boards(path / RESULTS):
            results = Archive.read(folder).results()
            protocol = load_protocol(results.records[0].task.protocol.name, plugins)
            page = collect(results, protocol=protocol, transferred=False)
            for name in sorted(results.cards):
                yield from (f"{name}: {line}" for line in obstacles(page, name))
    except QbenchError as error:  # verification says so, too
        yield str(error)


def obstacles(page: Board, model: str) -> Iterator[str]:
    """What keeps a model of a board from a rank: a flag that blocks, with what to do about it."""
    row = next(row for row in page.rows if row.model.name == model)
    for flag in row.flags:
        if flag.blocking:
            shown = ", ".join(f"{value:.2f} ({what})" for what, value in flag.numbers)
            yield f"flag {flag.name}: {shown}. {MEANINGS[flag.name].remedy}"
    if not any(flag.blocking for flag in row.flags):
        yield from row.obstacles


def _refusals(
    results: Results,
    model: str,
    protocol: Protocol,
    required: Sequence[str],
    page: Board,
    given: Mapping[str, PluginFile],
) -> Iterator[str]:
    own = [record for record in results.records if record.task.model.name == model]
    attacked = [record.task.data for record in own if record.task.kind == "attack"]
    if not attacked:
        yield "nothing attacked it on its own engine without shots: run it with 'qbench run'"
        return
    data, selection = attacked[0], protocol.selection
    if data.name != selection.dataset or attack_norm(results) != protocol.norm:
        yield f"its results are not on {selection.dataset} in {protocol.norm}, as the protocol asks"
    due = _images(protocol)
    if data.images != due:
        yield (
            f"it was tried on {data.images} images of {due}: run it without --limit into another "
            "--out"
        )
    yield from lacking(own, model, protocol, required)
    yield from obstacles(page, model)
    card = results.cards[model]
    if is_file_version(card.version) and card.version not in given:
        changed = any(file.name == card.plugin for file in given.values())
        yield (
            f"its plugin {card.plugin!r} has changed since the run: run it again"
            if changed
            else f"name the file of its plugin with --plugin {card.plugin}.py"
        )


def _images(protocol: Protocol) -> int:
    from qbench.datasets.base import load_data

    return len(protocol.selection.images(load_data(protocol.selection.dataset)).y)


def write_weights(run: RunStore, results: Results, folder: Path) -> None:
    """Write the weights of each model and seed into a zoo, but for those that ship with qbench.

    Args:
        run: Where they were trained.
        results: Of the run, those of the models that are meant.
        folder: The zoo.

    Raises:
        WeightsError: The run has no weights of a model.
    """
    zoo = Zoo(folder)
    for record in results.records:
        if record.task.kind != "training":
            continue
        model, seed, content = record.task.model.name, record.task.model.seed, run.artifact(record)
        if content is None:
            raise WeightsError(
                f"the weights of {model} seed {seed} are not in {run.path}: run it again there"
            )
        shipped = Zoo.shipped(record.task.data.name)
        if shipped.sha256(model, seed) is None or shipped.read(model, seed) != content:
            zoo.add(model, seed, content)


def _write_plugin(file: PluginFile, folder: Path) -> None:
    place = folder / file.name
    for name, source in ((file.name, file.source), *file.helpers):
        write_atomically(place / f"{name}.py", source)
    if PluginFile.read(place / f"{file.name}.py").sha256 != file.sha256:
        raise StoreError(f"plugin {file.path} is not the same without what lies beside it")


def describe(results: Results, page: Board, protocol: Protocol) -> str:
    """The text of the pull request, in markdown."""
    rows = {row.model.name: row for row in page.rows}
    head = ["Model", "Family", "Seeds", "Clean", f"Worst case at ε = {protocol.ranking_eps:g}"]
    lines = [
        [
            escape(name),
            card.family,
            str(len(rows[name].seeds)),
            spread(rows[name].clean),
            spread(rows[name].worst),
        ]
        for name, card in sorted(results.cards.items())
    ]
    parts = [
        f"# {'Models' if len(lines) > 1 else 'Model'} for {escape(protocol.name)}",
        table(head, lines, ["left", "left", "right", "right", "right"]),
        *(_about(card) for _, card in sorted(results.cards.items())),
        "## Checking\n\nWithout running any of the plugins' code, and with it:\n\n"
        f"```console\n{_commands(results.cards)}\n```",
        "The numbers come from the contributor's machine. They count once a maintainer has read "
        "the code and run the attacks again.",
    ]
    return "\n\n".join(parts) + "\n"


def _about(card: Card) -> str:
    plugin = (
        f"`{PLUGINS}/{card.plugin}/{card.plugin}.py`, SHA-256 {card.version}"
        if is_file_version(card.version)
        else f"installed, {escape(card.plugin)} {escape(card.version)}"
    )
    facts = [
        ("Description", escape(card.description, None)),
        ("Plugin", plugin),
        ("Revision", str(card.revision)),
        ("Parameters", "unknown" if card.parameters is None else str(card.parameters)),
        ("How its recipe was chosen", escape(card.tuning, None) or "not stated"),
        ("Paper", escape(card.paper, None) or "none"),
        ("Authors", escape(card.authors, None) or "not stated"),
        ("Licence", escape(card.licence, None) or "not stated: to be added"),
    ]
    return f"## {escape(card.name)}\n\n" + "\n".join(f"- {what}: {said}" for what, said in facts)


def _commands(cards: Mapping[str, Card]) -> str:
    files = sorted({c.plugin for c in cards.values() if is_file_version(c.version)})
    named = "".join(f" --plugin {PLUGINS}/{name}/{name}.py" for name in files)
    return f"qbench verify .\nqbench verify .{named} --again 50"
