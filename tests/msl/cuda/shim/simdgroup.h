// Barriers, and operations over the lanes of a simdgroup.
#pragma once

namespace metal {

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2 };
METAL_FUNC void threadgroup_barrier(mem_flags) { msl_barrier_of_block(); }
METAL_FUNC void simdgroup_barrier(mem_flags) { msl_barrier_of_warp(); }

#define MSL_MOVE(NAME, PRIMITIVE)                                                                   \
  template <class T>                                                                                \
  METAL_FUNC T NAME(T value, ushort which) {                                                        \
    uint words[(sizeof(T) + 3) / 4] = {};                                                           \
    memcpy(words, &value, sizeof(T));                                                               \
    for (int i = 0; i < int((sizeof(T) + 3) / 4); ++i) words[i] = PRIMITIVE(words[i], which);       \
    memcpy(&value, words, sizeof(T));                                                               \
    return value;                                                                                   \
  }
MSL_MOVE(simd_shuffle, msl_shuffle)
MSL_MOVE(simd_broadcast, msl_shuffle)
MSL_MOVE(simd_shuffle_xor, msl_shuffle_xor)
MSL_MOVE(simd_shuffle_down, msl_shuffle_down)
MSL_MOVE(simd_shuffle_up, msl_shuffle_up)
#undef MSL_MOVE
template <class T>
METAL_FUNC T quad_sum(T value) {
  value = value + simd_shuffle_xor(value, 1);
  return value + simd_shuffle_xor(value, 2);
}
template <class T>
METAL_FUNC T simd_prefix_inclusive_sum(T value) {
  for (ushort by = 1; by < 32; by *= 2) {
    const T other = simd_shuffle_up(value, by);
    if (msl_index() % 32 >= by) value = value + other;
  }
  return value;
}
template <class T>
METAL_FUNC T simd_shuffle_and_fill_up(T value, T filling, ushort by) {
  const uint lane = msl_index() % 32;
  const T moved = simd_shuffle_up(value, by), filled = simd_shuffle(filling, (lane - by) % 32);
  return lane >= by ? moved : filled;
}

// Halving trees, as in the bench on the CPU: lane i first meets lane i + 16. Every lane gets the same bits.
template <class T>
METAL_FUNC T simd_sum(T value) {
#pragma unroll
  for (ushort mask = 16; mask > 0; mask /= 2) value = value + simd_shuffle_xor(value, mask);
  return value;
}
template <class T>
METAL_FUNC T simd_max(T value) {
#pragma unroll
  for (ushort mask = 16; mask > 0; mask /= 2) value = metal::max(value, simd_shuffle_xor(value, mask));
  return value;
}
template <class T>
METAL_FUNC T simd_min(T value) {
#pragma unroll
  for (ushort mask = 16; mask > 0; mask /= 2) value = metal::min(value, simd_shuffle_xor(value, mask));
  return value;
}

// Of a type that MLX's headers name and no kernel here makes.
template <class T, int ROWS, int COLUMNS>
struct simdgroup_matrix;

}  // namespace metal
