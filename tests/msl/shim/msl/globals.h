// What a kernel finds without naming a namespace, and how the entry function hands it its arguments.
#pragma once
#pragma clang system_header

namespace metal {
template <class T, class U>
METAL_FUNC constexpr T as_type(U u) {
  static_assert(sizeof(T) == sizeof(U), "as_type keeps the size");
  return __builtin_bit_cast(T, u);
}
}  // namespace metal

using namespace metal;
typedef half float16_t;
typedef bfloat bfloat16_t;

constexpr half operator""h(long double x) { return half(x); }
constexpr half operator""h(unsigned long long x) { return half(x); }
constexpr bfloat operator"" bf(long double x) { return bfloat(x); }

// What a variable in threadgroup memory has been rewritten to.
template <class T>
METAL_FUNC threadgroup T& msl_variable(uint id) {
  return *(threadgroup T*)msl_threadgroup_variable(id, sizeof(T), alignof(T));
}

// A buffer as an argument of whatever pointer or reference type the kernel's parameter has.
struct msl_argument {
  void* pointer;
  template <class T>
  operator device T*() const {
    return (device T*)pointer;
  }
  template <class T>
  operator constant T*() const {
    return (constant T*)pointer;
  }
  template <class T>
  operator device T&() const {
    return *(device T*)pointer;
  }
  template <class T>
  operator constant T&() const {
    return *(constant T*)pointer;
  }
};

// A thread attribute as the scalar or vector type of the parameter.
template <class T>
METAL_FUNC T msl_attribute(msl_uint3 a) {
  using E = typename msl_vector<T>::element;
  if constexpr (msl_vector<T>::size == 0)
    return T(a.x);
  else if constexpr (msl_vector<T>::size == 2)
    return T{E(a.x), E(a.y)};
  else
    return T{E(a.x), E(a.y), E(a.z)};
}
template <class T>
METAL_FUNC T msl_attribute(unsigned a) {
  return T(a);
}

#define double msl_metal_has_no_double
