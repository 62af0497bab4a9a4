"""Blocks of vectors that stay in the processor's registers, for functions that Numba compiles.

A processor multiplies and adds 4, 8 or 16 numbers at once, if they are neighbours in memory: in
batch-last arrays, the samples.  Numba finds such loops by itself, but it does not keep a whole
block of sums in registers, and that decides between a quarter and all of a core's speed.  So the
few operations that do are written out here, for LLVM, as Numba intrinsics (see `operation`).

A `Block` is rows x columns vectors of `lanes` numbers each.  Positions are counted in numbers from
the start of a C-contiguous array, whatever its shape; none is checked.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import reduce, wraps
from itertools import chain
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from glassbox.kernels.compiled.processor import PROCESSOR

INT32, INT64 = ir.IntType(32), ir.IntType(64)

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

    def __len__(self) -> int:
        """The number of its vectors."""
        return self.rows * self.columns


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: Block) -> None:
        vector = ir.VectorType(manager.lookup(block.dtype).get_value_type(), block.lanes)
        super().__init__(manager, block, ir.ArrayType(vector, len(block)))


def lanes_of(dtype: Any) -> int:
    """Numbers of a Numba type (float32, float64) in one vector."""
    return PROCESSOR.vector_bytes * 8 // dtype.bitwidth


class _Writer:
    """Writes vector instructions for numbers of one type."""

    def __init__(self, context, builder, dtype):
        self.context, self.builder, self.lanes = context, builder, lanes_of(dtype)
        self.scalar = context.get_value_type(dtype)
        self.vector = ir.VectorType(self.scalar, self.lanes)

    def number(self, value: int):
        return ir.Constant(INT64, value)

    def constant(self, value: float):
        return ir.Constant(self.vector, [value] * self.lanes)

    def beyond(self, pointer, numbers):
        """The address so many numbers (of Python, or only known when the code runs) further."""
        distance = self.number(numbers) if isinstance(numbers, int) else numbers
        return self.builder.gep(pointer, [distance])

    def positions(self, at, count: int) -> list:
        """Where `count` vectors start: as a list begins, or one behind the other from `at`."""
        if isinstance(at, list):
            return at[:count]
        return [self.builder.add(at, self.number(k * self.lanes)) for k in range(count)]

    def masks(self, counts, number: int) -> list:
        """Which lanes of each vector count; None where all do."""
        if isinstance(counts, list):
            return [self.first(count) for count in counts[:number]]
        return [None if counts is None else self.first(counts)] * number

    def first(self, count):
        """The mask of the first `count` lanes."""
        order = ir.Constant(ir.VectorType(INT32, self.lanes), list(range(self.lanes)))
        return self.builder.icmp_signed("<", order, self.spread(self.builder.trunc(count, INT32)))

    def spread(self, value):
        """The same number in all lanes."""
        nothing = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        first = self.builder.insert_element(nothing, value, ir.Constant(INT32, 0))
        zeros = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(first, nothing, zeros)

    def load(self, pointer, mask=None):
        """A vector from memory; lanes outside the mask are 0 and not looked at."""
        vector = ir.VectorType(pointer.type.pointee, self.lanes)
        place, size = self._place(pointer, vector)
        if mask is None:
            return self.builder.load(place, align=size)
        arguments = [place, ir.Constant(INT32, size), mask, ir.Constant(vector, None)]
        return self._call("masked.load", vector, arguments, vector)

    def store(self, value, pointer, mask=None):
        """The opposite of `load`."""
        place, size = self._place(pointer, value.type)
        if mask is None:
            self.builder.store(value, place, align=size)
            return
        arguments = [value, place, ir.Constant(INT32, size), mask]
        self._call("masked.store", ir.VoidType(), arguments, value.type)

    def _place(self, pointer, vector):
        """The address of a vector, and the bytes of one of its numbers."""
        size = self.context.get_abi_sizeof(vector.element)
        return self.builder.bitcast(pointer, vector.as_pointer()), size

    def multiply_add(self, a, b, c):
        """a b + c, rounded once where the processor can."""
        if not PROCESSOR.fused:
            return self.builder.fadd(self.builder.fmul(a, b), c)
        return self._call("fma", self.vector, [a, b, c], self.vector)

    def combine(self, matrix, vectors) -> list:
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

    def _call(self, name: str, result, arguments: list, vector):
        """Call LLVM's function of that name for such vectors."""
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        full = f"llvm.{name}.v{self.lanes}{vector.element.intrinsic_name}"
        full += ".p0" if name.startswith("masked") else ""
        function = cgutils.get_or_insert_function(self.builder.module, kind, full)
        return self.builder.call(function, arguments)

    def shuffle(self, a, b, picks: list[int]):
        """The picked numbers of a and b, those of b counted on behind a's."""
        order = ir.Constant(ir.VectorType(INT32, len(picks)), picks)
        return self.builder.shuffle_vector(a, b, order)

    def sum(self, vector):
        """The sum of the lanes, halves added to halves."""
        count = self.lanes
        while count > 1:
            count //= 2
            low = self.shuffle(vector, vector, list(range(count)))
            high = self.shuffle(vector, vector, list(range(count, 2 * count)))
            vector = self.builder.fadd(low, high)
        return self.builder.extract_element(vector, ir.Constant(INT32, 0))

    def opened(self, kind, value):
        """An argument as an operation is given it."""
        if isinstance(kind, Block):
            numbers = [self.builder.extract_value(value, k) for k in range(len(kind))]
            return [numbers[k : k + kind.columns] for k in range(0, len(kind), kind.columns)]
        if isinstance(kind, types.Array):
            return self.context.make_array(kind)(self.context, self.builder, value).data
        if isinstance(kind, types.BaseTuple):
            return [self.builder.extract_value(value, k) for k in range(len(kind))]
        return None if isinstance(kind, types.NoneType) else value

    def closed(self, kind, result):
        """What an operation returned, as Numba wants it."""
        if result is None:
            return self.context.get_dummy_value()
        if not isinstance(kind, Block):
            return result
        value = ir.Constant(self.context.get_value_type(kind), ir.Undefined)
        for k, vector in enumerate(chain(*result)):
            value = self.builder.insert_value(value, vector, k)
        return value


