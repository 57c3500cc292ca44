// Vector constructors: clang has none for its extended vectors, so float4(a, b.xy, c) is spelt by a macro.
#pragma once
#pragma clang system_header

template <class V, int I, class A, class... Rest>
METAL_FUNC constexpr void msl_fill(V& v, A a, Rest... rest) {
  using E = typename msl_vector<V>::element;
  constexpr int size = msl_vector<A>::size;
  if constexpr (size == 0)
    v[I] = E(a);
  else
    for (int i = 0; i < size; i++) v[I + i] = E(a[i]);
  if constexpr (sizeof...(Rest) > 0) msl_fill<V, I + (size ? size : 1)>(v, rest...);
}

template <class A>
constexpr int msl_components = msl_vector<A>::size ? msl_vector<A>::size : 1;

template <class V>
METAL_FUNC constexpr V msl_make() {
  return V{};
}

template <class V, class A>
METAL_FUNC constexpr V msl_make(A a) {
  if constexpr (msl_vector<A>::size == 0) {
    return V(typename msl_vector<V>::element(a));
  } else {
    static_assert(msl_vector<A>::size == msl_vector<V>::size, "a vector is made of one with as many components");
    return __builtin_convertvector(a, V);
  }
}

template <class V, class A, class B, class... Rest>
METAL_FUNC constexpr V msl_make(A a, B b, Rest... rest) {
  static_assert(msl_components<A> + msl_components<B> + (0 + ... + msl_components<Rest>) == msl_vector<V>::size,
                "a vector is made of as many components as it has");
  V v{};
  msl_fill<V, 0>(v, a, b, rest...);
  return v;
}

namespace metal {
using ::msl_make;
using ::vec;
}  // namespace metal

#define bool2(...) msl_make<bool2>(__VA_ARGS__)
#define bool3(...) msl_make<bool3>(__VA_ARGS__)
#define bool4(...) msl_make<bool4>(__VA_ARGS__)
#define char2(...) msl_make<char2>(__VA_ARGS__)
#define char3(...) msl_make<char3>(__VA_ARGS__)
#define char4(...) msl_make<char4>(__VA_ARGS__)
#define uchar2(...) msl_make<uchar2>(__VA_ARGS__)
#define uchar3(...) msl_make<uchar3>(__VA_ARGS__)
#define uchar4(...) msl_make<uchar4>(__VA_ARGS__)
#define short2(...) msl_make<short2>(__VA_ARGS__)
#define short3(...) msl_make<short3>(__VA_ARGS__)
#define short4(...) msl_make<short4>(__VA_ARGS__)
#define ushort2(...) msl_make<ushort2>(__VA_ARGS__)
#define ushort3(...) msl_make<ushort3>(__VA_ARGS__)
#define ushort4(...) msl_make<ushort4>(__VA_ARGS__)
#define int2(...) msl_make<int2>(__VA_ARGS__)
#define int3(...) msl_make<int3>(__VA_ARGS__)
#define int4(...) msl_make<int4>(__VA_ARGS__)
#define uint2(...) msl_make<uint2>(__VA_ARGS__)
#define uint3(...) msl_make<uint3>(__VA_ARGS__)
#define uint4(...) msl_make<uint4>(__VA_ARGS__)
#define long2(...) msl_make<long2>(__VA_ARGS__)
#define long3(...) msl_make<long3>(__VA_ARGS__)
#define long4(...) msl_make<long4>(__VA_ARGS__)
#define ulong2(...) msl_make<ulong2>(__VA_ARGS__)
#define ulong3(...) msl_make<ulong3>(__VA_ARGS__)
#define ulong4(...) msl_make<ulong4>(__VA_ARGS__)
#define half2(...) msl_make<half2>(__VA_ARGS__)
#define half3(...) msl_make<half3>(__VA_ARGS__)
#define half4(...) msl_make<half4>(__VA_ARGS__)
#define bfloat2(...) msl_make<bfloat2>(__VA_ARGS__)
#define bfloat3(...) msl_make<bfloat3>(__VA_ARGS__)
#define bfloat4(...) msl_make<bfloat4>(__VA_ARGS__)
#define float2(...) msl_make<float2>(__VA_ARGS__)
#define float3(...) msl_make<float3>(__VA_ARGS__)
#define float4(...) msl_make<float4>(__VA_ARGS__)
