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

// bfloat becomes float by itself; float becomes bfloat by a conversion that is written, never implicitly.
struct bfloat {
  ushort bits;
  bfloat() = default;
  bfloat(const bfloat&) = default;
  bfloat(const constant bfloat&);
  explicit bfloat(float);
  operator float() const;
  operator float() const device;
  operator float() const constant;
  operator float() const threadgroup;
  thread bfloat& operator=(const bfloat&);
  device bfloat& operator=(const bfloat&) device;
  threadgroup bfloat& operator=(const bfloat&) threadgroup;
  thread bfloat& operator=(const constant bfloat&);
  device bfloat& operator=(const constant bfloat&) device;
  threadgroup bfloat& operator=(const constant bfloat&) threadgroup;
};
typedef bfloat bfloat16_t;

#define VECTORS(T) \
  typedef T T##2 __attribute__((ext_vector_type(2))); \
  typedef T T##3 __attribute__((ext_vector_type(3))); \
  typedef T T##4 __attribute__((ext_vector_type(4))); \
  struct packed_##T##2 { T x, y; }; \
  struct packed_##T##3 { T x, y, z; }; \
  struct packed_##T##4 { T x, y, z, w; }; \
  template <> struct msl_size<T> { static constexpr constant int of = 1; }; \
  template <> struct msl_size<T##2> { static constexpr constant int of = 2; }; \
  template <> struct msl_size<T##3> { static constexpr constant int of = 3; }; \
  template <> struct msl_size<T##4> { static constexpr constant int of = 4; }; \
  template <> struct msl_packed<packed_##T##2> { typedef T##2 vector; }; \
  template <> struct msl_packed<packed_##T##3> { typedef T##3 vector; }; \
  template <> struct msl_packed<packed_##T##4> { typedef T##4 vector; };
template <typename T> struct msl_size { static constexpr constant int of = 0; };
template <typename T> struct msl_packed { typedef void vector; };
template <typename A, typename B> struct msl_same { static constexpr constant bool as = false; };
template <typename A> struct msl_same<A, A> { static constexpr constant bool as = true; };
VECTORS(float)
VECTORS(half)
VECTORS(int)
VECTORS(uint)
VECTORS(short)
VECTORS(ushort)
VECTORS(char)
VECTORS(uchar)
#undef VECTORS

// A vector from one number, from numbers and vectors that have as many components together, from a vector of another
// type with as many, or from its packed form. A packed vector has no other use here.
template <typename R, typename... A>
R msl_make(A...) {
  constexpr int components = (msl_size<A>::of + ...);
  constexpr bool from_packed = (msl_same<R, typename msl_packed<A>::vector>::as || ...);
  static_assert(
      sizeof...(A) == 1 ? components == 1 || components == msl_size<R>::of || from_packed
                        : components == msl_size<R>::of,
      "a vector of another number of components");
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

template <typename R, typename A>
R as_type(A) {
  static_assert(sizeof(R) == sizeof(A), "as_type between sizes");
  return R();
}

// Exact overloads alone: a call that mixes types is ambiguous, as it is in Metal.
#define FOR_NUMBERS(F) F(float) F(half) F(int) F(uint) F(short) F(ushort)
#define FOR_FLOATS(F) F(float) F(half)
#define OVER_NUMBERS(T) \
  T min(T, T); \
  T max(T, T); \
  T clamp(T, T, T); \
  T abs(T); \
  T simd_sum(T); \
  T simd_max(T); \
  T simd_min(T); \
  T simd_shuffle(T, ushort); \
  T simd_shuffle_xor(T, ushort); \
  T simd_shuffle_down(T, ushort); \
  T simd_shuffle_up(T, ushort); \
  T simd_broadcast(T, ushort); \
  T simd_broadcast_first(T);
#define OVER_FLOATS(T) \
  T fma(T, T, T); \
  T exp(T); \
  T exp2(T); \
  T log(T); \
  T log2(T); \
  T sqrt(T); \
  T rsqrt(T); \
  T floor(T); \
  T ceil(T);
FOR_NUMBERS(OVER_NUMBERS)
FOR_FLOATS(OVER_FLOATS)
namespace fast {
float exp(float);
float exp2(float);
float log(float);
float log2(float);
float rsqrt(float);
}
namespace precise {
float exp(float);
float exp2(float);
float log(float);
float log2(float);
float rsqrt(float);
}
#undef FOR_NUMBERS
#undef FOR_FLOATS
#undef OVER_NUMBERS
#undef OVER_FLOATS

enum class mem_flags { mem_none, mem_device, mem_threadgroup };
void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
