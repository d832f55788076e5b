#include "device/vmgenid.h"

#include <cstring>

namespace doppel {

void Vmgenid::change(const Identifier& identifier) {
  identifier_ = identifier;
  interrupt_.set(true);
  interrupt_.set(false);
}

bool Vmgenid::read(std::uint64_t offset, unsigned size, std::uint64_t& value) {
  value = 0;
  if (offset + size <= identifier_.size()) std::memcpy(&value, identifier_.data() + offset, size);
  return true;
}

Result<void> Vmgenid::restore(Reader& in) {
  in.bytes(identifier_);
  if (!in.ok()) return error("the snapshot's record of vmgenid is cut short");
  return {};
}

}  // namespace doppel
