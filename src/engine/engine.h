#pragma once
// The translating engine of one machine: finds, makes, links and forgets translations, and runs harts in them.
#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "codegen/code_memory.h"
#include "codegen/fast/generator.h"
#include "codegen/fast/routines.h"
#include "codegen/optimizing/generator.h"
#include "engine/code_store.h"
#include "engine/path.h"
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
  std::uint64_t first_runs = 0;  // of blocks, by the interpreter
  std::uint64_t paths = 0, path_instructions = 0, path_loops = 0;
};

class Engine final : public riscv64::Executor {
 public:
  using Hart = riscv64::Hart;
  /// Whether this host has the instructions that generated code is made of (x86-64-v3: AVX2, BMI, FMA).
  static bool supported();
  /// `code_bytes` bounds the memory for translated code. Fails with a sentence.
  static Result<std::unique_ptr<Engine>> create(GuestMemory& memory, std::size_t code_bytes);
  /// Makes the hart execute by this engine; before its first run.
  Result<void> attach(Hart& hart);
  /// Behind attach(): from now on paths are made by the optimizing generator, from blocks that `hot` samples fell on
  /// (0: from every one that is dispatched to) and from ways out of other paths that were taken `taken` times.
  void optimize(std::uint32_t hot = 32, std::uint32_t taken = 64);
  /// From now on the interpreter executes a block that it meets for the first time, and a translation is made when it
  /// comes again: most of what a boot executes it executes once. Before the first run.
  void interpret_what_is_new() { interprets_new_ = true; }
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

  /// Bytes that a translation is made of, with what it looks at behind them.
  static constexpr std::size_t longest_source = riscv64::longest_translation * 4 + 2;

  Engine(GuestMemory& memory, std::unique_ptr<CodeMemory> code)
      : memory_(memory), code_(std::move(code)), translations_({code_->base(), code_->size()}) {}
  void go_back(Hart& hart);
  /// The code for the hart's pc, made if need be; null after the interpreter did its instruction, or its block.
  const std::byte* at_pc(Hart& hart);
  bool interpreted_as_new(Hart& hart, const Key& key);
  bool may_be_stored(const Key& key);
  /// The same for code that is running, where nothing need be made or looked up in the guest's tables; else null.
  const std::byte* known_at_pc(Hart& hart);
  static std::uint64_t find_for_code(void* owner);
  /// Makes the hart look for what is to execute in place of the code that it came back from.
  void find_anew(Hart& hart);
  void enter(Hart& hart, const void* code);
  const std::byte* find(Hart& hart, const Key& key, bool& went_on);
  Translation* look_up(const Key& key) const;
  Translation* make(Hart& hart, const Key& key);
  Translation& record(const Key& key, const std::byte* code, const fast::GeneratedCode& generated,
                      std::uint16_t source_offset, std::span<const std::byte> source);
  void tell_observers(std::uint64_t address, const Translation& translation, const fast::GeneratedCode& code);
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
  // paths.cc
  struct Recording;
  void sample(Hart& hart);
  bool record_at(Hart& hart, std::uint64_t pc);
  void record_path(Hart& hart, bool load_only);
  bool follow(Hart& hart, Recording& recording);
  bool record_step(Hart& hart, Recording& recording);
  static bool repeats(Hart& hart, const Recording& recording);
  void make_path(const Key& key, const Recording& recording);
  bool load_path(Hart& hart, const Key& key);
  void store_path(const Key& key, const PathSource& source);
  bool install(const Key& key, const PathSource& source);
  bool leads_on(Hart& hart, Path& path, const TranslationLink& link);
  static std::uint64_t check_path(void* owner);
  bool holds(std::span<const PathPart> parts);
  void check_paths(std::uint64_t page);
  void forget_path(Translation& translation);
  void flush_paths();
  void patch(const TranslationLink& link, const std::byte* target);

  GuestMemory& memory_;
  std::unique_ptr<CodeMemory> code_;
  std::unique_ptr<fast::Generator> generator_;
  fast::Routines routines_;
  std::size_t routines_end_ = 0;
  TranslationTable table_;  // read without the lock
  static constexpr unsigned seen_bits = 15;
  std::array<std::atomic<std::uint32_t>, 1 << seen_bits> seen_{};  // blocks that were executed, by a hash
  bool interprets_new_ = false;
  std::array<std::byte, page_size + 2> crossing_{}, copied_{};
  std::mutex lock_;  // guards all below, writing above, and the generator
  Translations translations_;
  GuestLayout layout_;
  ir::Code ir_;
  fast::GeneratedCode generated_;
  EngineCounters counters_;
  std::unique_ptr<CodeStore> store_;
  CodeObject object_;  // on its way out of the store, or in
  std::string store_problem_;
  std::vector<std::unique_ptr<TranslationObserver>> observers_;
  std::uint32_t hot_ = 0, taken_ = 0;  // when paths are made
  std::unique_ptr<optimizing::Generator> optimizer_;
  optimizing::PathCode path_code_;
  /// Of each hart, where a path is to begin when it comes by: from the store, or recorded.
  struct Wanted {
    std::uint64_t pc = 1;
    bool load_only = false;
  };
  std::vector<Wanted> wanted_;
  std::vector<std::unique_ptr<std::array<ir::PathCheck, ir::path_checks>>> checks_;  // of each hart
  std::vector<std::unique_ptr<Path>> paths_;
  std::unordered_map<std::uint64_t, std::vector<Path*>> paths_of_page_;
  /// Those over several pages, by their checks, of which the first is none's. Read without the lock: a path stays where
  /// it is until nobody runs.
  std::vector<std::atomic<const Path*>> checked_;
  std::uint32_t checks_used_ = 1;
};

}  // namespace doppel
