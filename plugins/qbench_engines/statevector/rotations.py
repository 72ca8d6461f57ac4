"""The arithmetic of the `statevector` engine: the rotations of two to five qubits at a time.

`Rot(φ, θ, ω) = RZ(ω) RY(θ) RZ(φ)` is applied as phases (1, e^iφ), a real rotation done as three
shears, and phases (1, e^iω), while the 4 or 8 amplitudes that belong together are in registers.
Groups of 4 or 5 qubits turn in two halves. This drops a global phase, which no probability and no
gradient can see.

A group of k qubits has 2k + 4·2^k vectors in the table of its layer: for each qubit the two
shears, then for each of the 2^k basis states of the group the phase from its φ, then from its ω
(cosine and sine). Its sums, which become gradients, lie at the same places (phases: the first of
two).
"""

# mypy: ignore-errors
# Reason: the bodies run on pieces of generated code, see `lanes`.

from __future__ import annotations

import math

from qbench_engines.statevector.lanes import START, vectorised

SIN = (
    -1.66666666666666324348e-1,
    8.33333333332248946124e-3,
    -1.98412698298579493134e-4,
    2.75573137070700676789e-6,
    -2.50507602534068634195e-8,
    1.58969099521155010221e-10,
)
COS = (
    4.16666666666666019037e-2,
    -1.38888888888741095749e-3,
    2.48015872894767294178e-5,
    -2.75573143513906633035e-7,
    2.08757232129817482790e-9,
    -1.13596475577881948265e-11,
)
TURN = 1.5707963267948966, 6.123233995736766e-17  # π/2 as a sum of two numbers


def _cos_sin(x):
    """Cosine and sine in float64 (reduction by Cody and Waite, polynomials of fdlibm)."""
    turns = (x * x.like(2 / math.pi)).call("rint")
    for part in TURN:
        x = turns.call("fma", x.like(-part), x)
    z, sin, cos = x * x, x.like(SIN[-1]), x.like(COS[-1])
    for a, b in zip(SIN[-2::-1], COS[-2::-1], strict=True):
        sin, cos = sin * z + x.like(a), cos * z + x.like(b)
    sin, cos = x + x * z * sin, x.like(1.0) - z * x.like(0.5) + z * z * cos
    quadrant = turns - x.like(4.0) * (turns * x.like(0.25)).call("floor")
    odd = (quadrant - x.like(2.0)).call("fabs")
    cos, sin = odd.choose("==", 1.0, sin, cos), odd.choose("==", 1.0, cos, sin)
    middle, minus = (quadrant - x.like(1.5)).call("fabs"), x.like(-1.0)
    cos = middle.choose("<", 1.0, cos * minus, cos)
    return cos, quadrant.choose(">=", 2.0, sin * minus, sin)


@vectorised
def add_taint(builder, angles, angle, taint):
    """Adds 0 to the lanes where the angle is finite, NaN to the others."""
    x = angles.load(angle)
    taint.store(taint.load(START) + x * x.like(0.0), START)


@vectorised
def write_phase(builder, angles, angle, table, at):
    """Writes e^iα of an angle."""
    cos, sin = _cos_sin(angles.load(angle).double())
    table.store(cos, at)
    table.store(sin, at, 1)


@vectorised
def write_shears(builder, angles, angle, table, at):
    """Writes tan(θ/4) and sin(θ/2): a turn by θ/2 is the shears tan(θ/4), sin(θ/2), tan(θ/4)."""
    theta = angles.load(angle).double()
    cos, sin = _cos_sin(theta * theta.like(0.5))
    # Half a circle more only flips the global sign, and keeps the shears within [-1, 1].
    sign = cos.choose("<", 0.0, cos.like(-1.0), cos.like(1.0))
    cos, sin = cos * sign, sin * sign
    table.store(sin / (cos + cos.like(1.0)), at)
    table.store(sin, at, 1)


