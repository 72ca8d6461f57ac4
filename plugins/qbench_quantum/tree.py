"""A tree tensor network of unitaries: a circuit with a qubit for every pixel, contracted exactly.

Stoudenmire and Schwab 2016 (arXiv:1605.05775) make a qubit of every pixel; Huggins et al. 2019
(arXiv:1803.11537) classify by a tree of unitaries, each of which passes on half of its qubits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

_SPREAD = 0.3  # of the entries that the unitaries' generators start with
_LEAST = 1e-6  # probability; logarithms stay finite


class TreeNetwork(nn.Module):
    """Qubits cos(πx/2)|0⟩ + sin(πx/2)|1⟩, joined in pairs by unitaries up to a single node.

    An edge of the tree carries `bond` qubits. A node applies a trained unitary to the 2 · bond
    qubits of its two edges and drops the second half of them, so that what it passes on is a
    density matrix of 2^bond rows. Unitaries are real, as the qubits are. The cost of simulating all
    qubits exactly is then proportional to their number. The score of class k is the logarithm of
    the probability of finding the qubits of the top node, all of them kept, in basis state k.

    Args:
        features: Length of an input.
        classes: Their number.
        image_shape: Rows and columns of images, whose pixels are joined with their neighbours
            across, then down, and so on; None for the rows of a table, joined in their order.
            Qubits that are missing to a power of two are |0⟩.
        bond: Qubits of an edge; by default as few as give the top node a state for every class.
    """

    places: Tensor

    def __init__(
        self,
        features: int = 256,
        classes: int = 4,
        image_shape: Sequence[int] | None = (16, 16),
        bond: int | None = None,
    ) -> None:
        super().__init__()
        self.classes = classes
        self.bond = bond or max(1, math.ceil(math.log2(classes) / 2))
        found = list(range(features)) if image_shape is None else _neighbourhoods(*image_shape)
        leaves = 2 ** max(1, math.ceil(math.log2(len(found) / self.bond)))
        found += [features] * (leaves * self.bond - len(found))
        self.register_buffer("places", torch.tensor(found), persistent=False)
        size = 4**self.bond
        self.generators = nn.Parameter(_SPREAD * torch.randn(leaves - 1, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of images x (n, features)."""
        return (self.outcomes(x)[:, : self.classes] + _LEAST).log()

    def outcomes(self, x: Tensor) -> Tensor:
        """The distribution (n, 4^bond) over the basis states of the top node."""
        d = 2**self.bond
        gates = self.unitaries().view(-1, d, d, d, d)
        states = self._leaves(x)
        nodes = states.shape[1] // 2
        joined = torch.einsum(
            "mijab,nma,nmb->nmij", gates[:nodes], states[:, 0::2], states[:, 1::2]
        )
        if nodes == 1:
            return joined.square().flatten(1)
        density, first = joined @ joined.mT, nodes
        while (nodes := density.shape[1] // 2) > 1:
            density = torch.einsum("nmikjk->nmij", _joined(gates[first : first + nodes], density))
            first += nodes
        top = _joined(gates[first:], density)
        return torch.einsum("nmijij->nij", top).flatten(1)

    def unitaries(self) -> Tensor:
        """(nodes, 4^bond, 4^bond), from the leaves to the top: exponentials of antisymmetric P."""
        return torch.matrix_exp(self.generators - self.generators.mT)

    def _leaves(self, x: Tensor) -> Tensor:
        """The states (n, leaves, 2^bond) of the leaves, each a product of qubits."""
        turn = math.pi / 2 * pad(x, (0, 1))[:, self.places]
        qubits = torch.stack([turn.cos(), turn.sin()], -1).view(len(x), -1, self.bond, 2)
        state: Tensor = qubits[:, :, 0]
        for k in range(1, self.bond):
            state = (state[..., :, None] * qubits[:, :, k, None, :]).flatten(2)
        return state


def _joined(gates: Tensor, density: Tensor) -> Tensor:
    """U (ρ ⊗ ρ') Uᵀ of neighbours (n, nodes, d, d, d, d): rows of both, then columns of both."""
    half = torch.einsum("mijab,nmac,nmbd->nmijcd", gates, density[:, 0::2], density[:, 1::2])
    return torch.einsum("nmijcd,mklcd->nmijkl", half, gates)


def _neighbourhoods(rows: int, columns: int) -> list[int]:
    """Pixels in the order of a Z-curve over the enclosing power-of-two image; outside: the end."""
    down, across = (max(0, (side - 1).bit_length()) for side in (rows, columns))
    order = []
    for index in range(2 ** (down + across)):
        row = column = 0
        r = c = 0
        for bit in range(down + across):
            value = (index >> bit) & 1
            if c < across and (c <= r or r == down):
                column, c = column | value << c, c + 1
            else:
                row, r = row | value << r, r + 1
        inside = row < rows and column < columns
        order.append(row * columns + column if inside else rows * columns)
    return order
