// Metal's standard library as far as the kernels here and MLX's use it, as CUDA C++: the same kernel text then runs on an
// NVIDIA GPU. simdgroup = warp of 32, threadgroup = block, threadgroup memory = __shared__.
//
// Needs no other header. What a kernel uses and this shim lacks doesn't compile, and is added. translate.py takes out
// what a header can't define: address spaces and attributes.
//
// Differences that remain: simd operations name all 32 lanes (one that some lanes skip is undefined here, defined in
// Metal); sums over lanes take the butterfly's order (Metal doesn't say which); float denormals are flushed by an option
// of the compiler, as on Apple's GPUs; contraction to fma, exp and division are NVIDIA's.
#pragma once

#include "primitives.h"
#include "scalars.h"
#include "vectors.h"
#include "functions.h"
#include "simdgroup.h"

// ---------------------------------------------------------------------------------------------- what text finds by itself

using namespace metal;
typedef half float16_t;
typedef bfloat bfloat16_t;

// A buffer as an argument of whatever pointer or reference type the kernel's parameter has.
struct msl_argument {
  void* pointer;
  template <class T>
  METAL_FUNC operator T*() const {
    return static_cast<T*>(pointer);
  }
  template <class T>
  METAL_FUNC operator T&() const {
    return *static_cast<T*>(pointer);
  }
};

// A thread attribute as the type of the parameter.
template <class T>
METAL_FUNC T msl_attribute(uint3 a) {
  if constexpr (is_same_v<T, uint3>)
    return a;
  else if constexpr (is_same_v<T, uint2>)
    return T(a.x, a.y);
  else
    return T(a.x);
}
template <class T>
METAL_FUNC T msl_attribute(uint a) {
  return T(a);
}
#define MSL_3(PLACE) uint3(PLACE(x), PLACE(y), PLACE(z))
METAL_FUNC uint3 msl_position_in_grid() {
  return MSL_3(MSL_BLOCK) * MSL_3(MSL_THREADS) + MSL_3(MSL_THREAD);
}
