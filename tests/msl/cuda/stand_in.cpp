// NVIDIA's driver without a GPU, as far as driver.py calls it: is each call made as it should be? Memory is the host's.
//
// Machine code is a line: what to do ("nothing", "fail", "die", or "copy" an array to another one), how many arguments
// the kernel has, and for copy the numbers of two of them and how many bytes. Every argument must be an address inside of
// an allocation.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

namespace {

enum { SUCCESS = 0, INVALID_VALUE = 1, MISALIGNED = 716, NOT_CAPTURING = 401 };

std::map<uint64_t, uint64_t> allocations;
bool capturing = false;
bool broken = false;
int made = 0;

struct Code {
  char action[16] = "";
  int count = 0, from = 0, to = 0;
  unsigned long bytes = 0;
};

bool inside(uint64_t address, uint64_t bytes) {
  auto next = allocations.upper_bound(address);
  if (next == allocations.begin()) return false;
  --next;
  return address + bytes <= next->first + next->second;
}

int copied(uint64_t to, const void* from, uint64_t bytes) {
  if (!inside(to, bytes)) return INVALID_VALUE;
  std::memcpy(reinterpret_cast<void*>(to), from, bytes);
  return SUCCESS;
}

void* something() { return reinterpret_cast<void*>(uintptr_t(++made)); }

}  // namespace

extern "C" {

int cuInit(unsigned) { return SUCCESS; }
int cuDeviceGet(int* device, int) { return *device = 0, SUCCESS; }
int cuDeviceGetName(char* name, int size, int) { return std::snprintf(name, size, "a stand-in"), SUCCESS; }
int cuDriverGetVersion(int* number) { return *number = 13000, SUCCESS; }
int cuDeviceGetAttribute(int* value, int attribute, int) {
  return *value = attribute == 75 ? 9 : attribute == 76 ? 0 : 2, SUCCESS;
}
int cuGetErrorName(int code, const char** name) {
  return *name = code == MISALIGNED ? "CUDA_ERROR_MISALIGNED_ADDRESS" : "CUDA_ERROR_OTHER", SUCCESS;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = something(), SUCCESS; }
int cuCtxSetCurrent(void* context) { return context ? SUCCESS : INVALID_VALUE; }
int cuCtxSynchronize() { return broken ? MISALIGNED : SUCCESS; }
int cuStreamCreate(void** stream, unsigned) { return *stream = something(), SUCCESS; }
int cuStreamSynchronize(void*) { return broken ? MISALIGNED : capturing ? NOT_CAPTURING : SUCCESS; }

int cuMemAlloc_v2(uint64_t* address, size_t bytes) {
  if (broken) return MISALIGNED;
  *address = reinterpret_cast<uint64_t>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
  allocations[*address] = bytes;
  return SUCCESS;
}
int cuMemFree_v2(uint64_t address) {
  if (!allocations.erase(address)) return INVALID_VALUE;
  std::free(reinterpret_cast<void*>(address));
  return SUCCESS;
}
int cuMemcpyHtoD_v2(uint64_t to, const void* from, size_t bytes) { return copied(to, from, bytes); }
int cuMemcpyDtoH_v2(void* to, uint64_t from, size_t bytes) {
  if (broken || !inside(from, bytes)) return MISALIGNED;
  std::memcpy(to, reinterpret_cast<void*>(from), bytes);
  return SUCCESS;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void* stream) {
  if (!stream || !inside(from, bytes)) return INVALID_VALUE;
  return capturing ? SUCCESS : copied(to, reinterpret_cast<void*>(from), bytes);
}
int cuMemsetD8Async(uint64_t to, unsigned char byte, size_t bytes, void* stream) {
  if (!stream || !inside(to, bytes)) return INVALID_VALUE;
  std::memset(reinterpret_cast<void*>(to), byte, bytes);
  return SUCCESS;
}

int cuModuleLoadData(void** module, const char* image) {
  if (capturing) return INVALID_VALUE;
  auto* code = new Code;
  std::sscanf(image, "%15s %d %d %d %lu", code->action, &code->count, &code->from, &code->to, &code->bytes);
  return *module = code, SUCCESS;
}
int cuModuleGetFunction(void** function, void* module, const char* name) {
  return *function = module, *name ? SUCCESS : INVALID_VALUE;
}
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned wide, unsigned high, unsigned deep,
                   unsigned shared, void* stream, void** arguments, void** extra) {
  const auto& code = *static_cast<Code*>(function);
  if (!x || !y || y > 65535 || !z || z > 65535 || wide * high * deep > 1024 || shared || !stream || extra) {
    return INVALID_VALUE;
  }
  uint64_t address[64] = {};
  for (int i = 0; i < code.count; ++i) {
    address[i] = *static_cast<uint64_t*>(arguments[i]);
    if (!inside(address[i], 1)) return INVALID_VALUE;
  }
  const std::string action = code.action;
  if (action == "die") std::abort();
  broken = broken || action == "fail";
  if (action == "copy" && !capturing) {
    return copied(address[code.to], reinterpret_cast<void*>(address[code.from]), code.bytes);
  }
  return SUCCESS;
}

int cuStreamBeginCapture_v2(void* stream, int) { return capturing = true, stream ? SUCCESS : INVALID_VALUE; }
int cuStreamEndCapture(void*, void** graph) {
  if (!capturing) return NOT_CAPTURING;
  return capturing = false, *graph = something(), SUCCESS;
}
int cuGraphInstantiateWithFlags(void** ready, void* graph, unsigned long long) {
  return *ready = something(), graph ? SUCCESS : INVALID_VALUE;
}
int cuGraphLaunch(void* ready, void* stream) { return ready && stream ? SUCCESS : INVALID_VALUE; }
int cuGraphExecDestroy(void* ready) { return ready ? SUCCESS : INVALID_VALUE; }
int cuGraphDestroy(void* graph) { return graph ? SUCCESS : INVALID_VALUE; }
int cuEventCreate(void** event, unsigned) { return *event = something(), SUCCESS; }
int cuEventRecord(void* event, void*) { return event ? SUCCESS : INVALID_VALUE; }
int cuEventSynchronize(void* event) { return event ? SUCCESS : INVALID_VALUE; }
int cuEventDestroy_v2(void* event) { return event ? SUCCESS : INVALID_VALUE; }
int cuEventElapsedTime(float* milliseconds, void*, void*) { return *milliseconds = 10, SUCCESS; }
}
