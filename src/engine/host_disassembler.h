#pragma once
// Host instructions as text, by LLVM, which is loaded only when somebody asks: it is large and slow to relocate.
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"

namespace doppel {

class HostDisassembler {
 public:
  /// Loads LLVM's library. Fails with a sentence where it is missing.
  static Result<std::unique_ptr<HostDisassembler>> load();
  virtual ~HostDisassembler() = default;

  struct Line {
    std::size_t length;  // bytes, at least 1
    std::string text;
  };
  /// The instruction at byte `at` of `code`. Where it jumps to inside `code` is written as +0x..., from its begin.
  virtual Line line(std::span<const std::byte> code, std::size_t at) = 0;
};

}  // namespace doppel
