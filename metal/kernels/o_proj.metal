// The attention's output matrix, its bias and the residual stream.
//
//   x [N, K], residual [N, OUT], weight [OUT, K], bias [OUT] -> y [N, OUT], N up to TOKENS
//
// A simdgroup takes ROWS consecutive rows. Grid: OUT / ROWS simdgroups, SIMDGROUPS in a threadgroup: 1440 for gpt-oss
// at ROWS 2, its default, since there are only 2880 rows to spread over the GPU. K is 4096 there, eight whole passes at
// 8 bits.
// DRAM at 20b's sizes: 23.6 MB in bfloat16, 12.5, 9.6 and 6.6 MB in 8, 6 and 4 bits; see dense.h for the rest.
  const uint lane = thread_index_in_simdgroup;
  const uint first = (threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup) * ROWS;
  uint rows[ROWS];
  UNROLL for (uint r = 0; r < ROWS; ++r) rows[r] = first + r;
  const uint tokens = TOKENS == 1 ? 1 : x_shape[0];
  float products[TOKENS * ROWS];
  dense_rows<K, BITS, ROWS, TOKENS, false, ALIGN, PACKED>(
      weight, scales, offsets, x, tokens, x, 0.0f, rows, lane, products);

  float product = 0.0f;
  UNROLL for (uint i = 0; i < TOKENS * ROWS; ++i) product = lane == i ? products[i] : product;
  if (lane < tokens * ROWS) {
    const uint row = first + lane % ROWS, at = lane / ROWS * OUT + row;
    y[at] = T(product + float(bias[row]) + float(residual[at]));
  }
