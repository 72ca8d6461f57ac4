"""What a region's features move the states of a circuit by: the numbers of a `Remainder`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .gates import ReUploadGates, turn_rate
from .region import Region
from .remainder import Remainder, Steps
from .tangents import Layers, backwards, gram, products, rounding, tangents, turned, z_diagonals

_PARTS = 8  # of the circuit, between which the tangents of all features are compared


@dataclass(frozen=True)
class Room:
    """Memory for n images; getting it anew for each takes as long as filling it.

    Args:
        tangents: Of each image, (n, layers + 1, 2^qubits, features).
        before, after: For what is `turned`, of states and of χ.
    """

    tangents: Tensor
    before: Tensor
    after: Tensor

    @classmethod
    def get(cls, gates: ReUploadGates, n: int) -> Room:
        """Room for the circuit."""
        layers, qubits, _ = gates.circuit.angles_shape
        both = torch.empty(2, n, layers, 3 * qubits, 2**qubits, dtype=torch.complex128)
        tangents = torch.empty(n, layers + 1, 2**qubits, gates.features, dtype=torch.complex64)
        return cls(tangents, *both)


@dataclass(frozen=True)
class Moved:
    """What the features move the states of n images by; the same for every margin.

    Args:
        prefix, turn, speed: As in `Remainder`.
        turned: That of the states before every layer.
        room: Holds the tangents of each image.
    """

    prefix: Tensor
    turn: Steps
    speed: Steps
    turned: Tensor
    room: Room


@dataclass(frozen=True)
class Observed:
    """A margin of each of n images, undone to before every layer.

    Args:
        images: Which images.
        mean: ‖χ‖, (n,).
        turned: That of χ before every layer; the next margin observed takes its room.
        below, above: For each image the `gram` of the tangents at the end where M is −2, and 2.
    """

    images: Tensor
    mean: Tensor
    turned: Tensor
    below: list[Tensor]
    above: list[Tensor]


def moved(gates: ReUploadGates, layers: Layers, inside: Region, room: Room) -> Moved:
    """The tangents of all images of a region, written to `room`, and their sizes in it."""
    count, images = gates.circuit.layers, range(len(inside.centre))
    forwards = turned(layers, layers.states[:, :-1], room.before)
    own = _steps(gates, products(forwards), inside)
    for image in images:
        tangents(gates, layers, forwards, image, room.tangents[image])
    prefix = torch.full_like(own.largest, torch.inf)
    for cut in sorted({-(-count * part // _PARTS) for part in range(_PARTS)}):
        reached = torch.zeros(len(images), dtype=torch.float64)
        for image in images if cut else ():
            reached[image] = length(gates, inside, image, gram(room.tangents[image, cut - 1]))
        for layer in range(count):  # p_layer is as far from p_cut as the steps between add up to
            between = torch.zeros_like(own.largest)
            between[:, min(cut, layer) : max(cut, layer)] = 1
            prefix[:, layer] = torch.minimum(prefix[:, layer], reached + own.total(between))
    half = torch.full_like(own.largest, 0.5)[..., None]
    widths = _widths(gates, inside) / 2
    if inside.norm == "linf":
        turn, speed = turn_rate(widths.view(*widths.shape[:2], -1, 3)).sum(2), widths.sum(2)
    else:
        turn = speed = torch.linalg.vector_norm(widths, dim=2)
    rates, overlap = _by_feature(gates, inside, half), gates.overlap
    return Moved(
        prefix,
        Steps(inside.norm, turn, rates, overlap),
        Steps(inside.norm, speed, rates, overlap),
        forwards,
        room,
    )


def observe(layers: Layers, common: Moved, images: Tensor, y: Tensor, other: Tensor) -> Observed:
    """The margins ⟨Z_y⟩ − ⟨Z_other⟩ of some images, y and other like images."""
    z, mine = z_diagonals(layers.circuit), layers[images]
    signs = z[y] - z[other]
    target = mine.states[:, -1] * signs
    last = [
        (common.room.tangents[image, -1], m)
        for image, m in zip(images.tolist(), signs, strict=True)
    ]
    return Observed(
        images,
        torch.linalg.vector_norm(target, dim=1),
        turned(mine, backwards(mine, target), common.room.after),
        [gram(columns[m < 0]) for columns, m in last],
        [gram(columns[m > 0]) for columns, m in last],
    )


def remainder(gates: ReUploadGates, inside: Region, common: Moved, margin: Observed) -> Remainder:
    """The remainders of margins."""
    low, full = [], []
    for image, below, above in zip(margin.images.tolist(), margin.below, margin.above, strict=True):
        low.append(length(gates, inside, image, below))
        full.append(2 * length(gates, inside, image, below + above))
    return Remainder(
        common.prefix[margin.images],
        _steps(gates, products(margin.turned), inside[margin.images]),
        common.turn[margin.images],
        common.speed[margin.images],
        torch.stack(low),
        torch.stack(full),
        margin.mean,
    )


def length(gates: ReUploadGates, inside: Region, image: int, found: Tensor) -> Tensor:
    """At least the largest norm of Σ_k δ_k t_k, from the `gram` of some rows of `tangents` t_k."""
    tangent, product = rounding(gates.circuit)
    turn = inside[[image]].linear(gates.weights[None])[0] / 2
    square = inside.quadratic(image, found) + product * ((1 + tangent) * turn).square()
    return square.sqrt() + tangent * turn


def _widths(gates: ReUploadGates, inside: Region) -> Tensor:
    """How far each angle goes: in ℓ∞ at most, in ℓ2 for a z_j of the ball's radius."""
    if inside.norm == "linf":
        return gates.widths(inside.width)
    norms: Tensor = torch.linalg.vector_norm(gates.layers, dim=2)
    return norms * inside.width[:, :1, None]


def _steps(gates: ReUploadGates, found: Tensor, inside: Region) -> Steps:
    """Lengths of Σ_g α_g u_g in each layer for angles α, from the `products` of the u_g."""
    widths = _widths(gates, inside)
    if inside.norm == "linf":
        largest = torch.einsum("nlg,nlgh,nlh->nl", widths, found.abs(), widths).sqrt()
    else:
        scaled = widths[..., None] * found * widths[..., None, :]
        largest = torch.linalg.eigvalsh(scaled)[..., -1].clamp(min=0).sqrt()
    lengths = found.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    return Steps(inside.norm, largest, _by_feature(gates, inside, lengths), gates.overlap)


def _by_feature(gates: ReUploadGates, inside: Region, lengths: Tensor) -> Tensor:
    """Lengths per angle (n, layers, g or 1), times the angles, added up for each feature in ℓ2."""
    if inside.norm == "linf":
        return lengths[..., :0]
    lengths = lengths.expand(-1, -1, gates.layers.shape[1])
    added = torch.einsum("nlg,lgf->nlf", lengths, gates.layers.abs())
    return added * inside.width[:, None]
