#pragma once
// The translating engine of one machine: finds, makes, links and forgets translations, and runs harts in them.
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "codegen/code_memory.h"
#include "codegen/fast/generator.h"
#include "codegen/fast/routines.h"
#include "guest/riscv64/hart.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Counted over all harts; read when none runs.
struct EngineCounters {
  std::uint64_t translations = 0, translated_instructions = 0, links = 0, invalidated = 0, flushes = 0, dispatches = 0;
  std::uint64_t code_bytes = 0;
};

class Engine final : public riscv64::Executor {
 public:
  using Hart = riscv64::Hart;
  /// `code_bytes` bounds the memory for translated code. Fails with a sentence.
  static Result<std::unique_ptr<Engine>> create(GuestMemory& memory, std::size_t code_bytes);
  /// Makes the hart execute by this engine; before its first run.
  Result<void> attach(Hart& hart);

  void execute(Hart& hart) override;
  EngineCounters counters() const { return counters_; }

 private:
  struct Translation {
    const std::byte* code = nullptr;
    std::uint64_t physical = 0;  // of its first byte
    std::uint64_t key = 0;
    std::uint32_t guest_count = 0;
    std::vector<std::byte> source;  // the guest's bytes that it was made from
    std::vector<fast::LinkSite> links;
    std::vector<const std::byte*> incoming;  // the stub returns of the jumps that are linked to it
  };
  struct Site {
    Translation* from;
    std::uint32_t index;  // in its links
  };

  Engine(GuestMemory& memory, std::unique_ptr<CodeMemory> code) : memory_(memory), code_(std::move(code)) {}
  static std::uint64_t key_of(std::uint64_t physical, riscv64::TranslationMode mode) {
    return physical << 1 | mode.key();
  }
  Translation* find(Hart& hart, std::uint64_t physical, riscv64::TranslationMode mode);
  Translation* make(Hart& hart, std::uint64_t physical, riscv64::TranslationMode mode);
  void mark_page(Hart& hart, std::uint64_t physical);
  void link(Hart& hart);
  void fence(Hart& hart);
  void check_page(std::uint64_t page, bool& changed);
  void forget(Translation* translation);
  void flush(Hart& hart);
  void patch(const std::byte* code, const fast::LinkSite& site, const std::byte* target);

  GuestMemory& memory_;
  std::unique_ptr<CodeMemory> code_;
  std::unique_ptr<fast::Generator> generator_;
  fast::Routines routines_;
  std::size_t routines_end_ = 0;
  std::mutex lock_;  // guards all below, and the generator
  std::unordered_map<std::uint64_t, std::unique_ptr<Translation>> translations_;
  std::unordered_map<std::uint64_t, std::vector<Translation*>> pages_;
  std::unordered_map<const void*, Site> sites_;  // by what their stubs leave in ExecutionState::link
  ir::Code ir_;
  fast::GeneratedCode generated_;
  EngineCounters counters_;
};

}  // namespace doppel
