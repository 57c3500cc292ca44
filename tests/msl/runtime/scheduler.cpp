// Threads as fibres: a thread runs until it must wait for others, then the next runnable one goes on.
#include "scheduler.h"

#include <algorithm>

#include "findings.h"
#include "state.h"

msl_thread* msl_current;
msl_threadgroup* msl_current_threadgroup;
Launch launch;
Threadgroup group;
SchedulerCounts scheduler_counts;

static void* main_stack_pointer;

static unsigned bit_of(const Thread& thread) { return 1u << thread.lane; }

static void release_simdgroup(Simdgroup& simdgroup, unsigned lanes) {
  simdgroup.active = lanes;
  if (simdgroup.combine) simdgroup.combine(&simdgroup, simdgroup.parity);
  simdgroup.parity ^= 1;
  simdgroup.runnable |= lanes;
  simdgroup.at_simd_operation &= ~lanes;
  scheduler_counts.simd_operations++;
}

static void release_threadgroup() {
  for (Simdgroup& simdgroup : group.groups) {
    simdgroup.runnable |= simdgroup.at_barrier;
    simdgroup.at_barrier = 0;
  }
  group.waiting_at_barrier = 0;
  if (group.waiting_orders & MSL_ORDERS_DEVICE) group.barriers_passed[kDevice]++;
  if (group.waiting_orders & MSL_ORDERS_THREADGROUP) group.barriers_passed[kThreadgroup]++;
  scheduler_counts.threadgroup_barriers++;
}

// Nobody can run, so threads have diverged. Reports it and lets those that have arrived go on, so that the run ends.
static void resolve_divergence() {
  for (Simdgroup& simdgroup : group.groups) {
    if (!simdgroup.at_simd_operation) continue;
    const Thread* lanes = &group.members[(&simdgroup - group.groups.data()) * MSL_LANES];
    const unsigned site = lanes[__builtin_ctz(simdgroup.at_simd_operation)].site;
    unsigned same_site = 0;
    for (unsigned lane = 0; lane < MSL_LANES; lane++)
      if ((simdgroup.at_simd_operation >> lane & 1) && lanes[lane].site == site) same_site |= 1u << lane;
    add_finding(msl_line(site), nullptr,
                "divergent simdgroup operation: of lanes %08x only %08x arrive (%08x have finished, %08x wait at a "
                "threadgroup barrier)",
                simdgroup.members, same_site, simdgroup.finished, simdgroup.at_barrier);
    release_simdgroup(simdgroup, same_site);
    return;
  }
  for (const Thread& thread : group.members) {
    if (!(simdgroup_of(thread).at_barrier & bit_of(thread))) continue;
    add_finding(msl_line(thread.site), nullptr,
                "divergent threadgroup barrier: %u of %u threads wait at it, %u have finished",
                group.waiting_at_barrier, group.size, group.size - group.unfinished);
    break;
  }
  release_threadgroup();
}

static int next_lane(unsigned runnable, int after, bool other_simdgroup) {
  if (launch.lanes_reversed) {
    const unsigned below = other_simdgroup ? runnable : runnable & ((1u << after) - 1);
    return 31 - __builtin_clz(below ? below : runnable);
  }
  const unsigned above = other_simdgroup ? runnable : after == 31 ? 0 : runnable & (~0u << (after + 1));
  return __builtin_ctz(above ? above : runnable);
}

// The next runnable thread in the order of lanes, or null when all have finished.
static Thread* next_thread(const Thread& after) {
  for (;;) {
    const unsigned count = group.groups.size();
    for (unsigned i = 0; i < count; i++) {
      const unsigned index = (after.simdgroup_index + (launch.lanes_reversed ? count - i : i)) % count;
      const unsigned runnable = group.groups[index].runnable;
      if (runnable) return &group.members[index * MSL_LANES + next_lane(runnable, after.lane, i != 0)];
    }
    if (group.unfinished == 0) return nullptr;
    resolve_divergence();
  }
}

static void go_on_with_another(Thread& self) {
  Thread* next = next_thread(self);
  if (next == &self) return;
  msl_current = next;
  msl_switch(&self.stack_pointer, next ? next->stack_pointer : main_stack_pointer);
}

unsigned msl_meet_simdgroup(msl_combine combine, unsigned site) {
  Thread& self = current_thread();
  Simdgroup& simdgroup = simdgroup_of(self);
  const unsigned parity = simdgroup.parity;
  self.site = site;
  simdgroup.runnable &= ~bit_of(self);
  simdgroup.at_simd_operation |= bit_of(self);
  simdgroup.combine = combine;
  if (simdgroup.at_simd_operation != simdgroup.members) {
    go_on_with_another(self);
    return parity;
  }
  const Thread* lanes = &group.members[self.simdgroup_index * MSL_LANES];
  for (unsigned lane = 0; lane < simdgroup.width; lane++) {
    if (lanes[lane].site == site) continue;
    add_finding(msl_line(site), nullptr, "lanes of one simdgroup meet at different operations: lane %u at line %u",
                lane, msl_line(lanes[lane].site));
    break;
  }
  release_simdgroup(simdgroup, simdgroup.members);
  return parity;
}

template <unsigned Ordered>
static void pass_simdgroup_barrier(msl_simdgroup* base, unsigned) {
  auto& simdgroup = *static_cast<Simdgroup*>(base);
  if (Ordered & MSL_ORDERS_DEVICE) simdgroup.barriers_passed[kDevice]++;
  if (Ordered & MSL_ORDERS_THREADGROUP) simdgroup.barriers_passed[kThreadgroup]++;
}