@vectorised
def write_product(builder, table, left, right, at):
    """Writes the product of two phases of the table."""
    a, b, c, d = table.load(left), table.load(left, 1), table.load(right), table.load(right, 1)
    table.store(a * c - b * d, at)
    table.store(a * d + b * c, at, 1)


@vectorised
def add_density(builder, psi, at, density, outcome):
    """Adds |ψ|² of one amplitude to an outcome."""
    re, im = psi.load(at).double(), psi.load(at, 1).double()
    density.store(density.load(outcome) + re * re + im * im, outcome)


@vectorised
def write_cotangent(builder, psi, at, cotangent, outcome, lam):
    """Writes λ = g ψ of one amplitude."""
    weight = cotangent.load(outcome)
    for part in range(2):
        lam.store(weight * psi.load(at, part), at, part)


class _State:
    """The 2^k amplitudes of one state that k qubits mix, in registers."""

    def __init__(self, memory, base, offsets, size):
        self.memory = memory
        self.at = [memory.builder.xor(base, offsets.item(i)) for i in range(size)]
        self.re, self.im = [None] * size, [None] * size

    def load(self, i):
        self.re[i], self.im[i] = self.memory.load(self.at[i]), self.memory.load(self.at[i], 1)

    def store(self, i, target=None):
        """Writes an amplitude back, or to where that of another state lies."""
        target = target or self
        target.memory.store(self.re[i], target.at[i])
        target.memory.store(self.im[i], target.at[i], 1)

    def phase(self, i, cos, sin, inverse):
        re, im = self.re[i], self.im[i]
        if inverse:
            self.re[i], self.im[i] = re * cos + im * sin, im * cos - re * sin
        else:
            self.re[i], self.im[i] = re * cos - im * sin, im * cos + re * sin


def _pairs(size, bit):
    return [(i, i | bit) for i in range(size) if not i & bit]


def _turn(part, k, table, at, inverse):
    """Turns the real or the imaginary parts about Y by the angles θ of the k qubits."""
    for qubit in range(k):
        tan, sin = table.load(at, 2 * qubit), table.load(at, 2 * qubit + 1)
        for i, j in _pairs(2**k, 1 << (k - 1 - qubit)):
            a, b = part[i], part[j]
            if inverse:
                a = a + tan * b
                b = b - sin * a
                a = a + tan * b
            else:
                a = a - tan * b
                b = b + sin * a
                a = a - tan * b
            part[i], part[j] = a, b


def _undo_turns(right, left, k, table, sums, at):
    """Undoes the turns of ψ and λ, and adds to the sums of the angles θ."""
    for x, y in ((right.re, left.re), (right.im, left.im)):
        _turn(y, k, table, at, inverse=True)
        _turn(x, k, table, at, inverse=True)
        for qubit in range(k):
            total = sums.load(at, 2 * qubit)
            for i, j in _pairs(2**k, 1 << (k - 1 - qubit)):
                total = total + y[j] * x[i] - y[i] * x[j]
            sums.store(total, at, 2 * qubit)


def _add_phase(right, left, i, sums, at, vectors=0):
    """Adds Im(λ* ψ) of one amplitude to the sum of its phase."""
    value = left.im[i] * right.re[i] - left.re[i] * right.im[i]
    sums.store(sums.load(at, vectors) + value, at, vectors)


# Below, each amplitude is loaded and stored next to its phase, and real and imaginary parts are
# turned one after the other: with everything loaded first, the registers would not suffice.


def apply(k, inverse):
    """Rotates the state in `psi` (or, inverse, undoes it); the other state is left alone."""
    size = 2**k
    phi, omega = 2 * k, 2 * k + 2 * size
    before, after = (omega, phi) if inverse else (phi, omega)

    @vectorised
    def body(builder, psi, lam, sums, base, offsets, table, at):
        state = _State(psi, base, offsets, size)

        def phase(i, first):
            if i:  # the phase of basis state 0 is 1
                cos, sin = table.load(at, first + 2 * i), table.load(at, first + 2 * i + 1)
                state.phase(i, cos, sin, inverse)

        for i in range(size):
            state.load(i)
            phase(i, before)
        for part in (state.re, state.im):
            _turn(part, k, table, at, inverse)
        for i in range(size):
            phase(i, after)
            state.store(i)

    return body


