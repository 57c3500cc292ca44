// MXFP4: eight weights from a word, and the matrix-vector product that gate_up and down share.
//
// A block is 32 weights of 4 bits (E2M1: sign, two bits of exponent, one of mantissa; OCP Microscaling Formats 1.0) in
// four words, the lowest nibble first, and a scale byte (E8M0: 2^(byte - 127)).

// The 16 codes times 2^-14.
constant constexpr const float FP4[16] = {
    0.0f / 16384, 0.5f / 16384, 1.0f / 16384, 1.5f / 16384, 2.0f / 16384, 3.0f / 16384, 4.0f / 16384, 6.0f / 16384,
    -0.0f / 16384, -0.5f / 16384, -1.0f / 16384, -1.5f / 16384, -2.0f / 16384, -3.0f / 16384, -4.0f / 16384,
    -6.0f / 16384};

// The weights of a word times 2^-14, in the order 0 4 1 5 2 6 3 7.
//
// TABLE 0: a half whose bits 15, 11..9 are a code's sign, exponent and mantissa has its value times 2^-14; the code for
// 0.5 is a half denormal, as it is in MLX's and OpenAI's kernels. Shifted into place there is a code in each byte, in
// bits 4..1; adding 0x70 carries the sign from bit 4 to bit 7, and what else the addition leaves is masked off:
// 12 integer operations for 8 weights, no branch, no compare. Converting a nibble at a time takes 40.
// TABLE 1: for GPUs that flush half denormals (metal/trust/selftest.py finds out); the same values.
template <int TABLE>
METAL_FUNC void decode(uint word, thread float* weights) {
  if constexpr (TABLE) {
    UNROLL for (int i = 0; i < 4; ++i) {
      weights[2 * i] = FP4[word >> (4 * i) & 15];
      weights[2 * i + 1] = FP4[word >> (4 * i + 16) & 15];
    }
  } else {
    const uint even = ((word + word) & 0x1E1E1E1Eu) + 0x70707070u;
    const uint odd = ((word >> 3) & 0x1E1E1E1Eu) + 0x70707070u;
    const uint halves[4] = {
        (even << 8) & 0x8E008E00u, (odd << 8) & 0x8E008E00u, even & 0x8E008E00u, odd & 0x8E008E00u};
    UNROLL for (int i = 0; i < 4; ++i) {
      const float2 two = two_floats<half>(halves[i]);
      weights[2 * i] = two.x;
      weights[2 * i + 1] = two.y;
    }
  }
}

// A scale times 2^14, which undoes the factor above. Byte 0, a float denormal that Apple's GPUs flush, becomes 2^-113.
// Exact for bytes 0..240.
METAL_FUNC float decode_scale(uchar byte) { return as_type<float>((uint(byte) + 14u) << 23); }

// Two activations of a lane, from the words it has loaded.
template <typename X>
METAL_FUNC float2 activations(const thread uint* x, int i) {
  if constexpr (sizeof(X) == 2) {
    return two_floats<half>(x[i]);
  } else {
    return float2(as_type<float>(x[2 * i]), as_type<float>(x[2 * i + 1]));
  }
}

// dots[v]: the sum of a block's 32 products with vector v of VECTORS, WORDS words of activations each. In four chains: on
// Apple's GPUs a lone chain of fma runs at half rate. The block is decoded once for all.
template <int TABLE, int VECTORS, typename X>
METAL_FUNC void block_dots(const thread uint* block, const thread uint* x, thread float* dots) {
  constexpr int WORDS = 32 * sizeof(X) / 4;
  float4 sums[VECTORS];
  UNROLL for (int v = 0; v < VECTORS; ++v) sums[v] = float4(0.0f);
  UNROLL for (int word = 0; word < 4; ++word) {
    float weights[8];
    decode<TABLE>(block[word], weights);
    UNROLL for (int v = 0; v < VECTORS; ++v) {
      UNROLL for (int i = 0; i < 4; i += 2) {
        const float2 front = activations<X>(x + v * WORDS, 4 * word + i);
        const float2 back = activations<X>(x + v * WORDS, 4 * word + i + 1);
        sums[v].x = fma(weights[2 * i], front.x, sums[v].x);
        sums[v].y = fma(weights[2 * i + 1], front.y, sums[v].y);
        sums[v].z = fma(weights[2 * i + 2], back.x, sums[v].z);
        sums[v].w = fma(weights[2 * i + 3], back.y, sums[v].w);
      }
    }
  }
  UNROLL for (int v = 0; v < VECTORS; ++v) dots[v] = (sums[v].x + sums[v].y) + (sums[v].z + sums[v].w);
}

// sums[v * ROWS + i] = row i of ROWS consecutive rows of K weights, times vector number at[v] of x, in every lane of a
// full simdgroup. x is in lane order, at a multiple of 16 bytes; the blocks lie at a multiple of ALIGN: 16, 8 or 4
// (PACKED: common.h).
//
// A lane takes one block, 16 bytes, a pass, and uses its 32 activations of each vector for all rows. A row's sum is made
// in the same order whatever ROWS and VECTORS are, of explicit fma: neither they nor the geometry around it change a
// bit. Lanes with no block left in the last pass repeat its last one with scale 0: no branch, no address out of range, no
// line more.
template <int K, int ROWS, int VECTORS, int ALIGN, int PACKED, int TABLE, typename X>
METAL_FUNC void mxfp4_rows(
    const device uint* blocks,
    const device uchar* scales,
    const device X* x,
    const thread uint* at,
    uint lane,
    thread float* sums) {
  constexpr int WORDS = 8 * sizeof(X) / 4;
  UNROLL for (int i = 0; i < VECTORS * ROWS; ++i) sums[i] = 0.0f;
  for (uint pass = 0; pass < uint(K / 32 + 31) / 32; ++pass) {
    const uint lanes = lanes_of<K>(pass), own = min(lane, lanes - 1), block = 32 * pass + own;
    uint inputs[VECTORS * 4 * WORDS];
    UNROLL for (int i = 0; i < VECTORS * 4; ++i) {
      const device X* vector = x + at[i / 4] * K;
      load_words<WORDS, 16>(vector + (128 * pass + i % 4 * lanes + own) * 8, inputs + i * WORDS);
    }
    UNROLL for (int i = 0; i < ROWS; ++i) {
      uint weights[4];
      float dots[VECTORS];
      load_words<4, ALIGN, PACKED>(blocks + i * (K / 8) + 4 * block, weights);
      const float scale = decode_scale(scales[i * (K / 32) + block]);
      block_dots<TABLE, VECTORS, X>(weights, inputs, dots);
      UNROLL for (int v = 0; v < VECTORS; ++v) {
        thread float& sum = sums[v * ROWS + i];
        sum = fma(dots[v], lane < lanes ? scale : 0.0f, sum);
      }
    }
  }
  UNROLL for (int i = 0; i < VECTORS * ROWS; ++i) sums[i] = simd_sum(sums[i]);
}

// sums[lane] for lanes below ROWS; a private array indexed by `lane` would lie in device memory.
template <int ROWS>
METAL_FUNC float sum_of_lane(const thread float* sums, uint lane) {
  float own = 0.0f;
  UNROLL for (int i = 0; i < ROWS; ++i) {
    if (lane == uint(i)) own = sums[i];
  }
  return own;
}
