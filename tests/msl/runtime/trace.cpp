// Checks and counts each access of a traced kernel. hooks.cpp calls note() for every access that clang instruments.
#include "trace.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <unordered_map>

#include "findings.h"
#include "hooks.h"
#include "memory.h"
#include "races.h"
#include "state.h"

static const unsigned kWidths = 5;  // 1, 2, 4, 8, 16 bytes
static const unsigned kLine = 64;

// Zeroed memory of which only the touched pages cost anything.
template <class T>
struct SparseArray {
  T* items = nullptr;
  size_t size = 0;
  void allocate(size_t count) {
    size = count;
    void* memory = mmap(nullptr, std::max<size_t>(1, count * sizeof(T)), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
      perror("memory for the trace");
      exit(1);
    }
    items = static_cast<T*>(memory);
  }
};

struct Direction {
  uint64_t bytes;
  uint64_t by_width[kWidths];
  uint64_t lines64, ideal64, lines128, ideal128;
};

struct LineReaders {
  unsigned first_simdgroup;  // counted from 1
  bool shared;
};

struct Traffic {
  Direction loads, stores;
  uint64_t atomics;
  SparseArray<uint64_t> touched;  // a bit a byte
  SparseArray<LineReaders> readers;
  SparseArray<ByteHistory> history;  // of outputs
};

struct Range {
  uint64_t begin, end;  // equal for none
};
// What the lanes of a simdgroup did at one place in the code: the n-th access of each lane counts as one instruction.
struct Instruction {
  unsigned occurrences[MSL_LANES] = {};
  Traffic* traffic = nullptr;
  bool store = false;
  std::vector<std::array<Range, MSL_LANES>> accesses;
};

static std::vector<Traffic> traffics;  // one a buffer; the last is that of threadgroup memory
static std::vector<ByteHistory> threadgroup_history;
static std::vector<std::unordered_map<const void*, Instruction>> instructions;  // one map a simdgroup

// Where a buffer begins within its first pair of lines: 0 unless it was asked to be misaligned.
static long begin_in_lines(const Buffer& buffer) { return reinterpret_cast<uintptr_t>(buffer.begin) % (2 * kLine); }

static unsigned width_index(unsigned bytes) { return 31 - __builtin_clz(std::min(bytes, 16u)); }

void prepare_trace() {
  traffics.resize(launch.buffers.size() + 1);
  for (size_t i = 0; i < launch.buffers.size(); i++) {
    const size_t bytes = launch.buffers[i].end - launch.buffers[i].begin;
    traffics[i].touched.allocate(bytes / 64 + 2);
    traffics[i].readers.allocate(bytes / kLine + 4);
    if (launch.buffers[i].output) traffics[i].history.allocate(bytes);
  }
  threadgroup_history.resize(kArenaBytes);
  instructions.resize(group.groups.size());
}

void forget_threadgroup_accesses(size_t begin, size_t end) {
  std::fill(threadgroup_history.begin() + begin, threadgroup_history.begin() + end, ByteHistory{});
}

static void count(Traffic& traffic, const void* address, unsigned bytes, AccessKind kind, const void* code) {
  if (is_atomic(kind)) {
    traffic.atomics++;
    return;
  }
  Direction& direction = is_write(kind) ? traffic.stores : traffic.loads;
  direction.bytes += bytes;
  direction.by_width[width_index(bytes)]++;
  Instruction& instruction = instructions[msl_current->simdgroup_index][code];
  instruction.traffic = &traffic;
  instruction.store = is_write(kind);
  const unsigned occurrence = instruction.occurrences[msl_current->lane]++;
  if (occurrence >= instruction.accesses.size()) instruction.accesses.emplace_back();
  const auto begin = reinterpret_cast<uint64_t>(address);
  instruction.accesses[occurrence][msl_current->lane] = {begin, begin + bytes};
}

