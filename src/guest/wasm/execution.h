#pragma once
// A program's run in the interpreter: its stacks are data, so that it can stop anywhere, be copied and go on.
#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/result.h"
#include "guest/wasm/store.h"

namespace doppel::wasm {

/// One activation (4.2.12). Everything but `pc` follows from the function and pc.
struct Frame {
  std::uint32_t function = 0;  ///< number in the store
  std::uint32_t pc = 0;        ///< the byte in the module of the instruction that is next; of a caller, behind the call
  std::uint32_t locals =
      0;  ///< where its locals begin on the stack, in words; parameters first, a v128 takes two words
};

/// Why run() came back.
struct Stop {
  enum class Kind : std::uint8_t {
    finished,   ///< results() has what the function gave
    trapped,    ///< by `trap`; frames() still shows where
    ended,      ///< a host function ended the program with `status`
    exhausted,  ///< the budget: run() goes on
    waits,      ///< a host function does: run() calls it again
  } kind = Kind::finished;
  Trap trap = Trap::unreachable;
  int status = 0;
};

class Execution {
 public:
  static constexpr std::uint32_t default_stack_words = 1U << 17, default_frames = 10'000;
  /// `stack_words` and `frames` bound what recursion may take; beyond is Trap::stack_exhausted.
  explicit Execution(Store& store, std::uint32_t stack_words = default_stack_words,
                     std::uint32_t frames = default_frames);

  /// Begins a call of a function of the store; what ran before is forgotten. `arguments` fit the function's type. Until
  /// run() there is one frame, whose pc is 0; so it stays where the function is the host's.
  void call(std::uint32_t function, std::span<const Cell> arguments);
  /// Goes on as another execution of an equal store would after these were its frames() and stack(). Error: they are not
  /// what a run can have left. The types of the words are not known and not checked.
  Result<void> restore(std::span<const Frame> frames, std::span<const std::uint64_t> stack);
  /// Executes at most `budget` instructions, which it counts down. Each one in the module counts, block, loop, end, else
  /// and nop too. What has trapped or ended does so again; what is finished stays so.
  Stop run(std::int64_t& budget);
  /// Without end.
  Stop run();

  std::span<const Cell> results() const { return results_; }
  std::span<const Frame> frames() const { return frames_; }
  /// Locals and operands of all frames, those of the first one first; of one that calls without the arguments.
  std::span<const std::uint64_t> stack() const { return std::span(stack_).first(height_); }
  Store& store() const { return store_; }

 private:
  friend class Interpreter;

  Store& store_;
  std::uint32_t most_words_, most_frames_;
  std::vector<std::uint64_t> stack_;  // grows as calls need it
  std::uint32_t height_ = 0;          // words in use
  std::vector<Frame> frames_;
  std::vector<std::uint32_t> entries_;  // of each frame: of its function's branches the first one from pc on
  std::vector<Cell> results_;
};

}  // namespace doppel::wasm
