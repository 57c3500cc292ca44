// The index of the largest of each token's values, the lowest of equals; launched twice.
//
//   values float32 [tokens, COUNT] -> largest float32 and index uint32, both [tokens, parts]
//
// Threadgroup (part, token) of 256 threads takes BLOCK values; the second launch takes the first one's parts, with
// their indices. 0.8 MB a token for gpt-oss's vocabulary, by 50 threadgroups and then by one. NaN never wins; where
// nothing does, the index is 0.
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const uint part = threadgroup_position_in_grid.x, token = threadgroup_position_in_grid.y;
  threadgroup float best_values[8];
  threadgroup uint best_indices[8];
  const uint end = min(uint(COUNT), (part + 1) * BLOCK);

  float value = -INFINITY;
  uint at = 0;
  for (uint i = part * BLOCK + thread_index_in_threadgroup; i < end; i += 256) {
    const float candidate = values[token * COUNT + i];
    if (candidate > value) {
      value = candidate;
      at = FIRST ? i : uint(indices[token * COUNT + i]);
    }
  }
  const float largest_here = simd_max(value);
  const uint index_here = simd_min(value == largest_here ? at : 0xFFFFFFFFu);
  if (lane == 0) {
    best_values[simdgroup] = largest_here;
    best_indices[simdgroup] = index_here;
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (thread_index_in_threadgroup == 0) {
    value = best_values[0];
    at = best_indices[0];
    for (uint i = 1; i < 8; ++i) {
      const bool wins = best_values[i] > value || (best_values[i] == value && best_indices[i] < at);
      value = wins ? best_values[i] : value;
      at = wins ? best_indices[i] : at;
    }
    largest[token * PARTS + part] = value;
    index[token * PARTS + part] = at;
  }
