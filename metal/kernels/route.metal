// RMSNorm, and the router's logits.
//
//   normed[n] = T(x[n] / sqrt(mean(x[n]^2) + eps) * gain)    in lane order (lanes.h)
//   logits[n] = router normed[n] + bias                       in float32
//
// x [N, K] T; gain [K]; router [E, K]; bias [E]; each in bfloat, half or float. eps float. normed [N, K] X (half for
// 16-bit T, else float); logits [N, E] float. K is a multiple of 32, E of SIMDGROUPS. x lies at a multiple of 16 bytes,
// gain and router at one of ALIGN: 16, 8 or 4 (PACKED: common.h).
//
// Geometry: a simdgroup a logit, SIMDGROUPS of them a threadgroup, N in y; grid (32 E, N). Each one computes the norm
// again (x is 5.8 KB and in L1) and so needs no barrier, and writes the E-th part of the normed vector, which it has in
// registers anyway.
//
// The top k of the logits and their softmax are taken by those who use them (topk.h), not here: threadgroups of one
// launch can't wait for each other, and all of it in one threadgroup would draw the router through a single core. At
// some 32 bytes a cycle (philipturner/metal-benchmarks) that is 4 us a layer for 32 experts of K = 2880 and 18 us for
// 128, up to a tenth of a token's time on the widest chips. By the same source's figures, taking the top 4 of 32 costs
// a simdgroup some 150 cycles of arithmetic beside 1200 for its rows, and those wait for DRAM. Nothing here was timed
// on a GPU.
//
// DRAM: router 2 E K bytes (184 KB for 32 x 2880), each line once; x and gain 11.5 KB. Few registers, no threadgroup
// memory.
  const uint lane = thread_index_in_simdgroup;
  const uint expert = threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup;
  const uint token = threadgroup_position_in_grid.y;
  const device T* row = x + token * K;

  float4 squares = float4(0.0f);
  for (uint word = lane; word < uint(K / 8); word += 32) {
    float v[8];
    load_word<16, 0>(row + 8 * word, v);
    UNROLL for (int i = 0; i < 8; ++i) squares[i % 4] = fma(v[i], v[i], squares[i % 4]);
  }
  const float sum = simd_sum((squares.x + squares.y) + (squares.z + squares.w));
  const float scale = rsqrt(sum / K + eps);

  float4 products = float4(0.0f);
  for (uint word = lane; word < uint(K / 8); word += 32) {
    float v[8], g[8], w[8];
    load_word<16, 0>(row + 8 * word, v);
    load_word<ALIGN, PACKED>(gain + 8 * word, g);
    load_word<ALIGN, PACKED>(router + expert * K + 8 * word, w);
    UNROLL for (int i = 0; i < 8; ++i) {
      v[i] = float(T(v[i] * scale * g[i]));
      products[i % 4] = fma(v[i], w[i], products[i % 4]);
    }
    if (word / 32 % E == expert) store_word(normed + token * K + lane_order8<K>(word), v);
  }
  const float logit = simd_sum((products.x + products.y) + (products.z + products.w));
  if (lane == 0) logits[token * E + expert] = logit + float(bias[expert]);
