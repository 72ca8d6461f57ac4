"""What a region's features move the states of a circuit by: the numbers of a `Remainder`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qbench.circuits.circuit import z_signs

from .gates import ReUploadGates, turn_rate
from .region import Region
from .remainder import Remainder, Steps
from .tangents import Layers, gram, rounding, run_layers, tangents, turn, turned_products

_PARTS = 8  # of the circuit, between which in ℓ2 the tangents of all features are compared


@dataclass(frozen=True)
class Moved:
    """What the features move the states of n images by; the same for every margin.

    Args:
        prefix, turn, speed: As in `Remainder`.
        end: First-order parts of ‖v‖, (n,).
        layers: The circuit at the images.
        last: The tangents of each image at the end, (n, 2^(q + 1), features) float32.
        other: The class of the margin whose products with the tangents are known, (n,).
        after: What rotations turn its χ by, (n, layers, 3 · qubits, 2^(q + 1)) float32.
        mixed: The products of that with the tangents, (n, layers, 3 · qubits, features) float32.
    """

    prefix: Tensor
    end: Tensor
    turn: Steps
    speed: Steps
    layers: Layers
    last: Tensor
    other: Tensor
    after: Tensor
    mixed: Tensor


@dataclass(frozen=True)
class Observed:
    """A margin of each of n images, undone to before every layer.

    Args:
        images: Which images.
        other: The other class of each.
        mean: ‖χ‖, (n,).
        back: χ before every layer, (n, layers, 2^(q + 1)) float64.
        below, above: For each image the `gram` of the tangents at the end where M is −2, and 2.
    """

    images: Tensor
    other: Tensor
    mean: Tensor
    back: Tensor
    below: list[Tensor]
    above: list[Tensor]


def moved(gates: ReUploadGates, inside: Region, y: Tensor, other: Tensor) -> Moved:
    """What moves the states of a region's images, and how far in it.

    Args:
        gates, inside: The circuit and the region of n images.
        y, other: A margin of each, whose Hessian is the one that is wanted, (n,).
    """
    layers, box = run_layers(gates, inside.centre), inside.norm == "linf"
    every = torch.arange(len(y))
    after = turn(layers.observed[every, y] - layers.observed[every, other], layers.angles)
    found = [
        tangents(gates, *each, parts=0 if box else _PARTS)
        for each in zip(layers.angles, layers.turned, after, inside.width, strict=True)
    ]
    half = torch.full_like(inside.width[:, :1, None], 0.5)
    widths = _widths(gates, inside) / 2
    rates, overlap = _by_feature(gates, inside, half), gates.overlap
    own = _steps(gates, layers.states, layers.angles, inside)
    if box:
        rate, speed = turn_rate(widths.view(*widths.shape[:2], -1, 3)).sum(2), widths.sum(2)
        reached = _length(gates, inside, torch.stack([one.reached for one in found]))
        reached[:, 0] = 0  # exactly: no layer has run
        way = torch.cat([torch.zeros_like(reached[:, :1]), own.largest.cumsum(1)], 1)
        reached = (reached[:, None] + (way[:, None] - way[..., None]).abs()).amin(2)
    else:
        rate = speed = torch.linalg.vector_norm(widths, dim=2)
        reached = _reached(gates, inside, own, [one.grams for one in found])
    return Moved(
        reached[:, :-1],
        reached[:, -1],
        Steps(inside.norm, rate, rates, overlap),
        Steps(inside.norm, speed, rates, overlap),
        layers,
        torch.stack([one.last for one in found]),
        other,
        after,
        torch.stack([one.mixed for one in found]),
    )


def observe(
    gates: ReUploadGates, common: Moved, images: Tensor, y: Tensor, other: Tensor
) -> Observed:
    """The margins ⟨Z_y⟩ − ⟨Z_other⟩ of some images, y and other like images."""
    circuit, layers = gates.circuit, common.layers
    z = torch.as_tensor(z_signs(len(circuit.measured))[circuit.outcomes]).mT
    signs = (z[y] - z[other]).repeat_interleave(2, 1)
    back = layers.observed[images, y] - layers.observed[images, other]
    last = [(common.last[k], m) for k, m in zip(images.tolist(), signs, strict=True)]
    return Observed(
        images,
        other,
        mean(common, images, y, other),
        back,
        [gram(columns[m < 0]) for columns, m in last],
        [gram(columns[m > 0]) for columns, m in last],
    )


def mean(common: Moved, images: Tensor, y: Tensor, other: Tensor) -> Tensor:
    """‖χ‖ of the margins ⟨Z_y⟩ − ⟨Z_other⟩ of some images, (len(images),)."""
    start = common.layers.observed[images, y, 0] - common.layers.observed[images, other, 0]
    norms: Tensor = torch.linalg.vector_norm(start, dim=1)
    return norms


def rough_remainder(common: Moved, images: Tensor, mean: Tensor) -> Remainder:
    """Remainders of margins that are not observed, but for ‖χ‖ = `mean` (len(images),).

    Layer k moves χ by at most ‖χ‖ s_k; and ‖M₋v‖ ≤ ‖v‖, ‖Mv‖ ≤ 2‖v‖.
    """
    turn, end = common.turn[images], common.end[images]
    largest, rates = mean[:, None] * turn.largest, mean[:, None, None] * turn.rates
    backward = Steps(turn.norm, largest, rates, turn.overlap)
    speed = common.speed[images]
    return Remainder(common.prefix[images], backward, turn, speed, end, 2 * end, mean)


def remainder(gates: ReUploadGates, inside: Region, common: Moved, margin: Observed) -> Remainder:
    """The remainders of margins."""
    low, full = [], []
    for image, below, above in zip(margin.images.tolist(), margin.below, margin.above, strict=True):
        low.append(length(gates, inside, image, below))
        full.append(2 * length(gates, inside, image, below + above))
    return Remainder(
        common.prefix[margin.images],
        _steps(gates, margin.back, common.layers.angles[margin.images], inside[margin.images]),
        common.turn[margin.images],
        common.speed[margin.images],
        torch.stack(low),
        torch.stack(full),
        margin.mean,
    )


def length(gates: ReUploadGates, inside: Region, image: int, found: Tensor) -> Tensor:
    """At least the largest norm of Σ_k δ_k t_k, from the `gram` of some rows of `tangents` t_k."""
    square = inside.quadratic(image, found)
    return _length(gates, inside[[image]], square.view(1, 1))[0, 0]


def _length(gates: ReUploadGates, inside: Region, squares: Tensor) -> Tensor:
    """Norms from their squares (n, m), with what rounding can take from tangents and products."""
    tangent, product = rounding(gates)
    turn = inside.linear(gates.weights.expand_as(inside.width))[:, None] / 2
    paid = product * ((1 + tangent) * turn).square()
    return (squares.clamp(min=0) + paid).sqrt() + tangent * turn


def _reached(gates: ReUploadGates, inside: Region, own: Steps, grams: list[Tensor]) -> Tensor:
    """First-order parts of P_k and ‖v‖ from `grams` at cuts and steps between, (n, layers + 1)."""
    count = gates.circuit.layers
    found = own.largest.new_full((len(own.largest), count + 1), torch.inf)
    for part in range(_PARTS):
        cut = -(-count * part // _PARTS)
        start = torch.stack(
            [length(gates, inside, k, one[part].double()) for k, one in enumerate(grams)]
        )
        for layer in range(count + 1):  # as far from the cut as the steps between add up to
            between = torch.zeros_like(own.largest)
            between[:, min(cut, layer) : max(cut, layer)] = 1
            found[:, layer] = torch.minimum(found[:, layer], start + own.total(between))
    return found


def _widths(gates: ReUploadGates, inside: Region) -> Tensor:
    """How far each angle goes: in ℓ∞ at most, in ℓ2 for a z_j of the ball's radius."""
    if inside.norm == "linf":
        return gates.widths(inside.width)
    norms: Tensor = torch.linalg.vector_norm(gates.layers, dim=2)
    return norms * inside.width[:, :1, None]


