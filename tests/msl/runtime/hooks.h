// The one function that the compiler's instrumentation ends in.
#pragma once
#include "races.h"

// An access of `bytes` (at most 16) that needs an address which is a multiple of `alignment`, by the instruction at
// `code`.
void note(const void* address, unsigned bytes, unsigned alignment, AccessKind kind, const void* code);
