// The list of findings.
#include "findings.h"

#include <dlfcn.h>

#include <cstdarg>
#include <cstdio>

#include "state.h"

static std::vector<Finding> findings;
static std::vector<const char*> formats;

const std::vector<Finding>& all_findings() { return findings; }

static std::string current_position() {
  if (!msl_current) return "";
  const msl_uint3 group = msl_current_threadgroup->position_in_grid;
  char text[128];
  snprintf(text, sizeof text, " [threadgroup (%u, %u, %u), simdgroup %u, lane %u]", group.x, group.y, group.z,
           msl_current->simdgroup_index, msl_current->lane);
  return text;
}

void add_finding(unsigned line, const void* code, const char* format, ...) {
  Dl_info library;
  unsigned long offset = 0;
  if (code && dladdr(code, &library))
    offset = static_cast<const char*>(code) - static_cast<const char*>(library.dli_fbase);
  for (size_t i = 0; i < findings.size(); i++) {
    if (formats[i] == format && findings[i].line == line && findings[i].code == offset) {
      findings[i].count++;
      return;
    }
  }
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  findings.push_back({text + current_position(), line, offset, 1});
  formats.push_back(format);
}
