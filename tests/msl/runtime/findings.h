// What is wrong with a kernel, as text.
#pragma once
#include <string>
#include <vector>

struct Finding {
  std::string text;
  unsigned line;        // in the generated source, 0 if only the address is known
  unsigned long code;   // address in the kernel's library of the access, 0 if none
  unsigned long count;  // how often it happened
};

// The first of each kind of finding at each place is kept with the thread it happened in; the others are counted.
void add_finding(unsigned line, const void* code, const char* format, ...) __attribute__((format(printf, 3, 4)));
const std::vector<Finding>& all_findings();
