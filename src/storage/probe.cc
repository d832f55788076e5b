#include "storage/probe.h"

#include <algorithm>
#include <cstring>
#include <string_view>

#include "storage/overlay_format.h"

namespace doppel {
namespace {

using namespace std::string_view_literals;

struct Signature {
  std::string_view format;
  std::size_t offset;
  std::string_view bytes;
};
constexpr Signature signatures[] = {
    {"qcow2", 0, "QFI\xfb"sv},
    {"overlay", 0, overlay_magic},
    {"VMDK", 0, "KDMV"sv},
    {"VMDK", 0, "# Disk DescriptorFile"sv},
    {"VDI", 64, "\x7f\x10\xda\xbe"sv},
    {"VHDX", 0, "vhdxfile"sv},
    {"VHD", 0, "conectix"sv},
    {"QED", 0, "QED\0"sv},
};

}  // namespace

std::string probe_format(std::span<const std::byte> start) {
  for (const auto& [format, offset, bytes] : signatures) {
    if (start.size() >= offset + bytes.size() && std::memcmp(start.data() + offset, bytes.data(), bytes.size()) == 0) {
      return std::string(format);
    }
  }
  return "raw";
}

}  // namespace doppel
