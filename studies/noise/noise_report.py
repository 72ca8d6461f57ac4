"""The tables, numbers and pictures of `docs/noise.md`, from `noise_study.json`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import noise_figures

from qbench.registry import load_registry
from qbench.report.figures.style import png
from qbench.report.text import DASH, table

Row = dict[str, Any]

DOCS = Path(__file__).parents[2] / "docs"
LOOKED_AT = 256  # shots at which attacks are compared
TRADED = 64  # shots at which gain and loss are weighed
_EXACT = "exact"


def pages(data: Mapping[str, Any]) -> dict[Path, bytes]:
    """Every generated file and its content."""
    path = DOCS / "noise.md"
    rows = data["rows"]
    drawn = {
        DOCS / "figures" / f"noise-{name}.png": png(draw(rows))
        for name, draw in noise_figures.FIGURES.items()
    }
    return {path: page(path.read_text(), data).encode(), **drawn}


def page(text: str, data: Mapping[str, Any]) -> str:
    """The page with what stands between its markers renewed."""
    for name, make in BLOCKS.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        content = make(data)
        text, found = block.subn(lambda m, new=content: f"{m[1]}\n{new}\n\n{m[2]}", text)
        if found != 1:
            raise ValueError(f"the page has {found} blocks {name!r}, should be 1")
    return text


def pick(rows: Iterable[Row], **wanted: Any) -> list[Row]:
    """Rows with these values."""
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def over_seeds(rows: Iterable[Row], of: Callable[[Row], float]) -> float:
    """Mean over the trained models."""
    return mean(of(row) for row in rows)


def names(rows: Iterable[Row], part: str) -> list[str]:
    """Models with rows in a part, in order."""
    return list(dict.fromkeys(row["model"] for row in rows if row["part"] == part))


def conditions(rows: Iterable[Row], part: str, key: str) -> list[Any]:
    """Values of a column in a part; `None` (exact) first, then falling."""
    found = {row[key] for row in rows if row["part"] == part}
    return [None] * (None in found) + sorted(found - {None}, reverse=True)


def two(rows: Sequence[Row]) -> str:
    """Clean accuracy / worst case."""
    if not rows:
        return DASH
    return " / ".join(f"{over_seeds(rows, lambda r, k=k: r[k]):.2f}" for k in ("clean", "worst"))


def guessing(row: Row, clean: float) -> float:
    """Robust accuracy of the exact model `row` if it guessed in a share of its passes.

    The share q is such that clean accuracy falls to `clean`; a guess is one of four classes.
    Passes over the clean and the attacked image guess independently.
    """
    q = (row["clean"] - clean) / (row["clean"] - 1 / 4)
    either = row["clean"] + row["adversarial"]
    return (1 - q) ** 2 * row["worst"] + (1 - q) * q / 4 * either + q**2 / 16


def shots(data: Mapping[str, Any]) -> str:
    """Clean accuracy and worst case by the number of shots."""
    rows = data["rows"]
    numbers = conditions(rows, "shots", "shots")
    lines = [
        [name, *(two(pick(rows, part="shots", model=name, shots=n)) for n in numbers)]
        for name in names(rows, "shots")
    ]
    blank = [""] * (len(numbers) - 1)
    lines += [
        [f"*{name}*", two(pick(rows, part="classical", model=name)), *blank]
        for name in names(rows, "classical")
    ]
    head = ["Model", *(_EXACT if n is None else f"{n} shots" for n in numbers)]
    return table(head, lines, ["left"] + ["right"] * len(numbers))


def attacks(data: Mapping[str, Any]) -> str:
    """Robust accuracy by attack at one number of shots, and Square on the exact circuit."""
    rows, lines = data["rows"], []
    for name in names(rows, "shots"):
        noisy = pick(rows, part="shots", model=name, shots=LOOKED_AT)
        exact = pick(rows, part="shots", model=name, shots=None)
        cells = [over_seeds(noisy, lambda r, k=k: r["robust"][k]) for k in SEEN]
        cells.insert(0, over_seeds(exact, lambda r: r["robust"]["square"]))
        cells.append(over_seeds(noisy, lambda r: r["worst"]))
        cells.append(over_seeds(exact, lambda r: r["worst"]))
        lines.append([name, *(f"{cell:.2f}" for cell in cells)])
    head = ["Model", "Square, exact scores", *SEEN.values(), "worst case", "worst case, exact"]
    return table(head, lines, ["left"] + ["right"] * (len(head) - 1))


SEEN = {
    "square": "Square",
    "pgd": "PGD, 1 pass",
    "pgd eot": "PGD, 8 passes",
    "ideal pgd": "ideal: PGD",
    "ideal margin": "ideal: PGD on the margin",
    "ideal standard": "ideal: `standard`",
}


def trades(data: Mapping[str, Any]) -> list[dict[str, float | str]]:
    """What noise of `TRADED` shots changes, a model a row; means over seeds."""
    found: list[dict[str, float | str]] = []
    for name in names(data["rows"], "shots"):
        pairs = [
            (pick(data["rows"], part="shots", model=name, seed=row["seed"], shots=None)[0], row)
            for row in pick(data["rows"], part="shots", model=name, shots=TRADED)
        ]
        found.append(
            {
                "model": name,
                "clean": mean(noisy["clean"] - exact["clean"] for exact, noisy in pairs),
                "worst": mean(noisy["worst"] - exact["worst"] for exact, noisy in pairs),
                "guess": mean(
                    guessing(exact, noisy["clean"]) - exact["worst"] for exact, noisy in pairs
                ),
                "tries": mean(noisy["tries"] - exact["worst"] for exact, noisy in pairs),
                "clean tries": mean(
                    noisy["clean_tries"] - exact["clean"] for exact, noisy in pairs
                ),
                "ratio": mean(exact["worst"] / exact["clean"] for exact, _ in pairs),
                "noisy ratio": mean(noisy["worst"] / noisy["clean"] for _, noisy in pairs),
            }
        )
    return found


def trade(data: Mapping[str, Any]) -> str:
    """Gain and loss by noise."""
    signed = ("clean", "clean tries", "worst", "guess", "tries")
    lines = [
        [
            str(row["model"]),
            *(f"{row[key]:+.2f}" for key in signed),
            f"{row['ratio']:.2f} → {row['noisy ratio']:.2f}",
        ]
        for row in trades(data)
    ]
    head = ["Model", "clean", "clean, ten passes", "worst case", "if it guessed instead"]
    head += ["worst case, ten tries", "robust / clean"]
    return table(head, lines, ["left"] + ["right"] * (len(head) - 1))


def depolarised(data: Mapping[str, Any]) -> str:
    """Clean accuracy and worst case by what is left of the signal."""
    rows = data["rows"]
    left = conditions(rows, "depolarised", "strength")
    lines = []
    for name in names(rows, "depolarised"):
        few = pick(rows, part="depolarised", model=name)
        plain = pick(rows, part="shots", model=name, seed=few[0]["seed"], shots=few[0]["shots"])
        found = [plain, *(pick(few, strength=s) for s in left)]
        lines.append([name, *map(two, found)])
    return table(["Model", *(f"s = {s:g}" for s in (1, *left))], lines, ["left"] + ["right"] * 6)


def device(data: Mapping[str, Any]) -> str:
    """Every factor on a device's noise."""
    return _engines(data, "device", "noise ×", lambda name, factor: [])