def operation(result: Callable[..., Any]) -> Callable[..., Any]:
    """Make a Numba intrinsic of a function that writes its instructions.

    result : from the arguments' Numba types (constants: values) to that of the result

    The function is given a writer for the type of the first floats among its arguments, then a
    block as a list of rows of vectors, an array as the address of its first number, a tuple as a
    list, None as None, a constant (annotated int or str) as its value, and anything else as the
    LLVM value that holds it.  A block is returned as it is given.
    """

    def decorate(write: Callable[..., Any]) -> Any:
        parameters = list(inspect.signature(write).parameters.values())[1:]
        constant = [parameter.annotation in ("int", "str") for parameter in parameters]

        @wraps(write)  # Numba reads the names of the arguments
        def typed(typing, *kinds):
            known = [
                kind.literal_value if fixed else kind
                for kind, fixed in zip(kinds, constant, strict=True)
            ]
            held = (getattr(kind, "dtype", None) for kind in kinds)
            dtype = next(each for each in held if isinstance(each, types.Float))

            def generate(context, builder, signature, values):
                writer = _Writer(context, builder, dtype)
                given = [
                    now if fixed else writer.opened(kind, value)
                    for now, fixed, kind, value in zip(known, constant, kinds, values, strict=True)
                ]
                return writer.closed(signature.return_type, write(writer, *given))

            return result(*known)(*kinds), generate

        return intrinsic(prefer_literal=any(constant))(typed)

    return decorate


def _nothing(*kinds):
    return types.void


def _same(block, *others):
    return block


@operation(lambda array: types.intp)
def lanes(writer, array):
    """Numbers in one vector of this array's type."""
    return writer.number(writer.lanes)


@operation(lambda bias, at, rows, columns: Block(bias.dtype, rows, columns))
def started(writer, bias, at, rows: int, columns: int):
    """A block whose row r holds bias[at + r] everywhere."""
    start = writer.beyond(bias, at)
    vectors = (writer.spread(writer.builder.load(writer.beyond(start, r))) for r in range(rows))
    return [[vector] * columns for vector in vectors]


