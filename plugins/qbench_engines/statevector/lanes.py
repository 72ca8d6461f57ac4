"""Vector instructions for numba: a few Python values that emit LLVM code lane by lane.

A "lane" is one sample; as many as fit the widest vector register are computed together, and no
operation mixes them, so no sample can depend on its neighbours. The instructions are emitted one
by one instead of left to the loop vectoriser, which gives up on the strides of a state vector or
uses half the register width.
"""

# mypy: ignore-errors
# Reason: numba and llvmlite ship no types, and most values here are pieces of generated code.

from __future__ import annotations

import inspect

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE_BYTES = 64  # of a cache line
LANE_BYTES = 64 if llvmlite.binding.get_host_cpu_features().get("avx512f") else 32
INT = ir.IntType(64)
START = INT(0)
BYTE, HINT = ir.IntType(8), ir.IntType(32)
FUSED = ("contract",)  # a product and a sum may become one instruction; NaN and inf stay honest


class Lanes:
    """A vector value under construction; `+`, `-`, `*` and `/` emit instructions."""

    def __init__(self, builder, value):
        self.builder, self.value = builder, value

    def __add__(self, other):
        return Lanes(self.builder, self.builder.fadd(self.value, other.value, flags=FUSED))

    def __sub__(self, other):
        return Lanes(self.builder, self.builder.fsub(self.value, other.value, flags=FUSED))

    def __mul__(self, other):
        return Lanes(self.builder, self.builder.fmul(self.value, other.value, flags=FUSED))

    def __truediv__(self, other):
        return Lanes(self.builder, self.builder.fdiv(self.value, other.value))

    def like(self, number):
        """The same number in every lane."""
        return Lanes(self.builder, ir.Constant(self.value.type, [number] * self.value.type.count))

    def call(self, name, *others):
        """An LLVM intrinsic of that name, such as `floor`, on float64 lanes."""
        values = [self.value, *(other.value for other in others)]
        kind = ir.FunctionType(self.value.type, [self.value.type] * len(values))
        name = f"llvm.{name}.v{self.value.type.count}f64"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return Lanes(self.builder, self.builder.call(function, values))

    def choose(self, relation, number, yes, no):
        """`yes` in the lanes where `self relation number` holds, else `no` (also for NaN)."""
        test = self.builder.fcmp_ordered(relation, self.value, self.like(number).value)
        return Lanes(self.builder, self.builder.select(test, yes.value, no.value))

    def double(self):
        """The value in float64."""
        kind = ir.VectorType(ir.DoubleType(), self.value.type.count)
        same = self.value.type == kind
        return self if same else Lanes(self.builder, self.builder.fpext(self.value, kind))


class Memory:
    """A flat array seen as vectors; addresses count elements and are multiples of the lanes."""

    def __init__(self, context, builder, kind, array, lanes):
        self.builder, self.lanes = builder, lanes
        self.data = context.make_array(kind)(context, builder, array).data
        self.vector = ir.VectorType(context.get_data_type(kind.dtype), lanes)

    def _pointer(self, at, vectors):
        at = self.builder.add(at, INT(vectors * self.lanes))
        return self.builder.bitcast(self.builder.gep(self.data, [at]), self.vector.as_pointer())

    def load(self, at, vectors=0):
        """The vector that lies `vectors` vectors behind the address `at`."""
        return Lanes(self.builder, self.builder.load(self._pointer(at, vectors), align=LANE_BYTES))

    def store(self, lanes, at, vectors=0):
        """Writes a vector, rounded to this memory's precision."""
        value = lanes.value
        if value.type != self.vector:
            value = self.builder.fptrunc(value, self.vector)
        self.builder.store(value, self._pointer(at, vectors), align=LANE_BYTES)

    def fetch(self, at):
        """Has the amplitude at the address `at`, two vectors, brought into the fastest cache."""
        kind = ir.FunctionType(ir.VoidType(), [BYTE.as_pointer(), HINT, HINT, HINT])
        prefetch = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        start = self.builder.bitcast(self.builder.gep(self.data, [at]), BYTE.as_pointer())
        for byte in range(0, 2 * LANE_BYTES, LINE_BYTES):
            pointer = self.builder.gep(start, [INT(byte)])
            self.builder.call(prefetch, [pointer, HINT(0), HINT(3), HINT(1)])  # read, keep, data

    def item(self, index):
        """One number of an index array."""
        return self.builder.load(self.builder.gep(self.data, [INT(index)]))


def vectorised(body):
    """A numba function from `body(builder, *arguments)`: arrays become `Memory`, integers values.

    The first argument is an array whose precision fixes the number of lanes.
    """

    def typed(typing, *arguments):
        arguments = [types.unliteral(argument) for argument in arguments]
        lanes = LANE_BYTES * 8 // arguments[0].dtype.bitwidth

        def generate(context, builder, signature, values):
            wrapped = [
                Memory(context, builder, kind, value, lanes)
                if isinstance(kind, types.Array)
                else value
                for kind, value in zip(signature.args, values, strict=True)
            ]
            body(builder, *wrapped)
            return context.get_dummy_value()

        return types.void(*arguments), generate

    typed.__signature__ = inspect.signature(body)
    return intrinsic(typed)
