#pragma once
// The translating engine of one machine: finds, makes, links and forgets translations, and runs harts in them.
#include <array>
#include <atomic>
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
#include "engine/translation_observer.h"
#include "guest/riscv64/hart.h"
#include "memory/guest_memory.h"

namespace doppel {

/// Counted over all harts; read when none runs.
struct EngineCounters {
  std::uint64_t translations = 0, translated_instructions = 0, links = 0, invalidated = 0, flushes = 0;
  std::uint64_t code_bytes = 0;
  std::uint64_t paths = 0, path_instructions = 0, path_loops = 0;
};

class Engine final : public riscv64::Executor {
 public:
  using Hart = riscv64::Hart;
  /// Whether this host has the instructions that generated code is made of (x86-64-v3: AVX2, BMI, FMA; and PCLMULQDQ).
  static bool supported();
  /// `code_bytes` bounds the memory for translated code. Fails with a sentence.
  static Result<std::unique_ptr<Engine>> create(GuestMemory& memory, std::size_t code_bytes);
  /// Behind attach(): from now on paths are made by the optimizing generator, from blocks that `hot` samples fell on (0:
  /// from every one that is dispatched to) and from ways out of other paths that were taken `taken` times.
  void optimize(std::uint32_t hot = 16, std::uint32_t taken = 32);
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
  /// What a translation is found by.
  struct Key {
    std::uint64_t physical = 0;  // of its first byte
    std::uint64_t behind = 0;    // of the second half of an instruction that lies on two pages, else 0
    riscv64::TranslationMode mode;
    std::size_t hash() const {
      return ((physical >> 1) * 0x9e3779b97f4a7c15 ^ behind * 0xc2b2ae3d27d4eb4f ^ mode.key() << 7) >> 20;
    }
    bool operator==(const Key& other) const {
      return physical == other.physical && behind == other.behind && mode.key() == other.mode.key();
    }
  };
  /// Bytes of one page that a path was made from.
  struct PathPart {
    std::uint64_t physical = 0;  // of the page
    std::int32_t page = 0;       // in pages from the path's first one
    std::uint16_t offset = 0;
    std::vector<std::byte> source;
  };
  struct Translation {
    const std::byte* code = nullptr;
    Key key;
    std::uint32_t guest_count = 0;
    std::uint32_t samples = 0;              // how often a hart was found at its begin
    std::uint64_t entry_before = 0;         // of a region: what stood where its entry's code now jumps here,
    const std::byte* entry_code = nullptr;  // and where that is
    std::uint16_t source_offset = 0;        // of `source` in the page
    bool is_path = false, has_path = false;  // itself, or begins with a jump to one
    std::vector<PathPart> parts;             // of a path
    std::vector<std::uint32_t> taken;        // likewise, how often each of its links' stubs was
    std::vector<std::byte> source;  // the guest's bytes that it was made from
    std::vector<fast::LinkSite> links;
    std::vector<const std::byte*> incoming;  // the stub returns of the jumps that are linked to it
  };
  struct Site {
    Translation* from;
    std::uint32_t index;  // in its links
  };

  Engine(GuestMemory& memory, std::unique_ptr<CodeMemory> code)
      : memory_(memory), code_(std::move(code)), table_(table_slots) {}
  static constexpr std::size_t table_slots = 1 << 19;
  /// Stands in the table where a translation was.
  static Translation* gone() { return reinterpret_cast<Translation*>(1); }
  /// The translation at the hart's pc, made if need be; null after the interpreter did its instruction.
  Translation* at_pc(Hart& hart);
  void enter(Hart& hart, const void* code);
  Translation* find(Hart& hart, const Key& key);
  Translation* look_up(const Key& key) const;
  void insert(Translation* translation);
  Translation* make(Hart& hart, const Key& key);
  void tell_observers(std::uint64_t address, const Translation& translation, const fast::GeneratedCode& code);
  std::span<const std::byte> bytes_of(const Key& key);
  std::span<const std::byte> copy_of(const Key& key);
  bool translate(const Key& key, std::span<const std::byte> bytes);
  bool find_stored(const Key& key, std::span<const std::byte> bytes);
  void store(const Key& key, std::span<const std::byte> bytes);
  void mark_page(Hart& hart, std::uint64_t physical);
  void link(Hart& hart);
  void fence(Hart& hart);
  void check_page(std::uint64_t page, bool& changed);
  void forget(Translation* translation);
  void flush(Hart& hart);
  // paths.cc
  struct Recording;
  void sample(Hart& hart);
  void record(Hart& hart);
  bool follow(Hart& hart, Recording& recording);
  bool record_step(Hart& hart, Recording& recording);
  void make_path(Hart& hart, const Key& key, const Recording& recording);
  void install(const Key& key, const Recording& recording);
  bool leads_on(Hart& hart, Translation& from, std::uint32_t link);
  static std::uint64_t page_of(const Translation& from, std::int32_t page);
  static std::uint64_t check_path(void* owner);
  bool path_holds(const Translation& path);
  void flush_paths();
  void patch(const std::byte* code, const fast::LinkSite& site, const std::byte* target);

  GuestMemory& memory_;
  std::unique_ptr<CodeMemory> code_;
  std::unique_ptr<fast::Generator> generator_;
  fast::Routines routines_;
  std::size_t routines_end_ = 0;
  /// Open addressing; read without the lock, and emptied only while no hart executes.
  std::vector<std::atomic<Translation*>> table_;
  std::size_t table_used_ = 0;
  std::array<std::byte, page_size + 2> crossing_{}, copied_{};
  std::mutex lock_;  // guards all below, writing above, and the generator
  std::unordered_map<const Translation*, std::unique_ptr<Translation>> translations_;
  std::unordered_map<std::uint64_t, std::vector<Translation*>> pages_;
  std::unordered_map<const void*, Site> sites_;  // by what their stubs leave in ExecutionState::link
  GuestLayout layout_;
  ir::Code ir_;
  fast::GeneratedCode generated_;
  EngineCounters counters_;
  std::unique_ptr<CodeStore> store_;
  CodeObject object_;  // on its way out of the store, or in
  std::string store_problem_;
  std::vector<std::unique_ptr<TranslationObserver>> observers_;
  std::uint32_t hot_ = 0, taken_ = 0;  // when paths are made; 0 is never
  std::unique_ptr<optimizing::Generator> optimizer_;
  optimizing::PathCode path_code_;
  std::vector<std::uint64_t> wanted_;  // of each hart, where a path is to be recorded from when it comes by
  std::vector<std::unique_ptr<std::array<ir::PathCheck, ir::path_checks>>> checks_;
  std::vector<const Translation*> checked_;  // the paths over several pages, by their checks; the first is none
};

}  // namespace doppel