void msl_barrier_simdgroup(unsigned ordered, unsigned site) {
  static const msl_combine passes[] = {pass_simdgroup_barrier<0>, pass_simdgroup_barrier<1>, pass_simdgroup_barrier<2>,
                                       pass_simdgroup_barrier<3>};
  msl_meet_simdgroup(passes[ordered & 3], site);
}

void msl_barrier_threadgroup(unsigned ordered, unsigned site) {
  Thread& self = current_thread();
  Simdgroup& simdgroup = simdgroup_of(self);
  self.site = site;
  simdgroup.runnable &= ~bit_of(self);
  simdgroup.at_barrier |= bit_of(self);
  group.waiting_orders = group.waiting_at_barrier++ ? group.waiting_orders & ordered : ordered;
  if (group.waiting_at_barrier == group.unfinished) {
    if (group.unfinished != group.size)
      add_finding(msl_line(site), nullptr, "threadgroup barrier after %u of %u threads have returned",
                  group.size - group.unfinished, group.size);
    for (unsigned i = 0; i < group.size; i++) {
      const Thread& other = group.members[i];
      if ((simdgroup_of(other).finished & bit_of(other)) || other.site == site) continue;
      add_finding(msl_line(site), nullptr,
                  "threads of one threadgroup meet at different barriers: thread %u at line %u", i,
                  msl_line(other.site));
      break;
    }
    release_threadgroup();
    return;
  }
  go_on_with_another(self);
}

void msl_absent_lane(unsigned source_lane, unsigned site) {
  add_finding(msl_line(site), nullptr, "value taken from lane %u, which takes no part", source_lane);
}

// What every fibre runs: the kernel once a threadgroup.
static void run_kernel_again_and_again() {
  for (;;) {
    launch.entry(launch.arguments.data());
    Thread& self = current_thread();
    Simdgroup& simdgroup = simdgroup_of(self);
    simdgroup.runnable &= ~bit_of(self);
    simdgroup.finished |= bit_of(self);
    group.unfinished--;
    if (group.unfinished && group.waiting_at_barrier == group.unfinished) {
      add_finding(0, nullptr, "a thread returned without reaching the threadgroup barrier that %u others wait at",
                  group.unfinished);
      release_threadgroup();
    }
    go_on_with_another(self);
  }
}

void prepare_threads(Stacks& stacks) {
  const msl_uint3 shape = launch.threadgroup;
  const unsigned size = shape.x * shape.y * shape.z, simdgroups = (size + MSL_LANES - 1) / MSL_LANES;
  group.groups.resize(simdgroups);
  group.members.resize(simdgroups * MSL_LANES);
  for (unsigned i = 0; i < group.members.size(); i++) {
    Thread& thread = group.members[i];
    thread.lane = i % MSL_LANES;
    thread.simdgroup_index = i / MSL_LANES;
    thread.simdgroup = &group.groups[i / MSL_LANES];
    if (i < size) thread.stack_pointer = stacks.prepare(i, run_kernel_again_and_again);
  }
  group.dispatched_threads = shape;
  group.dispatched_simdgroups = simdgroups;
  group.threads_per_grid = launch.grid;
  group.threadgroups_per_grid = {(launch.grid.x + shape.x - 1) / shape.x, (launch.grid.y + shape.y - 1) / shape.y,
                                 (launch.grid.z + shape.z - 1) / shape.z};
  msl_current_threadgroup = &group;
}

static void place_threadgroup(unsigned long index) {
  const msl_uint3 counts = group.threadgroups_per_grid, shape = launch.threadgroup, grid = launch.grid;
  const msl_uint3 at = {unsigned(index % counts.x), unsigned(index / counts.x % counts.y),
                        unsigned(index / counts.x / counts.y)};
  const msl_uint3 origin = {at.x * shape.x, at.y * shape.y, at.z * shape.z};
  const msl_uint3 threads = {std::min(shape.x, grid.x - origin.x), std::min(shape.y, grid.y - origin.y),
                             std::min(shape.z, grid.z - origin.z)};
  group.position_in_grid = at;
  group.threads = threads;
  group.size = group.unfinished = threads.x * threads.y * threads.z;
  group.simdgroups = (group.size + MSL_LANES - 1) / MSL_LANES;
  group.waiting_at_barrier = 0;
  group.barriers_passed[kDevice] = group.barriers_passed[kThreadgroup] = 0;
  for (unsigned i = 0; i < group.groups.size(); i++) {
    Simdgroup& simdgroup = group.groups[i];
    simdgroup.width = i >= group.simdgroups ? 0 : std::min<unsigned>(MSL_LANES, group.size - i * MSL_LANES);
    simdgroup.members = simdgroup.width == MSL_LANES ? ~0u : (1u << simdgroup.width) - 1;
    simdgroup.runnable = simdgroup.members;
    simdgroup.at_simd_operation = simdgroup.at_barrier = simdgroup.finished = simdgroup.parity = 0;
    simdgroup.barriers_passed[kDevice] = simdgroup.barriers_passed[kThreadgroup] = 0;
  }
  for (unsigned i = 0; i < group.size; i++) {
    Thread& thread = group.members[i];
    const msl_uint3 position = {i % threads.x, i / threads.x % threads.y, i / threads.x / threads.y};
    thread.index_in_threadgroup = i;
    thread.position_in_threadgroup = position;
    thread.position_in_grid = {origin.x + position.x, origin.y + position.y, origin.z + position.z};
    thread.identity = unsigned(index * group.members.size() + i + 1);
  }
}

void run_threadgroup(unsigned long index) {
  place_threadgroup(index);
  Thread& first = group.members[launch.lanes_reversed ? group.size - 1 : 0];
  msl_current = &first;
  msl_switch(&main_stack_pointer, first.stack_pointer);
}
