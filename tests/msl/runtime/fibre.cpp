// The switch between fibres, for x86-64 and aarch64 Linux, and their stacks.
#include "fibre.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

// The frame that the switch pops: saved registers, then the address to go to.
#if defined(__x86_64__)
asm(R"(
.text
.globl msl_switch
.type msl_switch, @function
msl_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size msl_switch, .-msl_switch
)");
// 6 registers, the address, and one word so that the stack is aligned as at a function's entry (16 n + 8).
enum : size_t { kFrameWords = 8, kStartWord = 6 };
#elif defined(__aarch64__)
asm(R"(
.text
.globl msl_switch
.type msl_switch, @function
msl_switch:
  sub sp, sp, #160
  stp x19, x20, [sp, #0]
  stp x21, x22, [sp, #16]
  stp x23, x24, [sp, #32]
  stp x25, x26, [sp, #48]
  stp x27, x28, [sp, #64]
  stp x29, x30, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #0]
  ldp x21, x22, [sp, #16]
  ldp x23, x24, [sp, #32]
  ldp x25, x26, [sp, #48]
  ldp x27, x28, [sp, #64]
  ldp x29, x30, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  add sp, sp, #160
  ret
.size msl_switch, .-msl_switch
)");
enum : size_t { kFrameWords = 20, kStartWord = 11 };
#else
#error "The bench switches fibres on x86-64 and aarch64 only."
#endif

Stacks::Stacks(size_t count) : count_(count) {
  const size_t pitch = kGuardBytes + kStackBytes;
  void* memory =
      mmap(nullptr, pitch * count, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    perror("stacks of the threads");
    exit(1);
  }
  memory_ = static_cast<char*>(memory);
  for (size_t i = 0; i < count; i++) mprotect(memory_ + i * pitch, kGuardBytes, PROT_NONE);
}

void* Stacks::prepare(size_t index, void (*start)()) {
  char* top = memory_ + (index + 1) * (kGuardBytes + kStackBytes);
  auto frame = reinterpret_cast<uintptr_t*>(top) - kFrameWords;
  for (size_t i = 0; i < kFrameWords; i++) frame[i] = 0;
  frame[kStartWord] = reinterpret_cast<uintptr_t>(start);
  return frame;
}

bool Stacks::in_guard(const void* address) const {
  const auto offset = static_cast<const char*>(address) - memory_;
  const auto pitch = static_cast<ptrdiff_t>(kGuardBytes + kStackBytes);
  return offset >= 0 && offset < pitch * static_cast<ptrdiff_t>(count_) &&
         offset % pitch < static_cast<ptrdiff_t>(kGuardBytes);
}
