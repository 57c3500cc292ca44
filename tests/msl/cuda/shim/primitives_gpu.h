// All of the shim that is not C++, for an NVIDIA GPU. primitives_cpu.h has the same for the bench on the CPU.
#pragma once

#define METAL_FUNC __device__ __forceinline__
#define MSL_FULL 0xffffffffu

METAL_FUNC float msl_half_to_float(unsigned short bits) {
  float x;
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
METAL_FUNC unsigned short msl_float_to_half(float x) {
  unsigned short bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
METAL_FUNC float msl_bfloat_to_float(unsigned short bits) { return __uint_as_float(unsigned(bits) << 16); }
METAL_FUNC unsigned short msl_float_to_bfloat(float x) {
  unsigned short bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(x));
  return bits;
}
// Half by the instructions for it: by float and back, MLX's kernels would take a tenth more of them, and seem slow.
#define MSL_HALF_OPERATION(NAME, PTX)                                                    \
  METAL_FUNC unsigned short msl_half_##NAME(unsigned short a, unsigned short b) {        \
    unsigned short result;                                                               \
    asm(PTX " %0, %1, %2;" : "=h"(result) : "h"(a), "h"(b));                             \
    return result;                                                                       \
  }
MSL_HALF_OPERATION(add, "add.rn.f16")
MSL_HALF_OPERATION(sub, "sub.rn.f16")
MSL_HALF_OPERATION(mul, "mul.rn.f16")
METAL_FUNC float msl_fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
METAL_FUNC float msl_rsqrt(float x) { return rsqrtf(x); }
METAL_FUNC unsigned msl_popcount(unsigned x) { return __popc(x); }
METAL_FUNC unsigned msl_shuffle(unsigned x, unsigned lane) { return __shfl_sync(MSL_FULL, x, lane); }
METAL_FUNC unsigned msl_shuffle_xor(unsigned x, unsigned mask) { return __shfl_xor_sync(MSL_FULL, x, mask); }
METAL_FUNC unsigned msl_shuffle_down(unsigned x, unsigned by) { return __shfl_down_sync(MSL_FULL, x, by); }
METAL_FUNC unsigned msl_shuffle_up(unsigned x, unsigned by) { return __shfl_up_sync(MSL_FULL, x, by); }
METAL_FUNC void msl_barrier_of_block() { __syncthreads(); }
METAL_FUNC void msl_barrier_of_warp() { __syncwarp(); }

METAL_FUNC unsigned msl_index() { return threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z); }
#define MSL_THREAD(axis) threadIdx.axis
#define MSL_BLOCK(axis) blockIdx.axis
#define MSL_THREADS(axis) blockDim.axis
#define MSL_BLOCKS(axis) gridDim.axis
