#pragma once
// The optimizing generator: regions to host code through LLVM. Not thread-safe.
#include <memory>

#include "codegen/region.h"

namespace doppel::optimizing {

class Compiler {
 public:
  Compiler();
  ~Compiler();
  /// Whether LLVM knows this host; without, compile() gives empty objects.
  bool ready() const;
  /// An object with empty text where the region holds what this generator leaves to `fast`.
  RegionObject compile(const RegionRequest& request);

 private:
  struct Host;
  std::unique_ptr<Host> host_;
};

}  // namespace doppel::optimizing
