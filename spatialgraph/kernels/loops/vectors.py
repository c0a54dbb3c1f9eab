"""Loops over the edges of one row that hold their sums in vector registers.

Loops written in Python would load and store the sums for every edge and check for every row whether arrays overlap.
These two are therefore written in LLVM IR, which Numba compiles and inlines. They process a strip of
``strip(itemsize)`` numbers of the batch at a time. Arrays must be contiguous.
"""

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

# A strip is eight vectors of 32 bytes: enough independent sums to hide the latency of multiply-adds, and few enough for
# the sixteen registers of AVX2. Strips twice as wide take up to 50 % longer there, and up to twice as long for batches
# of up to 64.
VECTORS = 8
BYTES = 32
STRIP_BYTES = VECTORS * BYTES

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_FUSE = ["contract"]  # allows fused multiply-adds


@njit
def strip(itemsize):
    """Return how many numbers a strip holds."""
    return STRIP_BYTES // itemsize


@intrinsic
def combine(typing, x, stride, start, column, weight, first, last, begin, floor, out, to):
    """Write ``max(floor, begin + sum of weight[e] * x[column[e]])`` over the edges ``first`` to ``last`` as a strip.

    Column ``c`` of ``x`` is the strip at ``x[c * stride + start]``; the result is written to ``out[to]``. NaN is
    preserved.
    """
    signature = types.void(x, stride, start, column, weight, first, last, begin, floor, out, to)

    def codegen(context, builder, signature, args):
        vectors = _Vectors(context, builder, signature.args[0])
        x, column, weight, out = (_data(context, builder, signature, args, number) for number in (0, 3, 4, 9))
        stride, start, first, last, begin, floor, to = (args[number] for number in (1, 2, 5, 6, 7, 8, 10))

        def add(edge, sums):
            source = vectors.at(x, builder.add(builder.mul(_index(builder, column, edge), stride), start))
            factor = vectors.splat(_item(builder, weight, edge))
            return [
                builder.fadd(builder.fmul(vectors.load(source, k), factor, flags=_FUSE), total, flags=_FUSE)
                for k, total in enumerate(sums)
            ]

        sums = _over_edges(builder, first, last, [vectors.splat(begin)] * VECTORS, add)
        lowest = vectors.splat(floor)
        for k, total in enumerate(sums):
            is_below = builder.fcmp_ordered("<", total, lowest)
            vectors.store(builder.select(is_below, lowest, total), vectors.at(out, to), k)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def compare(typing, x, stride, start, column, row, at, active, is_masked, first, last, out):
    """Add the dot product of a strip of a row and of ``x[column[e]]`` to ``out[e]`` for each edge; return its sum.

    The strip is ``row[at]``; if ``is_masked``, its entries count as 0 where those of ``active[at]`` are not positive.
    """
    number = x.dtype
    signature = number(x, stride, start, column, row, at, active, is_masked, first, last, out)

    def codegen(context, builder, signature, args):
        vectors = _Vectors(context, builder, signature.args[0])
        x, column, row, active, out = (_data(context, builder, signature, args, number) for number in (0, 3, 4, 6, 10))
        stride, start, at, is_masked, first, last = (args[number] for number in (1, 2, 5, 7, 8, 9))
        counts = vectors.splat(builder.not_(is_masked))
        masked = []
        for k in range(VECTORS):
            is_active = builder.fcmp_unordered(">", vectors.load(vectors.at(active, at), k), vectors.zero)
            values = vectors.load(vectors.at(row, at), k)
            masked.append(builder.select(builder.or_(is_active, counts), values, vectors.zero))

        def dot(edge, nothing):
            source = vectors.at(x, builder.add(builder.mul(_index(builder, column, edge), stride), start))
            products = [builder.fmul(vectors.load(source, k), values, flags=_FUSE) for k, values in enumerate(masked)]
            place = builder.gep(out, [edge])
            builder.store(builder.fadd(builder.load(place), vectors.total(products)), place)
            return nothing

        _over_edges(builder, first, last, [], dot)
        return vectors.total(masked)

    return signature, codegen


class _Vectors:
    """Builds LLVM code for vectors of an array's dtype."""

    def __init__(self, context, builder, array):
        self.builder = builder
        self.number = context.get_data_type(array.dtype)
        self.item = array.dtype.bitwidth // 8
        self.type = ir.VectorType(self.number, BYTES // self.item)
        self.zero = ir.Constant(self.type, [0.0] * self.type.count)

    def at(self, data, index):
        """Return the address of an item of an array."""
        return self.builder.gep(data, [index])

    def load(self, place, k):
        """Load the ``k``-th vector after an address."""
        return self.builder.load(self._vector(place, k), align=self.item)

    def store(self, values, place, k):
        """Store the ``k``-th vector after an address."""
        self.builder.store(values, self._vector(place, k), align=self.item)

    def splat(self, value):
        """Return a vector filled with one value."""
        kind = ir.VectorType(value.type, self.type.count)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, value, ir.Constant(_I32, 0))
        everywhere = ir.Constant(ir.VectorType(_I32, kind.count), [0] * kind.count)
        return self.builder.shuffle_vector(first, undefined, everywhere)

    def total(self, vectors):
        """Return the sum of all entries of some vectors."""
        while len(vectors) > 1:
            half = len(vectors) // 2
            vectors = [
                self.builder.fadd(a, b, flags=_FUSE) for a, b in zip(vectors[:half], vectors[half:], strict=True)
            ]
        name = f"llvm.vector.reduce.fadd.v{self.type.count}f{8 * self.item}"
        kind = ir.FunctionType(self.number, [self.number, self.type])
        function = self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)
        return self.builder.call(function, [ir.Constant(self.number, 0.0), vectors[0]], fastmath=["reassoc"])

    def _vector(self, place, k):
        first = self.builder.gep(place, [ir.Constant(_I64, k * self.type.count)])
        return self.builder.bitcast(first, self.type.as_pointer())


def _over_edges(builder, first, last, carried, body):
    """Build a loop over the edges, in which ``body(edge, values)`` returns the next values; return the last values."""
    first, last = _wide(builder, first), _wide(builder, last)
    before = builder.block
    loop, after = builder.append_basic_block("edges"), builder.append_basic_block("after_edges")
    builder.cbranch(builder.icmp_signed("<", first, last), loop, after)
    builder.position_at_end(loop)
    edge = builder.phi(_I64)
    values = [builder.phi(value.type) for value in carried]
    changed = body(edge, values)
    following = builder.add(edge, ir.Constant(_I64, 1))
    end = builder.block
    builder.cbranch(builder.icmp_signed("<", following, last), loop, after)
    edge.add_incoming(first, before)
    edge.add_incoming(following, end)
    for value, start, new in zip(values, carried, changed, strict=True):
        value.add_incoming(start, before)
        value.add_incoming(new, end)
    builder.position_at_end(after)
    results = []
    for start, new in zip(carried, changed, strict=True):
        result = builder.phi(start.type)
        result.add_incoming(start, before)
        result.add_incoming(new, end)
        results.append(result)
    return results


def _data(context, builder, signature, args, number):
    return context.make_array(signature.args[number])(context, builder, args[number]).data


def _item(builder, data, index):
    return builder.load(builder.gep(data, [index]))


def _index(builder, data, index):
    """Return an item of a 32- or 64-bit integer array as a 64-bit integer."""
    return _wide(builder, _item(builder, data, index))


def _wide(builder, value):
    """Return a 32- or 64-bit integer as a 64-bit integer."""
    return value if value.type == _I64 else builder.sext(value, _I64)
