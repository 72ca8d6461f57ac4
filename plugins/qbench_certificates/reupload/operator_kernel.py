"""The compiled loops of `circuit-operator`: bounds on an observable, from last gate to first.

A step. Let a rotation about the Pauli operator σ turn by its centre angle and then by t, |t| ≤ h.
Take M after the centre's turn, B = (M − σMσ)/2, K = i[σ, M]/2 and D = K − c for a number c. For any
A with A ⪰ ±D and A + tan(h) B ⪰ 0, where h < π/2,

    U(t)†MU(t) = M − (1 − cos t) B + sin(t) K  ⪰  M⁻ + c sin t,
    M⁻ = M − (1 − cos h) B − sin(h) A,

because sin(t) D ⪰ −sin|t| A, and (1 − cos t) B + sin(t) A grows with t on [0, h]: its derivative
cos(t) (A + tan(t) B) is a mixture of A ⪰ 0 and A + tan(h) B. The next step goes on with M⁻.

Which A costs least depends on where it is looked at: for a weight ρ = LL† the smallest tr(ρA) has
A = L⁻†|L†DL|L⁻¹. The weights are those with which the bound changes with M: they go through the
circuit from the first gate to the last while M goes from the last to the first, and the two are
made to agree (`_improve`). A small part μ of every direction is added to each weight and lowered
step by step: without it the operators grow without limit in directions that carry no weight.

Every A is valid whatever its weight was, and rounding is paid for with numbers computed beside
it, so nothing here needs to converge for a bound to hold.
"""

# mypy: ignore-errors
# Reason: numba ships no types; the functions are compiled from the types they are called with.

from __future__ import annotations

import numpy as np
from numba import njit

from qbench_engines.statevector.caching import compiled

_UNIT = 2.0**-52
_LARGEST = 1e4  # of an operator's entries: beyond it a trial step has failed
_FAILED = -1e9
_MIXED = 0.7  # share of the new weights in the first step
_DAMPED = 0.6  # what μ is multiplied by in a step that succeeds
_SWEEPS = 5  # over the features, for the numbers c


@njit
def _turn(m, axis, bit, angle, found):
    """Writes U†mU for the rotation U = exp(−i angle σ/2); axis 1 is Y and 2 is Z."""
    n = len(m)
    if axis == 2:
        for i in range(n):
            for j in range(n):
                phase = angle * (((j >> bit) & 1) - ((i >> bit) & 1))
                if phase == 0.0:
                    found[i, j] = m[i, j]
                else:
                    found[i, j] = m[i, j] * complex(np.cos(phase), np.sin(phase))
        return
    cos, sin, mask = np.cos(angle / 2), np.sin(angle / 2), 1 << bit
    for i in range(n):
        for j in range(n):
            if not j & mask:
                x, y = m[i, j], m[i, j | mask]
                found[i, j] = cos * x + sin * y
                found[i, j | mask] = cos * y - sin * x
    for i in range(n):
        if not i & mask:
            for j in range(n):
                x, y = found[i, j], found[i | mask, j]
                found[i, j] = cos * x + sin * y
                found[i | mask, j] = cos * y - sin * x


@njit
def _split(m, axis, bit, odd, slope):
    """Writes (m − σmσ)/2 and i[σ, m]/2 of a Hermitian m."""
    n, mask = len(m), 1 << bit
    for i in range(n):
        one = 1.0 - 2.0 * ((i >> bit) & 1)
        for j in range(n):
            other = 1.0 - 2.0 * ((j >> bit) & 1)
            if axis == 2:
                odd[i, j] = 0.5 * (1.0 - one * other) * m[i, j]
                slope[i, j] = 0.5j * (one - other) * m[i, j]
            else:  # σ|0⟩ = i|1⟩ and σ|1⟩ = −i|0⟩
                odd[i, j] = 0.5 * (m[i, j] - one * other * m[i ^ mask, j ^ mask])
                slope[i, j] = 0.5 * (one * m[i ^ mask, j] + other * m[i, j ^ mask])


@njit
def _factor(weight, mu, low, inverse):
    """Writes L with LL† = weight + μ, or larger where that is not positive, and L⁻¹."""
    n = len(weight)
    for j in range(n):
        square = weight[j, j].real + mu
        for k in range(j):
            square -= low[j, k].real ** 2 + low[j, k].imag ** 2
        root = np.sqrt(max(square, 0.3 * mu))
        low[j, j], inverse[j, j] = root, 1 / root
        for i in range(j + 1, n):
            rest = weight[i, j]
            for k in range(j):
                rest -= low[i, k] * np.conj(low[j, k])
            low[i, j], low[j, i], inverse[j, i] = rest / root, 0, 0
    for j in range(n):
        for i in range(j + 1, n):
            rest = 0j
            for k in range(j, i):
                rest -= low[i, k] * inverse[k, j]
            inverse[i, j] = rest / low[i, i]