def local(data: Mapping[str, Any]) -> str:
    """Depolarising after every gate, beside the probability that no gate errs."""
    return _engines(
        data, "local", "p", lambda name, p: [f"{(1 - p) ** gates(name):.2f}"], ["no gate errs"]
    )


def gates(name: str) -> int:
    """Gates of a model's circuit: one a rotation of a qubit, one a CNOT."""
    circuit = load_registry().get("model", name).create().circuit
    return circuit.layers * circuit.qubits + sum(map(len, circuit.cnots))


def _engines(
    data: Mapping[str, Any], part: str, what: str,
    more: Callable[[str, float], list[str]], heads: Sequence[str] = (),
) -> str:  # fmt: skip
    rows, lines = data["rows"], []
    for name in names(rows, part):
        for strength in conditions(rows, part, "strength")[::-1]:
            found = pick(rows, part=part, model=name, strength=strength)
            if found:
                (exact,), (noisy,) = pick(found, shots=None), [r for r in found if r["shots"]]
                square = noisy["robust"].get("square")
                lines.append(
                    [
                        *(name, f"{strength:g}", *more(name, strength)),
                        *(f"{exact['signal']:.3f}", f"{exact['explained']:.3f}"),
                        *(two([exact]), two([noisy])),
                        DASH if square is None else f"{square:.2f}",
                        f"{noisy['worst'] / noisy['clean']:.2f}",
                    ]
                )
    count = next(row["shots"] for row in rows if row["part"] == part and row["shots"])
    head = ["Model", what, *heads, "s", "R²", "no shots", f"{count} shots", "Square", "ratio"]
    return table(head, lines, ["left"] + ["right"] * (len(head) - 1))


