#include "device/test_finisher.h"

#include <array>

namespace doppel {
namespace {

struct Command {
  std::uint16_t status;
  Finish kind;
};
constexpr std::array<Command, 3> commands = {{{0x5555, Finish::pass}, {0x7777, Finish::reset}, {0x3333, Finish::fail}}};

}  // namespace

bool TestFinisher::read(std::uint64_t, unsigned, std::uint64_t& value) {
  value = 0;
  return true;
}

bool TestFinisher::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (offset != 0 || size < 2 || !finished_) return true;
  for (const auto& command : commands) {
    if ((value & 0xffff) != command.status) continue;
    const bool has_code = command.kind == Finish::fail && size >= 4;
    finished_(command.kind, has_code ? static_cast<unsigned>(value >> 16 & 0xffff) : 0);
  }
  return true;
}

}  // namespace doppel
