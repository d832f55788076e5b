#pragma once
// The code cache on disk: what was translated once is found again by the guest's bytes, in later runs and after it was
// dropped in this one. Shared by all machines of a user, and by the code generators of one machine.
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "engine/code_folder.h"
#include "engine/code_object.h"
#include "engine/code_section.h"

namespace doppel {

struct CodeStoreOptions {
  std::string folder;                    // none: no store
  bool must = false;                     // a folder that cannot be used is an error
  std::uint64_t limit = 256ULL << 20;    // bytes of all files together
  std::uint32_t section = 128ULL << 10;  // bytes of code that are written, and checked, at once
};

struct CodeStoreCounters {
  std::uint64_t known = 0;   // objects in the files when they were opened
  std::uint64_t loaded = 0;  // given to a generator instead of making them
  std::uint64_t stored = 0;  // written
  std::uint64_t rejected =
      0;                // objects, sections or files that were not what was written, or could have been another's
  std::string problem;  // why there is no store, if it could not be used
};

class CodeStore {
 public:
  /// Opens the folder's files; reading their index goes on until start(). Fails with a sentence.
  static Result<std::unique_ptr<CodeStore>> open(const CodeStoreOptions& options, const Sha256& identity);
  ~CodeStore();

  /// Starts the thread that writes and reads ahead. Comes when the process's files are restricted and before its system
  /// calls are (machine/sandbox.h); before it, nothing is found or taken.
  void start();
  /// Finds code that was made of exactly what the guest has at the key's entry. Any thread.
  bool find(const CodeKey& key, SourcePages& pages, CodeObject& out) { return look_for(key, pages, &out); }
  /// Whether find() would probably succeed. Costs a fraction of it.
  bool may_have(const CodeKey& key, SourcePages& pages) { return look_for(key, pages, nullptr); }
  /// Takes a copy of an object that find() did not know; it is written later, by another thread. Any thread.
  void add(const CodeObject& object);
  /// Writes what is not written and ends the thread; nothing is found or taken any more.
  void close();
  CodeStoreCounters counters();

 private:
  struct Section {
    std::size_t file = 0;
    std::uint64_t data_at = 0;
    std::uint32_t data_bytes = 0, objects = 0;
    RecordsCheck check;
    RecordBytes data;  // empty while it is only on disk
    enum class State : std::uint8_t { filling, sealed, written, lost } state = State::written;
  };
  struct Sealed {
    std::uint32_t section;
    std::vector<code_segment::IndexEntry> index;
  };
  /// Where an object is. Those with one hash of their first bytes are a chain.
  struct Entry {
    std::uint32_t first, whole, rest, length, at, section, next;
  };
  static constexpr std::uint32_t none = ~0U;

  CodeStore(const CodeStoreOptions& options, const Sha256& identity, CodeFolder folder);
  void read_index();
  void read_file(std::size_t number);
  std::uint32_t& head_of(std::uint32_t first) { return heads_[(first * multiplier_) >> head_shift_]; }
  void grow_heads(std::size_t entries);
  bool insert(const code_segment::IndexEntry& entry, std::uint32_t section);
  bool look_for(const CodeKey& key, SourcePages& pages, CodeObject* out);
  bool find_alike(const CodeKey& key, std::uint32_t first, std::span<const std::byte> bytes, SourcePages& pages,
                  CodeObject* out);
  bool take(const Entry& entry, const CodeKey& key, SourcePages& pages, CodeObject& out);
  std::span<const std::byte> records_of(std::uint32_t number);
  void keep(std::uint32_t number, RecordBytes data);
  void reject(std::uint32_t number);
  void seal();

  // The thread's own.
  void work();
  bool do_next(std::unique_lock<std::mutex>& guard);
  void write(const Sealed& sealed, std::unique_lock<std::mutex>& guard);
  bool append(std::span<const std::byte> bytes);
  std::uint32_t section_ahead();
  bool runs_out() const;
  bool drop_records();

  const CodeStoreOptions options_;
  const Sha256 identity_;
  CodeFolder folder_;
  RecordMemory memory_;
  std::vector<CodeFile> files_;
  CodeFile* own_ = nullptr;     // that this process appends to; the thread's
  std::uint64_t reserved_ = 0;  // bytes that it may grow to; the thread's
  std::thread reading_, thread_;

  std::mutex lock_;  // guards what follows
  std::condition_variable wake_;
  bool started_ = false, ending_ = false, writing_ = false;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> heads_;
  std::uint64_t multiplier_;  // of this process, so that no guest chooses who shares a chain with whom
  unsigned head_shift_ = 64;
  std::vector<Section> sections_;
  /// By file, for the thread: what it has to do with them, and what has been done.
  struct FileState {
    bool touch = false, touched = false, cut = false;
  };
  std::vector<FileState> file_states_;
  std::deque<std::uint32_t> resident_;  // written sections whose records are in memory, the oldest first
  std::uint64_t resident_bytes_ = 0;
  std::uint64_t looked_for_ = 0;  // calls of find()
  std::uint32_t first_read_ = 0;  // of the first sections, those before have been read
  std::uint32_t read_from_ = 0;   // sections from here on are read before they are needed; none: not before one is used
  SectionBuilder filling_;
  std::uint32_t filling_section_ = none;
  std::deque<Sealed> sealed_;
  std::uint64_t waiting_bytes_ = 0;  // of these
  CodeStoreCounters counters_;
};

}  // namespace doppel