@operation(lambda array, at, row_step, rows, columns: Block(array.dtype, rows, columns))
def loaded(writer, array, at, row_step, rows: int, columns: int):
    """The block that `kept` left at array[at:], rows `row_step` apart."""
    block, row = [], writer.beyond(array, at)
    for _ in range(rows):
        places = [writer.beyond(row, c * writer.lanes) for c in range(columns)]
        block.append([writer.load(place) for place in places])
        row = writer.beyond(row, row_step)
    return block


@operation(lambda array, places, counts: Block(array.dtype, 1, len(places)))
def taken(writer, array, places, counts):
    """A row of vectors from places, a tuple; `counts` lanes of each are really there, others 0."""
    masks = writer.masks(counts, len(places))
    return [
        [writer.load(writer.beyond(array, p), mask) for p, mask in zip(places, masks, strict=True)]
    ]


@operation(_nothing)
def kept(writer, block, array, at, row_step):
    """Leave a block at array[at:], rows `row_step` apart, each row's vectors side by side."""
    row = writer.beyond(array, at)
    for vectors in block:
        for c, vector in enumerate(vectors):
            writer.store(vector, writer.beyond(row, c * writer.lanes))
        row = writer.beyond(row, row_step)


@operation(_same)
def outer(writer, block, w, w_at, w_step, x, x_at, counts):
    """block[r, c] += w[w_at + r w_step] * (the vector of x at x_at[c]).

    x_at: a tuple with a position for each column (more are not looked at), or one position with
    the columns side by side.
    counts: how many lanes of each column are really there, or None for all.
    """
    columns = len(block[0])
    masks, places = writer.masks(counts, columns), writer.positions(x_at, columns)
    vectors = [
        writer.load(writer.beyond(x, place), mask)
        for place, mask in zip(places, masks, strict=True)
    ]
    weight = writer.beyond(w, w_at)
    for row in block:
        factor = writer.spread(writer.builder.load(weight))
        weight = writer.beyond(weight, w_step)
        for c, vector in enumerate(vectors):
            row[c] = writer.multiply_add(factor, vector, row[c])
    return block


@operation(_same)
def inner(writer, block, a, a_at, x, x_at, count):
    """block[r, c] += (the vector of a at a_at[r]) * (the vector of x at x_at[c]), lane by lane.

    a_at, x_at: tuples of positions.  count: how many lanes are really there, or None for all.
    """
    (mask,) = writer.masks(count, 1)
    rows = [writer.load(writer.beyond(a, place), mask) for place in a_at[: len(block)]]
    columns = [writer.load(writer.beyond(x, place), mask) for place in x_at[: len(block[0])]]
    for row, left in zip(block, rows, strict=True):
        for c, right in enumerate(columns):
            row[c] = writer.multiply_add(left, right, row[c])
    return block


@operation(_same)
def leaky(writer, block, slope):
    """z where z > 0, else slope z, for every number of a block; a slope of 1 changes nothing.

    With a slope of 0, minus infinity gives 0.
    """
    builder, factor = writer.builder, writer.spread(slope)
    zero, lowest = writer.constant(0.0), writer.constant(-math.inf)
    flat = builder.fcmp_ordered("==", factor, zero)

    def bent(z):
        positive = builder.fcmp_ordered(">", z, zero)
        endless = builder.and_(flat, builder.fcmp_ordered("==", z, lowest))
        return builder.select(positive, z, builder.fmul(builder.select(endless, zero, z), factor))

    return [[bent(z) for z in row] for row in block]


@operation(_nothing)
def store(writer, block, y, y_at, row_step, rows, counts):
    """The first `rows` rows of a block into y: row r, column c at y_at[c] + r row_step.

    y_at and counts as in `outer`.
    """
    builder, columns = writer.builder, len(block[0])
    masks, places = writer.masks(counts, columns), writer.positions(y_at, columns)
    for r, row in enumerate(block):
        with builder.if_then(builder.icmp_signed("<", writer.number(r), rows)):
            for vector, place, mask in zip(row, places, masks, strict=True):
                writer.store(vector, writer.beyond(y, place), mask)
        places = [builder.add(place, row_step) for place in places]


