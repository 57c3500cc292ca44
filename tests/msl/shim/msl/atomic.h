// <metal_atomic>: relaxed atomics on device and threadgroup memory. Sequentially consistent here.
#pragma once
#pragma clang system_header

namespace metal {

enum memory_order { memory_order_relaxed };

template <class T>
struct atomic {
  T value;
};
using atomic_int = atomic<int>;
using atomic_uint = atomic<uint>;
using atomic_float = atomic<float>;
using atomic_bool = atomic<bool>;

#define MSL_FETCH(SPACE, NAME, NEW_VALUE)                                                                         \
  template <class T, class U>                                                                                     \
  METAL_FUNC T atomic_fetch_##NAME##_explicit(volatile SPACE atomic<T>* object, U operand, memory_order) {        \
    const T u = T(operand);                                                                                       \
    T old, replacement;                                                                                           \
    __atomic_load((volatile T*)&object->value, &old, __ATOMIC_RELAXED);                                           \
    do {                                                                                                          \
      replacement = T(NEW_VALUE);                                                                                 \
    } while (!__atomic_compare_exchange((volatile T*)&object->value, &old, &replacement, false, __ATOMIC_RELAXED, \
                                        __ATOMIC_RELAXED));                                                       \
    return old;                                                                                                   \
  }

#define MSL_ATOMICS(SPACE)                                                                                        \
  template <class T>                                                                                              \
  METAL_FUNC T atomic_load_explicit(const volatile SPACE atomic<T>* object, memory_order) {                       \
    T value;                                                                                                      \
    __atomic_load((const volatile T*)&object->value, &value, __ATOMIC_RELAXED);                                   \
    return value;                                                                                                 \
  }                                                                                                               \
  template <class T, class U>                                                                                     \
  METAL_FUNC void atomic_store_explicit(volatile SPACE atomic<T>* object, U desired, memory_order) {              \
    T value = T(desired);                                                                                         \
    __atomic_store((volatile T*)&object->value, &value, __ATOMIC_RELAXED);                                        \
  }                                                                                                               \
  template <class T, class U>                                                                                     \
  METAL_FUNC T atomic_exchange_explicit(volatile SPACE atomic<T>* object, U desired, memory_order) {              \
    T value = T(desired), old;                                                                                    \
    __atomic_exchange((volatile T*)&object->value, &value, &old, __ATOMIC_RELAXED);                               \
    return old;                                                                                                   \
  }                                                                                                               \
  template <class T, class U>                                                                                     \
  METAL_FUNC bool atomic_compare_exchange_weak_explicit(volatile SPACE atomic<T>* object, T* expected, U desired, \
                                                        memory_order, memory_order) {                             \
    T value = T(desired);                                                                                         \
    return __atomic_compare_exchange((volatile T*)&object->value, expected, &value, true, __ATOMIC_RELAXED,       \
                                     __ATOMIC_RELAXED);                                                           \
  }                                                                                                               \
  MSL_FETCH(SPACE, add, old + u)                                                                                  \
  MSL_FETCH(SPACE, sub, old - u)                                                                                  \
  MSL_FETCH(SPACE, max, metal::max(old, u))                                                                       \
  MSL_FETCH(SPACE, min, metal::min(old, u))                                                                       \
  MSL_FETCH(SPACE, and, old& u)                                                                                   \
  MSL_FETCH(SPACE, or, old | u)                                                                                   \
  MSL_FETCH(SPACE, xor, old ^ u)
MSL_ATOMICS(device)
MSL_ATOMICS(threadgroup)
#undef MSL_ATOMICS
#undef MSL_FETCH

METAL_FUNC void atomic_thread_fence(mem_flags, memory_order) {}

}  // namespace metal
