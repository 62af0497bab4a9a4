"""Blocks of vectors that stay in the processor's registers, for functions that Numba compiles.

A processor multiplies and adds 4, 8 or 16 numbers at once, if they are neighbours in memory: in
batch-last arrays, the samples.  Numba finds such loops by itself, but it does not keep a whole
block of sums in registers, and that decides between a quarter and all of a core's speed.  So the
few operations that do are written out here, for LLVM, as Numba intrinsics.

A `Block` is rows x columns vectors of `lanes` numbers each.  Positions are counted in numbers from
the start of a C-contiguous array, whatever its shape; none is checked.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

INT32, INT64 = ir.IntType(32), ir.IntType(64)


def _vector_bytes() -> int:
    """The width of this processor's registers: AVX-512, AVX, or 128 bits (SSE, NEON)."""
    features = llvmlite.binding.get_host_cpu_features()
    return 64 if features.get("avx512f") else 32 if features.get("avx") else 16


VECTOR_BYTES = _vector_bytes()

# Winograd's minimal filtering of 4 outputs by 3 weights at the points 0, 1, -1, 2, -2 and infinity
# (Lavin and Gray 2016): outputs = OUT ((WEIGHTS w) * (IN pixels)).
IN = (
    (4, 0, -5, 0, 1, 0), (0, -4, -4, 1, 1, 0), (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0), (0, 2, -1, -2, 1, 0), (0, 4, 0, -5, 0, 1),
)  # fmt: skip
WEIGHTS = (
    (1 / 4, 0, 0), (-1 / 6, -1 / 6, -1 / 6), (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6), (1 / 24, -1 / 12, 1 / 6), (0, 0, 1),
)  # fmt: skip
OUT = ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1))
MATRICES: dict[str, tuple[tuple[float, ...], ...]] = {
    "in": IN,
    "weights": WEIGHTS,
    "out": OUT,
    "out turned": tuple(zip(*OUT, strict=True)),
    "weights turned": tuple(zip(*WEIGHTS, strict=True)),
}


class Block(types.Type):
    """rows x columns vectors of `dtype` in registers."""

    def __init__(self, dtype: Any, rows: int, columns: int) -> None:
        self.dtype, self.rows, self.columns = dtype, rows, columns
        self.lanes = lanes_of(dtype)
        super().__init__(f"Block({dtype}, {rows} x {columns})")


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: Block) -> None:
        vector = ir.VectorType(manager.lookup(block.dtype).get_value_type(), block.lanes)
        super().__init__(manager, block, ir.ArrayType(vector, block.rows * block.columns))


def lanes_of(dtype: Any) -> int:
    """Numbers of a Numba type (float32, float64) in one vector."""
    return VECTOR_BYTES * 8 // dtype.bitwidth