@operation(_nothing)
def add_sums(writer, block, out, at, row_step, rows, columns):
    """out[at + r row_step + c] += sum of the lanes of block[r, c], for the first rows, columns."""
    builder, place = writer.builder, writer.beyond(out, at)
    for r, row in enumerate(block):
        for c, vector in enumerate(row):
            inside = builder.and_(
                builder.icmp_signed("<", writer.number(r), rows),
                builder.icmp_signed("<", writer.number(c), columns),
            )
            with builder.if_then(inside):
                target = writer.beyond(place, c)
                sum_ = writer.sum(vector)
                builder.store(builder.fadd(builder.load(target), sum_), target)
        place = writer.beyond(place, row_step)


def _turned(writer, rows, y, y_at, y_step):
    """The square of numbers in `rows`, a vector each, with rows as columns, into y.

    Rows exchange halves, then quarters, ... until every number stands in its place.  Bytes become
    numbers of y's type on the way.
    """
    count = writer.lanes
    if rows[0].type != writer.vector:
        rows = [writer.builder.uitofp(row, writer.vector) for row in rows]
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
    place = writer.beyond(y, y_at)
    for row in rows:
        writer.store(row, place)
        place = writer.beyond(place, y_step)


@operation(_nothing)
def turn_square(writer, x, x_at, x_step, y, y_at, y_step):
    """y[y_at + j y_step + i] = x[x_at + i x_step + j] for a square of lanes x lanes numbers."""
    rows, place = [], writer.beyond(x, x_at)
    for _ in range(writer.lanes):
        rows.append(writer.load(place))
        place = writer.beyond(place, x_step)
    _turned(writer, rows, y, y_at, y_step)


@operation(_nothing)
def turn_chosen(writer, x, x_at, x_step, count, chosen, first, y, y_at, y_step):
    """As `turn_square`, with row i from x[x_at + chosen[first + i] x_step:].

    chosen: whole numbers, C-contiguous; those below 0 count from the end, `count`.
    """
    builder, rows = writer.builder, []
    start, number = writer.beyond(x, x_at), writer.beyond(chosen, first)
    for i in range(writer.lanes):
        which = builder.load(writer.beyond(number, i))
        counted = builder.icmp_signed("<", which, writer.number(0))
        which = builder.select(counted, builder.add(which, count), which)
        rows.append(writer.load(writer.beyond(start, builder.mul(which, x_step))))
    _turned(writer, rows, y, y_at, y_step)


@operation(lambda block, row: block.dtype)
def total(writer, block, row: int):
    """The sum of all numbers in a row of a block: its vectors one by one, then the lanes."""
    return writer.sum(reduce(writer.builder.fadd, block[row]))


@operation(_same)
def tally(writer, block, x, at, counts):
    """block[0, c] += x, block[1, c] += x x, for the vectors of x from `at` on, in block's type."""
    sums, squares = block
    places = writer.positions(at, len(sums))
    for c, (place, mask) in enumerate(zip(places, writer.masks(counts, len(sums)), strict=True)):
        numbers = writer.load(writer.beyond(x, place), mask)
        if numbers.type != writer.vector:
            numbers = writer.builder.fpext(numbers, writer.vector)
        sums[c] = writer.builder.fadd(sums[c], numbers)
        squares[c] = writer.multiply_add(numbers, numbers, squares[c])
    return block


@operation(_same)
def graded(writer, block, dy, x, at, line, slope, counts):
    """block[0, c] += dz, block[1, c] += dz (x - m), for the vectors of dy and x from `at` on.

    line: (m, f, s); dz = dy where (x - m) f + s > 0, else slope dy.
    """
    builder, (shifts, scales) = writer.builder, block
    middle, factor, summand = map(writer.spread, line)
    places, slopes = writer.positions(at, len(shifts)), writer.spread(slope)
    for c, (place, mask) in enumerate(zip(places, writer.masks(counts, len(shifts)), strict=True)):
        given = writer.load(writer.beyond(dy, place), mask)
        left = builder.fsub(writer.load(writer.beyond(x, place), mask), middle)
        y = builder.fadd(builder.fmul(left, factor), summand)
        positive = builder.fcmp_ordered(">", y, writer.constant(0.0))
        dz = builder.select(positive, given, builder.fmul(given, slopes))
        shifts[c] = builder.fadd(shifts[c], dz)
        scales[c] = writer.multiply_add(dz, left, scales[c])
    return block


