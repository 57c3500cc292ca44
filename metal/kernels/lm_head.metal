// The final RMSNorm and the output matrix.
//
//   x [N, K], norm [K], weight [OUT, K] -> logits float32 [N, OUT], N up to TOKENS
//
// A simdgroup takes ROWS consecutive rows. Grid: OUT / ROWS simdgroups, SIMDGROUPS in a threadgroup: 50272 for gpt-oss
// at ROWS 4. DRAM at gpt-oss's sizes: 1158 MB in bfloat16, 615, 471 and 326 MB in 8, 6 and 4 bits, and 0.8 MB of logits
// a token; see dense.h for the rest.
  const uint lane = thread_index_in_simdgroup;
  const uint first = (threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup) * ROWS;
  uint rows[ROWS];
  UNROLL for (uint r = 0; r < ROWS; ++r) rows[r] = first + r;
  const uint tokens = TOKENS == 1 ? 1 : x_shape[0];
  float products[TOKENS * ROWS];
  dense_rows<K, BITS, ROWS, TOKENS, true, ALIGN, PACKED>(
      weight, scales, offsets, x, tokens, norm, eps, rows, lane, products);

  float logit = 0.0f;
  UNROLL for (uint i = 0; i < TOKENS * ROWS; ++i) logit = lane == i ? products[i] : logit;
  if (lane < tokens * ROWS) logits[lane / ROWS * OUT + first + lane % ROWS] = logit;