def adjoint(k):
    """Undoes the rotations on ψ and λ and adds up what their angles' gradients are made of."""
    size = 2**k
    phi, omega = 2 * k, 2 * k + 2 * size

    @vectorised
    def body(builder, psi, lam, sums, base, offsets, table, at):
        right, left = _State(psi, base, offsets, size), _State(lam, base, offsets, size)

        def phase(i, first):
            if i:
                _add_phase(right, left, i, sums, at, first + 2 * i)
                cos, sin = table.load(at, first + 2 * i), table.load(at, first + 2 * i + 1)
                right.phase(i, cos, sin, inverse=True)
                left.phase(i, cos, sin, inverse=True)

        for i in range(size):
            right.load(i)
            left.load(i)
            phase(i, omega)
        _undo_turns(right, left, k, table, sums, at)
        for i in range(size):
            phase(i, phi)
            right.store(i)
            left.store(i)

    return body


# The halves of a group of 4 or 5 qubits. Between them the group's amplitudes lie side by side in a
# buffer, `near`; the first half reads them from far away, asks for those that it will be given
# next, and applies the phases of all qubits of the group; the second half applies the phases that
# follow the turns and stores the amplitudes where they came from. Phases, and the sums that become
# gradients, lie in the order of the buffer.


def _ask(memories, ahead, offsets, size):
    for i in range(size):
        for memory in memories:
            memory.fetch(memory.builder.xor(ahead, offsets.item(i)))


def apply_half(k, first, inverse):
    """Turns k of the qubits of a group and, on one side of the turns, applies all phases."""
    size = 2**k

    @vectorised
    def body(
        builder, psi, lam, psi_near, lam_near, sums, far, ahead, offsets, near, steps,
        table, at, phases,
    ):  # fmt: skip
        source, target = _State(psi, far, offsets, size), _State(psi_near, near, steps, size)
        places = [builder.add(phases, place) for place in target.at]
        if first:
            _ask((psi,), ahead, offsets, size)
        else:
            source, target = target, source
        for i, place in enumerate(places):
            source.load(i)
            if first:
                source.phase(i, table.load(place), table.load(place, 1), inverse)
        for part in (source.re, source.im):
            _turn(part, k, table, at, inverse)
        for i, place in enumerate(places):
            if not first:
                source.phase(i, table.load(place), table.load(place, 1), inverse)
            source.store(i, target)

    return body


def adjoint_half(k, first):
    """Undoes the same on ψ and λ and adds up what gradients are made of."""
    size = 2**k

    @vectorised
    def body(
        builder, psi, lam, psi_near, lam_near, sums, far, ahead, offsets, near, steps,
        table, at, phases,
    ):  # fmt: skip
        sources = [_State(memory, far, offsets, size) for memory in (psi, lam)]
        targets = [_State(memory, near, steps, size) for memory in (psi_near, lam_near)]
        places = [builder.add(phases, place) for place in targets[0].at]
        if first:
            _ask((psi, lam), ahead, offsets, size)
        else:
            sources, targets = targets, sources
        right, left = sources

        def phase(i, place):
            _add_phase(right, left, i, sums, place)
            cos, sin = table.load(place), table.load(place, 1)
            right.phase(i, cos, sin, inverse=True)
            left.phase(i, cos, sin, inverse=True)

        for i, place in enumerate(places):
            right.load(i)
            left.load(i)
            if first:
                phase(i, place)
        _undo_turns(right, left, k, table, sums, at)
        for i, place in enumerate(places):
            if not first:
                phase(i, place)
            right.store(i, targets[0])
            left.store(i, targets[1])

    return body


@vectorised
def add_vector(builder, source, at, target, to):
    """Adds one vector to another."""
    target.store(target.load(to) + source.load(at), to)
