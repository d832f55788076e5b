#pragma once
// A manifest with its packs open: what loading, copying and exporting begin with.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "snapshot/manifest.h"
#include "snapshot/pack.h"
#include "snapshot/store_folder.h"

namespace doppel {

struct OpenedSnapshot {
  Manifest manifest;
  std::vector<Pack> packs;  // those of the manifest
};

/// The whole of a file that can only be a manifest. Fails with a sentence.
Result<Manifest> read_manifest(const StoreFolder& folder, const std::string& file_name, std::uint64_t& bytes);

/// A pack of a store's folder. Fails with a sentence.
Result<Pack> open_pack(const StoreFolder& folder, const Sha256& id);

/// The snapshot of this name, while the folder is locked. Fails with a sentence.
Result<OpenedSnapshot> open_snapshot(const StoreFolder& folder, const std::string& name);

/// One file with all that a snapshot needs: a header, a pack, and a manifest that needs this pack only.
Result<OpenedSnapshot> open_exported(const std::string& path);
/// Makes such a file; no file of this name may be there. Fails with a sentence, and then there is none.
Result<void> write_exported(const OpenedSnapshot& snapshot, const std::string& path);

}  // namespace doppel
