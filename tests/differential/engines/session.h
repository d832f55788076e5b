#pragma once
// Programs one after the other, until one shows a difference.
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compare.h"

namespace doppel::differential::engines {

/// The sequence of programs that a seed stands for, in batches: each batch begins with new machines, on which its
/// programs run one after the other.
class Session {
 public:
  Session(U64 seed, std::vector<EngineKind> kinds) : seed_(seed), kinds_(std::move(kinds)) {}
  ~Session();

  /// Runs the next program. Says what is wrong, if anything is, for people to read.
  std::optional<std::string> next();

  U64 programs() const { return programs_; }
  /// Translations that were made to be executed at once, but for those made anew because memory for code ran out.
  U64 blocks() const;
  U64 instructions() const;
  /// Regions of hot blocks that were compiled as one.
  U64 paths() const;

 private:
  static constexpr U64 programs_a_batch = 64;
  void end_batch();
  Machines& machines_for(Way way);
  std::string report(const Program& program, const Difference& difference) const;

  U64 seed_;
  std::vector<EngineKind> kinds_;
  U64 programs_ = 0, blocks_ = 0, instructions_ = 0, paths_ = 0;
  bool little_code_memory_ = false;
  std::array<std::unique_ptr<Machines>, ways> machines_;
  std::vector<U64> batch_;  // the seeds of its programs so far
};

/// Runs one program on new machines, behind those of these seeds.
std::optional<std::string> run_alone(const std::vector<U64>& before, const Program& program,
                                     std::span<const EngineKind> kinds);

}  // namespace doppel::differential::engines
