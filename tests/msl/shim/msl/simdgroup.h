// Barriers, and the operations in which the lanes of a simdgroup or quadgroup exchange values.
//
// All lanes of a simdgroup must take part: stricter than Metal, where a divergent simd_sum adds the active lanes. The
// order of additions in simd_sum is a fixed tree here and unspecified there.
#pragma once
#pragma clang system_header

namespace metal {

enum class mem_flags : uint {
  mem_none = 0,
  mem_device = MSL_ORDERS_DEVICE,
  mem_threadgroup = MSL_ORDERS_THREADGROUP,
  mem_texture = 4,
};
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }

// The site of an operation is the place that calls it: a default argument is evaluated there.
#define MSL_SITE uint site = msl_site(__builtin_LINE(), __builtin_COLUMN())

METAL_FUNC void threadgroup_barrier(mem_flags flags, MSL_SITE) { msl_barrier_threadgroup(uint(flags), site); }
METAL_FUNC void simdgroup_barrier(mem_flags flags, MSL_SITE) { msl_barrier_simdgroup(uint(flags), site); }

template <class T>
METAL_FUNC T msl_slot(const msl_simdgroup* simdgroup, uint parity, uint lane) {
  T value;
  __builtin_memcpy(&value, simdgroup->slots[parity][lane], sizeof(T));
  return value;
}

struct msl_add {
  template <class T>
  static METAL_FUNC T identity() {
    return T(0);
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return a + b;
  }
};
struct msl_multiply {
  template <class T>
  static METAL_FUNC T identity() {
    return T(1);
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return a * b;
  }
};
struct msl_max {
  template <class T>
  static METAL_FUNC T identity() {
    using E = typename msl_vector<T>::element;
    if constexpr (is_floating_point_v<E>)
      return T(-numeric_limits<E>::infinity());
    else
      return T(numeric_limits<E>::lowest());
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return metal::max(a, b);
  }
};
struct msl_min {
  template <class T>
  static METAL_FUNC T identity() {
    using E = typename msl_vector<T>::element;
    if constexpr (is_floating_point_v<E>)
      return T(numeric_limits<E>::infinity());
    else
      return T(numeric_limits<E>::max());
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return metal::min(a, b);
  }
};
struct msl_and {
  template <class T>
  static METAL_FUNC T identity() {
    return T(~T(0));
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return a & b;
  }
};
struct msl_or {
  template <class T>
  static METAL_FUNC T identity() {
    return T(0);
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return a | b;
  }
};
struct msl_xor {
  template <class T>
  static METAL_FUNC T identity() {
    return T(0);
  }
  template <class T>
  static METAL_FUNC T apply(T a, T b) {
    return a ^ b;
  }
};

// For functions that move values between lanes and not between the kernel's own memories.
#define MSL_UNTRACED __attribute__((no_sanitize("thread", "undefined")))

// Puts `value` where the other lanes find it, and waits for them. Returns the set of slots to read from.
template <class T>
METAL_FUNC MSL_UNTRACED uint msl_exchange(T value, msl_combine combine, uint site) {
  static_assert(sizeof(T) <= MSL_SLOT_BYTES / 2, "the second half of a slot holds the result of a scan");
  msl_simdgroup* simdgroup = msl_current->simdgroup;
  __builtin_memcpy(simdgroup->slots[simdgroup->parity][msl_current->lane], &value, sizeof(T));
  return msl_meet_simdgroup(combine, site);
}

template <class T, class Operation>
MSL_UNTRACED void msl_combine_all(msl_simdgroup* simdgroup, uint parity) {
  T values[MSL_LANES];
  for (uint i = 0; i < MSL_LANES; i++)
    values[i] = simdgroup->active >> i & 1 ? msl_slot<T>(simdgroup, parity, i) : Operation::template identity<T>();
  for (uint half_width = MSL_LANES / 2; half_width > 0; half_width /= 2)
    for (uint i = 0; i < half_width; i++) values[i] = Operation::apply(values[i], values[i + half_width]);
  __builtin_memcpy(simdgroup->results[parity], values, sizeof(T));
}

template <class T, class Operation>
MSL_UNTRACED void msl_combine_prefixes(msl_simdgroup* simdgroup, uint parity) {
  T sum = Operation::template identity<T>();
  for (uint i = 0; i < MSL_LANES; i++) {
    if (!(simdgroup->active >> i & 1)) continue;
    sum = Operation::apply(sum, msl_slot<T>(simdgroup, parity, i));
    __builtin_memcpy(simdgroup->slots[parity][i] + MSL_SLOT_BYTES / 2, &sum, sizeof(T));
  }
}

template <class T, class Operation>
METAL_FUNC MSL_UNTRACED T msl_reduce(T value, uint site) {
  const uint parity = msl_exchange(value, &msl_combine_all<T, Operation>, site);
  T result;
  __builtin_memcpy(&result, msl_current->simdgroup->results[parity], sizeof(T));
  return result;
}

#define MSL_REDUCTION(NAME, OPERATION)            \
  template <class T>                              \
  METAL_FUNC T NAME(T value, MSL_SITE) {          \
    return msl_reduce<T, OPERATION>(value, site); \
  }
MSL_REDUCTION(simd_sum, msl_add)
MSL_REDUCTION(simd_product, msl_multiply)
MSL_REDUCTION(simd_max, msl_max)
MSL_REDUCTION(simd_min, msl_min)
MSL_REDUCTION(simd_and, msl_and)
MSL_REDUCTION(simd_or, msl_or)
MSL_REDUCTION(simd_xor, msl_xor)
#undef MSL_REDUCTION