def _steps(gates: ReUploadGates, vectors: Tensor, angles: Tensor, inside: Region) -> Steps:
    """Lengths of Σ_g α_g u_g in each layer for angles α, where u_g is what rotations turn."""
    widths, (_, product) = _widths(gates, inside), rounding(gates)
    found = turned_products(vectors, angles)
    lengths = (found.diagonal(dim1=-2, dim2=-1).clamp(min=0) * (1 + 2 * product)).sqrt()
    sizes = widths * lengths
    if inside.norm == "linf":
        square = (widths[..., None, :] @ found.abs() @ widths[..., None])[..., 0, 0]
        rounded = product * sizes.sum(2).square()
    else:
        scaled = widths[..., None] * found * widths[..., None, :]
        square = torch.linalg.eigvalsh(scaled)[..., -1].clamp(min=0)
        rounded = product * sizes.square().sum(2)
    by_feature = _by_feature(gates, inside, lengths)
    return Steps(inside.norm, (square + rounded).sqrt(), by_feature, gates.overlap)


def _by_feature(gates: ReUploadGates, inside: Region, lengths: Tensor) -> Tensor:
    """Lengths per angle (n, layers, g or 1), times the angles, added up for each feature in ℓ2."""
    if inside.norm == "linf":
        return lengths[..., :0]
    lengths = lengths.expand(-1, -1, gates.layers.shape[1])
    added = torch.einsum("nlg,lgf->nlf", lengths, gates.layers.abs())
    return added * inside.width[:, None]