@njit
def _positive(m, work):
    """Whether the Cholesky decomposition of a Hermitian matrix ends."""
    n = len(m)
    for j in range(n):
        square = m[j, j].real
        for k in range(j):
            square -= work[j, k].real ** 2 + work[j, k].imag ** 2
        if not square > 0:
            return False
        root = np.sqrt(square)
        work[j, j] = root
        for i in range(j + 1, n):
            rest = m[i, j]
            for k in range(j):
                rest -= work[i, k] * np.conj(work[j, k])
            work[i, j] = rest / root
    return True


@njit
def _norm(m):
    total = 0.0
    for i in range(len(m)):
        for j in range(len(m)):
            total += m[i, j].real ** 2 + m[i, j].imag ** 2
    return np.sqrt(total)


@njit
def _product(left, right, found):
    """Writes left · right; a function of its own, as calls of BLAS take long to compile."""
    np.dot(left, right, found)


@njit
def _adjoint(m, found):
    for i in range(len(m)):
        for j in range(len(m)):
            found[i, j] = np.conj(m[j, i])


@njit
def _absolute(low, inverse, d, above, sign, work):
    """Writes A ⪰ ±d of least tr(LL†A), and its multiplier's factor L sgn(L†dL) L⁻¹.

    Returns what must be added to A for rounding, and the curvature of tr(LL†A) in d's trace.
    """
    n = len(d)
    one, two, rows = work[0], work[1], work[2]
    columns, adjoint, below = work[3], work[4], work[5]
    _product(d, low, one)
    _adjoint(low, adjoint)
    _product(adjoint, one, two)
    values, vectors = np.linalg.eigh(two)
    for a in range(n):
        for b in range(n):
            one[a, b], adjoint[a, b] = vectors[a, b], np.conj(vectors[b, a])
    _product(low, one, columns)
    _product(adjoint, inverse, rows)
    curvature, size = 0.0, 0.0
    for a in range(n):
        value, length, own = abs(values[a]), 0.0, 0.0
        for b in range(n):
            own += rows[a, b].real ** 2 + rows[a, b].imag ** 2
            length += columns[b, a].real ** 2 + columns[b, a].imag ** 2
            one[a, b] = rows[a, b] * (value if values[a] < 0 else 0.0)
            two[a, b] = rows[a, b] * (0.0 if values[a] < 0 else value)
        size += own * value
        curvature += length**2 / max(value, 1e-3 * length)
    _adjoint(rows, adjoint)
    _product(adjoint, one, below)
    _product(adjoint, two, above)
    off = 0.0  # ±(above − below) ⪯ above + below, whatever rows and values are; d is off by this
    for i in range(n):
        for j in range(n):
            away = above[i, j] - below[i, j] - d[i, j]
            off += away.real**2 + away.imag**2
            above[i, j] += below[i, j]
            if values[i] < 0:
                rows[i, j] = -rows[i, j]
    _product(columns, rows, sign)
    return np.sqrt(off) + 8 * n * _UNIT * size, curvature


@njit
def _backwards(circuit, angles, widths, diagonal, weights, mu, c, signs, curvature):
    """The bound ⟨0|M⁻|0⟩ before the first gate, less what rounding can have added to it.

    Args:
        circuit: Of each rotation its axis, bit and the order of the basis after it (or −1s).
        angles, widths: Of each rotation; one of width 0 does not move.
        diagonal: Of the observable after the last gate.
        weights: One for each rotation, (rotations, n, n).
        mu: Added to each weight.
        c: One number for each rotation.
        signs, curvature: Written: what `_forwards` and `_prices` need.
    """
    axes, bits, orders = circuit
    n = len(diagonal)
    m = np.zeros((n, n), np.complex128)
    for a in range(n):
        m[a, a] = diagonal[a]
    new, odd, d = np.empty_like(m), np.empty_like(m), np.empty_like(m)
    low, inverse, above = np.empty_like(m), np.empty_like(m), np.empty_like(m)
    work = np.empty((6, n, n), np.complex128)
    paid = 0.0
    for j in range(len(axes) - 1, -1, -1):
        if orders[j, 0] >= 0:
            for a in range(n):
                for b in range(n):
                    new[orders[j, a], orders[j, b]] = m[a, b]
            m[:] = new
        _turn(m, axes[j], bits[j], angles[j], new)
        m[:] = new
        if widths[j] == 0:
            continue
        _split(m, axes[j], bits[j], odd, d)
        for a in range(n):
            d[a, a] -= c[j]
        _factor(weights[j], mu, low, inverse)
        if not _norm(d) * _norm(low) * _norm(inverse) < 1e12:
            return _FAILED
        added, curvature[j] = _absolute(low, inverse, d, above, signs[j], work)
        sin, fallen, tan = np.sin(widths[j]), 1 - np.cos(widths[j]), np.tan(widths[j])
        curvature[j] *= sin
        for a in range(n):
            for b in range(n):
                new[a, b] = above[a, b] + tan * odd[a, b]
        if not _positive(new, low):
            added += tan * _norm(odd)  # as A ⪰ 0
        size = _norm(m) + _norm(above) + abs(c[j])
        paid += sin * added + 100 * n * _UNIT * (1 + abs(angles[j])) * size
        for a in range(n):
            for b in range(a + 1):
                m[a, b] -= fallen * odd[a, b] + sin * above[a, b]
                m[b, a] = np.conj(m[a, b])
            m[a, a] = m[a, a].real
            if not abs(m[a, a].real) < _LARGEST:
                return _FAILED
    return m[0, 0].real - paid


