// Runs the threads of a threadgroup as fibres.
#pragma once
#include "fibre.h"

// Makes room for threadgroups of the launch's size.
void prepare_threads(Stacks& stacks);

// Runs threadgroup number `index` of the grid to its end.
void run_threadgroup(unsigned long index);

struct SchedulerCounts {
  unsigned long simd_operations;
  unsigned long threadgroup_barriers;
};
extern SchedulerCounts scheduler_counts;
