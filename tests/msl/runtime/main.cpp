// Runs one launch of one kernel: runner KERNEL.so MEMORY_FD < job > report.
//
// The job is lines of words; buffers lie in the file MEMORY_FD, which the caller has filled and will read:
//   grid X Y Z | threadgroup X Y Z | traced 0|1 | lanes forward|reversed | denormals kept|flushed
//   buffer NAME input|output REGION_OFFSET REGION_BYTES OFFSET BYTES ITEM_BYTES
// The report is a line of JSON: {"findings": [...], "counts": {...}, "traffic": {...}}.
#include <dlfcn.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <sstream>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "findings.h"
#include "memory.h"
#include "scheduler.h"
#include "state.h"
#include "trace.h"

static Stacks* stacks;

[[noreturn]] static void fail(const std::string& what) {
  fprintf(stderr, "%s\n", what.c_str());
  exit(1);
}

static msl_uint3 read_size(std::istream& words) {
  msl_uint3 size{};
  words >> size.x >> size.y >> size.z;
  return size;
}

// Subnormal float results and operands become zero, as on Apple GPUs; halves keep theirs.
static void flush_denormals() {
#if defined(__x86_64__)
  _mm_setcsr(_mm_getcsr() | 0x8040);
#elif defined(__aarch64__)
  unsigned long control;
  asm volatile("mrs %0, fpcr" : "=r"(control));
  asm volatile("msr fpcr, %0" : : "r"(control | 1ul << 24));
#endif
}

static void read_job(char* memory) {
  std::string line, word, direction, choice;
  while (std::getline(std::cin, line)) {
    std::istringstream words(line);
    words >> word;
    if (word == "grid") {
      launch.grid = read_size(words);
    } else if (word == "threadgroup") {
      launch.threadgroup = read_size(words);
    } else if (word == "traced") {
      words >> launch.traced;
    } else if (word == "lanes") {
      words >> choice;
      launch.lanes_reversed = choice == "reversed";
    } else if (word == "denormals") {
      words >> choice;
      if (choice == "flushed") flush_denormals();
    } else if (word == "buffer") {
      Buffer buffer;
      size_t region_offset, region_bytes, offset, bytes;
      words >> buffer.name >> direction >> region_offset >> region_bytes >> offset >> bytes >> buffer.item_bytes;
      buffer.output = direction == "output";
      buffer.region_begin = memory + region_offset;
      buffer.region_end = buffer.region_begin + region_bytes;
      buffer.begin = memory + offset;
      buffer.end = buffer.begin + bytes;
      launch.buffers.push_back(buffer);
      launch.arguments.push_back(buffer.begin);
    } else {
      fail("unknown word in the job: " + word);
    }
    if (!words) fail("unreadable line in the job: " + line);
  }
  // As MLX dispatches: a threadgroup is never larger than the grid.
  msl_uint3& shape = launch.threadgroup;
  shape = {std::min(shape.x, launch.grid.x), std::min(shape.y, launch.grid.y), std::min(shape.z, launch.grid.z)};
  if (shape.x * shape.y * shape.z == 0) fail("the grid has no threads");
}

static void print_report() {
  printf("{\"findings\":[");
  const char* separator = "";
  for (const Finding& finding : all_findings()) {
    printf("%s{\"text\":\"%s\",\"line\":%u,\"code\":%lu,\"count\":%lu}", separator, finding.text.c_str(), finding.line,
           finding.code, finding.count);
    separator = ",";
  }
  printf("],\"counts\":{\"simd_operations\":%lu,\"threadgroup_barriers\":%lu},\"traffic\":",
         scheduler_counts.simd_operations, scheduler_counts.threadgroup_barriers);
  if (launch.traced)
    print_traffic(stdout);
  else
    printf("{}");
  printf("}\n");
  fflush(stdout);
}

// A kernel that crashes is a finding. The signal comes from the kernel's own code, so the report can be printed here.
static void on_crash(int signal, siginfo_t* info, void*) {
  const auto address = static_cast<char*>(info->si_addr);
  if (signal == SIGFPE) {
    add_finding(0, address, "integer division by zero");
  } else if (info->si_code == SI_KERNEL) {
    add_finding(0, nullptr, "access at a misaligned or impossible address");  // x86 doesn't say which
  } else if (stacks && stacks->in_guard(address)) {
    add_finding(0, nullptr, "a thread needs more than %zu bytes of private memory", size_t(kStackBytes));
  } else {
    const Buffer* of = nullptr;
    for (const Buffer& buffer : launch.buffers)
      if (address >= buffer.region_begin && address < buffer.region_end) of = &buffer;
    if (of)
      add_finding(0, nullptr, "%s: write to an input, at offset %ld", of->name.c_str(), long(address - of->begin));
    else
      add_finding(0, nullptr, "access far outside of every buffer");
  }
  print_report();
  _exit(0);
}

static void catch_crashes() {
  stack_t stack{};
  stack.ss_size = 256 << 10;
  stack.ss_sp = malloc(stack.ss_size);
  sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_crash;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESETHAND;
  for (int signal : {SIGSEGV, SIGBUS, SIGFPE}) sigaction(signal, &action, nullptr);
}

int main(int count, char** words) {
  if (count != 3) fail("usage: runner KERNEL.so MEMORY_FD < job");
  const int file = atoi(words[2]);
  struct stat status;
  if (fstat(file, &status) != 0) fail("no such file descriptor");
  void* memory = mmap(nullptr, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (memory == MAP_FAILED) fail("cannot map the buffers");
  void* library = dlopen(words[1], RTLD_NOW);
  if (!library) fail(dlerror());
  launch.entry = reinterpret_cast<void (*)(void**)>(dlsym(library, "msl_entry"));
  if (!launch.entry) fail(dlerror());

  read_job(static_cast<char*>(memory));
  const msl_uint3 shape = launch.threadgroup;
  const unsigned threads = shape.x * shape.y * shape.z;
  if (threads > 1024) {
    add_finding(0, nullptr, "%u threads in a threadgroup, over the limit of 1024", threads);
    print_report();
    return 0;
  }
  stacks = new Stacks(threads);
  prepare_threads(*stacks);
  prepare_memory();
  if (launch.traced) prepare_trace();
  for (const Buffer& buffer : launch.buffers)
    if (!buffer.output) mprotect(buffer.region_begin, buffer.region_end - buffer.region_begin, PROT_READ);
  catch_crashes();

  const msl_uint3 groups = group.threadgroups_per_grid;
  const auto total = static_cast<unsigned long>(groups.x) * groups.y * groups.z;
  for (unsigned long index = 0; index < total; index++) {
    begin_threadgroup_memory();
    run_threadgroup(index);
    end_threadgroup_memory();
    if (launch.traced) end_threadgroup_trace();
  }
  check_buffer_canaries();
  if (launch.traced && !anything_traced() && all_findings().empty())
    fail("nothing was traced: the compiler has dropped -fsanitize=thread");
  print_report();
}
