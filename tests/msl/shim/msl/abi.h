// What a kernel compiled against the shim and the run-time agree on. No standard headers: kernels see this file.
#pragma once

struct msl_uint3 {
  unsigned x, y, z;
};

enum : unsigned {
  MSL_LANES = 32,
  MSL_SLOT_BYTES = 64,
  MSL_RESULT_BYTES = 256,
};

// The memory that a barrier orders; as bits of mem_flags.
enum : unsigned { MSL_ORDERS_DEVICE = 1, MSL_ORDERS_THREADGROUP = 2 };

// How the lanes of a simdgroup exchange values: two sets of slots in alternation, so that a lane which goes straight
// on to its next operation doesn't overwrite what the others still read.
struct alignas(64) msl_simdgroup {
  unsigned active;  // lanes that take part in the last operation
  unsigned parity;  // the slots of the next operation
  unsigned width;   // lanes of this simdgroup: 32, fewer in the last one of a ragged threadgroup
  alignas(64) unsigned char slots[2][MSL_LANES][MSL_SLOT_BYTES];
  alignas(64) unsigned char results[2][MSL_RESULT_BYTES];
};

struct msl_thread {
  msl_simdgroup* simdgroup;
  unsigned lane;
  unsigned simdgroup_index;
  unsigned index_in_threadgroup;
  msl_uint3 position_in_threadgroup;
  msl_uint3 position_in_grid;
};

struct msl_threadgroup {
  msl_uint3 position_in_grid;
  msl_uint3 threads;             // of this threadgroup: fewer at the edge of a ragged grid
  msl_uint3 dispatched_threads;  // of a whole threadgroup
  msl_uint3 threads_per_grid;
  msl_uint3 threadgroups_per_grid;
  unsigned simdgroups;
  unsigned dispatched_simdgroups;
};

// Computes results[parity] or slots[parity] from what the active lanes have put into slots[parity].
typedef void (*msl_combine)(msl_simdgroup* simdgroup, unsigned parity);

// A place in the source as one number.
constexpr unsigned msl_site(unsigned line, unsigned column) { return line | column << 18; }
constexpr unsigned msl_line(unsigned site) { return site & ((1u << 18) - 1); }

extern "C" {
extern msl_thread* msl_current;
extern msl_threadgroup* msl_current_threadgroup;

// Waits for the other lanes; the last one to arrive runs `combine`. Returns which set of slots was used. `site` is the
// place in the source: lanes must meet at the same one.
unsigned msl_meet_simdgroup(msl_combine combine, unsigned site);
void msl_barrier_simdgroup(unsigned ordered, unsigned site);
void msl_barrier_threadgroup(unsigned ordered, unsigned site);

// Threadgroup memory for the variable number `id` of the kernel.
void* msl_threadgroup_variable(unsigned id, unsigned long bytes, unsigned long alignment);

void msl_absent_lane(unsigned source_lane, unsigned site);
}
