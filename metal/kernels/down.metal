// The second matrix of the chosen experts, weighted, summed and added to the residual stream.
//
//   y[n] = T(residual[n] + sum over slots of weight (W[expert] hidden[n, slot] + bias[expert]))
//
// hidden [N, TOP, K] X (half or float) in lane order (lanes.h); logits [N, E] float, whose TOP largest (topk.h) name
// the experts and by their softmax weigh them; blocks [E, OUT, K / 8] uint, scales [E, OUT, K / 32] uchar, bias
// [E, OUT]; residual and y [N, OUT] T. K and OUT are multiples of 32. blocks lie at a multiple of ALIGN bytes, hidden
// of 16.
//
// Geometry: a threadgroup makes ROWS rows (2, 4 or 8) with TOP simdgroups, one a slot; tokens in y; grid
// (32 TOP OUT / ROWS, N). The slots meet in threadgroup memory and are added in their order: no atomics, one write. A
// simdgroup that walked all slots by itself would save the barrier and leave a quarter of the simdgroups; as every slot
// has activations of its own, it would save no traffic. A lane's work and ROWS are as in gate_up; 2 rows are the
// default for many cores, where four leave only a wave or two of simdgroups.
//
// DRAM: 17/32 OUT K bytes a slot (17.6 MB for four of 2880 x 2880), each line once; hidden 23 KB, residual 5.8 KB.
// Registers as gate_up. Threadgroup memory: 4 TOP ROWS bytes; one barrier.
  const uint lane = thread_index_in_simdgroup, slot = simdgroup_index_in_threadgroup;
  const uint row = threadgroup_position_in_grid.x * ROWS, token = threadgroup_position_in_grid.y;
  threadgroup float parts[TOP * ROWS];
  float weight;
  const uint first = weighted_expert<E, TOP>(logits + token * E, slot, lane, weight) * OUT + row;
  const uint pairs[1] = {token * TOP + slot};
  float sums[ROWS];
  mxfp4_rows<K, ROWS, 1, ALIGN, PACKED, TABLE>(
      blocks + size_t(first) * (K / 8), scales + size_t(first) * (K / 32), hidden, pairs, lane, sums);
  const float own = sum_of_lane<ROWS>(sums, lane);
  if (lane < uint(ROWS)) parts[slot * ROWS + lane] = weight * (own + float(bias[first + lane]));
  threadgroup_barrier(mem_flags::mem_threadgroup);
  if (slot == 0 && lane < uint(ROWS)) {
    float sum = parts[lane];
    UNROLL for (int other = 1; other < TOP; ++other) sum += parts[other * ROWS + lane];
    y[token * OUT + row + lane] = T(float(residual[token * OUT + row + lane]) + sum);
  }