@operation(_same)
def contest(writer, block, x, x_at, place, count):
    """Of a block's two rows, the largest numbers so far and their places: those of x take part.

    A number wins if it is larger, or is NaN (which must not be lost).
    """
    builder = writer.builder
    (mask,) = writer.masks(count, 1)
    new = writer.load(writer.beyond(x, x_at), mask)
    (best,), (who,) = block
    larger = builder.fcmp_ordered(">", new, best)  # False where either is NaN
    wins = builder.or_(larger, builder.fcmp_unordered("uno", new, new))
    here = writer.spread(builder.sitofp(place, writer.scalar))
    return [[builder.select(wins, new, best)], [builder.select(wins, here, who)]]


@operation(_nothing)
def store_places(writer, block, places, at, count):
    """The second row of a block, as whole numbers, into places[at:]."""
    kind = ir.VectorType(places.type.pointee, writer.lanes)
    (mask,) = writer.masks(count, 1)
    writer.store(writer.builder.fptoui(block[1][0], kind), writer.beyond(places, at), mask)


@operation(_nothing)
def hand_back(writer, dy, places, at, place, dx, dx_at, add: int, count):
    """dx = dy where places == place, else 0, for one vector; with `add` (1) it is added to dx."""
    builder = writer.builder
    (mask,) = writer.masks(count, 1)
    who = writer.load(writer.beyond(places, at), mask)
    here = writer.spread(builder.trunc(place, places.type.pointee))
    given = writer.load(writer.beyond(dy, at), mask)
    share = builder.select(builder.icmp_signed("==", who, here), given, writer.constant(0.0))
    target = writer.beyond(dx, dx_at)
    if add:
        share = builder.fadd(share, writer.load(target, mask))
    writer.store(share, target, mask)


# --- square patches: one vector for each pixel -------------------------------------------------


def _inside(writer: _Writer, limits, row: int, column: int):
    """The mask of one pixel of a patch; None where the patch has no limits.

    limits: (first row, rows, first column, columns, lanes); outside 0 <= place < rows nothing is.
    """
    if limits is None:
        return None
    builder, (first_row, rows, first_column, columns, count) = writer.builder, limits
    there = None
    for first, end, step in ((first_row, rows, row), (first_column, columns, column)):
        place = builder.add(first, writer.number(step))
        fits = builder.and_(
            builder.icmp_signed(">=", place, writer.number(0)),
            builder.icmp_signed("<", place, end),
        )
        there = fits if there is None else builder.and_(there, fits)
    return writer.first(builder.select(there, count, writer.number(0)))


def _pixels(writer: _Writer, pointer, row_step, column_step, side: int):
    """(row, column, address) of the pixels of a square patch."""
    for r in range(side):
        place = pointer
        for c in range(side):
            yield r, c, place
            place = writer.beyond(place, column_step)
        pointer = writer.beyond(pointer, row_step)


@operation(lambda x, at, row_step, column_step, side, limits: Block(x.dtype, side, side))
def patch(writer, x, at, row_step, column_step, side: int, limits):
    """A block of side x side vectors: row r, column c from at + r row_step + c column_step.

    limits: None, or what `_inside` says; what is outside is 0 and not looked at.
    """
    block = [[None] * side for _ in range(side)]
    for r, c, place in _pixels(writer, writer.beyond(x, at), row_step, column_step, side):
        block[r][c] = writer.load(place, _inside(writer, limits, r, c))
    return block


@operation(_nothing)
def put(writer, block, y, at, row_step, column_step, limits):
    """A square block back to memory, the way `patch` reads one."""
    for r, c, place in _pixels(writer, writer.beyond(y, at), row_step, column_step, len(block)):
        writer.store(block[r][c], place, _inside(writer, limits, r, c))


@operation(lambda block, name: Block(block.dtype, len(MATRICES[name]), len(MATRICES[name])))
def between(writer, block, name: str):
    """M block M^T, vector by vector, for the constant matrix of that name in `MATRICES`."""
    matrix = MATRICES[name]
    columns = [writer.combine(matrix, column) for column in zip(*block, strict=True)]
    return [writer.combine(matrix, row) for row in zip(*columns, strict=True)]


@operation(_same)
def raised(writer, block, value):
    """A block with the same number added everywhere."""
    more = writer.spread(value)
    return [[writer.builder.fadd(vector, more) for vector in row] for row in block]
