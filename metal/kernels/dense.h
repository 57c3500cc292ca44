// Products of a few rows of a matrix with 1 to 8 vectors, the matrix as stored or in MLX's affine quantisation.
//
// A simdgroup takes ROWS rows of the matrix [.., K] and all vectors x [N, K], N up to TOKENS; it walks along K, each lane
// with a chunk of consecutive weights at a time: 16 quantised ones (16, 12 or 8 bytes for 8, 6 or 4 bits), or 16 bytes
// of stored ones. A row's chunks lie side by side in memory, so that one load of a simdgroup is one run of up to 512
// bytes.
//
// DRAM: every weight, scale and offset once. x and the norm's weight are read by every simdgroup, from the caches: 2.0
// bytes asked for each weight byte at 8 bits and ROWS 4, which is why ROWS is not 1. At 16 weights a lane both loads of
// x touch all its lines; lane order, in which the experts read, would halve that, but x is the residual stream here.
// Registers, counted by hand: one vector's x 16, the norm's weight 16, sums ROWS TOKENS and TOKENS, addresses and loop
// about 14; of one vector a chunk 4, its decoding and chains 8, 62 at ROWS 4. Several find the chunks of all rows decoded,
// 16 ROWS: 78 for two, 84 for four and 96 for eight at ROWS 2, which NVIDIA's compiler stretches to 77, 127 and 126 by
// loading ahead. No threadgroup memory, no barrier.
// What ROWS is, how wide a load and how many simdgroups stand in a threadgroup change no bit of a result: a row's sum
// is always taken in the same order, over the chunks of a lane, within each chunk in four chains (a single chain of
// dependent fma would run at half rate), then over the lanes.
// Limits: ROWS * TOKENS <= 32, one lane for each result; fewer than 2^32 weights, which are counted in 32 bits.

// W is the type of stored weights; BITS 8, 6 or 4 says that they are quantised, 0 that they are not.
template <typename W, int BITS>
constexpr int chunk_weights() {
  return BITS ? 16 : 16 / int(sizeof(W));
}
template <int BITS>
constexpr int chunk_words() {
  return BITS ? BITS / 2 : 4;
}

METAL_FUNC void multiply_add(float4 weights, const thread float* x, thread float4& sums) {
  sums.x = fma(weights.x, x[0], sums.x);
  sums.y = fma(weights.y, x[1], sums.y);
  sums.z = fma(weights.z, x[2], sums.z);
  sums.w = fma(weights.w, x[3], sums.w);
}

// Two small integers in the low ten bits of a word's halves, each times 2^-24: that is what such a bit pattern, a
// denormal, means as a half. It costs no conversion; it does need a GPU that keeps half denormals, as Apple's do.
METAL_FUNC float2 denormals(uint word) {
  return two_floats<half>(word);
}

// The sum of a chunk's weights times x. Of quantised weights the integers are meant, times 2^-24.
//  8 bits: a word holds weights 0 1 2 3 in its bytes.
//  4 bits: a word holds weights 0 .. 7 in its nibbles, lowest first; odd ones are taken in place, 16 times too large.
//  6 bits: three words hold 16 weights without a gap. Of each four, in 24 bits, 0 and 2 come out as they are, 1 sixteen
//          and 3 four times too large.
// Place i % 4 of a weight decides its chain, so what is too large is so for a whole chain, and is put right at its end.
template <typename W, int BITS>
METAL_FUNC float chunk_dot(const thread uint* words, const thread float* x) {
  float4 sums = float4(0.0f);
  if constexpr (BITS == 8) {
    UNROLL for (int i = 0; i < 4; ++i) {
      const float2 even = denormals(words[i] & 0x00FF00FFu), odd = denormals((words[i] >> 8) & 0x00FF00FFu);
      multiply_add(float4(even.x, odd.x, even.y, odd.y), x + 4 * i, sums);
    }
  } else if constexpr (BITS == 6) {
    const uint fours[4] = {
        words[0], (words[0] >> 24) | (words[1] << 8), (words[1] >> 16) | (words[2] << 16), words[2] >> 8};
    UNROLL for (int i = 0; i < 4; ++i) {
      const float2 outer = denormals(fours[i] & 0x00FC003Fu);
      const float2 inner = denormals(((fours[i] >> 2) & 0x03F0u) | ((fours[i] << 4) & 0x003F0000u));
      multiply_add(float4(outer.x, inner.x, inner.y, outer.y), x + 4 * i, sums);
    }
    sums *= float4(1.0f, 0.0625f, 1.0f, 0.25f);
  } else if constexpr (BITS == 4) {
    UNROLL for (int i = 0; i < 2; ++i) {
      const float2 at0 = denormals(words[i] & 0x000F000Fu), at1 = denormals(words[i] & 0x00F000F0u);
      const float2 at2 = denormals((words[i] >> 8) & 0x000F000Fu), at3 = denormals((words[i] >> 8) & 0x00F000F0u);
      multiply_add(float4(at0.x, at1.x, at2.x, at3.x), x + 8 * i, sums);
      multiply_add(float4(at0.y, at1.y, at2.y, at3.y), x + 8 * i + 4, sums);
    }
    sums *= float4(1.0f, 0.0625f, 1.0f, 0.0625f);
  } else if constexpr (sizeof(W) == 4) {
    multiply_add(as_type<float4>(uint4(words[0], words[1], words[2], words[3])), x, sums);
  } else {
    UNROLL for (int i = 0; i < 2; ++i) {
      const float2 front = two_floats<W>(words[2 * i]), back = two_floats<W>(words[2 * i + 1]);
      multiply_add(float4(front.x, front.y, back.x, back.y), x + 4 * i, sums);
    }
  }
  return (sums.x + sums.y) + (sums.z + sums.w);
}

