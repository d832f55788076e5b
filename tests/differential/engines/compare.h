#pragma once
// Runs programs on all engines side by side.
#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "computer.h"

namespace doppel::differential::engines {

/// Where engines came apart.
struct Difference {
  std::string engine;  // that differs from the first
  U64 stop = 0;        // in Program::stops
  unsigned hart = 0;   // of the last of them
  U64 begin = 0;       // the hart's steps before it
  std::string what;    // a line each
};

/// One machine an engine, for one way. Programs run on it one after the other, so that what one leaves in caches meets
/// the next.
class Machines {
 public:
  static constexpr std::size_t much_code = 32 << 20;
  explicit Machines(Way way, std::span<const EngineKind> kinds, std::size_t code_bytes = much_code);
  std::optional<Difference> run(const Program& program);
  U64 blocks() const;
  U64 paths() const;
  U64 instructions() const { return instructions_; }

 private:
  std::optional<Difference> step(unsigned hart, U64 steps);
  std::optional<Difference> compare(unsigned hart, const std::vector<Computer::Ran>& ran, U64 begin);
  std::optional<Difference> compare_memory(unsigned hart);

  std::vector<EngineKind> kinds_;  // that take part
  std::vector<std::unique_ptr<Computer>> computers_;
  U64 stops_ = 0, instructions_ = 0;
};

}  // namespace doppel::differential::engines