template <class T>
METAL_FUNC MSL_UNTRACED T simd_prefix_inclusive_sum(T value, MSL_SITE) {
  const uint parity = msl_exchange(value, &msl_combine_prefixes<T, msl_add>, site);
  T result;
  __builtin_memcpy(&result, msl_current->simdgroup->slots[parity][msl_current->lane] + MSL_SLOT_BYTES / 2, sizeof(T));
  return result;
}
template <class T>
METAL_FUNC T simd_prefix_exclusive_sum(T value, MSL_SITE) {
  return simd_prefix_inclusive_sum(value, site) - value;
}

// The value of lane `source`. A lane that takes no part has none: Metal leaves the result undefined, here it is an
// error.
template <class T>
METAL_FUNC MSL_UNTRACED T msl_from_lane(T value, uint source, uint site) {
  const uint parity = msl_exchange(value, nullptr, site);
  const msl_simdgroup* simdgroup = msl_current->simdgroup;
  if (source < MSL_LANES && (simdgroup->active >> source & 1)) return msl_slot<T>(simdgroup, parity, source);
  msl_absent_lane(source, site);
  return value;
}
template <class T>
METAL_FUNC T simd_shuffle(T value, ushort lane, MSL_SITE) {
  return msl_from_lane(value, lane, site);
}
template <class T>
METAL_FUNC T simd_broadcast(T value, ushort lane, MSL_SITE) {
  return msl_from_lane(value, lane, site);
}
template <class T>
METAL_FUNC T simd_broadcast_first(T value, MSL_SITE) {
  return msl_from_lane(value, 0, site);
}
template <class T>
METAL_FUNC T simd_shuffle_xor(T value, ushort mask, MSL_SITE) {
  return msl_from_lane(value, msl_current->lane ^ mask, site);
}
// Lanes whose source lies outside the simdgroup keep their own value.
template <class T>
METAL_FUNC T simd_shuffle_down(T value, ushort delta, MSL_SITE) {
  const uint lane = msl_current->lane;
  return msl_from_lane(value, lane + delta < msl_current->simdgroup->width ? lane + delta : lane, site);
}
template <class T>
METAL_FUNC T simd_shuffle_up(T value, ushort delta, MSL_SITE) {
  const uint lane = msl_current->lane;
  return msl_from_lane(value, lane >= delta ? lane - delta : lane, site);
}
template <class T>
METAL_FUNC T simd_shuffle_and_fill_up(T value, T filling, ushort delta, MSL_SITE) {
  const uint lane = msl_current->lane;
  const T shifted = msl_from_lane(value, lane >= delta ? lane - delta : lane, site);
  const T filled = msl_from_lane(filling, (lane - delta) % MSL_LANES, site);
  return lane >= delta ? shifted : filled;
}
template <class T>
METAL_FUNC T simd_shuffle_and_fill_down(T value, T filling, ushort delta, MSL_SITE) {
  const uint lane = msl_current->lane + delta;
  const T shifted = msl_from_lane(value, lane < MSL_LANES ? lane : MSL_LANES - 1, site);
  const T filled = msl_from_lane(filling, lane % MSL_LANES, site);
  return lane < MSL_LANES ? shifted : filled;
}

METAL_FUNC bool simd_any(bool condition, MSL_SITE) { return msl_reduce<uint, msl_or>(condition, site); }
METAL_FUNC bool simd_all(bool condition, MSL_SITE) { return msl_reduce<uint, msl_and>(condition, site); }
METAL_FUNC bool simd_is_first() { return msl_current->lane == 0; }

struct simd_vote {
  ulong lanes;
  explicit operator ulong() const { return lanes; }
  bool all() const { return lanes == 0xffffffff; }
  bool any() const { return lanes != 0; }
};
METAL_FUNC simd_vote simd_ballot(bool condition, MSL_SITE) {
  return simd_vote{msl_reduce<uint, msl_or>(condition ? 1u << msl_current->lane : 0u, site)};
}

// The four lanes of a quadgroup: by exchanges within the simdgroup, all of whose lanes must take part here.
#define MSL_QUAD_REDUCTION(NAME, OPERATION)                                             \
  template <class T>                                                                    \
  METAL_FUNC T NAME(T value, MSL_SITE) {                                                \
    value = OPERATION::apply(value, msl_from_lane(value, msl_current->lane ^ 1, site)); \
    return OPERATION::apply(value, msl_from_lane(value, msl_current->lane ^ 2, site));  \
  }
MSL_QUAD_REDUCTION(quad_sum, msl_add)
MSL_QUAD_REDUCTION(quad_max, msl_max)
MSL_QUAD_REDUCTION(quad_min, msl_min)
#undef MSL_QUAD_REDUCTION
template <class T>
METAL_FUNC T quad_shuffle_xor(T value, ushort mask, MSL_SITE) {
  return msl_from_lane(value, msl_current->lane ^ (mask & 3), site);
}
template <class T>
METAL_FUNC T quad_broadcast(T value, ushort lane, MSL_SITE) {
  return msl_from_lane(value, msl_current->lane / 4 * 4 + lane, site);
}
template <class T>
METAL_FUNC T quad_shuffle(T value, ushort lane, MSL_SITE) {
  return msl_from_lane(value, msl_current->lane / 4 * 4 + lane, site);
}

}  // namespace metal
