// Threadgroup memory, and the canaries round all memory that a kernel may write.
#pragma once
#include <cstddef>

// All threadgroup variables with a canary round each. Larger than a GPU's, so that a kernel over the limit is reported
// and still runs.
enum : size_t { kThreadgroupLimit = 32 << 10, kArenaBytes = 1 << 20, kCanaryBytes = 64 };

extern char* threadgroup_arena;

// True for the bytes that belong to a variable of the running threadgroup.
bool in_threadgroup_variable(size_t offset);

void prepare_memory();
void begin_threadgroup_memory();
void end_threadgroup_memory();
void check_buffer_canaries();
