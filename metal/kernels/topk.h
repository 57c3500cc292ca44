// The largest of E logits, taken one after the other by one full simdgroup; every lane gets the results.
//
// Logits are compared as integers in the order of the floats, so that the order is total: of equal logits the lowest
// index comes first (-0 equals 0), the experts taken are distinct, and a NaN can't make an index that doesn't exist.

constant constexpr const uint TAKEN = 0;  // below the key of every logit

METAL_FUNC uint logit_key(float logit) {
  const uint bits = as_type<uint>(logit == 0.0f ? 0.0f : logit);
  return bits & 0x80000000u ? max(~bits, TAKEN + 1u) : bits | 0x80000000u;
}

METAL_FUNC float logit_of(uint key) { return as_type<float>(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

// Lane l holds the keys of logits l, l + 32, ... in `keys`.
template <int E, typename P>
METAL_FUNC void load_keys(P logits, uint lane, thread uint* keys) {
  UNROLL for (int i = 0; i < (E + 31) / 32; ++i) {
    const uint index = 32 * i + lane;
    keys[i] = index < uint(E) ? logit_key(logits[index]) : TAKEN;
  }
}

// The largest logit left, as its key, and its index. It is left no longer.
template <int E>
METAL_FUNC uint take_largest(thread uint* keys, uint lane, thread uint& index) {
  uint best = keys[0], at = lane;
  UNROLL for (int i = 1; i < (E + 31) / 32; ++i) {
    if (keys[i] > best) {
      best = keys[i];
      at = 32 * i + lane;
    }
  }
  const uint largest = simd_max(best);
  index = simd_min(best == largest ? at : uint(E - 1));
  UNROLL for (int i = 0; i < (E + 31) / 32; ++i) {
    if (32 * i + lane == index) keys[i] = TAKEN;
  }
  return largest;
}

// The expert in place `slot` of the order.
template <int E, typename P>
METAL_FUNC uint chosen_expert(P logits, uint slot, uint lane) {
  uint keys[(E + 31) / 32], expert = 0;
  load_keys<E>(logits, lane, keys);
  for (uint place = 0; place <= slot; ++place) take_largest<E>(keys, lane, expert);
  return expert;
}

// The same, and its weight: the softmax over the TOP largest logits alone.
template <int E, int TOP, typename P>
METAL_FUNC uint weighted_expert(P logits, uint slot, uint lane, thread float& weight) {
  uint keys[(E + 31) / 32], expert = 0;
  load_keys<E>(logits, lane, keys);
  float largest = 0.0f, own = 0.0f, sum = 0.0f;
  for (uint place = 0; place < uint(TOP); ++place) {
    uint index;
    const float logit = logit_of(take_largest<E>(keys, lane, index));
    if (place == 0) largest = logit;
    const float share = exp(logit - largest);
    sum += share;
    if (place == slot) {
      expert = index;
      own = share;
    }
  }
  weight = own / sum;
  return expert;
}

// How many of E logits come before that of an expert in this order: its slot, if so many are taken.
template <int E, typename P>
METAL_FUNC uint place_of(P logits, uint expert, uint lane) {
  uint keys[(E + 31) / 32], before = 0;
  load_keys<E>(logits, lane, keys);
  const uint own = logit_key(logits[expert]);
  UNROLL for (int i = 0; i < (E + 31) / 32; ++i) before += keys[i] > own || (keys[i] == own && 32 * i + lane < expert);
  return simd_sum(before);
}