def answer(data: Mapping[str, Any]) -> str:
    """The numbers of the answer, in words."""
    rows, traded = data["rows"], trades(data)
    circuits = names(rows, "shots")
    total = len(circuits)

    def average(key: str, n: int | None) -> float:
        one = lambda r: r["robust"][key] if key in r["robust"] else r[key]  # noqa: E731
        return mean(over_seeds(pick(rows, part="shots", model=m, shots=n), one) for m in circuits)

    up = sorted((r for r in traded if r["worst"] > 0.005), key=lambda r: -float(r["worst"]))
    gains = ", ".join(f"{row['model']} {row['worst']:+.2f}" for row in up)
    least = min(traded, key=lambda row: row["worst"])
    tries = max(traded, key=lambda row: row["tries"])
    harder = sum(float(row["tries"]) < float(row["clean tries"]) for row in traded)
    fewer = sum(float(row["clean tries"]) < 0 for row in traded)
    lost, unattacked = (mean(float(r[key]) for r in traded) for key in ("tries", "clean tries"))
    ratio = sum(row["noisy ratio"] > row["ratio"] for row in traded)
    gaps = {
        (row["model"], row["shots"]): over_seeds(
            pick(rows, part="shots", model=row["model"], shots=row["shots"]),
            lambda r: r["robust"]["square"] - r["worst"],
        )
        for row in rows
        if row["part"] == "shots"
    }
    (fooled, where), gap = max(gaps.items(), key=lambda item: item[1])
    parts = [
        f"- **The illusion.** Means over {total} circuits: Square on exact scores leaves "
        f"{average('square', None):.2f}, on {LOOKED_AT} shots {average('square', LOOKED_AT):.2f}. "
        f"The worst case is {average('worst', None):.2f} and {average('worst', LOOKED_AT):.2f}. "
        f"The widest gap is {gap:.2f} ({fooled}, {where} shots).",
        f"- **Gradients are not hidden.** At {LOOKED_AT} shots PGD through one pass leaves "
        f"{average('pgd', LOOKED_AT):.2f}, through 8 passes {average('pgd eot', LOOKED_AT):.2f}, "
        f"on the ideal simulator {average('ideal pgd', LOOKED_AT):.2f}, on its margin "
        f"{average('ideal margin', LOOKED_AT):.2f}.",
        f"- **Clean accuracy pays.** It is {average('clean', None):.3f} exact, "
        f"{average('clean', LOOKED_AT):.3f} at {LOOKED_AT} shots, "
        f"{average('clean', TRADED):.3f} at {TRADED}, {average('clean', 16):.3f} at 16.",
        f"- **The worst case** at {TRADED} shots is higher than exact for {len(up)} of {total} "
        f"circuits ({gains}), and for the "
        f"others lower by up to {-float(least['worst']):.2f} ({least['model']}). The mean over all "
        f"is {average('worst', None):.2f} exact, {average('worst', TRADED):.2f} at {TRADED} shots, "
        f"{average('worst', 16):.2f} at 16.",
        f"- **Ten tries.** In all of ten attacked passes of {TRADED} shots, fewer images are read "
        f"correctly than in the exact worst case for {sum(row['tries'] < 0 for row in traded)} of "
        f"{total} circuits, {lost:+.2f} on average; {tries['model']} comes closest "
        f"({tries['tries']:+.2f}). Without any attack, all of ten passes read fewer images "
        f"correctly than the exact circuit for {fewer} of {total}, "
        f"{unattacked:+.2f} on average: the loss by itself shows no success of attacks. It is "
        f"larger under attack for {harder} of {total} circuits.",
        f"- **The ratio** robust/clean at {TRADED} shots is higher than exact for {ratio} of "
        f"{total} circuits, also where both accuracies fall.",
    ]
    return "\n".join(parts)


def cost(data: Mapping[str, Any]) -> str:
    """What the run took, and with which versions."""
    versions = ", ".join(f"{name} {found}" for name, found in data["versions"].items())
    return f"The run on file took {data['cpu_s'] / 60:.0f} CPU minutes. {versions}."


BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "answer": answer,
    "shots": shots,
    "attacks": attacks,
    "trade": trade,
    "depolarised": depolarised,
    "device": device,
    "local": local,
    "cost": cost,
}
