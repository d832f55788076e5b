#pragma once
// The translating engine of one machine: finds, makes, links and forgets translations, and runs harts in them.
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "codegen/code_memory.h"
#include "codegen/fast/generator.h"
#include "codegen/fast/routines.h"
#include "codegen/region.h"
#include "engine/code_store.h"
#include "engine/optimizer.h"
#include "engine/translation_observer.h"
#include "engine/translation_table.h"
#include "engine/translations.h"
#include "guest/riscv64/hart.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Counted over all harts; read when none runs.
struct EngineCounters {
  std::uint64_t translations = 0, translated_instructions = 0, links = 0, invalidated = 0, flushes = 0;
  std::uint64_t code_bytes = 0;
  std::uint64_t regions = 0, regions_asked = 0;
};

class Engine final : public riscv64::Executor {
 public:
  using Hart = riscv64::Hart;
  /// Whether this host has the instructions that generated code is made of (x86-64-v3: AVX2, BMI, FMA).
  static bool supported();
  /// `code_bytes` bounds the memory for translated code. Fails with a sentence.
  static Result<std::unique_ptr<Engine>> create(GuestMemory& memory, std::size_t code_bytes);
  /// Has hot regions compiled by the optimizing generator; before the sandbox. Fails with a sentence.
  Result<void> start_optimizing();
  /// The same by other means, as tests have: of blocks that were sampled `hot` times.
  using MakeRegionQueue = std::function<std::unique_ptr<RegionQueue>(RegionReceiver)>;
  void optimize_by(const MakeRegionQueue& make, std::uint32_t hot);
  /// Makes the hart execute by this engine; before its first run.
  Result<void> attach(Hart& hart);
  /// From now on what is translated comes from there, or goes there; behind the first attach(). Where the folder need
  /// not be used (CodeStoreOptions::must) and cannot be, the counters say why.
  Result<void> open_store(const CodeStoreOptions& options);
  /// CodeStore::start() and close().
  void start_store();
  void close_store();
  /// Has an observer told of each translation from now on; after attach(), while no hart runs.
  void observe(std::unique_ptr<TranslationObserver> observer);

  void execute(Hart& hart) override;
  EngineCounters counters() const { return counters_; }
  std::optional<CodeStoreCounters> store_counters() const;

 private:
  using Key = TranslationKey;

  Engine(GuestMemory& memory, std::unique_ptr<CodeMemory> code)
      : memory_(memory), code_(std::move(code)), translations_({code_->base(), code_->size()}) {}
  /// The code for the hart's pc, made if need be; null after the interpreter did its instruction.
  const std::byte* at_pc(Hart& hart);
  /// The same for code that is running, where nothing need be made or looked up in the guest's tables; else null.
  const std::byte* known_at_pc(Hart& hart);
  static std::uint64_t find_for_code(void* owner);
  /// Makes the hart look for what is to execute in place of the code that it came back from.
  void find_anew(Hart& hart);
  void enter(Hart& hart, const void* code);
  const std::byte* find(Hart& hart, const Key& key);
  Translation* look_up(const Key& key) const;
  Translation* make(Hart& hart, const Key& key);
  Translation& record(const Key& key, const std::byte* code, const fast::GeneratedCode& generated,
                      std::uint16_t source_offset, std::span<const std::byte> source);
  void tell_observers(const Hart& hart, const Translation& translation);
  std::span<const std::byte> bytes_of(const Key& key);
  std::span<const std::byte> copy_of(const Key& key);
  bool translate(const Key& key, std::span<const std::byte> bytes);
  bool find_stored(const Key& key, std::span<const std::byte> bytes);
  void store(const Key& key, std::span<const std::byte> bytes);
  void mark_page(Hart& hart, std::uint64_t physical);
  const std::byte* link(Hart& hart);
  void fence(Hart& hart);
  void check_page(std::uint64_t page);
  void forget(Translation& translation);
  void close_entry(const std::byte* code);
  void flush(Hart& hart);
  // regions.cc
  void sample(Hart& hart);
  std::optional<RegionRequest> collect(const Translation& entry);
  void install(const RegionObject& object);
  void patch(const TranslationLink& link, const std::byte* target);

  GuestMemory& memory_;
  std::unique_ptr<CodeMemory> code_;
  std::unique_ptr<fast::Generator> generator_;
  fast::Routines routines_;
  std::size_t routines_end_ = 0;
  TranslationTable table_;  // read without the lock
  std::array<std::byte, page_size + 2> crossing_{}, copied_{};
  std::mutex lock_;  // guards all below, writing above, and the generator
  Translations translations_;
  struct Asked {
    Key key;
    std::uint16_t begin, end;  // of the bytes in the page that it was made from
    std::vector<std::byte> source;
    std::uint64_t flushes;
  };
  std::unordered_map<std::uint64_t, Asked> asked_;  // regions that are being compiled, by their requests' numbers
  std::uint64_t next_request_ = 0;
  GuestLayout layout_;
  ir::Code ir_;
  fast::GeneratedCode generated_;
  EngineCounters counters_;
  std::unique_ptr<CodeStore> store_;
  CodeObject object_;  // on its way out of the store, or in
  std::string store_problem_;
  std::vector<std::unique_ptr<TranslationObserver>> observers_;
  std::uint32_t hot_ = 0;                   // samples that make a block the entry of a region
  std::unique_ptr<RegionQueue> optimizer_;  // its thread comes to all of the above
};

}  // namespace doppel
