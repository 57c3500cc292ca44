// Arithmetic. Templates all: where CUDA has a function of the same name and type, text that names no namespace takes that.
#pragma once

namespace metal {

template <class T>
METAL_FUNC T max(T a, T b) {
  if constexpr (is_same_v<T, float>)
    return fmaxf(a, b);  // of a NaN and a number, the number
  else
    return a < b ? b : a;
}
template <class T>
METAL_FUNC T min(T a, T b) {
  if constexpr (is_same_v<T, float>)
    return fminf(a, b);
  else
    return b < a ? b : a;
}
template <class T>
METAL_FUNC T fma(T a, T b, T c) {
  return T(fmaf(float(a), float(b), float(c)));
}
template <class T>
METAL_FUNC T clamp(T x, T low, T high) {
  return metal::min(metal::max(x, low), high);
}
template <class T>
METAL_FUNC T select(T otherwise, T chosen, bool condition) {
  return condition ? chosen : otherwise;
}
template <class T>
METAL_FUNC T popcount(T x) {
  return msl_popcount(x);
}
template <class T>
METAL_FUNC T ctz(T x) {
  return x ? msl_popcount((x & -x) - 1) : 32;
}
#define MSL_UNARY(NAME, FUNCTION)     \
  template <class T>                  \
  METAL_FUNC T NAME(T x) {            \
    return T(FUNCTION(float(x)));     \
  }
MSL_UNARY(exp, expf)
MSL_UNARY(rsqrt, msl_rsqrt)
namespace fast {
template <class T>
METAL_FUNC T exp2(T x) {
  return T(msl_fast_exp2(float(x)));
}
template <class T>
METAL_FUNC T exp(T x) {
  return T(msl_fast_exp2(float(x) * 1.44269504f));
}
}  // namespace fast

// What MLX's headers name and no kernel that is run here calls.
MSL_UNARY(abs, fabsf)
MSL_UNARY(fabs, fabsf)
MSL_UNARY(sqrt, sqrtf)
MSL_UNARY(log, logf)
MSL_UNARY(log2, log2f)
MSL_UNARY(round, roundf)
namespace precise {
MSL_UNARY(exp, expf)
MSL_UNARY(sqrt, sqrtf)
}  // namespace precise
template <class T>
METAL_FUNC T fmax(T a, T b) {
  return metal::max(a, b);
}
template <class T>
METAL_FUNC T fmin(T a, T b) {
  return metal::min(a, b);
}
METAL_FUNC float atan2(float y, float x) { return atan2f(y, x); }
METAL_FUNC bool isnan(float x) { return x != x; }
METAL_FUNC bool isinf(float x) { return fabsf(x) == INFINITY; }
METAL_FUNC bool isfinite(float x) { return fabsf(x) < INFINITY; }
METAL_FUNC bool signbit(float x) { return as_type<uint>(x) >> 31; }
template <class T>
using uniform = T;  // a value that all threads share
template <class T>
METAL_FUNC constexpr T make_uniform(T x) {
  return x;
}
#undef MSL_UNARY

}  // namespace metal