@njit
def _forwards(circuit, angles, widths, signs, weights, slopes):
    """Writes how the bound changes with M after each rotation, and with each c."""
    axes, bits, orders = circuit
    n = signs.shape[1]
    rho = np.zeros((n, n), np.complex128)
    rho[0, 0] = 1
    new, odd, slope = np.empty_like(rho), np.empty_like(rho), np.empty_like(rho)
    moved = np.empty_like(rho)
    for j in range(len(axes)):
        weights[j] = rho
        if widths[j] > 0:
            sin, fallen = np.sin(widths[j]), 1 - np.cos(widths[j])
            _product(signs[j], rho, new)
            _adjoint(new, moved)
            trace = 0.0
            for a in range(n):
                trace += moved[a, a].real
                for b in range(n):
                    moved[a, b] = -0.5 * sin * (moved[a, b] + new[a, b])
            slopes[j] = sin * trace
            _split(moved, axes[j], bits[j], odd, slope)
            _split(rho, axes[j], bits[j], odd, new)
            for a in range(n):
                for b in range(n):
                    rho[a, b] -= fallen * odd[a, b] + slope[a, b]
        _turn(rho, axes[j], bits[j], -angles[j], new)
        if orders[j, 0] >= 0:
            for a in range(n):
                for b in range(n):
                    rho[a, b] = new[orders[j, a], orders[j, b]]
        else:
            rho[:] = new


@njit
def _least(readings, c, reach, ball):
    """Σ_j c_j (R_j·δ) at its least, over |δ_k| ≤ reach_k, or ‖δ‖₂ ≤ ball where that is finite."""
    starts, rotation, weight = readings
    total = 0.0
    for k in range(len(starts) - 1):
        push = 0.0
        for r in range(starts[k], starts[k + 1]):
            push += weight[r] * c[rotation[r]]
        total += push**2 if ball < np.inf else reach[k] * abs(push)
    return -ball * np.sqrt(total) if ball < np.inf else -total


@njit
def _prices(readings, c, slopes, curvature, reach, ball, bends, delta):
    """The c that is best for the bound's quadratic model, by its dual over δ.

    The model is the bound at c, plus slopes·d − Σ curvature_j d_j²/2, plus the least
    Σ_j (c + d)_j (R_j·δ + b_j) over the region, where |b_j| ≤ bends_j pays for sin t ≠ t.

    Args:
        delta: Where the search begins, (features + rotations,): the perturbation, and then b. Left
            where it ends: the perturbation that the bound fears most.
    """
    starts, rotation, weight = readings
    features = len(starts) - 1
    moved = slopes + delta[features:]
    for k in range(features):
        for r in range(starts[k], starts[k + 1]):
            moved[rotation[r]] += weight[r] * delta[k]
    for _ in range(_SWEEPS):
        for k in range(features):
            slope, bend = 0.0, 1e-12
            for r in range(starts[k], starts[k + 1]):
                j = rotation[r]
                slope += weight[r] * (moved[j] / curvature[j] + c[j])
                bend += weight[r] ** 2 / curvature[j]
            new = min(max(delta[k] - slope / bend, -reach[k]), reach[k])
            for r in range(starts[k], starts[k + 1]):
                moved[rotation[r]] += weight[r] * (new - delta[k])
            delta[k] = new
        if ball < np.inf:  # back into the ball
            square = 0.0
            for k in range(features):
                square += delta[k] ** 2
            if square > ball**2:
                factor = ball / np.sqrt(square)
                for k in range(features):
                    for r in range(starts[k], starts[k + 1]):
                        moved[rotation[r]] -= weight[r] * (1 - factor) * delta[k]
                    delta[k] *= factor
        for j in range(len(c)):
            new = delta[features + j] - moved[j] - c[j] * curvature[j]
            new = min(max(new, -bends[j]), bends[j])
            moved[j] += new - delta[features + j]
            delta[features + j] = new
    return c + moved / curvature


