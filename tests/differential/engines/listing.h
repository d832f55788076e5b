#pragma once
#include <optional>
#include <string>

#include "computer.h"

namespace doppel::differential::engines {

/// A program for people to read: how the machine is set up, the code, what happens when.
std::string listing(const Program& program);

/// The last instructions, at most `most`, that the first engine executes of the run behind stop number `stop`.
std::string trace(const Program& program, std::size_t stop, std::size_t most);

/// The encoding of the instruction that a hart executes next, by the page tables alone; nothing where it has none.
std::optional<std::uint32_t> instruction_at(Computer& computer, unsigned hart);

}  // namespace doppel::differential::engines
