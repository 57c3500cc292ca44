// The functions that clang calls for -fsanitize=thread and -fsanitize=undefined, with our own meaning: every access to
// memory is noted and nothing else happens.
#include "hooks.h"

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "findings.h"

#define CALLER __builtin_return_address(0)

// An access that clang knows to be unaligned is one through a packed type, which is aligned like its elements: of those
// with 16 bytes the smallest elements have 4, of those with 8 bytes 2.
static unsigned packed_alignment(unsigned bytes) { return bytes == 16 ? 4 : bytes == 8 ? 2 : 1; }

static void note_range(const void* address, size_t bytes, AccessKind kind, const void* code) {
  auto at = static_cast<const char*>(address);
  for (size_t done = 0; done < bytes;) {
    const unsigned step = bytes - done >= 16 ? 16 : 1;
    note(at + done, step, 1, kind, code);
    done += step;
  }
}

#define PLAIN_HOOKS(BYTES)                                                                                           \
  void __tsan_read##BYTES(void* p) { note(p, BYTES, BYTES, AccessKind::kRead, CALLER); }                             \
  void __tsan_write##BYTES(void* p) { note(p, BYTES, BYTES, AccessKind::kWrite, CALLER); }                           \
  void __tsan_unaligned_read##BYTES(void* p) { note(p, BYTES, packed_alignment(BYTES), AccessKind::kRead, CALLER); } \
  void __tsan_unaligned_write##BYTES(void* p) { note(p, BYTES, packed_alignment(BYTES), AccessKind::kWrite, CALLER); }

#define ATOMIC_HOOK(T, BITS, NAME, BUILTIN)                                        \
  T __tsan_atomic##BITS##_##NAME(volatile T* p, T value, int) {                    \
    note(const_cast<T*>(p), BITS / 8, BITS / 8, AccessKind::kAtomicWrite, CALLER); \
    return BUILTIN(p, value, __ATOMIC_SEQ_CST);                                    \
  }
#define ATOMIC_HOOKS(T, BITS)                                                                    \
  T __tsan_atomic##BITS##_load(const volatile T* p, int) {                                       \
    note(const_cast<const T*>(p), BITS / 8, BITS / 8, AccessKind::kAtomicRead, CALLER);          \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                 \
  }                                                                                              \
  void __tsan_atomic##BITS##_store(volatile T* p, T value, int) {                                \
    note(const_cast<T*>(p), BITS / 8, BITS / 8, AccessKind::kAtomicWrite, CALLER);               \
    __atomic_store_n(p, value, __ATOMIC_SEQ_CST);                                                \
  }                                                                                              \
  ATOMIC_HOOK(T, BITS, exchange, __atomic_exchange_n)                                            \
  ATOMIC_HOOK(T, BITS, fetch_add, __atomic_fetch_add)                                            \
  ATOMIC_HOOK(T, BITS, fetch_sub, __atomic_fetch_sub)                                            \
  ATOMIC_HOOK(T, BITS, fetch_or, __atomic_fetch_or)                                              \
  ATOMIC_HOOK(T, BITS, fetch_and, __atomic_fetch_and)                                            \
  ATOMIC_HOOK(T, BITS, fetch_xor, __atomic_fetch_xor)                                            \
  T __tsan_atomic##BITS##_compare_exchange_val(volatile T* p, T expected, T value, int, int) {   \
    note(const_cast<T*>(p), BITS / 8, BITS / 8, AccessKind::kAtomicWrite, CALLER);               \
    __atomic_compare_exchange_n(p, &expected, value, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
    return expected;                                                                             \
  }

// Every UBSan record begins with the place in the source.
struct SourceLocation {
  const char* file;
  uint32_t line, column;
};
#define UNDEFINED(NAME, TEXT) \
  void __ubsan_handle_##NAME(SourceLocation* at) { add_finding(at->line, nullptr, "undefined behaviour: " TEXT); }

extern "C" {

void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_atomic_thread_fence(int) {}
void __tsan_atomic_signal_fence(int) {}

PLAIN_HOOKS(1)
PLAIN_HOOKS(2)
PLAIN_HOOKS(4)
PLAIN_HOOKS(8)
PLAIN_HOOKS(16)
ATOMIC_HOOKS(uint8_t, 8)
ATOMIC_HOOKS(uint16_t, 16)
ATOMIC_HOOKS(uint32_t, 32)
ATOMIC_HOOKS(uint64_t, 64)

void* __tsan_memcpy(void* to, const void* from, size_t bytes) {
  note_range(from, bytes, AccessKind::kRead, CALLER);
  note_range(to, bytes, AccessKind::kWrite, CALLER);
  return memcpy(to, from, bytes);
}
void* __tsan_memmove(void* to, const void* from, size_t bytes) {
  note_range(from, bytes, AccessKind::kRead, CALLER);
  note_range(to, bytes, AccessKind::kWrite, CALLER);
  return memmove(to, from, bytes);
}
void* __tsan_memset(void* to, int value, size_t bytes) {
  note_range(to, bytes, AccessKind::kWrite, CALLER);
  return memset(to, value, bytes);
}

UNDEFINED(shift_out_of_bounds, "shift by a negative number or by the width of the type")
UNDEFINED(out_of_bounds, "array index out of bounds")
UNDEFINED(float_cast_overflow, "floating-point value out of the range of the integer type")
UNDEFINED(divrem_overflow, "integer division by zero or overflow")
UNDEFINED(add_overflow, "signed integer overflow in +")
UNDEFINED(sub_overflow, "signed integer overflow in -")
UNDEFINED(mul_overflow, "signed integer overflow in *")
UNDEFINED(negate_overflow, "signed integer overflow in -")
}
