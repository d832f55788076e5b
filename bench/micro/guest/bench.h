// What a micro-benchmark is, and what its chapters share. Runs in the guest, as its first process.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// One mechanism. A batch does the same work on every machine and says something about it (0 for what depends on
/// chance), so that two machines can be compared by results as well as by time.
struct Case {
  const char* name;
  uint64_t operations;  // that one batch does; the figure is nanoseconds for one of them
  uint64_t (*batch)(uint64_t operations);
  void (*prepare)(void);  // once, not timed; may be null, as the next two
  void (*before)(void);   // in front of each batch, not timed
  void (*finish)(void);   // once
};

// The chapters, each ended by a case without a name.
extern const struct Case integer_cases[], floating_point_cases[], memory_cases[], control_flow_cases[], code_cases[],
    atomic_cases[], time_cases[], system_cases[], process_cases[];

/// The value is used and may be another, for all that the compiler knows.
#define OPAQUE(x) __asm__ volatile("" : "+r"(x))
#define OPAQUE_DOUBLE(x) __asm__ volatile("" : "+f"(x))

/// Ends the program with a sentence when what it needs is refused.
void* must_map(size_t size, int protection, int flags, int file);
void must(bool done, const char* what);
/// This thread runs on that processor only; false when there is none.
bool stay_on(int processor);
/// The next of a sequence that is the same everywhere (xorshift64).
uint64_t next_random(uint64_t* state);
