// Finds accesses of two threads to one byte, one of them a write, with nothing between them that orders them.
#pragma once
#include "state.h"

// The threads that accessed a byte since the last access that is ordered before them all.
struct Accessors {
  enum Spread : unsigned char { kOne, kWithinSimdgroup, kWithinThreadgroup, kAcrossThreadgroups };
  unsigned thread = 0;  // one of them; 0 for none
  unsigned group_barriers = 0;
  unsigned simdgroup_barriers = 0;
  Spread spread = kOne;
};

struct ByteHistory {
  Accessors written;
  Accessors read;
  Accessors atomically;
  bool atomically_written = false;
  unsigned char stores = 0;  // 255 for 255 and more
};

enum class AccessKind { kRead, kWrite, kAtomicRead, kAtomicWrite };

inline bool is_write(AccessKind kind) { return kind == AccessKind::kWrite || kind == AccessKind::kAtomicWrite; }
inline bool is_atomic(AccessKind kind) { return kind == AccessKind::kAtomicRead || kind == AccessKind::kAtomicWrite; }

// What is wrong with the access, or null; notes it in the history.
const char* note_access(ByteHistory& history, AccessKind kind, Space space);
