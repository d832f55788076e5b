#pragma once
// Snapshots on disk: whole machines by name, whose pages are stored once however many of them have them.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "snapshot/snapshot.h"
#include "snapshot/snapshot_content.h"
#include "snapshot/store_folder.h"

namespace doppel {

class ContentRecorder;

struct SnapshotSummary {
  std::string name;
  std::int64_t made_s = 0;      // seconds since 1970
  std::uint64_t own_bytes = 0;  // of files that nothing else needs: what removing it gives back
  std::uint64_t pages = 0;      // that it holds
  std::uint64_t bytes = 0;      // of its spaces
  std::string problem;          // why it cannot be read; then there is nothing else but the name
};

/// A folder of snapshots. Any number of processes and threads may use it at once: they wait for each other where they
/// have to. Whatever instant one ends at, the snapshots that were there are there, whole.
class SnapshotStore {
 public:
  /// Fails with a sentence; where it need not be made, also if it is not there.
  static Result<SnapshotStore> open(const std::string& folder, bool may_create);
  const std::string& folder() const { return folder_.path(); }

  /// Writes a snapshot, which is on disk when this returns. `replace`: in the place of one of this name, if there is.
  Result<SnapshotSummary> save(const std::string& name, const SnapshotContent& content, bool replace = false) const;
  /// Reads none of its pages.
  Result<std::unique_ptr<Snapshot>> load(const std::string& name) const;
  std::vector<SnapshotSummary> list() const;
  /// Also gives back what nobody needs any more.
  Result<void> remove(const std::string& name) const;
  /// Writes one file, that is not there yet, with all that the snapshot needs.
  Result<void> export_to(const std::string& name, const std::string& path) const;
  /// Makes a snapshot of such a file, every byte of which is checked before.
  Result<SnapshotSummary> import_from(const std::string& path, const std::string& name, bool replace = false) const;

 private:
  explicit SnapshotStore(StoreFolder folder) : folder_(std::move(folder)) {}
  using Record = std::function<Result<Manifest>(ContentRecorder& recorder)>;
  Result<SnapshotSummary> add(const std::string& name, const Record& record, bool replace) const;
  Result<SnapshotSummary> write(const std::string& name, const Record& record, bool replace) const;
  void clean() const;
  void collect() const;
  StoreFolder folder_;
};

}  // namespace doppel
