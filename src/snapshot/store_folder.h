#pragma once
// The folder that snapshots are in: names, the lock between processes, and files that are there whole or not at all.
// docs/snapshots.md says how it all fits together.
#include <sys/file.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_descriptor.h"
#include "base/result.h"
#include "base/sha256.h"

namespace doppel {

inline constexpr std::string_view snapshot_ending = ".snapshot", pack_ending = ".pack";

/// Whether it may name a snapshot: 1 to 64 letters, digits, '.', '_' and '-', the first of which is no '.' or '-'.
bool sound_snapshot_name(std::string_view name);
std::string hexadecimal(std::span<const std::byte> bytes);
std::string pack_name(const Sha256& id);
/// The id that a file of this name has; none for any other name.
std::optional<Sha256> pack_id(std::string_view file_name);

/// A file that goes when this does, unless it was given a name.
class TemporaryFile {
 public:
  TemporaryFile(FileDescriptor folder, FileDescriptor file, std::string name, std::string path)
      : folder_(std::move(folder)), file_(std::move(file)), name_(std::move(name)), path_(std::move(path)) {}
  TemporaryFile(TemporaryFile&&) = default;
  TemporaryFile& operator=(TemporaryFile&&) = delete;
  ~TemporaryFile();
  int descriptor() const { return file_.get(); }
  const std::string& path() const { return path_; }
  /// Waits until its content is on disk. Fails with a sentence.
  Result<void> sync() const;
  /// Its content is synced; from now on it has this name and stays. With `replace`, in another's place.
  Result<void> publish(const std::string& name, bool replace);

 private:
  FileDescriptor folder_, file_;  // no folder: moved from, or published
  std::string name_, path_;
};

class StoreFolder {
 public:
  /// The folder, made (with those above it) if that is allowed and it is not there.
  static Result<StoreFolder> open(std::string path, bool may_create);
  const std::string& path() const { return path_; }

  enum class Use : std::uint8_t {
    sharing = LOCK_SH,   // reading, and adding files: what is there stays there
    cleaning = LOCK_EX,  // removing files, alone
  };
  /// Held until the descriptor goes; waits for others. Where nobody can write, sharing needs none.
  Result<FileDescriptor> lock(Use use) const;
  /// Without waiting: none if others use the folder.
  FileDescriptor try_lock(Use use) const;

  Result<TemporaryFile> make_file() const;
  /// A regular file, for reading; `bytes` is its size. Fails with a sentence. Names have no '/'.
  Result<FileDescriptor> open_file(const std::string& name, std::uint64_t& bytes) const;
  bool exists(const std::string& name) const;
  bool remove(const std::string& name) const;
  /// What was renamed and removed before is so on disk.
  Result<void> sync() const;
  std::vector<std::string> names() const;
  /// Removes files that nobody finished; while cleaning.
  void remove_leftovers() const;
  std::string path_of(std::string_view name) const { return fmt::format("{}/{}", path_, name); }

 private:
  StoreFolder(FileDescriptor folder, std::string path) : folder_(std::move(folder)), path_(std::move(path)) {}
  FileDescriptor open_lock(Use use) const;
  FileDescriptor folder_;
  std::string path_;
};

}  // namespace doppel
