// Fibres: stacks that one operating-system thread switches between.
#pragma once
#include <cstddef>

// Saves the callee-saved registers on the current stack and its pointer in `*from`, and goes on at `to`.
extern "C" void msl_switch(void** from, void* to);

enum : size_t { kStackBytes = 64 << 10, kGuardBytes = 64 << 10 };

// Stacks with an inaccessible guard below each.
class Stacks {
 public:
  explicit Stacks(size_t count);
  // The stack pointer of a fibre that will start at `start`, which must not return.
  void* prepare(size_t index, void (*start)());
  bool in_guard(const void* address) const;

 private:
  char* memory_;
  size_t count_;
};
