// Address spaces, scalar types and vector types.
#pragma once
#pragma clang system_header

#define __METAL_VERSION__ 320
#define METAL_FUNC inline __attribute__((always_inline))

// The OpenCL spellings give the same compile-time errors as address_space(N) but leave LLVM's address space 0, which
// is the only one that the sanitizers instrument. `constant` implies const.
#define device __attribute__((opencl_global))
#define threadgroup __attribute__((opencl_local))
#define constant const __attribute__((opencl_constant))
#define thread
#define kernel

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef _Float16 half;
typedef __bf16 bfloat;

typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;
typedef unsigned long size_t;
typedef long ptrdiff_t;

// What clang calls to convert a float: libgcc has had it since 13. Rounds to nearest even, and keeps a NaN a quiet one.
extern "C" __attribute__((weak, visibility("hidden"))) bfloat __truncsfbf2(float value) {
  const unsigned bits = __builtin_bit_cast(unsigned, value);
  const bool is_nan = (bits & 0x7fffffff) > 0x7f800000;
  const unsigned rounded = is_nan ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
  return __builtin_bit_cast(bfloat, (unsigned short)(rounded >> 16));
}

template <class T, int N>
using vec = T __attribute__((ext_vector_type(N)));

// Packed vectors are aligned like their elements. Those of 3 elements have no counterpart in clang and are left out.
#define MSL_VECTORS(T)                                                             \
  typedef T T##2 __attribute__((ext_vector_type(2)));                              \
  typedef T T##3 __attribute__((ext_vector_type(3)));                              \
  typedef T T##4 __attribute__((ext_vector_type(4)));                              \
  typedef T packed_##T##2 __attribute__((ext_vector_type(2), aligned(sizeof(T)))); \
  typedef T packed_##T##4 __attribute__((ext_vector_type(4), aligned(sizeof(T))));

MSL_VECTORS(bool)
MSL_VECTORS(char)
MSL_VECTORS(uchar)
MSL_VECTORS(short)
MSL_VECTORS(ushort)
MSL_VECTORS(int)
MSL_VECTORS(uint)
MSL_VECTORS(long)
MSL_VECTORS(ulong)
MSL_VECTORS(half)
MSL_VECTORS(bfloat)
MSL_VECTORS(float)
#undef MSL_VECTORS

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define FLT_MAX __FLT_MAX__
#define FLT_MIN __FLT_MIN__
#define FLT_EPSILON __FLT_EPSILON__
#define HALF_MAX half(65504.0f)
#define M_PI_F 3.14159265358979f
#define M_E_F 2.71828182845905f
#define M_LOG2E_F 1.44269504088896f
#define M_LN2_F 0.69314718055995f
#define M_SQRT2_F 1.41421356237310f
