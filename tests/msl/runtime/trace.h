// What a traced kernel does to memory: counts, and accesses that are wrong.
#pragma once
#include <cstddef>
#include <cstdio>

void prepare_trace();
// Threadgroup memory from offset `begin` to `end` holds a new variable.
void forget_threadgroup_accesses(size_t begin, size_t end);
// Groups what the lanes of each simdgroup did by instruction and counts the lines each instruction touches.
void end_threadgroup_trace();
bool anything_traced();
// A JSON object: for each buffer, and for threadgroup memory, what was asked of it.
void print_traffic(FILE* out);