static void note_in_threadgroup_memory(size_t offset, unsigned bytes, AccessKind kind, const void* code) {
  count(traffics.back(), threadgroup_arena + offset, bytes, kind, code);
  if (!in_threadgroup_variable(offset) || !in_threadgroup_variable(offset + bytes - 1)) {
    add_finding(0, code, "threadgroup memory: %s of %u bytes out of bounds", is_write(kind) ? "write" : "read", bytes);
    return;
  }
  const char* wrong = nullptr;
  for (unsigned i = 0; i < bytes; i++) {
    const char* this_byte = note_access(threadgroup_history[offset + i], kind, kThreadgroup);
    if (!wrong) wrong = this_byte;
  }
  if (wrong) add_finding(0, code, "threadgroup memory: %s", wrong);
}

static void touch(Traffic& traffic, long offset, unsigned bytes) {
  const uint64_t mask = (uint64_t(1) << bytes) - 1;
  const unsigned shift = offset % 64;
  traffic.touched.items[offset / 64] |= mask << shift;
  if (shift + bytes > 64) traffic.touched.items[offset / 64 + 1] |= mask >> (64 - shift);
}

static void note_in_buffer(size_t index, const char* address, unsigned bytes, AccessKind kind, const void* code) {
  const Buffer& buffer = launch.buffers[index];
  const char* name = buffer.name.c_str();
  const char* verb = is_write(kind) ? "write" : "read";
  const long offset = address - buffer.begin;
  if (address < buffer.begin || address + bytes > buffer.end) {
    add_finding(0, code, "%s: %s of %u bytes out of bounds, at offset %ld of %ld bytes", name, verb, bytes, offset,
                long(buffer.end - buffer.begin));
    return;
  }
  if (is_write(kind) && !buffer.output) {
    add_finding(0, code, "%s: write to an input", name);
    return;
  }
  Traffic& traffic = traffics[index];
  count(traffic, address, bytes, kind, code);
  touch(traffic, offset, bytes);
  if (!is_write(kind)) {
    const unsigned simdgroup = (current_thread().identity - 1) / MSL_LANES + 1;
    const long first = offset + begin_in_lines(buffer), last = first + bytes - 1;
    for (long line = first / kLine; line <= last / long(kLine); line++) {
      LineReaders& readers = traffic.readers.items[line];
      if (readers.first_simdgroup == 0) readers.first_simdgroup = simdgroup;
      readers.shared |= readers.first_simdgroup != simdgroup;
    }
  }
  if (!buffer.output) return;
  const char* wrong = nullptr;
  for (long i = offset; i < offset + long(bytes); i++) {
    const char* this_byte = note_access(traffic.history.items[i], kind, kDevice);
    if (!wrong) wrong = this_byte;
  }
  if (wrong) add_finding(0, code, "%s: %s, at offset %ld", name, wrong, offset);
}

void note(const void* pointer, unsigned bytes, unsigned alignment, AccessKind kind, const void* code) {
  if (!msl_current) return;
  const auto address = static_cast<const char*>(pointer);
  const bool in_threadgroup = address >= threadgroup_arena && address < threadgroup_arena + kArenaBytes;
  const Buffer* buffer = nullptr;
  if (!in_threadgroup) {
    if (address < launch.buffers.front().region_begin || address >= launch.buffers.back().region_end) return;
    buffer = &*std::upper_bound(launch.buffers.begin(), launch.buffers.end(), address,
                                [](const char* a, const Buffer& b) { return a < b.region_end; });
  }
  if (reinterpret_cast<uintptr_t>(address) % alignment != 0)
    add_finding(0, code,
                "%s: misaligned access of %u bytes: not at a multiple of %u (an Apple GPU rounds the address down)",
                buffer ? buffer->name.c_str() : "threadgroup memory", bytes, alignment);
  if (in_threadgroup)
    note_in_threadgroup_memory(address - threadgroup_arena, bytes, kind, code);
  else
    note_in_buffer(buffer - launch.buffers.data(), address, bytes, kind, code);
}

// Lines of `size` bytes that the ranges touch, which are sorted; and the least that could hold their bytes.
static void count_lines(const std::array<Range, MSL_LANES>& ranges, unsigned size, uint64_t& lines, uint64_t& ideal) {
  uint64_t next_line = 0, end = 0, bytes = 0;
  for (const Range& range : ranges) {
    if (range.begin == range.end) continue;
    const uint64_t line_end = (range.end - 1) / size + 1;
    lines += line_end - std::min(line_end, std::max(next_line, range.begin / size));
    next_line = std::max(next_line, line_end);
    bytes += std::max(range.end, end) - std::max(range.begin, end);
    end = std::max(end, range.end);
  }
  ideal += (bytes + size - 1) / size;
}

