// Threadgroup variables are laid out in the order in which a threadgroup first reaches them, and hold NaN then.
#include "memory.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "findings.h"
#include "state.h"
#include "trace.h"

// Uninitialised memory reads as NaN, the bytes round it as another number: an overwritten canary is seen, whatever the
// kernel writes, unless it is just this byte.
static const unsigned char kUninitialised = 0xff, kCanary = 0xa5;

struct Variable {
  size_t begin, end;
  bool placed;
};

char* threadgroup_arena;
static std::vector<Variable> variables;
static size_t arena_used, variable_bytes;

void prepare_memory() {
  threadgroup_arena = static_cast<char*>(aligned_alloc(4096, kArenaBytes));
  memset(threadgroup_arena, kCanary, kArenaBytes);
  for (const Buffer& buffer : launch.buffers) {
    if (!buffer.output) continue;
    memset(buffer.region_begin, kCanary, buffer.begin - buffer.region_begin);
    memset(buffer.begin, kUninitialised, buffer.end - buffer.begin);
    memset(buffer.end, kCanary, buffer.region_end - buffer.end);
  }
}

bool in_threadgroup_variable(size_t offset) {
  return std::any_of(variables.begin(), variables.end(), [offset](const Variable& variable) {
    return variable.placed && offset >= variable.begin && offset < variable.end;
  });
}

void begin_threadgroup_memory() {
  arena_used = kCanaryBytes;
  variable_bytes = 0;
  for (Variable& variable : variables) variable.placed = false;
}

// The first byte of [begin, end) that isn't the canary any more, or null.
static const char* overwritten(const char* begin, const char* end) {
  const char* found = std::find_if(begin, end, [](char byte) { return static_cast<unsigned char>(byte) != kCanary; });
  return found == end ? nullptr : found;
}

void end_threadgroup_memory() {
  for (const Variable& variable : variables) {
    if (!variable.placed) continue;
    const char *begin = threadgroup_arena + variable.begin, *end = threadgroup_arena + variable.end;
    const char* byte = overwritten(begin - kCanaryBytes, begin);
    if (!byte) byte = overwritten(end, end + kCanaryBytes);
    if (!byte) continue;
    add_finding(0, nullptr,
                "threadgroup memory written out of bounds: %ld bytes from the start of a variable of %zu bytes",
                long(byte - begin), variable.end - variable.begin);
    memset(threadgroup_arena + variable.begin - kCanaryBytes, kCanary, kCanaryBytes);
    memset(threadgroup_arena + variable.end, kCanary, kCanaryBytes);
  }
}

void check_buffer_canaries() {
  for (const Buffer& buffer : launch.buffers) {
    if (!buffer.output) continue;
    const char* byte = overwritten(buffer.region_begin, buffer.begin);
    if (!byte) byte = overwritten(buffer.end, buffer.region_end);
    if (byte)
      add_finding(0, nullptr, "%s: written out of bounds, at offset %ld of %ld bytes", buffer.name.c_str(),
                  long(byte - buffer.begin), long(buffer.end - buffer.begin));
  }
}

void* msl_threadgroup_variable(unsigned id, unsigned long bytes, unsigned long alignment) {
  if (variables.size() <= id) variables.resize(id + 1);
  Variable& variable = variables[id];
  if (variable.placed) return threadgroup_arena + variable.begin;
  const size_t unit = std::max<size_t>(16, alignment);
  variable.begin = (arena_used + unit - 1) / unit * unit;
  variable.end = variable.begin + bytes;
  variable.placed = true;
  arena_used = variable.end + 2 * kCanaryBytes;
  variable_bytes += (bytes + 15) / 16 * 16;
  if (variable_bytes > kThreadgroupLimit)
    add_finding(0, nullptr, "%zu bytes of threadgroup memory, over the limit of %zu", variable_bytes,
                size_t(kThreadgroupLimit));
  if (arena_used > kArenaBytes) {
    fprintf(stderr, "far too much threadgroup memory: %zu bytes\n", variable_bytes);
    exit(1);
  }
  memset(threadgroup_arena + variable.begin, kUninitialised, bytes);
  if (launch.traced) forget_threadgroup_accesses(variable.begin, variable.end);
  return threadgroup_arena + variable.begin;
}
