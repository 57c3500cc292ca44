// down for several rows at once: the weights of an expert that several of them chose are read once (shared.h).
//
//   y[n] = T(residual[n] + sum over slots of weight (W[expert] hidden[n, slot] + bias[expert]))
//
// Arrays as down's, to the bit, with N TOP at most 32: a pair of row and slot a lane.
//
// Geometry: a threadgroup makes ROWS rows of the matrices for all vectors, with TOP simdgroups, which take the different
// experts in turn; grid 32 TOP OUT / ROWS. First each simdgroup takes the experts and weights of some rows, for all to
// know; at the end all products meet, and the slots of a row are added in their order.
//
// DRAM: 17/32 OUT K bytes for each expert that any row chose (4.4 MB for 2880 x 2880), as long as no more than SHARE did;
// hidden 23 KB a row. Registers as shared_rows. Threadgroup memory: 128 (ROWS + 2) bytes; two barriers.
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const uint row = threadgroup_position_in_grid.x * ROWS, tokens = logits_shape[0], all = tokens * TOP;
  threadgroup uint experts[32];
  threadgroup float weights[32];
  threadgroup float parts[32 * ROWS];
  for (uint token = simdgroup; token < tokens; token += TOP) {
    float weight;
    const uint expert = weighted_expert<E, TOP>(logits + token * E, lane, lane, weight);
    if (lane < TOP) {
      experts[token * TOP + lane] = expert;
      weights[token * TOP + lane] = weight;
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  const uint own_expert = experts[min(lane, all - 1)];
  uint turn = 0;
  for (uint pair = 0; pair < all; ++pair) {  // as often in every lane, and what continues does so in all of them
    const uint expert = experts[pair];
    const uint own = read_by<SHARE>(pair, simd_sum(lane < all && own_expert == expert ? 1u << lane : 0u));
    if (own == 0 || turn++ % TOP != simdgroup) continue;
    const uint first = expert * OUT + row;
    uint pairs[SHARE];
    float sums[SHARE * ROWS];
    const uint count = take_pairs<SHARE>(own, pairs);
    shared_rows<K, ROWS, SHARE, ALIGN, PACKED, TABLE>(
        blocks + size_t(first) * (K / 8), scales + size_t(first) * (K / 32), hidden, pairs, count, lane, sums);
    float sum = 0.0f;
    uint at = 0;
    UNROLL for (uint v = 0; v < SHARE; ++v) {
      UNROLL for (uint i = 0; i < ROWS; ++i) {
        if (lane == v * ROWS + i) {
          sum = sums[v * ROWS + i];
          at = pairs[v];
        }
      }
    }
    if (lane < count * ROWS) parts[at * ROWS + lane % ROWS] = weights[at] * (sum + float(bias[first + lane % ROWS]));
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  for (uint i = thread_index_in_threadgroup; i < tokens * ROWS; i += 32 * TOP) {
    const uint token = i / ROWS, at = token * OUT + row + i % ROWS;
    float sum = parts[token * TOP * ROWS + i % ROWS];
    UNROLL for (uint slot = 1; slot < TOP; ++slot) sum += parts[(token * TOP + slot) * ROWS + i % ROWS];
    y[at] = T(float(residual[at]) + sum);
  }
