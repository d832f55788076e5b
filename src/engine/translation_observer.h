#pragma once
// Who wants to know of each translation: profilers' files, listings, tests.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "codegen/host_mark.h"
#include "ir/code.h"

namespace doppel {

/// A translation that has just been made; what it refers to is valid during the call only, but for the code's address.
struct MadeTranslation {
  std::uint64_t address = 0;          // of its first guest instruction, virtual, where it was needed first
  std::uint64_t physical = 0;         // the same, physical
  std::string_view engine;            // which generator made it
  std::span<const std::byte> source;  // the guest's bytes
  std::span<const std::byte> code;    // the host's, where they are executed
  const ir::Code& ir;                 // what was generated from
  std::span<const HostMark> marks;    // by rising offset; only where some observer wants them
};

class TranslationObserver {
 public:
  virtual ~TranslationObserver() = default;
  /// Whether it looks at MadeTranslation::marks.
  virtual bool wants_marks() const { return false; }
  /// Code that translations share. Once, first.
  virtual void shared_code(std::span<const std::byte>) {}
  /// One call at a time, on the thread of the hart that needs the translation. Inside the sandbox: nothing is opened.
  virtual void made(const MadeTranslation& translation) = 0;
};

/// What profilers call a translation: its generator, guest address and guest instructions, as in
/// fast:0xffffffff80001234:12.
std::string symbol_of(const MadeTranslation& translation);

}  // namespace doppel
