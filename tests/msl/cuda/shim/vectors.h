// Vectors, under names of their own: CUDA has global types of Metal's names, so text gets these by macros.
#pragma once

namespace metal {

template <class T, int N>
struct vec;

#define MSL_COMPOUND(OP)                                                       \
  METAL_FUNC vec& operator OP##=(const vec& b) { return *this = *this OP b; }
#define MSL_VEC_COMMON(N)                                                      \
  vec() = default;                                                             \
  METAL_FUNC explicit constexpr vec(T all) { for (int i = 0; i < N; ++i) (&x)[i] = all; } \
  template <class U>                                                           \
  METAL_FUNC explicit vec(const vec<U, N>& v) { for (int i = 0; i < N; ++i) (&x)[i] = T(v[i]); } \
  METAL_FUNC T& operator[](int i) { return (&x)[i]; }                          \
  METAL_FUNC const T& operator[](int i) const { return (&x)[i]; }              \
  MSL_COMPOUND(+) MSL_COMPOUND(-) MSL_COMPOUND(*)

template <class T>
struct alignas(2 * sizeof(T)) vec<T, 2> {
  T x, y;
  METAL_FUNC vec(T x, T y) : x(x), y(y) {}
  MSL_VEC_COMMON(2)
};
template <class T>
struct alignas(4 * sizeof(T)) vec<T, 3> {
  T x, y, z;
  METAL_FUNC vec(T x, T y, T z) : x(x), y(y), z(z) {}
  MSL_VEC_COMMON(3)
};
template <class T>
struct alignas(4 * sizeof(T)) vec<T, 4> {
  T x, y, z, w;
  METAL_FUNC vec(T x, T y, T z, T w) : x(x), y(y), z(z), w(w) {}
  MSL_VEC_COMMON(4)
};
#undef MSL_VEC_COMMON
#undef MSL_COMPOUND

#define MSL_BINARY(OP)                                                         \
  template <class T, int N>                                                    \
  METAL_FUNC vec<T, N> operator OP(const vec<T, N>& a, const vec<T, N>& b) {   \
    vec<T, N> r;                                                               \
    for (int i = 0; i < N; ++i) r[i] = a[i] OP b[i];                           \
    return r;                                                                  \
  }                                                                            \
  template <class T, int N>                                                    \
  METAL_FUNC vec<T, N> operator OP(const vec<T, N>& a, T b) {                  \
    return a OP vec<T, N>(b);                                                  \
  }                                                                            \
  template <class T, int N>                                                    \
  METAL_FUNC vec<T, N> operator OP(T a, const vec<T, N>& b) {                  \
    return vec<T, N>(a) OP b;                                                  \
  }
MSL_BINARY(+)
MSL_BINARY(-)
MSL_BINARY(*)
MSL_BINARY(/)
#undef MSL_BINARY

#define MSL_VECTORS(T) typedef vec<T, 2> mslv_##T##2; typedef vec<T, 3> mslv_##T##3; typedef vec<T, 4> mslv_##T##4;
MSL_VECTORS(float)
MSL_VECTORS(half)
MSL_VECTORS(bfloat)
MSL_VECTORS(int)
MSL_VECTORS(uint)
MSL_VECTORS(uchar)
MSL_VECTORS(ushort)
MSL_VECTORS(ulong)
MSL_VECTORS(short)
#undef MSL_VECTORS

// Aligned as one element is.
struct packed_uint2 {
  uint x, y;
  METAL_FUNC operator vec<uint, 2>() const { return vec<uint, 2>(x, y); }
};
struct packed_uint4 {
  uint x, y, z, w;
  METAL_FUNC operator vec<uint, 4>() const { return vec<uint, 4>(x, y, z, w); }
};

}  // namespace metal

#define float2 mslv_float2
#define float3 mslv_float3
#define float4 mslv_float4
#define half2 mslv_half2
#define half4 mslv_half4
#define bfloat2 mslv_bfloat2
#define bfloat4 mslv_bfloat4
#define int2 mslv_int2
#define int3 mslv_int3
#define int4 mslv_int4
#define uint2 mslv_uint2
#define uint3 mslv_uint3
#define uint4 mslv_uint4
#define uchar2 mslv_uchar2
#define uchar4 mslv_uchar4
#define ushort2 mslv_ushort2
#define ushort4 mslv_ushort4
#define short2 mslv_short2
#define short4 mslv_short4
#define ulong2 mslv_ulong2
#define ulong3 mslv_ulong3
