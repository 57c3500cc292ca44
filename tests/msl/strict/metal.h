// A stand-in for <metal_stdlib>, for clang's C++ for OpenCL with no generic address space. Nothing is ever run, so
// functions are declared alone. What is missing here is refused: add what a kernel rightly uses.
#pragma clang system_header
#pragma OPENCL EXTENSION cl_khr_fp16 : enable
#define device __global
#define constant __constant
#define threadgroup __local
#define thread __private
#define METAL_FUNC inline __attribute__((always_inline))

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef uchar uint8_t;
typedef ushort uint16_t;
typedef uint uint32_t;
typedef ulong uint64_t;
typedef ulong size_t;
typedef half float16_t;

typedef __bf16 bfloat;
typedef bfloat bfloat16_t;

// Packed vectors are vectors that ask no more of their address than one number does.
#define VECTOR(T, N) \
  typedef T T##N __attribute__((ext_vector_type(N))); \
  typedef T##N packed_##T##N __attribute__((aligned(sizeof(T)))); \
  template <> struct msl_size<T##N> { static constexpr constant int of = N; };
#define VECTORS(T) \
  template <> struct msl_size<T> { static constexpr constant int of = 1; }; \
  VECTOR(T, 2) VECTOR(T, 3) VECTOR(T, 4)
template <typename T> struct msl_size { static constexpr constant int of = 0; };
VECTORS(char)
VECTORS(uchar)
VECTORS(short)
VECTORS(ushort)
VECTORS(int)
VECTORS(uint)
VECTORS(half)
VECTORS(float)
template <> struct msl_size<bool> { static constexpr constant int of = 1; };
template <> struct msl_size<bfloat> { static constexpr constant int of = 1; };
#undef VECTOR
#undef VECTORS

// A vector from one number, from numbers and vectors that have as many components together, or from a vector of another
// type with as many.
template <typename R, typename... A>
R msl_make(A...) {
  constexpr int components = (msl_size<A>::of + ...);
  constexpr bool is_one_number = sizeof...(A) == 1 && components == 1;
  static_assert(components == msl_size<R>::of || is_one_number, "a vector of another number of components");
  return R();
}
#define float2(...) msl_make<::float2>(__VA_ARGS__)
#define float3(...) msl_make<::float3>(__VA_ARGS__)
#define float4(...) msl_make<::float4>(__VA_ARGS__)
#define half2(...) msl_make<::half2>(__VA_ARGS__)
#define half3(...) msl_make<::half3>(__VA_ARGS__)
#define half4(...) msl_make<::half4>(__VA_ARGS__)
#define int2(...) msl_make<::int2>(__VA_ARGS__)
#define int3(...) msl_make<::int3>(__VA_ARGS__)
#define int4(...) msl_make<::int4>(__VA_ARGS__)
#define uint2(...) msl_make<::uint2>(__VA_ARGS__)
#define uint3(...) msl_make<::uint3>(__VA_ARGS__)
#define uint4(...) msl_make<::uint4>(__VA_ARGS__)

#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")

namespace metal {
template <typename R, typename A>
R as_type(A) {
  static_assert(sizeof(R) == sizeof(A), "as_type between sizes");
  return R();
}

// Exact overloads alone: a call that mixes types is ambiguous, as it is in Metal.
#define NUMBERS(T) \
  T min(T, T); \
  T max(T, T); \
  T clamp(T, T, T); \
  T abs(T); \
  T simd_sum(T); \
  T simd_product(T); \
  T simd_max(T); \
  T simd_min(T); \
  T simd_prefix_inclusive_sum(T); \
  T simd_prefix_exclusive_sum(T); \
  T simd_shuffle(T, ushort); \
  T simd_shuffle_xor(T, ushort); \
  T simd_shuffle_down(T, ushort); \
  T simd_shuffle_up(T, ushort); \
  T simd_broadcast(T, ushort); \
  T simd_broadcast_first(T);
#define FLOATS(T) \
  bool isnan(T); \
  bool isinf(T); \
  bool isfinite(T); \
  T fma(T, T, T); \
  T pow(T, T); \
  T fmin(T, T); \
  T fmax(T, T); \
  T exp(T); \
  T exp2(T); \
  T log(T); \
  T log2(T); \
  T sqrt(T); \
  T rsqrt(T); \
  T sin(T); \
  T cos(T); \
  T tanh(T); \
  T fabs(T); \
  T floor(T); \
  T ceil(T); \
  T round(T); \
  T rint(T); \
  T trunc(T);
#define WHOLE_NUMBERS(T) \
  T popcount(T); \
  T clz(T); \
  T ctz(T); \
  T mulhi(T, T);
NUMBERS(float)
NUMBERS(half)
NUMBERS(bfloat)
NUMBERS(int)
NUMBERS(uint)
NUMBERS(short)
NUMBERS(ushort)
FLOATS(float)
FLOATS(half)
FLOATS(bfloat)
WHOLE_NUMBERS(int)
WHOLE_NUMBERS(uint)
#define FAST_AND_PRECISE \
  float pow(float, float); \
  float exp(float); \
  float exp2(float); \
  float log(float); \
  float log2(float); \
  float rsqrt(float); \
  float sin(float); \
  float cos(float); \
  float tanh(float);
namespace fast {
FAST_AND_PRECISE
}
namespace precise {
FAST_AND_PRECISE
}
#undef NUMBERS
#undef FLOATS
#undef WHOLE_NUMBERS
#undef FAST_AND_PRECISE

bool simd_any(bool);
bool simd_all(bool);
bool simd_is_first();

enum class mem_flags { mem_none, mem_device, mem_threadgroup };
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
}
using namespace metal;
