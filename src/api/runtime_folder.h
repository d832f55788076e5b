#pragma once
// Where the machines of a user are found: a folder each, held by the machine's process as long as it lives.
#include <optional>
#include <string>
#include <vector>

#include "api/machine_record.h"
#include "base/file_descriptor.h"
#include "base/result.h"

namespace doppel {

/// A machine's folder as others see it. It may end, and be removed, at any time; the descriptor stays what it was.
class MachineEntry {
 public:
  MachineEntry(std::string name, FileDescriptor folder);
  const std::string& name() const { return name_; }
  /// What machine.json says; an error, with the machine's name, when it is damaged.
  const Result<MachineRecord>& record() const { return record_; }
  int folder() const { return folder_.get(); }
  /// Whether a process holds the machine: the kernel's word, true until the very end of the process.
  bool alive() const;
  MachineStatus status() const;
  /// The machine's process (pidfd_open(2)), readable when it has ended. An error when it is not alive.
  Result<FileDescriptor> process() const;
  /// Connects to its control socket. An error, with what to do, when it does not run.
  Result<FileDescriptor> connect() const;

 private:
  std::string name_;
  FileDescriptor folder_;
  Result<MachineRecord> record_;
};

/// The folder of the machine that this process is; its lock is held until this goes. The folder stays, and so does what
/// was said last.
class ClaimedEntry {
 public:
  ClaimedEntry(FileDescriptor folder, FileDescriptor lock, FileDescriptor status, bool remove)
      : folder_(std::move(folder)), lock_(std::move(lock)), status_(std::move(status)), remove_(remove) {}
  /// In the sandbox as well. With MachineRecord::remove a machine that exited is gone. Any thread.
  void set_status(MachineStatus status) const;
  /// A new file in the folder, for reading and writing.
  Result<FileDescriptor> make_file(const char* name) const;
  /// The control socket, listening.
  Result<FileDescriptor> listen() const;

 private:
  FileDescriptor folder_, lock_, status_;
  bool remove_;
};

/// All machines of the user.
class RuntimeFolder {
 public:
  /// $DOPPEL_RUNTIME_DIR, $XDG_RUNTIME_DIR/doppel, /run/user/UID/doppel or doppel-UID in $TMPDIR or /tmp: the first of
  /// which there is talk.
  static std::string place();
  /// Made where it is not there (mode 0700; the folder above must be). One that belongs to somebody else, is a symbolic
  /// link, or that others may write to, is an error.
  static Result<RuntimeFolder> open(const std::string& path = place());

  /// Makes the folder of a new machine, for this process to be it; `process` of the record is filled in. A name that is
  /// taken is an error, also by a machine that has ended.
  Result<ClaimedEntry> claim(MachineRecord record) const;
  /// By name. Those that are gone are removed on the way.
  Result<std::vector<MachineEntry>> list() const;
  /// An error names those that the user may have meant.
  Result<MachineEntry> find(const std::string& name) const;
  /// Removes what a machine that has ended left. An error when it is alive.
  Result<void> remove(const MachineEntry& entry) const;

 private:
  RuntimeFolder(std::string path, FileDescriptor machines) : path_(std::move(path)), machines_(std::move(machines)) {}
  Result<FileDescriptor> lock() const;
  std::optional<MachineEntry> look_at(const std::string& name) const;
  std::vector<std::string> names() const;
  Result<void> erase(const MachineEntry& entry) const;
  Result<ClaimedEntry> fill(FileDescriptor folder, const MachineRecord& record) const;

  std::string path_;
  FileDescriptor machines_;
};

}  // namespace doppel
