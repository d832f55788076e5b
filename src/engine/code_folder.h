#pragma once
// The folder that the code store keeps its files in: who may have written there, how large it may become, and which
// process appends to which file. docs/threat-model.md says what this is for.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "base/sha256.h"

namespace doppel {

/// One file of translated code, open. Owned by whoever asked the folder for it; any one thread at a time.
class CodeFile {
 public:
  CodeFile(FileDescriptor file, std::uint64_t bytes, bool writable)
      : file_(std::move(file)), bytes_(bytes), writable_(writable) {}
  int descriptor() const { return file_.get(); }
  /// Its length when it was opened, or since then changed by this process.
  std::uint64_t bytes() const { return bytes_; }
  /// Whether this process alone appends to it: as long as it lives, nobody else does.
  bool appends() const { return appends_; }

  /// Whether the header is sound and of this identity.
  bool has_header(const Sha256& identity) const;
  bool write_header(const Sha256& identity);
  /// Takes the right to append; false while another process has it.
  bool take();
  /// Whether a process has the right to append.
  bool taken() const;
  /// Bytes that the process which has the right may let the file grow to.
  std::uint64_t reserved() const;
  void set_reserved(std::uint64_t bytes);
  /// Says that its code was used, so that it is not the oldest.
  void touch();
  /// Writes at the end; when that fails (a full disk) the file is as before, and false.
  bool append(std::span<const std::byte> bytes);
  /// What is behind the first `bytes` is worthless: takes it away if the file is nobody else's and still as it was.
  void cut(std::uint64_t bytes);

 private:
  bool write_at(std::span<const std::byte> bytes, std::uint64_t at) const;

  FileDescriptor file_;
  std::uint64_t bytes_;
  bool writable_, appends_ = false;
};

/// What another user could have written is refused: the folder and each file must belong to the effective user, be
/// writable by nobody else, and be no symbolic links.
class CodeFolder {
 public:
  /// Makes the folder if its parent is there. Fails with a sentence.
  static Result<CodeFolder> open(std::string path);

  /// The files with code of this identity, at most one of which this process appends to. Before, removes what is
  /// damaged, and what was used longest ago until a quarter of `limit` (bytes, of all files together) is free.
  std::vector<CodeFile> open_files(const Sha256& identity, std::uint64_t limit);
  /// Lets the file that this process appends to grow by `bytes`; false where the limit would be passed.
  bool reserve(CodeFile& file, std::uint64_t bytes);
  /// Files that were not read because of their owner or mode.
  unsigned refused() const { return refused_; }

 private:
  struct Found;
  explicit CodeFolder(FileDescriptor folder) : folder_(std::move(folder)) {}
  std::vector<Found> look();
  std::uint64_t evict(std::vector<Found>& found);
  void choose(std::vector<Found>& found, const Sha256& identity);
  Found make(const Sha256& identity);
  FileDescriptor open_checked(const char* name, int flags, bool& writable);
  bool lock();
  void unlock();

  FileDescriptor folder_, lock_;  // the lock's first word counts the bytes of all files, as reserved
  std::uint64_t limit_ = 0;
  unsigned refused_ = 0;
};

}  // namespace doppel