@njit
def _margin(circuit, angles, diagonal):
    """⟨M⟩ of the circuit's state."""
    axes, bits, orders = circuit
    n = len(diagonal)
    state, new = np.zeros(n, np.complex128), np.zeros(n, np.complex128)
    state[0] = 1
    for j in range(len(axes)):
        cos, sin, mask = np.cos(angles[j] / 2), np.sin(angles[j] / 2), 1 << bits[j]
        for i in range(n):
            sign = 1.0 if i & mask else -1.0
            if axes[j] == 2:
                new[i] = state[i] * complex(cos, sign * sin)
            else:
                new[i] = cos * state[i] + sign * sin * state[i ^ mask]
        for i in range(n):
            state[i] = new[orders[j, i]] if orders[j, 0] >= 0 else new[i]
    total = 0.0
    for i in range(n):
        total += diagonal[i] * (state[i].real ** 2 + state[i].imag ** 2)
    return total


@compiled
def lower_bound(circuit, angles, widths, diagonal, readings, reach, ball, weights, mu, c):
    """A lower bound on ⟨M⟩ over the region, from weights and numbers c that may be any.

    Args:
        circuit: As in `prove`, which explains the others, too.
        mu: Added to the weights, more than 0.
    """
    signs = np.zeros_like(weights)
    start = _backwards(circuit, angles, widths, diagonal, weights, mu, c, signs, np.zeros_like(c))
    bends = widths - np.sin(widths)
    return start + _least(readings, c, reach, ball) - (np.abs(c) * bends).sum()


@compiled
def prove(
    circuit, angles, widths, diagonal, readings, reach, ball, least, iterations, mu, weights, c
):  # fmt: skip
    """The largest bound found on ⟨M⟩ over the region: stopped once it exceeds `least`, or cannot.

    Args:
        circuit: The rotations from the first to the last: axes (1 is Y, 2 is Z), bits of the
            basis index, and the order of the basis after each, (rotations, n), or −1 for no change.
        angles: At the centre of the region.
        widths: How far each angle can go from there; less than π/2.
        diagonal: Of the observable M, (n,).
        readings: Where each feature's readings begin, (features + 1,), the rotation of each, and
            its weight.
        reach: How far each feature can go, (features,).
        ball: Radius of the ℓ2 ball, or infinite.
        least: What is to be proved.
        iterations: How many steps are tried at most.
        mu: Of the first step.
        weights, c: Where the search begins, (rotations, n, n) and (rotations,); left at the best.

    Returns:
        The bound, the least μ reached, and the smallest margin met at a point of the region.
    """
    rotations, n, features = len(angles), len(diagonal), len(reach)
    trial, signs = weights.copy(), np.zeros_like(weights)
    new, slopes = np.zeros_like(weights), np.zeros(rotations)
    curvature, bends = np.ones(rotations), widths - np.sin(widths)
    delta, target = np.zeros(features + rotations), c.copy()
    best, share, damped, met, tried = _FAILED, _MIXED, _DAMPED, np.inf, mu
    for step in range(iterations):
        trial_c = c.copy()
        if step:
            tried = mu * damped
            trial_c += min(1.0, share / _MIXED) * (target - c)
            for j in range(rotations):
                if widths[j] > 0:
                    for a in range(n):
                        for b in range(n):
                            trial[j, a, b] += share * (new[j, a, b] - weights[j, a, b])
        bound = _backwards(
            circuit, angles, widths, diagonal, trial, tried, trial_c, signs, curvature
        )  # fmt: skip
        bound += _least(readings, trial_c, reach, ball) - (np.abs(trial_c) * bends).sum()
        if step and not bound > best:
            trial[:] = weights
            share, damped = share / 2, np.sqrt(damped)
            continue
        if bound == _FAILED:
            break
        gain, best, mu = bound - best, bound, tried
        weights[:], c[:] = trial, trial_c
        if best > least:
            break
        _forwards(circuit, angles, widths, signs, new, slopes)
        target = _prices(
            readings, c, slopes, np.maximum(curvature, 1e-6), reach, ball, bends, delta
        )  # fmt: skip
        moved = angles.copy()
        for k in range(features):
            for r in range(readings[0][k], readings[0][k + 1]):
                moved[readings[1][r]] += readings[2][r] * delta[k]
        met = min(met, _margin(circuit, moved, diagonal))
        if met <= least or (step > 3 and best + 6 * gain < least):
            break
        share, damped = min(1.0, 1.2 * share), max(_DAMPED, damped**2)
    return best, mu, met


@compiled
def centre_weights(circuit, angles, found):
    """Writes the weights of a region of one point: the states before each rotation."""
    _forwards(circuit, angles, np.zeros(len(angles)), found, found, np.zeros(len(angles)))
