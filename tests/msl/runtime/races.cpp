// The order of two accesses: by one thread, or through a barrier of the simdgroup or threadgroup they share that orders
// this kind of memory. Nothing orders two threadgroups of one launch.
#include "races.h"

#include <algorithm>

static unsigned threadgroup_of(unsigned thread) { return (thread - 1) / unsigned(group.members.size()); }
static unsigned global_simdgroup_of(unsigned thread) { return (thread - 1) / MSL_LANES; }

static bool ordered_before_now(const Accessors& before, const Thread& now, Space space) {
  if (before.thread == 0) return true;
  if (before.thread == now.identity && before.spread == Accessors::kOne) return true;
  if (before.spread == Accessors::kAcrossThreadgroups) return false;
  if (threadgroup_of(before.thread) != threadgroup_of(now.identity)) return false;
  if (before.group_barriers != group.barriers_passed[space]) return true;
  return before.spread <= Accessors::kWithinSimdgroup &&
         global_simdgroup_of(before.thread) == global_simdgroup_of(now.identity) &&
         before.simdgroup_barriers != simdgroup_of(now).barriers_passed[space];
}

static void add(Accessors& accessors, const Thread& now, Space space) {
  Accessors::Spread spread = Accessors::kOne;
  if (!ordered_before_now(accessors, now, space)) {
    spread = threadgroup_of(accessors.thread) != threadgroup_of(now.identity) ? Accessors::kAcrossThreadgroups
             : global_simdgroup_of(accessors.thread) != global_simdgroup_of(now.identity)
                 ? Accessors::kWithinThreadgroup
                 : Accessors::kWithinSimdgroup;
    spread = std::max(spread, accessors.spread);
  }
  accessors = {now.identity, group.barriers_passed[space], simdgroup_of(now).barriers_passed[space], spread};
}

const char* note_access(ByteHistory& history, AccessKind kind, Space space) {
  const Thread& now = current_thread();
  const char* wrong = nullptr;
  if (!is_write(kind) && history.written.thread == 0 && !history.atomically_written) {
    wrong = "read of memory that nothing has written";
    history.written = {now.identity, 0, 0, Accessors::kOne};  // once is enough
  } else if (!ordered_before_now(history.written, now, space)) {
    wrong = is_atomic(kind)  ? "race: atomic access after another thread's plain write with no barrier between"
            : is_write(kind) ? "race: write after another thread's write with no barrier between"
                             : "race: read after another thread's write with no barrier between";
  } else if (is_write(kind) && !ordered_before_now(history.read, now, space)) {
    wrong = "race: write after another thread's read with no barrier between";
  } else if (!is_atomic(kind) && (is_write(kind) || history.atomically_written) &&
             !ordered_before_now(history.atomically, now, space)) {
    wrong = "race: plain access after another thread's atomic access with no barrier between";
  }
  switch (kind) {
    case AccessKind::kRead:
      add(history.read, now, space);
      break;
    case AccessKind::kWrite:
      add(history.written, now, space);
      break;
    case AccessKind::kAtomicWrite:
      history.atomically_written = true;
      [[fallthrough]];
    case AccessKind::kAtomicRead:
      add(history.atomically, now, space);
      break;
  }
  if (is_write(kind) && history.stores < 255) history.stores++;
  return wrong;
}
