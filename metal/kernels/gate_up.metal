// The first matrix of the chosen experts and its clamped SwiGLU.
//
//   y = W[expert] x[n] + bias[expert], rows 2i gates and 2i + 1 ups, as on the Hub
//   hidden[n, slot, i] = g / (1 + exp(-1.702 g)) (u + 1), with g = min(y[2i], limit), u = y[2i + 1] clamped
//
// x [N, K] X (half or float) in lane order (lanes.h); logits [N, E] float, the slot-th largest of which (topk.h) is the
// expert's; blocks [E, OUT, K / 8] uint, scales [E, OUT, K / 32] uchar, bias [E, OUT]; limit float.
// hidden [N, TOP, OUT / 2] X in lane order, as down reads it. K is a multiple of 32, OUT of ROWS SIMDGROUPS and of 64.
// blocks lie at a multiple of ALIGN bytes, x of 16.
//
// Geometry: ROWS rows a simdgroup (2, 4 or 8: gate and up meet in registers), SIMDGROUPS a threadgroup, slots and
// tokens in z; grid (32 OUT / ROWS, 1, N TOP). A lane takes a 16-byte block a pass: 3 passes for K = 2880, in the last
// of which 6 of 32 lanes idle; layouts without idle lanes read twice the lines. At 4 rows, x costs L1 about as many
// line-bytes as the weights, 2.2 for each byte of weights in all (MLX's own kernel: 10.5), so that even a useless L1
// leaves L2 within its bandwidth. 2 rows halve the registers, 8 the traffic of x: a tuner may choose, the bits are the
// same.
//
// DRAM: 17/32 OUT K bytes a slot (8.8 MB for 5760 x 2880, 35 MB for four of them), each line once; x 5.8 KB.
// Registers: about 62 at 4 rows by hand, 93 by LLVM's AMDGPU back end. No threadgroup memory, no barrier.
//
// SHARE 1: tokens that chose the same expert read it each for itself. SHARE 2 or 4, with N TOP at most 32: it is read
// once for so many of them (shared.h), and the simdgroups of the other pairs end at once. Each finds out who shares its
// expert by that expert's place among the logits of every token, some 30 cycles a token (as counted in route.metal).
// Registers then by hand: 16 a vector, 4 ROWS for weights and sums more; by NVIDIA's compiler 96 at ROWS 4 for SHARE 2,
// and 116 at ROWS 2 for SHARE 4.
  const uint lane = thread_index_in_simdgroup;
  const uint row = (threadgroup_position_in_grid.x * SIMDGROUPS + simdgroup_index_in_threadgroup) * ROWS;
  uint pair = threadgroup_position_in_grid.z;
  const uint token = pair / TOP;
  const uint expert = chosen_expert<E>(logits + token * E, pair % TOP, lane);
  uint pairs[SHARE] = {pair}, tokens[SHARE], count = 1;
  if constexpr (SHARE > 1) {
    uint sharing = 1u << pair;
    for (uint other = 0; other < uint(logits_shape[0]); ++other) {
      const uint slot = other == token ? TOP : place_of<E>(logits + other * E, expert, lane);
      if (slot < TOP) sharing |= 1u << (other * TOP + slot);
    }
    const uint own = read_by<SHARE>(pair, sharing);
    if (own == 0) return;
    count = take_pairs<SHARE>(own, pairs);
  }
  UNROLL for (int v = 0; v < SHARE; ++v) tokens[v] = pairs[v] / TOP;

  const uint first = expert * OUT + row;
  float sums[SHARE * ROWS];
  shared_rows<K, ROWS, SHARE, ALIGN, PACKED, TABLE>(
      blocks + size_t(first) * (K / 8), scales + size_t(first) * (K / 32), x, tokens, count, lane, sums);
  constexpr uint HALF = ROWS / 2;
  const uint i = lane % HALF;
  float gate = 0.0f, up = 0.0f;
  UNROLL for (int v = 0; v < SHARE; ++v) {
    UNROLL for (uint n = 0; n < HALF; ++n) {
      if (lane == v * HALF + n) {
        gate = sums[v * ROWS + 2 * n];
        up = sums[v * ROWS + 2 * n + 1];
        pair = pairs[v];
      }
    }
  }
  if (lane < count * HALF) {
    gate += float(bias[first + 2 * i]);
    up += float(bias[first + 2 * i + 1]);
    // By comparison, not min(): a NaN stays one. Of a copy: `?:` is between variables of one address space.
    const float most = limit;
    gate = gate > most ? most : gate;
    up = up > most ? most : up < -most ? -most : up;
    const float value = gate / (1.0f + exp(-1.702f * gate)) * (up + 1.0f);
    hidden[pair * (OUT / 2) + lane_order<OUT / 2>(row / 2 + i)] = X(value);
  }
