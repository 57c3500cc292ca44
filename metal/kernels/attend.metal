// Attention of a few new tokens over the KV cache: sinks, grouped queries, causal limit, sliding window, split over keys
// for long contexts. head_dim is 64.
//
//   q [TOKENS, heads, 64] T, keys and values three times [1, KV heads, capacity, 64] C, sinks [heads],
//   heads = GROUP * KV heads, places [6]
//   -> SPLIT false: attended [TOKENS, heads, 64] O
//      SPLIT true:  attended float32 [splits, TOKENS, heads, 66]: 64 weighted sums of values, the largest score, the
//                   sum of weights; merge.metal makes the result of them
//
// Key i lies in the first of the three buffers for which i < places[0 .. 2], in slot i + places[3 .. 5]: what a cache
// has frozen, its tail, and what qkv has just written, which the cache takes while the GPU is busy with this. The
// tokens' own keys are the last TOKENS ones, each token sees the keys up to its own, and of these the last WINDOW if
// that isn't 0.
//
// Threadgroup (KV head, split). Its GROUP * TOKENS queries stand in blocks of four, which is what registers hold; the
// STRIPS simdgroups of a block take turns at the keys, so that a short context, too, has eight simdgroups at work. In a
// simdgroup 8 lanes share a key, 16 bytes of it a lane (16-bit types), so that a load is one run of 512 bytes, 4 keys.
// Each 8 lanes keep their own online softmax, over two keys at a time, which halves the rescaling; lanes, then strips,
// then splits are joined at the end. Sums are float32, scores in units of log 2, for exp2.
//
// DRAM: every key and value that a token sees, once; each block asks for them again, from L1.
// Registers, counted by hand: queries 32, sums 32, softmax 8, two keys or values 16, the rest about 18: 106.
// Threadgroup memory: 264 bytes a query and strip, 8448 at most. 256 threads at most, one barrier.
  constexpr uint VECTORS = GROUP * TOKENS, QUERIES = VECTORS < 4 ? VECTORS : 4;
  constexpr uint BLOCKS = (VECTORS + QUERIES - 1) / QUERIES, STEP = 8 * STRIPS;
  constexpr float LOG2_E = 1.44269504f;
  constexpr float NOTHING = -1e30f;  // a score that counts for nothing; not -inf: the difference of two would be NaN
  const uint lane = thread_index_in_simdgroup, simdgroup = simdgroup_index_in_threadgroup;
  const uint kv_head = threadgroup_position_in_grid.x, kv_heads = threadgroups_per_grid.x, heads = kv_heads * GROUP;
  const uint split = threadgroup_position_in_grid.y, splits = threadgroups_per_grid.y;
  const uint block = simdgroup / STRIPS, strip = simdgroup % STRIPS, own_key = lane / 8, dimension = lane % 8 * 8;
  const uint end = places[0], tail_end = places[1], length = places[2], keys_before = length - TOKENS;
  threadgroup float joined[BLOCKS * STRIPS * QUERIES * 66];

  float query[QUERIES][8], sums[QUERIES][8], largest[QUERIES], weights[QUERIES];
  uint last[QUERIES];
  UNROLL for (uint i = 0; i < QUERIES; ++i) {
    const uint vector = min(block * QUERIES + i, VECTORS - 1);  // a block's rest repeats the last query, unheard
    const uint token = vector / GROUP;
    load_floats<T, 8, 16>(q + ((token * heads + kv_head * GROUP + vector % GROUP) * 64 + dimension), query[i]);
    last[i] = keys_before + token;
    largest[i] = NOTHING;
    weights[i] = 0.0f;
    UNROLL for (uint d = 0; d < 8; ++d) {
      query[i][d] *= scale * LOG2_E;
      sums[i][d] = 0.0f;
    }
  }

  const uint first = WINDOW && keys_before + 1 > WINDOW ? keys_before + 1 - WINDOW : 0;
  const uint share = (length - first + STEP * splits - 1) / (STEP * splits) * STEP;
  const uint from = first + split * share, to = min(length, from + share);
  // Where key 0 would be: unsigned, so that a slot before the buffer comes right again with the key's number.
  const size_t base = (size_t(kv_head) * keys_shape[2] + places[3]) * 64 + dimension;
  const size_t tail_base = (size_t(kv_head) * tail_keys_shape[2] + places[4]) * 64 + dimension;
  const size_t new_base = (size_t(kv_head) * new_keys_shape[2] + places[5]) * 64 + dimension;
  for (uint step = from; step < to; step += STEP) {  // as often in every lane: no shuffle is divergent
    uint key[2];
    const device C* value[2];
    float loaded[2][8], scores[2][QUERIES];
    UNROLL for (uint n = 0; n < 2; ++n) {
      key[n] = step + strip * 8 + n * 4 + own_key;
      const uint own = min(key[n], to - 1);
      const bool frozen = own < end, in_tail = own < tail_end;
      const size_t at = (frozen ? base : in_tail ? tail_base : new_base) + size_t(own) * 64;
      value[n] = (frozen ? values : in_tail ? tail_values : new_values) + at;
      load_floats<C, 8, 16>((frozen ? keys : in_tail ? tail_keys : new_keys) + at, loaded[n]);
    }
    UNROLL for (uint n = 0; n < 2; ++n) {
      UNROLL for (uint i = 0; i < QUERIES; ++i) {
        float score = 0.0f;
        UNROLL for (uint d = 0; d < 8; ++d) score = fma(query[i][d], loaded[n][d], score);
        score += simd_shuffle_xor(score, 1);
        score += simd_shuffle_xor(score, 2);
        score += simd_shuffle_xor(score, 4);
        const bool seen = key[n] < to && key[n] <= last[i] && (!WINDOW || key[n] + WINDOW > last[i]);
        scores[n][i] = seen ? score : NOTHING;
      }
    }
    UNROLL for (uint n = 0; n < 2; ++n) load_floats<C, 8, 16>(value[n], loaded[n]);
    UNROLL for (uint i = 0; i < QUERIES; ++i) {
      const float before = largest[i];
      largest[i] = max(before, max(scores[0][i], scores[1][i]));
      const float shrink = fast::exp2(before - largest[i]);
      const float weight0 = scores[0][i] == NOTHING ? 0.0f : fast::exp2(scores[0][i] - largest[i]);
      const float weight1 = scores[1][i] == NOTHING ? 0.0f : fast::exp2(scores[1][i] - largest[i]);
      weights[i] = fma(weights[i], shrink, weight0 + weight1);
      UNROLL for (uint d = 0; d < 8; ++d) {
        sums[i][d] = fma(weight1, loaded[1][d], fma(weight0, loaded[0][d], sums[i][d] * shrink));
      }
    }
  }

  UNROLL for (uint i = 0; i < QUERIES; ++i) {
    UNROLL for (uint other = 8; other < 32; other *= 2) {
      const float before = largest[i], others = simd_shuffle_xor(largest[i], other);
      largest[i] = max(before, others);
      const float shrink = fast::exp2(before - largest[i]), shrink_other = fast::exp2(others - largest[i]);
      weights[i] = fma(weights[i], shrink, simd_shuffle_xor(weights[i], other) * shrink_other);
      UNROLL for (uint d = 0; d < 8; ++d) {
        sums[i][d] = fma(sums[i][d], shrink, simd_shuffle_xor(sums[i][d], other) * shrink_other);
      }
    }
    threadgroup float* own = joined + (simdgroup * QUERIES + i) * 66;
    if (own_key == 0) {
      UNROLL for (uint d = 0; d < 8; ++d) own[dimension + d] = sums[i][d];
    }
    if (lane == 0) {
      own[64] = largest[i];
      own[65] = weights[i];
    }
  }
  threadgroup_barrier(mem_flags::mem_threadgroup);

  for (uint i = thread_index_in_threadgroup; i < VECTORS * 64; i += BLOCKS * STRIPS * 32) {
    const uint vector = i / 64, d = i % 64;
    const threadgroup float* strips = joined + (vector / QUERIES * STRIPS * QUERIES + vector % QUERIES) * 66;
    const uint head = kv_head * GROUP + vector % GROUP, row = vector / GROUP * heads + head;
    const float sink = float(sinks[head]) * LOG2_E;
    float top = SPLIT ? NOTHING : sink;
    UNROLL for (uint s = 0; s < STRIPS; ++s) top = max(top, strips[s * QUERIES * 66 + 64]);
    float sum = 0.0f, weight = SPLIT ? 0.0f : fast::exp2(sink - top);
    UNROLL for (uint s = 0; s < STRIPS; ++s) {
      const threadgroup float* one = strips + s * QUERIES * 66;
      const float shrink = fast::exp2(one[64] - top);
      sum = fma(one[d], shrink, sum);
      weight = fma(one[65], shrink, weight);
    }
    if constexpr (SPLIT) {
      const uint at = (split * TOKENS * heads + row) * 66;
      attended[at + d] = O(sum);
      if (d == 0) {
        attended[at + 64] = O(top);
        attended[at + 65] = O(weight);
      }
    } else {
      attended[row * 64 + d] = O(sum / weight);
    }
  }
