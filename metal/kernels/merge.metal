// Joins the splits of attend.metal, and the sinks.
//
//   parts float32 [splits, TOKENS, heads, 66], sinks [heads] -> attended [TOKENS, heads, 64]
//
// One simdgroup, a threadgroup of its own, for each token and head; two dimensions a lane. 17 KB a split and token at
// 64 heads.
  const uint lane = thread_index_in_simdgroup, row = threadgroup_position_in_grid.x;
  const uint splits = parts_shape[0], rows = threadgroups_per_grid.x, heads = parts_shape[2];
  constexpr float LOG2_E = 1.44269504f;  // scores are in units of log 2
  const float sink = float(sinks[row % heads]) * LOG2_E;
  float top = sink;
  for (uint s = lane; s < splits; s += 32) top = max(top, parts[(s * rows + row) * 66 + 64]);
  top = simd_max(top);
  float2 sum = float2(0.0f);
  float weight = fast::exp2(sink - top);
  for (uint s = 0; s < splits; ++s) {
    const device float* part = parts + (s * rows + row) * 66;
    const float shrink = fast::exp2(part[64] - top);
    sum.x = fma(part[2 * lane], shrink, sum.x);
    sum.y = fma(part[2 * lane + 1], shrink, sum.y);
    weight = fma(part[65], shrink, weight);
  }
  attended[row * 64 + 2 * lane] = T(sum.x / weight);
  attended[row * 64 + 2 * lane + 1] = T(sum.y / weight);
