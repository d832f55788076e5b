#pragma once
#include <functional>

#include "outcome.h"

namespace doppel::differential {

/// How a hart runs a program.
enum class Way : std::uint8_t {
  machine_mode,             // no address translation
  user_mode,                // Sv39, with pages that lie next to each other far apart in physical memory
  single_steps,             // as user_mode, one instruction at a time
  translated_machine_mode,  // as their namesakes, by the translating engine
  translated_user_mode,
};

/// Runs the program on a hart of its own. `executed`, where given, is told the address of each instruction of
/// single_steps.
Outcome run_interpreter(const Program& program, Way way, const std::function<void(std::uint64_t)>& executed = {});

}  // namespace doppel::differential
