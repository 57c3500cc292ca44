// The type traits and numeric limits of <metal_type_traits> and <metal_limits>.
#pragma once
#pragma clang system_header

// Number of elements and element type of a vector; 0 elements for a scalar.
template <class T>
struct msl_vector {
  using element = T;
  static constexpr int size = 0;
};
template <class T, int N>
struct msl_vector<T __attribute__((ext_vector_type(N)))> {
  using element = T;
  static constexpr int size = N;
};

namespace metal {

template <class T, T v>
struct integral_constant {
  using value_type = T;
  static constexpr T value = v;
  constexpr operator T() const { return v; }
};
using true_type = integral_constant<bool, true>;
using false_type = integral_constant<bool, false>;
template <bool B>
using bool_constant = integral_constant<bool, B>;

template <bool B, class T = void>
struct enable_if {};
template <class T>
struct enable_if<true, T> {
  using type = T;
};
template <bool B, class T = void>
using enable_if_t = typename enable_if<B, T>::type;

template <bool B, class Then, class Else>
struct conditional {
  using type = Then;
};
template <class Then, class Else>
struct conditional<false, Then, Else> {
  using type = Else;
};
template <bool B, class Then, class Else>
using conditional_t = typename conditional<B, Then, Else>::type;

template <class A, class B>
struct is_same : false_type {};
template <class A>
struct is_same<A, A> : true_type {};
template <class A, class B>
constexpr bool is_same_v = is_same<A, B>::value;

template <class T>
struct is_floating_point : bool_constant<is_same_v<T, float> || is_same_v<T, half> || is_same_v<T, bfloat>> {};
template <class T>
constexpr bool is_floating_point_v = is_floating_point<T>::value;
template <class T>
struct is_integral : bool_constant<__is_integral(T)> {};
template <class T>
constexpr bool is_integral_v = __is_integral(T);
template <class T>
struct is_signed : bool_constant<__is_signed(T)> {};
template <class T>
struct is_unsigned : bool_constant<__is_unsigned(T)> {};
template <class From, class To>
struct is_convertible : bool_constant<__is_convertible(From, To)> {};
template <class From, class To>
constexpr bool is_convertible_v = __is_convertible(From, To);

// One chain takes off references, const, volatile and the address space.
template <class T>
struct msl_bare {
  using type = T;
};
template <class T>
struct msl_bare<const T> : msl_bare<T> {};
template <class T>
struct msl_bare<volatile T> : msl_bare<T> {};
template <class T>
struct msl_bare<T&> : msl_bare<T> {};
template <class T>
struct msl_bare<T&&> : msl_bare<T> {};
template <class T>
struct msl_bare<device T> : msl_bare<T> {};
template <class T>
struct msl_bare<threadgroup T> : msl_bare<T> {};
template <class T>
struct msl_bare<T __attribute__((opencl_constant))> : msl_bare<T> {};
template <class T>
struct remove_reference : msl_bare<T> {};
template <class T>
using remove_reference_t = typename msl_bare<T>::type;
template <class T>
using remove_cv_t = typename msl_bare<T>::type;
template <class T>
using remove_addrspace_t = typename msl_bare<T>::type;
template <class T>
T declval();

template <class T>
struct numeric_limits {
  static constexpr bool is_signed = __is_signed(T);
  static constexpr T max() { return T(is_signed ? ~(T(1) << (8 * sizeof(T) - 1)) : ~T(0)); }
  static constexpr T min() { return T(is_signed ? T(1) << (8 * sizeof(T) - 1) : T(0)); }
  static constexpr T lowest() { return min(); }
};

#define MSL_FLOAT_LIMITS(T, MAX, MIN, EPSILON)            \
  template <>                                             \
  struct numeric_limits<T> {                              \
    static constexpr T max() { return T(MAX); }           \
    static constexpr T lowest() { return T(-MAX); }       \
    static constexpr T min() { return T(MIN); }           \
    static constexpr T epsilon() { return T(EPSILON); }   \
    static constexpr T infinity() { return T(INFINITY); } \
    static constexpr T quiet_NaN() { return T(NAN); }     \
  };
MSL_FLOAT_LIMITS(float, FLT_MAX, FLT_MIN, FLT_EPSILON)
MSL_FLOAT_LIMITS(half, 65504.0f, 6.103515625e-05f, 0.0009765625f)
MSL_FLOAT_LIMITS(bfloat, 3.3895314e38f, FLT_MIN, 0.0078125f)
#undef MSL_FLOAT_LIMITS

}  // namespace metal
