// All of the shim that is not C++, for the bench on the CPU, where each thread is a fibre: the same CUDA text then runs
// there. That tests the rest of the shim, not the GPU.
#pragma once

#include "msl/abi.h"

#define METAL_FUNC inline __attribute__((always_inline))
#define __shared__ static  // threadgroups run one after the other
#define __constant__

typedef unsigned long size_t;
inline void* memcpy(void* to, const void* from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
inline float fmaxf(float a, float b) { return __builtin_fmaxf(a, b); }
inline float fminf(float a, float b) { return __builtin_fminf(a, b); }
inline float fmaf(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline float fabsf(float x) { return __builtin_fabsf(x); }
inline float expf(float x) { return __builtin_expf(x); }
inline float logf(float x) { return __builtin_logf(x); }
inline float log2f(float x) { return __builtin_log2f(x); }
inline float sqrtf(float x) { return __builtin_sqrtf(x); }
inline float roundf(float x) { return __builtin_roundf(x); }
inline float atan2f(float y, float x) { return __builtin_atan2f(y, x); }

inline float msl_half_to_float(unsigned short bits) { return float(__builtin_bit_cast(_Float16, bits)); }
inline unsigned short msl_float_to_half(float x) { return __builtin_bit_cast(unsigned short, _Float16(x)); }
inline float msl_bfloat_to_float(unsigned short bits) { return __builtin_bit_cast(float, unsigned(bits) << 16); }
inline unsigned short msl_float_to_bfloat(float x) {
  const unsigned bits = __builtin_bit_cast(unsigned, x);
  return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}
#define MSL_HALF_OPERATION(NAME, OP)                                                  \
  inline unsigned short msl_half_##NAME(unsigned short a, unsigned short b) {         \
    return msl_float_to_half(msl_half_to_float(a) OP msl_half_to_float(b));           \
  }
MSL_HALF_OPERATION(add, +)
MSL_HALF_OPERATION(sub, -)
MSL_HALF_OPERATION(mul, *)
inline float msl_fast_exp2(float x) { return __builtin_exp2f(x); }
inline float msl_rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline unsigned msl_popcount(unsigned x) { return __builtin_popcount(x); }

inline unsigned msl_from(unsigned value, unsigned lane) {
  msl_simdgroup* simdgroup = msl_current->simdgroup;
  __builtin_memcpy(simdgroup->slots[simdgroup->parity][msl_current->lane], &value, sizeof value);
  const unsigned parity = msl_meet_simdgroup(nullptr, 1);
  __builtin_memcpy(&value, simdgroup->slots[parity][lane], sizeof value);
  return value;
}
inline unsigned msl_shuffle(unsigned x, unsigned lane) { return msl_from(x, lane % 32); }
inline unsigned msl_shuffle_xor(unsigned x, unsigned mask) { return msl_from(x, msl_current->lane ^ mask); }
inline unsigned msl_shuffle_down(unsigned x, unsigned by) {
  return msl_from(x, msl_current->lane + by < 32 ? msl_current->lane + by : msl_current->lane);
}
inline unsigned msl_shuffle_up(unsigned x, unsigned by) {
  return msl_from(x, msl_current->lane >= by ? msl_current->lane - by : msl_current->lane);
}
inline void msl_barrier_of_block() { msl_barrier_threadgroup(MSL_ORDERS_THREADGROUP, 2); }
inline void msl_barrier_of_warp() { msl_barrier_simdgroup(MSL_ORDERS_THREADGROUP, 3); }
inline unsigned msl_index() { return msl_current->index_in_threadgroup; }
#define MSL_THREAD(axis) msl_current->position_in_threadgroup.axis
#define MSL_BLOCK(axis) msl_current_threadgroup->position_in_grid.axis
#define MSL_THREADS(axis) msl_current_threadgroup->threads.axis
#define MSL_BLOCKS(axis) msl_current_threadgroup->threadgroups_per_grid.axis
