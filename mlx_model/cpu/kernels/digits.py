"""Activations as whole numbers, for a processor that multiplies bytes: the thirty-two of a block share a unit.

Such a processor adds up 64 products of bytes in the time of 16 products of floats, and the doubled E2M1 codes of MXFP4
are whole numbers of a byte. So activations become whole numbers of 24 bits times the unit of their block, a power of
two and at most 2^-21.99 of the largest of them: each changes by at most 2^-22.99 of the largest, no more than adding
them up in float32 may lose. A number is three digits to the base 256, from -128 to 127. The sums of products of eight
numbers are exact.

A stretch of 128 activations, which a chunk of experts meets, takes the 512 bytes that it takes as float32:

    three times 128 int8    the digits of one place, the highest first: those of even elements, then those of odd ones
    16 int32                of each eight elements, what their codes count too much (see BIAS), negative
    16 float32              of each eight elements, half of the unit, since codes are doubled
"""

from llvmlite import ir

from mlx_model.cpu.kernels import vectors as v

BLOCK = 32
"""Activations that share a unit."""
BIAS = 12
"""What is added to a doubled code, to be a byte without a sign as the processor's products want it."""
PLACES = 3
STRETCH = 512
"""Bytes of 128 activations."""
_SUMS, _UNITS = 384, 448

_CARRY = 0x10101
"""Added to the bits of a float32 before its exponent is read, which is one more where 127, 127, 127 is too little."""
_LEAST_POWER = 24
"""The least exponent, as the bits of a float32 have it, from which half of the unit is a normal number."""


def put_digits(builder: ir.IRBuilder, numbers: ir.Value, out: v.Place, block: ir.Value) -> None:
    """Thirty-two float32 to block 0 .. 3 of a stretch. The unit of a block with NaN, or with what is infinite or nearly
    so (3.38e38), is NaN."""
    floats, ints = ir.VectorType(v.FLOAT, BLOCK), ir.VectorType(v.INT, BLOCK)
    start = builder.mul(block, block.type(16))

    def put(vector: ir.Value, offset: int) -> None:
        out.store(builder.bitcast(vector, v.BYTES), builder.add(start, start.type(offset)))

    sizes = builder.and_(builder.bitcast(numbers, ints), v.splat(0x7FFFFFFF, ints))
    largest = v.intrinsic_call(builder, "llvm.vector.reduce.umax.v32i32", v.INT, [sizes])
    power = builder.lshr(builder.add(largest, v.INT(_CARRY)), v.INT(23))
    is_finite = builder.icmp_unsigned("<", power, v.INT(255))
    least = v.INT(_LEAST_POWER)
    power = builder.select(builder.icmp_unsigned("<", power, least), least, power)
    half = builder.bitcast(builder.shl(builder.sub(power, v.INT(23)), v.INT(23)), v.FLOAT)
    half = builder.select(is_finite, half, v.FLOAT(float("nan")))
    inverse = builder.bitcast(builder.shl(builder.sub(v.INT(276), power), v.INT(23)), v.FLOAT)
    numbers = builder.select(is_finite, numbers, v.splat(0, floats))
    scaled = builder.fmul(numbers, v.spread(builder, inverse, floats))
    rest = builder.fptosi(v.intrinsic_call(builder, "llvm.rint.v32f32", floats, [scaled]), ints)

    sums = rest
    for _ in range(3):
        even = range(0, sums.type.count, 2)
        sums = builder.add(v.shuffle(builder, sums, even), v.shuffle(builder, sums, [each + 1 for each in even]))
    put(builder.mul(sums, v.splat(-BIAS, sums.type)), _SUMS)
    put(v.spread(builder, half, ir.VectorType(v.FLOAT, 4)), _UNITS)
    for place in reversed(range(PLACES)):
        digits = builder.trunc(rest, ir.VectorType(v.BYTE, BLOCK))
        for odd in (0, 1):
            put(v.shuffle(builder, digits, range(odd, BLOCK, 2)), 128 * place + 64 * odd)
        rest = builder.ashr(builder.add(rest, v.splat(128, ints)), v.splat(8, ints))
