#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "program.h"

namespace doppel::differential {

/// What became of a program.
struct Outcome {
  std::vector<std::byte> output;
  std::string end;  // "exit 0", or what happened instead
  std::span<const std::byte> report(std::size_t index) const {
    const std::size_t begin = index * report_size;
    if (begin >= output.size()) return {};
    return std::span(output).subspan(begin, std::min<std::size_t>(report_size, output.size() - begin));
  }
};

}  // namespace doppel::differential