class _Writer:
    """Writes vector instructions for numbers of one type."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.builder = context, builder
        self.scalar = context.get_value_type(dtype)
        self.lanes, self.size = lanes_of(dtype), dtype.bitwidth // 8
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.suffix = f"v{self.lanes}f{dtype.bitwidth}"

    def number(self, value: int) -> Any:
        return ir.Constant(INT64, value)

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.lanes)

    def pointer(self, kind: Any, array: Any, at: Any) -> Any:
        """The address of number `at` of an array."""
        data = self.context.make_array(kind)(self.context, self.builder, array).data
        return self.builder.gep(data, [at])

    def beyond(self, pointer: Any, numbers: Any) -> Any:
        return self.builder.gep(pointer, [numbers])

    def positions(self, kind: Any, at: Any, count: int) -> list[Any]:
        """Where `count` vectors start: as a tuple says, or one behind the other from `at`."""
        if isinstance(kind, types.BaseTuple):
            return [self.builder.extract_value(at, k) for k in range(count)]
        return [self.builder.add(at, self.number(k * self.lanes)) for k in range(count)]

    def masks(self, kind: Any, counts: Any, number: int) -> list[Any]:
        """Which lanes of each vector count; None where all do."""
        if isinstance(kind, types.NoneType):
            return [None] * number
        if not isinstance(kind, types.BaseTuple):
            return [self.first(counts)] * number
        return [self.first(self.builder.extract_value(counts, k)) for k in range(number)]

    def first(self, count: Any) -> Any:
        """The mask of the first `count` lanes."""
        count = self.builder.trunc(count, INT32)
        number = ir.VectorType(INT32, self.lanes)
        order = ir.Constant(number, list(range(self.lanes)))
        return self.builder.icmp_signed("<", order, self._spread(count, number))

    def spread(self, value: Any) -> Any:
        """The same number in all lanes."""
        return self._spread(value, self.vector)

    def _spread(self, value: Any, kind: Any) -> Any:
        nothing = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(INT32, 0))
        zeros = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def load(self, pointer: Any, mask: Any = None) -> Any:
        """A vector from memory; lanes outside the mask are 0 and not looked at."""
        place = self.builder.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            return self.builder.load(place, align=self.size)
        arguments = [place, ir.Constant(INT32, self.size), mask, ir.Constant(self.vector, None)]
        return self._call(f"masked.load.{self.suffix}.p0", self.vector, arguments)

    def store(self, value: Any, pointer: Any, mask: Any = None) -> None:
        place = self.builder.bitcast(pointer, self.vector.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=self.size)
            return
        arguments = [value, place, ir.Constant(INT32, self.size), mask]
        self._call(f"masked.store.{self.suffix}.p0", ir.VoidType(), arguments)

    def load_as(self, pointer: Any, dtype: Any) -> Any:
        """A vector of this type's numbers, or of bytes changed into them."""
        kind = self.context.get_value_type(dtype)
        if kind == self.scalar:
            return self.load(pointer)
        return self.builder.uitofp(self.load_whole(pointer, kind, None), self.vector)

    def load_whole(self, pointer: Any, kind: Any, mask: Any) -> Any:
        """As `load`, of whole numbers."""
        vector = ir.VectorType(kind, self.lanes)
        place = self.builder.bitcast(pointer, vector.as_pointer())
        size = kind.width // 8
        if mask is None:
            return self.builder.load(place, align=size)
        arguments = [place, ir.Constant(INT32, size), mask, ir.Constant(vector, None)]
        return self._call(f"masked.load.v{self.lanes}i{kind.width}.p0", vector, arguments)

    def store_whole(self, value: Any, pointer: Any, mask: Any) -> None:
        """As `store`, of whole numbers."""
        bits = value.type.element.width
        place = self.builder.bitcast(pointer, value.type.as_pointer())
        if mask is None:
            self.builder.store(value, place, align=bits // 8)
            return
        arguments = [value, place, ir.Constant(INT32, bits // 8), mask]
        self._call(f"masked.store.v{self.lanes}i{bits}.p0", ir.VoidType(), arguments)

    def spread_whole(self, value: Any, kind: Any) -> Any:
        """The same whole number in all lanes."""
        return self._spread(value, ir.VectorType(kind, self.lanes))

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a b + c, rounded once."""
        return self._call(f"fma.{self.suffix}", self.vector, [a, b, c])

    def combine(self, matrix: Any, vectors: list[Any]) -> list[Any]:
        """The products of a constant matrix with a column of vectors, zeros left out."""
        results = []
        for row in matrix:
            terms = [(a, v) for a, v in zip(row, vectors, strict=True) if a]
            terms.sort(key=lambda term: abs(term[0]) != 1)  # begin where nothing is multiplied
            factor, total = terms[0]
            if factor != 1:
                total = self.builder.fmul(total, self.constant(factor))
            for factor, vector in terms[1:]:
                if factor == 1:
                    total = self.builder.fadd(total, vector)
                elif factor == -1:
                    total = self.builder.fsub(total, vector)
                else:
                    total = self.multiply_add(vector, self.constant(factor), total)
            results.append(total)
        return results

    def _call(self, name: str, result: Any, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.{name}")
        return self.builder.call(function, arguments)

    def shuffle(self, a: Any, b: Any, picks: list[int]) -> Any:
        """The picked numbers of a and b, those of b counted on behind a's."""
        order = ir.Constant(ir.VectorType(INT32, len(picks)), picks)
        return self.builder.shuffle_vector(a, b, order)

    def sum(self, vector: Any) -> Any:
        """The sum of the lanes, halves added to halves."""
        count = self.lanes
        while count > 1:
            count //= 2
            low = self.shuffle(vector, vector, list(range(count)))
            high = self.shuffle(vector, vector, list(range(count, 2 * count)))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(INT32, 0))


def _operation(write: Callable[..., Any]) -> Callable[..., Any]:
    """What Numba wants for the second half of an intrinsic."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        result = write(context, builder, *arguments)
        return context.get_dummy_value() if result is None else result

    return generate


@intrinsic
def lanes(typing: Any, array: Any) -> Any:
    """Numbers in one vector of this array's type."""
    count = lanes_of(array.dtype)
    return types.intp(array), _operation(lambda context, builder, a: ir.Constant(INT64, count))


@intrinsic(prefer_literal=True)
def started(typing: Any, bias: Any, at: Any, rows: Any, columns: Any) -> Any:
    """A block whose row r holds bias[at + r] everywhere."""
    block = Block(bias.dtype, rows.literal_value, columns.literal_value)

    def write(context: Any, builder: Any, b: Any, at: Any, *sizes: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        value = ir.Constant(context.get_value_type(block), ir.Undefined)
        start = writer.pointer(bias, b, at)
        for row in range(block.rows):
            vector = writer.spread(builder.load(writer.beyond(start, writer.number(row))))
            for column in range(block.columns):
                value = builder.insert_value(value, vector, row * block.columns + column)
        return value

    return block(bias, at, rows, columns), _operation(write)


@intrinsic(prefer_literal=True)
def loaded(typing: Any, array: Any, at: Any, row_step: Any, rows: Any, columns: Any) -> Any:
    """The block that `kept` left at array[at:], rows `row_step` apart."""
    block = Block(array.dtype, rows.literal_value, columns.literal_value)

    def write(context: Any, builder: Any, a: Any, at: Any, row_step_: Any, *sizes: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        value = ir.Constant(context.get_value_type(block), ir.Undefined)
        row = writer.pointer(array, a, at)
        for r in range(block.rows):
            for c in range(block.columns):
                vector = writer.load(writer.beyond(row, writer.number(c * block.lanes)))
                value = builder.insert_value(value, vector, r * block.columns + c)
            row = writer.beyond(row, row_step_)
        return value

    return block(array, at, row_step, rows, columns), _operation(write)


@intrinsic
def kept(typing: Any, block: Any, array: Any, at: Any, row_step: Any) -> Any:
    """Leave a block at array[at:], rows `row_step` apart, each row's vectors side by side."""

    def write(context: Any, builder: Any, value: Any, a: Any, at: Any, row_step_: Any) -> None:
        writer = _Writer(context, builder, block.dtype)
        row = writer.pointer(array, a, at)
        for r in range(block.rows):
            for c in range(block.columns):
                place = writer.beyond(row, writer.number(c * block.lanes))
                writer.store(builder.extract_value(value, r * block.columns + c), place)
            row = writer.beyond(row, row_step_)

    return types.void(block, array, at, row_step), _operation(write)


@intrinsic
def outer(
    typing: Any, block: Any, w: Any, w_at: Any, w_step: Any, x: Any, x_at: Any, counts: Any
) -> Any:
    """block[r, c] += w[w_at + r w_step] * (the vector of x at x_at[c]).

    x_at: a tuple with a position for each column, or one position with the columns side by side.
    counts: how many lanes of each column are really there, or None for all.
    """

    def write(
        context: Any, builder: Any, value: Any, wa: Any, w_at: Any, w_step: Any,
        xa: Any, x_at_: Any, counts_: Any,
    ) -> Any:  # fmt: skip
        writer = _Writer(context, builder, block.dtype)
        masks = writer.masks(counts, counts_, block.columns)
        places = writer.positions(x_at, x_at_, block.columns)
        vectors = [
            writer.load(writer.pointer(x, xa, place), mask)
            for place, mask in zip(places, masks, strict=True)
        ]
        weight = writer.pointer(w, wa, w_at)
        for row in range(block.rows):
            factor = writer.spread(builder.load(weight))
            weight = writer.beyond(weight, w_step)
            for column, vector in enumerate(vectors):
                k = row * block.columns + column
                total = writer.multiply_add(factor, vector, builder.extract_value(value, k))
                value = builder.insert_value(value, total, k)
        return value

    return block(block, w, w_at, w_step, x, x_at, counts), _operation(write)


@intrinsic
def inner(typing: Any, block: Any, a: Any, a_at: Any, x: Any, x_at: Any, count: Any) -> Any:
    """block[r, c] += (the vector of a at a_at[r]) * (the vector of x at x_at[c]), lane by lane.

    a_at, x_at: tuples of positions.  count: how many lanes are really there, or None for all.
    """

    def write(
        context: Any,
        builder: Any,
        value: Any,
        aa: Any,
        a_at_: Any,
        xa: Any,
        x_at_: Any,
        count_: Any,
    ) -> Any:
        writer = _Writer(context, builder, block.dtype)
        mask = writer.masks(count, count_, 1)[0]
        rows, columns = [
            [
                writer.load(writer.pointer(kind, array, place), mask)
                for place in writer.positions(places_type, places, number)
            ]
            for kind, array, places_type, places, number in (
                (a, aa, a_at, a_at_, block.rows),
                (x, xa, x_at, x_at_, block.columns),
            )
        ]
        for r, left in enumerate(rows):
            for c, right in enumerate(columns):
                k = r * block.columns + c
                total = writer.multiply_add(left, right, builder.extract_value(value, k))
                value = builder.insert_value(value, total, k)
        return value

    return block(block, a, a_at, x, x_at, count), _operation(write)


@intrinsic
def leaky(typing: Any, block: Any, slope: Any) -> Any:
    """z where z > 0, else slope z, for every number of a block; a slope of 1 changes nothing.

    With a slope of 0, minus infinity gives 0.
    """

    def write(context: Any, builder: Any, value: Any, slope_: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        factor = writer.spread(slope_)
        zero, lowest = writer.constant(0.0), writer.constant(-math.inf)
        flat = builder.fcmp_ordered("==", factor, zero)
        for k in range(block.rows * block.columns):
            z = builder.extract_value(value, k)
            positive = builder.fcmp_ordered(">", z, zero)
            endless = builder.and_(flat, builder.fcmp_ordered("==", z, lowest))
            bent = builder.fmul(builder.select(endless, zero, z), factor)
            z = builder.select(positive, z, bent)
            value = builder.insert_value(value, z, k)
        return value

    return block(block, slope), _operation(write)


@intrinsic
def store(typing: Any, block: Any, y: Any, y_at: Any, row_step: Any, rows: Any, counts: Any) -> Any:
    """The first `rows` rows of a block into y: row r, column c at y_at[c] + r row_step.

    y_at and counts as in `outer`.
    """

    def write(
        context: Any, builder: Any, value: Any, ya: Any, y_at_: Any, row_step_: Any, rows_: Any,
        counts_: Any,
    ) -> None:  # fmt: skip
        writer = _Writer(context, builder, block.dtype)
        masks = writer.masks(counts, counts_, block.columns)
        places = writer.positions(y_at, y_at_, block.columns)
        for row in range(block.rows):
            with builder.if_then(builder.icmp_signed("<", writer.number(row), rows_)):
                for column, (place, mask) in enumerate(zip(places, masks, strict=True)):
                    vector = builder.extract_value(value, row * block.columns + column)
                    writer.store(vector, writer.pointer(y, ya, place), mask)
            places = [builder.add(place, row_step_) for place in places]

    return types.void(block, y, y_at, row_step, rows, counts), _operation(write)


@intrinsic
def add_sums(
    typing: Any, block: Any, out: Any, at: Any, row_step: Any, rows: Any, columns: Any
) -> Any:
    """out[at + r row_step + c] += sum of the lanes of block[r, c], for the first rows, columns."""

    def write(
        context: Any, builder: Any, value: Any, oa: Any, at_: Any, row_step_: Any, rows_: Any,
        columns_: Any,
    ) -> None:  # fmt: skip
        writer = _Writer(context, builder, block.dtype)
        place = writer.pointer(out, oa, at_)
        for row in range(block.rows):
            for column in range(block.columns):
                inside = builder.and_(
                    builder.icmp_signed("<", writer.number(row), rows_),
                    builder.icmp_signed("<", writer.number(column), columns_),
                )
                with builder.if_then(inside):
                    target = writer.beyond(place, writer.number(column))
                    total = writer.sum(builder.extract_value(value, row * block.columns + column))
                    builder.store(builder.fadd(builder.load(target), total), target)
            place = writer.beyond(place, row_step_)

    return types.void(block, out, at, row_step, rows, columns), _operation(write)


@intrinsic
def turn_square(typing: Any, x: Any, x_at: Any, x_step: Any, y: Any, y_at: Any, y_step: Any) -> Any:
    """y[y_at + j y_step + i] = x[x_at + i x_step + j] for a square of lanes x lanes numbers.

    Rows exchange halves, then quarters, ... until every number stands in its place.  Bytes become
    numbers of y's type on the way.
    """

    def write(
        context: Any, builder: Any, xa: Any, x_at_: Any, x_step_: Any, ya: Any, y_at_: Any,
        y_step_: Any,
    ) -> None:  # fmt: skip
        writer = _Writer(context, builder, y.dtype)
        count, rows = writer.lanes, []
        place = writer.pointer(x, xa, x_at_)
        for _ in range(count):
            rows.append(writer.load_as(place, x.dtype))
            place = writer.beyond(place, x_step_)
        half = count // 2
        while half:
            low = [k if not k & half else count + k - half for k in range(count)]
            high = [k + half if not k & half else count + k for k in range(count)]
            for i in range(count):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i] = writer.shuffle(*pair, low)
                    rows[i + half] = writer.shuffle(*pair, high)
            half //= 2
        place = writer.pointer(y, ya, y_at_)
        for row in rows:
            writer.store(row, place)
            place = writer.beyond(place, y_step_)

    return types.void(x, x_at, x_step, y, y_at, y_step), _operation(write)


@intrinsic
def total(typing: Any, block: Any) -> Any:
    """The sum of all numbers of a block: its vectors one by one, then the lanes."""

    def write(context: Any, builder: Any, value: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        vector = builder.extract_value(value, 0)
        for k in range(1, block.rows * block.columns):
            vector = builder.fadd(vector, builder.extract_value(value, k))
        return writer.sum(vector)

    return block.dtype(block), _operation(write)


@intrinsic
def contest(typing: Any, block: Any, x: Any, x_at: Any, place: Any, count: Any) -> Any:
    """Of a block's two rows, the largest numbers so far and their places: those of x take part.

    A number wins if it is larger, or is NaN (which must not be lost).
    """

    def write(
        context: Any, builder: Any, value: Any, xa: Any, x_at_: Any, place_: Any, count_: Any
    ) -> Any:
        writer = _Writer(context, builder, block.dtype)
        mask = writer.masks(count, count_, 1)[0]
        new = writer.load(writer.pointer(x, xa, x_at_), mask)
        best, who = builder.extract_value(value, 0), builder.extract_value(value, 1)
        larger = builder.fcmp_ordered(">", new, best)  # False where either is NaN
        wins = builder.or_(larger, builder.fcmp_unordered("uno", new, new))
        here = writer.spread(builder.sitofp(place_, writer.scalar))
        value = builder.insert_value(value, builder.select(wins, new, best), 0)
        return builder.insert_value(value, builder.select(wins, here, who), 1)

    return block(block, x, x_at, place, count), _operation(write)


@intrinsic
def store_places(typing: Any, block: Any, places: Any, at: Any, count: Any) -> Any:
    """The second row of a block, as whole numbers, into places[at:]."""

    def write(context: Any, builder: Any, value: Any, pa: Any, at_: Any, count_: Any) -> None:
        writer = _Writer(context, builder, block.dtype)
        kind = ir.VectorType(context.get_value_type(places.dtype), block.lanes)
        numbers = builder.fptoui(builder.extract_value(value, 1), kind)
        mask = writer.masks(count, count_, 1)[0]
        writer.store_whole(numbers, writer.pointer(places, pa, at_), mask)

    return types.void(block, places, at, count), _operation(write)


@intrinsic(prefer_literal=True)
def hand_back(
    typing: Any, dy: Any, places: Any, at: Any, place: Any, dx: Any, dx_at: Any, add: Any,
    count: Any,
) -> Any:  # fmt: skip
    """dx = dy where places == place, else 0, for one vector; with `add` (1) it is added to dx."""
    adds = bool(add.literal_value)

    def write(
        context: Any, builder: Any, da: Any, pa: Any, at_: Any, place_: Any, xa: Any, dx_at_: Any,
        add_: Any, count_: Any,
    ) -> None:  # fmt: skip
        writer = _Writer(context, builder, dy.dtype)
        mask = writer.masks(count, count_, 1)[0]
        whole = context.get_value_type(places.dtype)
        who = writer.load_whole(writer.pointer(places, pa, at_), whole, mask)
        here = writer.spread_whole(builder.trunc(place_, whole), whole)
        given = writer.load(writer.pointer(dy, da, at_), mask)
        share = builder.select(builder.icmp_signed("==", who, here), given, writer.constant(0.0))
        target = writer.pointer(dx, xa, dx_at_)
        if adds:
            share = builder.fadd(share, writer.load(target, mask))
        writer.store(share, target, mask)

    signature = types.void(dy, places, at, place, dx, dx_at, add, count)
    return signature, _operation(write)


# --- square patches: one vector for each pixel -------------------------------------------------


def _inside(writer: _Writer, limits: Any, given: Any, row: int, column: int) -> Any:
    """The mask of one pixel of a patch; None where the patch has no limits.

    limits: (first row, rows, first column, columns, lanes); outside 0 <= place < rows nothing is.
    """
    if isinstance(limits, types.NoneType):
        return None
    builder = writer.builder
    first_row, rows, first_column, columns, count = [
        builder.extract_value(given, k) for k in range(5)
    ]
    there = None
    for first, end, step in ((first_row, rows, row), (first_column, columns, column)):
        place = builder.add(first, writer.number(step))
        fits = builder.and_(
            builder.icmp_signed(">=", place, writer.number(0)),
            builder.icmp_signed("<", place, end),
        )
        there = fits if there is None else builder.and_(there, fits)
    return writer.first(builder.select(there, count, writer.number(0)))


@intrinsic(prefer_literal=True)
def patch(
    typing: Any, x: Any, at: Any, row_step: Any, column_step: Any, side: Any, limits: Any
) -> Any:
    """A block of side x side vectors: row r, column c from at + r row_step + c column_step.

    limits: None, or what `_inside` says; what is outside is 0 and not looked at.
    """
    size = side.literal_value
    block = Block(x.dtype, size, size)

    def write(
        context: Any, builder: Any, xa: Any, at_: Any, row_step_: Any, column_step_: Any,
        side_: Any, limits_: Any,
    ) -> Any:  # fmt: skip
        writer = _Writer(context, builder, block.dtype)
        value = ir.Constant(context.get_value_type(block), ir.Undefined)
        row = writer.pointer(x, xa, at_)
        for r in range(size):
            place = row
            for c in range(size):
                vector = writer.load(place, _inside(writer, limits, limits_, r, c))
                value = builder.insert_value(value, vector, r * size + c)
                place = writer.beyond(place, column_step_)
            row = writer.beyond(row, row_step_)
        return value

    return block(x, at, row_step, column_step, side, limits), _operation(write)


@intrinsic
def put(
    typing: Any, block: Any, y: Any, at: Any, row_step: Any, column_step: Any, limits: Any
) -> Any:
    """A square block back to memory, the way `patch` reads one."""

    def write(
        context: Any, builder: Any, value: Any, ya: Any, at_: Any, row_step_: Any,
        column_step_: Any, limits_: Any,
    ) -> None:  # fmt: skip
        writer = _Writer(context, builder, block.dtype)
        row = writer.pointer(y, ya, at_)
        for r in range(block.rows):
            place = row
            for c in range(block.columns):
                vector = builder.extract_value(value, r * block.columns + c)
                writer.store(vector, place, _inside(writer, limits, limits_, r, c))
                place = writer.beyond(place, column_step_)
            row = writer.beyond(row, row_step_)

    return types.void(block, y, at, row_step, column_step, limits), _operation(write)


@intrinsic(prefer_literal=True)
def between(typing: Any, block: Any, name: Any) -> Any:
    """M block M^T, vector by vector, for the constant matrix of that name in `MATRICES`."""
    matrix = MATRICES[name.literal_value]
    size = len(matrix)
    result = Block(block.dtype, size, size)

    def write(context: Any, builder: Any, value: Any, name_: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        side = block.rows
        given = [
            [builder.extract_value(value, r * side + c) for c in range(side)] for r in range(side)
        ]
        columns = [writer.combine(matrix, [given[r][c] for r in range(side)]) for c in range(side)]
        answer = ir.Constant(context.get_value_type(result), ir.Undefined)
        for r in range(size):
            row = writer.combine(matrix, [columns[c][r] for c in range(side)])
            for c in range(size):
                answer = builder.insert_value(answer, row[c], r * size + c)
        return answer

    return result(block, name), _operation(write)


@intrinsic
def raised(typing: Any, block: Any, value: Any) -> Any:
    """A block with the same number added everywhere."""

    def write(context: Any, builder: Any, vectors: Any, value_: Any) -> Any:
        writer = _Writer(context, builder, block.dtype)
        more = writer.spread(value_)
        for k in range(block.rows * block.columns):
            vector = builder.fadd(builder.extract_value(vectors, k), more)
            vectors = builder.insert_value(vectors, vector, k)
        return vectors

    return block(block, value), _operation(write)