void end_threadgroup_trace() {
  const auto by_begin = [](const Range& a, const Range& b) { return a.begin < b.begin; };
  for (auto& of_simdgroup : instructions) {
    for (auto& [code, instruction] : of_simdgroup) {
      Direction& direction = instruction.store ? instruction.traffic->stores : instruction.traffic->loads;
      for (auto& ranges : instruction.accesses) {
        if (!std::is_sorted(ranges.begin(), ranges.end(), by_begin)) std::sort(ranges.begin(), ranges.end(), by_begin);
        count_lines(ranges, kLine, direction.lines64, direction.ideal64);
        count_lines(ranges, 2 * kLine, direction.lines128, direction.ideal128);
      }
      instruction.accesses.clear();
      std::fill(std::begin(instruction.occurrences), std::end(instruction.occurrences), 0);
    }
  }
}

bool anything_traced() {
  return std::any_of(traffics.begin(), traffics.end(), [](const Traffic& traffic) {
    return traffic.loads.bytes || traffic.stores.bytes || traffic.atomics;
  });
}

static void print_direction(FILE* out, const char* name, const Direction& direction) {
  fprintf(out, "\"%s\":{\"bytes\":%lu,\"by_width\":{", name, direction.bytes);
  for (unsigned i = 0; i < kWidths; i++) fprintf(out, "%s\"%u\":%lu", i ? "," : "", 1u << i, direction.by_width[i]);
  fprintf(out, "},\"lines64\":%lu,\"ideal64\":%lu,\"lines128\":%lu,\"ideal128\":%lu}", direction.lines64,
          direction.ideal64, direction.lines128, direction.ideal128);
}

static void print_distinct(FILE* out, const Buffer& buffer, const Traffic& traffic) {
  uint64_t bytes = 0, read64 = 0, shared64 = 0, read128 = 0, shared128 = 0;
  for (size_t i = 0; i < traffic.touched.size; i++) bytes += __builtin_popcountll(traffic.touched.items[i]);
  for (size_t i = 0; i + 1 < traffic.readers.size; i += 2) {
    const LineReaders &a = traffic.readers.items[i], &b = traffic.readers.items[i + 1];
    const bool both = a.first_simdgroup && b.first_simdgroup;
    read64 += (a.first_simdgroup != 0) + (b.first_simdgroup != 0);
    shared64 += a.shared + b.shared;
    read128 += a.first_simdgroup || b.first_simdgroup;
    shared128 += a.shared || b.shared || (both && a.first_simdgroup != b.first_simdgroup);
  }
  fprintf(out,
          ",\"distinct_bytes\":%lu,\"distinct_lines64\":%lu,\"shared_lines64\":%lu,\"distinct_lines128\":%lu,\"shared_"
          "lines128\":%lu",
          bytes, read64, shared64, read128, shared128);
  // Items by the number of stores to them.
  uint64_t unwritten = 0, written_once = 0, rewritten = 0;
  for (size_t item = 0; item < traffic.history.size; item += buffer.item_bytes) {
    const unsigned stores = traffic.history.items[item].stores;
    (stores == 0 ? unwritten : stores == 1 ? written_once : rewritten)++;
  }
  fprintf(out, ",\"unwritten\":%lu,\"written_once\":%lu,\"rewritten\":%lu", unwritten, written_once, rewritten);
}

void print_traffic(FILE* out) {
  fprintf(out, "{");
  for (size_t i = 0; i < traffics.size(); i++) {
    const bool of_buffer = i < launch.buffers.size();
    fprintf(out, "%s\"%s\":{", i ? "," : "", of_buffer ? launch.buffers[i].name.c_str() : "threadgroup memory");
    print_direction(out, "loads", traffics[i].loads);
    fprintf(out, ",");
    print_direction(out, "stores", traffics[i].stores);
    fprintf(out, ",\"atomics\":%lu", traffics[i].atomics);
    if (of_buffer) print_distinct(out, launch.buffers[i], traffics[i]);
    fprintf(out, "}");
  }
  fprintf(out, "}");
}
