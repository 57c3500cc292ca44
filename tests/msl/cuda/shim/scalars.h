// Scalar types, traits, 16-bit floats, limits.
#pragma once

#define __METAL_VERSION__ 320

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
typedef signed char int8_t;
typedef short int16_t;
typedef int int32_t;
typedef long int64_t;
typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long uint64_t;

#undef INFINITY
#undef NAN
#define INFINITY __builtin_bit_cast(float, 0x7f800000)
#define NAN __builtin_bit_cast(float, 0x7fffffff)
#define FLT_MAX 3.402823466e38f
#define FLT_MIN 1.175494351e-38f

namespace metal {

template <class A, class B>
struct is_same {
  static constexpr bool value = false;
};
template <class A>
struct is_same<A, A> {
  static constexpr bool value = true;
};
template <class A, class B>
constexpr bool is_same_v = is_same<A, B>::value;
template <class T, T v>
struct integral_constant {
  static constexpr T value = v;
};
template <bool B>
using bool_constant = integral_constant<bool, B>;
template <class T>
using is_integral = bool_constant<is_same_v<T, int> || is_same_v<T, uint> || is_same_v<T, long> || is_same_v<T, ulong>>;
template <class T>
struct remove_cv {
  typedef T type;
};
template <class T>
struct remove_cv<const T> : remove_cv<T> {};
template <class T>
using remove_cv_t = typename remove_cv<T>::type;
template <class T>
using remove_addrspace_t = T;
template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  typedef T type;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;
template <bool B, class Then, class Else>
struct conditional {
  typedef Then type;
};
template <class Then, class Else>
struct conditional<false, Then, Else> {
  typedef Else type;
};
template <bool B, class Then, class Else>
using conditional_t = typename conditional<B, Then, Else>::type;

template <class To, class From>
METAL_FUNC To as_type(From from) {
  static_assert(sizeof(To) == sizeof(From), "as_type keeps the size");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

// A 16-bit float: each operation is rounded to it. Like Metal's, half is made of a float implicitly and bfloat only by a
// cast.
struct msl_bits {};
#define MSL_FLOAT16(NAME, TO_FLOAT, FROM_FLOAT, OPERATION, EXPLICIT)                                 \
  struct NAME {                                                                                      \
    unsigned short bits;                                                                             \
    NAME() = default;                                                                                \
    constexpr NAME(msl_bits, unsigned short bits) : bits(bits) {}                                    \
    METAL_FUNC EXPLICIT NAME(float x) : bits(FROM_FLOAT(x)) {}                                       \
    METAL_FUNC explicit NAME(int x) : bits(FROM_FLOAT(float(x))) {}                                  \
    METAL_FUNC explicit NAME(uint x) : bits(FROM_FLOAT(float(x))) {}                                 \
    METAL_FUNC operator float() const { return TO_FLOAT(bits); }                                     \
    constexpr NAME operator-() const { return NAME(msl_bits{}, bits ^ 0x8000); }                     \
  };                                                                                                 \
  MSL_FLOAT16_OPERATOR(NAME, +, OPERATION(add, +))                                      \
  MSL_FLOAT16_OPERATOR(NAME, -, OPERATION(sub, -))                                      \
  MSL_FLOAT16_OPERATOR(NAME, *, OPERATION(mul, *))                                      \
  MSL_FLOAT16_OPERATOR(NAME, /, FROM_FLOAT(float(a) / float(b)))                                     \
  METAL_FUNC NAME& operator+=(NAME& a, NAME b) { return a = a + b; }                                 \
  METAL_FUNC NAME& operator*=(NAME& a, NAME b) { return a = a * b; }
// For two of the one type alone: with any other type both are float.
#define MSL_FLOAT16_OPERATOR(NAME, OP, BITS)                                                         \
  template <class A, class B>                                                                        \
  METAL_FUNC enable_if_t<is_same_v<A, NAME> && is_same_v<B, NAME>, NAME> operator OP(A a, B b) {     \
    return NAME(msl_bits{}, BITS);                                                                   \
  }
#define MSL_BY_HALF(NAME, OP) msl_half_##NAME(a.bits, b.bits)
#define MSL_BY_FLOAT(NAME, OP) msl_float_to_bfloat(msl_bfloat_to_float(a.bits) OP msl_bfloat_to_float(b.bits))
MSL_FLOAT16(half, msl_half_to_float, msl_float_to_half, MSL_BY_HALF, )
MSL_FLOAT16(bfloat, msl_bfloat_to_float, msl_float_to_bfloat, MSL_BY_FLOAT, explicit)
#undef MSL_FLOAT16
#undef MSL_FLOAT16_OPERATOR

template <class T>
struct numeric_limits {
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr T max() { return T(is_signed ? ~(1ull << (8 * sizeof(T) - 1)) : ~0ull); }
  static constexpr T min() { return T(is_signed ? 1ull << (8 * sizeof(T) - 1) : 0ull); }
};
#define MSL_LIMITS(T, MAX, INF, NOT_A_NUMBER)            \
  template <>                                            \
  struct numeric_limits<T> {                             \
    static constexpr T max() { return MAX; }             \
    static constexpr T lowest() { return -MAX; }         \
    static constexpr T infinity() { return INF; }        \
    static constexpr T quiet_NaN() { return NOT_A_NUMBER; } \
  };
MSL_LIMITS(float, FLT_MAX, INFINITY, NAN)
MSL_LIMITS(half, half(msl_bits{}, 0x7bff), half(msl_bits{}, 0x7c00), half(msl_bits{}, 0x7e00))
MSL_LIMITS(bfloat, bfloat(msl_bits{}, 0x7f7f), bfloat(msl_bits{}, 0x7f80), bfloat(msl_bits{}, 0x7fc0))
#undef MSL_LIMITS

}  // namespace metal
