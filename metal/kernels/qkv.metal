// Queries, keys and values of a layer: RMSNorm, three matrices in one launch, bias, and RoPE on queries and keys.
//
//   x [N, K], norm [K] -> q [N, HEADS, 64], k and v [KV_HEADS, N, 64], the layout of the KV cache
//   query_* [HEADS * 64, K], key_* and value_* [KV_HEADS * 64, K]; bias [rows]; cosines, sines [N, 32]
//
// TOKENS is 1, 2, 4 or 8, and N that or fewer.
//
// A simdgroup takes ROWS / 2 rows from d on and as many from d + 32 on, of one head: both numbers of a pair that RoPE
// turns are then in the registers of one simdgroup, and the result is written once, turned.
// Grid: (HEADS + 2 KV_HEADS) * 64 / ROWS simdgroups, SIMDGROUPS in a threadgroup: 1280 for gpt-oss at ROWS 4.
// DRAM at 20b's sizes: 29.5 MB in bfloat16, 15.7, 12.0 and 8.3 MB in 8, 6 and 4 bits; see dense.h for the rest and for
// registers. x is not rounded after the norm, and q, k, v only once, when written.
  const uint lane = thread_index_in_simdgroup;
  const uint unit = threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup;
  constexpr uint HALF = ROWS / 2;
  const uint head = unit / (64 / ROWS), first = unit % (64 / ROWS) * HALF;
  const bool is_query = head < HEADS, is_value = head >= HEADS + KV_HEADS;
  const uint own_head = is_query ? head : is_value ? head - HEADS - KV_HEADS : head - HEADS;

  uint rows[ROWS];
  UNROLL for (uint i = 0; i < HALF; ++i) {
    rows[i] = own_head * 64 + first + i;
    rows[i + HALF] = rows[i] + 32;
  }
  const uint tokens = TOKENS == 1 ? 1 : x_shape[0];
  float products[TOKENS * ROWS];
  dense_rows<K, BITS, ROWS, TOKENS, true, ALIGN, PACKED>(
      is_query ? query_weight : is_value ? value_weight : key_weight,
      is_query ? query_scales : is_value ? value_scales : key_scales,
      is_query ? query_offsets : is_value ? value_offsets : key_offsets,
      x, tokens, norm, eps, rows, lane, products);

  float low = 0.0f, high = 0.0f;
  UNROLL for (uint t = 0; t < TOKENS; ++t) {
    UNROLL for (uint i = 0; i < HALF; ++i) {
      if (lane == t * HALF + i) {
        low = products[t * ROWS + i];
        high = products[t * ROWS + i + HALF];
      }
    }
  }
  if (lane < tokens * HALF) {
    const uint t = lane / HALF, d = first + lane % HALF, at = own_head * 64 + d;
    low += float(is_query ? query_bias[at] : is_value ? value_bias[at] : key_bias[at]);
    high += float(is_query ? query_bias[at + 32] : is_value ? value_bias[at + 32] : key_bias[at + 32]);
    if (!is_value) {
      const float cosine = cosines[t * 32 + d], sine = sines[t * 32 + d];
      const float turned = fma(low, cosine, -high * sine);
      high = fma(high, cosine, low * sine);
      low = turned;
    }
    device T* to = is_query ? q + (t * HEADS + own_head) * 64 : (is_value ? v : k) + (own_head * tokens + t) * 64;
    to[d] = T(low);
    to[d + 32] = T(high);
  }
