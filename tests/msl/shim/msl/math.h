// <metal_math>, <metal_common>, <metal_integer>, <metal_relational>, <metal_geometric>: scalars and vectors.
//
// Half and bfloat functions are computed in float and rounded once. `fast::` and `precise::` are the same functions:
// nothing here says how far Apple's are off.
#pragma once
#pragma clang system_header

namespace metal {

// Applies f to each component, or to the scalar.
template <class F, class T, class... Rest>
METAL_FUNC T msl_each(F f, T x, Rest... rest) {
  if constexpr (msl_vector<T>::size == 0) {
    return f(x, rest...);
  } else {
    T result;
    for (int i = 0; i < msl_vector<T>::size; i++) result[i] = f(x[i], rest[i]...);
    return result;
  }
}

#define MSL_UNARY_IN(NAME, EXPRESSION)          \
  template <class T>                            \
  METAL_FUNC T NAME(T value) {                  \
    return msl_each(                            \
        [](auto element) {                      \
          const float x = float(element);       \
          return decltype(element)(EXPRESSION); \
        },                                      \
        value);                                 \
  }
#define MSL_UNARY(NAME, EXPRESSION) \
  MSL_UNARY_IN(NAME, EXPRESSION)    \
  namespace fast {                  \
  MSL_UNARY_IN(NAME, EXPRESSION)    \
  }                                 \
  namespace precise {               \
  MSL_UNARY_IN(NAME, EXPRESSION)    \
  }
MSL_UNARY(exp, __builtin_expf(x))
MSL_UNARY(exp2, __builtin_exp2f(x))
MSL_UNARY(exp10, __builtin_exp2f(x * 3.3219280948873623f))
MSL_UNARY(log, __builtin_logf(x))
MSL_UNARY(log2, __builtin_log2f(x))
MSL_UNARY(log10, __builtin_log10f(x))
MSL_UNARY(sqrt, __builtin_sqrtf(x))
MSL_UNARY(rsqrt, 1.0f / __builtin_sqrtf(x))
MSL_UNARY(sin, __builtin_sinf(x))
MSL_UNARY(cos, __builtin_cosf(x))
MSL_UNARY(tan, __builtin_tanf(x))
MSL_UNARY(asin, __builtin_asinf(x))
MSL_UNARY(acos, __builtin_acosf(x))
MSL_UNARY(atan, __builtin_atanf(x))
MSL_UNARY(sinh, __builtin_sinhf(x))
MSL_UNARY(cosh, __builtin_coshf(x))
MSL_UNARY(tanh, __builtin_tanhf(x))
MSL_UNARY(floor, __builtin_floorf(x))
MSL_UNARY(ceil, __builtin_ceilf(x))
MSL_UNARY(rint, __builtin_rintf(x))
MSL_UNARY(round, __builtin_roundf(x))
MSL_UNARY(trunc, __builtin_truncf(x))
#undef MSL_UNARY
#undef MSL_UNARY_IN

template <class T>
METAL_FUNC T abs(T value) {
  return msl_each([](auto x) { return decltype(x)(x < decltype(x)(0) ? -x : x); }, value);
}
template <class T>
METAL_FUNC T fabs(T value) {
  return msl_each([](auto x) { return decltype(x)(__builtin_fabsf(float(x))); }, value);
}
template <class T>
METAL_FUNC T copysign(T value, T sign) {
  return msl_each([](auto x, auto s) { return decltype(x)(__builtin_copysignf(float(x), float(s))); }, value, sign);
}
template <class T>
METAL_FUNC T sign(T value) {
  return msl_each(
      [](auto x) {
        using E = decltype(x);
        return x > E(0) ? E(1) : x < E(0) ? E(-1) : E(0);
      },
      value);
}

// Of a NaN and a number, the number.
template <class T>
METAL_FUNC T max(T a, T b) {
  return msl_each([](auto x, auto y) { return x != x ? y : y != y ? x : x < y ? y : x; }, a, b);
}
template <class T>
METAL_FUNC T min(T a, T b) {
  return msl_each([](auto x, auto y) { return x != x ? y : y != y ? x : y < x ? y : x; }, a, b);
}
template <class T>
METAL_FUNC T fmax(T a, T b) {
  return metal::max(a, b);
}
template <class T>
METAL_FUNC T fmin(T a, T b) {
  return metal::min(a, b);
}
template <class T>
METAL_FUNC T clamp(T x, T low, T high) {
  return metal::min(metal::max(x, low), high);
}
template <class T>
METAL_FUNC T saturate(T x) {
  return metal::clamp(x, T(0), T(1));
}
template <class T>
METAL_FUNC T mix(T a, T b, T t) {
  return a + (b - a) * t;
}

// One rounding, in the type of the operands.
template <class T>
METAL_FUNC T fma(T a, T b, T c) {
  return msl_each([](auto x, auto y, auto z) { return decltype(x)(__builtin_fmaf(float(x), float(y), float(z))); }, a,
                  b, c);
}
template <class T>
METAL_FUNC T pow(T a, T b) {
  return msl_each([](auto x, auto y) { return decltype(x)(__builtin_powf(float(x), float(y))); }, a, b);
}
template <class T>
METAL_FUNC T powr(T a, T b) {
  return metal::pow(a, b);
}
template <class T>
METAL_FUNC T fmod(T a, T b) {
  return msl_each([](auto x, auto y) { return decltype(x)(__builtin_fmodf(float(x), float(y))); }, a, b);
}
template <class T>
METAL_FUNC T atan2(T a, T b) {
  return msl_each([](auto x, auto y) { return decltype(x)(__builtin_atan2f(float(x), float(y))); }, a, b);
}
METAL_FUNC float ldexp(float x, int exponent) { return __builtin_ldexpf(x, exponent); }

METAL_FUNC bool isnan(float x) { return __builtin_isnan(x); }
METAL_FUNC bool isinf(float x) { return __builtin_isinf(x); }
METAL_FUNC bool isfinite(float x) { return __builtin_isfinite(x); }
METAL_FUNC bool signbit(float x) { return __builtin_signbit(x); }

template <class T, class Condition>
METAL_FUNC T select(T otherwise, T chosen, Condition condition) {
  return msl_each([](auto x, auto y, auto c) { return c ? y : x; }, otherwise, chosen, condition);
}
template <class V>
METAL_FUNC bool any(V v) {
  for (int i = 0; i < msl_vector<V>::size; i++)
    if (v[i]) return true;
  return false;
}
template <class V>
METAL_FUNC bool all(V v) {
  for (int i = 0; i < msl_vector<V>::size; i++)
    if (!v[i]) return false;
  return true;
}

template <class V>
METAL_FUNC typename msl_vector<V>::element dot(V a, V b) {
  typename msl_vector<V>::element sum = 0;
  for (int i = 0; i < msl_vector<V>::size; i++) sum += a[i] * b[i];
  return sum;
}
template <class V>
METAL_FUNC typename msl_vector<V>::element length(V v) {
  return metal::sqrt(metal::dot(v, v));
}

METAL_FUNC uint popcount(uint x) { return __builtin_popcount(x); }
METAL_FUNC uint clz(uint x) { return x ? __builtin_clz(x) : 32; }
METAL_FUNC uint ctz(uint x) { return x ? __builtin_ctz(x) : 32; }
METAL_FUNC uint extract_bits(uint x, uint offset, uint bits) {
  return bits == 0 ? 0 : (x >> offset) & (bits >= 32 ? ~0u : (1u << bits) - 1);
}
METAL_FUNC uint rotate(uint x, uint by) { return x << (by & 31) | x >> (-by & 31); }
METAL_FUNC uint mulhi(uint a, uint b) { return uint(ulong(a) * b >> 32); }
template <class T>
METAL_FUNC T mul24(T a, T b) {
  return a * b;
}
template <class T>
METAL_FUNC T mad24(T a, T b, T c) {
  return a * b + c;
}

METAL_FUNC float4 unpack_unorm4x8_to_float(uint x) {
  return float4{float(x & 255), float(x >> 8 & 255), float(x >> 16 & 255), float(x >> 24)} / 255.0f;
}

}  // namespace metal
