#pragma once
// What frames of an interrupted run say of the stack, so that only those go on that fit the code.
#include <map>
#include <optional>
#include <utility>

#include "guest/wasm/execution.h"

namespace doppel::wasm {

struct FrameLayout {
  std::uint32_t words = 0;       ///< of locals and operands, of a caller without the arguments
  std::uint32_t operands = 0;    ///< of them, with the results of what it waits for
  std::uint32_t most_words = 0;  ///< that the function can have
  std::uint32_t entry = 0;       ///< of its branches the first one from pc on
};

class FrameLayouts {
 public:
  explicit FrameLayouts(const Store& store) : store_(store) {}
  /// Of a frame that runs, or that waits for what it has called, which is `callee`. Nothing where no such frame can be.
  std::optional<FrameLayout> of(const Frame& frame, const Frame* callee);

 private:
  std::optional<FrameLayout> about_to_be_called(const Frame& frame, const Frame* callee) const;
  std::optional<FrameLayout> running(const Frame& frame) const;

  const Store& store_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::optional<FrameLayout>> known_;  // by function and pc
};

}  // namespace doppel::wasm
