"""Verifies results without trusting them: schema, hashes, metrics, images, soundness.

Everything that can be recomputed is: metrics from per-image outcomes, outcomes of clean and of the
worst adversarial images from weights by forward passes, labels from the data, parameters from the
protocol, facts about models from their specs. On request a sample is attacked again.

A submission may hold models of a plugin that is not loaded: what needs its code is then left out,
and said so, and no line of it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qbench.errors import QbenchError
from qbench.evaluation.rechecks import unchecked
from qbench.evaluation.submission import RESULTS, Submission, is_submission
from qbench.evaluation.verdict import Verdict
from qbench.evaluation.verified_board import Board
from qbench.evaluation.verified_images import Rescoring, Weights
from qbench.evaluation.verified_records import of_card, of_record
from qbench.evaluation.verified_seeds import of_admission, of_seeds, of_weights
from qbench.plugin_files import PluginFile
from qbench.records import soundness
from qbench.records.archive import Archive
from qbench.records.boards import boards
from qbench.records.results import Results
from qbench.records.store import FILE, RunStore
from qbench.registry import load_registry
from qbench.weights.zoo import Zoo


def verify(
    path: Path,
    *,
    weights: tuple[Path, ...] = (),
    plugins: tuple[PluginFile, ...] = (),
    again: int = 0,
    on_model: Callable[[str, int], None] = lambda *_: None,
) -> Verdict:
    """Look at a run's folder, an archive or a submission as if a stranger had sent it.

    Args:
        path: The folder.
        weights: Folders of weights as `qbench train` writes them, for models that the shipped zoo
            does not hold. A submission has its own.
        plugins: Plugins given as files. Those of a submission are loaded only if they are here.
        again: How many images of each model and seed are attacked again, and as many new ones.
        on_model: Called with each model and seed whose images were scored again.
    """
    verdict = Verdict()
    zoos = [_from_zoo(Zoo(folder)) for folder in weights]
    sent: Submission | None = None
    try:
        if (path / FILE).is_file():
            store = RunStore(path)
            opened = [(store.results(), False, [_from_run(store)])]
        else:
            if is_submission(path):
                sent, path = Submission.read(path), path / RESULTS
                zoos.append(_from_zoo(sent.zoo))
            every = [Archive.read(folder).results() for folder in boards(path)]
            opened = [(found, True, [_shipped(found), *zoos]) for found in every]
        if sent is not None:
            cards = {name: card for results, _, _ in opened for name, card in results.cards.items()}
            verdict.problems += sent.problems(cards)
        for results, whole, sources in opened:
            board = Board(results, whole, sent, plugins, load_registry(plugins))
            _verify(board, sources, again, verdict, on_model)
    except QbenchError as error:
        verdict.problems.append(str(error))
    return verdict


def _shipped(results: Results) -> Weights:
    """The weights that ship with qbench for the data of a board."""
    return _from_zoo(Zoo.shipped(results.records[0].task.data.name))


def _from_zoo(zoo: Zoo) -> Weights:
    return lambda name, seed: None if zoo.sha256(name, seed) is None else zoo.read(name, seed)


def _from_run(store: RunStore) -> Weights:
    """The weights that a run's trainings left in its folder."""
    trainings = {
        (record.task.model.name, record.task.model.seed): record
        for record in store.results().records
        if record.task.kind == "training" and record.status == "done"
    }
    return lambda name, seed: (
        store.artifact(trainings[name, seed]) if (name, seed) in trainings else None
    )


def _verify(
    board: Board,
    sources: list[Weights],
    again: int,
    verdict: Verdict,
    on_model: Callable[[str, int], None],
) -> None:
    board.check()
    for name, card in sorted(board.results.cards.items()):
        verdict.look(f"card of {name}", of_card(board, name, card, verdict))
    for record in board.results.records:
        verdict.counts["records"] += 1
        verdict.look(record.title, of_record(board, record, verdict))
    verdict.problems += of_seeds(board)
    of_admission(board, verdict)
    verdict.add(unchecked(board.by_id.values(), board.dataset, board.protocol))
    verdict.problems += of_weights(board)
    trained = {(r.task.model.name, r.task.model.seed) for r in board.by_id.values()}
    for model, seed in sorted(trained):
        rescoring = Rescoring(board, model, seed, sources, again, verdict)
        verdict.look(f"{model} seed {seed}", rescoring.problems())
        on_model(model, seed)
    violations, compared = soundness.check(board.results)
    verdict.counts["pairs of a radius and an attacked image"] += compared
    verdict.add(str(violation) for violation in violations)
