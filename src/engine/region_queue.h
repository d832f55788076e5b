#pragma once
#include <functional>

#include "codegen/region.h"

namespace doppel {

/// Where hot regions are asked for. What comes of them is given to a RegionReceiver, on whichever thread, but not
/// inside submit().
class RegionQueue {
 public:
  virtual ~RegionQueue() = default;
  /// Asks for a region; false when so many are waiting that it had better be asked for later.
  virtual bool submit(const RegionRequest& request) = 0;
};
using RegionReceiver = std::function<void(RegionObject)>;

}  // namespace doppel
