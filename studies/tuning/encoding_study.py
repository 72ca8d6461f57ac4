"""Chooses the value at which `reup-fixed` holds its encoding, on training images alone.

Run from the project's root: `python studies/tuning/encoding_study.py`, with `--redraw` to compute
nothing. It writes `encoding_study.json` and the table of `docs/models.md`, in a few minutes of one
core. The training images are divided as in `tuning_study.py`; no test image is read.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
from tuning_study import PAGE, SEEDS, divided

from qbench.datasets.base import load_data
from qbench.evaluation.training import train
from qbench.registry import load_registry
from qbench.report.text import table

RESULTS = Path(__file__).with_suffix(".json")
MODEL = "reup-fixed"
ENCODINGS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
BLOCK = re.compile(rf"(<!-- {MODEL} -->\n).*?(<!-- /{MODEL} -->)", re.DOTALL)


def compute() -> Iterator[dict[str, float]]:
    """Accuracy on the validation images after training with each encoding and seed."""
    dataset = divided(load_data("glyphs"))
    provided = load_registry().get("model", MODEL)
    for encoding in ENCODINGS:
        spec = replace(provided.spec, params={**provided.spec.params, "encoding": encoding})
        for seed in SEEDS:
            _, state = train(replace(provided, spec=spec).create, dataset, spec.recipe, seed)
            row = {"encoding": encoding, "seed": seed, "clean": state.test_accuracy[-1]}
            print(json.dumps(row), file=sys.stderr, flush=True)
            yield row


def accuracies(rows: list[dict[str, float]]) -> dict[float, float]:
    """By encoding, the mean over seeds."""
    by_encoding: dict[float, list[float]] = {}
    for row in rows:
        by_encoding.setdefault(row["encoding"], []).append(row["clean"])
    return {encoding: mean(clean) for encoding, clean in by_encoding.items()}


def chosen(rows: list[dict[str, float]]) -> float:
    """The encoding with the largest accuracy; of equal ones, the smallest."""
    found = accuracies(rows)
    return max(sorted(found), key=found.__getitem__)


def page(text: str, rows: list[dict[str, float]]) -> str:
    """The page with the table renewed, the choice in bold."""
    best, lines = chosen(rows), []
    for encoding, clean in accuracies(rows).items():
        cells = [f"{encoding:g}", f"{clean:.3f}"]
        lines.append([f"**{cell}**" for cell in cells] if encoding == best else cells)
    content = table(["w", "Clean"], lines, ["right", "right"])
    return BLOCK.sub(lambda match: f"{match[1]}\n{content}\n\n{match[2]}", text)


def main() -> None:
    """Compute unless told not to, then redraw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redraw", action="store_true", help="draw from the results on file")
    torch.set_num_threads(1)
    if not parser.parse_args().redraw:
        lines = ",\n".join(json.dumps(row) for row in compute())
        RESULTS.write_text(f"[\n{lines}\n]\n")
    PAGE.write_text(page(PAGE.read_text(), json.loads(RESULTS.read_text())))


if __name__ == "__main__":
    main()
