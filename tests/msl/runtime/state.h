// One launch: its threads, their threadgroup, the buffers. One operating-system thread runs everything, one threadgroup
// after the other, so a launch gives the same result, the same counts and the same findings every time.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../shim/msl/abi.h"

// Barriers order device and threadgroup memory each on their own: one counter of passed barriers for each.
enum Space : unsigned { kDevice, kThreadgroup, kSpaces };

struct Thread : msl_thread {
  void* stack_pointer;
  unsigned site;      // the place in the source of the operation it waits at
  unsigned identity;  // unique in the launch, counted from 1
};

// Each mask has a bit a lane.
struct Simdgroup : msl_simdgroup {
  unsigned members;
  unsigned runnable;
  unsigned at_simd_operation;
  unsigned at_barrier;
  unsigned finished;
  unsigned barriers_passed[kSpaces];
  msl_combine combine;
};

struct Threadgroup : msl_threadgroup {
  std::vector<Thread> members;  // in whole simdgroups; the last ones of a ragged threadgroup are unused
  std::vector<Simdgroup> groups;
  unsigned size;
  unsigned unfinished;
  unsigned waiting_at_barrier;
  unsigned waiting_orders;  // the memories that every thread at the barrier asks to be ordered
  unsigned barriers_passed[kSpaces];
};

struct Buffer {
  std::string name;
  char* begin;
  char* end;
  char* region_begin;  // with the canaries on both sides
  char* region_end;
  unsigned item_bytes;
  bool output;
};

struct Launch {
  void (*entry)(void** arguments);
  std::vector<void*> arguments;
  std::vector<Buffer> buffers;
  msl_uint3 grid;
  msl_uint3 threadgroup;
  bool traced;
  bool lanes_reversed;
};

extern Launch launch;
extern Threadgroup group;

inline Thread& current_thread() { return *static_cast<Thread*>(msl_current); }
inline Simdgroup& simdgroup_of(const Thread& thread) { return *static_cast<Simdgroup*>(thread.simdgroup); }