// products[t * ROWS + r], in every lane: row rows[r] of the matrix times x[t], or times RMSNorm(x[t]) with the norm's
// weight and eps. The norm's factor is taken out of the sum, so that x is read once and unrounded: y = factor * sum(w x
// g). A quantised weight is scale * integer + offset, with one scale and one offset for 64 weights of a row.
//
// Of `tokens` vectors, which may be fewer than TOKENS: the last one is then repeated.
template <
    int K, int BITS, int ROWS, int TOKENS, bool NORM, int ALIGN, int PACKED, typename T, typename W, typename S, typename G>
METAL_FUNC void dense_rows(
    const device W* weight,
    const device S* scales,
    const device S* offsets,
    const device T* x,
    uint tokens,
    const device G* norm,
    float eps,
    const thread uint* rows,
    uint lane,
    thread float* products) {
  constexpr int CHUNK = chunk_weights<W, BITS>(), WORDS = chunk_words<BITS>();
  constexpr uint CHUNKS = K / CHUNK, PASSES = (CHUNKS + 31) / 32;
  static_assert(ROWS * TOKENS <= 32, "one lane for each result");
  float squares[TOKENS];
  UNROLL for (int t = 0; t < TOKENS; ++t) squares[t] = 0.0f;
  UNROLL for (int i = 0; i < ROWS * TOKENS; ++i) products[i] = 0.0f;
  for (uint pass = 0; pass < PASSES; ++pass) {
    // Lanes beyond the row's end read its last chunk again, and count it as zero.
    const bool within = CHUNKS % 32 == 0 || pass * 32 + lane < CHUNKS;
    const uint chunk = within ? pass * 32 + lane : CHUNKS - 1;
    float gains[CHUNK], row_scales[ROWS], row_offsets[ROWS];
    uint words[ROWS * WORDS];
    if constexpr (NORM) load_floats<G, CHUNK, ALIGN, PACKED>(norm + chunk * CHUNK, gains);
    UNROLL for (int t = 0; t < TOKENS; ++t) {
      float inputs[CHUNK], input_sum = 0.0f;
      load_floats<T, CHUNK, 16>(x + min(uint(t), tokens - 1) * K + chunk * CHUNK, inputs);
      UNROLL for (int i = 0; i < CHUNK; ++i) {
        if (!within) inputs[i] = 0.0f;
        if constexpr (NORM) {
          squares[t] = fma(inputs[i], inputs[i], squares[t]);
          inputs[i] *= gains[i];
        }
        if constexpr (BITS != 0) input_sum += inputs[i];
      }
      UNROLL for (int r = 0; r < ROWS; ++r) {
        const uint row_chunk = rows[r] * CHUNKS + chunk, group = row_chunk * CHUNK / 64;
        if (t == 0) {  // the other vectors find them in registers
          load_words<WORDS, ALIGN, PACKED>((const device uint*)weight + row_chunk * WORDS, words + r * WORDS);
          row_scales[r] = BITS ? float(scales[group]) * 16777216.0f : 1.0f;
          row_offsets[r] = BITS ? float(offsets[group]) : 0.0f;
        }
        thread float& product = products[t * ROWS + r];
        const float dot = chunk_dot<W, BITS>(words + r * WORDS, inputs);
        if constexpr (BITS != 0) {
          product = fma(row_offsets[r], input_sum, product);
          product = fma(row_scales[r], dot, product);
        } else {
          product += dot;
        }
      }
    }
  }
  UNROLL for (int t = 0; t < TOKENS; ++t) {
    float factor = 1.0f;
    if constexpr (NORM) factor = rsqrt(simd_sum(squares[t]) / K + eps);
    UNROLL for (int r = 0; r < ROWS; ++r) products[t * ROWS + r] = simd_sum(products[t * ROWS + r]) * factor;
  }
}
